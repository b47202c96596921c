"""Arrays in, arrays out: softmax and cross-entropy over rows of logits. Knows no Tensor.

A row is one distribution: ``x[i]`` holds the logits of its classes, m the largest of them. The exponentials are
e = exp(x - c) with a shift c. Their sum S is never formed where a large term would swallow the others: one term, the
label's or the largest, is left out of the sum s, and S = s + that term.

exp turns an absolute error of x - c into a relative one of e, so nothing may be rounded there. c is a whole number from
m - L to m, where exp(L) is the most that can be summed up and divided by; of these, the nearest to 0. So c is 0 for m
from 0 to L, and elsewhere x - c is exact, but for numbers x that are nearer to 0 than to c. Few rows have such numbers
that count; these rows are corrected. To find m takes time, so one c is guessed for all rows first, mostly 0; the rows
that it doesn't fit are done again.

Large arrays are worked on in blocks of rows that stay in a cache, shared by several threads.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.kernels.threads import by_rows

# What needs no conversion.
FAST = (np.dtype(np.float32), np.dtype(np.float64))

# Up to so many classes rows are summed by products with ones: np.add.reduce takes 5 times as long for 10 classes, twice
# for 100. BLAS adds up in few accumulators, so that a product of more than a window's width would lose digits.
_SHORT, _WINDOW = 256, 256  # classes; bytes
_PIECE = 2048
_GEMV = 9216  # numbers in a matrix up to which OpenBLAS surely starts no threads for its product with a vector

_FEW = 16384  # numbers up to which a call's overhead is what counts


class _Limits(NamedTuple):
    """What a dtype can hold."""

    far: float  # exp(-far) and exp(far) are normal numbers
    most: float  # exp(far)
    large: float  # sums from 1 / large to large can be divided by, and into a factor
    log_large: float


@functools.cache
def _limits(dtype: np.dtype) -> _Limits:
    info = np.finfo(dtype)
    large = float(2.0 ** min(info.maxexp - 28, 996))
    return _Limits(-float(np.log(info.tiny)), min(float(1 / info.tiny), sys.float_info.max), large, math.log(large))


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
    whole = axis is None or (not x.ndim and axis in (0, -1))  # NumPy takes these of a single number, too
    axes = np.lib.array_utils.normalize_axis_tuple(range(x.ndim) if whole else axis, x.ndim, "axis")
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


class _Terms(NamedTuple):
    """What _terms found; each is a number for each row, or one for all."""

    left_out: Any  # the term that isn't in the sum
    rest_sum: Any  # the sum s of the others
    shift: Any  # c
    total: Any  # S


def _terms(x: np.ndarray, at: Any, e: np.ndarray, m: Any = None) -> _Terms:
    """Writes exp(x - c) into e, and leaves one term of each row out of its sum: 0 stands in its place.

    A row of -inf, or with nan or inf, becomes nan.

    Args:
        x: rows.
        at: the flat position of each row's term to leave out, or None.
        e: where the exponentials go.
        m: each row's largest number, if known.
    """
    c = _guessed_shift(x, m)
    if c is None:
        return _shifted_terms(x, _shift(_maxima(x) if m is None else m, _reach(x.dtype, x.shape[1])), at, e)
    terms = _shifted_terms(x, c, at, e)
    lost = _lost(x, terms)
    return _again(x, terms, at, e, lost) if lost.size else terms


@functools.lru_cache(maxsize=256)
def _reach(dtype: np.dtype, classes: int) -> float:
    """L: where no logit is further than this above c, S can be divided by."""
    return _limits(dtype).far - 1 - math.log(classes)


def _shift(m: Any, reach: float) -> Any:
    """The whole number nearest to 0 from m - reach to m; m where numbers are so large that m - reach is rounded."""
    c = np.floor(np.minimum(m, 0))
    return c if m.item(m.argmax()) <= reach else np.floor(np.where(m < 1e6, np.maximum(m - reach, c), m))


def _guessed_shift(x: np.ndarray, m: Any) -> Any:
    """A shift without each row's maximum, a third of exp's time: for all rows, or by their first numbers; or None.

    Of the first rows at most one in 16 has exponentials that are too large for it.
    """
    some = x[: len(x) // 64 + 4, :4096]
    maxima, reach = np.sort(_maxima(some)), _reach(x.dtype, x.shape[1])
    most = maxima.item(-1 - len(maxima) // 16)
    if 0 <= most <= reach:
        return 0
    highest = some.item(some.argmin()) + _limits(x.dtype).log_large / 2
    c = max(most - reach / 2, min(highest, 0)) // 1
    if abs(c) < 1e6 and c <= highest:
        return c
    if m is not None or x.size <= _FEW:
        return None
    near = np.abs(some - some[:, :1]).max() <= reach / 2
    return _shift(x[:, 0], reach / 2) if near else None


def _lost(x: np.ndarray, terms: _Terms) -> Any:
    """The rows where a guess was wrong: x - c is rounded, S is too large or small, or what is nearly 0 counts."""
    total, c, limits = terms.total, terms.shift, _limits(x.dtype)
    lost, low = ~((total <= limits.most) & (total >= limits.large**-0.5)), -limits.log_large
    if not isinstance(c, np.ndarray) and c:
        least, most = x.item(x.argmin()), x.item(x.argmax())  # nan, if there is one
        if not (least - c >= low and min(c * least, c * most) >= c * c / 2):
            lost |= ((x > -np.inf) & ((x - c < low) | (c * x < c * c / 2))).any(axis=1)
    elif not (total.item(total.argmin()) >= 1 or x.item(x.argmin()) >= low):
        far = np.flatnonzero((x < low) & (x > -np.inf)) // x.shape[1]
        lost[far] |= total[far] < 1
    return np.flatnonzero(lost)


def _again(x: np.ndarray, terms: _Terms, at: Any, e: np.ndarray, lost: np.ndarray) -> _Terms:
    """Terms and e with those of the lost rows by their own maxima."""
    part, classes = x[lost], x.shape[1]
    powers = np.empty_like(part)
    there = None if at is None else _starts(*part.shape) + at[lost] % classes
    found = _shifted_terms(part, _shift(_maxima(part), _reach(x.dtype, classes)), there, powers)
    e[lost] = powers
    terms = terms._replace(shift=np.array(np.broadcast_to(terms.shift, len(x)), x.dtype))
    for all_rows, mended in zip(terms, found, strict=True):
        if isinstance(mended, np.ndarray):
            all_rows[lost] = mended
    return terms


def _shifted_terms(x: np.ndarray, c: Any, at: Any, e: np.ndarray) -> _Terms:
    shifts = isinstance(c, np.ndarray)
    if shifts:
        _spread(np.subtract, x, c, e)
    elif c:
        np.subtract(x, c, out=e)
    _exp(e if shifts or c else x, e)
    left_out: Any = 0.0
    if at is not None:
        left_out = e.reshape(-1)[at]
        e.reshape(-1)[at] = 0
    rest_sum = row_sums(e)
    terms = _Terms(left_out, rest_sum, c, rest_sum + left_out)
    return _corrected(x, terms, at, e) if shifts else terms


def _corrected(x: np.ndarray, terms: _Terms, at: Any, e: np.ndarray) -> _Terms:
    """Terms and e, times 1 + what x - c was rounded by, in rows where that may count.

    x - c is rounded only if x is nearer to 0 than to c, and exp(-h) is the probability of x = c / 2. Where c > 0, such
    an x has a smaller one, which is no normal number if h is large; where c < 0 a larger one, impossible if h < 0.
    """
    c = terms.shift
    h = c / 2 + np.log(terms.total)
    rows = np.flatnonzero((h > 0) & (h < _limits(x.dtype).far) & (c != 0))
    if rows.size:
        part, shift = np.maximum(x[rows], -1e30), c[rows, None]
        rounding = part - ((part - shift) + shift)
        again = e[rows] * (1 + rounding)
        e[rows] = again
        terms.rest_sum[rows] = row_sums(again)
        if at is not None:
            terms.left_out[rows] *= 1 + rounding[np.arange(len(rows)), at[rows] % x.shape[1]]
        return terms._replace(total=terms.rest_sum + terms.left_out)
    return terms


def _exp(x: np.ndarray, e: np.ndarray) -> None:
    """exp(x) in e; in float64 exp(x + 314) exp(-314) far below 0, where NumPy takes up to a hundred times as long.

    Few numbers are left to NumPy: the way round it has more calls.
    """
    if x.dtype != np.float64 or x.size <= 512 or x.item(x.argmin()) >= -707:
        np.exp(x, out=e)
        return
    far = x < -511  # (exp(-314) is nearer to a float64 than a thousandth of eps)
    np.add(x, far * 314.0, out=e)
    np.maximum(e, -511, out=e)
    np.exp(e, out=e)
    e *= np.maximum(~far, math.exp(-314))  # takes a third of the time of where


def _maxima(x: np.ndarray) -> Any:
    """The largest number of each row; nan where there is one."""
    count, classes = x.shape
    if classes * x.itemsize < 256 and count > 128:  # below, argmax looks at one number at a time
        return np.maximum.reduce(np.ascontiguousarray(x.T), axis=0, initial=-np.inf)
    return x.reshape(-1)[_starts(count, classes) + x.argmax(axis=1)]


def _largest(x: np.ndarray) -> Any:
    """Where each row's largest number is in the flattened rows."""
    return _starts(*x.shape) + x.argmax(axis=1)


def row_sums(e: np.ndarray) -> Any:
    """The sum of each row, by products with ones or NumPy's pairwise sum."""
    classes, width = e.shape[1], _WINDOW // e.itemsize
    if classes <= width:
        return _window_sums(e)
    if classes <= _SHORT:
        s = _window_sums(e[:, :width])
        for i in range(width, classes, width):
            s += _window_sums(e[:, i : i + width])
        return s
    if classes <= _GEMV:
        return np.add.reduce(e, axis=1)
    whole = classes - classes % _PIECE  # NumPy 2.1's sum of so many numbers isn't pairwise: sum pieces first
    pieces = np.add.reduce(e[:, :whole].reshape(len(e), -1, _PIECE), axis=2)
    return np.add.reduce(pieces, axis=1) + row_sums(e[:, whole:])


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
    """e *= factor / total, in two steps where the quotient may be no normal number; factor as for _times."""
    usual = type(factor) is float and _USUAL_FACTORS[0] <= factor <= _USUAL_FACTORS[1]
    if usual and total.item(total.argmax()) <= _limits(e.dtype).large:
        _spread(np.multiply, e, factor / total, e)
        return
    _spread(np.multiply, e, 1 / total, e)
    _times(e, factor)


def _times(e: np.ndarray, factor: Any) -> None:
    """e *= factor: one number, or one for each row."""
    if isinstance(factor, np.ndarray) and factor.ndim:
        _spread(np.multiply, e, factor, e)
    elif factor != 1:
        e *= factor


def _spread(ufunc: np.ufunc, x: np.ndarray, column: Any, out: np.ndarray) -> None:
    """ufunc(x, column) in out: a number for each row."""
    if x.shape[1] <= 48:  # over short rows broadcasting takes up to 1.6 times as long as repeating numbers
        ufunc(x, column.repeat(x.shape[1]).reshape(x.shape), out=out)
    else:
        ufunc(x, column[:, None], out=out)


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

_EXACT = 4096  # numbers up to which float32 takes float64's two to three times the time, and is right to half an ulp


def softmax(x: np.ndarray) -> np.ndarray:
    """e / S; of a few float32 numbers to the last digit."""
    if x.shape[1] == 1:  # exactly 1, where it is a number
        with np.errstate(invalid="ignore"):
            only: np.ndarray = np.exp(x - x)
        return only
    if 0 < x.size <= _EXACT and x.dtype == np.float32:  # computed in float64 and rounded once
        with np.errstate(all="ignore"):
            return softmax(x.astype(np.float64)).astype(np.float32)
    c = _one_shift(x) if 0 < x.size <= _FEW and x.dtype in FAST else None
    if c is not None:  # nothing can be lost; takes half of the time
        e: np.ndarray = np.exp(x - c if c else x)
        _spread(np.multiply, e, 1 / row_sums(e), e)
        return e
    p = np.empty_like(x)
    by_rows(_softmax_rows, x, p)
    return p


@np.errstate(all="ignore")
def _softmax_rows(x: np.ndarray, p: np.ndarray) -> None:
    _spread(np.multiply, p, 1 / _terms(x, None, p).total, p)


def log_softmax(x: np.ndarray) -> np.ndarray:
    """(x - m) - log(1 + s / e_m), with s the sum without the largest term e_m: two terms of one sign."""
    if x.size <= _EXACT and x.dtype == np.float32:  # computed in float64 and rounded once
        with np.errstate(all="ignore"):
            return log_softmax(x.astype(np.float64)).astype(np.float32)
    y = np.empty_like(x)
    by_rows(_log_softmax_rows, x, y)
    return y


@np.errstate(all="ignore")
def _log_softmax_rows(x: np.ndarray, y: np.ndarray) -> None:
    at = _largest(x)
    m = x.reshape(-1)[at]
    terms = _terms(x, at, y, m)
    np.subtract(x, m[:, None], out=y)
    y -= np.log1p(terms.rest_sum / terms.left_out)[:, None]


def logsumexp(x: np.ndarray) -> np.ndarray:
    """m + log(1 + s / e_m) of each row; m itself where that is infinite."""
    y = np.full(len(x), -np.inf, x.dtype)
    by_rows(_logsumexp_rows, x, y)
    return y


@np.errstate(all="ignore")
def _logsumexp_rows(x: np.ndarray, y: np.ndarray) -> None:
    at = _largest(x)
    m = x.reshape(-1)[at]
    terms = _terms(x, at, np.empty_like(x), m)
    y[:] = np.where(np.isinf(m), m, m + np.log1p(terms.rest_sum / terms.left_out))


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
        c = _one_shift(x)
        if c is not None:
            loss, gradient, _ = _few_index_rows(np.exp(x - c if c else x), labels, factor, keep)
            return loss, gradient
        if x.dtype == np.float64 or x.size <= _EXACT or _one_shift(x.astype(np.float64)) == 0:
            return _few_unusual_rows(x, labels, factor, keep)
    losses = np.empty(len(x), x.dtype)
    gradient = np.empty_like(x) if keep else None
    by_rows(_index_rows, x, labels, factor, losses, gradient)
    return losses, gradient


@np.errstate(all="ignore")
def _index_rows(x: np.ndarray, label: np.ndarray, factor: Any, loss: np.ndarray, gradient: Any) -> None:
    at = _starts(*x.shape) + label
    e = np.empty_like(x) if gradient is None else gradient
    terms = _terms(x, at, e)
    total = terms.total
    np.log1p(terms.rest_sum / terms.left_out, out=loss)
    _mend_far(loss, total, x.reshape(-1)[at] - terms.shift)
    if gradient is not None:
        e.reshape(-1)[at] = -terms.rest_sum
        _scale_to(e, total, factor)


def _few_index_rows(e: np.ndarray, label: np.ndarray, factor: float, keep: bool) -> tuple[Any, Any, Any]:
    """Loss, gradient and S from a few rows' exponentials, which are written over.

    What _index_rows does, where nothing can be lost: a small batch's time is that of the calls. Takes half of its time.
    """
    count, classes = e.shape
    starts, ones, factors = _constants(count, classes, e.dtype, factor)
    at = starts + label
    flat = e.reshape(-1)
    total = flat[at]
    flat[at] = 0
    s = e.dot(ones) if classes * e.itemsize <= _WINDOW else row_sums(e)
    loss = np.log1p(s / total)
    total += s
    if not keep:
        return loss, None, total
    flat[at] = -s
    flat *= (factors / total).repeat(classes)
    return loss, e, total


@np.errstate(all="ignore")
def _few_unusual_rows(x: np.ndarray, label: np.ndarray, factor: float, keep: bool) -> tuple[Any, Any]:
    """Loss and gradient of a few rows of any numbers, in float64. Takes half of _index_rows' time at 32 x 10."""
    e, at = x.astype(np.float64), _starts(*x.shape) + label
    if x.dtype == np.float64 or _one_shift(e) != 0:
        m = _maxima(e)
        _spread(np.subtract, e, m if x.dtype == np.float32 else _shift(m, _reach(e.dtype, x.shape[1])), e)
    x_t = e.reshape(-1)[at]
    if x.dtype == np.float32:
        np.maximum(e, -700, out=e)  # what is smaller is 0 in float32, and would take long here
    _exp(e, e)
    loss, gradient, total = _few_index_rows(e, label, 1.0, keep)
    _mend_far(loss, total, x_t)
    if keep:
        gradient *= factor
        gradient = gradient.astype(x.dtype, copy=False)
    return loss.astype(x.dtype, copy=False), gradient


def _mend_far(loss: np.ndarray, total: np.ndarray, x_t: np.ndarray) -> None:
    """The loss is log S - (x_t - c), the last being x_t here, where e_t lost digits or s / e_t is too large."""
    far = 0.98 * _limits(loss.dtype).far  # (less than where few float32 numbers are cut off)
    if not loss.item(loss.argmax()) <= far:
        np.copyto(loss, np.log(total) - x_t, where=loss > far)


@functools.lru_cache(maxsize=64)
def _constants(count: int, classes: int, dtype: np.dtype, factor: float) -> Any:
    return _starts(count, classes), _ones(classes, dtype), np.full(count, factor, dtype)


def _one_shift(x: np.ndarray) -> float | None:
    """A whole number c, mostly 0, for which x - c is exact, and every exp(x - c) and its share of a sum is a normal
    number; None if there is none, as with nan.
    """
    most, least, bound = x.item(x.argmax()), x.item(x.argmin()), _limits(x.dtype).log_large / 2
    if most <= bound and least >= -bound:
        return 0
    c = most // 1
    exact = abs(c) < 1e6 and min(c * least, c * most) >= c * c / 2
    return c if exact and c - least <= bound else None


def soft_cross_entropy(
    x: np.ndarray, weights: np.ndarray, factor: Any, keep: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Σ_c w_c · (-log p_c) of each row; if keep, also the gradient factor · (W·p - w) with W = Σ_c w_c, else None.

    w are a row's target weights. A class of weight 0 adds 0 even where its logit is -inf. At the largest logit k the
    gradient is formed as (e_k Σ_{c≠k} w_c - w_k s) / S, which doesn't cancel where p_k and w_k / W are close to 1.
    """
    losses = np.zeros(len(x), x.dtype)
    gradient = np.empty_like(x) if keep else None
    by_rows(_soft_rows, x, weights, factor, losses, gradient)
    return losses, gradient


@np.errstate(all="ignore")
def _soft_rows(x: np.ndarray, weights: np.ndarray, factor: Any, loss: np.ndarray, gradient: Any) -> None:
    at = _largest(x)
    m = x.reshape(-1)[at]
    e = np.empty_like(x) if gradient is None else gradient
    terms = _terms(x, at, e, m)
    below = m[:, None] - x  # not negative, so no term of the loss is
    if not below.item(below.argmax()) < np.inf:
        below[weights == 0] = 0
    below *= weights
    np.add(row_sums(below), row_sums(weights) * np.log1p(terms.rest_sum / terms.left_out), out=loss)
    if gradient is None:
        return
    largest_weight = weights.reshape(-1)[at]
    others = below
    np.copyto(others, weights)
    others.reshape(-1)[at] = 0
    other_weights = row_sums(others)
    total = terms.total
    _spread(np.multiply, e, 1 / total, e)
    _spread(np.multiply, e, other_weights + largest_weight, e)
    e -= others
    e.reshape(-1)[at] = terms.left_out / total * other_weights - largest_weight * (terms.rest_sum / total)
    _times(e, factor)
