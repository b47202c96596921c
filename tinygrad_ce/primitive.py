"""How an operator is made and recorded: a forward, one derivative rule per argument, an example that checks it."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from operator import itemgetter
from typing import Any, Protocol

import numpy as np

Rule = Callable[..., Any]

_recording: ContextVar[bool] = ContextVar("recording", default=True)
_tick = itertools.count().__next__
_lock = threading.Lock()


class Node:
    """A value on the tape: its array, and how it was made.

    ``_data`` is never written once it stands here: an update gives the node another array. So what a recorded
    operator needs cannot change under it. ``_order`` counts creations; a node is always younger than its parents,
    so walking by falling ``_order`` is a topological order for free. A node without parents is a leaf.
    """

    __slots__ = ("_arguments", "_data", "_grad", "_order", "_parents", "_primitive", "_requires_grad")

    _data: np.ndarray
    _requires_grad: bool
    _primitive: Primitive
    _arguments: Sequence[Any]
    _parents: Sequence[tuple[int, Node]]
    _order: int
    _grad: np.ndarray | None

    @classmethod
    def _leaf(cls, data: Any, requires_grad: bool = False) -> Any:
        """A leaf around an array that nobody else will write to."""
        node = object.__new__(cls)
        node._data = data if type(data) is np.ndarray else np.asarray(data)
        node._requires_grad = requires_grad
        node._parents = ()
        node._order = _tick()
        node._grad = None
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
    """What the tape knows of an operator: the names of its arguments and the rule of each."""

    def __init__(self, function: Callable[..., Any]) -> None:
        parameters = list(inspect.signature(function).parameters.values())
        self.name = function.__name__
        self.arguments = [p.name for p in parameters]
        self.defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
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

    def check(self, parents: Sequence[tuple[int, Node]]) -> None:
        """Before a call is recorded: every parent needs a rule."""
        for i, _ in parents:
            if self.variadic is not None and i >= len(self.rules):
                with _lock:  # one rule for each of *arguments, as many as any call had so far
                    while i >= len(self.rules):
                        k = len(self.rules) - self.variadic
                        self.rules.append(self._variadic_rule and functools.partial(self._variadic_rule, k))
            if self.rules[i] is None:
                raise TypeError(
                    f"{self.name}: argument {self.argument(i)!r} is a Tensor that requires grad, but {self.name} has "
                    f"no derivative in it; pass {self.argument(i)}.detach()"
                )

    def differentiable(self, position: int) -> bool:
        """Whether the argument at a position of a call has a rule: it is an operand, not an axis, index or shape."""
        if self.variadic is not None and position >= self.variadic:
            return self._variadic_rule is not None
        return self.rules[position] is not None

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
        )
        return f"{self.name}({', '.join(words)})"


# What nobody can write to. Anything else that meets a Tensor in a recorded call is copied.
_IMMUTABLE = frozenset(
    {type(None), bool, int, float, str, slice, type(...), type, np.dtype, *np.sctypeDict.values()}
)  # fmt: skip


def _secure(made: Primitive, loose: int, arguments: Sequence[Any]) -> list[Any]:
    """Copy the arguments of a call that their owner may write to after it; an operand becomes a plain array.

    Bit i of loose stands for argument i. A Tensor's array never changes, and is held as it is.
    """
    secured = list(arguments)
    while loose:
        i = loose.bit_length() - 1
        loose ^= 1 << i
        a = secured[i]
        if type(a) is np.ndarray:
            secured[i] = a.copy()
        elif isinstance(a, np.ma.MaskedArray):
            raise TypeError(f"{made.name}: argument {made.argument(i)!r} is a masked array, whose mask would be lost")
        elif isinstance(a, np.ndarray) or made.differentiable(i):
            secured[i] = np.array(a)
        elif type(a) is not tuple or not all(type(e) in _IMMUTABLE for e in a):
            secured[i] = copy.deepcopy(a)
    return secured


def _forked() -> None:
    """A forked process starts with a lock that no thread of its parent holds."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


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


@contextlib.contextmanager
def recording() -> Iterator[None]:
    """Record inside, also where the caller doesn't: for functions whose result needs a graph of their own."""
    token = _recording.set(True)
    try:
        yield
    finally:
        _recording.reset(token)


def is_recording() -> bool:
    """Whether operators are recorded here: not inside ``no_grad``."""
    return _recording.get()


registry: dict[str, Operator] = {}
numpy_functions: dict[Callable[..., Any], Operator] = {}


def primitive(function: Callable[..., Any] | None = None, *, forward: Callable[..., Any] | None = None) -> Any:
    """Make an operator of a function of plain arrays, its forward. Rules and an example follow right under it.

    ``@primitive(forward=np.exp)`` takes NumPy's own function for the forward: what follows gives arguments and words,
    and from then on that function is recorded where it meets a Tensor.

    On plain arrays the operator is its forward. On Tensors it is recorded for the reverse pass. If its last argument
    is named ``keep``, it is hidden from callers: when the call is recorded, it holds the positions of the arguments
    that need a gradient, and the forward returns ``(y, kept)``, where kept is a cache for the rules, used up by the
    first reverse pass and None afterwards; else it is empty.

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
    made = Primitive(function)
    operator = _entry(made, function, forward or function)
    operator.vjp = made.vjp
    if forward is not None:
        numpy_functions.setdefault(forward, operator)
    return _register(operator, made)


def composite(function: Callable[..., Any]) -> Operator:
    """Register a function made of primitives, so that NumPy's function of that name and the checks find it."""
    return _register(function, None)


def _register(operator: Any, made: Primitive | None) -> Operator:
    operator.primitive = made
    operator.examples = []
    operator.example = lambda *args, **kwargs: operator.examples.append((args, kwargs))
    if (operator.__module__ or "").startswith(f"{__package__}.ops."):
        registry[operator.__name__] = operator
        numpy_function = getattr(np, operator.__name__, None)
        if callable(numpy_function):
            numpy_functions[numpy_function] = operator
    return operator  # type: ignore[no-any-return]


# What follows writes, for each primitive, the function that users call. It is the code one would write by hand for that
# signature: a loop over arguments would cost more than the operator itself. The parts in braces are filled in; names
# with a leading underscore are its own, and arguments can have any other.

_CALL = """
def call({signature}):
    _kind, _parents, _loose = None, [], 0
{unwrap}
    if _kind is None:
        return _forward({passed})
    _recording = _is_recording() if _parents else False
    if _recording:
        if _made.constants:
            _made.check(_parents)
        if _loose:
            {values} = _secure(_made, _loose, ({values}))
{asked}
    try:
        _y = _forward({passed_recording})
    except Exception as _error:
        _error.add_note("in " + _made.describe(({values})))
        raise
    _node = _new(_kind)
    _node._requires_grad = _recording
    if _recording:
{keep}
        _node._primitive, _node._parents, _node._arguments = _made, _parents, {arguments}
    else:
        _node._parents = ()
    _node._data = _y if _type(_y) is _ndarray else _asarray(_y)
    _node._order = _tick()
    _node._grad = None
    return _node
"""

_UNWRAP = """
    if _isinstance({name}, _Node):
        _kind = _type({name})
        if {name}._requires_grad:
            _parents.append(({position}, {name}))
        {name} = {name}._data
    elif _type({name}) not in _immutable:
        _loose |= 1 << {position}
"""

# Most arguments with a default are options, and no Tensors: one look less.
_UNWRAP_OPTION = """
    if _type({name}) not in _immutable:
        if _isinstance({name}, _Node):
            _kind = _type({name})
            if {name}._requires_grad:
                _parents.append(({position}, {name}))
            {name} = {name}._data
        else:
            _loose |= 1 << {position}
"""

_UNWRAP_VARIADIC = """
    {name} = _list({name})
    for _i, _a in _enumerate({name}):
        if _isinstance(_a, _Node):
            _kind = _type(_a)
            if _a._requires_grad:
                _parents.append(({position} + _i, _a))
            {name}[_i] = _a._data
        elif _type(_a) not in _immutable:
            _loose |= 1 << {position} + _i
"""

_ASKED = """
    keep = [*_map(_position, _parents)] if _recording else ()
"""

_KEEP = """
        _y, keep = _y
"""


def _entry(made: Primitive, function: Callable[..., Any], forward: Callable[..., Any]) -> Any:
    """The function that users call: it has the forward's own signature, without ``keep``."""
    signature = inspect.signature(function)
    for p in signature.parameters.values():
        if p.kind is p.VAR_KEYWORD or p.name.startswith("_"):
            raise TypeError(
                f"primitive {made.name}: argument {p.name!r}; ** and leading underscores are not for arguments"
            )
    public = [p for p in signature.parameters.values() if not (made.keeps and p.name == "keep")]
    star = {p.name: "*" if p.kind is p.VAR_POSITIONAL else "" for p in public}
    passed = ", ".join(f"{p.name}={p.name}" if p.kind is p.KEYWORD_ONLY else star[p.name] + p.name for p in public)
    values = "".join(f"{star[p.name]}{p.name}, " for p in public)
    source = _CALL.format(
        signature=_text([p.replace(annotation=p.empty) for p in public]),
        unwrap="".join(
            (_UNWRAP_VARIADIC if star[p.name] else _UNWRAP if p.default is p.empty else _UNWRAP_OPTION).format(
                name=p.name, position=i
            )
            for i, p in enumerate(public)
        ),
        passed=passed,
        passed_recording=f"{passed}, keep=keep" if made.keeps else passed,
        values=values,
        asked=_ASKED if made.keeps else "",
        keep=_KEEP if made.keeps else "",
        arguments=f"[{values}keep]" if made.keeps else f"({values})",
    )
    names = {f"default_{p.name}": p.default for p in public}
    namespace = {
        "_made": made, "_forward": forward, "_Node": Node, "_immutable": _IMMUTABLE, "_secure": _secure,
        "_new": object.__new__, "_is_recording": _recording.get, "_ndarray": np.ndarray, "_asarray": np.asarray,
        "_tick": _tick, "_isinstance": isinstance, "_type": type, "_list": list, "_enumerate": enumerate,
        "_map": map, "_position": itemgetter(0), **names,
    }  # fmt: skip
    exec(_compiled(source), namespace)
    entry: Any = functools.wraps(function)(namespace["call"])
    entry.__signature__ = signature.replace(parameters=public)
    return entry


@functools.cache  # most operators share a signature with others
def _compiled(source: str) -> Any:
    return compile(source, "<a call of a primitive>", "exec")


def _text(parameters: list[inspect.Parameter]) -> str:
    """Parameters as text, with a name in the place of each default's value."""
    named = [p if p.default is p.empty else p.replace(default=_Text(f"default_{p.name}")) for p in parameters]
    return str(inspect.Signature(named))[1:-1]


class _Text(str):
    """Text that stands in a signature as it is, without quotes."""

    __slots__ = ()
    __repr__ = str.__str__
