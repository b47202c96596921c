"""How an answer differs from the truth: the first index that is wrong, and what the mistake looks like."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.study.language import translate
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
    except Exception:  # whatever an answer's own class raises
        return translate("the answer is no array of numbers: rows of different lengths?")
    if found.dtype.kind not in "biufcUS" or any(
        (found.dtype.kind in k) != (expected.dtype.kind in k) for k in ("US", "b")
    ):
        return translate(
            "the answer is of type {kind}, expected {expected}", kind=type(answer).__name__, expected=_kind(truth)
        )
    if found.shape != expected.shape:
        said = translate(
            "the answer has shape {shape}, expected {expected}", shape=found.shape, expected=expected.shape
        )
        return said + _hint(found, expected, rtol)
    same = _same(found, expected, rtol, atol)
    if same.all():
        return ""
    if not found.ndim:
        is_there, should_be = number(found[()], DIGITS), number(expected[()], DIGITS)
        return translate("{found}, expected {expected}", found=is_there, expected=should_be) + _hint(
            found, expected, rtol
        )
    first = tuple(int(i) for i in np.argwhere(~same)[0])
    wrong = int(np.count_nonzero(~same))
    is_there, should_be = number(found[first], DIGITS), number(expected[first], DIGITS)
    said = translate("index {index} is the first that is wrong: {found}, expected {expected}",
                     index=list(first), found=is_there, expected=should_be)  # fmt: skip
    count = translate("{wrong} of {size} entries are wrong", wrong=wrong, size=found.size)
    return f"{said} ({count}{_hint(found, expected, rtol)})"


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


def _kind(truth: Any) -> str:
    """What an answer should be like."""
    if np.ndim(plain(truth)) == 0:
        return translate("something like {example}", example=repr(truth))
    return translate("numbers of shape {shape}", shape=np.shape(plain(truth)))


def _hint(found: np.ndarray, expected: np.ndarray, rtol: float) -> str:
    """What the mistake looks like, if it is one of the usual ones."""
    if found.dtype.kind not in "fiu" or expected.dtype.kind not in "fiu" or not np.any(expected):
        return ""
    expected = expected.astype(float)
    with np.errstate(all="ignore"):
        if _close(found, -expected, rtol):
            return translate("; it is the other sign")
        if found.ndim == 2 and _close(found, expected.T, rtol):
            return translate("; it is transposed")
        if found.size > 1 and _close(np.sort(found, axis=None), np.sort(expected, axis=None), rtol):
            return translate("; the right numbers, in other places")
        return _factor(found, expected) if found.shape == expected.shape else ""


def _close(found: np.ndarray, expected: np.ndarray, rtol: float) -> bool:
    return found.shape == expected.shape and np.allclose(found, expected, rtol=rtol, atol=0)


def _factor(found: np.ndarray, expected: np.ndarray) -> str:
    """How many times the truth it is, where the truth isn't 0."""
    factors = found[expected != 0] / expected[expected != 0]
    factor = f"{factors[0]:.4g}"
    if (
        np.any(found[expected == 0])
        or not np.any(factors)
        or not _close(factors, np.full_like(factors, factors[0]), 1e-4)
    ):
        return ""
    if factor == "1":
        return translate("; close, but more digits are asked for")
    return translate("; it is {factor} times what it should be", factor=factor)
