"""Options held against their range."""

from __future__ import annotations

import math
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


def finite(where: str, name: str, value: Any, low: float = 0.0, below: float = math.inf) -> float:
    """An option that is a finite number of at least low, and below a bound if there is one.

    Raises:
        ValueError: it isn't.
    """
    if not low <= value < below:
        span = f"[{low:g}, {below:g})" if below < math.inf else f"of at least {low:g}"
        raise ValueError(f"{where}: {name} is {value!r}, expected a finite number {span}")
    return float(value)


def choice(where: str, name: str, value: str, *choices: str) -> str:
    """An option that is one of a few words.

    Raises:
        ValueError: it isn't.
    """
    if value not in choices:
        raise ValueError(f"{where}: {name} is {value!r}, expected {' or '.join(map(repr, choices))}")
    return value
