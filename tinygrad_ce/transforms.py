"""Gradients of values, and derivatives of functions: grad, value_and_grad, jacobian, hessian, hvp.

Of functions: arrays in, arrays out; Tensors in, Tensors out. A function is called on fresh Tensors, so nothing that is
given changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.engine.constants import plain
from tinygrad_ce.engine.no_grad import no_grad
from tinygrad_ce.engine.node import Node, is_recording, recording
from tinygrad_ce.engine.reverse import cotangent, pulled_back, tape
from tinygrad_ce.tensor import Tensor

Function = Callable[..., Any]


def grad(outputs: Any, inputs: Any, grad_outputs: Any = None, create_graph: bool = False) -> Any:
    r"""Gradients of outputs in inputs, :math:`\sum_k \bar y_k^T\, \partial y_k / \partial x`. Touches no ``.grad``.

    Args:
        outputs: a Tensor, or a list of them; the gradient is that of their sum.
        inputs: a Tensor or a list of them, leaves or in between.
        grad_outputs: the cotangent of each output, in its shape; None stands for 1 and needs a scalar output.
        create_graph: record the reverse pass itself, so that the gradients can be differentiated again; also inside
            ``no_grad()``.

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
    ys, xs, gs = ([*v] if isinstance(v, list | tuple) else [v] for v in (outputs, inputs, grad_outputs))
    gs = gs * len(ys) if grad_outputs is None else gs
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
    """The gradient Tensor of each x, or None where no y depends on it: ``backward``'s loop over what lies between."""
    _check_tensors("outputs", ys)
    _check_tensors("inputs", xs)
    found: dict[int, Any] = {}

    def add(node: Node, g: Any) -> None:
        found[node._order] = found[node._order] + g if node._order in found else g

    wanted = {x._order for x in xs if x._requires_grad}
    with recording(bool(create_graph) | is_recording()):
        for output, g in zip(ys, gs, strict=True):
            add(output, cotangent(output, g._value if isinstance(g, Node) and not create_graph else g))
        for node, parents in reversed(_between(ys, wanted)):
            g = found[node._order] if node._order in wanted else found.pop(node._order)
            y: Any = node._value
            arguments, made = node._arguments, node._primitive
            if create_graph:
                g, y, arguments = _as_tensor(g, node), node, _on_tensors(node)
            for i, parent in parents:
                add(parent, pulled_back(made, i, g, y, arguments, parent._value))
            if made.keeps:
                node._arguments[-1] = None  # type: ignore[index]  # what the forward kept is used once
    picked = (found.get(x._order) if x._order in wanted else None for x in xs)
    return [None if dx is None else _as_tensor(_stored(dx, x), ys[0]) for x, dx in zip(xs, picked, strict=True)]


def _check_tensors(what: str, nodes: Sequence[Any]) -> None:
    for i, node in enumerate(nodes):
        if not isinstance(node, Node):
            raise TypeError(f"grad: {what}[{i}] is of type {type(node).__name__}, expected a Tensor")


def _stored(g: Any, x: Node) -> Any:
    """A gradient in its value's dtype: on the way that of float16 is float32."""
    return g if g.dtype == x._value.dtype else g.astype(x._value.dtype)


def _as_tensor(g: Any, like: Node) -> Any:
    """A gradient as a Tensor with an array of its own."""
    return g if isinstance(g, Node) else like._leaf(np.array(g))


def _between(ys: Sequence[Node], wanted: set[int]) -> list[tuple[Node, list[tuple[int, Node]]]]:
    """The calls between inputs and outputs, oldest first, each with those of its parents that depend on an input."""
    needed, calls = {*wanted}, []
    for node in tape(dict.fromkeys(ys)):
        parents = [(i, parent) for i, parent in node._parents if parent._order in needed]
        if parents:
            needed.add(node._order)
            calls.append((node, parents))
    return calls


def _on_tensors(node: Node) -> list[Any]:
    """The arguments of a call as it is differentiated once more: Tensors instead of arrays, and nothing kept."""
    made, arguments = node._primitive, [*node._arguments]
    for i, parent in node._parents:
        if parent._value is not arguments[i]:
            raise RuntimeError(
                f"grad: a Tensor given to {made.name} as {made.argument(i)!r} got new data after that call; with "
                f"create_graph=True, take the gradient before the update, or run the forward again"
            )
        arguments[i] = parent
    if made.keeps:
        arguments[-1] = None
    return arguments


def value_and_grad(f: Function, argnums: int | tuple[int, ...] = 0) -> Function:
    r"""The function that returns f's value and its gradient, :math:`(f(x), \nabla f(x))`.

    Args:
        f: a function of arrays that returns a scalar.
        argnums: the argument to differentiate in, or a tuple of them (then the gradients are a tuple).

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.value_and_grad(lambda x: (x**2).sum())(np.array([1.0, 2.0]))
        (array(5.), array([2., 4.]))
    """
    positions = (argnums,) if isinstance(argnums, int) else argnums

    def value_and_gradient(*args: Any) -> tuple[Any, Any]:
        xs = [_variable(args[i]) for i in positions]
        given = list(args)
        for i, x in zip(positions, xs, strict=True):
            given[i] = x
        with recording():
            y = _scalar("value_and_grad", f(*given))
        found = [_like(args[i], dx) for i, dx in zip(positions, _gradients(y, xs), strict=True)]
        return _like(args[positions[0]], y), found[0] if isinstance(argnums, int) else tuple(found)

    return value_and_gradient


def jacobian(f: Function, x: Any) -> Any:
    r"""All partial derivatives, :math:`J_{ij} = \partial f_i / \partial x_j`, of shape ``f(x).shape + x.shape``.

    One reverse pass for each number of f(x).

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.jacobian(tg.softmax, np.zeros(2))
        array([[ 0.25, -0.25],
               [-0.25,  0.25]])
    """
    v = _variable(x)
    with recording():
        y = f(v)
    return _like(x, _jacobian(y, v))


def hessian(f: Function, x: Any) -> Any:
    r"""Second derivatives of a scalar function, :math:`H_{ij} = \partial^2 f / \partial x_i \partial x_j`.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.hessian(lambda x: x[0] ** 2 * x[1], np.array([1.0, 2.0]))
        array([[4., 2.],
               [2., 0.]])
    """
    v = _variable(x)
    with recording():
        (gradient,) = _gradients(_scalar("hessian", f(v)), [v], create_graph=True)
    return _like(x, _jacobian(gradient, v))


def hvp(f: Function, x: Any, v: Any) -> Any:
    r"""The Hessian times a vector, :math:`H v`, without forming H: the gradient of :math:`\nabla f \cdot v`.

    Args:
        f: a function of one array that returns a scalar.
        x: where.
        v: the vector, of x's shape.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.hvp(lambda x: (x**3).sum(), np.array([1.0, 2.0]), np.array([1.0, 0.0]))
        array([6., 0.])

    Source:
        Pearlmutter, Fast exact multiplication by the Hessian, 1994.
    """
    point = _variable(x)
    vector = plain(v, "v")
    if vector.shape != point.shape:
        raise ValueError(f"hvp: v has shape {vector.shape}, expected that of x, {point.shape}")
    with recording():
        (gradient,) = _gradients(_scalar("hvp", f(point)), [point], create_graph=True)
        return _like(x, _gradients((gradient * vector).sum(), [point])[0])


def _variable(x: Any) -> Tensor:
    """A fresh leaf to differentiate in."""
    if isinstance(x, Tensor) and x.requires_grad and is_recording():
        raise TypeError(
            "x is a Tensor that requires grad, and what is made here would not be recorded in it: give x.detach(), or "
            "for derivatives of derivatives use hessian, hvp, or tg.grad with create_graph=True"
        )
    return Tensor(x, requires_grad=True, dtype=None if np.asarray(getattr(x, "data", x)).dtype.kind == "f" else float)


def _like(given: Any, result: Any) -> Any:
    """A result as the caller's kind: a Tensor where one was given, else an array."""
    data = result._value if isinstance(result, Tensor) else result
    return Tensor(data) if isinstance(given, Tensor) else np.array(data)


def _scalar(where: str, y: Any) -> Tensor:
    if not isinstance(y, Tensor):
        raise TypeError(
            f"{where}: f returned {type(y).__name__}, expected a Tensor; "
            f"does it leave the graph, by .data, .numpy(), .item() or float()?"
        )
    if y.size != 1:
        raise ValueError(f"{where}: f returned shape {y.shape}, expected a scalar; reduce it, or use jacobian")
    return y


def _gradients(y: Tensor, xs: list[Tensor], g: Any = None, create_graph: bool = False) -> list[Tensor]:
    """Gradients as Tensors; zeros where y doesn't depend on x."""
    found = gradients([y], xs, [g], create_graph) if y.requires_grad else [None] * len(xs)
    return [Tensor(np.zeros_like(x._value)) if dx is None else dx for x, dx in zip(xs, found, strict=True)]


def _jacobian(y: Any, x: Tensor) -> np.ndarray:
    if not isinstance(y, Tensor):
        raise TypeError(f"jacobian: f returned {type(y).__name__}, expected a Tensor")
    rows = np.zeros((y.size, *x.shape), x.dtype)
    with no_grad():
        for k in range(y.size):
            g = np.zeros(y.size, y.dtype)
            g[k] = 1
            rows[k] = _gradients(y, [x], g.reshape(y.shape))[0]._value
    return rows.reshape((*y.shape, *x.shape))
