"""A value on the tape, and whether operators are recorded here."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

tick = itertools.count().__next__
_recording: ContextVar[bool] = ContextVar("recording", default=True)
is_recording = _recording.get  # whether operators are recorded here: not inside no_grad


class Node:
    """A value on the tape: its array, and how it was made.

    ``_value`` is never written: an update gives the node another array. So what a recorded operator needs cannot change
    under it. ``_order`` counts creations. A node is always younger than its parents, so falling ``_order`` is a
    topological order for free. A node without parents is a leaf.
    """

    __slots__ = ("_arguments", "_grad", "_order", "_parents", "_primitive", "_requires_grad", "_value")

    _value: np.ndarray
    _requires_grad: bool
    _primitive: Any  # the operator that made it,
    _arguments: Sequence[Any]  # what that was given, in the forward's order, with arrays in the place of Tensors,
    _parents: Sequence[tuple[int, Node]]  # and the Tensors that a gradient flows to, each with its position
    _order: int
    _grad: Any  # an array, or None

    @classmethod
    def _leaf(cls, data: Any, requires_grad: bool = False) -> Any:
        """A leaf around an array that nobody else will write to."""
        node = object.__new__(cls)
        node._value = data if type(data) is np.ndarray else np.asarray(data)
        node._requires_grad, node._parents = requires_grad, ()
        node._order, node._grad = tick(), None
        return node


@contextlib.contextmanager
def recording(on: bool = True) -> Iterator[None]:
    """Record inside, also where the caller does not. ``no_grad`` is ``recording(False)``."""
    before = _recording.get()
    try:
        _recording.set(on)
        yield
    finally:
        _recording.set(before)
