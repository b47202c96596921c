"""Cross-entropies of yes-or-no targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.engine.constants import plain
from tinygrad_ce.engine.single import in_single
from tinygrad_ce.losses import validate
from tinygrad_ce.losses.targets import alike, reduced
from tinygrad_ce.ops.composite import composite
from tinygrad_ce.ops.elementwise import softplus, xlog1py, xlogy
from tinygrad_ce.ops.example import fractions, normal


def _checked(where: str, input: Any, target: Any, weight: Any, reduction: str) -> tuple[Any, Any, Any]:
    """Input and target of one shape, targets from 0 to 1, and a weight that broadcasts to them."""
    validate.check_options(where, reduction)
    x, y = alike(where, input, target)
    validate.check_probabilities(where, "target", plain(y, "target"))
    if np.isnan(plain(y, "target")).any():
        raise ValueError(f"{where}: target{validate.first(np.isnan(plain(y, 'target')))} is nan")
    w = 1.0 if weight is None else np.asarray(weight, x.dtype)
    if weight is not None and np.broadcast_shapes(np.shape(w), x.shape) != x.shape:
        raise ValueError(f"{where}: weight has shape {np.shape(w)}, expected one that broadcasts to {x.shape}")
    return x, y, w


@composite
@in_single
def binary_cross_entropy_with_logits(input, target, *, weight=None, pos_weight=None, reduction="mean"):
    r"""The cross-entropy of σ(x): :math:`w\,[\,p\,y\,\mathrm{softplus}(-x) + (1 - y)\,\mathrm{softplus}(x)\,]`.

    Its gradient is :math:`(1 - y) σ(x) - p\,y\,σ(-x)`, which never cancels, unlike σ(x) - y.

    Args:
        input: logits x of any shape.
        target: y from 0 to 1, of the same shape.
        weight: w, broadcast to input.
        pos_weight: p, a factor of the positive part, broadcast to input: p > 1 values recall.
        reduction: "mean" over all entries, "sum" or "none".

    Example:
        >>> binary_cross_entropy_with_logits(np.array([0.0, 40.0]), [1.0, 1.0], reduction="none")
        array([6.93147181e-01, 4.24835426e-18])
    """
    x, y, w = _checked("binary_cross_entropy_with_logits", input, target, weight, reduction)
    p = 1.0 if pos_weight is None else np.asarray(pos_weight, x.dtype)
    return reduced(w * (p * y * softplus(-x) + (1 - y) * softplus(x)), reduction)


binary_cross_entropy_with_logits.example(normal(3, 4), fractions(3, 4))
binary_cross_entropy_with_logits.example(
    normal(3, 4), fractions(3, 4), weight=[[1.0], [2.0], [0.5]], pos_weight=[1.0, 2.0, 3.0, 4.0], reduction="none"
)


@composite
@in_single
def binary_cross_entropy(input, target, *, weight=None, reduction="mean"):
    r"""The cross-entropy of probabilities, :math:`-w\,[\,y \log p + (1 - y) \log(1 - p)\,]`, unclipped.

    Args:
        input: probabilities p from 0 to 1, of any shape; a certain mistake is inf. For logits use
            binary_cross_entropy_with_logits.
        target: y from 0 to 1, of the same shape.
        weight: w, broadcast to input.
        reduction: "mean" over all entries, "sum" or "none".

    Example:
        >>> binary_cross_entropy([0.5, 0.9], [1.0, 1.0], reduction="none")
        array([0.69314718, 0.10536052])
    """
    p, y, w = _checked("binary_cross_entropy", input, target, weight, reduction)
    validate.check_probabilities("binary_cross_entropy", "input", plain(p, "input"))
    return reduced(-w * (xlogy(y, p) + xlog1py(1 - y, -p)), reduction)


binary_cross_entropy.example(fractions(3, 4), fractions(3, 4))
binary_cross_entropy.example(fractions(3, 4), fractions(3, 4), weight=[1.0, 2.0, 3.0, 4.0], reduction="none")
