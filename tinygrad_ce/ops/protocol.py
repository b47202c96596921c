"""NumPy's functions where they meet a Tensor: which operator is called, with which arguments."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.engine.node import Node, is_recording
from tinygrad_ce.engine.primitive import numpy_functions

# NumPy's names of our own functions under another one, and functions whose result has no gradient: they get the arrays.
numpy_functions.update({np.amax: ops.max, np.amin: ops.min, np.linalg.norm: ops.norm})
_UFUNC_METHODS = {
    ("reduce", np.add): ops.sum, ("reduce", np.multiply): ops.prod, ("reduce", np.maximum): ops.max,
    ("reduce", np.minimum): ops.min, ("reduce", np.logaddexp): ops.logsumexp, ("accumulate", np.add): ops.cumsum,
    ("accumulate", np.multiply): ops.cumprod,
}  # fmt: skip
_PLAIN_RESULT = frozenset([
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or",
    "logical_not", "logical_xor", "isnan", "isinf", "isfinite", "signbit", "sign", "floor", "ceil", "trunc",
    "rint", "shape", "ndim", "size", "argmax", "argmin", "argsort", "nonzero", "flatnonzero", "argwhere",
    "count_nonzero", "all", "any", "isclose", "allclose", "array_equal", "zeros_like", "ones_like",
    "empty_like", "array_repr", "array_str", "array2string", "result_type", "can_cast", "searchsorted",
    "digitize", "shares_memory", "may_share_memory", "round", "around", "floor_divide", "unique", "full_like",
    "histogram", "isreal",
])  # fmt: skip


def read_only(value: Any) -> Any:
    """A value with every Tensor in it replaced by its array, read-only: NumPy may be told to write to it by out=."""
    if isinstance(value, Node):
        view = value._value.view()
        view.setflags(write=False)
        return view
    if isinstance(value, list | tuple):
        return type(value)(read_only(v) for v in value)
    return value


def call_ufunc(ufunc: Any, method: str, inputs: Any, kwargs: Any) -> Any:
    """What ``Tensor.__array_ufunc__`` gives."""
    if (method, ufunc) in _UFUNC_METHODS and kwargs.keys() <= {"axis", "keepdims"}:
        return _UFUNC_METHODS[method, ufunc](*inputs, **{"axis": 0, **kwargs})
    if method == "__call__" and not kwargs:
        if ufunc in numpy_functions:
            return numpy_functions[ufunc](*inputs)
        if ufunc.__name__ in _PLAIN_RESULT:
            return ufunc(*read_only(inputs))
    called = f"np.{ufunc.__name__}" if method == "__call__" else f"np.{ufunc.__name__}.{method}"
    raise _no_primitive(called, f" with {', '.join(kwargs)}=" if kwargs else "")


def call_function(function: Any, args: Any, kwargs: Any) -> Any:
    """What ``Tensor.__array_function__`` gives."""
    if function in numpy_functions:
        operator = numpy_functions[function]
        args, kwargs = _in_our_names(function, operator, args, kwargs)
        return operator(*args, **kwargs)
    if function.__name__ in _PLAIN_RESULT and not _cuts_off(function.__name__, args, kwargs):
        return function(*read_only(args), **{name: read_only(value) for name, value in kwargs.items()})
    raise _no_primitive(_called(function), "")


def _cuts_off(name: str, args: Any, kwargs: Any) -> bool:
    """Whether a fill value, or weights of a histogram, require grad: the result does have a gradient in these."""
    if name not in ("full_like", "histogram"):
        return False
    others = [*args[1:], *(value for name, value in kwargs.items() if name != "a")]
    return is_recording() and any(isinstance(value, Node) and value._requires_grad for value in others)


@functools.cache
def _arguments(function: Any) -> tuple[dict[str, Any], list[str], bool]:
    """A function's arguments with their defaults, those that may come by position or by name, and if there is a *."""
    try:
        found = inspect.signature(function).parameters.values()
    except ValueError:  # compiled, and it does not say
        return {}, [], False
    either = [p.name for p in found if p.kind not in (p.KEYWORD_ONLY, p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return {p.name: p.default for p in found}, either, any(p.kind is p.VAR_POSITIONAL for p in found)


def _in_our_names(function: Any, operator: Any, args: Any, kwargs: Any) -> tuple[Any, dict[str, Any]]:
    """The arguments of NumPy's function as its operator takes them.

    What the two call by other names stands at the same position. What the operator does not have, such as ``out``, is
    left out where it is NumPy's default.
    """
    ours, in_order, many = _arguments(operator)
    if kwargs.keys() <= ours.keys() and (many or len(args) <= len(in_order)):
        return args, kwargs
    theirs, their_order, _ = _arguments(function)
    count = len(args) if many else len(in_order)
    own = {**dict(zip(their_order, in_order, strict=False)), **{name: name for name in ours}}
    named: dict[str, Any] = {}
    for name, value in (*zip(their_order[count:], args[count:], strict=False), *kwargs.items()):
        if own.get(name) in named:
            raise TypeError(f"{_called(function)}: {name}= is given twice")
        if name in own:
            named[own[name]] = value
        elif name not in theirs or not _is_default(value, theirs[name]):
            raise TypeError(f"{_called(function)}: {name}= is not taken with a Tensor; taken are {', '.join(ours)}")
    return args[:count], named


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, str) and value == default)


def _called(function: Any) -> str:
    """How a function of NumPy's is written."""
    return f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)


def _no_primitive(called: str, more: str) -> TypeError:
    return TypeError(
        f"{called}{more} has no primitive here, so its gradient is unknown. Write it with the operators of tinygrad_ce "
        f"(dir(tinygrad_ce) lists them), add a primitive with @tg.primitive, or, if no gradient is needed, "
        f"call it on t.numpy()"
    )
