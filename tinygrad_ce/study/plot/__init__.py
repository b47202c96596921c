"""Figures with matplotlib: softmax and its temperature, training, decision regions, weights, calibration, checks.

Every function draws into ``ax`` (None: a new figure) and returns the axes. Nothing here changes matplotlib's settings.
"""

from tinygrad_ce.study.plot.classifier import confusion_matrix, decision_boundary, reliability
from tinygrad_ce.study.plot.differences import step_sweep
from tinygrad_ce.study.plot.drawing import *  # noqa: F403  (its colours)
from tinygrad_ce.study.plot.parameters import gradient_flow, loss_landscape, weights
from tinygrad_ce.study.plot.softmax import probabilities, temperature_sweep
from tinygrad_ce.study.plot.training import loss_curves

__all__ = [
    "confusion_matrix", "decision_boundary", "gradient_flow", "loss_curves", "loss_landscape", "probabilities",
    "reliability", "step_sweep", "temperature_sweep", "weights",
]  # fmt: skip
