"""The operators, by family; a family is one file."""

from tinygrad_ce.ops.convolution import conv2d, fold, max_pool2d, unfold
from tinygrad_ce.ops.elementwise import (
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
    logsigmoid,
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
    xlog1py,
    xlogy,
)
from tinygrad_ce.ops.matrix import dot, einsum, linear, matmul, outer
from tinygrad_ce.ops.reduction import cumsum, logsumexp, max, mean, min, prod, std, sum, var
from tinygrad_ce.ops.shape import (
    broadcast_to,
    concatenate,
    embedding,
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
from tinygrad_ce.ops.softmax import log_softmax, log_softmax_gradient, softmax, softmin

__all__ = [
    "abs", "add", "astype", "broadcast_to", "clip", "concatenate", "conv2d", "cos", "cumsum", "divide", "dot",
    "einsum", "embedding", "exp", "expand_dims", "expm1", "flip", "fold", "gelu", "getitem", "join", "leaky_relu",
    "linear", "log", "log1p", "log_softmax", "logsigmoid", "logsumexp", "log_softmax_gradient", "matmul", "max",
    "max_pool2d", "maximum", "mean", "min", "minimum", "multiply", "negative", "normal_cdf", "outer", "pad",
    "power", "prod", "relu", "reshape", "scatter", "sigmoid", "silu", "sin", "softmax", "softmin", "softplus",
    "split", "sqrt", "square", "squeeze", "stack", "std", "subtract", "sum", "swapaxes", "take", "tanh",
    "transpose", "unfold", "var", "where", "xlog1py", "xlogy",
]  # fmt: skip
