"""The reverse pass: gradients of recorded values, from the last operator back to the first."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any

import numpy as np

from tinygrad_ce.engine.atomic import compare_and_swap
from tinygrad_ce.engine.constants import real
from tinygrad_ce.engine.node import Node
from tinygrad_ce.engine.primitive import registry
from tinygrad_ce.engine.single import SINGLE, is_half, single

_by_order = attrgetter("_order")


def backward(output: Node, g: Any = None, *, retain_graph: bool = True) -> None:
    """Add the gradient of an output to the ``.grad`` of every leaf that requires grad.

    Args:
        output: the value to differentiate, mostly a scalar loss.
        g: the gradient of some scalar with respect to the output (the cotangent), in its shape; 1 for a scalar output.
        retain_graph: whether the graph is kept for another pass. With False it is used up on the way: what nobody else
            holds is freed as soon as its gradient has been handed on, and a second call is an error. (A training loop
            that keeps the name ``loss`` until the next forward has run would hold two graphs otherwise.)

    Calling it again adds the same again. If it fails, no ``.grad`` has changed.

    Raises:
        RuntimeError: the output requires no grad, or its graph is used up.
        ValueError: the output isn't a scalar and g is missing, or g has another shape.

    Example:
        >>> import tinygrad_ce as tg
        >>> x = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        array([2., 4., 6.])
    """
    gradients = {output._order: cotangent(output, g._value if isinstance(g, Node) else g)}
    nodes, leaves = tape([output]), []
    while nodes:
        node = nodes.pop()  # the youngest: all that was made of it has handed its gradient on
        if not node._parents:
            leaves.append(node)
            if node._value.itemsize == 2:
                gradients[node._order] = gradients[node._order].astype(node._value.dtype)
            continue
        gy, y, made, arguments = gradients.pop(node._order), node._value, node._primitive, node._arguments
        for i, parent in node._parents:
            dx, key = pulled_back(made, i, gy, y, arguments, parent._value), parent._order
            gradients[key] = gradients[key] + dx if key in gradients else dx
        if made.keeps:
            arguments[-1] = None  # type: ignore[index]  # what the forward kept for the rules is used once
        if not retain_graph:
            node._parents, node._arguments = _USED_UP, ()
    gy = dx = None  # so that owned, below, finds nothing else that holds a gradient
    found = [owned(gradients.pop(x._order)) for x in leaves]
    before: Any = repeat(None)  # as after zero_grad
    sums = found
    while not compare_and_swap(leaves, repeat("_grad"), before, sums):
        # They have gradients, or another thread or a signal handler came between.
        before = [x._grad for x in leaves]
        sums = [g if old is None else np.asarray(old + g) for old, g in zip(before, found, strict=True)]


def tape(outputs: Iterable[Node]) -> list[Node]:
    """Everything that outputs were made of, oldest first. Creation order is the topological order."""
    nodes = [*outputs]
    found = {*map(_by_order, nodes)}
    for node in nodes:  # the list grows under the loop: breadth first, without recursion
        for _, parent in node._parents:
            order = parent._order
            if order not in found:
                found.add(order)
                nodes.append(parent)
    nodes.sort(key=_by_order)
    return nodes


def pulled_back(made: Any, i: int, g: Any, y: Any, arguments: Sequence[Any], x: Any) -> Any:
    """A gradient through one rule: from g, that of the result y, to that of argument i, whose value is x.

    That of a float16 value is float32, until ``backward`` stores it.
    """
    rule, count = made.rules[i], len(arguments)
    if x.itemsize == 2:
        g, y, arguments = single(g), single(y), [*map(single, arguments)]
    try:
        # One and two arguments are written out: to unpack them would cost a twentieth of a tiny operator.
        if count == 1:
            dx = rule(g, y, arguments[0])
        elif count == 2:
            dx = rule(g, y, arguments[0], arguments[1])
        else:
            dx = rule(g, y, *arguments)
        return dx if dx.shape == x.shape and dx.dtype is x.dtype else unbroadcast(dx, x, made, i)
    except Exception as error:
        error.add_note(f"in the rule of argument {made.argument(i)!r} of {made.name}")
        raise


class _UsedUp(tuple):  # type: ignore[type-arg]
    """The parents of a node whose graph is gone."""

    __slots__ = ()

    def __iter__(self) -> Any:
        raise RuntimeError(
            "backward: this graph was used up by backward(retain_graph=False); run the forward again, or leave "
            "retain_graph as it is to go through a graph twice"
        )


_USED_UP = _UsedUp((None,))


def unbroadcast(dx: Any, x: np.ndarray, made: Any, i: int) -> Any:
    """Undo broadcasting: sum a gradient over the axes along which x was repeated, and cast it to x's dtype.

    (To float32 where x is float16.) It is the operator sum that adds: it keeps its digits over any number of rows.
    """
    if dx.shape != x.shape:
        ahead = dx.ndim - x.ndim
        shape = (1,) * ahead + x.shape
        if ahead < 0 or any(n not in (1, m) for n, m in zip(shape, dx.shape, strict=True)):
            raise ValueError(
                f"{made.name}: the rule of argument {made.argument(i)!r} gave a gradient of shape {dx.shape}, which is "
                f"neither the argument's shape {x.shape} nor broadcast from it"
            )
        axes = tuple(k for k, n in enumerate(shape) if n == 1)
        dx = registry["sum"](dx, axes[0] if len(axes) == 1 else axes).reshape(x.shape)
    dtype = SINGLE if is_half(x) else x.dtype
    return dx if dx.dtype == dtype else dx.astype(dtype)


def cotangent(output: Node, g: Any) -> Any:
    """The gradient to start from, checked."""
    y = output._value
    if not output._requires_grad:
        raise RuntimeError(
            "backward: this Tensor requires no grad: nothing it was made of does, or it was made inside no_grad() or "
            "by detach(); make the leaves with requires_grad=True"
        )
    if g is None:
        if y.size != 1:
            raise ValueError(
                f"backward: the output has shape {y.shape}, and only a scalar has a gradient by itself; "
                f"reduce it (.sum(), .mean()) or give the cotangent g, of shape {y.shape}"
            )
        return y.dtype.type(1) if not y.ndim else np.ones(y.shape, y.dtype)
    if not isinstance(g, Node):
        g = real("backward: g", g).astype(y.dtype)
    if g.shape != y.shape:
        raise ValueError(f"backward: g has shape {g.shape}, expected the output's shape {y.shape}")
    return g


def owned(array: Any) -> np.ndarray:
    """An array that nobody else can write to: the one given, if no variable holds it; else a copy."""
    if type(array) is np.ndarray and array.base is None and sys.getrefcount(array) <= _SOLE:
        array.setflags(True)  # type: ignore[call-arg]  # a layer may have frozen it
        return array
    return np.asarray(array).copy()


# What sys.getrefcount reads, on this interpreter, of an array that a function's argument alone holds.
_SOLE = (lambda array: sys.getrefcount(array))(np.empty(0))
