"""Every operator, by family; a family is one file."""

from tinygrad_ce.labels import one_hot
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
from tinygrad_ce.ops.binary import binary_cross_entropy, binary_cross_entropy_with_logits
from tinygrad_ce.ops.conv import conv2d, fold, max_pool2d, unfold
from tinygrad_ce.ops.linear_loss import blocked_linear_cross_entropy, linear_cross_entropy
from tinygrad_ce.ops.loss import cross_entropy, softmax_minus_onehot
from tinygrad_ce.ops.losses import categorical_cross_entropy, focal_loss, gumbel_softmax, kl_div, nll_loss, z_loss
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
from tinygrad_ce.ops.softmax import log_softmax, mass_minus_softmax, softmax, softmin

__all__ = [
    "abs", "add", "astype", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "blocked_linear_cross_entropy", "broadcast_to", "categorical_cross_entropy", "clip", "concatenate", "conv2d",
    "cos", "cross_entropy", "cumsum", "divide", "dot", "einsum", "embedding", "exp", "expand_dims", "expm1", "flip",
    "focal_loss", "fold", "gelu", "getitem", "gumbel_softmax", "join", "kl_div", "leaky_relu", "linear",
    "linear_cross_entropy", "log", "log1p", "log_softmax", "logsigmoid", "logsumexp", "mass_minus_softmax",
    "matmul", "max", "max_pool2d", "maximum", "mean", "min", "minimum", "multiply", "negative", "nll_loss",
    "normal_cdf", "one_hot", "outer", "pad", "power", "prod", "relu", "reshape", "scatter", "sigmoid", "silu",
    "sin", "softmax", "softmax_minus_onehot", "softmin", "softplus", "split", "sqrt", "square", "squeeze", "stack",
    "std", "subtract", "sum", "swapaxes", "take", "tanh", "transpose", "unfold", "var", "where", "xlog1py", "xlogy",
    "z_loss",
]  # fmt: skip
