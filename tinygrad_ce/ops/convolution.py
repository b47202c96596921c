"""Convolution and pooling of images, by way of the patches that a window sees as it moves over them."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_ce.engine.primitive import primitive
from tinygrad_ce.engine.single import in_single
from tinygrad_ce.ops.elementwise import where
from tinygrad_ce.ops.example import normal, spaced
from tinygrad_ce.ops.reduction import sum

# Bytes of patches at a time: all would be kh·kw times the images, and fresh memory takes longer than the arithmetic.
BLOCK = 1 << 22

__all__ = ["conv2d", "fold", "max_pool2d", "unfold"]


def pair(where: str, name: str, value: Any, least: int) -> tuple[int, int]:
    """An option for height and width: one whole number for both, or a pair."""
    numbers = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(numbers) != 2 or not all(isinstance(n, int | np.integer) and n >= least for n in numbers):
        raise ValueError(f"{where}: {name} is {value!r}, expected a whole number ≥ {least}, or a pair of them")
    return numbers


def _images(where: str, x: Any) -> Any:
    """x as an array, if it has the four axes of images."""
    x = np.asarray(x)
    if x.ndim != 4:
        hint = "; for a single image give x[None]" if x.ndim == 3 else ""
        raise ValueError(f"{where}: x has shape {x.shape}, expected (N, C, H, W), N images of C channels{hint}")
    return x


class _Window:
    """A window on images of a size, the border around them, and how many steps it takes down and to the right."""

    def __init__(self, where: str, images: str, size: Any, kernel_size: Any, stride: Any, padding: Any) -> None:
        self.size = pair(where, "kernel_size", kernel_size, 1)
        self.stride = pair(where, "stride", stride, 1)
        self.padding = pair(where, "padding", padding, 0)
        self.bordered = tuple(n + 2 * p for n, p in zip(size, self.padding, strict=True))
        if self.bordered[0] < self.size[0] or self.bordered[1] < self.size[1]:
            window = f"the window of {self.size[0]}×{self.size[1]}; expected at least its height and width"
            raise ValueError(f"{where}: {images}, which with padding {self.padding} is smaller than {window}")
        self.steps = tuple((n - k) // s + 1 for n, k, s in zip(self.bordered, self.size, self.stride, strict=True))

    def places(self, bordered: Any) -> Iterator[Any]:
        """For each number of the window, row by row, what of the images it meets: (N, C, H', W')."""
        for corner in itertools.product(range(self.size[0]), range(self.size[1])):
            met = (slice(k, k + s * n, s) for k, s, n in zip(corner, self.stride, self.steps, strict=True))
            yield bordered[:, :, *met]

    def inside(self, bordered: np.ndarray) -> np.ndarray:
        """The images within their border."""
        (down, right), (height, width) = self.padding, self.bordered
        return bordered[:, :, down : height - down, right : width - right]


@primitive
def unfold(x, kernel_size, *, stride=1, padding=0):
    """The patches of images that a window sees, each as a column.

    Args:
        x: (N, C, H, W) images.
        kernel_size: the height and width of the window, or one number for both.
        stride: how far it moves at each step, down and to the right.
        padding: the width of a border of zeros above and below, and to the left and right.

    Returns:
        (N, C·kh·kw, H'·W') for a window of kh×kw that has H'·W' places, row by row.

    Raises:
        ValueError: x has not four axes, is smaller than the window, or an option is out of range.

    Example:
        >>> unfold(np.arange(6.0).reshape(1, 1, 2, 3), 2)
        array([[[0., 1.],
                [1., 2.],
                [3., 4.],
                [4., 5.]]])
    """
    x = _images("unfold", x)
    w = _Window("unfold", f"x has shape {x.shape}", x.shape[2:], kernel_size, stride, padding)
    if w.padding != (0, 0):
        bordered = np.zeros((*x.shape[:2], *w.bordered), x.dtype)
        w.inside(bordered)[...] = x
        x = bordered
    seen = np.lib.stride_tricks.sliding_window_view(x, w.size, (2, 3))[:, :, :: w.stride[0], :: w.stride[1]]
    return seen.transpose(0, 1, 4, 5, 2, 3).reshape(len(x), x.shape[1] * math.prod(w.size), math.prod(w.steps))


@primitive
@in_single
def fold(x, output_size, kernel_size, *, stride=1, padding=0):
    """Images from patches; where patches overlap they add up. The transpose of unfold.

    Args:
        x: (N, C·kh·kw, H'·W') patches, as columns.
        output_size: the height and width (H, W) of the images.
        kernel_size, stride, padding: as unfold's.

    Returns:
        (N, C, H, W).

    Raises:
        ValueError: the number or the size of the patches doesn't fit images of that size.

    Example:
        >>> fold(np.ones((1, 4, 2)), (2, 3), 2)
        array([[[[1., 2., 1.],
                 [1., 2., 1.]]]])
    """
    x = np.asarray(x)
    size = pair("fold", "output_size", output_size, 1)
    w = _Window("fold", f"output_size is {size}", size, kernel_size, stride, padding)
    patch, places = math.prod(w.size), math.prod(w.steps)
    if x.ndim != 3 or x.shape[1] % patch or x.shape[2] != places:
        window = f"a window of {w.size[0]}×{w.size[1]} on images of {size[0]}×{size[1]}"
        raise ValueError(f"fold: x has shape {x.shape}, expected (N, C·{patch}, {places}) for {window}")
    channels = x.shape[1] // patch
    x = x.reshape((len(x), channels, patch, *w.steps))
    y = np.zeros((len(x), channels, *w.bordered), x.dtype)
    for k, met in enumerate(w.places(y)):
        met += x[:, :, k]
    return w.inside(y)


unfold.vjp(
    x=lambda g, y, x, kernel_size, stride, padding: fold(g, x.shape[2:], kernel_size, stride=stride, padding=padding)
)
unfold.formula(r"\text{the patches of } x", x=r"g \text{ added back where the patches overlap}")
unfold.example(normal(2, 2, 3, 4), 2)
unfold.example(normal(1, 2, 5, 4), (3, 2), stride=(2, 1), padding=(1, 2))

fold.vjp(
    x=lambda g, y, x, output_size, kernel_size, stride, padding: unfold(g, kernel_size, stride=stride, padding=padding)
)
fold.formula(r"\text{the patches } x \text{ added up where they overlap}", x=r"\text{the patches of } g")
fold.example(normal(2, 2 * 4, 2 * 3), (3, 4), 2)
fold.example(normal(1, 6, 3 * 7), (5, 4), (3, 2), stride=(2, 1), padding=(1, 2))


@primitive
@in_single
def conv2d(x, weight, bias=None, *, stride=1, padding=0):
    r"""Cross-correlation of images with kernels: each output is a kernel's dot product with the patch under it.

    :math:`y_{noij} = b_o + \sum_{cuv} w_{ocuv}\, x_{n,\,c,\,s i + u,\,s j + v}`, where x has its border of
    zeros, and s is the stride.

    Args:
        x: (N, C, H, W) images.
        weight: (O, C, kh, kw) kernels.
        bias: (O), or None for none.
        stride: how far a kernel moves at each step: a number, or a pair (down, to the right).
        padding: the width of the border of zeros: a number, or a pair (above and below, left and right).

    Returns:
        (N, O, H', W') with H' = (H + 2 padding - kh) // stride + 1, and W' alike.

    As a matrix product: with the kernels as rows W and the patches as columns X (unfold), y = W X + b. So with g the
    gradient in y, that in W is :math:`g X^T`, and that in X, :math:`W^T g`, is added back to where the patches came
    from (fold).

    Raises:
        ValueError: a shape doesn't fit, or an option is out of range.

    Example:
        >>> conv2d(np.arange(6.0).reshape(1, 1, 2, 3), np.array([[[[-1.0, 1.0]]]]))
        array([[[[1., 1.],
                 [1., 1.]]]])

    Source:
        LeCun et al., Backpropagation applied to handwritten zip code recognition, 1989.
    """
    x, weight = _images("conv2d", x), np.asarray(weight)
    if weight.ndim != 4:
        raise ValueError(f"conv2d: weight has shape {weight.shape}, expected (O, C, kh, kw), O kernels of C channels")
    if x.shape[1] != weight.shape[1]:
        expected = f"(N, {weight.shape[1]}, H, W) for a weight (O, C, kh, kw) of shape {weight.shape}"
        raise ValueError(f"conv2d: x has shape {x.shape}, expected {expected}")
    if bias is not None and np.shape(bias) != weight.shape[:1]:
        raise ValueError(f"conv2d: bias has shape {np.shape(bias)}, expected ({len(weight)},)")
    w = _Window("conv2d", f"x has shape {x.shape}", x.shape[2:], weight.shape[2:], stride, padding)
    added = 0 if bias is None else np.reshape(bias, (-1, 1))
    y = np.empty((len(x), len(weight), math.prod(w.steps)), np.result_type(x, weight, added))
    for some in _blocks(x, w):
        np.matmul(_rows(weight), unfold(x[some], w.size, stride=stride, padding=padding), out=y[some])
        y[some] += added
    return y.reshape((len(x), len(weight), *w.steps))


def _rows(weight: Any) -> Any:
    """Each kernel as a row."""
    return weight.reshape((weight.shape[0], math.prod(weight.shape[1:])))


def _columns(g: Any) -> Any:
    """Each image's channels as rows of places, in unfold's order."""
    return g.reshape((*g.shape[:2], math.prod(g.shape[2:])))


def _blocks(x: np.ndarray, w: _Window) -> Iterator[slice]:
    """So many images at a time as have BLOCK bytes of patches."""
    patches = x.shape[1] * math.prod(w.size) * math.prod(w.steps) * x.itemsize
    step = max(1, BLOCK // max(patches, 1))
    return (slice(start, start + step) for start in range(0, len(x), step))


@primitive
@in_single
def conv2d_images(g, weight, size, stride, padding):
    """The gradient of conv2d in its images, of a size (H, W): each number of g spread over the patch it came from.

    Example:
        >>> conv2d_images(np.ones((1, 1, 1, 2)), np.array([[[[-1.0, 1.0]]]]), (1, 3), 1, 0)
        array([[[[-1.,  0.,  1.]]]])
    """
    g, weight = np.asarray(g), np.asarray(weight)
    w = _Window("conv2d", "x", size, weight.shape[2:], stride, padding)
    dx = np.empty((len(g), weight.shape[1], *size), np.result_type(g, weight))
    for some in _blocks(dx, w):
        patches = _rows(weight).T @ _columns(g[some])
        dx[some] = fold(patches, size, w.size, stride=stride, padding=padding)
    return dx


@primitive
@in_single
def conv2d_kernels(g, x, size, stride, padding):
    """The gradient of conv2d in its kernels, of a size (kh, kw): the patches, each times its number of g, summed.

    Example:
        >>> conv2d_kernels(np.ones((1, 1, 1, 2)), np.array([[[[1.0, 2.0, 3.0]]]]), (1, 2), 1, 0)
        array([[[[3., 5.]]]])
    """
    g, x = np.asarray(g), np.asarray(x)
    w = _Window("conv2d", "x", x.shape[2:], size, stride, padding)
    each = np.empty((len(x), g.shape[1], x.shape[1] * math.prod(w.size)), np.result_type(g, x))
    for some in _blocks(x, w):
        patches = unfold(x[some], w.size, stride=stride, padding=padding)
        np.matmul(_columns(g[some]), patches.swapaxes(1, 2), out=each[some])
    return sum(each, axis=0).reshape((g.shape[1], x.shape[1], *w.size))


# All three are one sum of products of images, kernels and g: the gradients of each are the other two.
conv2d.vjp(
    x=lambda g, y, x, weight, bias, stride, padding: conv2d_images(g, weight, x.shape[2:], stride, padding),
    weight=lambda g, y, x, weight, bias, stride, padding: conv2d_kernels(g, x, weight.shape[2:], stride, padding),
    bias=lambda g, y, x, weight, bias, stride, padding: sum(g, (0, 2, 3)),
)
conv2d_images.vjp(
    g=lambda v, y, g, weight, size, stride, padding: conv2d(v, weight, stride=stride, padding=padding),
    weight=lambda v, y, g, weight, size, stride, padding: conv2d_kernels(g, v, weight.shape[2:], stride, padding),
)
conv2d_kernels.vjp(
    g=lambda v, y, g, x, size, stride, padding: conv2d(x, v, stride=stride, padding=padding),
    x=lambda v, y, g, x, size, stride, padding: conv2d_images(g, v, x.shape[2:], stride, padding),
)
conv2d.formula(
    lambda x, weight, bias, stride, padding: "x * weight" if bias is None else "x * weight + bias",
    x=r"g \text{ spread back through } weight \text{ (a convolution)}",
    weight=r"x\text{'s patches times } g",
    bias=r"g \text{ summed over rows and places}",
)
conv2d.example(normal(2, 2, 3, 4), normal(3, 2, 2, 2), normal(3))
conv2d.example(normal(1, 2, 5, 4), normal(2, 2, 3, 2), stride=(2, 1), padding=(1, 2))

conv2d_images.formula(
    r"g \text{ spread back through } weight",
    g=r"\bar x * weight",
    weight=r"\bar x\text{'s patches times } g",
)
conv2d_images.example(normal(2, 3, 2, 3), normal(3, 2, 2, 2), (3, 4), 1, 0)
conv2d_images.example(normal(1, 2, 3, 7), normal(2, 2, 3, 2), (5, 4), (2, 1), (1, 2))

conv2d_kernels.formula(
    r"x\text{'s patches times } g",
    g=r"x * \bar w",
    x=r"g \text{ spread back through } \bar w",
)
conv2d_kernels.example(normal(2, 3, 2, 3), normal(2, 2, 3, 4), (2, 2), 1, 0)
conv2d_kernels.example(normal(1, 2, 3, 7), normal(1, 2, 5, 4), (3, 2), (2, 1), (1, 2))


@primitive
def max_pool2d(x, kernel_size, stride=None):
    """The maximum under a window that moves over each channel. The gradient goes to it; of several, to the first.

    The first is the one highest up, and of those in one row the leftmost.

    Args:
        x: (N, C, H, W) images.
        kernel_size: the height and width of the window, or one number for both.
        stride: how far it moves at each step; by default its own size, so that windows don't overlap.

    Returns:
        (N, C, H', W') with H' = (H - kh) // stride + 1, and W' alike: an edge too narrow for a window is left out.

    Raises:
        ValueError: x has not four axes, is smaller than the window, or an option is out of range.

    Example:
        >>> max_pool2d(np.array([[[[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 0.0, 2.0]]]]), 2)
        array([[[[5., 2.]]]])
    """
    x = _images("max_pool2d", x)
    w = _pooling(x, kernel_size, stride)
    return functools.reduce(np.maximum, w.places(x)).copy()


def _pooling(x: Any, kernel_size: Any, stride: Any) -> _Window:
    stride = kernel_size if stride is None else stride
    return _Window("max_pool2d", f"x has shape {x.shape}", x.shape[2:], kernel_size, stride, 0)


def _first_maxima(y: Any, x: Any, kernel_size: Any, stride: Any) -> np.ndarray:
    """For each number of the window, where it is the largest and none before it is. A nan is larger than all."""
    free = np.ones(y.shape, bool)
    hits, undefined = [], np.any(y != y)
    for met in _pooling(x, kernel_size, stride).places(x):
        largest = (met == y) | (met != met) if undefined else met == y
        hits.append(largest & free)
        free ^= hits[-1]
    return np.stack(hits)


@primitive
@in_single
def max_unpool2d(g, hits, size, kernel_size, stride):
    """The gradient of max_pool2d in images of a size (H, W): each number of g is added at its window's maximum.

    Example:
        >>> max_unpool2d(np.array([[[[7.0]]]]), np.array([0, 1]).reshape(2, 1, 1, 1, 1) == 1, (1, 2), (1, 2), 1)
        array([[[[0., 7.]]]])
    """
    g = np.asarray(g)
    dx = np.zeros((*g.shape[:2], *size), g.dtype)
    finite = np.isfinite(g).all()  # then 0 · g is 0, and the product takes a third of np.where's time
    for met, hit in zip(_pooling(dx, kernel_size, stride).places(dx), hits, strict=True):
        met += hit * g if finite else np.where(hit, g, 0)
    return dx


def _at_maxima(v, dx, g, hits, size, kernel_size, stride):
    """Of each window the number of v where the maximum was."""
    places = _pooling(v, kernel_size, stride).places(v)
    return functools.reduce(operator.add, (where(hit, met, 0) for met, hit in zip(places, hits, strict=True)))


max_pool2d.vjp(
    x=lambda g, y, x, *window: max_unpool2d(g, _first_maxima(y, x, *window), x.shape[2:], *window),
)
max_unpool2d.vjp(g=_at_maxima)
max_pool2d.formula(r"\text{the largest of each window of } x", x=r"g \text{ at the largest of each window, else } 0")
max_pool2d.example(spaced(1, 2, 4, 3), 2, 1)
max_pool2d.example(spaced(2, 1, 3, 5), (2, 1), (1, 2))
max_pool2d.example(spaced(1, 1, 5, 5), 2)

max_unpool2d.formula(r"g \text{ at the maxima, else } 0", g=r"\bar x \text{ at the maxima}")
max_unpool2d.example(
    normal(1, 2, 2, 3), np.arange(4).reshape(4, 1, 1, 1, 1) == np.arange(12).reshape(2, 2, 3) % 4, (3, 4), 2, 1
)
