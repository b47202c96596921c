"""What NumPy moves, repeats or blanks out: functions of the operators in shape.py, but for sort."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.engine.primitive import primitive
from tinygrad_ce.ops.composite import composite
from tinygrad_ce.ops.elementwise import where
from tinygrad_ce.ops.example import normal, spaced
from tinygrad_ce.ops.shape import as_array, concatenate, expand_dims, scatter, take, taken_back, transpose

__all__ = [
    "append", "atleast_1d", "atleast_2d", "column_stack", "diag", "diagonal", "fliplr", "flipud", "hstack", "moveaxis",
    "repeat", "roll", "sort", "tile", "trace", "tril", "triu", "vstack",
]  # fmt: skip


def _by_numpy(function: Any, x: Any, numbers: Any, *settings: Any) -> Any:
    """What a function of NumPy's makes of other numbers in the place of x. So it checks the settings."""
    try:
        return function(numbers, *(getattr(setting, "_value", setting) for setting in settings))
    except Exception as error:
        error.add_note(f"in {function.__name__} of an array of shape {x.shape}, with {', '.join(map(repr, settings))}")
        raise


def _moved(function: Any, x: Any, *settings: Any) -> Any:
    """x as a function of NumPy's moves it: that moves the positions, and x is taken at them."""
    x = as_array(x)
    return take(x, _by_numpy(function, x, np.arange(x.size).reshape(x.shape), *settings))


def _inside(function: Any, x: Any, k: int) -> Any:
    """x where a function of NumPy's leaves a matrix as it is, else 0."""
    x = as_array(x)
    return where(_by_numpy(function, x, np.ones(x.shape, bool), k), x, x.dtype.type(0))


@composite
def repeat(x, repeats, axis=None):
    """Each number (or each piece along an axis) repeated: so many times, or each its own number of times.

    Example:
        >>> repeat([1.0, 2.0], [1, 2])
        array([1., 2., 2.])
    """
    return _moved(np.repeat, x, repeats, axis)


repeat.example(normal(3, 4), 2)
repeat.example(normal(3, 4), [2, 0, 1], axis=0)


@composite
def tile(x, reps):
    """x laid side by side so many times; as a tuple, along each of the last axes.

    Example:
        >>> tile([1.0, 2.0], (2, 2))
        array([[1., 2., 1., 2.],
               [1., 2., 1., 2.]])
    """
    return _moved(np.tile, x, reps)


tile.example(normal(3, 1), (2, 1, 3))


@composite
def roll(x, shift, axis=None):
    """x moved on by shift along an axis or axes (None: flattened); what leaves at the end comes in at the start.

    Example:
        >>> roll([1.0, 2.0, 3.0], 1)
        array([3., 1., 2.])
    """
    return _moved(np.roll, x, shift, axis)


roll.example(normal(3, 4), (1, -1), axis=(0, 1))


@composite
def moveaxis(x, source, destination):
    """x with axes moved to other places; the rest keep their order.

    Example:
        >>> moveaxis(np.zeros((2, 3, 4)), 0, -1).shape
        (3, 4, 2)
    """
    x = as_array(x)
    # An array whose axes are as long as their number: where they are moved, its shape is the order.
    return transpose(x, _by_numpy(np.moveaxis, x, np.empty(range(x.ndim)), source, destination).shape)


moveaxis.example(normal(2, 3, 4), [0, 1], [-1, -2])


@composite
def flipud(x):
    """x backwards along its first axis.

    Example:
        >>> flipud([1.0, 2.0])
        array([2., 1.])
    """
    return _moved(np.flipud, x)


flipud.example(normal(3, 4))


@composite
def fliplr(x):
    """x backwards along its second axis.

    Example:
        >>> fliplr([[1.0, 2.0]])
        array([[2., 1.]])
    """
    return _moved(np.fliplr, x)


fliplr.example(normal(3, 4))


@composite
def append(x, values, axis=None):
    """values behind x along an axis (None: both flattened).

    Example:
        >>> append([1.0, 2.0], 3.0)
        array([1., 2., 3.])
    """
    return concatenate([as_array(x), as_array(values)], axis)


append.example(normal(3, 4), normal(2))
append.example(normal(3, 4), normal(3, 1), axis=1)


def _at_least(ndim: int, arrays: Any) -> Any:
    found = [expand_dims(x, tuple(range(ndim - x.ndim))) if x.ndim < ndim else x for x in map(as_array, arrays)]
    return found[0] if len(found) == 1 else tuple(found)


@composite
def atleast_1d(*arrays):
    """A single number as an array of one axis, others as they are; of several arrays a tuple.

    Example:
        >>> atleast_1d(1.0)
        array([1.])
    """
    return _at_least(1, arrays)


atleast_1d.example(normal())


@composite
def atleast_2d(*arrays):
    """An array of fewer than two axes as a row, others as they are; of several arrays a tuple.

    Example:
        >>> atleast_2d([1.0, 2.0])
        array([[1., 2.]])
    """
    return _at_least(2, arrays)


atleast_2d.example(normal(3))


@composite
def vstack(arrays):
    """Arrays one below the other; those of one axis are rows.

    Example:
        >>> vstack([[1.0, 2.0], [3.0, 4.0]])
        array([[1., 2.],
               [3., 4.]])
    """
    return concatenate([atleast_2d(x) for x in arrays])


vstack.example([normal(3), normal(2, 3)])


@composite
def hstack(arrays):
    """Arrays side by side: along their second axis, or their only one.

    Example:
        >>> hstack([1.0, [2.0, 3.0]])
        array([1., 2., 3.])
    """
    parts = [atleast_1d(x) for x in arrays]
    return concatenate(parts, 0 if parts and parts[0].ndim == 1 else 1)


hstack.example([normal(2), normal(3)])
hstack.example([normal(2, 3), normal(2, 1)])


@composite
def column_stack(arrays):
    """Arrays side by side; those of one axis are columns.

    Example:
        >>> column_stack([[1.0, 2.0], [3.0, 4.0]])
        array([[1., 3.],
               [2., 4.]])
    """
    columns = [x if x.ndim > 1 else transpose(atleast_2d(x)) for x in map(as_array, arrays)]
    return concatenate(columns, 1)


column_stack.example([normal(3), normal(3, 2)])


@composite
def diagonal(x, offset=0, axis1=0, axis2=1):
    """The diagonals of the matrices that two axes are: above the main one for an offset > 0. They are the last axis.

    Example:
        >>> diagonal(np.array([[1.0, 2.0], [3.0, 4.0]]))
        array([1., 4.])
    """
    return _moved(np.diagonal, x, offset, axis1, axis2)


diagonal.example(normal(2, 3, 4), -1, 1, 2)


@composite
def diag(x, k=0):
    """The k-th diagonal of a matrix; or the matrix whose k-th diagonal is x, with 0 elsewhere.

    Example:
        >>> diag([1.0, 2.0])
        array([[1., 0.],
               [0., 2.]])
    """
    x = as_array(x)
    if x.ndim != 1:
        return _moved(np.diag, x, k)
    places = _by_numpy(np.diag, x, np.ones(x.shape, bool), k)
    return scatter(x, places, places.shape)


diag.example(normal(3), -1)
diag.example(normal(3, 4), 1)


@composite
def trace(x, offset=0, axis1=0, axis2=1):
    """The sum of each diagonal, as ``diagonal`` finds them.

    Example:
        >>> float(trace(np.array([[1.0, 2.0], [3.0, 4.0]])))
        5.0
    """
    return np.sum(diagonal(x, offset, axis1, axis2), axis=-1)


trace.example(normal(2, 3, 4), 1, -1, 0)


@composite
def tril(x, k=0):
    """x with 0 above its k-th diagonal; of each matrix of a stack.

    Example:
        >>> tril(np.ones((2, 2)))
        array([[1., 0.],
               [1., 1.]])
    """
    return _inside(np.tril, x, k)


tril.example(normal(2, 3, 3), -1)


@composite
def triu(x, k=0):
    """x with 0 below its k-th diagonal; of each matrix of a stack.

    Example:
        >>> triu(np.ones((2, 2)))
        array([[1., 1.],
               [0., 1.]])
    """
    return _inside(np.triu, x, k)


triu.example(normal(2, 3, 3), 1)


@primitive
def sort(x, axis=-1):
    """x in rising order along an axis (None: flattened). The gradient goes back to where each number came from.

    Example:
        >>> sort([3.0, 1.0, 2.0])
        array([1., 2., 3.])
    """
    return np.sort(x, axis)


def _sort_rule(g, y, x, axis):
    order = np.argsort(x, axis=axis, kind="stable")
    if axis is not None:
        order = np.take_along_axis(np.arange(x.size).reshape(x.shape), order, axis)
    return taken_back(g, x, order)


sort.vjp(x=_sort_rule)
sort.formula(r"x \text{ in rising order}", x=r"g \text{ where each number came from}")
sort.example(spaced(3, 4), 0)
sort.example(spaced(3, 4), None)
