"""The reverse pass: gradients of recorded values, from the last operator to the first."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from tinygrad_ce.engine import anomaly
from tinygrad_ce.engine.primitive import Node

_by_order = attrgetter("_order")
_set_grad = Node.__dict__["_grad"].__set__
_adding = threading.Lock()


class _UsedUp(tuple):  # type: ignore[type-arg]
    """The parents of a node whose graph is gone."""

    __slots__ = ()

    def __iter__(self) -> Any:
        raise RuntimeError(
            "backward: this graph was used up by backward(retain_graph=False); run the forward again, or leave "
            "retain_graph as it is to go through a graph twice"
        )


_USED_UP = _UsedUp((None,))


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


def backward(output: Node, g: Any = None, *, retain_graph: bool = True) -> None:
    """Add the gradient of an output into the ``.grad`` of every leaf that requires grad.

    For a scalar output g is 1; otherwise g is the gradient of some scalar with respect to the output (the cotangent),
    of its shape. Calling it again adds the same again. If it fails, no ``.grad`` has changed.

    With ``retain_graph=False`` the graph is used up on the way: what nobody else holds is freed as soon as its gradient
    has been handed on, and a second call is an error. A training loop that keeps the name ``loss`` until the next
    forward has run holds two graphs otherwise.

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
    found = {output._order: cotangent(output, g._data if isinstance(g, Node) else g)}
    leaves = _reverse(tape((output,)), found, retain_graph=retain_graph)
    with _adding:  # another thread may add to the same leaf
        sums = [_own(found.pop(x._order)) if x._grad is None else np.asarray(x._grad + found[x._order]) for x in leaves]
        deque(map(_set_grad, leaves, sums), maxlen=0)  # in compiled code: Ctrl-C comes before or after it


def grad(outputs: Any, inputs: Any, grad_outputs: Any = None, create_graph: bool = False) -> Any:
    r"""Gradients of outputs in inputs, :math:`\sum_k \bar y_k^T\, \partial y_k / \partial x`. Touches no ``.grad``.

    Args:
        outputs: a Tensor, or a list of them; the gradient is that of their sum.
        inputs: a Tensor or a list of them, leaves or in between.
        grad_outputs: the cotangent of each output, in its shape; None stands for 1 and needs a scalar output.
        create_graph: record the reverse pass itself, so that the gradients can be differentiated again.

    Returns:
        A Tensor like ``inputs``, or a list of them where a list was given.

    Raises:
        RuntimeError: an output requires no grad, or an input had no part in the outputs.

    Example:
        >>> import tinygrad_ce as tg
        >>> x = tg.Tensor(3.0, requires_grad=True)
        >>> dy = tg.grad(x**3, x, create_graph=True)
        >>> dy.item(), tg.grad(dy, x).item()
        (27.0, 18.0)
    """
    ys = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    xs = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    gs = list(grad_outputs) if isinstance(grad_outputs, list | tuple) else [grad_outputs] * len(ys)
    if len(gs) != len(ys):
        raise ValueError(f"grad: {len(ys)} outputs but {len(gs)} grad_outputs")
    found = gradients(ys, xs, gs, create_graph)
    for i, dx in enumerate(found):
        if dx is None:
            raise RuntimeError(
                f"grad: inputs[{i}] had no part in making the outputs (or requires no grad), so there is no gradient "
                f"in it; was it detached, or made anew after the outputs?"
            )
    return found if isinstance(inputs, list | tuple) else found[0]


def gradients(ys: Sequence[Node], xs: Sequence[Node], gs: Sequence[Any], create_graph: bool) -> list[Any]:
    """The gradient Tensor of each x, or None where no y depends on it."""
    for what, nodes in (("outputs", ys), ("inputs", xs)):
        for i, node in enumerate(nodes):
            if not isinstance(node, Node):
                raise TypeError(f"grad: {what}[{i}] is of type {type(node).__name__}, expected a Tensor")
    kind = type(ys[0]) if ys else Node
    start: dict[int, Any] = {}
    for y, g in zip(ys, gs, strict=True):
        g = cotangent(y, g if not isinstance(g, Node) or create_graph else g._data)
        g = kind._leaf(g) if create_graph and not isinstance(g, Node) else g
        start[y._order] = start[y._order] + g if y._order in start else g
    nodes = tape(ys)
    wanted = {x._order for x in xs if x._requires_grad}
    needed = set(wanted)
    for node in nodes:  # oldest first: a node is needed if it depends on an input
        if any(parent._order in needed for _, parent in node._parents):
            needed.add(node._order)
    nodes = [node for node in nodes if node._order in needed]
    found = {k: g for k, g in start.items() if k in needed}
    _reverse(nodes, found, wanted, needed, create_graph)
    picked = (found.get(x._order) if x._order in wanted else None for x in xs)
    return [dx if dx is None or isinstance(dx, Node) else kind._leaf(_own(dx)) for dx in picked]


def _reverse(
    nodes: list[Node],
    gradients: dict[int, Any],
    wanted: Iterable[int] = (),
    needed: set[int] | None = None,
    create_graph: bool = False,
    retain_graph: bool = True,
) -> list[Node]:
    """Walk a tape from its end, using it up; return the leaves. Gradients, by order, keeps theirs and the wanted's."""
    leaves = []
    watch = anomaly.current()
    sums: set[int] = set()  # of gradients that several consumers added to: nobody else has seen these arrays
    while nodes:
        node = nodes.pop()
        parents = node._parents
        if not parents:
            leaves.append(node)
            continue
        g = gradients.pop(node._order)
        primitive = node._primitive
        rules: Sequence[Any] = primitive.rules
        arguments, y = node._arguments, node._data
        if needed is not None:
            if node._order in wanted:
                gradients[node._order] = g
            if create_graph:
                arguments, y = _on_tensors(node)  # type: ignore[assignment]
        count = len(arguments)
        for i, parent in parents:
            key = parent._order
            if needed is not None and key not in needed:
                continue
            rule = rules[i] if primitive.ours else primitive.guarded_rule(i)
            try:
                # One and two arguments without unpacking, which would cost a tenth of a tiny operator.
                if count == 1:
                    dx = rule(g, y, arguments[0])
                elif count == 2:
                    dx = rule(g, y, arguments[0], arguments[1])
                else:
                    dx = rule(g, y, *arguments)
                if watch is not None:
                    watch.backward(node, primitive.argument(i), dx, (g, node._data, *arguments))
                x = parent._data
                if dx.shape != x.shape or dx.dtype is not x.dtype:
                    dx = unbroadcast(dx, x, primitive, i)
            except Exception as error:
                error.add_note(f"in the rule of argument {primitive.argument(i)!r} of {primitive.name}")
                raise
            if key not in gradients:
                gradients[key] = dx
            elif key in sums:
                gradients[key] += dx
            else:
                gradients[key] = gradients[key] + dx
                if not create_graph:
                    sums.add(key)
        if primitive.keeps:
            node._arguments[-1] = None  # type: ignore[index]
        if not retain_graph:
            node._parents, node._arguments = _USED_UP, ()
    return leaves


def _on_tensors(node: Node) -> tuple[list[Any], Node]:
    """A call as it is differentiated once more: the Tensors themselves instead of their arrays, and nothing kept."""
    arguments = list(node._arguments)
    for i, parent in node._parents:
        if parent._data is not arguments[i]:
            raise RuntimeError(
                f"grad: a Tensor given to {node._primitive.name} as {node._primitive.argument(i)!r} got new data after "
                f"that call; with create_graph=True, take the gradient before the update, or run the forward again"
            )
        arguments[i] = parent
    if node._primitive.keeps:
        arguments[-1] = None
    return arguments, node


def unbroadcast(dx: Any, x: np.ndarray, primitive: Any, position: int) -> Any:
    """Undo broadcasting: sum a gradient over the axes along which x was repeated, and cast it to x's dtype."""
    ahead = dx.ndim - x.ndim
    if ahead > 0 and dx.shape[ahead:] == x.shape:
        dx = dx.sum(axis=0 if ahead == 1 else tuple(range(ahead)))
    elif dx.shape != x.shape:
        repeated = [i + ahead for i, n in enumerate(x.shape) if ahead >= 0 and n == 1 != dx.shape[i + ahead]]
        reduced = tuple(1 if i in repeated else n for i, n in enumerate(dx.shape))[max(ahead, 0) :]
        if reduced != x.shape:
            raise ValueError(
                f"{primitive.name}: the rule of argument {primitive.argument(position)!r} gave a gradient of shape "
                f"{dx.shape}, which is neither the argument's shape {x.shape} nor broadcast from it"
            )
        dx = dx.sum(axis=(*range(ahead), *repeated)).reshape(x.shape)
    return dx if dx.dtype == x.dtype else dx.astype(x.dtype)


def cotangent(output: Node, g: Any) -> Any:
    """The gradient to start from, checked."""
    y = output._data
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
        return _one(y.dtype) if not y.ndim else np.ones(y.shape, y.dtype)
    if not isinstance(g, Node):
        g = np.asarray(g)
        if g.dtype.kind not in "fiub":
            raise TypeError(f"backward: g has dtype {g.dtype}, expected real numbers")
        g = g.astype(y.dtype)
    if g.shape != y.shape:
        raise ValueError(f"backward: g has shape {g.shape}, expected the output's shape {y.shape}")
    return g


def _forked() -> None:
    """A forked process starts with a lock that no thread of its parent holds."""
    global _adding
    _adding = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@functools.cache
def _one(dtype: np.dtype) -> Any:
    return dtype.type(1)


def _own(array: Any) -> np.ndarray:
    """An array that nobody else can see: the one given, if only the caller's expression holds it, or else a copy."""
    if type(array) is np.ndarray and array.base is None and sys.getrefcount(array) <= _SOLE:
        array.setflags(True)  # type: ignore[call-arg]  # a guarded rule may have been given it
        return array
    return np.array(array)


# What sys.getrefcount reads, on this interpreter, of an array that a function's argument alone holds.
_SOLE = (lambda array: sys.getrefcount(array))(np.empty(0))
