"""What a call is given beside Tensors: numbers, arrays, shapes. The tape keeps a copy of what can be written to."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from tinygrad_ce.engine.node import Node

# Nobody can write to these. Complex numbers are no operands here.
_SCALARS = [t for t in np.sctypeDict.values() if not issubclass(t, np.void | np.complexfloating)]
IMMUTABLE = frozenset([type(None), bool, int, float, str, type(...), type, *_SCALARS])
PLAIN = IMMUTABLE | {np.ndarray}


def unmasked(where: str, a: Any) -> Any:
    """a itself. Refused is a masked array: operators see an array's numbers alone, also those that are masked."""
    if isinstance(a, np.ma.MaskedArray):
        raise TypeError(f"{where} is a masked array, whose mask would be lost; fill it first, as in a.filled(0)")
    return a


def plain(a: Any, where: str = "this") -> np.ndarray:
    """The array of a Tensor, or of anything that NumPy makes an array of; not copied."""
    return a._value if isinstance(a, Node) else np.asarray(unmasked(where, a))


def real(where: str, a: Any) -> np.ndarray:
    """a as an array of real numbers, not copied."""
    array = plain(a, where)
    if array.dtype.kind not in "fiub":
        why = " (gradients are defined for real numbers here)" if array.dtype.kind == "c" else ""
        raise TypeError(f"{where} has dtype {array.dtype}{why}, expected real numbers: floating, integer or bool")
    return array


def secure(made: Any, values: list[Any], named: dict[str, Any], loose: list[int | str], copies: bool) -> None:
    """Refuse masked arrays among the loose arguments; if copies, put a copy in the place of each."""
    for key in loose:
        place: Any = named if isinstance(key, str) else values
        a = place[key]
        if type(a) is not np.ndarray:
            unmasked(f"{made.name}: argument {(key if isinstance(key, str) else made.argument(key))!r}", a)
        if copies:
            place[key] = a.copy() if type(a) is np.ndarray else secured(made, key, a)


def secured(made: Any, key: int | str, a: Any) -> Any:
    """A loose argument as the tape keeps it: a copy, and an array where a gradient could be asked for."""
    i = made.arguments.index(key) if isinstance(key, str) else key
    if isinstance(a, np.ndarray) or made.differentiable(i):
        return np.asarray(a).copy()  # (np.array trusts others' __array__ to copy)
    # A random generator is drawn from, not read: a copy would draw the same numbers at every call.
    return a if _is_constant(a) or type(a).__module__.startswith("numpy.random") else copy.deepcopy(a)


def settled(made: Any, y: Any, copied: bool) -> Any:
    """A result of loose arguments: of real numbers and, where these were not copied, no view of them."""
    if y.dtype.kind == "c":
        raise TypeError(f"{made.name}: the result is complex; gradients are defined for real numbers here")
    return y if copied or y.base is None else y.copy()


def _is_constant(a: Any) -> bool:
    """Whether nobody can write to a value, nor to anything in it: a slice may hold arrays."""
    if type(a) is slice:
        a = (a.start, a.stop, a.step)
    return type(a) in IMMUTABLE or isinstance(a, np.dtype) or (type(a) is tuple and all(map(_is_constant, a)))
