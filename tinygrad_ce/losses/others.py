"""The other losses over classes: made of softmax, cross_entropy and their like, whose accuracy they inherit."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.common.options import number
from tinygrad_ce.common.spellings import told
from tinygrad_ce.engine.constants import plain
from tinygrad_ce.engine.primitive import primitive
from tinygrad_ce.engine.single import in_single
from tinygrad_ce.losses import validate
from tinygrad_ce.losses.cross_entropy import cross_entropy
from tinygrad_ce.losses.targets import Targets, alike, given, reduced, share
from tinygrad_ce.ops.composite import composite
from tinygrad_ce.ops.elementwise import exp, where, xlogy
from tinygrad_ce.ops.example import normal, positive, probabilities
from tinygrad_ce.ops.reduction import logsumexp
from tinygrad_ce.ops.shape import take
from tinygrad_ce.ops.softmax import softmax


def picked(values: Any, targets: Targets) -> tuple[Any, np.ndarray]:
    """The entry of values at each row's label, and what the row weighs; a row that weighs nothing is 0."""
    weights = targets.per_row(targets.label_weights)
    order = (*(i for i in range(values.ndim) if i != targets.axis), targets.axis)
    index = targets.spread(targets.label)
    at = np.arange(index.size) * values.shape[targets.axis] + index
    found = take(values.transpose(order).reshape((-1,)), at.reshape(targets.shape))
    of_nothing = targets.scale != targets.scale  # a mean without any weight is nan, and so is its gradient
    return found if of_nothing or weights.all() else where(weights != 0, found, 0.0), weights


@composite
@in_single
def nll_loss(input, target, *, axis=None, weight=None, ignore_index=-100, reduction="mean"):
    r"""The negative log-likelihood :math:`-w_t \log p_t` of logarithms of probabilities, as log_softmax gives.

    Args, errors and reductions as for cross_entropy with index targets.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> float(tg.nll_loss(tg.log_softmax(np.array([[2.0, -1.0, 0.1]])), [1]).round(4))
        3.1818
    """
    x = given(input)
    targets = Targets("nll_loss", target, x.shape, x.dtype, axis, weight, ignore_index, reduction, soft=False)
    logp, weights = picked(x, targets)
    return reduced((0.0 - logp) * weights, reduction, targets.scale)


nll_loss.example(normal(4, 3), np.array([0, 2, -100, 1]), weight=[0.5, 1.0, 2.0])
nll_loss.example(normal(2, 3, 2), np.array([[0, 2], [1, 1]]), reduction="none")


@composite
@in_single
def categorical_cross_entropy(input, target, *, axis=-1, reduction="mean"):
    r"""The cross-entropy :math:`-\sum_c y_c \log p_c` of probabilities; nothing is clipped: a certain mistake is inf.

    Args:
        input: probabilities of shape (…, C, …); rows along the axis that don't sum to 1 are warned about, and a number
            outside [0, 1] is an error: for logits use cross_entropy.
        target: class indices, or soft targets of input's shape.
        axis: the class axis.
        reduction: "mean" (over rows), "sum" or "none".

    Example:
        >>> float(categorical_cross_entropy([[0.1, 0.8, 0.1]], [[0.0, 0.0, 1.0]]))
        2.3025850929940455
    """
    name = "categorical_cross_entropy"
    validate.check_options(name, reduction)
    p = given(input)
    axis = validate.check_axis(name, p.shape, axis)
    validate.check_probabilities(name, "input", plain(p, "input"), axis)
    if plain(target, "target").shape == p.shape:
        target = given(target)
        validate.check_soft(name, plain(target, "target"))
        return reduced(0.0 - xlogy(target, p).sum(axis=axis), reduction)
    found, weights = picked(p, Targets(name, target, p.shape, p.dtype, axis, None, None, soft=False))
    return reduced(0.0 - xlogy(weights, found), reduction)


categorical_cross_entropy.example(probabilities(4, 2), probabilities(4, 2))
categorical_cross_entropy.example(probabilities(4, 2), np.array([0, 0, 1, 1]), reduction="none")


@composite
@in_single
def kl_div(input, target, *, reduction="mean", log_target=False):
    r"""Kullback and Leibler's divergence, terms :math:`y (\log y - x)`, of log-probabilities x from probabilities y.

    Args:
        input: logarithms of probabilities.
        target: probabilities of the same shape; their logarithms with log_target.
        reduction: "mean" over all entries, "batchmean" (the sum over the first axis' length: the divergence itself),
            "sum" or "none".
        log_target: whether target holds logarithms.

    Example:
        >>> import numpy as np
        >>> float(kl_div(np.log([[0.5, 0.5]]), [[0.25, 0.75]], reduction="batchmean").round(6))
        0.130812

    Source:
        Kullback, Leibler, On information and sufficiency, 1951; the reductions are PyTorch's.
    """
    if reduction != "batchmean":
        validate.check_options("kl_div", reduction)
    x, y = alike("kl_div", input, target)
    if not log_target:
        validate.check_probabilities("kl_div", "target", plain(y, "target"))
    terms = exp(y) * (y - x) if log_target else xlogy(y, y) - y * x
    if reduction == "batchmean":
        return reduced(terms, "mean", share(x.shape[0] if x.ndim else 1))
    return reduced(terms, reduction)


kl_div.example(normal(4, 3), probabilities(4, 3))
kl_div.example(normal(4, 3), normal(4, 3), log_target=True, reduction="batchmean")


@primitive
def unreduced_focal_loss(x, gamma=2.0):
    r"""focal_loss's :math:`(1 - p)^γ\, x` of a row's negative log-likelihood x, where :math:`p = e^{-x}`.

    Example:
        >>> unreduced_focal_loss(np.array([0.0, 800.0]), 0.5)
        array([  0., 800.])
    """
    return (-np.expm1(np.negative(x))) ** gamma * x


def _focal_rule(g, y, x, gamma):
    """g (1 - p)^γ (1 + γ x p / (1 - p)). For a certain row, x = 0, the last quotient is 1, so for γ > 0 all is 0."""
    if not gamma:
        return g
    certain = np.equal(x, 0)
    x = np.where(certain, 1, np.minimum(x, 700))
    rest = -np.expm1(-x)
    return np.where(certain, 0, g * rest**gamma * (1 + gamma * x * np.exp(-x) / rest))


unreduced_focal_loss.vjp(x=_focal_rule)
unreduced_focal_loss.formula(
    r"(1 - e^{-x})^{gamma}\, x", x=r"g \cdot (1 - e^{-x})^{gamma} (1 + gamma \cdot \frac{x e^{-x}}{1 - e^{-x}})"
)
unreduced_focal_loss.example(positive(3, 4))
unreduced_focal_loss.example(positive(3, 4), 0.5)


@composite
@in_single
def focal_loss(input, target, *, gamma=2.0, axis=None, weight=None, ignore_index=-100, reduction="mean"):
    r"""The cross-entropy with easy rows weighed down: :math:`-w_t (1 - p_t)^γ \log p_t`; γ = 0 is cross_entropy.

    1 - p_t is formed from the loss itself, :math:`-\mathrm{expm1}(\log p_t)`, so confident rows keep their digits.

    Example:
        >>> float(focal_loss(np.array([[2.0, -1.0, 0.1]]), [0]).round(6))
        0.005022

    Source:
        Lin et al., Focal loss for dense object detection, 2017, arXiv:1708.02002.
    """
    validate.check_options("focal_loss", reduction)
    if not number("focal_loss", "gamma", gamma) >= 0:
        raise ValueError(f"focal_loss: gamma is {gamma!r}, expected a number ≥ 0")
    x = given(input)
    nll = cross_entropy(x, target, axis=axis, ignore_index=ignore_index, reduction="none")
    targets = Targets("focal_loss", target, x.shape, x.dtype, axis, weight, ignore_index, reduction, soft=False)
    weights = targets.per_row(targets.label_weights)
    return reduced(unreduced_focal_loss(nll, float(gamma)) * weights, reduction, targets.scale)


focal_loss.example(normal(4, 3), np.array([0, 2, -100, 1]), weight=[0.5, 1.0, 2.0])
focal_loss.example(normal(4, 3), np.array([0, 2, 1, 1]), gamma=0.5, reduction="sum")


@composite
@in_single
def z_loss(input, *, axis=None, reduction="mean"):
    r""":math:`(\log \sum_c e^{x_c})^2` of each row: a small multiple of it keeps logits from drifting away.

    Example:
        >>> float(z_loss(np.zeros((1, 2))).round(6))
        0.480453

    Source:
        Chowdhery et al., PaLM, 2022, arXiv:2204.02311.
    """
    validate.check_options("z_loss", reduction)
    x = given(input)
    lse = logsumexp(x, axis=validate.check_axis("z_loss", x.shape, axis))
    return reduced(lse * lse, reduction)


z_loss.example(normal(4, 3))
z_loss.example(normal(2, 3, 4), reduction="none")


@told
def gumbel_softmax(logits: Any, tau: float = 1.0, hard: bool = False, axis: int = -1, *, rng: Any = None) -> Any:
    r"""A random choice that can be differentiated: softmax of :math:`(x + \mathrm{Gumbel\ noise}) / τ`.

    Args:
        logits: of any shape.
        tau: the temperature τ > 0; the smaller, the closer to a choice.
        hard: whether to return the choice itself (one-hot), with the gradient of the soft one.
        axis: the classes.
        rng: a Generator, or a seed for one; None draws a fresh seed from the system.

    Example:
        >>> gumbel_softmax(np.zeros(3), hard=True, rng=0)
        array([0., 0., 1.])

    Source:
        Jang, Gu, Poole, Categorical reparameterization with Gumbel-softmax, 2016, arXiv:1611.01144.
    """
    if not number("gumbel_softmax", "tau", tau) > 0:
        raise ValueError(f"gumbel_softmax: tau is {tau!r}, expected a temperature above 0")
    x = given(logits)
    noise = np.random.default_rng(rng).gumbel(size=x.shape).astype(x.dtype)
    y = softmax((x + noise) / tau, axis=axis)
    if not hard:
        return y
    soft = plain(y, "target")
    chosen = validate.one_hot(soft.argmax(axis=axis), x.shape[axis], x.dtype)
    return np.moveaxis(chosen, -1, axis) + (y - soft)
