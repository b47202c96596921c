"""The losses on classes: cross-entropy and its relations, and the one validator of their targets."""

from tinygrad_ce.losses.binary import binary_cross_entropy, binary_cross_entropy_with_logits
from tinygrad_ce.losses.cross_entropy import cross_entropy
from tinygrad_ce.losses.linear_cross_entropy import linear_cross_entropy
from tinygrad_ce.losses.others import categorical_cross_entropy, focal_loss, gumbel_softmax, kl_div, nll_loss, z_loss
from tinygrad_ce.losses.validate import one_hot

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "categorical_cross_entropy", "cross_entropy", "focal_loss", "gumbel_softmax", "kl_div", "linear_cross_entropy",
    "nll_loss", "one_hot", "z_loss",
]  # fmt: skip
