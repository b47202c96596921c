"""How an operator is made and recorded: a forward, one derivative rule per argument, an example that checks it."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np

Rule = Callable[..., Any]

_recording: ContextVar[bool] = ContextVar("recording", default=True)
_is_recording = _recording.get
_tick = itertools.count().__next__
_new = object.__new__
_ndarray = np.ndarray


class Node:
    """A value on the tape: its array, and how it was made.

    ``_data`` is never written once it stands here: an update gives the node another array. So what a recorded
    operator needs cannot change under it. ``_order`` counts creations; a node is always younger than its parents,
    so walking by falling ``_order`` is a topological order for free. A node without parents is a leaf.
    """

    __slots__ = ("_arguments", "_data", "_order", "_parents", "_primitive", "_requires_grad", "grad")

    _data: np.ndarray
    _requires_grad: bool
    _primitive: Primitive
    _arguments: list[Any]
    _parents: Sequence[tuple[int, Node]]
    _order: int
    grad: np.ndarray | None

    @classmethod
    def _leaf(cls, data: Any, requires_grad: bool = False) -> Any:
        """A leaf around an array that nobody else will write to."""
        node = _new(cls)
        node._data = data if type(data) is _ndarray else np.asarray(data)
        node._requires_grad = requires_grad
        node._parents = ()
        node._order = _tick()
        node.grad = None
        return node


class Operator(Protocol):
    """A function of the public face: call it on arrays or Tensors. Its rules and examples are set once, below it."""

    __name__: str
    primitive: Primitive | None  # None of a composite
    examples: list[tuple[tuple[Any, ...], dict[str, Any]]]
    vjp: Callable[..., None]
    example: Callable[..., None]

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class Primitive:
    """What the tape knows of an operator: its forward, the names of its arguments and the rule of each."""

    def __init__(self, face: Callable[..., Any], forward: Callable[..., Any] | None = None) -> None:
        parameters = list(inspect.signature(face).parameters.values())
        self.name = face.__name__
        self.forward = forward or _by_position(face, parameters)
        self.arguments = [p.name for p in parameters]
        self.keeps = self.arguments[-1] == "keep"
        self.variadic = next((i for i, p in enumerate(parameters) if p.kind is p.VAR_POSITIONAL), None)
        self.constants = True  # whether some argument has no rule
        self.rules: list[Rule | None] = [None] * (len(parameters) - (self.variadic is not None))
        self._variadic_rule: Rule | None = None

    def vjp(self, **rules: Rule) -> None:
        """Set rules by argument: ``rule(g, y, *arguments)`` is the gradient of that argument where y has gradient g.

        A rule reads like NumPy and runs on arrays and on Tensors alike. Where an argument was broadcast, the reverse
        pass sums the gradient back to its shape, and casts it to its dtype. The rule of ``*arguments`` is called as
        ``rule(i, g, y, *arguments)`` for the i-th of them. If the forward has a last argument ``keep``, the rule's
        last argument is what it kept, or None.
        """
        for name, rule in rules.items():
            if name not in self.arguments:
                raise TypeError(f"{self.name}.vjp: no argument {name!r}; the arguments are {self.arguments}")
            position = self.arguments.index(name)
            if position == self.variadic:
                self._variadic_rule = rule
                del self.rules[position:]
            else:
                self.rules[position] = rule
        self.constants = self.variadic is not None or None in self.rules

    def prepare(self, arguments: list[Any], parents: Sequence[tuple[int, Node]]) -> None:
        """Before a call is recorded: every parent needs a rule, and a forward that can keep something shall."""
        if self.variadic is not None:  # one rule for each of *arguments, as many as any call had so far
            rule = self._variadic_rule
            for i in range(len(self.rules), len(arguments)):
                self.rules.append(rule and functools.partial(rule, i - self.variadic))
        for i, _ in parents:
            if self.rules[i] is None:
                raise TypeError(
                    f"{self.name}: argument {self.argument(i)!r} is a Tensor that requires grad, but {self.name} has "
                    f"no derivative in it; pass {self.argument(i)}.detach()"
                )
        if self.keeps:
            arguments[-1] = True

    def argument(self, position: int) -> str:
        """The name of the argument at a position of a recorded call, for messages."""
        if self.variadic is None or position < self.variadic:
            return self.arguments[position]
        return f"{self.arguments[self.variadic]}[{position - self.variadic}]"

    def describe(self, arguments: Sequence[Any]) -> str:
        """The call as text: names, dtypes and shapes."""
        words = (
            f"{self.argument(i)}: {a.dtype} {a.shape}" if isinstance(a, np.ndarray) else f"{self.argument(i)}={a!r}"
            for i, a in enumerate(arguments)
            if not (self.keeps and i == len(arguments) - 1)
        )
        return f"{self.name}({', '.join(words)})"


def record(primitive: Primitive, arguments: Sequence[Any]) -> Any:
    """Run a primitive. If a Tensor is among the arguments the result is one, and remembers the call if need be."""
    raw: list[Any] = []
    parents: list[tuple[int, Node]] = []
    kind = None
    writable = False
    for a in arguments:
        if isinstance(a, Node):
            kind = type(a)
            if a._requires_grad:
                parents.append((len(raw), a))
            raw.append(a._data)
        else:
            raw.append(a)
            if type(a) in _WRITABLE:
                writable = True
    if kind is None:
        return primitive.forward(*arguments)

    recording = bool(parents) and _is_recording()
    if recording:
        if writable:
            _secure(raw, arguments)
        if primitive.constants:
            primitive.prepare(raw, parents)
    try:
        y = primitive.forward(*raw)
    except Exception as error:
        error.add_note(f"in {primitive.describe(raw)}")
        raise
    node = _new(kind)
    node._requires_grad = recording
    if recording:
        if primitive.keeps:
            y, raw[-1] = y
        node._primitive, node._arguments, node._parents = primitive, raw, parents
    else:
        node._parents = ()
    node._data = y if type(y) is _ndarray else np.asarray(y)
    node.grad = None
    node._order = _tick()
    return node


_WRITABLE = frozenset({np.ndarray, list, tuple})


def _secure(raw: list[Any], given: Sequence[Any]) -> None:
    """Copy what its owner may write after the call. A Tensor's array never changes, so it is held as it is."""
    for i, a in enumerate(given):
        if type(a) is _ndarray:
            if not _is_frozen(a):
                raw[i] = a.copy()
        elif type(a) is list or (type(a) is tuple and any(isinstance(e, list | np.ndarray) for e in a)):
            raw[i] = copy.deepcopy(a)


def _is_frozen(array: Any) -> bool:
    """Whether nobody can write an array, nor what it is a view of."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return True


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside: results require no grad, and cost no memory for a reverse pass.

    A context manager and a decorator. It holds for this thread (and asyncio task) alone.

    Example:
        >>> import tinygrad_ce as tg
        >>> w = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> with tg.no_grad():
        ...     (w * w).requires_grad
        False
    """
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)


registry: dict[str, Operator] = {}
numpy_functions: dict[Callable[..., Any], Operator] = {}


def primitive(function: Callable[..., Any] | None = None, *, forward: Callable[..., Any] | None = None) -> Any:
    """Make an operator of a function of plain arrays, its forward. Rules and an example follow right under it.

    ``@primitive(forward=np.exp)`` takes NumPy's own function for the forward: what follows gives arguments and words.

    On plain arrays the operator is its forward. On Tensors it is recorded for the reverse pass. If its last argument
    is named ``keep``, it is hidden from callers: it is True when the call is recorded, and the forward then returns
    ``(y, kept)``, where kept is a cache for the rules, used up by the first reverse pass and None afterwards.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> @tg.primitive
        ... def cube(x):
        ...     return x * x * x
        >>> cube.vjp(x=lambda g, y, x: 3 * g * x * x)
        >>> x = tg.Tensor(2.0, requires_grad=True)
        >>> cube(x).backward()
        >>> float(x.grad)
        12.0
        >>> cube(3.0)
        27.0
    """
    if function is None:
        return functools.partial(primitive, forward=forward)
    made = Primitive(function, forward)
    operator: Any = functools.wraps(function)(_entry(made, inspect.signature(function)))
    operator.vjp = made.vjp
    return _register(operator, made)


def composite(function: Callable[..., Any]) -> Operator:
    """Register a function made of primitives, so that NumPy's function of that name and the checks find it."""
    return _register(function, None)


def _register(operator: Any, made: Primitive | None) -> Operator:
    operator.primitive = made
    operator.examples = []
    operator.example = lambda *args, **kwargs: operator.examples.append((args, kwargs))
    if operator.__module__.startswith(f"{__package__}.ops."):
        registry[operator.__name__] = operator
        numpy_function = getattr(np, operator.__name__, None)
        if callable(numpy_function):
            numpy_functions[numpy_function] = operator
    return operator  # type: ignore[no-any-return]


def _by_position(forward: Callable[..., Any], parameters: Sequence[inspect.Parameter]) -> Callable[..., Any]:
    """A forward that takes its keyword-only arguments by position too: a recorded call is one row of arguments."""
    if not any(p.kind is p.KEYWORD_ONLY for p in parameters):
        return forward
    names = ", ".join(p.name for p in parameters)
    passed = ", ".join(f"{p.name}={p.name}" if p.kind is p.KEYWORD_ONLY else p.name for p in parameters)
    return eval(f"lambda {names}: forward({passed})", {"forward": forward})  # type: ignore[no-any-return]


def _entry(made: Primitive, signature: inspect.Signature) -> Any:
    """The function users call: it has the forward's own signature, and hands the arguments to record in order."""
    public = [p for p in signature.parameters.values() if not (made.keeps and p.name == "keep")]
    defaults = {f"default_{p.name}": p.default for p in public if p.default is not p.empty}
    # The signature as text, with a name in the place of each default's value.
    named = [
        p.replace(annotation=p.empty, default=p.empty if p.default is p.empty else _Text(f"default_{p.name}"))
        for p in public
    ]
    head = str(inspect.Signature(named))[1:-1]
    values = "".join(f"*{p.name}, " if p.kind is p.VAR_POSITIONAL else f"{p.name}, " for p in public)
    source = f"lambda {head}: record(made, ({values}{'False,' * made.keeps}))"
    entry = eval(source, {"record": record, "made": made, **defaults})
    entry.__signature__ = signature.replace(parameters=public)
    return entry


class _Text(str):
    """Text that stands in a signature as it is, without quotes."""

    __slots__ = ()
    __repr__ = str.__str__
