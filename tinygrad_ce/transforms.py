"""Derivatives of functions: value_and_grad, jacobian, hessian, hvp.

Arrays in, arrays out; Tensors in, Tensors out. The function is called on fresh Tensors, so nothing given is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce.engine.primitive import is_recording, no_grad, recording
from tinygrad_ce.engine.reverse import gradients
from tinygrad_ce.tensor import Tensor

Function = Callable[..., Any]


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
        (slope,) = _gradients(_scalar("hessian", f(v)), [v], create_graph=True)
    return _like(x, _jacobian(slope, v))


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
    vector = v._data if isinstance(v, Tensor) else np.asarray(v)
    if vector.shape != point.shape:
        raise ValueError(f"hvp: v has shape {vector.shape}, expected that of x, {point.shape}")
    with recording():
        (slope,) = _gradients(_scalar("hvp", f(point)), [point], create_graph=True)
        return _like(x, _gradients((slope * vector).sum(), [point])[0])


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
    data = result._data if isinstance(result, Tensor) else result
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
    return [Tensor(np.zeros_like(x._data)) if dx is None else dx for x, dx in zip(xs, found, strict=True)]


def _jacobian(y: Any, x: Tensor) -> np.ndarray:
    if not isinstance(y, Tensor):
        raise TypeError(f"jacobian: f returned {type(y).__name__}, expected a Tensor")
    rows = np.zeros((y.size, *x.shape), x.dtype)
    with no_grad():
        for k in range(y.size):
            g = np.zeros(y.size, y.dtype)
            g[k] = 1
            rows[k] = _gradients(y, [x], g.reshape(y.shape))[0]._data
    return rows.reshape((*y.shape, *x.shape))
