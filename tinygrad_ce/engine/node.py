"""A value on the tape, and whether operators are recorded here."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from itertools import starmap
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
    """Record inside, also where the caller does not. ``recording(False)`` is ``no_grad()``."""
    before = _recording.get()
    try:
        _recording.set(on)
        yield
    finally:
        _recording.set(before)


def no_grad() -> AbstractContextManager[None]:
    """Record nothing inside: results require no grad, and cost no memory for a reverse pass.

    A context manager and a decorator. It holds for this thread (and asyncio task) alone.

    Example:
        >>> import tinygrad_ce as tg
        >>> w = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> with tg.no_grad():
        ...     (w * w).requires_grad
        False
    """
    return recording(False)


lock = threading.Lock()  # for a change that reads before it writes
if hasattr(os, "register_at_fork"):  # a forked process starts with a lock that no thread of its parent holds
    os.register_at_fork(after_in_child=lock._at_fork_reinit)  # type: ignore[attr-defined]


def at_once(changes: Iterable[tuple[Any, str, Any]]) -> None:
    """Set attributes, each given as (object, name, value): all of them or none.

    It is one call of compiled code. Python handles Ctrl-C, and switches threads, only before or after such a call.
    """
    deque(starmap(setattr, list(changes)), maxlen=0)
