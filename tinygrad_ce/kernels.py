"""Arrays in, arrays out: softmax and cross-entropy over rows of logits. Knows no Tensor.

A row is one distribution: ``x[i]`` holds the logits of its classes. Throughout, m is a row's largest logit, e the
shifted exponentials exp(x - m), and their sum S = 1 + s is never formed where the 1 would swallow s.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

# Within ±range no exponential, and no ratio of a row's sum to one of its terms, leaves the dtype's normal numbers:
# there exp(x) needs no shift, which spares the row maximum and the rounding of x - m.
_RANGE = {np.dtype(np.float32): 36.0, np.dtype(np.float64): 340.0}

# Up to this length a product with ones is a quicker sum than np.add.reduce, and as accurate as its pairwise sum.
_SHORT = 128


def rows(x: np.ndarray, axis: Any = -1) -> tuple[np.ndarray, Callable[..., np.ndarray]]:
    """x as floating rows of classes, contiguous, and the way back.

    ``restore(result)`` gives rows their old place; ``restore(column, 1)`` does so for one number per row, leaving the
    class axes with length 1. float16 is computed in float32 and restored, integers become float64.
    """
    if x.ndim == 2 and axis in (1, -1) and x.dtype in _RANGE and x.flags.c_contiguous:
        return x, _as_it_is
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


def _shifted(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x - m, and m as a column; a row of -inf gets nan from -inf - -inf, and so does one with inf."""
    m = x.max(axis=1, keepdims=True, initial=-np.inf)
    return x - m, m


def _without_largest(d: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """exp(d) with each row's largest term (a 1) set to 0; the sums s of the rest as a column; where the largest is."""
    e = np.exp(d)
    largest = _starts(*d.shape) + (d.argmax(axis=1) if d.size else 0)
    one = e.take(largest)
    e.put(largest, one - 1)  # 0, but nan stays nan
    return e, e.sum(axis=1, keepdims=True), largest


@functools.lru_cache(maxsize=64)
def _starts(count: int, classes: int) -> Any:
    """Where each row begins in the flattened rows."""
    starts = np.arange(0, count * classes, classes) if classes else np.zeros(count, np.intp)
    starts.setflags(write=False)
    return starts


def softmax(x: np.ndarray) -> np.ndarray:
    """e / S."""
    with np.errstate(invalid="ignore"):
        e, _ = _shifted(x)
        np.exp(e, out=e)
        e /= e.sum(axis=1, keepdims=True)
    return e


def log_softmax(x: np.ndarray) -> np.ndarray:
    """(x - m) - log(1 + s): two terms of one sign, so that nothing cancels."""
    with np.errstate(invalid="ignore"):
        d, _ = _shifted(x)
        _, s, _ = _without_largest(d)
        d -= np.log1p(s)
    return d


def logsumexp(x: np.ndarray) -> np.ndarray:
    """m + log(1 + s) of each row; m itself where that is infinite."""
    with np.errstate(invalid="ignore"):
        d, m = _shifted(x)
        _, s, _ = _without_largest(d)
        return np.where(np.isinf(m), m, m + np.log1p(s))[:, 0]


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
            e, _ = _shifted(x)
            flat = e.reshape(-1)
            behind = -flat[at]
            np.exp(e, out=e)
            e_t = flat[at]
            flat[at] = e_t - e_t  # 0, but nan stays nan
            s = _row_sums(e)
            loss = np.where(e_t >= 0.5, np.log1p(s / e_t), np.log(s + e_t) + behind)
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
    """Whether exp(x) needs no shift. The norm bounds every entry, and is the cheaper look; nan fails both."""
    bound = _RANGE.get(x.dtype, 0.0)
    return bool(np.vdot(x, x) <= bound * bound or (x.min() >= -bound and x.max() <= bound))


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
    (Σ_{c≠k} mass_c - mass_k s) / S, which doesn't cancel where p_k and the share of mass_k are close to 1.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        d, _ = _shifted(x)
        e, s, largest = _without_largest(d)
        surprise = np.log1p(s) - d
        undefined = 0 * s[:, 0]  # nan in a row without probabilities, whatever its mass
        loss = np.multiply(surprise, mass, where=mass != 0, out=np.zeros_like(d)).sum(axis=1) + undefined
        if not keep:
            return loss, None
        mass_k = mass.take(largest)[:, None]
        others = mass.copy()
        others.put(largest, 0)
        rest = others.sum(axis=1, keepdims=True)
        gradient = e * ((rest + mass_k) / (s + 1)) - mass
        gradient.put(largest, (rest - mass_k * s) / (s + 1))
        gradient *= factor
    return loss, gradient
