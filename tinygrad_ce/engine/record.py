"""How a call is written on the tape. An operator called on arrays is its forward; on Tensors, a Tensor results.

Four functions make the call of an operator: with one operand ``x``, with two operands ``a`` and ``b``, with ``x`` and
settings, and with any arguments. ``of_any`` could do it all: the others are written out because a loop over arguments
would cost as much as a tiny operator itself. All make the result by ``new_node``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.engine.node import Node, is_recording, tick

Primitive = Any  # what primitive.py makes, and hands to the functions here

# Nobody can write to these. Other arguments, but for Tensors, are called loose: a recorded call keeps a copy of them.
IMMUTABLE = frozenset([type(None), bool, int, float, str, type(...), type, *np.sctypeDict.values()]) - {np.void}


def of_x(made: Primitive) -> Callable[..., Any]:
    """The call of an operator with the one argument ``x``."""
    function = made.function

    def call(x: Any) -> Any:
        if not isinstance(x, Node):
            return function(x)
        data, parents = x._data, ((0, x),)
        recorded = x._requires_grad and is_recording()
        if recorded and made.some_lack_rules:
            made.check(parents)
        try:
            y = made.forward(data)
        except Exception as error:
            error.add_note("in " + made.describe([data]))
            raise
        return new_node(made, x, y, (data,), parents) if recorded else x._leaf(y)

    return call


def of_a_and_b(made: Primitive) -> Callable[..., Any]:
    """The call of an operator with the two arguments ``a`` and ``b``."""
    function = made.function

    def call(a: Any, b: Any) -> Any:
        like, parents = None, []
        left, right = a, b
        if isinstance(a, Node):
            like, left = a, a._data
            if a._requires_grad:
                parents.append((0, a))
        if isinstance(b, Node):
            like, right = b, b._data
            if b._requires_grad:
                parents.append((1, b))
        if like is None:
            return function(a, b)
        recorded = is_recorded(made, parents)
        if (left is a or right is b) and (recorded or made.always_copies):
            left, right = (secured(made, i, v) if v is given else v for i, v, given in ((0, left, a), (1, right, b)))
        try:
            y = made.forward(left, right)
        except Exception as error:
            error.add_note("in " + made.describe([left, right]))
            raise
        return new_node(made, like, y, (left, right), parents) if recorded else like._leaf(y)

    return call


def of_x_and_settings(made: Primitive) -> Callable[..., Any]:
    """The call of an operator with the operand ``x`` and settings, such as an axis."""
    function, general = made.function, of_any(made)

    def call(x: Any, *settings: Any, **named: Any) -> Any:
        for a in (*settings, *named.values()) if named else settings:
            if type(a) not in IMMUTABLE:
                return general(x, *settings, **named)
        if not isinstance(x, Node):
            return function(x, *settings, **named)
        data, parents = x._data, ((0, x),)
        recorded = x._requires_grad and is_recording()
        if recorded and made.some_lack_rules:
            made.check(parents)
        try:
            y = made.forward(data, *settings, **named)
        except Exception as error:
            error.add_note("in " + made.describe([data, *settings], named))
            raise
        if not recorded:
            return x._leaf(y)
        rest = made.rest_after[1 + len(settings)]
        values = [data, *settings, *((rest | named) if named else rest).values()]
        return new_node(made, x, y, values, parents)

    return call


def of_any(made: Primitive) -> Callable[..., Any]:
    """The call of an operator with any arguments."""
    function, keeps = made.function, made.keeps

    def call(*given: Any, **named: Any) -> Any:
        for a in (*given, *named.values()) if named else given:
            if isinstance(a, Node):
                like = a
                break
        else:
            return function(*given, **named)
        values = [*given]
        parents, loose = _sorted(made, values, named)
        recorded = is_recorded(made, parents)
        if recorded or made.always_copies:
            for key in loose:
                place: Any = named if isinstance(key, str) else values
                place[key] = secured(made, key, place[key])
        try:
            if keeps and recorded:
                y, kept = made.forward(*values, **named, keep=[*dict(parents)])
            else:
                y = made.forward(*values, **named)
        except Exception as error:
            error.add_note("in " + made.describe(values, named))
            raise
        if not recorded:
            return like._leaf(y)
        values += (made.rest_after[len(given)] | named).values() if named else made.rest_after[len(given)].values()
        if keeps:
            values.append(kept)
        return new_node(made, like, y, values, parents)

    return call


def is_recorded(made: Primitive, parents: Sequence[tuple[int, Node]]) -> bool:
    """Whether a call is recorded; an error, if a Tensor that requires grad stands where there is no rule."""
    if not (parents and is_recording()):
        return False
    if made.some_lack_rules:
        made.check(parents)
    return True


def _sorted(made: Primitive, values: list[Any], named: dict[str, Any]) -> tuple[list[Any], list[int | str]]:
    """Put arrays in the place of Tensors; return the parents, and where loose arguments are."""
    parents: list[Any] = []
    loose: list[int | str] = []
    for i, a in enumerate(values):
        if isinstance(a, Node):
            values[i] = a._data
            if a._requires_grad:
                parents.append((i, a))
        elif type(a) not in IMMUTABLE:
            loose.append(i)
    if not named.keys() <= made.names:
        made.signature.bind(*values, **named)  # raises, and says which name is unknown
    for name, a in named.items():
        if isinstance(a, Node):
            named[name] = a._data
            if a._requires_grad:
                parents.append((made.arguments.index(name), a))
        elif type(a) not in IMMUTABLE:
            loose.append(name)
    return parents, loose


SHORT_FORMS = {"(x)": of_x, "(a, b)": of_a_and_b}  # by signature


def new_node(
    made: Primitive, like: Node, y: Any, arguments: Sequence[Any], parents: Sequence[tuple[int, Node]]
) -> Node:
    """A result on the tape, with how it was made; of the class of one of its operands, like."""
    node = object.__new__(type(like))
    node._data, node._requires_grad = y if type(y) is np.ndarray else np.asarray(y), True
    node._primitive, node._arguments, node._parents = made, arguments, parents
    node._order, node._grad = tick(), None
    return node


def secured(made: Primitive, key: int | str, a: Any) -> Any:
    """A loose argument as the tape keeps it: a copy, and an array where a gradient could be asked for."""
    if type(a) is np.ndarray:
        return a.copy()
    if type(a) in IMMUTABLE:
        return a
    i = made.arguments.index(key) if isinstance(key, str) else key
    if isinstance(a, np.ndarray) or made.differentiable(i):
        if isinstance(a, np.ma.MaskedArray):
            raise TypeError(f"{made.name}: argument {made.argument(i)!r} is a masked array, whose mask would be lost")
        return np.array(a)
    # A random generator is drawn from, not read: a copy would draw the same numbers at every call.
    return a if _is_constant(a) or type(a).__module__.startswith("numpy.random") else copy.deepcopy(a)


def _is_constant(a: Any) -> bool:
    """Whether nobody can write to a value, nor to anything in it: a slice may hold arrays."""
    if type(a) is slice:
        a = (a.start, a.stop, a.step)
    return type(a) in IMMUTABLE or isinstance(a, np.dtype) or (type(a) is tuple and all(map(_is_constant, a)))
