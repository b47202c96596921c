"""Arrays as text: small ones whole, large ones summarised."""

from __future__ import annotations

from typing import Any

import numpy as np

WHOLE = 32  # the most numbers that are printed one by one: a batch of 3 × 10 is
DIGITS = 6


def number(value: Any, digits: int = DIGITS) -> str:
    """One number to so many significant digits."""
    return f"{value:.{digits}g}" if isinstance(value, float | np.floating) else f"{value}"


def shortened(text: str, letters: int) -> str:
    """A text, cut if it has more letters."""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def numbers(array: Any) -> str:
    """An array as text: every number of a small one; of a large one its shape, range, mean and first numbers.

    Example:
        >>> import numpy as np
        >>> numbers(np.array([[1.0, 0.5], [2.0, 1 / 3]]))
        '[[1, 0.5],\\n [2, 0.333333]]'
        >>> numbers(np.arange(100.0))
        '(100,) from 0 to 99, mean 49.5: 0, 1, 2, 3, 4, …'
    """
    array = np.asarray(array)
    if array.size <= WHOLE:
        return np.array2string(array, separator=", ", formatter={"all": number}, threshold=WHOLE, max_line_width=200)
    first = ", ".join(number(v) for v in array.ravel()[:5])
    return f"{array.shape} {spread(array)}: {first}, …"


def spread(array: np.ndarray) -> str:
    """The range and mean of an array, and how many of its numbers aren't finite."""
    if array.dtype.kind != "f":
        return f"from {array.min()} to {array.max()}"
    finite = array[np.isfinite(array)].astype(float)
    lost = array.size - finite.size
    words = [f"{lost} not finite"] if lost else []
    if finite.size:
        words.insert(0, f"from {number(finite.min())} to {number(finite.max())}, mean {number(finite.mean())}")
    return "; ".join(words)
