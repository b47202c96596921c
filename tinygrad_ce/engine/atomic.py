"""Attributes that are set together: all of them or none, whatever comes between."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain, compress, starmap
from operator import is_
from typing import Any


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
    # iter is made before the check: no memory is taken after it, as the collector may run code, and let a thread in.
    unchanged = map(all, (map(is_, map(getattr, objects, names), old),))
    return bool([*map(setattr, chain.from_iterable(compress((iter(objects),), unchanged)), names, new)])
