"""Operators that NumPy has none of, by their definitions: formulas and loops, for any precision and complex numbers.

Nothing here is quick, or careful about rounding: at tame numbers, and in long double, it need not be.
"""

import itertools
import math

import numpy as np

# Elementwise


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.where(np.real(x) > 0, x + np.log1p(np.exp(-x)), np.log1p(np.exp(x)))


def logsigmoid(x):
    return -softplus(-x)


def xlogy(x, y):
    return np.where((x == 0) & ~np.isnan(y), 0, x * np.log(y))


def xlog1py(x, y):
    return np.where((x == 0) & ~np.isnan(y), 0, x * np.log1p(y))


def relu(x):
    return np.where(np.isnan(x) | (x > 0), x, 0)


def leaky_relu(x, negative_slope=0.01):
    return np.where(x > 0, x, x * negative_slope)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * (np.exp(x) - 1))


def normal_cdf(x):
    """½ + φ(x) (x + x³/3 + x⁵/15 + x⁷/105 + …), and the limits where |x| > 6."""
    near = np.abs(x) <= 6
    inside = np.where(near, x, 0)
    term = total = inside
    for k in range(1, 200):
        term = term * inside**2 / (2 * k + 1)
        total = total + term
    series = 0.5 + np.exp(-(inside**2) / 2) / math.sqrt(2 * math.pi) * total
    return np.where(near, series, np.where(np.isnan(x), x, np.real(x) > 0))


def gelu(x, approximate="none"):
    if approximate == "tanh":
        return x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * normal_cdf(x)


def silu(x):
    return x * sigmoid(x)


def astype(x, dtype):
    return x


# Reductions, and the softmax family


def var(x, axis=None, *, ddof=0, keepdims=False, correction=None):
    ddof = ddof if correction is None else correction
    count = np.ones(x.shape).sum(axis=axis, keepdims=keepdims)
    centred = x - x.sum(axis=axis, keepdims=True) / np.ones(x.shape).sum(axis=axis, keepdims=True)
    return (centred * centred).sum(axis=axis, keepdims=keepdims) / np.maximum(count - ddof, 0)


def std(x, axis=None, **settings):
    return np.sqrt(var(x, axis, **settings))


def parts(x, axis, where):
    """The exponentials, zeros where masked, their largest logit, and their sum."""
    mask = np.broadcast_to(True if where is None else where, x.shape)
    largest = np.max(np.where(mask, np.real(x), -np.inf), axis=axis, keepdims=True, initial=-np.inf)
    e = np.where(mask, np.exp(x - largest), 0)
    return mask, largest, e, e.sum(axis=axis, keepdims=True)


def softmax(x, axis=-1, *, where=None):
    mask, _, e, total = parts(x, axis, where)
    return np.where(mask.any(axis=axis, keepdims=True), e / total, 0)


def softmin(x, axis=-1):
    return softmax(-x, axis)


def log_softmax(x, axis=-1, *, where=None):
    mask, largest, _, total = parts(x, axis, where)
    return np.where(mask | np.isnan(total), x - largest - np.log(total), -np.inf)


def logsumexp(x, axis=None, *, keepdims=False, where=None):
    _, largest, _, total = parts(x, axis, where)
    y = np.where(np.isinf(largest), largest, largest + np.log(total))
    return y if keepdims else np.squeeze(y, axis)


def log_softmax_gradient(w, x, axis, where):
    return w - w.sum(axis=axis, keepdims=True) * softmax(x, axis, where=where)


# Losses


def reduced(losses, reduction, total=None):
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    total = losses.size if total is None else total
    return losses.sum() / total if total else np.nan * losses.sum()


def masses(input, target, axis, weight, ignore_index, label_smoothing):
    """What each class counts in each row, class axis last; and what a mean divides by."""
    axis = (0 if input.ndim == 1 else 1) if axis is None else axis
    classes = input.shape[axis]
    w = np.ones(classes) if weight is None else np.asarray(weight)
    target = np.asarray(target)
    if target.dtype.kind in "fc":
        y = np.moveaxis(target, axis, -1)
        return axis, w * ((1 - label_smoothing) * y + label_smoothing / classes), input.size / classes
    counts = target != ignore_index
    index = np.where(counts, target, 0)
    y = (1 - label_smoothing) * np.eye(classes)[index] + label_smoothing / classes
    return axis, w * y * counts[..., None], (w[index] * counts).sum()


def cross_entropy(
    input, target, *, axis=None, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):  # fmt: skip
    axis, mass, total = masses(input, target, axis, weight, ignore_index, label_smoothing)
    losses = -(mass * np.moveaxis(log_softmax(input, axis), axis, -1)).sum(axis=-1)
    return reduced(losses, reduction, total)


def softmax_minus_onehot(input, target, axis, weight, ignore_index, reduction, label_smoothing):
    axis, mass, total = masses(input, target, axis, weight, ignore_index, label_smoothing)
    p = np.moveaxis(softmax(input, axis), axis, -1)
    slope = np.moveaxis(mass.sum(axis=-1, keepdims=True) * p - mass, -1, axis)
    return np.where(slope == 0, 0, slope / total) if reduction == "mean" else slope  # also where no row counts


def linear_cross_entropy(input, linear_weight, target, *, linear_bias=None, **options):
    logits = linear(input, linear_weight, linear_bias)
    return cross_entropy(logits, target, axis=-1, **options)


def blocked_linear_cross_entropy(
    input, linear_weight, target, linear_bias, weight, ignore_index, reduction, label_smoothing, tally
):
    return linear_cross_entropy(
        input, linear_weight, target, linear_bias=linear_bias, weight=weight, ignore_index=ignore_index,
        reduction=reduction, label_smoothing=label_smoothing,
    )  # fmt: skip


def nll_loss(input, target, *, axis=None, weight=None, ignore_index=-100, reduction="mean"):
    axis, mass, total = masses(input, target, axis, weight, ignore_index, 0.0)
    return reduced(-(mass * np.moveaxis(input, axis, -1)).sum(axis=-1), reduction, total)


def categorical_cross_entropy(input, target, *, axis=-1, reduction="mean"):
    axis, mass, _ = masses(input, target, axis, None, None, 0.0)
    return reduced(-xlogy(mass, np.moveaxis(input, axis, -1)).sum(axis=-1), reduction)


def kl_div(input, target, *, reduction="mean", log_target=False):
    terms = np.exp(target) * (target - input) if log_target else xlogy(target, target) - target * input
    if reduction == "batchmean":
        return reduced(terms, "mean", len(input) if input.ndim else 1)
    return reduced(terms, reduction)


def focal_loss(input, target, *, gamma=2.0, axis=None, weight=None, ignore_index=-100, reduction="mean"):
    axis, onehot, _ = masses(input, target, axis, None, ignore_index, 0.0)
    log_p = (onehot * np.moveaxis(log_softmax(input, axis), axis, -1)).sum(axis=-1)
    _, mass, total = masses(input, target, axis, weight, ignore_index, 0.0)
    return reduced(-mass.sum(axis=-1) * (1 - np.exp(log_p)) ** gamma * log_p, reduction, total)


def unreduced_focal_loss(x, gamma=2.0):
    return (1 - np.exp(-x)) ** gamma * x


def z_loss(input, *, axis=None, reduction="mean"):
    axis = (0 if input.ndim == 1 else 1) if axis is None else axis
    return reduced(logsumexp(input, axis) ** 2, reduction)


def binary_cross_entropy_with_logits(input, target, *, weight=None, pos_weight=None, reduction="mean"):
    w, p = (1.0 if v is None else np.asarray(v) for v in (weight, pos_weight))
    return reduced(-w * (p * target * logsigmoid(input) + (1 - target) * logsigmoid(-input)), reduction)


def binary_cross_entropy(input, target, *, weight=None, reduction="mean"):
    w = 1.0 if weight is None else np.asarray(weight)
    return reduced(-w * (target * np.log(input) + (1 - target) * np.log(1 - input)), reduction)


def mse_loss(input, target, *, reduction="mean"):
    return reduced((input - target) ** 2, reduction)


def l1_loss(input, target, *, reduction="mean"):
    return reduced(np.abs(input - target), reduction)


def huber_loss(input, target, *, reduction="mean", delta=1.0):
    d = np.abs(input - target)
    return reduced(np.where(d < delta, d * d / 2, delta * (d - delta / 2)), reduction)


def gumbel_softmax(logits, tau=1.0, *, axis=-1, rng):
    return softmax((logits + np.random.default_rng(rng).gumbel(size=logits.shape)) / tau, axis)


# Shapes and pieces


def join(axis, *arrays):
    return np.concatenate(arrays, axis)


def embedding(input, weight):
    return weight[np.asarray(input, int)]


def getitem(x, index):
    return x[index]


def scatter(x, index, shape):
    y = np.zeros(shape, x.dtype)
    np.add.at(y, index, x)
    return y


# Products and images


def linear(x, weight, bias=None):
    return x @ weight.T if bias is None else x @ weight.T + bias


def vdot(a, b):
    return np.sum(np.ravel(a) * np.ravel(b))


def einsum(subscripts, *operands):
    return np.einsum(subscripts, *operands)


def places(size, window, stride):
    """Where a window begins as it moves over images of a size, row by row."""
    return itertools.product(*(range(0, n - k + 1, s) for n, k, s in zip(size, window, stride, strict=True)))


def pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def bordered(x, padding):
    down, right = pair(padding)
    return np.pad(x, ((0, 0), (0, 0), (down, down), (right, right)))


def unfold(x, kernel_size, *, stride=1, padding=0):
    (height, width), x = pair(kernel_size), bordered(x, padding)
    columns = [
        x[:, :, i : i + height, j : j + width].reshape(len(x), x.shape[1] * height * width)
        for i, j in places(x.shape[2:], (height, width), pair(stride))
    ]
    return np.stack(columns, axis=-1)


def fold(x, output_size, kernel_size, *, stride=1, padding=0):
    (height, width), (down, right), size = pair(kernel_size), pair(padding), tuple(output_size)
    channels = x.shape[1] // (height * width)
    y = bordered(np.zeros((len(x), channels, *size), x.dtype), padding)
    for k, (i, j) in enumerate(places(y.shape[2:], (height, width), pair(stride))):
        y[:, :, i : i + height, j : j + width] += x[:, :, k].reshape(len(x), channels, height, width)
    return y[:, :, down : down + size[0], right : right + size[1]]


def conv2d(x, weight, bias=None, *, stride=1, padding=0):
    x, (height, width) = bordered(x, padding), weight.shape[2:]
    steps = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], weight.shape[2:], pair(stride), strict=True)]
    sums = [
        np.einsum("ncuv,ocuv->no", x[:, :, i : i + height, j : j + width], weight)
        for i, j in places(x.shape[2:], (height, width), pair(stride))
    ]
    y = np.stack(sums, axis=-1).reshape(len(x), len(weight), *steps)
    return y if bias is None else y + bias[:, None, None]


def flat(x, first, count):
    """x with so many axes from the first on as one."""
    return x.reshape(*x.shape[:first], math.prod(x.shape[first : first + count]), *x.shape[first + count :])


def conv2d_images(g, weight, size, stride, padding):
    columns = np.einsum("nop,ok->nkp", flat(g, 2, 2), flat(weight, 1, 3))
    return fold(columns, size, weight.shape[2:], stride=stride, padding=padding)


def conv2d_kernels(g, x, size, stride, padding):
    columns = unfold(x, size, stride=stride, padding=padding)
    return np.einsum("nop,nkp->ok", flat(g, 2, 2), columns).reshape(g.shape[1], x.shape[1], *size)


def max_unpool2d(g, hits, size, kernel_size, stride):
    columns = np.moveaxis(np.where(hits, g, 0), 0, 2)  # (N, C, place in the window, H', W')
    return fold(flat(flat(columns, 3, 2), 1, 2), size, kernel_size, stride=stride)


def max_pool2d(x, kernel_size, stride=None):
    window = pair(kernel_size)
    stride = window if stride is None else pair(stride)
    steps = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], window, stride, strict=True)]
    maxima = [
        x[:, :, i : i + window[0], j : j + window[1]].max(axis=(2, 3)) for i, j in places(x.shape[2:], window, stride)
    ]
    return np.stack(maxima, axis=-1).reshape(*x.shape[:2], *steps)
