"""An ONNX graph as it grows, call by call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce import nn
from tinygrad_ce.common.names import free
from tinygrad_ce.engine.node import Node
from tinygrad_ce.export.forward import Forward

SHAPED = {"reshape", "broadcast_to"}  # their second argument is a shape, of which the batch is a part


@dataclass(frozen=True)
class Operand:
    """What a call computes with: its name in the graph, its shape in either run, its dtype."""

    name: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    dtype: np.dtype

    @property
    def ndim(self) -> int:
        return len(self.shapes[0])


class Graph:
    """An ONNX graph as it grows, call by call."""

    def __init__(self, library: Any, model: nn.Module, forwards: tuple[Forward, Forward]) -> None:
        self.library = library
        self.forwards = a, b = forwards
        self.nodes: list[Any] = []
        self.initializers: dict[int, tuple[str, np.ndarray]] = {}
        self.tensors = {id(t._value): name for name, t in model.named_tensors()}
        self.used = {"input", "output"}
        self.input = Operand("input", (a.x.shape, b.x.shape), a.x.dtype)
        # What has been written, by the order in which the first forward made it.
        self.values = {} if a.leaf is None else {a.leaf._order: self.input}

    def add(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """A node of one result, which gets the name or one like it."""
        name = free(name, self.used, "_")
        self.nodes.append(self.library.helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, array: np.ndarray) -> str:
        """An array that is written with the graph: once, where it is one of the model's Tensors."""
        if id(array) not in self.initializers:
            name = free(self.tensors.get(id(array), "constant"), self.used, "_")
            self.initializers[id(array)] = name, array  # held: no other array gets this id
        return self.initializers[id(array)][0]

    def file(self, opset: int) -> Any:
        """The whole graph as ONNX's own message."""
        helper = self.library.helper
        last = self.values.get(self.forwards[0].y._order)
        if last is None or (last is not self.input and not any("input" in node.input for node in self.nodes)):
            raise ValueError("onnx: the model's result doesn't depend on its input by recorded operators")
        self.nodes.append(helper.make_node("Identity", [last.name], ["output"]))
        ends = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), _axes(value))
            for name, value in (("input", self.input), ("output", last))
        ]
        from_array = self.library.numpy_helper.from_array
        held = [from_array(np.array(array, order="C"), name) for name, array in self.initializers.values()]
        graph = helper.make_graph(self.nodes, "tinygrad_ce", ends[:1], ends[1:], held)
        versions = [helper.make_opsetid("", opset)]
        oldest = helper.find_min_ir_version_for(versions)  # runtimes lag behind the newest
        return helper.make_model(graph, opset_imports=versions, ir_version=oldest, producer_name="tinygrad_ce")


def _axes(value: Operand) -> list[Any]:
    """The length of each axis; "batch" for as many as there are rows, None for what else goes with them."""
    return [n if n == m else "batch" if (n, m) == (2, 3) else None for n, m in zip(*value.shapes, strict=True)]


class Translation:
    """A recorded call, in both runs, on its way into the graph. Calling it adds a node."""

    def __init__(self, graph: Graph, a: Node, b: Node) -> None:
        self.graph = graph
        self.made = a._primitive
        self.count = len(a._arguments) - a._primitive.keeps
        self.nodes = a, b
        self.shapes = a._value.shape, b._value.shape
        self.dtype = a._value.dtype

    def refused(self, why: str) -> NotImplementedError:
        """An error that names the operator."""
        return NotImplementedError(f"onnx: {self.made.describe(self.nodes[0]._arguments[: self.count])} {why}")

    def argument(self, i: int) -> Any:
        """What the call was given at a place: an operand of the graph, or an option as it is."""
        parents = [dict(node._parents).get(i) for node in self.nodes]
        if parents[0] is not None and parents[0]._order in self.graph.values:
            return self.graph.values[parents[0]._order]
        a, b = (node._arguments[i] for node in self.nodes)
        forwards = self.graph.forwards
        if isinstance(a, np.ndarray) and np.array_equal(a, forwards[0].x) and np.array_equal(b, forwards[1].x):
            return self.graph.input
        if self.made.name in SHAPED and i == 1:
            return None
        if not _same(a, b):
            raise ValueError(
                f"onnx: {self.made.argument(i)} of {self.made.describe(self.nodes[0]._arguments)} depends on the "
                f"batch's numbers or size by other ways than recorded operators, and would be frozen"
            )
        if a is None or not self.made.differentiable(i):
            return a
        held = a if isinstance(a, np.ndarray) else np.asarray(a, self.dtype)
        return Operand(self.graph.constant(held), (held.shape, held.shape), held.dtype)

    def __call__(self, op: str, *inputs: Any, **attributes: Any) -> str:
        return self.graph.add(op, [self.operand(x) for x in inputs], self.made.name, **attributes)

    def operand(self, x: Any) -> str:
        """The name of an input of a node: NumPy's promotion to the result's dtype is a Cast in ONNX."""
        if isinstance(x, Operand):
            if x.dtype == self.dtype:
                return x.name
            kind = self.graph.library.helper.np_dtype_to_tensor_dtype(self.dtype)
            return self.graph.add("Cast", [x.name], "cast", to=kind)
        return x if isinstance(x, str) else self.graph.constant(x)

    def number(self, x: float) -> np.ndarray:
        """A number in the result's dtype."""
        return np.asarray(x, self.dtype)

    def axes(self, axis: Any) -> list[np.ndarray]:
        """The input that names axes; for all, none."""
        return [] if axis is None else [np.atleast_1d(np.asarray(axis, np.int64))]

    def axis(self, x: Operand, axis: Any) -> int:
        """The one axis that operators in ONNX take."""
        axes = range(x.ndim) if axis is None else np.atleast_1d(axis).tolist()
        if len(axes) != 1:
            raise self.refused("has no translation to ONNX but along one axis")
        return int(axes[0])

    def reshaped(self, x: Operand | str, before: Any) -> str:
        """x in the result's shape. An axis that grows with the batch is the same in x, or the only such one."""
        sizes = []
        for i, pair in enumerate(zip(*self.shapes, strict=True)):
            kept = all(shape[i : i + 1] == (n,) for shape, n in zip(before, pair, strict=True))
            sizes.append(pair[0] if pair[0] == pair[1] else 0 if kept else -1)
        if sizes.count(-1) > 1:
            raise self.refused("makes several axes that go with the batch")
        return self("Reshape", x, np.array(sizes, np.int64))

    def masked(self, x: Operand, where: Any) -> Operand | str:
        """Logits with -inf where the mask is False."""
        return x if where is None else self("Where", np.asarray(where, bool), x, self.number(-np.inf))


def _same(a: Any, b: Any) -> bool:
    """Whether an argument is the same in both runs."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a is b or (a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b)
