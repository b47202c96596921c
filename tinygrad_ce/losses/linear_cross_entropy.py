"""linear_cross_entropy: a linear layer and its cross-entropy as one operator that never holds all logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.engine.primitive import Node, composite, primitive
from tinygrad_ce.kernels.linear import Sweep
from tinygrad_ce.losses import targets as labels
from tinygrad_ce.losses.cross_entropy import softmax_minus_onehot, target_factor
from tinygrad_ce.losses.others import given
from tinygrad_ce.ops.example import normal, probabilities
from tinygrad_ce.ops.matrix import linear, rows
from tinygrad_ce.ops.softmax import log_softmax

_NAMES = ("x", "w", None, "b")


class Tally:
    """What a forward counted on its way: the fraction of rows whose largest logit is the label's."""

    accuracy = float("nan")

    def __deepcopy__(self, memo: Any) -> Tally:
        """The same one: a recorded call copies what could change under it, and this one is to be told."""
        return self


@composite
def linear_cross_entropy(
    input,
    linear_weight,
    target,
    *,
    linear_bias=None,
    weight=None,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    return_accuracy=False,
):
    r"""``cross_entropy(linear(input, linear_weight, linear_bias), target)`` without ever holding all logits.

    Logits are made block by block, so memory stays that of a block while classes grow to millions; the reverse pass
    makes them once more. (Second derivatives, and the gradient in soft targets, do hold all logits.)

    Args:
        input: (…, F) rows of features.
        linear_weight: (C, F).
        target: class indices of shape (…), or soft targets of shape (…, C).
        linear_bias: (C), or None.
        weight, ignore_index, reduction, label_smoothing: as for cross_entropy.
        return_accuracy: whether to return (loss, accuracy): the fraction of the rows that count whose largest logit is
            at the label (of soft targets, at the largest mass).

    Returns:
        A scalar, or with "none" one loss per row; of input's dtype.

    Raises:
        ValueError, TypeError: shapes that don't fit, and all that cross_entropy rejects.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> x, w = tg.Tensor(np.eye(2), requires_grad=True), tg.Tensor(np.eye(2, 2) * 3, requires_grad=True)
        >>> loss = tg.linear_cross_entropy(x, w, [0, 1])
        >>> loss.backward()
        >>> print(round(loss.item(), 6), x.grad.round(4).tolist())
        0.048587 [[-0.0711, 0.0711], [0.0711, -0.0711]]

    Source:
        Wijmans et al., Cut your losses in large-vocabulary language models, 2024, arXiv:2411.09009.
    """
    tally = Tally()
    loss = blocked_linear_cross_entropy(
        given(input), given(linear_weight), target, linear_bias, weight, ignore_index, reduction, label_smoothing,
        tally=tally,
    )  # fmt: skip
    return (loss, tally.accuracy) if return_accuracy else loss


@primitive
def blocked_linear_cross_entropy(
    input,
    linear_weight,
    target,
    linear_bias,
    weight,
    ignore_index,
    reduction,
    label_smoothing,
    slices=None,
    tally=None,
    keep=(),
):
    """linear_cross_entropy as it is recorded; slices joins those of several processes, tally is told the accuracy.

    Example:
        >>> x, w = np.zeros((1, 2)), np.zeros((4, 2))
        >>> float(blocked_linear_cross_entropy(x, w, [0], None, None, -100, "sum", 0.0))
        1.3862943611198906
    """
    case = _Case(input, linear_weight, target, linear_bias, weight, ignore_index, reduction, label_smoothing, slices)
    sweep = case.sweep()
    if tally is not None:
        right = sweep.largest == case.answer
        tally.accuracy = float(right.mean()) if right.size else float("nan")
    losses = sweep.losses
    loss = case.spread(losses) if reduction == "none" else np.asarray(losses.sum() * case.scale, case.dtype)
    needed = tuple(name for i, name in enumerate(_NAMES) if name and i in keep)
    return (loss, (case, sweep, needed)) if keep else loss


class _Case:
    """A call, checked: rows that count, what their labels and classes weigh, and the way back."""

    def __init__(
        self, input: Any, linear_weight: Any, target: Any, linear_bias: Any, weight: Any, ignore_index: int,
        reduction: str, label_smoothing: float, slices: Any = None,
    ) -> None:  # fmt: skip
        where = "linear_cross_entropy"
        labels.check_options(where, reduction, label_smoothing)
        x, w, target = np.asarray(input), np.asarray(linear_weight), np.asarray(target)
        check_shapes(where, x.shape, w.shape, linear_bias)
        self.slices = slices
        first, classes = (0, len(w)) if slices is None else (slices.first, slices.classes)
        self.here = slice(first, first + len(w))
        self.shape, self.dtype = x.shape, x.dtype
        work = np.result_type(x, w, np.float32)
        self.x, self.w = rows(x).astype(work, copy=False), w.astype(work, copy=False)
        self.b = None if linear_bias is None else np.asarray(linear_bias, work)
        each = np.ones(classes, work) if weight is None else labels.check_weight(where, weight, classes).astype(work)
        logits = (*x.shape[:-1], classes)
        self.counts = None
        self.label: Any = None
        self.dense: Any = None
        self.alpha: Any = 0.0
        if labels.is_soft(target, logits):
            y = rows(labels.check_soft(where, target)).astype(work, copy=False)
            self.answer = y.argmax(axis=1) if y.size else np.zeros(len(y), np.intp)
            if label_smoothing:
                y = (1 - label_smoothing) * y + label_smoothing / classes
            self.dense = y if weight is None else y * each
            total = len(self.x)
        else:
            self.label, self.counts = labels.check_indices(where, target, logits, len(logits) - 1, ignore_index)
            if self.counts is not None:
                self.x, self.label = self.x[self.counts], self.label[self.counts]
            self.answer = self.label
            self.alpha = (1 - label_smoothing) * each[self.label]
            if label_smoothing:
                self.dense = each * work.type(label_smoothing / classes)
            total = each[self.label].sum() if weight is not None else len(self.label)
        self.scale = work.type(1)
        if reduction == "mean":
            self.scale = work.type(1 / total if total else np.nan)

    def sweep(self) -> Sweep:
        """The first sweep, over the classes that are here."""
        label = None if self.label is None else self.label - self.here.start
        dense = None if self.dense is None else self.dense[..., self.here]
        if self.slices is not None:
            raise NotImplementedError("linear_cross_entropy: its classes can't be spread over ranks any more")
        return Sweep(self.x, self.w, self.b, label, self.alpha, dense)

    def spread(self, found: np.ndarray, *last: int) -> np.ndarray:
        """Rows that count among all, zeros elsewhere, in the input's shape."""
        if self.counts is not None:
            whole = np.zeros((len(self.counts), *found.shape[1:]), found.dtype)
            whole[self.counts] = found
            found = whole
        return found.reshape((*self.shape[:-1], *last)).astype(self.dtype, copy=False)

    def row_gradient(self, g: Any, reduction: str) -> Any:
        """The gradient of each row's loss."""
        if reduction != "none":
            return g * self.scale if len(self.x) else 0.0
        g = np.reshape(g, -1)
        return g if self.counts is None else g[self.counts]


def check_shapes(where: str, input: tuple[int, ...], linear_weight: tuple[int, ...], linear_bias: Any) -> None:
    """Reject an input's and a weight's shape, or a bias, that don't fit together."""
    if len(linear_weight) != 2 or not input or input[-1] != linear_weight[1]:
        raise ValueError(
            f"{where}: input has shape {input} and linear_weight {linear_weight}; expected (…, F) and (C, F)"
        )
    if linear_bias is not None and np.shape(linear_bias) != linear_weight[:1]:
        raise ValueError(f"{where}: linear_bias has shape {np.shape(linear_bias)}, expected ({linear_weight[0]},)")


def _gradient(name: str, g: Any, options: tuple[Any, ...], kept: Any) -> Any:
    """One of the gradients, on arrays: in the sweep that the forward began, or in one of its own."""
    reduction = options[6]
    if kept is None:
        case = _Case(*options[:-1])
        sweep, needed = case.sweep(), (name,)
    else:
        case, sweep, needed = kept
    found = sweep.gradients(case.row_gradient(g, reduction), needed)[name]
    return case.spread(found, found.shape[-1]) if name == "x" else found


def _slope(g: Any, options: tuple[Any, ...]) -> Any:
    """The gradient in the logits, on Tensors: all of them, as (rows, C)."""
    input, linear_weight, target, linear_bias, weight, ignore_index, reduction, label_smoothing, slices, _ = options
    if slices is not None:
        raise RuntimeError(
            "linear_cross_entropy: no second derivatives where its classes are spread over ranks; "
            "leave create_graph out, or give every rank the whole linear_weight and use tg.linear_cross_entropy"
        )
    z = linear(input, linear_weight, linear_bias)
    slope = softmax_minus_onehot(z, target, z.ndim - 1, weight, ignore_index, reduction, label_smoothing)
    slope = (np.expand_dims(g, -1) if reduction == "none" else g) * slope
    return rows(slope)


def _on_tensors(g: Any, options: tuple[Any, ...]) -> bool:
    return any(isinstance(a, Node) for a in (g, *options[:4]))


def _input_rule(g, y, *options):
    options, kept = options[:-1], options[-1]
    if _on_tensors(g, options):
        return (_slope(g, options).dot(options[1])).reshape(options[0].shape)
    return _gradient("x", g, options, kept)


def _weight_rule(g, y, *options):
    options, kept = options[:-1], options[-1]
    if _on_tensors(g, options):
        return _slope(g, options).T.dot(rows(options[0]))
    return _gradient("w", g, options, kept)


def _bias_rule(g, y, *options):
    options, kept = options[:-1], options[-1]
    if _on_tensors(g, options):
        return _slope(g, options).sum(axis=0)
    return _gradient("b", g, options, kept)


def _target_rule(g, y, input, linear_weight, target, linear_bias, weight, ignore_index, reduction, smoothing, *rest):
    z = linear(input, linear_weight, linear_bias)
    g = np.expand_dims(g, -1) if reduction == "none" else g
    return -g * target_factor(z, z.ndim - 1, weight, reduction, smoothing) * log_softmax(z)


blocked_linear_cross_entropy.vjp(
    input=_input_rule, linear_weight=_weight_rule, target=_target_rule, linear_bias=_bias_rule
)
blocked_linear_cross_entropy.example(
    normal(4, 2), normal(3, 2), probabilities(4, 3), normal(3), None, -100, "mean", 0.0
)
blocked_linear_cross_entropy.example(
    normal(2, 2, 2), normal(3, 2), probabilities(2, 2, 3), None, np.array([0.5, 1.0, 2.0]), -100, "sum", 0.1
)
linear_cross_entropy.example(normal(4, 2), normal(3, 2), np.array([0, 2, -100, 1]), linear_bias=normal(3))
linear_cross_entropy.example(
    normal(2, 2, 3), normal(4, 3), np.array([[0, 3], [1, 2]]), weight=[0.5, 1.0, 2.0, 1.5], reduction="none",
    label_smoothing=0.1,
)  # fmt: skip
linear_cross_entropy.example(
    normal(4, 2), normal(3, 2), probabilities(4, 3), weight=[0.5, 1.0, 2.0], reduction="sum", label_smoothing=0.2
)
