"""Layers for images: Conv2d, MaxPool2d, Flatten."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.nn import init
from tinygrad_ce.nn.module import Module, as_input
from tinygrad_ce.ops.convolution import pair

__all__ = ["Conv2d", "Flatten", "MaxPool2d"]


class Conv2d(Module):
    """Images of in_channels to images of out_channels: a kernel for each moves over them (``tg.conv2d``).

    Args:
        in_channels: the channels of x.
        out_channels: the channels of the result.
        kernel_size: the height and width of a kernel, or one number for both.
        stride: how far it moves at each step, a number or a pair.
        padding: the width of a border of zeros around x, a number or a pair.
        bias: whether a number is added to each channel of the result.
        rng: a Generator, or a seed for one; None draws a fresh seed from the system.
        dtype: of the parameters; a plain array given to the layer takes it.

    The parameters are ``weight`` (out, in, kh, kw) and ``bias`` (out), drawn as PyTorch's, uniform within
    ±1/√(in · kh · kw).

    Raises:
        ValueError: x isn't (N, in_channels, H, W), or smaller than a kernel; or an option is out of range.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.Conv2d(1, 8, 3, padding=1, rng=0)(np.zeros((5, 1, 28, 28))).shape
        (5, 8, 28, 28)
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        bias: bool = True, *, rng: Any = None, dtype: Any = np.float32,
    ) -> None:  # fmt: skip
        if in_channels < 1 or out_channels < 1:
            raise ValueError(f"Conv2d: in_channels is {in_channels}, out_channels {out_channels}; expected at least 1")
        height, width = pair("Conv2d", "kernel_size", kernel_size, 1)
        self.stride = pair("Conv2d", "stride", stride, 1)
        self.padding = pair("Conv2d", "padding", padding, 0)
        rng = np.random.default_rng(rng)
        bound = 1 / math.sqrt(in_channels * height * width)
        self.weight = init.uniform((out_channels, in_channels, height, width), bound, rng, dtype)
        self.bias = init.uniform((out_channels,), bound, rng, dtype) if bias else None

    def forward(self, x: Any) -> Any:
        """x of shape (N, in_channels, H, W) to (N, out_channels, H', W')."""
        x = as_input(x, self.weight)
        return ops.conv2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding)

    def _options(self) -> str:
        out, channels, *kernel = self.weight.shape
        words = [f"{channels}, {out}, {_short(kernel)}"]
        words += [f"stride={_short(self.stride)}"] if self.stride != (1, 1) else []
        words += [f"padding={_short(self.padding)}"] if self.padding != (0, 0) else []
        words += ["bias=False"] if self.bias is None else []
        return ", ".join(words)


def _short(pair: Any) -> str:
    """A pair as one number where both are the same."""
    return str(pair[0]) if pair[0] == pair[1] else str(tuple(pair))


class MaxPool2d(Module):
    """The maximum under a window that moves over each channel (``tg.max_pool2d``).

    Args:
        kernel_size: the height and width of the window, or one number for both.
        stride: how far it moves at each step, a number or a pair; by default its own size.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.MaxPool2d(2)(np.zeros((5, 8, 6, 6))).shape
        (5, 8, 3, 3)
    """

    def __init__(self, kernel_size: Any, stride: Any = None) -> None:
        self.kernel_size = pair("MaxPool2d", "kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair("MaxPool2d", "stride", stride, 1)

    def forward(self, x: Any) -> Any:
        """x of shape (N, C, H, W) to (N, C, H', W')."""
        return ops.max_pool2d(x, self.kernel_size, self.stride)

    def _options(self) -> str:
        more = f", stride={_short(self.stride)}" if self.stride != self.kernel_size else ""
        return _short(self.kernel_size) + more


class Flatten(Module):
    """The axes from start_axis on as one: images (N, C, H, W) as rows (N, C·H·W).

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.Flatten()(np.zeros((5, 8, 3, 3))).shape
        (5, 72)
    """

    def __init__(self, start_axis: int = 1) -> None:
        self.start_axis = start_axis

    def forward(self, x: Any) -> Any:
        """(N, …) to (N, the product of the rest)."""
        shape = np.shape(x)
        if not -len(shape) <= self.start_axis < len(shape):
            raise ValueError(f"Flatten: input has shape {shape}, and no axis {self.start_axis} to start from")
        kept = shape[: self.start_axis]
        return ops.reshape(x, (*kept, math.prod(shape[len(kept) :])))

    def _options(self) -> str:
        return f"start_axis={self.start_axis}" if self.start_axis != 1 else ""
