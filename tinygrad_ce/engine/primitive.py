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

from tinygrad_ce.engine.anomaly import noticed, watching
from tinygrad_ce.engine.guard import explain, freeze, owned

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
    formula: Callable[..., None]
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
        self.ours = _is_ours(function)  # the rules, too; a user's are called under guard
        self.guarded = not self.ours  # whether the forward is: then it has made all that its call keeps read-only
        self.variadic = next((i for i, p in enumerate(parameters) if p.kind is p.VAR_POSITIONAL), None)
        self.constants = True  # whether some argument has no rule
        self.rules: list[Rule | None] = [None] * (len(parameters) - (self.variadic is not None))
        self._variadic_rule: Rule | None = None
        self.formulas: dict[str, str | Callable[..., str]] = {}  # of the value ("") and of gradients, by argument
        self._guarded: dict[int, tuple[Rule, Rule]] = {}  # by position: a user's rule, and the same under guard

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
            self.ours = self.ours and _is_ours(rule)
            position = self.arguments.index(name)
            if position == self.variadic:
                self._variadic_rule = rule
                del self.rules[position:]
            else:
                self.rules[position] = rule
        self.constants = self.variadic is not None or None in self.rules

    def formula(self, value: str | Callable[..., str], **gradients: str | Callable[..., str]) -> None:
        r"""Set how the value and the gradients are written: LaTeX, or a function of the call's arguments that gives it.

        It is written in the arguments' names, with g for the upstream gradient and y for the value; words stand in
        ``\text{}``. A rule that is one expression is its own formula, and needs none here.
        """
        self.formulas = {"": value, **gradients}

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

    def guarded_forward(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """A user's forward as it is called with Tensors: it can't change them, and what it returns is the graph's."""

        def call(*arguments: Any, **options: Any) -> Any:
            freeze(arguments)
            freeze(options)
            try:
                y = forward(*arguments, **options)
            except Exception as error:
                explain(error)
                raise
            if not (self.keeps and options["keep"]):
                return owned(y)
            if type(y) is not tuple or len(y) != 2:
                raise TypeError(f"{self.name}: the forward returned {_kind(y)}, expected (y, kept) as keep isn't empty")
            y, kept = y
            freeze(kept)
            return owned(y), kept

        return call

    def guarded_rule(self, position: int) -> Rule:
        """A user's rule as the reverse pass calls it: no gradient changes but by what it returns."""
        rule = self.rules[position]
        if position not in self._guarded or self._guarded[position][0] is not rule:
            assert rule is not None

            def call(g: Any, y: Any, *arguments: Any) -> Any:
                freeze(g)
                if not self.guarded:
                    freeze((y, *arguments))
                try:
                    dx = rule(g, y, *arguments)
                except Exception as error:
                    explain(error)
                    raise
                if not isinstance(dx, _GRADIENT):
                    raise TypeError(
                        f"{self.name}: the rule of argument {self.argument(position)!r} returned {_kind(dx)}, expected "
                        f"the gradient in it, an array; has it a return?"
                    )
                return owned(dx)

            self._guarded[position] = rule, call
        return self._guarded[position][1]

    def check_result(self, y: np.ndarray, recording: bool) -> None:
        """What a user's forward returned must be numbers, and floating ones if it is to have a gradient."""
        if y.dtype.kind != "f" and (recording or y.dtype.kind not in "iub"):
            expected = "floating numbers, as the result requires grad" if recording else "real numbers"
            raise TypeError(f"{self.name}: the forward returned {_kind(y)}, expected {expected}; has it a return?")

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


def _is_ours(function: Any) -> bool:
    """Whether a function is one of this package's operators, whose tests show that they write to nothing."""
    return (getattr(function, "__module__", None) or "").startswith(("tinygrad_ce.ops.", "tinygrad_ce.losses."))


def _kind(value: Any) -> str:
    """What a value is, for messages."""
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


_GRADIENT = (np.ndarray, np.generic, Node)

# What nobody can write to. Anything else that meets a Tensor in a recorded call is looked at, and copied if need be.
_IMMUTABLE = frozenset(
    {type(None), bool, int, float, str, type(...), type, np.dtype, *np.sctypeDict.values()}
)  # fmt: skip


def _is_constant(a: Any) -> bool:
    """Whether nobody can write to a value, nor to anything in it: a slice may hold arrays."""
    if type(a) is slice:
        return type(a.start) in _IMMUTABLE and type(a.stop) in _IMMUTABLE and type(a.step) in _IMMUTABLE
    return type(a) in _IMMUTABLE or (type(a) is tuple and all(map(_is_constant, a)))


def _secure(made: Primitive, loose: int, arguments: Sequence[Any]) -> list[Any]:
    """Copy the arguments of a call that their owner may write to after it; an operand becomes a plain array.

    Bit i of loose stands for argument i. A Tensor's array never changes, and is held as it is. A random generator is
    drawn from, not read: it stays the caller's own, else every call would draw the same.
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
        elif not _is_constant(a) and not type(a).__module__.startswith("numpy.random"):
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
    before = _recording.get()
    try:
        _recording.set(False)
        yield
    finally:
        _recording.set(before)


@contextlib.contextmanager
def recording() -> Iterator[None]:
    """Record inside, also where the caller doesn't: for functions whose result needs a graph of their own."""
    before = _recording.get()
    try:
        _recording.set(True)
        yield
    finally:
        _recording.set(before)


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

    Where Tensors take part, the arrays that a forward or a rule is given are read-only, and one that it returns but
    holds on to is copied: it can't change a graph by anything but its results.

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
    operator.formula = made.formula
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
    if _is_ours(operator):
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
        return _plain({passed})
    _recording = _is_recording() if _parents else False
    if _recording and _made.constants:
        _made.check(_parents)
    if _loose and {secured}:
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
{checked}
    _node._order = _tick()
    _node._grad = None
    if _watching:
        _noticed(_node, _made.name, ({values}))
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

_CHECKED = """
    _made.check_result(_node._data, _recording)
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
        secured="True" if made.guarded else "_recording",
        checked=_CHECKED if made.guarded else "",
        arguments=f"[{values}keep]" if made.keeps else f"({values})",
    )
    names = {f"default_{p.name}": p.default for p in public}
    namespace = {
        "_made": made, "_plain": forward, "_forward": made.guarded_forward(forward) if made.guarded else forward,
        "_Node": Node, "_immutable": _IMMUTABLE, "_secure": _secure,
        "_new": object.__new__, "_watching": watching, "_noticed": noticed, "_is_recording": _recording.get,
        "_ndarray": np.ndarray, "_asarray": np.asarray,
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
