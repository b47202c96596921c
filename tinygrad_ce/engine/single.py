"""float16 stores; what is computed with it is computed in float32, and rounded once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

HALF, SINGLE = np.dtype(np.float16), np.dtype(np.float32)


def is_half(a: Any) -> bool:
    """Whether a value is a float16 array, number or Tensor."""
    return getattr(a, "dtype", None) is HALF


def single(a: Any) -> Any:
    """A float16 array or Tensor in float32; anything else as it is."""
    return a.astype(SINGLE) if is_half(a) else a


def in_single(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays or Tensors that computes in float32 where it is given float16, and rounds its result once.

    As ever, the result is float32 where another operand is.
    """

    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        values = (*given, *named.values()) if named else given
        for a in values:
            if getattr(a, "dtype", None) is HALF:  # is_half, written out as every call asks it
                break
        else:
            return function(*given, **named)
        y = function(*map(single, given), **{name: single(a) for name, a in named.items()})
        wide = y.dtype != SINGLE or any(getattr(a, "dtype", None) is SINGLE for a in values)
        return y if wide else y.astype(HALF)

    return call
