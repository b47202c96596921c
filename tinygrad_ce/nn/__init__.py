"""Models: Module, layers, initialisers."""

from tinygrad_ce.nn import init
from tinygrad_ce.nn.layers import (
    GELU,
    CrossEntropyLoss,
    Dropout,
    LeakyReLU,
    Linear,
    LogSoftmax,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Standardize,
    Tanh,
)
from tinygrad_ce.nn.module import Module

__all__ = [
    "GELU", "CrossEntropyLoss", "Dropout", "LeakyReLU", "Linear", "LogSoftmax", "Module", "ReLU", "Sequential",
    "SiLU", "Sigmoid", "Softmax", "Softplus", "Standardize", "Tanh", "init",
]  # fmt: skip
