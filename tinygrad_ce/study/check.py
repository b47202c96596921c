"""check: compare an exercise's answer with the truth, and name the first index that is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.common.terminal import say
from tinygrad_ce.study.numbers import number
from tinygrad_ce.tensor import Tensor

DIGITS = 8  # as many as one compares


def check(answer: Any, truth: Any, *, rtol: float = 1e-5, atol: float = 1e-9) -> None:
    """Print whether an answer is right; if it is wrong, the first wrong index, what stands there and what should.

    Args:
        answer: numbers of any shape, or a Tensor; ``...`` or None is an exercise that nobody has done yet.
        truth: what the answer should be; text and bools are compared as they are.
        rtol: the relative difference that counts as right.
        atol: the absolute difference that counts as right.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.study.check([0.5, 0.25, 0.5], [0.5, 0.25, 0.25])
        ✗ index [2] is the first that is wrong: 0.5, expected 0.25 (1 of 3 entries are wrong)
        >>> tg.study.check(tg.softmax([0.0, 0.0]), [0.5, 0.5])
        ✓ right: all 2 entries
        >>> tg.study.check(..., 3)
        … not answered yet: put your answer in the place of ...
    """
    say(_verdict(answer, truth, rtol, atol))


def _plain(value: Any) -> Any:
    """A value with arrays in the places of its Tensors."""
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value._value if isinstance(value, Tensor) else value


def _verdict(answer: Any, truth: Any, rtol: float, atol: float) -> str:
    if answer is None or answer is ...:
        return "… not answered yet: put your answer in the place of ..."
    try:
        found, expected = (np.asarray(_plain(v)) for v in (answer, truth))
    except ValueError:
        return "✗ the answer is no array of numbers: rows of different lengths?"
    if found.dtype == object or any((found.dtype.kind in k) != (expected.dtype.kind in k) for k in ("US", "b")):
        return f"✗ the answer is of type {type(answer).__name__}, expected something like {truth!r}"
    if found.shape != expected.shape:
        return f"✗ the answer has shape {found.shape}, expected {expected.shape}"
    same = _same(found, expected, rtol, atol)
    if same.all():
        return f"✓ right: all {found.size} entries" if found.size > 1 else "✓ right"
    if not found.ndim:
        return f"✗ {number(found[()], DIGITS)}, expected {number(expected[()], DIGITS)}{_hint(found, expected, rtol)}"
    first = tuple(int(i) for i in np.argwhere(~same)[0])
    wrong = int(np.count_nonzero(~same))
    is_there, should_be = number(found[first], DIGITS), number(expected[first], DIGITS)
    return (
        f"✗ index {list(first)} is the first that is wrong: {is_there}, expected {should_be} "
        f"({wrong} of {found.size} entries are wrong{_hint(found, expected, rtol)})"
    )


def _same(found: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    """Which entries are right."""
    with np.errstate(invalid="ignore"):
        if found.dtype.kind not in "fc" and expected.dtype.kind not in "fc":
            return np.asarray(found == expected)
        # atol must not hide a mistake in small numbers: it is at most rtol of the largest.
        largest = np.max(np.abs(expected), where=np.isfinite(expected), initial=0.0)
        atol = min(atol, rtol * largest or atol)
        return np.asarray(np.isclose(found, expected, rtol=rtol, atol=atol, equal_nan=True))


def _hint(found: np.ndarray, expected: np.ndarray, rtol: float) -> str:
    """What the mistake looks like, if it is one of the usual ones."""
    if found.dtype.kind not in "fiu" or expected.dtype.kind not in "fiu" or not np.any(expected):
        return ""
    with np.errstate(all="ignore"):
        if np.allclose(found, -expected.astype(float), rtol=rtol, atol=0):
            return "; it is the other sign"
        if found.size > 1 and np.allclose(np.sort(found, axis=None), np.sort(expected, axis=None), rtol=rtol, atol=0):
            return "; the right numbers, in other places"
        factors = found / expected.astype(float)
    factor = factors.flat[0]
    if np.isfinite(factors).all() and np.any(factor) and np.allclose(factors, factor, rtol=1e-4, atol=0):
        return f"; it is {factor:.4g} times what it should be"
    return ""
