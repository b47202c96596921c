"""Whether a training has learned nothing because its features aren't scaled."""

from __future__ import annotations

import numpy as np

from tinygrad_ce import losses, nn
from tinygrad_ce.losses import validate
from tinygrad_ce.train.training import Training

_SCALING = (nn.Standardize, nn.LayerNorm, nn.BatchNorm1d)
_LARGE = 10.0  # the size of numbers at which steps of the usual rates go wrong
_LEARNED = 0.95  # a loss below this part of the guess's tells that something was learned


def warn_if_unscaled(training: Training) -> None:
    """Warn if the cross-entropy is no lower than by guessing, and the model was given large numbers as they are.

    To guess is to give each class its share of the rows as probability; the loss is then the shares' entropy.
    """
    rows, measured = training.rows, training.history["loss"] if len(training.history) else []
    weighed = rows.class_weight is not None or getattr(rows, "weight", None) is not None
    if not measured or weighed or training.loss is not losses.cross_entropy or training.team.rank:
        return
    labels = next(iter(rows.labels()))
    if labels.ndim > 1 or any(isinstance(module, _SCALING) for _, module in training.model.named_modules()):
        return
    shares = np.bincount(labels[labels >= 0])
    shares = shares[shares > 0] / shares.sum()
    guess = -float(shares @ np.log(shares))
    if not 0 < _LEARNED * guess <= measured[-1]:
        return
    largest = max(float(np.abs(each).max()) for each in rows.moments())
    if largest > _LARGE:
        found = f"fit: the loss is {measured[-1]:.4g}, that of guessing by the frequency of classes {guess:.4g}"
        cause = f"features with means or deviations of {largest:.4g} are likely why"
        validate.warn(f"{found}; {cause}: begin the model with nn.Standardize.of(x), which scales them")
