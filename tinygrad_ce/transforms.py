"""Gradients of values, and derivatives of functions: grad, value_and_grad, jacobian, hessian, hvp.

Of functions: arrays in, arrays out; Tensors in, Tensors out. A function is called on fresh Tensors, so nothing that is
given changes. An argument may be a list, tuple or dict of parameters, nested in any way: the function gets the same
container, and so do its derivatives. (A list of numbers is a list of parameters. For one array give ``np.array([…])``.)

Inside of another transform, and of Tensors that require grad, derivatives are recorded like all else, and can be
differentiated once more: ``tg.grad(tg.grad(f))``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.common.containers import leaves, rebuilt
from tinygrad_ce.common.spellings import told
from tinygrad_ce.engine.constants import real
from tinygrad_ce.engine.node import Node, is_recording, recording
from tinygrad_ce.engine.reverse import cotangent, pulled_back, tape
from tinygrad_ce.ops import stack
from tinygrad_ce.tensor import Tensor

Function = Callable[..., Any]
Positions = int | Sequence[int]


@told
def grad(
    outputs: Any, inputs: Any = None, grad_outputs: Any = None, create_graph: bool = False,
    *, argnums: Positions = 0, has_aux: bool = False,
) -> Any:  # fmt: skip
    r"""Gradients of outputs in inputs, :math:`\sum_k \bar y_k^T\, \partial y_k / \partial x`; or a function's gradient.

    ``grad(outputs, inputs)`` differentiates Tensors that are there, and touches no ``.grad``. ``grad(f)``, given a
    function, returns the function :math:`x \mapsto \nabla f(x)`.

    Args:
        outputs: a Tensor, or a list of them; the gradient is that of their sum. Or a function that returns a scalar.
        inputs: a Tensor, or a list, tuple or dict of them; leaves or in between. (Of a function: argnums.)
        grad_outputs: the cotangent of each output, in its shape; None stands for 1 and needs a scalar output.
        create_graph: record the reverse pass itself, so that the gradients can be differentiated again; also inside
            ``no_grad()``.
        argnums: of a function: the position of the argument to differentiate in, or a tuple of them (then the
            gradients are a tuple). Arguments given by keyword are passed on.
        has_aux: of a function: whether it returns (value, more); then its gradient comes as (gradient, more).

    Returns:
        A Tensor for each input, in the same container. Of a function: a function of the same arguments, which gives
        arrays for arrays. (It gives recorded Tensors where f was given, or holds, others that require grad, such as a
        model's parameters: the gradient depends on them, and can be differentiated in them.)

    Raises:
        RuntimeError: an output requires no grad, or an input had no part in the outputs.
        ValueError: f doesn't return a scalar, or argnums is no position of an argument.
        TypeError: f returns something else than a Tensor, or inputs are missing.

    Example:
        >>> import tinygrad_ce as tg
        >>> x = tg.Tensor(3.0, requires_grad=True)
        >>> dy = tg.grad(x**3, x, create_graph=True)
        >>> dy.item(), tg.grad(dy, x).item()
        (27.0, 18.0)
        >>> tg.grad(lambda p: p["w"] ** 2 * p["b"])({"w": 3.0, "b": 2.0})
        {'w': array(12.), 'b': array(9.)}
    """
    if callable(outputs):
        if grad_outputs is not None or create_graph:
            raise TypeError("grad: grad_outputs and create_graph are for Tensors; of functions, write grad(grad(f))")
        return _gradient("grad", outputs, argnums if inputs is None else inputs, has_aux)
    if inputs is None or has_aux or argnums != 0:
        raise TypeError(f"grad: got {type(outputs).__name__}; expected grad(outputs, inputs), or a function: grad(f)")
    ys, gs = ([*v] if isinstance(v, list | tuple) else [v] for v in (outputs, grad_outputs))
    gs = gs * len(ys) if grad_outputs is None else gs
    if len(gs) != len(ys):
        raise ValueError(f"grad: {len(ys)} outputs but {len(gs)} grad_outputs")
    xs = dict(leaves(inputs, "inputs"))
    found = gradients(ys, [*xs.values()], gs, create_graph)
    for path, dx in zip(xs, found, strict=True):
        if dx is None:
            raise RuntimeError(
                f"grad: {path} had no part in making the outputs (or requires no grad), so there is no gradient "
                f"in it; was it detached, or made anew after the outputs?"
            )
    return rebuilt(inputs, iter(found))


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


@told
def value_and_grad(f: Function, argnums: Positions = 0, has_aux: bool = False) -> Function:
    r"""The function that returns f's value and its gradient, :math:`(f(x), \nabla f(x))`.

    Args:
        f: a function that returns a scalar.
        argnums: the position of the argument to differentiate in, or a tuple of them (then the gradients are a tuple).
            Arguments given by keyword are passed on.
        has_aux: whether f returns (value, more); then what comes is ((value, more), gradient).

    Raises:
        ValueError: f doesn't return a scalar, or argnums is no position of an argument.
        TypeError: f returns something else than a Tensor, or a parameter isn't a number or an array of them.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.value_and_grad(lambda x: (x**2).sum())(np.array([1.0, 2.0]))
        (array(5.), array([2., 4.]))
        >>> tg.value_and_grad(lambda x, p, power=1: x * p[0] ** power, 1)(2.0, [3.0, 4.0], power=2)
        (array(18.), [array(12.), array(0.)])
    """

    def both(call: _Call) -> Any:
        y = call.scalar()
        return call.with_aux(call.shown(y)), call.shaped(call.gradients(y))

    return _transformed("value_and_grad", f, argnums, has_aux, both)


def jacobian(f: Function, /, *args: Any, argnums: Positions = 0, has_aux: bool = False, **named: Any) -> Any:
    r"""All partial derivatives, :math:`J_{ij} = \partial f_i / \partial x_j`, of shape ``f(x).shape + x.shape``.

    ``jacobian(f, x)`` gives them at x, ``jacobian(f)`` the function that does so. One reverse pass for each number of
    f(x).

    Args:
        f: a function that returns a Tensor, or a container of them.
        args: its arguments; a Jacobian for each output, in a container as f's, holds one for each parameter, in a
            container as the argument's.
        argnums: the position of the argument to differentiate in, or a tuple of them (then the Jacobians are a tuple).
        has_aux: whether f returns (value, more); then what comes is (jacobian, more).
        named: arguments that are passed on to f.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.jacobian(tg.softmax, np.zeros(2))
        array([[ 0.25, -0.25],
               [-0.25,  0.25]])
    """
    return _at(_transformed("jacobian", f, argnums, has_aux, _table), args, named)


def hessian(f: Function, /, *args: Any, argnums: Positions = 0, has_aux: bool = False, **named: Any) -> Any:
    r"""Second derivatives of a scalar function, :math:`H_{ij} = \partial^2 f / \partial x_i \partial x_j`.

    It is the Jacobian of the gradient, with the arguments of ``jacobian``; of several parameters a and b,
    ``hessian(f, p)["a"]["b"]`` holds the derivatives in a, then b.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.hessian(lambda x: x[0] ** 2 * x[1], np.array([1.0, 2.0]))
        array([[4., 2.],
               [2., 0.]])
    """
    slope = _gradient("hessian", f, argnums, has_aux)
    return _at(_transformed("hessian", slope, argnums, has_aux, _table), args, named)


def hvp(f: Function, /, *args: Any, v: Any = None, argnums: Positions = 0, has_aux: bool = False, **named: Any) -> Any:
    r"""The Hessian times a vector, :math:`H v`, without forming H: the gradient of :math:`\nabla f \cdot v`.

    ``hvp(f, x, v)`` gives it at x, ``hvp(f)`` the function of (x, v) that does so.

    Args:
        f: a function that returns a scalar.
        args: its arguments, then v.
        v: the vector, of x's shape, and in containers like x's; as a tuple where argnums is one.
        argnums: the position of x among f's arguments, or a tuple of positions.
        has_aux: whether f returns (value, more); then what comes is (product, more).
        named: arguments that are passed on to f.

    Raises:
        ValueError: v is missing, or has another shape than x.

    Example:
        >>> import numpy as np, tinygrad_ce as tg
        >>> tg.hvp(lambda x: (x**3).sum(), np.array([1.0, 2.0]), np.array([1.0, 0.0]))
        array([6., 0.])

    Source:
        Pearlmutter, Fast exact multiplication by the Hessian, 1994.
    """
    slope = _gradient("hvp", f, argnums, has_aux)

    def product(*args: Any, v: Any = v, **named: Any) -> Any:
        *args, v = (*args, v) if v is not None else args or (None,)  # type: ignore[assignment]

        def along(*args: Any, **named: Any) -> Any:
            found = slope(*args, **named)
            return (sum(_products(found[0], v)), found[1]) if has_aux else sum(_products(found, v))

        return _gradient("hvp", along, argnums, has_aux)(*args, **named)

    return _at(product, args, named)


def _products(gradient: Any, v: Any) -> Iterator[Any]:
    """The parts of the inner product of a gradient with a vector of the same shape, in the same containers."""
    gs, vs = dict(leaves(gradient)), {"": v} if isinstance(gradient, Tensor) else dict(leaves(v))
    if gs.keys() != vs.keys():
        raise ValueError(f"hvp: v holds {[*vs]}, expected the containers of x, which hold {[*gs]}")
    for path, g in gs.items():
        part = vs[path] if isinstance(vs[path], Tensor) else real(f"hvp: v{path}", vs[path])
        if part.shape != g.shape:
            raise ValueError(f"hvp: v{path} has shape {part.shape}, expected that of x, {g.shape}")
        yield (g * part).sum()


class _Call:
    """A function called on variables, fresh Tensors in the place of what to differentiate in; and its derivatives."""

    def __init__(self, where: str, f: Function, argnums: Any, has_aux: bool, args: Any, named: Any) -> None:
        self.where, self.several, self.has_aux = where, isinstance(argnums, tuple | list), has_aux
        self.chosen = _chosen(where, argnums, args)
        self.given = dict(leaves(self.chosen, f"{where}: args"))
        self.xs = [_variable(path, x) for path, x in self.given.items()]
        inside = rebuilt(self.chosen, iter(self.xs))
        try:
            with recording():
                result = f(*(inside.get(i, a) for i, a in enumerate(args)), **named)
        except TypeError as error:
            if {list, tuple}.intersection(map(type, inside.values())):
                error.add_note(f"{where}: f is given a list or tuple as such; for one array give np.array(…)")
            raise
        if has_aux and not (isinstance(result, tuple | list) and len(result) == 2):
            raise TypeError(f"{where}: f returned {type(result).__name__}, expected (value, more) for has_aux=True")
        self.y, self.aux = [*result] if has_aux else [result, None]
        self.recorded = is_recording() and self._depends_on_others(result)

    def _depends_on_others(self, result: Any) -> bool:
        """Whether somebody may differentiate what comes: f was given, or holds, other Tensors that require grad.

        Such as a model's parameters, or the variables of a transform around this one.
        """
        made, own = [t for _, t in leaves(result) if isinstance(t, Tensor)], {x._order for x in self.xs}
        return any(t._requires_grad and not t._parents and t._order not in own for t in tape(made))

    def scalar(self) -> Tensor:
        """What f returned, which shall be a single number."""
        y = self.y
        if not isinstance(y, Tensor):
            raise TypeError(
                f"{self.where}: f returned {type(y).__name__}, expected a Tensor; does it leave the graph, by "
                f".data, .numpy(), .item() or float()? (has it more to return? say has_aux=True)"
            )
        if y.size != 1:
            raise ValueError(f"{self.where}: f returned shape {y.shape}, expected a scalar; reduce it, or use jacobian")
        return y

    def gradients(self, y: Tensor, g: Any = None) -> list[Tensor]:
        """The gradient in each variable; zeros where y doesn't depend on it."""
        found = gradients([y], self.xs, [g], self.recorded) if y.requires_grad else [None] * len(self.xs)
        return [Tensor(np.zeros_like(x._value)) if dx is None else dx for x, dx in zip(self.xs, found, strict=True)]

    def shown(self, t: Any, like: int = 0) -> Any:
        """A result as the caller's kind: recorded, or a Tensor where one was given, else an array."""
        if self.recorded or not isinstance(t, Tensor):
            return t
        return Tensor(t._value) if isinstance([*self.given.values(), None][like], Tensor) else np.array(t._value)

    def shaped(self, found: Sequence[Tensor]) -> Any:
        """A result for each variable, in the containers that hold the parameters."""
        tree = rebuilt(self.chosen, (self.shown(t, i) for i, t in enumerate(found)))
        return tuple(tree.values()) if self.several else tree.popitem()[1]

    def with_aux(self, result: Any) -> Any:
        """A result, and what f returned beside its value."""
        return (result, rebuilt(self.aux, (self.shown(t) for _, t in leaves(self.aux)))) if self.has_aux else result


def _chosen(where: str, argnums: Any, args: Any) -> dict[int, Any]:
    """The arguments to differentiate in, by their positions."""
    positions, count = argnums if isinstance(argnums, tuple | list) else (argnums,), len(args)
    if not all(-count <= i < count for i in positions) or len({i % count for i in positions}) < len(positions):
        raise ValueError(f"{where}: argnums is {argnums}, but f got {count} arguments by position; name each once")
    return {i % count: args[i] for i in positions}


def _transformed(where: str, f: Function, argnums: Any, has_aux: bool, derive: Callable[[_Call], Any]) -> Function:
    """The function that returns what derive makes of a call of f."""
    if not callable(f):
        raise TypeError(f"{where}: got {type(f).__name__}, expected a function")
    if not all(isinstance(i, int | np.integer) for i in (argnums if isinstance(argnums, tuple | list) else [argnums])):
        raise TypeError(f"{where}: argnums is {argnums!r}, expected a position; x is given later: {where}(f)(x)")

    def transformed(*args: Any, **named: Any) -> Any:
        call = _Call(where, f, argnums, has_aux, args, named)
        found = derive(call)
        for x in call.xs:  # A variable is nobody's from here on; one that was recorded hands its gradient on.
            x._requires_grad = bool(x._parents)
        return found

    return transformed


def _gradient(where: str, f: Function, argnums: Any, has_aux: bool) -> Function:
    def slope(call: _Call) -> Any:
        return call.with_aux(call.shaped(call.gradients(call.scalar())))

    return _transformed(where, f, argnums, has_aux, slope)


def _table(call: _Call) -> Any:
    """The Jacobians of a call: for each output those in each variable."""
    tables = []
    for path, y in leaves(call.y):
        if not isinstance(y, Tensor):
            raise TypeError(f"{call.where}: f returned {type(y).__name__}{path and ' at ' + path}, expected a Tensor")
        rows = [call.gradients(y, np.arange(y.size).reshape(y.shape) == k) for k in range(y.size)]
        columns = map(stack, zip(*rows, strict=True)) if rows else [Tensor(np.zeros(0, x.dtype)) for x in call.xs]
        blocks = [column.reshape((*y.shape, *x.shape)) for x, column in zip(call.xs, columns, strict=True)]
        tables.append(call.shaped(blocks))
    return call.with_aux(rebuilt(call.y, iter(tables)))


def _at(function: Function, args: Any, named: Any) -> Any:
    """A function's value where arguments are given already, else the function."""
    return function(*args, **named) if args or named else function


def _variable(path: str, x: Any) -> Any:
    """What to differentiate in, for a parameter: a fresh leaf; recorded where the parameter is a part of a graph."""
    if isinstance(x, Tensor) and x.requires_grad and is_recording():
        return +x
    array = real(path, x)
    return Tensor(array, requires_grad=True, dtype=None if array.dtype.kind == "f" else float)
