"""Gradient clipping: bounds on the gradients before an optimiser uses them. The numbers are PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinygrad_ce.common.options import number
from tinygrad_ce.engine.atomic import at_once
from tinygrad_ce.engine.single import single
from tinygrad_ce.tensor import Tensor


def clip_grad_norm(parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0) -> float:
    r"""Scale all gradients by one factor, so that the norm of all their entries together is at most max_norm.

    With the norm :math:`n = (\sum |g|^p)^{1/p}`, each gradient becomes :math:`g \min(1, c / (n + 10^{-6}))`.

    Args:
        parameters: Tensors; those without a gradient, or that no longer require one, don't count.
        max_norm: c ≥ 0; inf only measures the norm.
        norm_type: p > 0; inf for the largest absolute entry.

    Returns:
        The norm before; 0 where there are no gradients.

    Raises:
        FloatingPointError: a gradient holds nan or inf; the first one is named, and none has changed.
        ValueError: max_norm or norm_type is out of range.

    Example:
        >>> import tinygrad_ce as tg
        >>> w = tg.Tensor([3.0, 4.0], requires_grad=True)
        >>> w.grad = [3.0, 4.0]
        >>> tg.optim.clip_grad_norm([w], max_norm=1.0)
        5.0
        >>> w.grad.round(6)
        array([0.6, 0.8])

    Source:
        Pascanu et al., On the difficulty of training recurrent neural networks, 2012, arXiv:1211.5063.
    """
    return clip_norm("clip_grad_norm", _named(parameters), max_norm, norm_type)


def clip_grad_value(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Bring each entry of each gradient into [-clip_value, clip_value].

    Args:
        parameters: Tensors; those without a gradient, or that no longer require one, are left alone.
        clip_value: the bound, at least 0.

    Raises:
        ValueError: clip_value is negative or nan.

    Example:
        >>> import tinygrad_ce as tg
        >>> w = tg.Tensor([1.0, 1.0, 1.0], requires_grad=True)
        >>> w.grad = [-3.0, 0.25, 7.0]
        >>> tg.optim.clip_grad_value([w], 0.5)
        >>> w.grad
        array([-0.5 ,  0.25,  0.5 ])
    """
    bound = check_bound("clip_grad_value", "clip_value", clip_value)
    with_gradient = [(p, g) for _, p, g in _with_gradient(_named(parameters))]
    with np.errstate(over="ignore"):  # a bound beyond the gradients' dtype is none
        at_once((p, "_grad", np.asarray(np.clip(g, -bound, bound))) for p, g in with_gradient)


def clip_norm(where: str, named: Iterable[tuple[str, Tensor]], max_norm: float, norm_type: float = 2.0) -> float:
    """clip_grad_norm, for parameters with names to call them by in an error."""
    check_norm(where, max_norm, norm_type)
    with_gradient = _with_gradient(named)
    largest = 0.0
    for name, _, g in with_gradient:
        size = float(np.abs(g).max(initial=0))
        if not math.isfinite(size):
            raise FloatingPointError(f"{where}: the gradient of {name} holds {_first(g)}; no gradient has changed")
        largest = max(largest, size)
    norm = largest
    if largest and norm_type < math.inf:
        # Divided by the largest entry, no power overflows, and none that matters vanishes.
        powers = (np.sum(np.abs(single(g) / largest) ** norm_type, dtype=np.float64) for _, _, g in with_gradient)
        norm = largest * float(sum(powers)) ** (1 / norm_type)
    if norm == math.inf:
        raise FloatingPointError(f"{where}: gradients reach {largest:.3g}, and their norm is beyond the largest number")
    factor = max_norm / (norm + 1e-6)
    if factor < 1:
        at_once((p, "_grad", np.asarray((single(g) * factor).astype(g.dtype))) for _, p, g in with_gradient)
    return norm


def check_norm(where: str, max_norm: float, norm_type: float) -> None:
    """Refuse options of clip_grad_norm that are out of range."""
    check_bound(where, "max_norm", max_norm)
    if not number(where, "norm_type", norm_type) > 0:
        raise ValueError(f"{where}: norm_type is {norm_type!r}, expected a number above 0, or inf")


def check_bound(where: str, name: str, value: float) -> float:
    """A bound on gradients: a number of at least 0, or inf for none."""
    if not number(where, name, value) >= 0:
        raise ValueError(f"{where}: {name} is {value!r}, expected a number of at least 0, or inf")
    return float(value)


def _named(parameters: Tensor | Iterable[Tensor]) -> list[tuple[str, Tensor]]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [(f"parameters[{i}]", p) for i, p in enumerate(listed)]


def _with_gradient(named: Iterable[tuple[str, Tensor]]) -> list[tuple[str, Tensor, np.ndarray]]:
    """The parameters that a step updates."""
    return [(name, p, p._grad) for name, p in named if p._requires_grad and p._grad is not None]


def _first(g: np.ndarray) -> str:
    """The first entry that isn't finite, and where it is."""
    index = np.unravel_index(int(np.isfinite(g).argmin()), g.shape)
    return f"{g[index]} at {[int(i) for i in index]}"
