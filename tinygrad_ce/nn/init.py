"""How parameters start: seeded draws, as PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_ce.tensor import Tensor


def uniform(shape: tuple[int, ...], bound: float, rng: np.random.Generator, dtype: Any = np.float32) -> Tensor:
    """A parameter drawn evenly between -bound and bound.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.init.uniform((2, 3), 0.5, np.random.default_rng(0)).shape
        (2, 3)
    """
    return Tensor(rng.uniform(-bound, bound, shape), requires_grad=True, dtype=dtype)


def normal(shape: tuple[int, ...], deviation: float, rng: np.random.Generator, dtype: Any = np.float32) -> Tensor:
    """A parameter drawn from a normal distribution around 0, with a standard deviation.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.nn.init.normal((2, 3), 0.1, np.random.default_rng(0)).requires_grad
        True
    """
    return Tensor(rng.normal(0.0, deviation, shape), requires_grad=True, dtype=dtype)


def kaiming_uniform(shape: tuple[int, int], rng: np.random.Generator, dtype: Any = np.float32) -> Tensor:
    """A weight (out, in) that keeps the size of signals through relu layers: within ±√(6 / in).

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> weight = tg.nn.init.kaiming_uniform((100, 6), np.random.default_rng(0))
        >>> weight.shape, bool(np.abs(weight.data).max() <= 1)
        ((100, 6), True)

    Source:
        He et al., Delving deep into rectifiers, 2015, arXiv:1502.01852.
    """
    return uniform(shape, math.sqrt(6 / shape[1]), rng, dtype)


def xavier_uniform(shape: tuple[int, int], rng: np.random.Generator, dtype: Any = np.float32) -> Tensor:
    """A weight (out, in) that keeps the size of signals through tanh layers: within ±√(6 / (in + out)).

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> weight = tg.nn.init.xavier_uniform((4, 2), np.random.default_rng(0))
        >>> weight.shape, bool(np.abs(weight.data).max() <= 1)
        ((4, 2), True)

    Source:
        Glorot, Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010.
    """
    return uniform(shape, math.sqrt(6 / sum(shape)), rng, dtype)
