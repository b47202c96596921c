"""softmax and its logarithm."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.engine.primitive import primitive, registry
from tinygrad_ce.engine.single import in_single
from tinygrad_ce.kernels import softmax as kernels
from tinygrad_ce.ops.composite import composite
from tinygrad_ce.ops.example import normal

__all__ = ["log_softmax", "softmax", "softmin"]


@primitive
def softmax(x, axis=-1, *, where=None):
    r"""Probabilities from logits: :math:`p_i = e^{x_i} / \sum_j e^{x_j}`.

    Args:
        x: real logits of any shape; -inf gives the probability 0.
        axis: the classes: an axis, a tuple of axes, or None for all.
        where: a mask that broadcasts to x: a class where it is False has the probability 0, whatever its logit.

    Returns:
        Probabilities of x's shape and floating dtype; each row of classes sums to 1. A row of nothing but -inf, or
        with a nan, is nan. A row whose every class is masked is 0, with the gradient 0: it has no classes.

    A temperature T is a division: ``softmax(x / T)``.

    With g the gradient in p, the gradient in x is :math:`p \odot (g - \sum_j g_j p_j)`.

    Example:
        >>> softmax(np.array([2.0, -1.0, 0.1])).round(6)
        array([0.833781, 0.041512, 0.124707])

    Source:
        Bridle, Training stochastic model recognition algorithms as networks, 1989.
    """
    rows, restore = kernels.rows(masked(x, where), axis)
    return _no_classes(restore(kernels.softmax(rows)), where, axis, 0)


def _no_classes(y: Any, where: Any, axis: Any, value: float) -> Any:
    """y with a value in the rows whose every class is masked."""
    if where is None:
        return y
    return np.where(np.any(np.broadcast_to(where, y.shape), axis=axis, keepdims=True), y, y.dtype.type(value))


def masked(x: Any, where: Any) -> Any:
    """Logits with -inf where the mask is False."""
    x = np.asarray(x)
    return x if where is None else np.where(where, x, x.dtype.type(-np.inf) if x.dtype.kind == "f" else -np.inf)


def _softmax_gradient(g: Any, p: Any, axis: Any) -> Any:
    return p * centred(g, p, axis)


def centred(g: Any, p: Any, axis: Any) -> Any:
    r""":math:`g - \sum_j g_j p_j`, accurate also where one p is close to 1 and its g nearly cancels the sum.

    The mean is subtracted twice. In exact numbers the second time changes nothing; it removes what rounding left.
    """
    for _ in range(2):
        g = g - _add_up(g * p, axis)
    return g


def _add_up(x: Any, axis: Any) -> Any:
    return registry["sum"](x, axis, keepdims=True)


softmax.vjp(x=lambda g, p, x, axis, where: _softmax_gradient(g, p, axis))
softmax.formula(r"\frac{e^{x}}{\sum_j e^{x_j}}", x=r"y \odot (g - \sum_j g_j y_j)")
softmax.example(normal(3, 4))
softmax.example(normal(3, 4, 2), axis=1)
softmax.example(normal(3, 4, 2), axis=(0, -1))
softmax.example(normal(3, 4), where=np.eye(3, 4, dtype=bool) | (np.arange(4) == 3))
softmax.example(normal(2, 3), where=np.array([[True, False, True], [False, False, False]]))


@composite
def softmin(x, axis=-1):
    """Probabilities that favour the smallest: softmax(-x).

    Example:
        >>> softmin(np.array([1.0, 2.0, 3.0])).round(6)
        array([0.665241, 0.244728, 0.090031])
    """
    x = x if hasattr(x, "dtype") else np.asarray(x)
    return softmax(np.negative(x if x.dtype.kind == "f" else x.astype(float)), axis)  # unsigned ones have no negatives


softmin.example(normal(3, 4))


@primitive
def log_softmax(x, axis=-1, *, where=None):
    r"""Logarithms of the probabilities: :math:`\log p_i = x_i - \log \sum_j e^{x_j}`.

    Every entry has full relative accuracy, also the log p of a class whose p rounds to 1.

    Args:
        x: real logits of any shape.
        axis: the classes: an axis, a tuple of axes, or None for all.
        where: a mask that broadcasts to x: a class where it is False has the probability 0 and the logarithm -inf,
            also where every class of a row is masked.

    With g the gradient in log p, the gradient in x is :math:`g - p \sum_j g_j`.

    Example:
        >>> log_softmax(np.array([0.0, -40.0]))
        array([-4.24835426e-18, -4.00000000e+01])
    """
    rows, restore = kernels.rows(masked(x, where), axis)
    return _no_classes(restore(kernels.log_softmax(rows)), where, axis, -np.inf)


def _log_softmax_rule(g, y, x, axis, where):
    if where is not None:  # a masked class is the constant -inf
        g = np.where(where, g, 0)
    return log_softmax_gradient(g, x, axis, where)


log_softmax.vjp(x=_log_softmax_rule)
log_softmax.formula(r"x - \log \sum_j e^{x_j}", x=r"g - \mathrm{softmax}(x) \sum_j g_j")
log_softmax.example(normal(3, 4))
log_softmax.example(normal(3, 4, 2), axis=1)


@primitive
@in_single
def log_softmax_gradient(w, x, axis, where):
    """w - p Σ w, the gradient of Σ w log p: the digits of 1 - p are kept where a p is close to 1.

    Example:
        >>> log_softmax_gradient(np.array([1.0, 0.0]), np.array([40.0, 0.0]), -1, None)
        array([ 4.24835426e-18, -4.24835426e-18])
    """
    rows, restore = kernels.rows(masked(x, where), axis)
    weights, _ = kernels.rows(np.asarray(w), axis)
    y = restore(kernels.soft_cross_entropy(rows, weights.astype(rows.dtype, copy=False), -1, True)[1])
    return _no_classes(y, where, axis, 0)


log_softmax_gradient.vjp(
    w=lambda g, y, w, x, axis, where: centred(g, softmax(x, axis=axis, where=where), axis),
    x=lambda g, y, w, x, axis, where: (
        -_add_up(w, axis) * _softmax_gradient(g, softmax(x, axis=axis, where=where), axis)
    ),
)
log_softmax_gradient.formula(
    r"w - \mathrm{softmax}(x) \sum_j w_j",
    w=r"g - \sum_j g_j p_j",
    x=r"-(\sum_j w_j) \cdot p \odot (g - \sum_j g_j p_j)",
)
log_softmax_gradient.example(normal(3, 4), normal(3, 4), -1, None)
