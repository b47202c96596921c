"""Losses of numbers: how far an input is from a target of the same shape."""

from __future__ import annotations

from typing import Any

from tinygrad_ce.common.options import number
from tinygrad_ce.engine.single import in_single
from tinygrad_ce.losses import validate
from tinygrad_ce.losses.targets import alike, reduced
from tinygrad_ce.ops.composite import composite
from tinygrad_ce.ops.elementwise import abs, clip, square
from tinygrad_ce.ops.example import normal, spaced


def _difference(where: str, input: Any, target: Any, reduction: str) -> Any:
    validate.check_options(where, reduction)
    x, y = alike(where, input, target)
    return x - y


@composite
@in_single
def mse_loss(input, target, *, reduction="mean"):
    r"""The squared error :math:`(x - y)^2`.

    Args:
        input: x, numbers of any shape.
        target: y, of the same shape; it may be a Tensor that requires grad, too.
        reduction: "mean" over all entries, "sum" or "none".

    Raises:
        ValueError: target has another shape than input: nothing is broadcast; or reduction is none of these.

    Example:
        >>> mse_loss([1.0, 2.0], [1.0, 5.0], reduction="none")
        array([0., 9.])

    Source:
        Legendre, Nouvelles méthodes pour la détermination des orbites des comètes, 1805; the reductions are PyTorch's.
    """
    return reduced(square(_difference("mse_loss", input, target, reduction)), reduction)


mse_loss.example(normal(3, 4), normal(3, 4))
mse_loss.example(normal(3, 4), normal(3, 4), reduction="none")


@composite
@in_single
def l1_loss(input, target, *, reduction="mean"):
    r"""The absolute error :math:`|x - y|`. Its gradient where both are equal is 0.

    Args:
        input: x, numbers of any shape.
        target: y, of the same shape; it may be a Tensor that requires grad, too.
        reduction: "mean" over all entries, "sum" or "none".

    Raises:
        ValueError: target has another shape than input: nothing is broadcast; or reduction is none of these.

    Example:
        >>> l1_loss([1.0, 2.0], [1.0, 5.0], reduction="none")
        array([0., 3.])

    Source:
        Boscovich, De litteraria expeditione, 1757; the reductions are PyTorch's.
    """
    return reduced(abs(_difference("l1_loss", input, target, reduction)), reduction)


l1_loss.example(spaced(3, 4), spaced(3, 4, offset=0.5))
l1_loss.example(spaced(3, 4), spaced(3, 4, offset=0.5), reduction="none")


@composite
@in_single
def huber_loss(input, target, *, reduction="mean", delta=1.0):
    r"""Half the squared error of small differences, and a straight line on: :math:`c\,(d - c / 2)`.

    Here :math:`d = x - y`, and c is d clipped to [-δ, δ]. So it is :math:`d^2 / 2` up to δ, and
    :math:`δ\,(|d| - δ / 2)` beyond; its gradient in x is c.

    Args:
        input: x, numbers of any shape.
        target: y, of the same shape; it may be a Tensor that requires grad, too.
        reduction: "mean" over all entries, "sum" or "none".
        delta: δ > 0.

    Raises:
        ValueError: target has another shape than input: nothing is broadcast; an option is out of range.

    Example:
        >>> huber_loss([1.0, 2.0, 2.0], [1.0, 2.5, 5.0], reduction="none")
        array([0.   , 0.125, 2.5  ])

    Source:
        Huber, Robust estimation of a location parameter, 1964; the reductions are PyTorch's.
    """
    if not number("huber_loss", "delta", delta) > 0:
        raise ValueError(f"huber_loss: delta is {delta!r}, expected a number above 0")
    d = _difference("huber_loss", input, target, reduction)
    c = clip(d, -float(delta), float(delta))
    return reduced(c * (d - 0.5 * c), reduction)


huber_loss.example(spaced(3, 4), spaced(3, 4, offset=0.5))
huber_loss.example(normal(3, 4), normal(3, 4), delta=10.0, reduction="none")
