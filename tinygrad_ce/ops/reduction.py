"""Reductions over axes: sums, means, extremes, spreads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_ce.engine.constants import plain
from tinygrad_ce.engine.primitive import primitive
from tinygrad_ce.engine.single import in_single
from tinygrad_ce.kernels import softmax as kernels
from tinygrad_ce.kernels.sums import add_up
from tinygrad_ce.ops.composite import composite
from tinygrad_ce.ops.elementwise import nonzero, where
from tinygrad_ce.ops.example import fixed, normal, positive, spaced
from tinygrad_ce.ops.shape import as_array
from tinygrad_ce.ops.softmax import masked, softmax

__all__ = [
    "average", "cumprod", "cumsum", "logsumexp", "max", "mean", "median", "min", "nansum", "norm", "prod", "std", "sum",
    "var",
]  # fmt: skip


def _axes(ndim: int, axis: Any) -> tuple[int, ...]:
    """An axis argument (None, an int, a tuple) as a tuple of axes. NumPy takes 0 and -1 of a single number too."""
    if axis is None or (not ndim and axis in (0, -1)):
        return tuple(range(ndim))
    return np.lib.array_utils.normalize_axis_tuple(axis, ndim, "axis")


def _count(x: Any, axis: Any) -> int:
    """How many numbers go into each result."""
    return math.prod(x.shape[i] for i in _axes(x.ndim, axis))


def _reopen(g: Any, x: Any, axis: Any) -> Any:
    """A reduced array with its reduced axes back, of length 1, to broadcast against x."""
    axes = _axes(x.ndim, axis)
    return g.reshape(tuple(1 if i in axes else n for i, n in enumerate(x.shape)))


@primitive
@in_single
def sum(x, axis=None, *, keepdims=False):
    """The sum over axes (None: all). Its gradient is handed to every summand.

    Example:
        >>> sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
        array([4., 6.])
    """
    return add_up(x, axis, keepdims)


sum.vjp(x=lambda g, y, x, axis, keepdims: np.broadcast_to(_reopen(g, x, axis), x.shape))
sum.formula(r"\sum x", x=r"g\text{, handed to every } x")
sum.example(normal(3, 4))
sum.example(normal(3, 4, 2), axis=(0, -1))
sum.example(normal(3, 4), axis=1, keepdims=True)


@composite
def nansum(x, axis=None, *, keepdims=False):
    """The sum over axes (None: all) of what isn't nan.

    Example:
        >>> float(nansum([1.0, np.nan, 2.0]))
        3.0
    """
    return sum(where(np.isnan(x), 0, x), axis, keepdims=keepdims)


nansum.example(normal(3, 4), axis=1)


@primitive
@in_single
def prod(x, axis=None, *, keepdims=False):
    """The product over axes (None: all). Its gradient is the product of the other factors, zeros included.

    Example:
        >>> prod([[1.0, 2.0], [3.0, 4.0]], axis=0)
        array([3., 8.])
    """
    return np.prod(x, axis=axis, keepdims=keepdims)


def _prod_rule(g, y, x, axis, keepdims):
    if np.all(y != 0) and np.isfinite(y).all():
        return _reopen(g, x, axis) * _reopen(y, x, axis) / x
    # Division fails at 0, and where the product under- or overflows.
    axes = _axes(x.ndim, axis)
    rest = [i for i in range(x.ndim) if i not in axes]
    rows = np.transpose(x, (*rest, *axes)).reshape((*(x.shape[i] for i in rest), _count(x, axis)))
    back = _others(rows).reshape(tuple(x.shape[i] for i in (*rest, *axes)))
    return _reopen(g, x, axis) * np.transpose(back, tuple(int(i) for i in np.argsort((*rest, *axes))))


def _others(x):
    """Of each number along the last axis the product of all others: its neighbour's, times that of all other pairs."""
    count = x.shape[-1]
    if count <= 1:
        return np.ones(x.shape, x.dtype)
    if count % 2:
        x = np.concatenate([x, np.ones((*x.shape[:-1], 1), x.dtype)], axis=-1)
    pairs = x.reshape((*x.shape[:-1], x.shape[-1] // 2, 2))
    other_pairs = _others(pairs[..., 0] * pairs[..., 1])
    others = (np.expand_dims(other_pairs, -1) * np.flip(pairs, -1)).reshape(x.shape)
    return others[..., :count] if count % 2 else others


prod.vjp(x=_prod_rule)
prod.formula(r"\prod x", x=r"g \cdot \text{the product of the others}")
prod.example(positive(3, 4))
prod.example(positive(3, 4, 2), axis=(0, 2))
prod.example(fixed([[0.0, 2.0, 3.0], [0.0, 0.0, 5.0], [1.0, 2.0, 4.0]]), axis=1)


@primitive
@in_single
def mean(x, axis=None, *, keepdims=False):
    """The arithmetic mean over axes (None: all).

    Example:
        >>> mean([[1.0, 2.0], [3.0, 4.0]], axis=0)
        array([2., 3.])
    """
    return _mean(np.asarray(x), axis, keepdims)


def _mean(x, axis, keepdims=False, ddof=0):
    """Σ x / (n - ddof)."""
    total = add_up(x if x.dtype.kind == "f" else x.astype(np.float64), axis, keepdims)
    count = x.size // total.size if total.size else 1
    return total / (count - ddof if count > ddof else 0)


mean.vjp(x=lambda g, y, x, axis, keepdims: np.broadcast_to(_reopen(g, x, axis) / _count(x, axis), x.shape))
mean.formula(r"\text{the mean of } x", x=r"\frac{g}{n}\text{, handed to every } x")
mean.example(normal(3, 4))
mean.example(normal(3, 4), axis=0, keepdims=True)


@composite
def average(x, axis=None, weights=None, *, keepdims=False):
    """The mean over axes (None: all), where each number counts as often as its weight says: Σ w x / Σ w.

    Args:
        x: numbers.
        axis: None, an axis or a tuple of axes.
        weights: of x's shape, or of the lengths of the axes given; None for the mean.
        keepdims: whether the axes stay, with length 1.

    Raises:
        TypeError, ValueError: weights has another shape.
        ZeroDivisionError: weights sum to 0.

    Example:
        >>> float(average([1.0, 2.0, 6.0], weights=[1, 1, 2]))
        3.75
    """
    x, w = as_array(x), as_array(1.0 if weights is None else weights)
    if weights is None:
        return mean(x, axis, keepdims=keepdims)
    try:  # NumPy checks the arguments, and says with which dtype it computes
        dtype = np.average(plain(x), axis, plain(w)).dtype
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise type(error)(f"average: weights of shape {w.shape} for x of shape {x.shape}: {error}") from None
    if w.shape != x.shape:
        axes = _axes(x.ndim, axis)
        w = np.transpose(w, np.argsort(axes)).reshape(tuple(n if i in axes else 1 for i, n in enumerate(x.shape)))
    w = w.astype(dtype)
    return sum(x * w, axis, keepdims=keepdims) / sum(w, axis, keepdims=keepdims)


average.example(normal(3, 4), axis=1)
average.example(normal(3, 4), weights=positive(3, 4))
average.example(normal(3, 4, 2), (2, 1), positive(2, 4), keepdims=True)


@primitive
def median(x, axis=None, *, keepdims=False):
    """The middle number over axes (None: all), or the mean of the middle two. They share the gradient.

    Example:
        >>> float(median([1.0, 7.0, 3.0]))
        3.0
    """
    return np.median(x, axis=axis, keepdims=keepdims)


def _median_rule(g, y, x, axis, keepdims):
    rows, restore = kernels.rows(plain(x), axis)
    n = rows.shape[1]
    share, middle = np.zeros_like(rows), slice((n - 1) // 2, n // 2 + 1)
    np.put_along_axis(share, np.argsort(rows, axis=1)[:, middle], 1 / (2 - n % 2), axis=1)
    return _reopen(g, x, axis) * restore(share)


median.vjp(x=_median_rule)
median.formula(r"\text{the median of } x", x=r"g \text{ to the middle, half to each if there are two, else } 0")
median.example(spaced(3, 5))
median.example(spaced(3, 4, 2), axis=(0, -1), keepdims=True)


def _extreme_rule(g, y, x, axis, keepdims):
    """The gradient goes to the entries that equal the extreme, in equal parts. A nan is extreme: y is nan then."""
    hit = (x == _reopen(y, x, axis)) | np.isnan(x)
    share = (1 / np.maximum(np.sum(hit, axis=axis, keepdims=True), 1)).astype(x.dtype)
    return np.where(hit, _reopen(g, x, axis) * share, 0)


_EXTREME = r"g \text{ where } x \text{ is } y\text{, in equal parts, else } 0"


@primitive
def max(x, axis=None, *, keepdims=False):
    """The maximum over axes (None: all). Entries that tie share the gradient equally.

    Example:
        >>> max([[1.0, 2.0], [3.0, 4.0]], axis=0)
        array([3., 4.])
    """
    return np.max(x, axis=axis, keepdims=keepdims)


max.vjp(x=_extreme_rule)
max.formula(r"\max x", x=_EXTREME)
max.example(spaced(3, 4))
max.example(spaced(3, 4), axis=1, keepdims=True)
max.example(fixed([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]), axis=1)


@primitive
def min(x, axis=None, *, keepdims=False):
    """The minimum over axes (None: all). Entries that tie share the gradient equally.

    Example:
        >>> min([[1.0, 2.0], [3.0, 4.0]], axis=0)
        array([1., 2.])
    """
    return np.min(x, axis=axis, keepdims=keepdims)


min.vjp(x=_extreme_rule)
min.formula(r"\min x", x=_EXTREME)
min.example(spaced(3, 4))
min.example(spaced(3, 4), axis=(0, 1))
min.example(fixed([[1.0, 1.0, 3.0], [2.0, 2.0, 2.0]]), axis=1)


def _ddof(ddof: Any, correction: Any) -> Any:
    """What is taken from the count, which has two names."""
    if correction is not None and ddof:
        raise ValueError(f"ddof and correction are two names for one thing, but both are given: {ddof}, {correction}")
    return ddof if correction is None else correction


@primitive
@in_single
def var(x, axis=None, *, ddof=0, keepdims=False, correction=None):
    """The variance over axes (None: all), Σ (x - mean)² / (n - ddof). ``correction`` is another name for ddof.

    Example:
        >>> var([[1.0, 2.0], [3.0, 4.0]], axis=0)
        array([1., 1.])
    """
    return _var(np.asarray(x), axis, _ddof(ddof, correction), keepdims)


def _var(x, axis, ddof, keepdims):
    squares = x - _mean(x, axis, keepdims=True)
    squares -= _mean(squares, axis, keepdims=True)  # what the mean was rounded by: equal numbers have a variance of 0
    squares *= squares
    return _mean(squares, axis, keepdims, ddof)


def _var_derivative(x, axis, ddof, keepdims, correction):
    count = _count(x, axis) - _ddof(ddof, correction)
    centred = x - mean(x, axis, keepdims=True)
    centred = centred - mean(centred, axis, keepdims=True)
    return (2 / count if count else np.nan) * centred


def _divisor(ddof, keepdims, correction):
    ddof = _ddof(ddof, correction)
    return f"(n - {ddof})" if ddof else "n"


var.vjp(x=lambda g, y, x, axis, *settings: _reopen(g, x, axis) * _var_derivative(x, axis, *settings))
var.formula(
    r"\text{the variance of } x",
    x=lambda x, axis, *settings: rf"g \cdot \frac{{2 (x - \overline{{x}})}}{{{_divisor(*settings)}}}",
)
var.example(normal(3, 4))
var.example(normal(3, 4), axis=1, ddof=1)
var.example(normal(3, 4), axis=1, correction=1)


@primitive
@in_single
def std(x, axis=None, *, ddof=0, keepdims=False, correction=None):
    """The standard deviation over axes (None: all): √var. Where it is 0 so is the gradient.

    Example:
        >>> std([[1.0, 2.0], [3.0, 4.0]], axis=0)
        array([1., 1.])
    """
    return np.sqrt(_var(np.asarray(x), axis, _ddof(ddof, correction), keepdims))


def _std_rule(g, y, x, axis, *settings):
    slope = np.where(y == 0, 0, g / (2 * nonzero(y)))  # at 0 also the Hessian is 0
    return _reopen(slope, x, axis) * _var_derivative(x, axis, *settings)


std.vjp(x=_std_rule)
std.formula(
    r"\text{the standard deviation of } x",
    x=lambda x, axis, *settings: rf"g \cdot \frac{{x - \overline{{x}}}}{{{_divisor(*settings)} \cdot y}}",
)
std.example(normal(3, 4))
std.example(normal(3, 4), axis=0, ddof=1, keepdims=True)


@primitive
@in_single
def norm(x, ord=None, axis=None, *, keepdims=False):
    r"""The length of vectors, :math:`(\sum |x_i|^p)^{1/p}` with p for ord, or the norm of matrices, as NumPy has them.

    Args:
        x: numbers; float16 is computed in float32.
        ord: None for the root of the sum of squares. For vectors a number: inf is the largest absolute value, -inf the
            smallest, 0 the count of what isn't 0. For matrices "fro" (the same as None), 1 or -1 (the largest or
            smallest sum of absolute values in a column), inf or -inf (in a row).
        axis: an axis for vectors, two for matrices; None for all of x.
        keepdims: whether the axes stay, with length 1.

    Returns:
        The norms. Where one is 0, or what it divides by, the gradient is 0.

    Raises:
        ValueError: ord isn't one of these; those of singular values have no gradient here.

    Example:
        >>> float(norm([3.0, -4.0]))
        5.0
    """
    x = np.asarray(x)
    if len(_axes(x.ndim, axis)) == 2 and ord not in (None, "fro", "f", 1, -1, math.inf, -math.inf):
        raise ValueError(f"norm: ord is {ord!r}, expected None, 'fro', 1, -1, inf or -inf for matrices")
    return np.asarray(np.linalg.norm(x, ord, axis, keepdims))


def _norm_rule(g, y, x, ord, axis, keepdims):
    axes = _axes(x.ndim, axis)
    if x.size and (ord in (math.inf, -math.inf) or (len(axes) == 2 and ord in (1, -1))):
        summed = () if len(axes) == 1 else axes[0 if ord in (1, -1) else 1]
        sums = np.sum(np.abs(x), axis=summed, keepdims=True)
        extreme = (max if ord > 0 else min)(sums, axis, keepdims=keepdims)
        return _extreme_rule(g, extreme, sums, axis, keepdims) * np.sign(x)
    g, y = _reopen(g, x, axis), nonzero(_reopen(y, x, axis))
    if ord in (None, "fro", "f", 2):
        return g * (x / y)
    return g * (np.sign(x) * np.where(x == 0, 1, np.abs(x) / y) ** (ord - 1)) if ord else np.zeros_like(x)


def _norm_formula(x, ord, axis, keepdims):
    if ord in (None, "fro", "f", 2):
        return r"g \cdot \frac{x}{y}"
    return r"g \cdot \mathrm{sign}(x)\text{, where } |x| \text{ counts, to the power of } ord - 1"


norm.vjp(x=_norm_rule)
norm.formula(r"\text{the norm of } x", x=_norm_formula)
norm.example(normal(3, 4))
norm.example(normal(3, 4, 2), axis=(0, -1), keepdims=True)
norm.example(spaced(3, 4), 3.5, 1)
norm.example(spaced(3, 4), 0, 1)
norm.example(spaced(3, 4), math.inf, 1)
norm.example(spaced(2, 3, 4), 1, (0, -1))


@primitive
@in_single
def cumsum(x, axis=None):
    """Running sums along an axis (None: of the flattened array).

    Example:
        >>> cumsum([1.0, 2.0, 3.0])
        array([1., 3., 6.])
    """
    x = np.asarray(x)
    return np.cumsum(x, axis=axis, dtype=np.float64).astype(x.dtype) if x.dtype == np.float32 else np.cumsum(x, axis)


def _sums_from_the_end(g, axis):
    along = 0 if axis is None else axis
    return np.flip(cumsum(np.flip(g, along), along), along)


cumsum.vjp(x=lambda g, y, x, axis: _sums_from_the_end(g, axis).reshape(x.shape))
cumsum.formula(r"\text{running sums of } x", x=r"\text{running sums of } g \text{ from the end}")
cumsum.example(normal(3, 4))
cumsum.example(normal(3, 4), axis=1)


@primitive
@in_single
def cumprod(x, axis=None):
    """Running products along an axis (None: of the flattened array). Zeros have their gradient, too.

    Example:
        >>> cumprod([1.0, 2.0, 3.0])
        array([1., 2., 6.])
    """
    return np.cumprod(x, axis=axis)


def _cumprod_rule(g, y, x, axis):
    """The product before a factor times s, where s is g there + the next factor times its s: no division by zero."""
    last = -1 if axis is None else axis
    s, y_last, factors = (np.moveaxis(v.reshape(y.shape), last, -1) for v in (g, y, x))
    n, step, factors = s.shape[-1], 1, factors[..., 1:]
    while step < n:  # s has the terms of `step` places, and then of twice as many; factors leads so far ahead
        s = np.concatenate([s[..., :-step] + factors * s[..., step:], s[..., -step:]], -1)
        factors = factors[..., :-step] * factors[..., step:]
        step *= 2
    before = np.concatenate([np.ones_like(y_last[..., :1]), y_last[..., :-1]], -1)
    return np.moveaxis(before * s, -1, last).reshape(x.shape)


cumprod.vjp(x=_cumprod_rule)
cumprod.formula(r"\text{running products of } x", x=r"\sum_{k \ge i} g_k \prod_{j \le k,\, j \ne i} x_j")
cumprod.example(positive(3, 4))
cumprod.example(spaced(3, 4), axis=0)
cumprod.example(fixed([[0.0, 2.0, 3.0], [0.0, 0.0, 5.0], [1.0, 2.0, 4.0]]), axis=1)


@primitive
def logsumexp(x, axis=None, *, keepdims=False, where=None):
    """log Σ exp(x) over axes (None: all), without overflow. Its gradient is the softmax.

    ``where`` is a mask that broadcasts to x: terms where it is False are left out. Over nothing but -inf, and over
    nothing, it is -inf, with the gradient 0.

    Example:
        >>> float(logsumexp([1000.0, 1000.0]))
        1000.6931471805599

    Source:
        Blanchard, Higham, Higham, Accurately computing the log-sum-exp and softmax functions, 2021.
    """
    rows, restore = kernels.rows(masked(x, where), axis)
    y = restore(kernels.logsumexp(rows)[:, None], 1)
    return y if keepdims else np.squeeze(y, axis=axis)


def _logsumexp_rule(g, y, x, axis, keepdims, where):
    some = _reopen(y, x, axis) != -np.inf
    if not some.all():  # softmax of a row with every class masked is 0
        where = some if where is None else some & where
    return _reopen(g, x, axis) * softmax(x, axis=axis, where=where)


logsumexp.vjp(x=_logsumexp_rule)
logsumexp.formula(r"\log \sum_j e^{x_j}", x=r"g \cdot \mathrm{softmax}(x)")
logsumexp.example(normal(3, 4))
logsumexp.example(normal(3, 4, 2), axis=(0, -1))
logsumexp.example(normal(3, 4), axis=1, keepdims=True)
logsumexp.example(normal(3, 4), axis=1, where=np.eye(3, 4, dtype=bool) | (np.arange(4) == 3))
