"""Operators that move numbers without changing them: shapes, axes, pieces."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tinygrad_ce.engine.node import Node
from tinygrad_ce.engine.primitive import primitive
from tinygrad_ce.engine.single import in_single
from tinygrad_ce.ops.composite import composite
from tinygrad_ce.ops.elementwise import astype
from tinygrad_ce.ops.example import normal

__all__ = [
    "broadcast_to", "concatenate", "embedding", "expand_dims", "flip", "getitem", "pad", "ravel", "reshape", "split",
    "squeeze", "stack", "swapaxes", "take", "transpose",
]  # fmt: skip

_GROUP = 32  # how many arrays one call joins

_BACK = r"g\text{, in the shape of } x"


def as_array(x: Any) -> Any:
    """x itself where it is an array or a Tensor, else an array of it."""
    return x if hasattr(x, "shape") else np.asarray(x)


@primitive
def reshape(x, shape, order="C"):
    """The same numbers in another shape; one -1 in it is filled in. ``order="F"`` counts the first axis quickest.

    Example:
        >>> reshape([1.0, 2.0, 3.0, 4.0], (2, -1))
        array([[1., 2.],
               [3., 4.]])
    """
    if order not in ("C", "F"):  # "A" asks how a Tensor lies in memory, which nobody is to know
        raise ValueError(f"reshape: order is {order!r}, expected 'C' or 'F'")
    return np.reshape(x, shape, order=order)


reshape.vjp(x=lambda g, y, x, shape, order: g.reshape(x.shape, order=order))
reshape.formula(r"x \text{ as } shape", x=_BACK)
reshape.example(normal(3, 4), (2, -1))
reshape.example(normal(3, 4), (2, 6), "F")


@composite
def ravel(x, order="C"):
    """The same numbers in one axis.

    Example:
        >>> ravel([[1.0, 2.0], [3.0, 4.0]], order="F")
        array([1., 3., 2., 4.])
    """
    return reshape(x, -1, order)


ravel.example(normal(3, 4))
ravel.example(normal(3, 4), order="F")


@primitive
def transpose(x, axes=None):
    """x with its axes in another order (None: reversed).

    Example:
        >>> transpose([[1.0, 2.0], [3.0, 4.0]])
        array([[1., 3.],
               [2., 4.]])
    """
    return np.transpose(x, axes)


def _transpose_rule(g, y, x, axes):
    if axes is None:
        return np.transpose(g)
    return np.transpose(g, tuple(np.argsort(np.atleast_1d(axes) % x.ndim).tolist()))


def _transpose_formula(x, axes):
    if axes is None:
        return "x^T" if x.ndim <= 2 else r"x \text{ with its axes backwards}"
    return r"x \text{ with its axes in the order } axes"


def _transpose_back_formula(x, axes):
    return "g^T" if axes is None and x.ndim <= 2 else r"g \text{ with the axes put back}"


transpose.vjp(x=_transpose_rule)
transpose.formula(_transpose_formula, x=_transpose_back_formula)
transpose.example(normal(3, 4))
transpose.example(normal(2, 3, 4), (1, -1, 0))


@primitive
def swapaxes(x, axis1, axis2):
    """x with two axes exchanged.

    Example:
        >>> swapaxes([[1.0, 2.0]], 0, 1)
        array([[1.],
               [2.]])
    """
    return np.swapaxes(x, axis1, axis2)


swapaxes.vjp(x=lambda g, y, x, axis1, axis2: np.swapaxes(g, axis1, axis2))
swapaxes.formula(
    r"x \text{ with axes } axis1 \text{ and } axis2 \text{ exchanged}", x=r"g \text{ with the axes put back}"
)
swapaxes.example(normal(2, 3, 4), 0, -1)


@primitive
def squeeze(x, axis=None):
    """x without axes of length 1 (None: without all of them).

    Example:
        >>> squeeze([[1.0, 2.0]])
        array([1., 2.])
    """
    return np.squeeze(x, axis)


squeeze.vjp(x=lambda g, y, x, axis: g.reshape(x.shape))
squeeze.formula(r"x \text{ without axes of length 1}", x=_BACK)
squeeze.example(normal(3, 1, 4, 1))
squeeze.example(normal(3, 1, 4, 1), 1)


@primitive
def expand_dims(x, axis):
    """x with new axes of length 1 at the places given.

    Example:
        >>> expand_dims([1.0, 2.0], 1)
        array([[1.],
               [2.]])
    """
    return np.expand_dims(x, axis)


expand_dims.vjp(x=lambda g, y, x, axis: g.reshape(x.shape))
expand_dims.formula(r"x \text{ with new axes at } axis", x=_BACK)
expand_dims.example(normal(3, 4), (0, -1))


@primitive
def broadcast_to(x, shape):
    """x repeated to a shape, without copying.

    Example:
        >>> broadcast_to([1.0, 2.0], (2, 2))
        array([[1., 2.],
               [1., 2.]])
    """
    return np.broadcast_to(x, shape)


broadcast_to.vjp(x=lambda g, y, x, shape: g)
broadcast_to.formula(r"x \text{ repeated to } shape")
broadcast_to.example(normal(3, 1), (2, 3, 4))


def _piece(ndim: int, axis: int, start: int, stop: int) -> tuple[slice, ...]:
    """An index that cuts start:stop out of an axis."""
    return (*[slice(None)] * (axis % ndim), slice(start, stop))


@primitive
def join(axis, *arrays):
    """concatenate, as the tape records it.

    Example:
        >>> join(0, [1.0], [2.0, 3.0])
        array([1., 2., 3.])
    """
    return np.concatenate(arrays, axis=axis)


def _join_rule(i, g, y, axis, *arrays):
    start = sum(a.shape[axis] for a in arrays[:i])
    return g[_piece(g.ndim, axis, start, start + arrays[i].shape[axis])]


join.vjp(arrays=_join_rule)
join.formula(r"\text{the arrays one after the other}", arrays=r"\text{this array's piece of } g")
join.example(0, normal(2, 3), normal(1, 3))


@composite
def concatenate(arrays, axis=0):
    """Arrays one after the other along an axis (None: flattened).

    Example:
        >>> concatenate([[1.0], [2.0, 3.0]])
        array([1., 2., 3.])
    """
    if axis is None:
        arrays, axis = [reshape(a, -1) for a in arrays], 0
    return _joined(axis, arrays)


def _joined(axis: Any, arrays: Any) -> Any:
    """join, of many arrays in groups: each array's rule is given all of its call, so one call would take n² time."""
    arrays = [*arrays]
    if len(arrays) > _GROUP and any(isinstance(a, Node) for a in arrays):
        # Pieces of length 0 have the dtype of the whole, and NumPy's error if some array doesn't fit.
        axis = operator.index(axis)
        pieces = [a._value if isinstance(a, Node) else np.asarray(a) for a in arrays]
        dtype = np.concatenate([a[_piece(a.ndim, axis, 0, 0)] if a.ndim else a for a in pieces], axis=axis).dtype
        arrays = [a if p.dtype == dtype else astype(a, dtype) for a, p in zip(arrays, pieces, strict=True)]
        while len(arrays) > _GROUP:
            arrays = [join(axis, *arrays[i : i + _GROUP]) for i in range(0, len(arrays), _GROUP)]
    return join(axis, *arrays)


concatenate.example([normal(2, 3), normal(2, 1)], axis=-1)
concatenate.example([normal(2, 3), normal(2)], axis=None)


@composite
def stack(arrays, axis=0):
    """Arrays of one shape side by side along a new axis.

    Example:
        >>> stack([[1.0, 2.0], [3.0, 4.0]], axis=1)
        array([[1., 3.],
               [2., 4.]])
    """
    return _joined(axis, [expand_dims(a, axis) for a in arrays])


stack.example([normal(2, 3), normal(2, 3)], axis=1)


@composite
def split(x, indices_or_sections, axis=0):
    """x cut along an axis, as a list: into equal parts, given their number, or before each of the indices.

    Example:
        >>> split(np.arange(4.0), 2)
        [array([0., 1.]), array([2., 3.])]
    """
    x = as_array(x)
    # NumPy cuts the positions, and checks the arguments on the way; each run of positions is a piece.
    runs = [run.tolist() for run in np.split(np.arange(x.shape[axis]), indices_or_sections)]
    return [x[_piece(x.ndim, axis, run[0] if run else 0, run[-1] + 1 if run else 0)] for run in runs]


split.example(normal(3, 4), 2, axis=1)
split.example(normal(5, 2), [1, 3])


@primitive
def pad(x, pad_width, mode="constant", *, constant_values=0):
    """x with a border: NumPy's ``pad_width``; mode "constant", "edge", "reflect", "symmetric" or "wrap".

    Example:
        >>> pad([1.0, 2.0], (1, 2))
        array([0., 1., 2., 0., 0.])
    """
    if mode == "constant":
        return np.pad(x, pad_width, mode, constant_values=constant_values)
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ValueError(f"pad: mode is {mode!r}, expected 'constant', 'edge', 'reflect', 'symmetric' or 'wrap'")
    return np.pad(x, pad_width, mode)


def _pad_rule(g, y, x, pad_width, mode, constant_values):
    if mode == "constant":
        inside = np.pad(np.ones(x.shape, bool), pad_width)
        return g[inside].reshape(x.shape)
    source = np.pad(np.arange(x.size).reshape(x.shape), pad_width, mode)
    return scatter(g, source, (x.size,)).reshape(x.shape)


pad.vjp(x=_pad_rule)
pad.formula(r"x \text{ with a border}", x=r"g \text{ without the border}")
pad.example(normal(3, 4), ((1, 0), (2, 1)), constant_values=0.5)
pad.example(normal(3, 4), 2, "reflect")


@primitive
def flip(x, axis=None):
    """x backwards along an axis or axes (None: all).

    Example:
        >>> flip([1.0, 2.0])
        array([2., 1.])
    """
    return np.flip(x, axis)


flip.vjp(x=lambda g, y, x, axis: np.flip(g, axis))
flip.formula(r"x \text{ backwards}", x=r"g \text{ backwards}")
flip.example(normal(3, 4))
flip.example(normal(3, 4), 1)


@primitive
def take(x, indices, axis=None, *, mode="raise"):
    """The entries of x at indices along an axis (None: of the flattened array). A repeated index adds gradients.

    An index out of range is an error; with ``mode="wrap"`` it counts from the start again, with "clip" it is the last.

    Example:
        >>> take([1.0, 2.0, 3.0], [2, 2, 0])
        array([3., 3., 1.])
    """
    return np.take(x, indices, axis, mode=mode)


def _take_rule(g, y, x, indices, axis, mode):
    indices, count = np.asarray(indices), x.size if axis is None else x.shape[axis]
    if mode != "raise":
        indices = indices % count if mode == "wrap" else np.clip(indices, 0, count - 1)
    if axis is None:
        return taken_back(g, x, indices)
    return scatter(g, (*[slice(None)] * (axis % x.ndim), indices), x.shape)


def taken_back(g: Any, x: Any, places: Any) -> Any:
    """The gradient of x where its numbers at flat places were taken."""
    # In one axis NumPy adds at indices far quicker than in several.
    return scatter(g.reshape(-1), places.reshape(-1), (x.size,)).reshape(x.shape)


take.vjp(x=_take_rule)
take.formula("x_{indices}", x=r"g \text{ added at } indices\text{, else } 0")
take.example(normal(3, 4), np.array([1, -1, 1]))
take.example(normal(3, 4), np.array([[0, 3], [3, 3]]), 1)
take.example(normal(3, 4), np.array([-1, 5, 3]), 0, mode="wrap")


@primitive
def embedding(input, weight):
    """The rows of a table at indices: weight[input], but a negative index is an error. A repeated one adds gradients.

    Args:
        input: integers from 0 to V - 1, of any shape.
        weight: (V, D), a row for each index.

    Returns:
        (…, D), the dots being input's shape.

    Raises:
        ValueError: an index is out of range (the first is named), or weight has not two axes.
        TypeError: input isn't of an integer dtype.

    Example:
        >>> embedding([2, 0, 2], np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
        array([[5., 6.],
               [1., 2.],
               [5., 6.]])

    Source:
        Bengio, Ducharme, Vincent, Jauvin, A neural probabilistic language model, 2003.
    """
    index, weight = np.asarray(input), np.asarray(weight)
    if weight.ndim != 2:
        raise ValueError(f"embedding: weight has shape {weight.shape}, expected (V, D), a row for each index")
    if not index.size:
        index = index.astype(np.intp)
    _check_rows(index, len(weight))
    return np.take(weight, index, axis=0)


def _check_rows(index: np.ndarray, rows: int) -> None:
    """Raise an error for the first index that is no row's: it says where it stands and what is valid."""
    valid = f"valid are the integers 0 to {rows - 1}, for the {rows} rows of weight"
    if index.dtype.kind in "iu":
        wrong = (index < 0) | (index >= rows)
    else:
        wrong = index != np.round(index) if index.dtype.kind == "f" else np.zeros(index.shape, bool)
        if not wrong.any():
            raise TypeError(f"embedding: input has dtype {index.dtype}; {valid}; use input.astype(int)")
    if wrong.any():
        where = str(np.argwhere(wrong)[0].tolist()) if index.ndim else ""
        others = f" (and {np.count_nonzero(wrong) - 1} more like it)" if np.count_nonzero(wrong) > 1 else ""
        raise ValueError(f"embedding: input{where} is {index[wrong][0]}{others}; {valid}")


def _embedding_rule(g, y, input, weight):
    # Number by number in the flattened table: NumPy adds numbers at indices far quicker than it adds rows.
    width = weight.shape[1]
    places = np.asarray(input, np.intp).reshape((-1, 1)) * width + np.arange(width)
    return scatter(g.reshape(-1), places.reshape(-1), (weight.size,)).reshape(weight.shape)


embedding.vjp(weight=_embedding_rule)
embedding.formula("weight_{input}", weight=r"g \text{ added at the rows } input\text{, else } 0")
embedding.example(np.array([[0, 2, 2], [1, 2, 0]]), normal(4, 3))
embedding.example(1, normal(2, 3))


@primitive
def getitem(x, index):
    """x[index], with slices, integers, None, ..., masks and index arrays.

    Example:
        >>> getitem(np.array([1.0, 2.0, 3.0]), slice(1, None))
        array([2., 3.])
    """
    return x[index]


getitem.vjp(x=lambda g, y, x, index: scatter(g, index, x.shape))
getitem.formula("x_{index}", x=r"g \text{ added at } [index]\text{, else } 0")
getitem.example(normal(3, 4), (slice(None, None, -2), 1))
getitem.example(normal(3, 4), np.array([0, 2, 2]))
getitem.example(normal(3, 4), np.eye(3, 4, dtype=bool))


@primitive
@in_single
def scatter(x, index, shape):
    """Zeros of a shape, with x added at [index]: the transpose of getitem. An index that repeats adds up.

    Example:
        >>> scatter(np.array([1.0, 2.0, 3.0]), [0, 2, 2], (4,))
        array([1., 0., 5., 0.])
    """
    x = np.asarray(x)
    if not _repeats(index):
        y = np.zeros(shape, x.dtype)
        y[index] = x
        return y
    # Where many numbers may meet in one, they are added in a dtype that keeps their digits.
    wide = np.float64 if x.dtype == np.float32 and x.size >= 1 << 20 else x.dtype
    y = np.zeros(shape, wide)
    np.add.at(y, index, x.astype(wide, copy=False))
    return y.astype(x.dtype, copy=False)


scatter.vjp(x=lambda g, y, x, index, shape: g[index])
scatter.formula(r"\text{zeros of } shape\text{, } x \text{ added at } index", x="g_{index}")
scatter.example(normal(3), np.array([0, 2, 2]), (4,))


def _repeats(index: Any) -> bool:
    """Whether an index may name an entry twice: all can but slices, integers, None, ... and masks."""
    parts = index if isinstance(index, tuple) else (index,)
    once = (slice, int, np.integer, type(None), type(...))
    return not all(isinstance(i, once) or (isinstance(i, np.ndarray) and i.dtype == bool) for i in parts)
