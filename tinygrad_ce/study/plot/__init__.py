"""Figures with matplotlib: softmax and its temperature, training, decision regions, weights, calibration, checks.

Every function draws into ``ax`` (None: a new figure) and returns the axes. Nothing here changes matplotlib's settings.
"""

from tinygrad_ce.study.plot.training import *  # noqa: F403
from tinygrad_ce.study.plot.training import BLUE, PALETTE, VERMILLION  # noqa: F401

__all__ = [
    "confusion_matrix", "decision_boundary", "gradient_flow", "loss_curves", "loss_landscape", "probabilities",
    "reliability", "step_sweep", "temperature_sweep", "weights",
]  # fmt: skip
