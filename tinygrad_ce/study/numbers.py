"""Arrays as text: small ones whole, large ones summarised."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.study.language import translate

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
        return translate("from {least} to {most}", least=array.min(), most=array.max())
    finite = array[np.isfinite(array)].astype(float)
    lost = array.size - finite.size
    words = [translate("{n} not finite", n=lost)] if lost else []
    if finite.size:
        least, most, mean = (number(value) for value in (finite.min(), finite.max(), finite.mean()))
        words.insert(0, translate("from {least} to {most}, mean {mean}", least=least, most=most, mean=mean))
    return "; ".join(words)
