"""How each operator is written in ONNX's own."""

from __future__ import annotations

from collections.abc import Callable
from types import EllipsisType
from typing import Any

import numpy as np

from tinygrad_ce.engine.primitive import registry
from tinygrad_ce.export.graph import Graph, Operand, Translation

_LONGEST = 2**63 - 1

# Of a call and what it was given: the name of the result in the graph, whose nodes the rule adds.
Rule = Callable[..., str]


def translated(graph: Graph) -> Graph:
    """The graph, with the nodes of all calls that the forwards recorded.

    Raises:
        NotImplementedError: an operator has no translation.
        ValueError: the forwards took different operators, or an argument depends on the batch unrecorded.
    """
    a, b = graph.forwards
    if [node._primitive for node in a.calls] != [node._primitive for node in b.calls]:
        raise ValueError(
            f"onnx: batches of {len(a.x)} and of {len(b.x)} rows take different operators; what the forward "
            f"does must not depend on its input's numbers or size"
        )
    for first, second in zip(a.calls, b.calls, strict=True):
        call = Translation(graph, first, second)
        known = getattr(registry.get(call.made.name), "primitive", None) is call.made
        if not known or call.made.name not in OPERATORS:
            raise call.refused("has no translation to ONNX here")
        name = OPERATORS[call.made.name](call, *map(call.argument, range(call.count)))
        graph.values[first._order] = Operand(name, call.shapes, call.dtype)
    return graph


def _elementwise(op: str) -> Rule:
    return lambda c, *operands: c(op, *operands)


def _reduction(op: str) -> Rule:
    return lambda c, x, axis, keepdims: c(
        op, x, *c.axes(axis), keepdims=int(keepdims), noop_with_empty_axes=int(axis is not None)
    )


def _along(op: str) -> Rule:
    def translated(c: Translation, x: Operand, axis: Any, where: Any) -> Any:
        if where is not None and not np.any(np.broadcast_to(where, x.shapes[0]), axis=axis).all():
            raise c.refused("has no translation to ONNX where every class of a row is masked")
        return c(op, c.masked(x, where), axis=c.axis(x, axis))

    return translated


def _linear(c: Translation, x: Operand, weight: Operand, bias: Operand | None) -> str:
    if x.ndim == 2:
        return c("Gemm", x, weight, *([] if bias is None else [bias]), transB=1)
    y = c("MatMul", x, c("Transpose", weight, perm=[1, 0]))
    return y if bias is None else c("Add", y, bias)


def _clip(c: Translation, x: Operand, low: Any, high: Any) -> str:
    y: Any = x
    for op, bound in (("Max", low), ("Min", high)):
        y = y if bound is None else c(op, y, c.number(bound))
    return y if isinstance(y, str) else c("Identity", y)


def _conv(c: Translation, x: Operand, weight: Operand, bias: Operand | None, stride: Any, padding: Any) -> str:
    operands = [x, weight] if bias is None else [x, weight, bias]
    return c("Conv", *operands, strides=_pair(stride), pads=_pair(padding) * 2, kernel_shape=list(weight.shapes[0][2:]))


def _max_pool(c: Translation, x: Operand, size: Any, stride: Any) -> str:
    return c("MaxPool", x, kernel_shape=_pair(size), strides=_pair(size if stride is None else stride))


def _pair(value: Any) -> list[int]:
    return list(value) if isinstance(value, list | tuple) else [value, value]


def _reshape(c: Translation, x: Operand, _: Any, order: str) -> str:
    if order != "C":
        raise c.refused(f"has no translation to ONNX with order={order!r}")
    return c.reshaped(x, x.shapes)


def _take(c: Translation, x: Any, indices: Any, axis: int | None, mode: str = "raise") -> str:
    if mode != "raise":
        raise c.refused(f"has no translation to ONNX with mode={mode!r}")
    index = indices.name if isinstance(indices, Operand) else np.asarray(indices, np.int64)
    return c("Gather", x if axis is not None else c("Reshape", x, np.array([-1])), index, axis=axis or 0)


def _transposed(c: Translation, x: Operand, *order: Any) -> str:
    """The order of axes is read off the strides 0, 1, 2, …, which NumPy's function of the same name reorders."""
    axes = np.empty((1,) * x.ndim)
    strided = np.lib.stride_tricks.as_strided(axes, strides=tuple(range(x.ndim)))
    return c("Transpose", x, perm=list(getattr(np, c.made.name)(strided, *order).strides))


def _getitem(c: Translation, x: Operand, index: Any) -> str:
    """Integers cut as slices do; Reshape then drops axes and adds new ones."""
    parts = index if isinstance(index, tuple) else (index,)
    if not all(part is None or isinstance(part, EllipsisType | int | np.integer | slice) for part in parts):
        raise c.refused("has no translation to ONNX but for integers, slices, None and ...")
    given = [part for part in parts if part is not None]
    rest = [part is ... for part in [*given, ...]].index(True)
    given[rest : rest + 1] = [slice(None)] * (x.ndim - len(given) + (rest < len(given)))
    cuts = [(start, stop, axis, step) for axis, (start, stop, step) in enumerate(map(_cut, given))]
    cuts = [cut for cut in cuts if (*cut[:2], cut[3]) != _cut(slice(None))]
    y = c("Slice", x, *np.array(cuts, np.int64).T.copy()) if cuts else x
    return c.reshaped(y, x.shapes)


def _cut(part: Any) -> tuple[int, int, int]:
    """Start, stop and step of what an index takes along an axis; open ends as the largest numbers there are."""
    if not isinstance(part, slice):
        part = slice(part, part + 1 or None)  # -1 is the last: up to the end
    step = 1 if part.step is None else int(part.step)
    first, last = (0, _LONGEST) if step > 0 else (_LONGEST, -_LONGEST)
    return first if part.start is None else int(part.start), last if part.stop is None else int(part.stop), step


def _broadcast(c: Translation, x: Operand, _: Any) -> str:
    sizes = [n if n == m else 1 for n, m in zip(*c.shapes, strict=True)]  # 1 leaves an axis as long as it is
    return c("Expand", x, np.array(sizes, np.int64))


OPERATORS: dict[str, Rule] = {
    **{name: _elementwise(op) for name, op in {
        "abs": "Abs", "add": "Add", "cos": "Cos", "divide": "Div", "exp": "Exp", "log": "Log", "matmul": "MatMul",
        "maximum": "Max", "minimum": "Min", "multiply": "Mul", "negative": "Neg", "power": "Pow", "relu": "Relu",
        "sigmoid": "Sigmoid", "sin": "Sin", "softplus": "Softplus", "sqrt": "Sqrt", "subtract": "Sub", "tanh": "Tanh",
    }.items()},
    **{name: _reduction(f"Reduce{name.capitalize()}") for name in ("sum", "prod", "mean", "max", "min")},
    "astype": lambda c, x, dtype: c("Identity", x),
    "broadcast_to": _broadcast,
    "clip": _clip,
    "conv2d": _conv,
    "elu": lambda c, x, alpha: c("Elu", x, alpha=float(alpha)),
    "einsum": lambda c, subscripts, *operands: c("Einsum", *operands, equation=subscripts),
    "embedding": lambda c, input, weight: _take(c, weight, input, 0),
    "expand_dims": lambda c, x, axis: c.reshaped(x, x.shapes),
    "gelu": lambda c, x, approximate: c("Gelu", x, approximate=approximate),
    "getitem": _getitem,
    "join": lambda c, axis, *parts: c("Concat", *parts, axis=axis),
    "leaky_relu": lambda c, x, slope: c("LeakyRelu", x, alpha=float(slope)),
    "linear": _linear,
    "log_softmax": _along("LogSoftmax"),
    "logsumexp": lambda c, x, axis, keepdims, where: c(
        "ReduceLogSumExp", c.masked(x, where), *c.axes(axis), keepdims=int(keepdims)
    ),
    "max_pool2d": _max_pool,
    "reshape": _reshape,
    "silu": lambda c, x: c("Mul", x, c("Sigmoid", x)),
    "softmax": _along("Softmax"),
    "square": lambda c, x: c("Mul", x, x),
    "squeeze": lambda c, x, axis: c.reshaped(x, x.shapes),
    "swapaxes": _transposed,
    "take": _take,
    "transpose": _transposed,
    "where": lambda c, condition, a, b: c("Where", np.asarray(condition, bool), a, b),
}  # fmt: skip
