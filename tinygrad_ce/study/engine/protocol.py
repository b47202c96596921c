"""An engine that somebody has written, as the checks call it."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# Python's operators, by the name of the method that a Tensor has for each.
OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv, "pow": operator.pow,
    "matmul": operator.matmul, "neg": operator.neg,
}  # fmt: skip
SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**", "matmul": "@", "neg": "-"}


class NotYet(Exception):
    """The engine doesn't have that."""


class Nonsense(Exception):
    """The engine gave something that is no such thing."""


class Engine:
    """Somebody's engine: a module, a dict such as ``globals()``, an object with such attributes, or the class alone.

    What :func:`~tinygrad_ce.study.check_engine` lists is looked up here: operators and functions as methods of the
    class, or else as functions beside it.
    """

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        kind = engine if isinstance(engine, type) else self.found("Tensor")
        kind = self.found("Value") if kind is None else kind
        if not (isinstance(engine, type | Mapping) or hasattr(engine, "__dict__")):
            raise TypeError(
                f"check_engine: the engine is {engine!r}, expected a module, a dict such as globals(), or a class"
            )
        self.kind = kind
        self._options = {"requires_grad": True} if _asks_for_gradients(kind) else {}
        self.trained: Any = None  # how its training went
        self.used: set[str] = set()  # which operators were called since this was last emptied

    def found(self, name: str) -> Any:
        """What the engine has under a name; None if there is nothing."""
        value = self.engine.get(name) if isinstance(self.engine, Mapping) else getattr(self.engine, name, None)
        return None if value is ... else value

    def need(self, name: str) -> Any:
        """A class or function of the engine's, which must be there."""
        value = self.found(name)
        if not callable(value):
            raise NotYet(name)
        return value

    def leaf(self, data: Any) -> Any:
        """A Tensor of the engine's that has a gradient, as an Operand."""
        if not isinstance(self.kind, type):
            raise NotYet("Tensor")
        number = isinstance(data, float)
        return Operand(self, self.kind(np.float64(data) if number else data, **self._options))

    def __getattr__(self, name: str) -> Callable[..., Operand]:
        """An operator or a function, on operands."""
        return lambda *operands, **options: self.apply(name, *operands, **options)

    def apply(self, name: str, *operands: Any, **options: Any) -> Operand:
        """Call an operator or a function of the engine's."""
        self.used.add(name)
        shown = SYMBOLS.get(name, name) + (f"({', '.join(f'{k}=…' for k in options)})" if options else "")
        call = self._function(name, operands)
        number = name in OPERATORS and name != "pow" and not all(isinstance(x, Operand) for x in operands)
        if call is None:
            raise NotYet(f"{shown} with a number" if number else shown)
        given = [x.tensor if isinstance(x, Operand) else x for x in operands]
        try:
            result = call(*given, **options)
        except NotImplementedError:
            raise NotYet(shown) from None
        except (TypeError, AttributeError) as error:
            if options and "unexpected keyword" in str(error):
                raise NotYet(shown) from None
            if number:
                raise NotYet(f"{shown} with a number") from None
            raise
        return self._checked(shown, result)

    def _checked(self, shown: str, result: Any) -> Operand:
        """What an operator gave, if it is a Tensor."""
        if result is None or result is ... or result is NotImplemented:
            raise NotYet(shown)
        if not isinstance(result, self.kind):
            raise Nonsense(f"{shown} gave a {type(result).__name__}, expected a {self.kind.__name__}")
        return Operand(self, result)

    def _function(self, name: str, operands: tuple[Any, ...]) -> Callable[..., Any] | None:
        if name in OPERATORS:
            method = f"__{name}__" if isinstance(operands[0], Operand) else f"__r{name}__"
            return OPERATORS[name] if hasattr(self.kind, method) else None
        if callable(getattr(self.kind, name, None)):
            return getattr(self.kind, name)  # type: ignore[no-any-return]
        function = self.found(name)
        return function if callable(function) else None


def _asks_for_gradients(kind: Any) -> bool:
    """Whether a class wants to be told which of its Tensors have a gradient."""
    try:
        return "requires_grad" in inspect.signature(kind).parameters
    except (ValueError, TypeError):
        return False


class Operand:
    """A Tensor of somebody's engine, in a check: its operators are the engine's, and what they give is looked at."""

    def __init__(self, engine: Engine, tensor: Any) -> None:
        self.engine, self.tensor = engine, tensor

    @property
    def data(self) -> np.ndarray:
        """Its numbers."""
        return self._numbers("data", self.tensor.data)

    @property
    def grad(self) -> np.ndarray:
        """Its gradient; nan where none has come."""
        given = getattr(self.tensor, "grad", None)
        return np.full(self.data.shape, np.nan) if given is None else self._numbers("grad", given)

    def _numbers(self, name: str, value: Any) -> np.ndarray:
        array = np.asarray(getattr(value, "data", value) if type(value) is self.engine.kind else value)
        if array.dtype.kind not in "fiub":
            raise Nonsense(f".{name} is a {type(value).__name__}, expected numbers")
        return array

    def backward(self) -> None:
        """Run the engine's reverse pass."""
        if not callable(getattr(self.tensor, "backward", None)):
            raise NotYet("backward")
        self.tensor.backward()

    def sum(self, **options: Any) -> Operand:
        """Its sum, over all or along an axis."""
        return self.engine.apply("sum", self, **options)

    def mean(self, **options: Any) -> Operand:
        """Its mean, over all or along an axis."""
        return self.engine.apply("mean", self, **options)


def _operator(name: str) -> tuple[Callable[..., Operand], Callable[..., Operand]]:
    return (
        lambda self, *other: self.engine.apply(name, self, *other),
        lambda self, other: self.engine.apply(name, other, self),
    )


for _name in OPERATORS:
    for _method, _call in zip((f"__{_name}__", f"__r{_name}__"), _operator(_name), strict=True):
        setattr(Operand, _method, _call)
