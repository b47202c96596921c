"""Optimisers, learning-rate schedules and gradient clipping. Their numbers are PyTorch's."""

from tinygrad_ce.common import spellings
from tinygrad_ce.optim.clip import clip_grad_norm, clip_grad_value
from tinygrad_ce.optim.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from tinygrad_ce.optim.schedules import (
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
    Schedule,
    SequentialLR,
    StepLR,
)

__all__ = [
    "SGD", "Adam", "AdamW", "CosineAnnealingLR", "ExponentialLR", "LinearLR", "OneCycleLR", "Optimizer", "RMSprop",
    "ReduceLROnPlateau", "Schedule", "SequentialLR", "StepLR", "clip_grad_norm", "clip_grad_value",
]  # fmt: skip

__getattr__ = spellings.missing(__name__, __all__)
