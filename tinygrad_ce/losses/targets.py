"""Targets: what each class of each row weighs in a loss. And how losses take their operands and reduce their terms."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.engine.constants import plain
from tinygrad_ce.engine.node import Node
from tinygrad_ce.kernels import softmax as kernels
from tinygrad_ce.losses import validate


class Targets:
    r"""The targets of one call, checked: which rows count, what their classes weigh, what the reduction divides by.

    The loss of a row is :math:`-\sum_c y_c \log p_c` with the target weights :math:`y_c = w_c\,((1 - ε)\,t_c + ε / C)`.
    There t is the row's soft target, or the one-hot row of its class index; w are the class weights, and ε is the
    smoothing. There are R rows, in the order of the input, and K of them count.

    Args:
        where: the loss's name, for messages.
        target: class indices of the input's shape without the class axis, or soft targets of the input's shape.
        shape: of the input.
        dtype: of the weights.
        axis, weight, ignore_index, reduction, label_smoothing: as for cross_entropy.
        soft: whether soft targets are taken.

    Attributes:
        axis: the class axis, counted from 0.
        shape: of the rows: the input's without the class axis.
        counts: (R) which rows count; None where all do.
        label: (K) class indices; None for soft targets.
        label_weights: the label's part of y, :math:`w_t (1 - ε)`: (K), or one number where there are no class weights.
        others: the rest of y: (K, C) for soft targets, (C) for the smoothing of labels, else None.
        scale: what the reduction multiplies the sum of the losses by; nan for a mean of nothing.
    """

    def __init__(
        self, where: str, target: Any, shape: tuple[int, ...], dtype: Any, axis: Any = None, weight: Any = None,
        ignore_index: Any = -100, reduction: str = "mean", label_smoothing: float = 0.0, soft: bool = True,
    ) -> None:  # fmt: skip
        validate.check_options(where, reduction, label_smoothing, ignore_index)
        self.axis = validate.check_axis(where, shape, axis)
        self.shape, self.dtype, self.reduction = shape[: self.axis] + shape[self.axis + 1 :], dtype, reduction
        classes, target = shape[self.axis], np.asarray(target)
        w: Any = 1.0 if weight is None else validate.check_weight(where, weight, classes).astype(dtype)
        self._weight, self._smoothing, self._soft_share = w, label_smoothing, w * (1 - label_smoothing)
        added = w * (label_smoothing / max(classes, 1))
        self.label: Any = None
        self.counts: np.ndarray | None = None
        self.others: Any = None
        self.label_weights: Any = 0.0
        if soft and validate.is_soft(target, shape):
            y = kernels.rows(validate.check_soft(where, target), self.axis)[0].astype(dtype, copy=False)
            usual = weight is None and not label_smoothing
            self.others = y if usual else y * self._soft_share + added
            total = len(y)
        else:
            label, self.counts = validate.check_indices(where, target, shape, self.axis, ignore_index)
            self.label = self.counted(label)
            each = w if weight is None else w[self.label]
            self.label_weights = each * (1 - label_smoothing)
            self.others = np.full(classes, added, dtype) if label_smoothing else None
            total = len(self.label) if weight is None else each.sum(dtype=np.float64)
        self.scale = share(total) if reduction == "mean" else 1.0

    def counted(self, rows: Any) -> Any:
        """Of R rows, those that count."""
        return rows if self.counts is None else rows[self.counts]

    def spread(self, rows: np.ndarray) -> np.ndarray:
        """The K rows among all R; the others are 0."""
        if self.counts is None:
            return rows
        every = np.zeros((len(self.counts), *rows.shape[1:]), rows.dtype)
        every[self.counts] = rows
        return every

    def per_row(self, numbers: Any) -> np.ndarray:
        """A number for each label, or one for all, in the shape of the rows; 0 for a row that doesn't count."""
        return self.spread(np.broadcast_to(np.asarray(numbers, self.dtype), len(self.label))).reshape(self.shape)

    def weights(self) -> Any:
        """The target weights y, (K, C)."""
        if self.label is None:
            return self.others
        y = np.empty((len(self.label), len(self.others)), self.dtype)
        y[:] = self.others
        y[np.arange(len(y)), self.label] += self.label_weights
        return y

    def smoothed(self) -> float:
        """The sum of what the smoothing adds to a row's y."""
        return float(np.mean(self._weight)) * self._smoothing

    def soft_factor(self) -> Any:
        """∂y/∂t of soft targets, times the scale, to broadcast along the class axis."""
        factor = np.asarray(self._soft_share * self.scale, self.dtype)
        return factor.reshape((-1,) + (1,) * (len(self.shape) - self.axis))

    def reduce(self, losses: np.ndarray, dtype: np.dtype) -> Any:
        """The loss from the K rows' losses, in the input's dtype if that is floating."""
        each = self.reduction == "none"
        loss = self.spread(losses).reshape(self.shape) if each else kernels.total(losses) * self.scale
        if loss.dtype == dtype or dtype.kind != "f":
            return loss
        with np.errstate(all="ignore"):  # float16 holds less than what it was computed in
            return loss.astype(dtype)

    def row_gradients(self, g: Any) -> Any:
        """The gradients of the K rows' losses where that of the loss is g: one for each, or one for all."""
        return self.counted(np.reshape(g, -1)) if self.reduction == "none" else g * self.scale


def share(total: Any) -> float:
    """What a mean multiplies a sum by; nan for a mean of nothing."""
    return float(1 / total) if total else np.nan


def reduced(terms: Any, reduction: str, scale: float | None = None) -> Any:
    """Terms as they are, or their sum, or their sum times a scale: for a mean, 1 / (how many there are) by default."""
    if reduction == "none":
        return terms
    if reduction == "sum":
        return terms.sum()
    return terms.sum() * terms.dtype.type(share(terms.size) if scale is None else scale)


def given(x: Any) -> Any:
    """A Tensor or an array, of floats."""
    x = x if isinstance(x, Node) else plain(x, "input")
    return x if x.dtype.kind == "f" else x.astype(float)


def alike(where: str, input: Any, target: Any) -> tuple[Any, Any]:
    """Input and target as floats of one shape; a target that is an array comes in input's dtype."""
    x, y = given(input), given(target)
    if x.shape != y.shape:
        raise ValueError(f"{where}: target has shape {y.shape}, expected input's shape {x.shape}: it is not broadcast")
    return x, y if isinstance(y, Node) else y.astype(x.dtype, copy=False)
