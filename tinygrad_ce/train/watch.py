"""Watch: one line where a training is plainly sick. It looks at what there is anyway at the ends of epochs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_ce.losses import binary_cross_entropy_with_logits, cross_entropy
from tinygrad_ce.losses.validate import warn
from tinygrad_ce.train.callback import Callback
from tinygrad_ce.train.rows import ArrayRows
from tinygrad_ce.train.scales import unscaled
from tinygrad_ce.train.training import Training

_PATIENCE = 3, 100  # epochs and steps after which a loss should be below that of knowing nothing


class Watch(Callback):
    """Warn, once, of one class alone, a layer that no gradient reaches, and a loss that stays above log C."""

    writes = True

    def __init__(self) -> None:
        self._told = False

    def on_train_begin(self, training: Training) -> None:
        """Look at the labels, and note what the ends of epochs are held against."""
        self._parameters = [*training.model.named_parameters()] if is_entropy(training.loss) else []
        self._unreached: set[str] = set()
        self._chance = _chance(training)  # 0 once the loss was below it
        rows = training.rows
        y = rows.data.y if isinstance(rows, ArrayRows) and is_entropy(training.loss) else np.zeros(0)
        if y.ndim == 1 and y.size > 1 and y[0] >= 0 and (y == y[0]).all():
            self._tell(f"all {len(y):,} rows are of one class, {y[0]}, so there is nothing to tell apart")

    def on_epoch_end(self, training: Training) -> None:
        """Look at the gradients of the epoch's last step, and at its loss."""
        if self._told:
            return
        words = self._gradients() or self._losses(training)
        if (words or training.ending) and (words := unscaled(training) or words):
            self._tell(words)

    def _gradients(self) -> str:
        """Whether the same weight had a gradient of nothing but 0 at the ends of two epochs, while others had more."""
        none = [(name, p.ndim) for name, p in self._parameters if p._grad is not None and not p._grad.any()]
        before = self._unreached
        self._unreached = {name for name, axes in none if axes > 1 and len(none) < len(self._parameters)}
        if not before & self._unreached:
            return ""
        first = next(name for name, _ in none if name in self._unreached)
        cause = (
            f"no gradient reaches {first}: all units behind it are dead (0 for every row) or "
            "saturated, or its output is multiplied by 0"
        )
        return f"{cause}; scale the features, lower the learning rate, or draw the weights anew"

    def _losses(self, training: Training) -> str:
        """Whether the loss was never below that of knowing nothing."""
        losses = training.history["loss"]
        if losses[-1] < self._chance:
            self._chance = 0.0
        if not self._chance:
            return ""
        if len(losses) < _PATIENCE[0] or training.updates < _PATIENCE[1]:
            return ""
        least = f"the loss is {losses[-1]:.4g}, and was never below log C = {self._chance:.4g}, that of knowing nothing"
        return f"{least}; tg.study.diagnose(model, data) looks for the cause"

    def _tell(self, words: str) -> None:
        self._told = True
        warn(f"fit: {words}")


def is_entropy(loss: Any) -> bool:
    """Whether a loss is cross-entropy without options, which is log C where nothing is known."""
    plain = getattr(type(loss), "operator", loss) in (cross_entropy, binary_cross_entropy_with_logits)
    return plain and not getattr(loss, "options", None)


def _chance(training: Training) -> float:
    """log C, where that is what knowing nothing comes to, by cross-entropy without weights, and no epoch had less."""
    rows, chance = training.rows, math.log(max(len(training.rows.classes), 1))
    weighed = rows.class_weight is not None or (isinstance(rows, ArrayRows) and rows.weight is not None)
    less = training.epoch and min(training.history["loss"]) < chance
    return chance if is_entropy(training.loss) and not weighed and not less else 0.0
