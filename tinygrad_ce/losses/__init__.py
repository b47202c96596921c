"""The losses: cross-entropy and its relations on classes, with one validator of their targets; and those of numbers."""

from tinygrad_ce.losses.binary import binary_cross_entropy, binary_cross_entropy_with_logits
from tinygrad_ce.losses.cross_entropy import cross_entropy
from tinygrad_ce.losses.distances import huber_loss, l1_loss, mse_loss
from tinygrad_ce.losses.linear_cross_entropy import linear_cross_entropy
from tinygrad_ce.losses.others import categorical_cross_entropy, focal_loss, gumbel_softmax, kl_div, nll_loss, z_loss
from tinygrad_ce.losses.validate import one_hot

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "categorical_cross_entropy", "cross_entropy", "focal_loss", "gumbel_softmax", "huber_loss", "kl_div", "l1_loss",
    "linear_cross_entropy", "mse_loss", "nll_loss", "one_hot", "z_loss",
]  # fmt: skip
