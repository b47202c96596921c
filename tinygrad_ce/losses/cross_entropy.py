"""cross_entropy: softmax, logarithm and the target's choice in one operator; its gradient is softmax - onehot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.engine.primitive import primitive
from tinygrad_ce.kernels import softmax as kernels
from tinygrad_ce.losses import validate
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

    Its gradient in the logits is :math:`p - \mathrm{onehot}(t)`. Loss and gradient have full relative accuracy also
    for a row
    that is all but certain: the loss of [0, -20] in float32 is 2.06e-9, not 0.

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
    if weight is None and axis is None and reduction == "mean" and label_smoothing == 0 and _is_plain(input, target):
        validate.warn_of_probabilities("cross_entropy", input, stacklevel=4)
        index, counts = validate.check_indices("cross_entropy", target, input.shape, 1, ignore_index)
        if counts is None:
            losses, gradient = kernels.index_cross_entropy(input, index, 1.0 / len(index), 0 in keep)
            loss = kernels.total(losses) * (1.0 / len(index))
            return (loss, gradient) if keep else loss
    rows = rows_of(input, target, axis, weight, ignore_index, reduction, label_smoothing)
    losses, gradient = rows.losses(0 in keep)
    if reduction == "none":
        loss = np.squeeze(rows.put_back(losses[:, None], 1), axis=rows.axis)
    else:
        loss = kernels.total(losses) * rows.scale
        if rows.dtype != losses.dtype:
            with np.errstate(all="ignore"):
                loss = loss.astype(rows.dtype)
    return (loss, None if gradient is None else rows.put_back(gradient)) if keep else loss


def _is_plain(input: Any, target: Any) -> bool:
    """Whether a call is like most: some rows of logits that kernels take as they are, and an index for each."""
    return (
        type(input) is np.ndarray and type(target) is np.ndarray and input.ndim == 2 and target.ndim == 1
        and input.dtype in kernels.FAST and input.flags.c_contiguous and input.size > 0
    )  # fmt: skip


@primitive
def softmax_minus_onehot(input, target, axis, weight, ignore_index, reduction, label_smoothing):
    """The gradient of cross_entropy in its logits, A·p - mass: see there for the arguments.

    With "none" it holds each row's own gradient. It is an operator itself, so that second derivatives go through it.

    Example:
        >>> softmax_minus_onehot(np.zeros((1, 2)), [1], None, None, -100, "mean", 0.0)
        array([[ 0.5, -0.5]])
    """
    rows = rows_of(input, target, axis, weight, ignore_index, reduction, label_smoothing)
    return rows.put_back(rows.losses(keep=True)[1])


def _input_rule(g, y, input, target, axis, weight, ignore_index, reduction, label_smoothing, kept):
    """g (p - onehot), with a g for each row where the loss was not reduced."""
    slope = kept
    if slope is None:
        slope = softmax_minus_onehot(input, target, axis, weight, ignore_index, reduction, label_smoothing)
    if reduction == "none":
        return np.expand_dims(g, validate.check_axis("cross_entropy", input.shape, axis)) * slope
    return slope if kept is not None and g.item() == 1 else g * slope


def _target_rule(g, y, input, target, axis, weight, ignore_index, reduction, label_smoothing, kept):
    """-g log p, times what the reduction, class weight and smoothing multiply the target by."""
    axis = validate.check_axis("cross_entropy", input.shape, axis)
    if reduction == "none":
        g = np.expand_dims(g, axis)
    return -g * target_factor(input, axis, weight, reduction, label_smoothing) * log_softmax(input, axis=axis)


cross_entropy.vjp(input=_input_rule, target=_target_rule)
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


def _slope_input_rule(v, slope, input, target, axis, *options):
    """A p (v - Σ v p): the softmax's own rule, times each row's mass A."""
    axis = validate.check_axis("cross_entropy", input.shape, axis)
    p = softmax(input, axis=axis)
    mass = _mass(input, target, axis, *options)
    return np.where(mass == 0, 0, mass * p * centred(v, p, axis))


def _slope_target_rule(v, slope, input, target, axis, weight, ignore_index, reduction, label_smoothing):
    """Σ v p - v, times what multiplies the target."""
    axis = validate.check_axis("cross_entropy", input.shape, axis)
    p = softmax(input, axis=axis)
    factor = target_factor(input, axis, weight, reduction, label_smoothing)
    return -factor * centred(v, p, axis)


softmax_minus_onehot.vjp(input=_slope_input_rule, target=_slope_target_rule)
softmax_minus_onehot.example(normal(4, 3), np.array([0, 2, 1, 2]), None, None, -100, "mean", 0.0)
softmax_minus_onehot.example(normal(3, 4), probabilities(3, 4), 0, np.array([0.5, 1.0, 2.0]), -100, "none", 0.1)


def target_factor(input: Any, axis: int, weight: Any, reduction: str, label_smoothing: float) -> Any:
    """∂ mass_c / ∂ y_c of soft targets, to broadcast along the class axis."""
    classes = input.shape[axis]
    count = input.size / classes if reduction == "mean" else 1.0
    w = np.ones(classes, input.dtype) if weight is None else np.asarray(weight, input.dtype)
    return np.expand_dims(w * (1 - label_smoothing) / count, tuple(range(1, input.ndim - axis)))


def _mass(input: Any, target: Any, axis: int, *options: Any) -> Any:
    """Each row's whole mass A, class axis of length 1: a constant or, of soft targets, a function of the target."""
    weight, _, reduction, label_smoothing = options
    if validate.is_soft(target, input.shape):
        smooth = (1 - label_smoothing) * target + label_smoothing / input.shape[axis]
        return np.sum(target_factor(input, axis, weight, reduction, 0.0) * smooth, axis=axis, keepdims=True)
    rows = rows_of(np.zeros(input.shape, input.dtype), target, axis, *options)
    mass = rows.factor if rows.mass is None else rows.mass.sum(axis=1) * rows.scale
    return rows.put_back(np.broadcast_to(np.asarray(mass, rows.x.dtype), len(rows.x))[:, None], 1)


class Rows(NamedTuple):
    """A call of cross_entropy as rows: those that count, and the way back to the input's shape."""

    x: np.ndarray  # (K, C) logits of the rows that count
    label: Any  # (K) class indices; or None, and then
    mass: np.ndarray | None  # (K, C) what each class counts, smoothed and weighted
    weight: np.ndarray | None  # (K) of each row's label, or None for 1
    scale: Any  # what the reduction multiplies by; nan for a mean of nothing
    counts: np.ndarray | None  # (R) which rows count; None: all
    axis: int
    restore: Callable[..., np.ndarray]
    dtype: np.dtype  # of the loss

    def losses(self, keep: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """The loss of each row, but for the scale, and, if keep, its gradient, scale included."""
        if self.mass is not None:
            return kernels.soft_cross_entropy(self.x, self.mass, self.scale, keep)
        losses, gradient = kernels.index_cross_entropy(self.x, self.label, self.factor, keep)
        if self.weight is not None:  # a weight of 0 silences also an infinite loss
            losses = np.multiply(losses, self.weight, where=self.weight != 0, out=np.zeros_like(losses))
        return losses, gradient

    @property
    def factor(self) -> Any:
        """What a row's loss is multiplied by: one number, or one per row."""
        return self.scale if self.weight is None else self.weight * self.scale

    def put_back(self, result: np.ndarray, *length: int) -> np.ndarray:
        """Rows in the input's shape (or one number per row: length 1), with zeros where a row doesn't count."""
        if self.counts is not None:
            whole = np.zeros((len(self.counts), *result.shape[1:]), result.dtype)
            whole[self.counts] = result
            result = whole
        return self.restore(result, *length)


def rows_of(input, target, axis, weight, ignore_index, reduction, label_smoothing):
    """Check a call's arguments and lay them out as rows."""
    where = "cross_entropy"
    validate.check_options(where, reduction, label_smoothing)
    input, target = np.asarray(input), np.asarray(target)
    axis = validate.check_axis(where, input.shape, axis)
    x, restore = kernels.rows(input, axis)
    validate.warn_of_probabilities(where, x)
    dtype = input.dtype if input.dtype.kind == "f" else x.dtype
    if weight is not None:
        weight = validate.check_weight(where, weight, x.shape[1]).astype(x.dtype)
    index = y = counts = each = None
    if target.dtype.kind == "f" and target.shape == input.shape:
        y, _ = kernels.rows(validate.check_soft(where, target), axis)
        total = len(x)
    else:
        index, counts = validate.check_indices(where, target, input.shape, axis, ignore_index)
        if counts is not None:
            x, index = x[counts], index[counts]
        each = None if weight is None else weight[index]
        total = len(x) if each is None else each.sum()
        if label_smoothing:
            y = np.eye(x.shape[1], dtype=x.dtype)[index]
    scale = 1.0
    if reduction == "mean":
        scale = float(1 / total) if total else np.nan
    mass = None if y is None else _weighted(y, weight, label_smoothing)
    return Rows(x, index, mass, each, scale, counts, axis, restore, dtype)


def _weighted(y: Any, weight: Any, label_smoothing: float) -> Any:
    """Target rows after smoothing and class weights."""
    if label_smoothing:
        y = (1 - label_smoothing) * y + label_smoothing / y.shape[1]
    return y if weight is None else y * weight
