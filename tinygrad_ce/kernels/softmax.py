"""Arrays in, arrays out: softmax and cross-entropy over rows of logits. Knows no Tensor.

A row is one distribution: ``x[i]`` holds the logits of its classes, m the largest of them. The exponentials are
e = exp(x - c) with a shift c for each row, and their sum S is never formed where a large term would swallow the rest:
one term, the label's or the largest, is left out of s, and S = s + that term.

A shift costs time, and digits: exp turns an absolute error of x - c into a relative one of e. So c is 0 first, and a
row is done again, with c near m, only where its sum shows that numbers were lost. There x - m is exact where x and m
are within a factor of 2 of each other; elsewhere x is cut in two, so that nothing is rounded.

Every function works in blocks of rows that stay in a cache, in place, and large ones on several threads.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.kernels.threads import by_rows

# What needs no conversion.
FAST = (np.dtype(np.float32), np.dtype(np.float64))

# Up to so many classes rows are summed by products with ones, which takes a fraction of np.add.reduce's time. BLAS adds
# up in few accumulators, so that a product of more than a window's width would lose digits.
_SHORT, _WINDOW = 256, 256  # classes; bytes
_GEMV = 9216  # numbers in a matrix up to which OpenBLAS starts no threads of its own for a product with a vector

_FEW = 16384  # numbers up to which a call's overhead is what counts


class _Limits(NamedTuple):
    """What a dtype can hold."""

    large: float  # sums of exponentials from 1 / large to large can be divided by, and into a factor
    log_large: float
    exact: float  # |m| above this: x - m is exact wherever exp(x - m) isn't 0
    grid: float  # adding and subtracting it rounds x to half of its digits


@functools.cache
def _limits(dtype: np.dtype) -> _Limits:
    info = np.finfo(dtype)
    large = float(2.0 ** min(info.maxexp - 28, 996))
    return _Limits(
        large=large,
        log_large=math.log(large),
        exact=-2.0 * float(np.log(info.smallest_subnormal)),
        grid=1.5 * 2.0 ** (info.nmant - (info.nmant + 1) // 2),
    )


def rows(x: np.ndarray, axis: Any = -1) -> tuple[np.ndarray, Callable[..., np.ndarray]]:
    """x as floating rows of classes, contiguous, and the way back.

    ``restore(result)`` gives rows their old place; ``restore(column, 1)`` does so for one number per row, leaving the
    class axes with length 1. float16 is computed in float32 and restored, integers become float64.
    """
    if x.ndim == 2 and axis in (1, -1) and x.dtype in FAST and x.flags.c_contiguous:
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
        with np.errstate(all="ignore"):  # float16 holds less than what it was computed in
            return result.reshape(shape).transpose(np.argsort(order)).astype(dtype, copy=False)

    return flat, restore


def _as_it_is(result: np.ndarray, length: int | None = None) -> np.ndarray:
    return result


# A row's exponentials and their sum


def _terms(x: np.ndarray, at: Any, e: np.ndarray) -> tuple[Any, Any, Any]:
    """exp(x - c) in e, but for 0 at the flat positions at, one in each row: the term there, the sum s of the others, c.

    c is 0, or one number for each row. A row of -inf, or with nan or inf, becomes nan. Without positions the term is 0.
    """
    often, first = _often_beyond(x)
    if first:
        c = _shifted(x, x[:, 0].copy(), e)
        term, s = _taken_out(e, at)
        if (s + term).max() <= _limits(x.dtype).large:
            return term, s, c
    if not often:
        _exp(x, e)
        term, s = _taken_out(e, at)
        wrong = _beyond(x, s + term)
        if wrong is None:
            return term, s, 0.0
        often = 4 * len(wrong) > len(x)
    if often:
        c = _shifted(x, _maxima(x), e)
        return *_taken_out(e, at), c
    c = np.zeros(len(x), x.dtype)
    again = x[wrong]
    e_again = np.empty_like(again)
    c[wrong] = _shifted(again, _maxima(again), e_again)
    if at is not None:
        at = at[wrong] + (np.arange(len(wrong)) - wrong) * x.shape[1]
    term_again, s[wrong] = _taken_out(e_again, at)
    if at is not None:
        term[wrong] = term_again
    e[wrong] = e_again
    return term, s, c


def _taken_out(e: np.ndarray, at: Any) -> tuple[Any, Any]:
    """The numbers at flat positions, where 0 stands from now on, and the sums of the rows without them."""
    if at is None:
        return 0.0, row_sums(e)
    flat = e.reshape(-1)
    term = flat[at]
    flat[at] = 0
    return term, row_sums(e)


def _often_beyond(x: np.ndarray) -> tuple[bool, bool]:
    """Whether so many rows will need a shift that all get one, going by a sixteenth of the numbers; and whether any
    number of a row, the first say, will do for it as well as the largest."""
    if x.size < 1 << 14:
        return False, False
    few = x[: len(x) // 16] if len(x) >= 16 else x[:1, : len(x) * x.shape[1] // 16]
    log_large = _limits(x.dtype).log_large
    m = _maxima(few)
    often = 4 * np.count_nonzero(np.abs(m) > log_large) > len(few)
    return bool(often), bool(often and (m - few[:, 0]).max() <= log_large / 2)


def _beyond(x: np.ndarray, total: Any) -> Any:
    """The rows whose sum of exponentials says that exp(x) lost numbers, or None; nan is among them."""
    large, log_large = _limits(x.dtype)[:2]
    # (argmax finds a maximum in a fraction of the time that max takes.)
    if total.item(total.argmax()) <= large:
        if total.item(total.argmin()) >= 1 or x.item(x.argmin()) >= -log_large:
            return None
        return np.flatnonzero(~(total >= 1))
    return np.flatnonzero(~((total >= 1) & (total <= large)))


def _shifted(x: np.ndarray, m: np.ndarray, e: np.ndarray) -> Any:
    """exp(x - c) in e, to the last digit, and c: each row's m, rounded where x - m may need rounding."""
    _, _, exact, grid = _limits(x.dtype)
    m[m == -np.inf] = np.nan
    size = np.abs(m)
    near = size <= exact
    if size.max() <= grid / 6:
        return _shifted_exactly(x, m, grid, e)
    if 4 * np.count_nonzero(near) > len(x):
        return _shifted_exactly(x, m, np.where(near, grid, 0).astype(x.dtype)[:, None], e)
    np.subtract(x, m[:, None], out=e)
    _exp(e, e)
    rows = np.flatnonzero(near)
    if rows.size:
        part = np.empty((len(rows), x.shape[1]), x.dtype)
        m[rows] = _shifted_exactly(x[rows], m[rows], grid, part)
        e[rows] = part
    return m


def _shifted_exactly(x: np.ndarray, m: np.ndarray, grid: Any, e: np.ndarray) -> Any:
    """exp(high - c) (1 + low) in e, and c, with x = high + low: c and high have half of x's digits, so that high - c
    rounds nothing. Where the grid is 0, low is 0 and c is m."""
    if not x.item(x.argmin()) > -np.inf:  # whose low would be nan
        x = np.maximum(x, np.finfo(x.dtype).min)
    c = (m[:, None] + grid) - grid
    np.add(x, grid, out=e)
    e -= grid
    low = x - e
    e -= c
    _exp(e, e)
    low *= e
    e += low
    return c[:, 0]


def _exp(x: np.ndarray, e: np.ndarray) -> None:
    """exp(x) in e; in float64 apart from where it is 0 or nearly, which takes NumPy up to a hundred times as long."""
    if x.dtype != np.float64 or not x.item(x.argmin()) < -707.7:
        np.exp(x, out=e)
        return
    there = x >= -707.7
    nearly = np.flatnonzero(~there & (x > -745.2))
    small = np.exp(x.reshape(-1)[nearly])
    np.clip(x, -707.7, None, out=e)
    np.exp(e, out=e)
    e *= there
    e.reshape(-1)[nearly] = small


def _maxima(x: np.ndarray) -> Any:
    """The largest number of each row; nan where there is one."""
    count, classes = x.shape
    if classes * x.itemsize < 256:  # below, argmax looks at one number at a time
        return np.ascontiguousarray(x.T).max(axis=0, initial=-np.inf)
    return x.reshape(-1)[_starts(count, classes) + x.argmax(axis=1)]


def _largest(x: np.ndarray) -> Any:
    """Where each row's largest number is in the flattened rows."""
    return _starts(*x.shape) + x.argmax(axis=1)


def row_sums(e: np.ndarray) -> Any:
    """The sum of each row, by products with ones."""
    classes = e.shape[1]
    if classes > _SHORT:
        return np.add.reduce(e, axis=1)
    width = _WINDOW // e.itemsize
    if classes > width:
        s = _window_sums(e[:, :width])
        for i in range(width, classes, width):
            s += _window_sums(e[:, i : i + width])
        return s
    return _window_sums(e)


def _window_sums(e: np.ndarray) -> Any:
    count, classes = e.shape
    ones = _ones(classes, e.dtype)
    if e.size <= 2 * _GEMV:
        return e.dot(ones)
    step = _GEMV // max(classes, 1)
    whole = count - count % step
    s = np.matmul(e[:whole].reshape(-1, step, classes), ones).reshape(-1)  # (a view, also of a window)
    return s if whole == count else np.concatenate([s, e[whole:].dot(ones)])


# With these e can be multiplied by factor / S at once.
_USUAL_FACTORS = 2.0**-24, 2.0**24


def _scale_to(e: np.ndarray, total: Any, factor: Any) -> None:
    """e *= factor / total, where that alone may leave the dtype's numbers; factor is one number, or one per row."""
    if type(factor) is float and _USUAL_FACTORS[0] <= factor <= _USUAL_FACTORS[1]:
        _scale(e, factor / total)
        return
    _scale(e, 1 / total)
    _times(e, factor)


def _times(e: np.ndarray, factor: Any) -> None:
    """e *= factor: one number, or one for each row."""
    if isinstance(factor, np.ndarray) and factor.ndim:
        _scale(e, factor)
    elif factor != 1:
        e *= factor


def _scale(e: np.ndarray, column: Any) -> None:
    """e *= column: a number for each row."""
    if e.shape[1] <= 48:  # repeating numbers is quicker than broadcasting them over short rows
        e *= column.repeat(e.shape[1]).reshape(e.shape)
    else:
        e *= column[:, None]


def _starts(count: int, classes: int) -> Any:
    """Where each row begins in the flattened rows."""
    return _few_starts(count, classes) if count <= 4096 else np.arange(0, count * classes, classes)


@functools.lru_cache(maxsize=64)
def _few_starts(count: int, classes: int) -> Any:
    starts = np.arange(count) * classes
    starts.setflags(write=False)
    return starts


@functools.lru_cache(maxsize=64)
def _ones(count: int, dtype: np.dtype) -> np.ndarray:
    ones = np.ones(count, dtype)
    ones.setflags(write=False)
    return ones


def total(losses: np.ndarray) -> Any:
    """The sum of a vector."""
    return losses.dot(_ones(len(losses), losses.dtype)) if len(losses) <= _SHORT else np.add.reduce(losses)


# Softmax and its logarithm


def softmax(x: np.ndarray) -> np.ndarray:
    """e / S."""
    p = np.empty_like(x)
    by_rows(_softmax_rows, x, p)
    return p


@np.errstate(all="ignore")
def _softmax_rows(x: np.ndarray, p: np.ndarray) -> None:
    _, s, _ = _terms(x, None, p)
    _scale(p, 1 / s)


def log_softmax(x: np.ndarray) -> np.ndarray:
    """(x - m) - log(1 + s / e_m), with s the sum without the largest term e_m: two terms of one sign."""
    y = np.empty_like(x)
    by_rows(_log_softmax_rows, x, y)
    return y


@np.errstate(all="ignore")
def _log_softmax_rows(x: np.ndarray, y: np.ndarray) -> None:
    at = _largest(x)
    largest, s, _ = _terms(x, at, y)
    np.subtract(x, x.reshape(-1)[at][:, None], out=y)
    y -= np.log1p(s / largest)[:, None]


def logsumexp(x: np.ndarray) -> np.ndarray:
    """m + log(1 + s / e_m) of each row; m itself where that is infinite."""
    y = np.full(len(x), -np.inf, x.dtype)
    by_rows(_logsumexp_rows, x, y)
    return y


@np.errstate(all="ignore")
def _logsumexp_rows(x: np.ndarray, y: np.ndarray) -> None:
    at = _largest(x)
    largest, s, _ = _terms(x, at, np.empty_like(x))
    m = x.reshape(-1)[at]
    y[:] = np.where(np.isinf(m), m, m + np.log1p(s / largest))


# Cross-entropy


def index_cross_entropy(
    x: np.ndarray, labels: np.ndarray, factor: Any, keep: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """-log p of each row's label; if keep, also the gradient factor · (p - onehot), else None.

    With e_t the label's term and s the sum of all others, -log p_t = log(1 + s / e_t) and p_t - 1 = -s / S: the
    label's own term is left out of the sum, so a confident row loses nothing. factor is one number, or one per row.
    """
    usual = type(factor) is float and _USUAL_FACTORS[0] <= factor <= _USUAL_FACTORS[1]
    if usual and 0 < x.size <= _FEW and x.shape[1] <= _SHORT and x.dtype in FAST:
        if _in_range(x):
            return _few_index_rows(x, labels, factor, keep)
        wide = _brought_in_range(x)
        if wide is not None:
            with np.errstate(all="ignore"):
                loss, slope = _few_index_rows(wide, labels, factor, keep)
                return loss.astype(x.dtype), None if slope is None else slope.astype(x.dtype)
    losses = np.empty(len(x), x.dtype)
    gradient = np.empty_like(x) if keep else None
    by_rows(_index_rows, x, labels, factor, losses, gradient)
    return losses, gradient


@np.errstate(all="ignore")
def _index_rows(x: np.ndarray, label: np.ndarray, factor: Any, loss: np.ndarray, gradient: Any) -> None:
    at = _starts(*x.shape) + label
    e = np.empty_like(x) if gradient is None else gradient
    e_t, s, c = _terms(x, at, e)
    np.log1p(s / e_t, out=loss)
    far = (e_t < np.finfo(x.dtype).tiny) | (loss == np.inf)  # e_t lost digits, or s / e_t is too large
    if far.any():
        loss[far] = (np.log(s + e_t) + (c - x.reshape(-1)[at]))[far]
    if gradient is not None:
        e.reshape(-1)[at] = -s
        _scale_to(e, s + e_t, factor)


def _few_index_rows(
    x: np.ndarray, label: np.ndarray, factor: float, keep: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """What _index_rows gives, where nothing can be lost: a small batch's time is that of the calls."""
    count, classes = x.shape
    starts, ones, factors = _constants(count, classes, x.dtype, factor)
    at = starts + label
    e = np.exp(x)
    flat = e.reshape(-1)
    e_t = flat[at]
    flat[at] = 0
    s = e.dot(ones) if classes * x.itemsize <= _WINDOW else row_sums(e)
    loss = np.log1p(s / e_t)
    if not keep:
        return loss, None
    flat[at] = -s
    e_t += s
    flat *= (factors / e_t).repeat(classes)
    return loss, e


@functools.lru_cache(maxsize=64)
def _constants(count: int, classes: int, dtype: np.dtype, factor: float) -> Any:
    return _starts(count, classes), _ones(classes, dtype), np.full(count, factor, dtype)


@np.errstate(all="ignore")
def _brought_in_range(x: np.ndarray) -> np.ndarray | None:
    """float32's logits as numbers of float64 with the same softmax, whose exp are all normal; None if there are none.

    There they have ten times the range, and can be shifted without rounding.
    """
    if x.dtype != np.float32:
        return None
    wide = x.astype(np.float64)
    if _in_range(wide):
        return wide
    flat = wide.reshape(-1)
    flat -= flat[_largest(wide)].repeat(x.shape[1])
    return wide if _in_range(wide) else None


def _in_range(x: np.ndarray) -> bool:
    """Whether every exp(x), and the quotient of a row's sum and one of its terms, is a normal number; nan fails."""
    bound = _limits(x.dtype).log_large / 2
    return bool(x.item(x.argmax()) <= bound and x.item(x.argmin()) >= -bound)


def soft_cross_entropy(
    x: np.ndarray, mass: np.ndarray, factor: Any, keep: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Σ_c mass_c · (-log p_c) of each row; if keep, also factor · (A·p - mass) with A = Σ_c mass_c, else None.

    A class without mass adds 0 even where its logit is -inf. At the largest logit k the gradient is formed as
    (e_k Σ_{c≠k} mass_c - mass_k s) / S, which doesn't cancel where p_k and the share of mass_k are close to 1.
    """
    losses = np.zeros(len(x), x.dtype)
    gradient = np.empty_like(x) if keep else None
    by_rows(_soft_rows, x, mass, factor, losses, gradient)
    return losses, gradient


@np.errstate(all="ignore")
def _soft_rows(x: np.ndarray, mass: np.ndarray, factor: Any, loss: np.ndarray, gradient: Any) -> None:
    at = _largest(x)
    e = np.empty_like(x) if gradient is None else gradient
    e_k, s, _ = _terms(x, at, e)
    behind = x.reshape(-1)[at][:, None] - x  # m - x: no term of the loss is negative, where no mass is
    if not behind.item(behind.argmax()) < np.inf:
        behind[mass == 0] = 0
    behind *= mass
    np.add(row_sums(behind), row_sums(mass) * np.log1p(s / e_k), out=loss)
    if gradient is None:
        return
    mass_k = mass.reshape(-1)[at]
    others = behind
    np.copyto(others, mass)
    others.reshape(-1)[at] = 0
    rest = row_sums(others)
    total = s + e_k
    _scale(e, 1 / total)
    _scale(e, rest + mass_k)
    e -= others
    e.reshape(-1)[at] = e_k / total * rest - mass_k * (s / total)
    _times(e, factor)
