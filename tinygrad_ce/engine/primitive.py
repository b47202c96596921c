"""What an operator is: a forward, one rule for each argument that has a gradient, an example that checks them."""

from __future__ import annotations

import collections
import functools
import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tinygrad_ce.engine import record
from tinygrad_ce.engine.node import is_recording

Rule = Callable[..., Any]


class Operator(Protocol):
    """The function that users call, on arrays or Tensors. Its rules and examples are set once, below it."""

    __name__: str
    primitive: Primitive | None  # None of a composite
    examples: list[tuple[tuple[Any, ...], dict[str, Any]]]
    vjp: Callable[..., None]
    formula: Callable[..., None]
    example: Callable[..., None]

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


registry: dict[str, Operator] = {}  # the operators of this package, by name
numpy_functions: dict[Callable[..., Any], Operator] = {}  # what NumPy's function becomes where it meets a Tensor
primitives: weakref.WeakSet[Primitive] = weakref.WeakSet()  # also users' own


class Primitive:
    """What the tape knows of an operator: its arguments, its forward, and the rule of each argument that has one.

    Forward and rules are looked up at every call. So a layer may put others in their place: ``guard`` does so for
    users' own, ``anomaly`` for a while.
    """

    # What is said of an unknown argument; a layer may put a message that knows more in its place.
    unexpected: Any = staticmethod("{}() got an unexpected keyword argument {!r}".format)

    def __init__(self, function: Callable[..., Any], forward: Callable[..., Any] | None = None) -> None:
        parameters = [*inspect.signature(function).parameters.values()]
        self.name, self.arguments = function.__name__, [p.name for p in parameters]
        self.keeps = self.arguments[-1:] == ["keep"]
        public = parameters[: len(parameters) - self.keeps]
        self.signature = inspect.Signature(public)
        self.defaults = {p.name: p.default for p in public if p.default is not p.empty}
        self.names = {p.name for p in public}
        self.variadic = next((i for i, p in enumerate(public) if p.kind is p.VAR_POSITIONAL), None)
        self.many = None if self.variadic is None else self.arguments[self.variadic]  # the name of *arguments
        self._check(parameters)
        # By how many arguments a call gives by position: the names that may follow, with their defaults, in order.
        rest = {n: {p.name: p.default for p in public[n:] if p.name != self.many} for n in range(len(public) + 1)}
        self.rest_after: dict[int, dict[str, Any]] = collections.defaultdict(dict, rest)
        self.function = forward or function  # what is called on arrays alone
        self.forward = self.function  # what is called where a Tensor takes part
        self.always_copies = False  # whether loose arguments are copied even when nothing is recorded (guard sets it)
        self.vjps: dict[str, Rule] = {}  # the rules by the argument's name,
        self.rules: list[Rule | None] = [None] * len(parameters)  # and by its position
        self.formulas: dict[str, str | Callable[..., str]] = {}  # of the value ("") and of gradients, by argument
        primitives.add(self)

    def _check(self, parameters: list[inspect.Parameter]) -> None:
        """Refuse a forward whose arguments could be mistaken for others."""
        kinds = [p.kind for p in parameters]
        if inspect.Parameter.VAR_KEYWORD in kinds or any(name.startswith("_") for name in self.arguments):
            raise TypeError(f"primitive {self.name}: ** and leading underscores are not for arguments")
        if self.variadic is not None and self.variadic < len(self.names) - 1:
            raise TypeError(f"primitive {self.name}: nothing but keep may follow *{self.many}; put it before")
        if self.keeps and parameters[-1].default is inspect.Parameter.empty:
            raise TypeError(f"primitive {self.name}: keep needs a default, as in keep=()")

    def vjp(self, **rules: Rule) -> None:
        """Set rules by argument: ``rule(g, y, *arguments)`` is the gradient of that argument where y has gradient g.

        A rule reads like NumPy and runs on arrays and on Tensors alike. Where an argument was broadcast, the reverse
        pass sums the gradient back to its shape, and casts it to its dtype. The rule of ``*arguments`` is called as
        ``rule(i, g, y, *arguments)`` for the i-th of them. If the forward has a last argument ``keep``, the rule's
        last argument is what it kept, or None.
        """
        for name in rules:
            if name not in self.arguments:
                raise TypeError(f"{self.name}.vjp: no argument {name!r}; the arguments are {self.arguments}")
        self.vjps.update(rules)
        found = [self.vjps.get(name) for name in self.arguments]
        self.rules = found if self.variadic is None else RulesOfMany(found, self.variadic)

    def formula(self, value: str | Callable[..., str], **gradients: str | Callable[..., str]) -> None:
        r"""Set how the value and the gradients are written: LaTeX, or a function of the call's arguments that gives it.

        It is written in the arguments' names, with g for the upstream gradient and y for the value; words stand in
        ``\text{}``. A rule that is one expression is its own formula, and needs none here.
        """
        self.formulas = {"": value, **gradients}

    def differentiable(self, position: int) -> bool:
        """Whether the argument at a position has a rule: it is an operand, not an axis, index or shape."""
        known = self.variadic is not None or position < len(self.rules)
        return known and self.rules[position] is not None

    def check_names(self, named: Mapping[str, Any]) -> None:
        """Refuse arguments by names that the operator has not."""
        for name in named.keys() - self.names:
            raise TypeError(self.unexpected(self.name, name, self.names))

    def operand(self, name: str) -> int:
        """The position of the argument of this name, into which a gradient shall flow."""
        position = self.arguments.index(name)
        if self.rules[position] is None:
            self.refuse(position)
        return position

    def refuse(self, position: int) -> None:
        """Refuse to record a Tensor that requires grad in an argument without a rule."""
        name = self.argument(position)
        if is_recording():
            raise TypeError(
                f"{self.name}: argument {name!r} is a Tensor that requires grad, but {self.name} has no derivative "
                f"in it; pass {name}.detach()"
            )

    def argument(self, position: int) -> str:
        """The name of the argument at a position of a recorded call, for messages."""
        if self.variadic is None or position < self.variadic:
            return self.arguments[position] if position < len(self.arguments) else f"number {position + 1}"
        return f"{self.arguments[self.variadic]}[{position - self.variadic}]"

    def describe(self, values: Sequence[Any], named: Mapping[str, Any] | None = None) -> str:
        """A call as text: names, dtypes and shapes."""
        given = [(self.argument(i), a) for i, a in enumerate(values)] + [*(named or {}).items()]
        words = (f"{n}: {a.dtype} {a.shape}" if isinstance(a, np.ndarray) else f"{n}={a!r}" for n, a in given)
        return f"{self.name}({', '.join(words)})"


class RulesOfMany(list[Any]):
    """Rules where the last argument is ``*arguments``: its rule is told which of them is meant."""

    def __init__(self, rules: list[Any], variadic: int) -> None:
        super().__init__(rules)
        self.variadic = variadic

    def __getitem__(self, i: Any) -> Any:
        if i < self.variadic:
            return super().__getitem__(i)
        rule = super().__getitem__(self.variadic)
        return rule and functools.partial(rule, i - self.variadic)


def operator(function: Callable[..., Any], forward: Callable[..., Any] | None = None) -> Any:
    """The function that users call. It has the forward's own signature, without ``keep``."""
    made = Primitive(function, forward)
    recorder = record.of_any
    if str(made.signature) in record.SHORT_FORMS and not made.keeps:
        recorder = record.SHORT_FORMS[str(made.signature)]
    elif forward is not None:
        made.function = made.forward = functools.partial(_by_position, forward, made.signature)
    elif made.arguments[:1] == ["x"] and len(made.names - made.defaults.keys()) == 1 and not made.keeps:
        recorder = record.of_x_and_settings
    call: Any = functools.wraps(function)(recorder(made))
    call.__signature__, call.primitive, call.vjp, call.formula = made.signature, made, made.vjp, made.formula
    return with_examples(call)


def _by_position(forward: Callable[..., Any], signature: inspect.Signature, *given: Any, **named: Any) -> Any:
    """Call a function of NumPy's, which may have other names, and more arguments, than the operator."""
    bound = signature.bind(*given, **named)
    bound.apply_defaults()
    return forward(*bound.args, **bound.kwargs)


def primitive(function: Callable[..., Any] | None = None, *, forward: Callable[..., Any] | None = None) -> Any:
    """Make an operator of this package: a function of arrays, its forward, becomes one of arrays and Tensors.

    It is found by its name, and by that of NumPy's function. ``tg.primitive``, in guard.py, is for users' own.
    """
    if function is None:
        return functools.partial(primitive, forward=forward)
    return register(operator(function, forward))


def with_examples(function: Any) -> Any:
    """Give a function an ``example``, as every operator has."""
    function.examples = []
    function.example = lambda *args, **kwargs: function.examples.append((args, kwargs))
    return function


def register(function: Operator) -> Operator:
    """Let an operator be found by its name, and by NumPy's function of that name."""
    registry[function.__name__] = function
    if callable(numpy_function := getattr(np, function.__name__, None)):
        numpy_functions[numpy_function] = function
    return function
