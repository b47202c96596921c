"""Sums over any axes that stay accurate however many numbers they add. Knows no Tensor.

NumPy adds pairwise along the last axis, but row after row along others: over 2**25 rows of ones in float32 it stops at
2**24. Here rows are added in blocks, by products with ones, and the blocks' sums in float64. That is also quicker.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

_WIDE = (np.dtype(np.float32), np.dtype(np.float64))
_FEW = 4096  # numbers up to which a call's overhead is what counts
_BLOCK = 32  # rows whose sum is left to BLAS, in their own dtype


def add_up(x: Any, axis: Any = None, keepdims: Any = False) -> Any:
    """np.sum."""
    if type(x) is not np.ndarray or x.dtype not in _WIDE:
        return np.add.reduce(x, axis=axis, keepdims=keepdims)
    if x.size <= _FEW:  # in float64, which takes NumPy no longer
        return np.add.reduce(x, axis=axis, dtype=np.float64, keepdims=keepdims).astype(x.dtype, copy=False)
    axes = range(x.ndim) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, x.ndim, "axis")
    if len(axes) == x.ndim and (x.flags.c_contiguous or x.flags.f_contiguous):
        return np.add.reduce(x, axis=axis, keepdims=keepdims)
    y = _over_axes(np.ascontiguousarray(x), axes).astype(x.dtype, copy=False)
    return y if keepdims else y.squeeze(tuple(axes))[()]


def _over_axes(x: np.ndarray, axes: Any) -> np.ndarray:
    """The sums over axes, which are left with length 1; from the last one on, neighbours at once."""
    shape, stop = [*x.shape], x.ndim
    while stop:
        start = stop - 1
        while start and (start - 1 in axes) == (stop - 1 in axes):
            start -= 1
        if stop - 1 in axes:
            x = _middle(x.reshape(math.prod(shape[:start]), math.prod(shape[start:stop]), -1))
            shape[start:stop] = [1] * (stop - start)
        stop = start
    return x.reshape(shape)


def _middle(x: np.ndarray) -> Any:
    """The sums along the second of three axes: (L, R, C) to (L, C)."""
    before, count, behind = x.shape
    if behind == 1:
        return np.add.reduce(x[:, :, 0], axis=1)
    if count <= _BLOCK:
        return np.matmul(_ones(count, x.dtype), x)
    whole = count - count % _BLOCK
    parts = np.matmul(_ones(_BLOCK, x.dtype), x[:, :whole].reshape(before, -1, _BLOCK, behind)).astype(np.float64)
    if whole < count:
        rest = np.matmul(_ones(count - whole, x.dtype), x[:, whole:])
        parts = np.concatenate([parts, rest[:, None]], axis=1)
    return _middle(parts)


@functools.lru_cache(maxsize=256)
def _ones(count: int, dtype: np.dtype) -> np.ndarray:
    ones = np.ones(count, dtype)
    ones.setflags(write=False)
    return ones
