"""Models: Module, layers, initialisers."""

# ruff: noqa: F403
from tinygrad_ce.common import spellings
from tinygrad_ce.nn import init
from tinygrad_ce.nn.images import *
from tinygrad_ce.nn.images import __all__ as _images
from tinygrad_ce.nn.layers import *
from tinygrad_ce.nn.layers import __all__ as _layers
from tinygrad_ce.nn.module import Module
from tinygrad_ce.nn.norms import *
from tinygrad_ce.nn.norms import __all__ as _norms

__all__ = [*_images, *_layers, *_norms, "Module", "init"]

__getattr__ = spellings.missing(__name__, __all__)
