"""What a Tensor holds: how numbers come in, and how they are shown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_ce.engine.constants import real, unmasked
from tinygrad_ce.engine.node import Node


def numbers(data: Any, dtype: Any) -> np.ndarray:
    """A copy of data as an array of real numbers."""
    data = _constants(data, inside=False)
    integral = dtype is not None and np.dtype(dtype).kind in "iu"
    try:
        array = np.asarray(data)
        if integral and array.dtype.kind in "fiuO":
            exact = array if isinstance(data, np.ndarray) else np.asarray(data, object)
            array = _in_range(exact, np.dtype(dtype))
        elif array.dtype == object and dtype is not None:  # such as fractions
            array = np.asarray(data, dtype)
    except OverflowError as error:
        raise ValueError(f"overflow: {error}") from None
    except (ValueError, TypeError) as error:
        cause = "rows of different lengths?" if "inhomogeneous" in str(error) else str(error)
        raise ValueError(f"Tensor: data is no array of numbers: {cause}") from None
    try:
        with np.errstate(over="raise"):
            return np.array(real("Tensor: data", array), dtype)  # a copy, whatever __array__ gave
    except FloatingPointError:
        raise ValueError(f"overflow: data has numbers beyond the largest of {np.dtype(dtype)}") from None


def _in_range(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """An array in an integer dtype; refused are numbers that this doesn't reach to: NumPy would wrap them around."""
    reach = np.iinfo(dtype)
    for number in (array.min(), array.max()) if array.size else ():
        if not math.isfinite(number) or not reach.min <= int(number) <= reach.max:
            raise OverflowError(
                f"data has {number}, expected numbers from {reach.min} to {reach.max}, as {dtype} holds"
            )
    return array.astype(dtype)


def _constants(data: Any, inside: bool) -> Any:
    """Data with arrays in the place of Tensors; what would lose something is refused."""
    if isinstance(data, list | tuple):
        return [_constants(part, inside=True) for part in data]
    if not isinstance(data, Node):
        return unmasked("Tensor: data", data)
    if inside and data._requires_grad:
        raise TypeError("Tensor: data is a list of Tensors that require grad, which would be cut off; use tg.stack")
    return data._value


def shown(array: np.ndarray) -> ReadOnlyArray:
    """A copy of an array, read-only."""
    copy = array.copy().view(ReadOnlyArray)
    copy.setflags(write=False)
    return copy


class ReadOnlyArray(np.ndarray):
    """What ``t.data`` shows: a read-only copy that can say what to write. What is computed from it is a plain array."""

    def __setitem__(self, index: Any, value: Any) -> None:
        if not self.flags.writeable:
            raise ValueError(
                "t.data is a copy, and read-only: write t.data = array, t.data -= step, or change a copy of your own "
                "and assign it: a = t.numpy(); a[index] = value; t.data = a"
            )
        super().__setitem__(index, value)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else array

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))


def _updated(ufunc: np.ufunc) -> Any:
    """``t.data -= d``: Python assigns the result to ``t.data``."""
    return lambda self, other: ufunc(self, other, out=self if self.flags.writeable else None)


for _name, _ufunc in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "pow": np.power,
    "matmul": np.matmul,
}.items():  # fmt: skip
    setattr(ReadOnlyArray, f"__i{_name}__", _updated(_ufunc))
