"""Arrays in, arrays out: softmax and cross-entropy over rows of logits. Knows no Tensor.

A row is one distribution: ``x[i]`` holds the logits of its classes, m the largest of them. The exponentials are
e = exp(x - c) with a shift c for each row, and their sum S is never formed where a large term would swallow the rest:
one term, the label's or the largest, is left out of s, and S = s + that term.

The shift costs digits: exp turns an absolute error of x - c into a relative one of e. So c is 0 where exp(x) stays
within the dtype's numbers, m elsewhere; x - m is exact where x and m are within a factor of 2 of each other, and where
that can't be relied on its rounding error is computed and made up for.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class _Limits(NamedTuple):
    """Up to which size of logits a dtype needs no care."""

    ratio: float  # |x| below this: no exponential, nor a row's sum over one of its terms, leaves the normal numbers
    direct: float  # 0 ≤ m ≤ this: exp(x) is a normal number wherever the probability is one
    exact: float  # |m| above this: x - m is exact wherever exp(x - m) isn't 0


_LIMITS = {
    np.dtype(np.float32): _Limits(36.0, 80.0, 210.0),
    np.dtype(np.float64): _Limits(340.0, 680.0, 1500.0),
}
_CAREFUL = _Limits(0.0, 0.0, np.inf)  # for other dtypes

# Up to this length a product with ones is a quicker sum than np.add.reduce, and as accurate as its pairwise sum.
_SHORT = 128


def rows(x: np.ndarray, axis: Any = -1) -> tuple[np.ndarray, Callable[..., np.ndarray]]:
    """x as floating rows of classes, contiguous, and the way back.

    ``restore(result)`` gives rows their old place; ``restore(column, 1)`` does so for one number per row, leaving the
    class axes with length 1. float16 is computed in float32 and restored, integers become float64.
    """
    if x.ndim == 2 and axis in (1, -1) and x.dtype in _LIMITS and x.flags.c_contiguous:
        return x, _as_it_is
    if x.dtype.kind not in "fiub":
        raise TypeError(f"logits have dtype {x.dtype}, expected real numbers")
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    work = np.dtype(np.float32) if dtype == np.float16 else dtype
    axes = np.lib.array_utils.normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim, "axis")
    order = (*(i for i in range(x.ndim) if i not in axes), *axes)
    moved = x.transpose(order)
    rest = moved.shape[: x.ndim - len(axes)]
    classes = moved.shape[len(rest) :]
    flat = np.ascontiguousarray(moved.reshape(math.prod(rest), math.prod(classes)), work)

    def restore(result: np.ndarray, length: int | None = None) -> np.ndarray:
        shape = (*rest, *(classes if length is None else [length] * len(classes)))
        return result.reshape(shape).transpose(np.argsort(order)).astype(dtype, copy=False)

    return flat, restore


def _as_it_is(result: np.ndarray, length: int | None = None) -> np.ndarray:
    return result


def _starts(count: int, classes: int) -> Any:
    """Where each row begins in the flattened rows."""
    return _few_starts(count, classes) if count <= 4096 else np.arange(count) * classes


@functools.lru_cache(maxsize=64)
def _few_starts(count: int, classes: int) -> Any:
    starts = np.arange(count) * classes
    starts.setflags(write=False)
    return starts


def _exponentials(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """exp(x - c) to the last digits, and the columns c and m. A row of -inf, or with nan or inf, becomes nan."""
    limits = _LIMITS.get(x.dtype, _CAREFUL)
    m = x.max(axis=1, keepdims=True, initial=-np.inf)
    c = np.where((m >= 0) & (m <= limits.direct), 0, m)
    e = x - c
    np.exp(e, out=e)
    rounded = np.flatnonzero((c != 0) & (np.abs(m) <= limits.exact))
    portion = max(1, (1 << 15) // max(x.shape[1], 1))  # of rows, to stay within a cache
    for i in range(0, len(rounded), portion):
        rows = rounded[i : i + portion]
        e[rows] *= 1 + _rounding(x[rows], c[rows])  # exp(d + error), to the last digit
    return e, c, m


def _rounding(x: np.ndarray, c: np.ndarray) -> Any:
    """What rounding takes from d = x - c, exactly; 0 where that is nan.

    Source: Knuth, The art of computer programming, volume 2, 4.2.2, theorem B.
    """
    d = x - c
    back = d - x
    error = (x - (d - back)) - (c + back)
    error[~np.isfinite(error)] = 0
    return error


def _without_largest(e: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The largest term of each row, the sum s of the others (columns), and where the largest is in the flat rows."""
    at = _starts(*x.shape) + (x.argmax(axis=1) if x.size else 0)
    flat = e.reshape(-1)
    largest = flat[at]
    flat[at] = largest - largest  # 0, but nan stays nan
    s = e.sum(axis=1, keepdims=True)
    flat[at] = largest
    return largest[:, None], s, at


def softmax(x: np.ndarray) -> np.ndarray:
    """e / S."""
    with np.errstate(invalid="ignore"):
        e, _, _ = _exponentials(x)
        e /= e.sum(axis=1, keepdims=True)
    return e


def log_softmax(x: np.ndarray) -> Any:
    """(x - m) - log(1 + s / e_m), with s the sum without the largest term e_m: two terms of one sign."""
    with np.errstate(invalid="ignore"):
        e, _, m = _exponentials(x)
        largest, s, _ = _without_largest(e, x)
        return (x - m) - np.log1p(s / largest)


def logsumexp(x: np.ndarray) -> Any:
    """m + log(1 + s / e_m) of each row; m itself where that is infinite."""
    with np.errstate(invalid="ignore"):
        e, _, m = _exponentials(x)
        largest, s, _ = _without_largest(e, x)
        return np.where(np.isinf(m), m, m + np.log1p(s / largest))[:, 0]


def index_cross_entropy(
    x: np.ndarray, labels: np.ndarray, factor: Any, keep: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """-log p of each row's label; if keep, also the gradient factor · (p - onehot), else None.

    With e_t the label's term and s the sum of all others, -log p_t = log(1 + s / e_t) and p_t - 1 = -s / S: the
    label's own term is left out of the sum, so a confident row loses nothing. factor is one number, or one per row.
    """
    count, classes = x.shape
    at = _starts(count, classes) + labels
    if _in_range(x):
        e = np.exp(x)
        flat = e.reshape(-1)
        e_t = flat[at]
        flat[at] = 0
        s = _row_sums(e)
        loss = np.log1p(s / e_t)
    else:
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            e, c, _ = _exponentials(x)
            flat = e.reshape(-1)
            e_t = flat[at]
            flat[at] = e_t - e_t  # 0, but nan stays nan
            s = _row_sums(e)
            behind = c[:, 0] - x.reshape(-1)[at]
            ratio = s / e_t
            usual = (e_t >= np.finfo(x.dtype).tiny) & (ratio < np.inf)
            loss = np.where(usual, np.log1p(ratio), np.log(s + e_t) + behind)
    if not keep:
        return loss, None
    scale = factor / (s + e_t)
    if classes <= _SHORT:  # broadcasting a column over short rows costs more than repeating it
        flat *= scale.repeat(classes)
    else:
        e *= scale[:, None]
    s *= scale
    flat[at] = -s
    return loss, e


def _in_range(x: np.ndarray) -> bool:
    """Whether exp(x) needs no shift; nan fails. (argmax finds a maximum in a fraction of the time that max takes.)"""
    bound = _LIMITS.get(x.dtype, _CAREFUL).ratio
    return not x.size or bool(x.item(x.argmax()) <= bound and x.item(x.argmin()) >= -bound)


def _row_sums(e: np.ndarray) -> Any:
    classes = e.shape[1]
    return e.dot(_ones(classes, e.dtype)) if classes <= _SHORT else e.sum(axis=1)


def total(losses: np.ndarray) -> Any:
    """The sum of a vector."""
    return losses.dot(_ones(len(losses), losses.dtype)) if len(losses) <= _SHORT else np.add.reduce(losses)


@functools.lru_cache(maxsize=64)
def _ones(count: int, dtype: np.dtype) -> np.ndarray:
    ones = np.ones(count, dtype)
    ones.setflags(write=False)
    return ones


def soft_cross_entropy(
    x: np.ndarray, mass: np.ndarray, factor: Any, keep: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Σ_c mass_c · (-log p_c) of each row; if keep, also factor · (A·p - mass) with A = Σ_c mass_c, else None.

    A class without mass adds 0 even where its logit is -inf. At the largest logit k the gradient is formed as
    (e_k Σ_{c≠k} mass_c - mass_k s) / S, which doesn't cancel where p_k and the share of mass_k are close to 1.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        e, _, m = _exponentials(x)
        largest, s, at = _without_largest(e, x)
        surprise = np.log1p(s / largest) + (m - x)
        undefined = 0 * s[:, 0]  # nan in a row without probabilities, whatever its mass
        loss = np.multiply(surprise, mass, where=mass != 0, out=np.zeros_like(x)).sum(axis=1) + undefined
        if not keep:
            return loss, None
        mass_k = mass.reshape(-1)[at][:, None]
        others = mass.copy()
        others.reshape(-1)[at] = 0
        rest = others.sum(axis=1, keepdims=True)
        gradient = e * ((rest + mass_k) / (s + largest)) - mass
        gradient.reshape(-1)[at] = ((largest * rest - mass_k * s) / (s + largest))[:, 0]
        gradient *= factor
    return loss, gradient
