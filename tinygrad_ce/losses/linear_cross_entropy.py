"""linear_cross_entropy: a linear layer and its cross-entropy as one operator that never holds all logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.engine.node import Node
from tinygrad_ce.engine.primitive import primitive
from tinygrad_ce.kernels.linear import Sweep
from tinygrad_ce.losses.cross_entropy import gradient_in_logits, gradient_in_target
from tinygrad_ce.losses.formulas import Written, product
from tinygrad_ce.losses.targets import Targets, given
from tinygrad_ce.ops.composite import composite
from tinygrad_ce.ops.example import normal, probabilities
from tinygrad_ce.ops.matrix import linear, rows

_SWEPT = {0: "x", 1: "w", 3: "b"}  # the arguments whose gradients a sweep makes, and their names there


class Tally:
    """What a forward counts on its way: in how many of the rows the largest logit is the label's, as a fraction."""

    accuracy = float("nan")

    def count(self, right: np.ndarray) -> None:
        """Take down which rows are right."""
        self.accuracy = float(right.mean()) if right.size else float("nan")

    def __deepcopy__(self, memo: Any) -> Tally:
        """Itself: a recorded call copies its arguments, and a copy would be told in vain."""
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
            at the label (of soft targets, at the largest one).

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
    tally = Tally() if return_accuracy else None
    loss = blocked_linear_cross_entropy(
        given(input), given(linear_weight), target, linear_bias, weight, ignore_index, reduction, label_smoothing,
        tally=tally,
    )  # fmt: skip
    return (loss, tally.accuracy) if tally else loss


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
    tally=None,
    keep=(),
):
    """linear_cross_entropy as it is recorded; a tally counts its accuracy.

    Example:
        >>> x, w = np.zeros((1, 2)), np.zeros((4, 2))
        >>> float(blocked_linear_cross_entropy(x, w, [0], None, None, -100, "sum", 0.0))
        1.3862943611198906
    """
    options = (weight, ignore_index, reduction, label_smoothing)
    targets, sweep = _swept(input, linear_weight, target, linear_bias, *options)
    if tally is not None:
        answer = rows(np.asarray(target)).argmax(axis=1) if targets.label is None else targets.label
        tally.count(sweep.largest == answer)
    loss = targets.reduce(sweep.losses, np.asarray(input).dtype)
    needed = tuple(name for i, name in _SWEPT.items() if i in keep)
    return (loss, (targets, sweep, needed)) if keep else loss


def _swept(input, linear_weight, target, linear_bias, *options):
    """The targets of a call, and the sweep over its blocks that makes the losses."""
    x, w = np.asarray(input), np.asarray(linear_weight)
    _check_shapes(x.shape, w.shape, linear_bias)
    work = np.result_type(x, w, np.float32)
    targets = Targets("linear_cross_entropy", target, (*x.shape[:-1], len(w)), work, -1, *options)
    x, w = targets.counted(rows(x).astype(work, copy=False)), w.astype(work, copy=False)
    b = None if linear_bias is None else np.asarray(linear_bias, work)
    return targets, Sweep(x, w, b, targets.label, targets.label_weights, targets.others)


def _check_shapes(input: tuple[int, ...], linear_weight: tuple[int, ...], linear_bias: Any) -> None:
    """Reject an input's and a weight's shape, or a bias, that don't fit together."""
    where = "linear_cross_entropy"
    if len(linear_weight) != 2 or not input or input[-1] != linear_weight[1]:
        raise ValueError(
            f"{where}: input has shape {input} and linear_weight {linear_weight}; expected (…, F) and (C, F)"
        )
    if linear_bias is not None and np.shape(linear_bias) != linear_weight[:1]:
        raise ValueError(f"{where}: linear_bias has shape {np.shape(linear_bias)}, expected ({linear_weight[0]},)")


def _gradient(name, g, input, linear_weight, target, linear_bias, *rest):
    """The gradient in x, w or b on arrays: from the forward's sweep, or from a new one once that is used up."""
    *options, _, kept = rest
    targets, sweep, needed = kept or (*_swept(input, linear_weight, target, linear_bias, *options), (name,))
    found = sweep.gradients(targets.row_gradients(g), needed)[name]
    return targets.spread(found).reshape(input.shape) if name == "x" else found


def _all_logits_gradient(g, input, linear_weight, target, linear_bias, *rest):
    """The gradient in all logits, (R, C), on Tensors."""
    *options, _, _ = rest
    z = linear(input, linear_weight, linear_bias)
    return rows(gradient_in_logits(g, None, z, target, z.ndim - 1, *options, None))


def _on_tensors(*arguments: Any) -> bool:
    return any(isinstance(a, Node) for a in arguments)


def _input_rule(g, y, input, linear_weight, *rest):
    if _on_tensors(g, input, linear_weight, *rest):
        return _all_logits_gradient(g, input, linear_weight, *rest).dot(linear_weight).reshape(input.shape)
    return _gradient("x", g, input, linear_weight, *rest)


def _weight_rule(g, y, input, *rest):
    if _on_tensors(g, input, *rest):
        return _all_logits_gradient(g, input, *rest).T.dot(rows(input))
    return _gradient("w", g, input, *rest)


def _bias_rule(g, y, *arguments):
    if _on_tensors(g, *arguments):
        return _all_logits_gradient(g, *arguments).sum(axis=0)
    return _gradient("b", g, *arguments)


def _target_rule(g, y, input, linear_weight, target, linear_bias, *rest):
    *options, _, _ = rest
    z = linear(input, linear_weight, linear_bias)
    return gradient_in_target(g, None, z, target, z.ndim - 1, *options, None)


blocked_linear_cross_entropy.vjp(
    input=_input_rule, linear_weight=_weight_rule, target=_target_rule, linear_bias=_bias_rule
)


def _written(input: Any, linear_weight: Any, target: Any, linear_bias: Any, *options: Any) -> Written:
    return Written(
        r"input\, linear_weight^T" + ("" if linear_bias is None else " + linear_bias"), target, -1, *options[:4]
    )


def _logits_gradient(*call: Any) -> str:
    return product("g", _written(*call).factor, _written(*call).row_gradient("p"))


blocked_linear_cross_entropy.formula(
    lambda *call: _written(*call).loss + r"\text{, the classes in blocks}",
    input=lambda *call: _logits_gradient(*call) + r"\; linear_weight",
    linear_weight=lambda *call: f"({_logits_gradient(*call)})^T" + r"\; input",
    linear_bias=lambda *call: _logits_gradient(*call) + r"\text{, summed over the rows}",
    target=lambda *call: _written(*call).target_gradient,
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
