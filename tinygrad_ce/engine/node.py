"""A value on the tape, and whether operators are recorded here."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from itertools import chain, compress, starmap
from operator import is_
from typing import Any

import numpy as np

from tinygrad_ce.engine.inside import inside

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
    """Record inside, also where the caller does not. ``no_grad`` makes use of it."""
    before = _recording.get()
    try:
        _recording.set(on)
        yield
    finally:
        _recording.set(before)


def no_grad(function: Callable[..., Any] | None = None) -> Any:
    """Record nothing inside: results require no grad, and cost no memory for a reverse pass.

    A context manager, ``with tg.no_grad():``, and a decorator, ``@tg.no_grad()`` or ``@tg.no_grad``, of functions,
    generators and coroutines. It holds for this thread (and asyncio task) alone, and for the body of what it
    decorates: between two values of a generator, who asks for them records or not as before.

    Args:
        function: what to decorate, if it is used without parentheses.

    Raises:
        TypeError: what is given is no function.

    Example:
        >>> import tinygrad_ce as tg
        >>> w = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> with tg.no_grad():
        ...     (w * w).requires_grad
        False
        >>> @tg.no_grad
        ... def squares():
        ...     yield w * w
        >>> [y.requires_grad for y in squares()], (w * w).requires_grad
        ([False], True)
    """
    if function is None:
        return _NoGrad()
    if not callable(function):
        raise TypeError(f"no_grad: got {function!r}, expected a function to decorate, or nothing: `with no_grad():`")
    return inside(_NoGrad, function)


class _NoGrad(AbstractContextManager[None]):
    """What no_grad() is before it is entered, or put before a function. It may be entered again, also inside itself."""

    def __init__(self) -> None:
        self._entered: list[AbstractContextManager[None]] = []

    def __enter__(self) -> None:
        self._entered.append(recording(False))
        self._entered[-1].__enter__()

    def __exit__(self, *error: Any) -> None:
        self._entered.pop().__exit__(*error)

    __call__ = staticmethod(no_grad)


def at_once(changes: Iterable[tuple[Any, str, Any]]) -> None:
    """Set attributes, each given as (object, name, value): all of them or none.

    It is one call of compiled code. Python handles Ctrl-C, and switches threads, only before or after such a call.
    """
    deque(starmap(setattr, list(changes)), maxlen=0)


def compare_and_swap(objects: Sequence[Any], names: Iterable[str], old: Sequence[Any], new: Sequence[Any]) -> bool:
    """Set the named attribute of each object from old to new: all of them, or none if one is no longer the old one.

    What is read, worked on and written back this way needs no lock, on which a signal handler could wait for the code
    that it interrupts. False: another thread or a handler came between; read again. One call, as in ``at_once``.
    """
    unchanged = map(all, [map(is_, map(getattr, objects, names), old)])
    return bool([*map(setattr, chain.from_iterable(compress([objects], unchanged)), names, new)])
