"""Layers that normalise: LayerNorm over each sample, BatchNorm1d over a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.common.options import number, unrounded, whole
from tinygrad_ce.engine.atomic import at_once
from tinygrad_ce.engine.constants import plain
from tinygrad_ce.engine.single import in_single
from tinygrad_ce.nn.module import Module, as_input
from tinygrad_ce.tensor import Tensor

__all__ = ["BatchNorm1d", "LayerNorm"]


class LayerNorm(Module):
    r""":math:`w \odot (x - \text{mean}) / \sqrt{\text{variance} + \epsilon} + b`, mean and variance of each sample.

    Args:
        normalized_shape: the last axes of x, over which both are taken: their lengths, or one for the last alone.
        eps: what keeps the gradient finite where all numbers are equal.
        bias: whether there is a b.
        dtype: of the parameters; a plain array given to the layer takes it.

    The parameters are ``weight``, which starts as 1, and ``bias``, which starts as 0, both of normalized_shape.

    Raises:
        ValueError: x doesn't end in normalized_shape.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.LayerNorm(2)(np.array([[1.0, 3.0], [8.0, 8.0]])).data.round(3)
        array([[-1.,  1.],
               [ 0.,  0.]], dtype=float32)

    Source:
        Ba, Kiros, Hinton, Layer normalization, 2016, arXiv:1607.06450.
    """

    def __init__(self, normalized_shape: Any, eps: float = 1e-5, *, bias: bool = True, dtype: Any = np.float32) -> None:
        shape = tuple(np.atleast_1d(normalized_shape).tolist())
        if not shape or not all(isinstance(n, int) and n > 0 for n in shape):
            raise ValueError(f"LayerNorm: normalized_shape is {normalized_shape!r}, expected lengths of at least 1")
        self.eps = _eps("LayerNorm", eps)
        self.weight = Tensor(np.ones(shape), requires_grad=True, dtype=dtype)
        self.bias = Tensor(np.zeros(shape), requires_grad=True, dtype=dtype) if bias else None

    def forward(self, x: Any) -> Any:
        """x of shape (…, ``*normalized_shape``) to the same shape."""
        shape = self.weight.shape
        x = as_input(x, self.weight)
        if x.shape[-len(shape) :] != shape:
            wanted = ", ".join(map(str, ("…", *shape)))
            raise ValueError(f"LayerNorm: input has shape {x.shape}, expected ({wanted})")
        return _normalized(x, self.weight, self.bias, tuple(range(-len(shape), 0)), self.eps)

    def _options(self) -> str:
        shape = self.weight.shape
        words = [str(shape[0] if len(shape) == 1 else shape)]
        words += [f"eps={self.eps}"] if self.eps != 1e-5 else []
        words += ["bias=False"] if self.bias is None else []
        return ", ".join(words)


def _eps(where: str, eps: Any) -> Any:
    if not number(where, "eps", eps) >= 0:
        raise ValueError(f"{where}: eps is {eps!r}, expected a number ≥ 0")
    return eps


@in_single
def _normalized(x: Any, weight: Any, bias: Any, axes: tuple[int, ...], eps: float) -> Any:
    """w ⊙ (x - mean) / √(variance + ε) + b, mean and variance over the axes."""
    eps = unrounded(eps, x.dtype)
    scale: Any = _scale(plain(x), axes)
    if scale is not None:
        x, eps = x / scale, eps / scale / scale
    for _ in range(2):  # the second time takes off what the first mean was rounded by
        x = x - ops.mean(x, axes, keepdims=True)
    y = x / ops.sqrt(ops.mean(x * x, axes, keepdims=True) + eps)
    return _scaled(y, weight, bias)


def _scaled(y: Any, weight: Any, bias: Any) -> Any:
    y = y if weight is None else weight * y
    return y if bias is None else y + bias


def _scale(x: np.ndarray, axes: tuple[int, ...]) -> Any:
    """A power of two for each sample, so that its squares can be added up; None for usual numbers."""
    usual = np.finfo(x.dtype).max ** 0.25
    if not x.size or (x.item(x.argmax()) <= usual and x.item(x.argmin()) >= -usual):
        return None
    _, exponents = np.frexp(np.abs(x).max(axis=axes, keepdims=True))
    return np.ldexp(x.dtype.type(1), exponents - 1)


class BatchNorm1d(Module):
    r""":math:`w \odot (x - \text{mean}) / \sqrt{\text{variance} + \epsilon} + b`, mean and variance of each feature.

    In training they are those of the batch, and are remembered: :math:`r \leftarrow (1 - m)\, r + m\, s`, of the mean
    and of the variance with n - 1. In evaluation the remembered ones are used, and a row does not depend on others.

    Args:
        num_features: C, how many features or channels x has.
        eps: what keeps the gradient finite where all numbers are equal.
        momentum: m, the weight of the newest batch in what is remembered; None for the mean over all batches.
        affine: whether there are w and b.
        dtype: of the parameters; a plain array given to the layer takes it.

    The parameters are ``weight``, which starts as 1, and ``bias``, which starts as 0, both (C). Also saved are
    ``running_mean``, ``running_var`` and ``num_batches_tracked``, as PyTorch names them.

    Raises:
        ValueError: x isn't (N, C) or (N, C, L); in training, a feature has only one number.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> layer = tg.nn.BatchNorm1d(2)
        >>> layer(np.array([[1.0, 8.0], [3.0, 8.0]])).data.round(3)
        array([[-1.,  0.],
               [ 1.,  0.]], dtype=float32)
        >>> layer.running_mean.data
        array([0.2, 0.8], dtype=float32)

    Source:
        Ioffe, Szegedy, Batch normalization, 2015, arXiv:1502.03167.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, *,
        dtype: Any = np.float32,
    ) -> None:  # fmt: skip
        count = whole("BatchNorm1d", "num_features", num_features)
        self.eps = _eps("BatchNorm1d", eps)
        if momentum is not None and not 0 <= number("BatchNorm1d", "momentum", momentum) <= 1:
            raise ValueError(f"BatchNorm1d: momentum is {momentum!r}, expected a number from 0 to 1, or None")
        self.momentum = momentum
        self.weight = Tensor(np.ones(count), requires_grad=True, dtype=dtype) if affine else None
        self.bias = Tensor(np.zeros(count), requires_grad=True, dtype=dtype) if affine else None
        wide = np.promote_types(dtype, np.float32)  # float16 would lose small steps of a running mean
        self.running_mean, self.running_var = Tensor(np.zeros(count), dtype=wide), Tensor(np.ones(count), dtype=wide)
        self.num_batches_tracked = Tensor(0)

    def forward(self, x: Any) -> Any:
        """x of shape (N, C) or (N, C, L) to the same shape."""
        x = as_input(x, self.running_mean if self.weight is None else self.weight)
        count = self.running_mean.size
        if x.ndim not in (2, 3) or x.shape[1] != count:
            raise ValueError(f"BatchNorm1d: input has shape {x.shape}, expected (N, {count}) or (N, {count}, L)")
        column = (count,) + (1,) * (x.ndim - 2)  # as the parameters lie beside x
        w, b = (None if p is None else ops.reshape(p, column) for p in (self.weight, self.bias))
        axes = (0, 2)[: x.ndim - 1]
        if not self.training:
            mean, variance = (ops.reshape(t, column) for t in (self.running_mean, self.running_var))
            return _standardized(x, mean, variance, w, b, self.eps)
        self._remember(plain(x).astype(np.float64), axes)
        return _normalized(x, w, b, axes, self.eps)

    def _remember(self, x: np.ndarray, axes: tuple[int, ...]) -> None:
        """Take a batch into the running mean and variance."""
        n = x.size // self.running_mean.size
        if n < 2:
            raise ValueError(
                f"BatchNorm1d: input has shape {x.shape}, and in training each feature needs two numbers or more; "
                "a last batch of one row? choose another batch_size, or call model.eval() to predict"
            )
        tracked = self.num_batches_tracked._value + 1
        m = 1 / tracked if self.momentum is None else self.momentum
        changes = [(self.num_batches_tracked, "_value", tracked)]
        for kept, new in ((self.running_mean, x.mean(axes)), (self.running_var, x.var(axes, ddof=1))):
            changes.append((kept, "_value", ((1 - m) * kept._value + m * new).astype(kept.dtype)))
        at_once(changes)

    def _options(self) -> str:
        words = [str(self.running_mean.size)]
        words += [f"eps={self.eps}"] if self.eps != 1e-5 else []
        words += [f"momentum={self.momentum}"] if self.momentum != 0.1 else []
        words += ["affine=False"] if self.weight is None else []
        return ", ".join(words)


@in_single
def _standardized(x: Any, mean: Any, variance: Any, weight: Any, bias: Any, eps: float) -> Any:
    """w ⊙ (x - mean) / √(variance + ε) + b."""
    return _scaled((x - mean) / ops.sqrt(variance + unrounded(eps, x.dtype)), weight, bias)
