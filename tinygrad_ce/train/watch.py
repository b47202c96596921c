"""Watch: one line where a training is plainly sick. It looks at what there is anyway at the ends of epochs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_ce.losses import binary_cross_entropy_with_logits, cross_entropy
from tinygrad_ce.losses.validate import warn
from tinygrad_ce.nn.images import Conv2d
from tinygrad_ce.nn.layers import Linear
from tinygrad_ce.train.callback import Callback
from tinygrad_ce.train.rows import ArrayRows
from tinygrad_ce.train.training import Training

_PATIENCE = 3, 100  # epochs and steps after which a loss should be below that of knowing nothing
_LARGE = 1e3  # a feature


class Watch(Callback):
    """Warn, once, of one class alone, a layer that no gradient reaches, and a loss that stays above log C."""

    writes = True

    def __init__(self) -> None:
        self._told = False
        self._unreached: set[str] = set()

    def on_train_begin(self, training: Training) -> None:
        """Look at the labels."""
        rows = training.rows
        y = rows.data.y if isinstance(rows, ArrayRows) and is_entropy(training.loss) else np.zeros(0)
        if y.ndim == 1 and y.size > 1 and y[0] >= 0 and (y == y[0]).all():
            self._tell(f"all {len(y):,} rows are of one class, {y[0]}, so there is nothing to tell apart")

    def on_epoch_end(self, training: Training) -> None:
        """Look at the gradients of the epoch's last step, and at its loss."""
        words = "" if self._told else self._gradients(training) or _losses(training)
        if words:
            self._tell(words)

    def _gradients(self, training: Training) -> str:
        """Whether the same weight had a gradient of nothing but 0 at the ends of two epochs, while others had more."""
        reached = {n: bool(p._grad.any()) for n, p in training.model.named_parameters() if p._grad is not None}
        unreached = [n for n, p in training.model.named_parameters() if p.ndim > 1 and not reached.get(n, True)]
        before, self._unreached = self._unreached, {*unreached} if any(reached.values()) else set()
        if not before & self._unreached:
            return ""
        cause = f"no gradient reaches {unreached[0]}: all units behind it are dead (0 for every row) or saturated"
        return f"{cause}; scale the features, lower the learning rate, or draw the weights anew"

    def _tell(self, words: str) -> None:
        self._told = True
        warn(f"fit: {words}")


def _losses(training: Training) -> str:
    """Whether the loss was never below that of knowing nothing, and whether unscaled features are why."""
    losses, chance = training.history["loss"], _chance(training)
    if not chance or min(losses) < chance:
        return ""
    least = f"the loss is {losses[-1]:.4g}, and was never below log C = {chance:.4g}, that of knowing nothing"
    reach = float(np.abs(training.rows.first).max(initial=0))
    if reach > _LARGE and _is_bare(training):
        return f"{least}; features reach {reach:.3g}: begin the model with nn.Standardize.of(x)"
    if len(losses) >= _PATIENCE[0] and training.updates >= _PATIENCE[1]:
        return f"{least}; tg.study.diagnose(model, data) looks for the cause"
    return ""


def is_entropy(loss: Any) -> bool:
    """Whether a loss is cross-entropy without options, which is log C where nothing is known."""
    plain = getattr(type(loss), "operator", loss) in (cross_entropy, binary_cross_entropy_with_logits)
    return plain and not getattr(loss, "options", None)


def _chance(training: Training) -> float:
    """log C, where that is what knowing nothing comes to: by cross-entropy without weights; 0 elsewhere."""
    rows = training.rows
    weighed = rows.class_weight is not None or (isinstance(rows, ArrayRows) and rows.weight is not None)
    return math.log(max(len(rows.classes), 1)) if is_entropy(training.loss) and not weighed else 0.0


def _is_bare(training: Training) -> bool:
    """Whether the first layer with numbers multiplies the features as they come."""
    layers = (module for _, module in training.model.named_modules() if any(True for _ in module.named_tensors()))
    leaf = next((layer for layer in layers if not [*layer.named_modules()][1:]), None)
    return isinstance(leaf, Linear | Conv2d)
