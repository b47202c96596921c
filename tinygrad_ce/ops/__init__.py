"""The operators, by family: one file each, whose ``__all__`` lists the names that are public."""

# ruff: noqa: F403
from tinygrad_ce.ops.arrange import *
from tinygrad_ce.ops.arrange import __all__ as _arrange
from tinygrad_ce.ops.convolution import *
from tinygrad_ce.ops.convolution import __all__ as _convolution
from tinygrad_ce.ops.elementwise import *
from tinygrad_ce.ops.elementwise import __all__ as _elementwise
from tinygrad_ce.ops.matrix import *
from tinygrad_ce.ops.matrix import __all__ as _matrix
from tinygrad_ce.ops.reduction import *
from tinygrad_ce.ops.reduction import __all__ as _reduction
from tinygrad_ce.ops.shape import *
from tinygrad_ce.ops.shape import __all__ as _shape
from tinygrad_ce.ops.softmax import *
from tinygrad_ce.ops.softmax import __all__ as _softmax

__all__ = [*_arrange, *_convolution, *_elementwise, *_matrix, *_reduction, *_shape, *_softmax]
