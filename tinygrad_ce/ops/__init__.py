"""Every operator, by family; a family is one file."""

from tinygrad_ce.ops.arithmetic import (
    abs,
    add,
    astype,
    clip,
    cos,
    divide,
    exp,
    expm1,
    gelu,
    leaky_relu,
    log,
    log1p,
    maximum,
    minimum,
    multiply,
    negative,
    normal_cdf,
    power,
    relu,
    sigmoid,
    silu,
    sin,
    softplus,
    sqrt,
    square,
    subtract,
    tanh,
    where,
)
from tinygrad_ce.ops.loss import cross_entropy, softmax_minus_onehot
from tinygrad_ce.ops.matrix import dot, einsum, linear, matmul, outer
from tinygrad_ce.ops.reduction import cumsum, logsumexp, max, mean, min, prod, std, sum, var
from tinygrad_ce.ops.shape import (
    broadcast_to,
    concatenate,
    expand_dims,
    flip,
    getitem,
    join,
    pad,
    reshape,
    scatter,
    split,
    squeeze,
    stack,
    swapaxes,
    take,
    transpose,
)
from tinygrad_ce.ops.softmax import log_softmax, softmax

__all__ = [
    "abs", "add", "astype", "broadcast_to", "clip", "concatenate", "cos", "cross_entropy", "cumsum", "divide",
    "dot", "einsum", "exp", "expand_dims", "expm1", "flip", "gelu", "getitem", "join", "leaky_relu", "linear",
    "log", "log1p", "log_softmax", "logsumexp", "matmul", "max", "maximum", "mean", "min", "minimum", "multiply",
    "negative", "normal_cdf", "outer", "pad", "power", "prod", "relu", "reshape", "scatter", "sigmoid", "silu",
    "sin", "softmax", "softmax_minus_onehot", "softplus", "split", "sqrt", "square", "squeeze", "stack", "std",
    "subtract", "sum", "swapaxes", "take", "tanh", "transpose", "var", "where",
]  # fmt: skip
