"""How an answer differs from the truth: the first index that is wrong, and what the mistake looks like."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.study.numbers import number
from tinygrad_ce.tensor import Tensor

DIGITS = 8  # as many as one compares


def difference(answer: Any, truth: Any, rtol: float, atol: float) -> str:
    """What is wrong with an answer, in words; nothing if it is right.

    Example:
        >>> difference([1.0, 2.0], [1.0, 2.0], 1e-5, 0.0)
        ''
        >>> difference(-0.5, 0.5, 1e-5, 0.0)
        '-0.5, expected 0.5; it is the other sign'
    """
    try:
        found, expected = (np.asarray(plain(v)) for v in (answer, truth))
    except ValueError:
        return "the answer is no array of numbers: rows of different lengths?"
    if found.dtype == object or any((found.dtype.kind in k) != (expected.dtype.kind in k) for k in ("US", "b")):
        return f"the answer is of type {type(answer).__name__}, expected something like {truth!r}"
    if found.shape != expected.shape:
        return f"the answer has shape {found.shape}, expected {expected.shape}{_turned(found, expected, rtol)}"
    same = _same(found, expected, rtol, atol)
    if same.all():
        return ""
    if not found.ndim:
        return f"{number(found[()], DIGITS)}, expected {number(expected[()], DIGITS)}{_hint(found, expected, rtol)}"
    first = tuple(int(i) for i in np.argwhere(~same)[0])
    wrong = int(np.count_nonzero(~same))
    is_there, should_be = number(found[first], DIGITS), number(expected[first], DIGITS)
    return (
        f"index {list(first)} is the first that is wrong: {is_there}, expected {should_be} "
        f"({wrong} of {found.size} entries are wrong{_hint(found, expected, rtol)})"
    )


def plain(value: Any) -> Any:
    """A value with arrays in the places of its Tensors."""
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value._value if isinstance(value, Tensor) else value


def _same(found: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    """Which entries are right."""
    with np.errstate(invalid="ignore"):
        if found.dtype.kind not in "fc" and expected.dtype.kind not in "fc":
            return np.asarray(found == expected)
        # atol must not hide a mistake in small numbers: it is at most rtol of the largest.
        largest = np.max(np.abs(expected), where=np.isfinite(expected), initial=0.0)
        atol = min(atol, rtol * largest or atol)
        return np.asarray(np.isclose(found, expected, rtol=rtol, atol=atol, equal_nan=True))


def _turned(found: np.ndarray, expected: np.ndarray, rtol: float) -> str:
    """Whether it is the truth, transposed."""
    turned = found.ndim == 2 and found.T.shape == expected.shape and found.dtype.kind in "fiu"
    return "; it is transposed" if turned and np.allclose(found.T, expected, rtol=rtol, atol=0) else ""


def _hint(found: np.ndarray, expected: np.ndarray, rtol: float) -> str:
    """What the mistake looks like, if it is one of the usual ones."""
    if found.dtype.kind not in "fiu" or expected.dtype.kind not in "fiu" or not np.any(expected):
        return ""
    expected = expected.astype(float)
    with np.errstate(all="ignore"):
        if np.allclose(found, -expected, rtol=rtol, atol=0):
            return "; it is the other sign"
        if found.ndim == 2 and found.shape == found.T.shape and np.allclose(found.T, expected, rtol=rtol, atol=0):
            return "; it is transposed"
        if found.size > 1 and np.allclose(np.sort(found, axis=None), np.sort(expected, axis=None), rtol=rtol, atol=0):
            return "; the right numbers, in other places"
        factors = found[expected != 0] / expected[expected != 0]
    factor = f"{factors[0]:.4g}"
    if np.any(found[expected == 0]) or not np.isfinite(factors).all() or not np.any(factors):
        return ""
    if factor == "1" or not np.allclose(factors, factors[0], rtol=1e-4, atol=0):
        return "; close, but not close enough" if np.allclose(factors, 1, rtol=1e-3, atol=0) else ""
    return f"; it is {factor} times what it should be"
