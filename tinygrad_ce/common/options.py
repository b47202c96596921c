"""Options held against their range."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np


def whole(where: str, name: str, value: Any, least: int = 1) -> int:
    """An option that is a whole number of at least so many.

    Raises:
        ValueError: it isn't.

    Example:
        >>> whole("fit", "epochs", 0)
        Traceback (most recent call last):
        ValueError: fit: epochs is 0, expected a whole number of at least 1
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise ValueError(f"{where}: {name} is {value!r}, expected a whole number of at least {least}")
    return int(value)


def number(where: str, name: str, value: Any) -> Any:
    """An option that is one real number, whichever; text and yes or no are none.

    Raises:
        TypeError: it isn't.

    Example:
        >>> number("SGD", "lr", "0.1")
        Traceback (most recent call last):
        TypeError: SGD: lr is '0.1', of type str, expected a number
    """
    one = getattr(value, "shape", None) == () and value.dtype.kind in "fiu"  # an array or a Tensor
    if not one and (not isinstance(value, Real) or isinstance(value, bool)):
        raise TypeError(f"{where}: {name} is {value!r}, of type {type(value).__name__}, expected a number")
    return value


def finite(where: str, name: str, value: Any, low: float = 0.0, below: float = math.inf) -> float:
    """An option that is a finite number of at least low, and below a bound if there is one.

    Raises:
        TypeError, ValueError: it isn't.
    """
    if not low <= number(where, name, value) < below:
        span = f"[{low:g}, {below:g})" if below < math.inf else f"of at least {low:g}"
        raise ValueError(f"{where}: {name} is {value!r}, expected a finite number {span}")
    return float(value)


def unrounded(eps: float, dtype: Any) -> float:
    """A small number as a dtype holds it: one above 0 is not rounded to 0.

    Example:
        >>> unrounded(1e-300, "float32") > 0, unrounded(0.0, "float32")
        (True, 0.0)
    """
    return max(eps, float(np.finfo(dtype).tiny)) if eps else 0.0


def choice(where: str, name: str, value: str, *choices: str) -> str:
    """An option that is one of a few words.

    Raises:
        ValueError: it isn't.
    """
    if value not in choices:
        raise ValueError(f"{where}: {name} is {value!r}, expected {' or '.join(map(repr, choices))}")
    return value
