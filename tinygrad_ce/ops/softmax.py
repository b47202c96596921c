"""softmax and its logarithm."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce import kernels
from tinygrad_ce.example import normal
from tinygrad_ce.primitive import primitive


@primitive
def softmax(x, axis=-1):
    r"""Probabilities from logits: $p_i = e^{x_i} / \sum_j e^{x_j}$.

    Args:
        x: real logits of any shape; -inf gives the probability 0.
        axis: the classes: an axis, a tuple of axes, or None for all.

    Returns:
        Probabilities of x's shape and floating dtype; each row of classes sums to 1. A row of nothing but -inf, or
        with a nan, is nan.

    With g the gradient in p, the gradient in x is $p \odot (g - \sum_j g_j p_j)$.

    Example:
        >>> softmax(np.array([2.0, -1.0, 0.1])).round(6)
        array([0.833781, 0.041512, 0.124707])

    Source: Bridle, Training stochastic model recognition algorithms as networks, 1989.
    """
    rows, restore = kernels.rows(np.asarray(x), axis)
    return restore(kernels.softmax(rows))


def centred(g: Any, p: Any, axis: Any) -> Any:
    r"""$g - \sum_j g_j p_j$, without loss where one p is close to 1 and its g would cancel against the sum.

    Subtracting the mean twice changes nothing but the rounding: the second time no large number is left to cancel.
    """
    for _ in range(2):
        g = g - np.sum(g * p, axis=axis, keepdims=True)
    return g


softmax.vjp(x=lambda g, p, x, axis: p * centred(g, p, axis))
softmax.example(normal(3, 4))
softmax.example(normal(3, 4, 2), axis=1)
softmax.example(normal(3, 4, 2), axis=(0, -1))


@primitive
def log_softmax(x, axis=-1):
    r"""Logarithms of the probabilities: $\log p_i = x_i - \log \sum_j e^{x_j}$.

    Every entry has full relative accuracy, also the log p of a class whose p rounds to 1.

    Args:
        x: real logits of any shape.
        axis: the classes: an axis, a tuple of axes, or None for all.

    With g the gradient in log p, the gradient in x is $g - p \sum_j g_j$.

    Example:
        >>> log_softmax(np.array([0.0, -40.0]))
        array([-4.24835426e-18, -4.00000000e+01])
    """
    rows, restore = kernels.rows(np.asarray(x), axis)
    return restore(kernels.log_softmax(rows))


log_softmax.vjp(x=lambda g, y, x, axis: g - softmax(x, axis=axis) * np.sum(g, axis=axis, keepdims=True))
log_softmax.example(normal(3, 4))
log_softmax.example(normal(3, 4, 2), axis=1)
