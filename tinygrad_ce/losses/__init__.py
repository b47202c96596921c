"""The losses on classes: cross-entropy and its relations, and the one validator of their targets."""

from tinygrad_ce.losses.binary import binary_cross_entropy, binary_cross_entropy_with_logits
from tinygrad_ce.losses.cross_entropy import cross_entropy, softmax_minus_onehot
from tinygrad_ce.losses.linear_cross_entropy import blocked_linear_cross_entropy, linear_cross_entropy
from tinygrad_ce.losses.others import categorical_cross_entropy, focal_loss, gumbel_softmax, kl_div, nll_loss, z_loss
from tinygrad_ce.losses.validate import one_hot

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "blocked_linear_cross_entropy",
    "categorical_cross_entropy", "cross_entropy", "focal_loss", "gumbel_softmax", "kl_div", "linear_cross_entropy",
    "nll_loss", "one_hot", "softmax_minus_onehot", "z_loss",
]  # fmt: skip
