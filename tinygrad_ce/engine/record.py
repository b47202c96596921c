"""How a call is written on the tape. An operator called on arrays is its forward; on Tensors, a Tensor results.

``of_any`` makes the call of any operator. The three before it do the same for the most common kinds of call, written
out, because a loop over arguments would cost as much as a tiny operator itself; what is less common they hand to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.engine.constants import IMMUTABLE, PLAIN, secure, settled
from tinygrad_ce.engine.node import Node, is_recording, tick

Primitive = Any  # what primitive.py makes, and hands to the functions here


def of_x(made: Primitive) -> Callable[..., Any]:
    """The call of an operator with the one argument ``x``."""
    function, general = made.function, of_any(made)

    def call(x: Any) -> Any:
        if not isinstance(x, Node):
            return function(x) if type(x) in PLAIN else general(x)
        data, parents = x._value, ((0, x),)
        recorded = x._requires_grad and is_recording()
        if recorded and made.rules[0] is None:
            made.refuse(0)
        try:
            y = made.forward(data)
        except Exception as error:
            error.add_note("in " + made.describe([data]))
            raise
        return new_node(made, x, y, (data,), parents) if recorded else x._leaf(y)

    return call


def of_a_and_b(made: Primitive) -> Callable[..., Any]:
    """The call of an operator with the two arguments ``a`` and ``b``."""
    function, general = made.function, of_any(made)

    def call(a: Any, b: Any) -> Any:
        left, right, parents = a, b, []
        if isinstance(a, Node):
            like, left = a, a._value
            if a._requires_grad:
                parents.append((0, a))
                if made.rules[0] is None:
                    made.refuse(0)
        elif not isinstance(b, Node):
            return function(a, b) if type(a) in PLAIN and type(b) in PLAIN else general(a, b)
        elif type(a) not in IMMUTABLE:
            return general(a, b)
        if isinstance(b, Node):
            like, right = b, b._value
            if b._requires_grad:
                parents.append((1, b))
                if made.rules[1] is None:
                    made.refuse(1)
        elif type(b) not in IMMUTABLE:
            return general(a, b)
        recorded = parents and is_recording()
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
        if named:
            made.check_names(named)
        for a in (*settings, *named.values()) if named else settings:
            if type(a) not in IMMUTABLE:
                return general(x, *settings, **named)
        if not isinstance(x, Node):
            return function(x, *settings, **named) if type(x) in PLAIN else general(x, *settings, **named)
        data, parents = x._value, ((0, x),)
        recorded = x._requires_grad and is_recording()
        if recorded and made.rules[0] is None:
            made.refuse(0)
        try:
            y = made.forward(data, *settings, **named)
        except Exception as error:
            error.add_note("in " + made.describe([data, *settings], named))
            raise
        if not recorded:
            return x._leaf(y)
        rest = made.rest_after[1 + len(settings)]
        return new_node(made, x, y, [data, *settings, *((rest | named) if named else rest).values()], parents)

    return call


def of_any(made: Primitive) -> Callable[..., Any]:
    """The call of an operator with any arguments."""
    function = made.function

    def call(*given: Any, **named: Any) -> Any:
        like, values = None, [*given]
        parents: list[tuple[int, Node]] = []
        loose: list[int | str] = []
        for i, a in enumerate(given):
            if isinstance(a, Node):
                like, values[i] = a, a._value
                if a._requires_grad:
                    parents.append((i, a))
                    if made.rules[i] is None:
                        made.refuse(i)
            elif type(a) not in IMMUTABLE:
                loose.append(i)
        if named:
            made.check_names(named)
            for name, a in named.items():
                if isinstance(a, Node):
                    like, named[name] = a, a._value
                    if a._requires_grad:
                        parents.append((made.operand(name), a))
                elif type(a) not in IMMUTABLE:
                    loose.append(name)
        if like is not None:
            return _written(made, like, values, named, parents, loose)
        secure(made, values, named, loose, copies=False)
        return function(*given, **named)

    return call


def _written(
    made: Primitive, like: Node, values: list[Any], named: dict[str, Any],
    parents: list[tuple[int, Node]], loose: list[int | str],
) -> Node:  # fmt: skip
    """The result of a call whose arguments are sorted.

    Args:
        made: the operator.
        like: one of the Tensors given, of whose class the result is.
        values, named: the arguments by position and by name, with arrays in the place of Tensors.
        parents: the Tensors that require grad, each with its position.
        loose: where the arguments stand that their owner may write to afterwards.
    """
    count, recorded = len(values), bool(parents) and is_recording()
    if loose:
        secure(made, values, named, loose, copies=recorded or made.always_copies)
    try:
        if recorded and made.keeps:
            y, kept = made.forward(*values, keep=[*dict(parents)], **named)
        else:
            y = made.forward(*values, **named)
    except Exception as error:
        error.add_note("in " + made.describe(values, named))
        raise
    if loose:
        y = settled(made, y, recorded)
    if not recorded:
        return like._leaf(y)  # type: ignore[no-any-return]
    rest = made.rest_after[count]
    values += (rest | named if named else rest).values()
    if made.keeps:
        values.append(kept)
    return new_node(made, like, y, values, parents)


SHORT_FORMS = {"(x)": of_x, "(a, b)": of_a_and_b}  # by signature


def new_node(
    made: Primitive, like: Node, y: Any, arguments: Sequence[Any], parents: Sequence[tuple[int, Node]]
) -> Node:
    """A result on the tape, with how it was made."""
    node = object.__new__(type(like))
    node._value, node._requires_grad = y if type(y) is np.ndarray else np.asarray(y), True
    node._primitive, node._arguments, node._parents = made, arguments, parents
    node._order, node._grad = tick(), None
    return node
