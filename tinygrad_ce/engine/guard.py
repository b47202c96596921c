"""What keeps a graph right: nobody writes to its arrays, and what belongs together changes at once or not at all."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable
from itertools import starmap
from typing import Any

import numpy as np


def freeze(value: Any) -> None:
    """Make an array read-only, and what it is a view of, so that no view of it can be made writable again.

    Likewise the arrays in a tuple, list or dict. (NumPy's ``ufunc.at`` alone writes to read-only arrays all the same.)
    """
    while isinstance(value, np.ndarray):
        value.setflags(False)  # type: ignore[call-arg]
        value = value.base
    if type(value) in (tuple, list, dict):
        for part in value.values() if type(value) is dict else value:
            freeze(part)


def owned(array: Any) -> Any:
    """An array that nobody can write to: the one given, or a copy if others than its one variable could write to it."""
    if not isinstance(array, np.ndarray):
        return array
    owner = array if array.base is None else array.base
    if type(owner) is not np.ndarray or (owner.flags.writeable and sys.getrefcount(owner) > _SOLE[array is owner]):
        array = np.array(array)
    freeze(array)
    return array


def _holders(array: np.ndarray) -> int:
    owner = array if array.base is None else array.base
    return sys.getrefcount(owner)


def _one_variable(make: Callable[[], np.ndarray]) -> int:
    array = make()
    return _holders(array)


# What owned counts, on this interpreter, of an array in one variable: of a view, and of one that is none.
_SOLE = (_one_variable(lambda: np.empty(2)[:1]), _one_variable(lambda: np.empty(2)))


def explain(error: Exception) -> None:
    """Add to an error what it means, if a user's forward or rule wrote to an array that it was given."""
    if "read-only" in str(error):
        error.add_note("arrays given to a forward or a rule belong to the graph; make a new one to write to")


def at_once(changes: Iterable[tuple[Any, str, Any]]) -> None:
    """Set attributes (of what, which, to what), all or none of them: no Ctrl-C and no thread comes in between.

    It is one call of compiled code, and Python looks for signals and other threads only between such calls.
    """
    deque(starmap(setattr, list(changes)), maxlen=0)
