"""A tiny reverse-mode autograd engine over NumPy, with softmax and cross-entropy at its heart."""

from tinygrad_ce.ops import *  # noqa: F403
from tinygrad_ce.primitive import no_grad, primitive
from tinygrad_ce.reverse import grad
from tinygrad_ce.tensor import Tensor
from tinygrad_ce.transforms import hessian, hvp, jacobian, value_and_grad
from tinygrad_ce.gradcheck import gradcheck
