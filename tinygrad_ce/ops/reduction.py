"""Reductions over axes: sums, means, extremes, spreads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_ce.engine.primitive import primitive
from tinygrad_ce.engine.single import in_single
from tinygrad_ce.kernels import softmax as kernels
from tinygrad_ce.kernels.sums import add_up
from tinygrad_ce.ops.example import fixed, normal, positive, spaced
from tinygrad_ce.ops.softmax import masked, softmax

__all__ = ["cumsum", "logsumexp", "max", "mean", "min", "prod", "std", "sum", "var"]


def _axes(ndim: int, axis: Any) -> tuple[int, ...]:
    """An axis argument (None, an int, a tuple) as a tuple of axes. NumPy takes 0 and -1 of a single number too."""
    if axis is None or not ndim:
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


@primitive
@in_single
def var(x, axis=None, *, ddof=0, keepdims=False):
    """The variance over axes (None: all), Σ (x - mean)² / (n - ddof).

    Example:
        >>> var([[1.0, 2.0], [3.0, 4.0]], axis=0)
        array([1., 1.])
    """
    return _var(np.asarray(x), axis, ddof, keepdims)


def _var(x, axis, ddof, keepdims):
    squares = x - _mean(x, axis, keepdims=True)
    squares -= _mean(squares, axis, keepdims=True)  # what the mean was rounded by: equal numbers have a variance of 0
    squares *= squares
    return _mean(squares, axis, keepdims, ddof)


def _var_derivative(x, axis, ddof):
    count = _count(x, axis) - ddof
    centred = x - mean(x, axis, keepdims=True)
    centred = centred - mean(centred, axis, keepdims=True)
    return (2 / count if count else np.nan) * centred


def _divisor(ddof):
    return f"(n - {ddof})" if ddof else "n"


var.vjp(x=lambda g, y, x, axis, ddof, keepdims: _reopen(g, x, axis) * _var_derivative(x, axis, ddof))
var.formula(
    r"\text{the variance of } x",
    x=lambda x, axis, ddof, keepdims: rf"g \cdot \frac{{2 (x - \overline{{x}})}}{{{_divisor(ddof)}}}",
)
var.example(normal(3, 4))
var.example(normal(3, 4), axis=1, ddof=1)


@primitive
@in_single
def std(x, axis=None, *, ddof=0, keepdims=False):
    """The standard deviation over axes (None: all): √var. Where it is 0 so is the gradient.

    Example:
        >>> std([[1.0, 2.0], [3.0, 4.0]], axis=0)
        array([1., 1.])
    """
    return np.sqrt(_var(np.asarray(x), axis, ddof, keepdims))


def _std_rule(g, y, x, axis, ddof, keepdims):
    slope = np.where(y == 0, 0, g / (2 * np.where(y == 0, 1, y)))  # at 0 also the Hessian is 0
    return _reopen(slope, x, axis) * _var_derivative(x, axis, ddof)


std.vjp(x=_std_rule)
std.formula(
    r"\text{the standard deviation of } x",
    x=lambda x, axis, ddof, keepdims: rf"g \cdot \frac{{x - \overline{{x}}}}{{{_divisor(ddof)} \cdot y}}",
)
std.example(normal(3, 4))
std.example(normal(3, 4), axis=0, ddof=1, keepdims=True)


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


def _cumsum_rule(g, y, x, axis):
    along = 0 if axis is None else axis
    return np.flip(cumsum(np.flip(g, along), along), along).reshape(x.shape)


cumsum.vjp(x=_cumsum_rule)
cumsum.formula(r"\text{running sums of } x", x=r"\text{running sums of } g \text{ from the end}")
cumsum.example(normal(3, 4))
cumsum.example(normal(3, 4), axis=1)


@primitive
def logsumexp(x, axis=None, *, keepdims=False, where=None):
    """log Σ exp(x) over axes (None: all), without overflow; -inf where every x is. Its gradient is the softmax.

    ``where`` is a mask that broadcasts to x: terms where it is False are left out.

    Example:
        >>> float(logsumexp([1000.0, 1000.0]))
        1000.6931471805599

    Source:
        Blanchard, Higham, Higham, Accurately computing the log-sum-exp and softmax functions, 2021.
    """
    rows, restore = kernels.rows(masked(x, where), axis)
    y = restore(kernels.logsumexp(rows)[:, None], 1)
    return y if keepdims else np.squeeze(y, axis=axis)


logsumexp.vjp(x=lambda g, y, x, axis, keepdims, where: _reopen(g, x, axis) * softmax(x, axis=axis, where=where))
logsumexp.formula(r"\log \sum_j e^{x_j}", x=r"g \cdot \mathrm{softmax}(x)")
logsumexp.example(normal(3, 4))
logsumexp.example(normal(3, 4, 2), axis=(0, -1))
logsumexp.example(normal(3, 4), axis=1, keepdims=True)
logsumexp.example(normal(3, 4), axis=1, where=np.eye(3, 4, dtype=bool) | (np.arange(4) == 3))
