"""cross_entropy: softmax, logarithm and the target's choice in one operator; its gradient is softmax - onehot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce.engine.constants import plain
from tinygrad_ce.engine.primitive import primitive
from tinygrad_ce.engine.single import in_single, single
from tinygrad_ce.kernels import softmax as kernels
from tinygrad_ce.losses import validate
from tinygrad_ce.losses.formulas import Written, product
from tinygrad_ce.losses.targets import Targets
from tinygrad_ce.ops.example import normal, probabilities
from tinygrad_ce.ops.softmax import centred, log_softmax, softmax


@primitive
def cross_entropy(
    input,
    target,
    *,
    axis=None,
    weight=None,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    keep=(),
):
    r"""The softmax cross-entropy of logits: :math:`-\log p_t` with :math:`p = \mathrm{softmax}(x)`, as one operator.

    Its gradient in the logits is :math:`p - \mathrm{onehot}(t)`. Loss and gradient have full relative accuracy, also
    for a row that is all but certain: the loss of [0, -20] in float32 is 2.06e-9, not 0.

    Args:
        input: logits of shape (C), (N, C) or (N, C, d1, …), floating; -inf masks a class.
        target: class indices, an integer array of input's shape without the class axis; or soft targets, floats ≥ 0 of
            input's shape, with the loss :math:`-\sum_c y_c \log p_c`.
        axis: the class axis; 1 by default, 0 where input has but one.
        weight: a factor :math:`w_c \ge 0` for each class.
        ignore_index: rows with this label count nothing: no loss, no gradient.
        reduction: "mean", "sum" or "none". The mean of index targets is :math:`\sum w_{t}\,nll / \sum w_{t}` over the
            rows that count (nan if none does); that of soft targets divides by the number of rows.
        label_smoothing: ε in [0, 1): the target becomes :math:`(1 - ε) y + ε / C`.

    Returns:
        A scalar, or with "none" one loss per row; of input's dtype.

    Raises:
        ValueError, TypeError: a label out of range (the first wrong row is named), a target, weight, axis, reduction or
            smoothing that doesn't fit.

    Example:
        >>> import tinygrad_ce as tg
        >>> x = tg.Tensor([[2.0, -1.0, 0.1]], requires_grad=True)
        >>> loss = tg.cross_entropy(x, [1])
        >>> loss.backward()
        >>> print(round(loss.item(), 4), x.grad.round(4))
        3.1818 [[ 0.8338 -0.9585  0.1247]]

    Source:
        Bridle, 1989; the semantics of the options are PyTorch's.
    """
    if (
        axis is None and weight is None and reduction == "mean" and label_smoothing == 0
        and type(input) is np.ndarray and input.ndim == 2 and input.dtype in kernels.FAST and input.flags.c_contiguous
        and input.size and type(target) is np.ndarray and target.ndim == 1
    ):  # fmt: skip
        # What most calls are. The rest of this function gives the same, but takes a quarter longer for 32 rows.
        validate.warn_of_probabilities("cross_entropy", input)
        label, counts = validate.check_indices("cross_entropy", target, input.shape, 1, ignore_index)
        if counts is None:
            losses, gradient = kernels.index_cross_entropy(input, label, 1.0 / len(label), 0 in keep)
            loss = kernels.total(losses) * (1.0 / len(label))
            return (loss, gradient) if keep else loss
    input, options = np.asarray(input), (axis, weight, ignore_index, reduction, label_smoothing)
    targets, losses, gradient = _row_by_row(single(input), target, *options, keep=0 in keep)
    loss = targets.reduce(losses, input.dtype)
    return (loss, gradient) if keep else loss


def _row_by_row(input, target, *options, keep):
    """The targets of a call, the loss of each row that counts, and, if keep, the gradient in the input, else None."""
    x, targets, restore = as_rows(input, target, *options)
    losses, gradient = row_losses(x, targets, keep)
    return targets, losses, None if gradient is None else restore(targets.spread(gradient))


def as_rows(
    input: np.ndarray, target: Any, axis: Any, *options: Any
) -> tuple[np.ndarray, Targets, Callable[..., np.ndarray]]:
    """The logits of the rows that count, their targets, and the way back to the input's shape."""
    axis = validate.check_axis("cross_entropy", input.shape, axis)
    x, restore = kernels.rows(input, axis)
    validate.warn_of_probabilities("cross_entropy", x)
    targets = Targets("cross_entropy", target, input.shape, x.dtype, axis, *options)
    return targets.counted(x), targets, restore


def row_losses(x: np.ndarray, targets: Targets, keep: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """The loss of each row, but for the scale; and, if keep, its gradient, scale included."""
    if targets.others is not None:
        return kernels.soft_cross_entropy(x, targets.weights(), targets.scale, keep)
    weights = targets.label_weights
    losses, gradient = kernels.index_cross_entropy(x, targets.label, weights * targets.scale, keep)
    if type(weights) is np.ndarray:  # a weight of 0 silences also an infinite loss
        losses = np.multiply(losses, weights, where=weights != 0, out=np.zeros_like(losses))
    return losses, gradient


@primitive
@in_single
def softmax_minus_onehot(input, target, axis, weight, ignore_index, reduction, label_smoothing):
    """The gradient of cross_entropy in its logits, p Σ y - y with the target weights y: see there for the arguments.

    With "none" it holds each row's own gradient. It is an operator itself, so that second derivatives go through it.

    Example:
        >>> softmax_minus_onehot(np.zeros((1, 2)), [1], None, None, -100, "mean", 0.0)
        array([[ 0.5, -0.5]])
    """
    options = (axis, weight, ignore_index, reduction, label_smoothing)
    _, _, gradient = _row_by_row(np.asarray(input), target, *options, keep=True)
    return gradient


# The rules hand their options on together: axis, weight, ignore_index, reduction and label_smoothing, in this order.


def gradient_in_logits(g, y, input, target, *rest):
    """g (p - onehot), with a g for each row where the loss was not reduced."""
    gradient = rest[-1]
    if gradient is not None and not g.ndim and g.item() == 1:
        return gradient
    options = rest[:-1]
    if gradient is None:
        gradient = softmax_minus_onehot(input, target, *options)
    return _per_row(g, input, *options) * gradient


def gradient_in_target(g, y, input, target, *rest):
    """-g log p, times what the reduction, class weight and smoothing multiply the target by."""
    *options, _ = rest
    targets = _targets(input, target, *options)
    return -_per_row(g, input, *options) * targets.soft_factor() * log_softmax(input, axis=targets.axis)


def _per_row(g, input, axis, *_):
    """A gradient for each row, to broadcast along the class axis; or one for all."""
    return np.expand_dims(g, validate.check_axis("cross_entropy", input.shape, axis)) if g.ndim else g


def _targets(input, target, *options):
    return Targets("cross_entropy", plain(target, "target"), input.shape, input.dtype, *options)


cross_entropy.vjp(input=gradient_in_logits, target=gradient_in_target)
cross_entropy.formula(
    lambda input, *options: Written("input", *options).loss,
    input=lambda input, *options: r"g \cdot " + Written("input", *options).logits_gradient,
    target=lambda input, *options: Written("input", *options).target_gradient,
)
cross_entropy.example(normal(4, 3), np.array([0, 2, 1, 2]))
cross_entropy.example(normal(4, 3), probabilities(4, 3))
cross_entropy.example(normal(3), 1)
cross_entropy.example(
    normal(2, 3, 2),
    np.array([[0, 2], [-100, 1]]),
    weight=np.array([0.5, 1.0, 2.0]),
    reduction="none",
    label_smoothing=0.1,
)
cross_entropy.example(
    normal(4, 3), probabilities(4, 3), weight=np.array([0.5, 1.0, 2.0]), reduction="sum", label_smoothing=0.2
)
cross_entropy.example(normal(3, 4), np.array([0, -100, 1, 1]), axis=0, weight=np.array([0.5, 1.0, 2.0]))


def _input_rule_of_gradient(v, y, input, target, *options):
    """p (v - Σ v p), the softmax's own rule, times the sum of each row's target weights."""
    targets = _targets(input, target, *options)
    p = softmax(input, axis=targets.axis)
    if targets.label is None:
        total = np.sum(targets.soft_factor() * target, axis=targets.axis, keepdims=True)
        total = total + targets.smoothed() * targets.scale
    else:
        total = targets.per_row((targets.label_weights + targets.smoothed()) * targets.scale)
        total = np.expand_dims(total, targets.axis)
    return np.where(total == 0, 0, total * p * centred(v, p, targets.axis))


def _target_rule_of_gradient(v, y, input, target, *options):
    """Σ v p - v, times what multiplies the target."""
    targets = _targets(input, target, *options)
    return -targets.soft_factor() * centred(v, softmax(input, axis=targets.axis), targets.axis)


softmax_minus_onehot.vjp(input=_input_rule_of_gradient, target=_target_rule_of_gradient)
softmax_minus_onehot.formula(
    lambda input, *options: Written("input", *options).logits_gradient,
    input=lambda input, *options: product(Written("input", *options).factor, r"p \odot (g - \sum_j g_j p_j)"),
    target=lambda input, *options: product(Written("input", *options).factor, r"(\sum_j g_j p_j - g)"),
)
softmax_minus_onehot.example(normal(4, 3), np.array([0, 2, 1, 2]), None, None, -100, "mean", 0.0)
softmax_minus_onehot.example(normal(3, 4), probabilities(3, 4), 0, np.array([0.5, 1.0, 2.0]), -100, "none", 0.1)
