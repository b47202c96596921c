"""Models for other programs: ONNX for runtimes that know no Python, safetensors for PyTorch's weights, out and in."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce import nn
from tinygrad_ce.data import arrays
from tinygrad_ce.data.arrays import Damage, listed
from tinygrad_ce.engine.guard import at_once
from tinygrad_ce.engine.primitive import Node, no_grad, recording, registry
from tinygrad_ce.engine.reverse import tape
from tinygrad_ce.tensor import Tensor
from tinygrad_ce.train.checkpoint import CheckpointError

__all__ = ["load_safetensors", "onnx", "safetensors"]

_OLDEST_OPSET = 20  # the first with Gelu
_LONGEST = 2**63 - 1


def onnx(model: nn.Module, path: str | os.PathLike[str], *, example: Any = None, opset: int = _OLDEST_OPSET) -> None:
    """Write what a model computes in evaluation as an ONNX file, for batches of any size.

    The forward runs twice, on batches of 2 and of 3 rows, and what the tape recorded is translated, operator by
    operator: so a Module of one's own is written as well as a Sequential. What differs between the two runs is the
    batch, or else an error. The file is checked by ``onnx.checker``, and its answer for one row, by ONNX's reference
    evaluator, against the model's own, before it takes the place of one that was there. The input is named
    "input", the result "output", and the parameters as in ``model.state_dict()``.

    Args:
        model: a Module with one input and one result.
        path: where to write.
        example: a batch of inputs with the shape (N, …) that the model takes; indices as integers, at least two
            different ones. Left out, it is that of the first layer, if that is Linear or Standardize.
        opset: the version of ONNX's operators, at least 20.

    Raises:
        ImportError: onnx isn't installed.
        NotImplementedError: an operator has no translation; it is named.
        ValueError: what the model computes depends on its input by other ways than recorded operators (plain NumPy on
                its numbers, a Python ``if``, ``len(x)``), or no example is given where one is needed.

    Example:
        >>> import os, tempfile, tinygrad_ce as tg
        >>> path = os.path.join(tempfile.mkdtemp(), "m.onnx")
        >>> tg.export.onnx(tg.nn.Sequential(tg.nn.Linear(4, 3, rng=0), tg.nn.Softmax()), path)
        >>> os.path.exists(path)
        True

    Source:
        https://onnx.ai/onnx/operators/.
    """
    library = _extra("onnx", "onnx")
    newest = library.defs.onnx_opset_version()
    if not (isinstance(opset, int) and _OLDEST_OPSET <= opset <= newest):
        raise ValueError(f"onnx: opset is {opset!r}, expected {_OLDEST_OPSET} to {newest}, which this onnx knows")
    if not isinstance(model, nn.Module):
        raise TypeError(f"onnx: model is of type {type(model).__name__}, expected a Module")
    one, two, three = _batches(model, example)
    with _evaluation(model, two.dtype.kind == "i"):
        traces = [_trace(model, x) for x in (two, three)]
        with no_grad():
            expected = model(one if one.dtype.kind == "i" else Tensor(one))
    file = _Graph(library, model, traces).file(opset)
    library.checker.check_model(file, full_check=True)
    _check_answer(file, one, expected._data if isinstance(expected, Node) else np.asarray(expected))
    _write(path, file.SerializeToString())


def safetensors(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a model's Tensors as a safetensors file, under the names of PyTorch's ``state_dict``.

    A Tensor that stands in several places is written once, under its first name; the others are in the file's metadata,
    as ``safetensors.torch.save_model`` has it, so that ``safetensors.torch.load_model`` reads it.

    Raises:
        ImportError: safetensors isn't installed.
        TypeError: a Tensor has a dtype that safetensors doesn't know.

    Example:
        >>> import os, tempfile, tinygrad_ce as tg
        >>> path = os.path.join(tempfile.mkdtemp(), "m.safetensors")
        >>> a, b = (tg.nn.Sequential(tg.nn.Linear(4, 3, rng=seed)) for seed in (0, 1))
        >>> tg.export.safetensors(a, path)
        >>> tg.export.load_safetensors(b, path)
        >>> bool((a[0].weight == b[0].weight).all())
        True

    Source:
        https://huggingface.co/docs/safetensors.
    """
    library = _extra("safetensors.numpy", "safetensors")
    found: dict[str, np.ndarray] = {}
    also: dict[str, str] = {}
    for t, (first, *others) in _names(model):
        if t.dtype.itemsize > 8:
            raise TypeError(f"safetensors: {first} has dtype {t.dtype}, expected numbers of at most 8 bytes")
        # The library writes a buffer as it lies in memory, whatever its strides say.
        found[first] = np.array(t._data, order="C")
        also.update(dict.fromkeys(others, first))
    _write(path, library.save(found, metadata=also or None))


def load_safetensors(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Give a model's Tensors the numbers of a safetensors file, ours or PyTorch's. If anything doesn't fit, none.

    Names are those of ``model.state_dict()``; a Tensor that stands in several places may come under any of its names.
    Numbers are converted to the Tensors' own dtypes.

    Raises:
        ImportError: safetensors isn't installed.
        CheckpointError: not a safetensors file, a damaged one, or another model's: a name is missing or unknown, an
                array has another shape, or numbers that its Tensor's dtype can't hold.
        OSError: it can't be opened.

    Example:
        >>> import os, tempfile, tinygrad_ce as tg
        >>> path = os.path.join(tempfile.mkdtemp(), "m.safetensors")
        >>> tg.export.safetensors(tg.nn.Linear(4, 3, rng=0), path)
        >>> model = tg.nn.Linear(4, 3, rng=1)
        >>> tg.export.load_safetensors(model, path)
        >>> bool((model.weight == tg.nn.Linear(4, 3, rng=0).weight).all())
        True
    """
    library = _extra("safetensors.numpy", "safetensors")
    damaged = importlib.import_module("safetensors").SafetensorError
    try:
        with arrays.open_file(path) as file:
            found = library.load(file.read())
    except (Damage, damaged) as error:
        raise CheckpointError(f"{path}: no whole safetensors file: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: NumPy has no dtype {error}; expected float16, float32 or float64") from None
    try:
        at_once([(t, "_data", array) for t, array in _fitted(_names(model), found)])
    except Damage as error:
        raise CheckpointError(f"{path}: {error}; another model's?") from None


def _extra(module: str, extra: str) -> Any:
    """A module of an optional package."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"tg.export.{extra} needs {extra}: pip install 'tinygrad-ce[{extra}]'") from error


def _write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all: the one at path is the old one or the new one, never less."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        with open(part, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _names(model: nn.Module) -> list[tuple[Tensor, list[str]]]:
    """Every Tensor of a model with all the names that it goes by."""
    found: dict[int, tuple[Tensor, list[str]]] = {}
    for prefix, module in model.named_modules():
        for name, child in module._children():
            if isinstance(child, Tensor):
                found.setdefault(id(child), (child, []))[1].append(f"{prefix}.{name}" if prefix else name)
    return list(found.values())


def _fitted(
    tensors: Sequence[tuple[Tensor, list[str]]], found: dict[str, np.ndarray]
) -> Iterator[tuple[Tensor, np.ndarray]]:
    """What each Tensor gets of the arrays in a file; all that is wrong with their names and shapes is told at once."""
    wrong = []
    missing = [names[0] for _, names in tensors if not found.keys() & set(names)]
    unknown = sorted(found.keys() - {name for _, names in tensors for name in names})
    wrong += [f"missing {listed(missing)}"] if missing else []
    wrong += [f"unknown {listed(unknown)}"] if unknown else []
    for t, names in tensors:
        given = [name for name in names if name in found]
        shapes = {name: found[name].shape for name in given}
        wrong += [f"{name} has shape {shape}, expected {t.shape}" for name, shape in shapes.items() if shape != t.shape]
        others = [name for name in given[1:] if not _equal(found[name], found[given[0]])]
        wrong += [f"{listed(others)} differs from {given[0]}, which is the same Tensor here"] if others else []
    if wrong:
        raise Damage("; ".join(wrong))
    for t, names in tensors:
        name = next(name for name in names if name in found)
        yield t, _converted(name, found[name], t.dtype)


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _converted(name: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A copy in a Tensor's dtype, if that can hold the numbers: a float may be rounded, but not become infinite."""
    with np.errstate(all="ignore"):
        converted = np.array(array, dtype, order="C")
    if dtype.kind == "f":
        fits = array.dtype.kind == "f" and not np.any(np.isinf(converted) & np.isfinite(array))
    else:
        fits = np.array_equal(converted, array)
    if not fits:
        raise Damage(f"{name} has dtype {array.dtype}, with numbers that the Tensor's dtype {dtype} can't hold")
    return converted


# Tracing: two batches, so that what depends on the batch's size or numbers differs


def _batches(model: nn.Module, example: Any) -> list[np.ndarray]:
    """Batches of 1, 2 and 3 inputs like the example, in the model's dtype; indices as 64-bit integers."""
    dtype = next((t.dtype for _, t in model.named_tensors() if t.dtype.kind == "f"), np.dtype(np.float32))
    example = _like_first(model) if example is None else example
    given = np.asarray(example._data if isinstance(example, Node) else example)
    if given.dtype.kind not in "fiu" or given.ndim < 1 or not given.size:
        raise ValueError(f"onnx: example has dtype {given.dtype} and shape {given.shape}, expected numbers (N, …)")
    rng, values = np.random.default_rng(0), np.unique(given)
    if given.dtype.kind != "f":
        dtype = np.dtype(np.int64)
        if len(values) < 2:
            raise ValueError(
                f"onnx: example holds no other index than {values[0]}; give at least two different ones, so that what "
                f"is made of them differs from a constant"
            )
    elif len(values) < 2:  # a place holder, as zeros are
        values = rng.standard_normal(64)
    batches = []
    for n in (1, 2, 3):
        x = rng.choice(values, (n, *given.shape[1:])).astype(dtype)
        x.flat[:2] = rng.permutation(values)[: min(2, x.size)]
        batches.append(x)
    return batches


def _like_first(model: nn.Module) -> np.ndarray:
    """An input for the first layer that computes something, where its parameters tell the shape."""
    layers = [m for _, m in model.named_modules() if not any(isinstance(c, nn.Module) for _, c in m._children())]
    first = next((layer for layer in layers if any(True for _ in layer.named_tensors())), None)
    if isinstance(first, nn.Linear | nn.Standardize):
        return np.zeros((1, first.weight.shape[1]) if isinstance(first, nn.Linear) else (1, *first.mean.shape))
    kind = "has no layer with parameters" if first is None else f"starts with {type(first).__name__}"
    raise ValueError(f"onnx: the model {kind}, which doesn't tell the input's shape; give example=, a batch (N, …)")


@contextlib.contextmanager
def _evaluation(model: nn.Module, every: bool) -> Iterator[None]:
    """The model in evaluation; where indices come in, everything floating is recorded, as they have no gradient."""
    before = [(m, "training", m.training) for _, m in model.named_modules()]
    changes: list[tuple[Any, str, Any]] = [(m, "training", False) for m, _, _ in before]
    if every:
        floating = [t for _, t in model.named_tensors() if t.dtype.kind == "f"]
        before += [(t, "_requires_grad", t._requires_grad) for t in floating]  # type: ignore[misc]
        changes += [(t, "_requires_grad", True) for t in floating]
    try:
        at_once(changes)
        yield
    finally:
        at_once(before)


@dataclass(frozen=True)
class _Trace:
    """A recorded forward: its input, the result, and the calls in between, oldest first."""

    x: np.ndarray
    leaf: Node | None  # the input as the tape knows it; indices it doesn't
    y: Node
    calls: list[Node]


def _trace(model: nn.Module, x: np.ndarray) -> _Trace:
    leaf = Tensor(x, requires_grad=True) if x.dtype.kind == "f" else None
    try:
        with recording():
            y = model(x.copy() if leaf is None else leaf)
    except Exception as error:
        error.add_note(f"in a forward of {x.dtype} {x.shape}, like the example; of indices, it is to hold integers")
        raise
    if not isinstance(y, Node):
        raise TypeError(f"onnx: the model returned a {type(y).__name__}, expected one Tensor")
    return _Trace(x, leaf, y, [node for node in tape((y,)) if node._parents])


# From tape to graph


@dataclass(frozen=True)
class _Value:
    """What a call computes with: its name in the graph, its shape in either run, its dtype."""

    name: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    dtype: np.dtype

    @property
    def ndim(self) -> int:
        return len(self.shapes[0])


class _Graph:
    """An ONNX graph as it grows, call by call."""

    def __init__(self, library: Any, model: nn.Module, traces: Sequence[_Trace]) -> None:
        self.library = library
        self.traces = a, b = traces
        self.nodes: list[Any] = []
        self.initializers: dict[int, tuple[str, np.ndarray]] = {}
        self.tensors = {id(t._data): name for name, t in model.named_tensors()}
        self.used = {"input", "output"}
        self.input = _Value("input", (a.x.shape, b.x.shape), a.x.dtype)
        self.values = {} if a.leaf is None else {a.leaf._order: self.input}
        if [node._primitive for node in a.calls] != [node._primitive for node in b.calls]:
            raise ValueError(
                f"onnx: batches of {len(a.x)} and of {len(b.x)} rows take different operators; what the forward "
                f"does must not depend on its input's numbers or size"
            )
        for calls in zip(a.calls, b.calls, strict=True):
            self.values[calls[0]._order] = _Call(self, *calls).translated()

    def free(self, name: str) -> str:
        """A name that nothing else has: the one given, or with a number."""
        free, k = name, 2
        while free in self.used:
            free, k = f"{name}_{k}", k + 1
        self.used.add(free)
        return free

    def add(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """A node of one result, which gets the name or one like it."""
        name = self.free(name)
        self.nodes.append(self.library.helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, array: np.ndarray) -> str:
        """An array that is written with the graph: once, where it is one of the model's Tensors."""
        if id(array) not in self.initializers:
            name = self.free(self.tensors.get(id(array), "constant"))
            self.initializers[id(array)] = name, array  # held: no other array gets this id
        return self.initializers[id(array)][0]

    def file(self, opset: int) -> Any:
        """The whole graph as ONNX's own message."""
        helper = self.library.helper
        last = self.values.get(self.traces[0].y._order)
        if last is None or (last is not self.input and not any("input" in node.input for node in self.nodes)):
            raise ValueError("onnx: the model's result doesn't depend on its input by recorded operators")
        self.nodes.append(helper.make_node("Identity", [last.name], ["output"]))
        ends = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), _axes(value))
            for name, value in (("input", self.input), ("output", last))
        ]
        from_array = self.library.numpy_helper.from_array
        held = [from_array(np.array(array, order="C"), name) for name, array in self.initializers.values()]
        version = helper.make_opsetid("", opset)
        return helper.make_model(
            helper.make_graph(self.nodes, "tinygrad_ce", ends[:1], ends[1:], held),
            opset_imports=[version],
            ir_version=helper.find_min_ir_version_for([version]),  # runtimes lag behind the newest
            producer_name="tinygrad_ce",
        )


def _axes(value: _Value) -> list[Any]:
    """The length of each axis; "batch" for as many as there are rows, None for what else goes with them."""
    return [n if n == m else "batch" if (n, m) == (2, 3) else None for n, m in zip(*value.shapes, strict=True)]


class _Call:
    """A recorded call in both runs, while it is translated. Called itself, it adds a node to the graph."""

    def __init__(self, graph: _Graph, a: Node, b: Node) -> None:
        self.graph = graph
        self.made = a._primitive
        self.nodes = a, b
        self.shapes = a._data.shape, b._data.shape
        self.dtype = a._data.dtype

    def translated(self) -> _Value:
        """The value of the call's result."""
        known = getattr(registry.get(self.made.name), "primitive", None) is self.made
        rule = _OPERATORS.get(self.made.name) if known else None
        if rule is None:
            raise self.refused("has no translation to ONNX here")
        count = len(self.nodes[0]._arguments) - self.made.keeps
        name = rule(self, *(self.argument(i) for i in range(count)))
        return _Value(name, self.shapes, self.dtype)

    def refused(self, why: str) -> NotImplementedError:
        """An error that names the operator."""
        count = len(self.nodes[0]._arguments) - self.made.keeps
        return NotImplementedError(f"onnx: {self.made.describe(self.nodes[0]._arguments[:count])} {why}")

    def argument(self, i: int) -> Any:
        """An operand as a value, an option as it is."""
        parents = [dict(node._parents).get(i) for node in self.nodes]
        if parents[0] is not None and parents[0]._order in self.graph.values:
            return self.graph.values[parents[0]._order]
        a, b = (node._arguments[i] for node in self.nodes)
        traces = self.graph.traces
        if isinstance(a, np.ndarray) and np.array_equal(a, traces[0].x) and np.array_equal(b, traces[1].x):
            return self.graph.input
        if self.made.name in _SHAPES and i:
            return None
        if not _same(a, b):
            raise ValueError(
                f"onnx: {self.made.argument(i)} of {self.made.describe(self.nodes[0]._arguments)} depends on the "
                f"batch's numbers or size by other ways than recorded operators, and would be frozen"
            )
        if a is None or not self.made.differentiable(i):
            return a
        held = a if isinstance(a, np.ndarray) else np.asarray(a, self.dtype)
        return _Value(self.graph.constant(held), (held.shape, held.shape), held.dtype)

    def __call__(self, op: str, *inputs: Any, **attributes: Any) -> str:
        return self.graph.add(op, [self.operand(x) for x in inputs], self.made.name, **attributes)

    def operand(self, x: Any) -> str:
        """The name of an input of a node: NumPy's promotion to the result's dtype is a Cast in ONNX."""
        if isinstance(x, _Value):
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

    def axis(self, x: _Value, axis: Any) -> int:
        """The one axis that operators in ONNX take."""
        axes = range(x.ndim) if axis is None else np.atleast_1d(axis).tolist()
        if len(axes) != 1:
            raise self.refused("has no translation to ONNX but along one axis")
        return int(axes[0])

    def reshaped(self, x: _Value | str, before: Any) -> str:
        """x in the result's shape. An axis that goes with the batch is one of before's, or the only one."""
        sizes = []
        for i, pair in enumerate(zip(*self.shapes, strict=True)):
            kept = all(shape[i : i + 1] == (n,) for shape, n in zip(before, pair, strict=True))
            sizes.append(pair[0] if pair[0] == pair[1] else 0 if kept else -1)
        if sizes.count(-1) > 1:
            raise self.refused("makes several axes that go with the batch")
        return self("Reshape", x, np.array(sizes, np.int64))

    def masked(self, x: _Value, where: Any) -> _Value | str:
        """Logits with -inf where the mask is False."""
        return x if where is None else self("Where", np.asarray(where, bool), x, self.number(-np.inf))


def _same(a: Any, b: Any) -> bool:
    """Whether an argument is the same in both runs."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a is b or (a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b)


Rule = Callable[..., str]


def _elementwise(op: str) -> Rule:
    return lambda c, *operands: c(op, *operands)


def _reduction(op: str) -> Rule:
    return lambda c, x, axis, keepdims: c(
        op, x, *c.axes(axis), keepdims=int(keepdims), noop_with_empty_axes=int(axis is not None)
    )


def _along(op: str) -> Rule:
    return lambda c, x, axis, where: c(op, c.masked(x, where), axis=c.axis(x, axis))


def _linear(c: _Call, x: _Value, weight: _Value, bias: _Value | None) -> str:
    if x.ndim == 2:
        return c("Gemm", x, weight, *([] if bias is None else [bias]), transB=1)
    y = c("MatMul", x, c("Transpose", weight, perm=[1, 0]))
    return y if bias is None else c("Add", y, bias)


def _clip(c: _Call, x: _Value, low: Any, high: Any) -> str:
    y: Any = x
    for op, bound in (("Max", low), ("Min", high)):
        y = y if bound is None else c(op, y, c.number(bound))
    return y if isinstance(y, str) else c("Identity", y)


def _conv(c: _Call, x: _Value, weight: _Value, bias: _Value | None, stride: Any, padding: Any) -> str:
    operands = [x, weight] if bias is None else [x, weight, bias]
    return c("Conv", *operands, strides=_pair(stride), pads=_pair(padding) * 2, kernel_shape=list(weight.shapes[0][2:]))


def _max_pool(c: _Call, x: _Value, size: Any, stride: Any) -> str:
    return c("MaxPool", x, kernel_shape=_pair(size), strides=_pair(size if stride is None else stride))


def _pair(value: Any) -> list[int]:
    return list(value) if isinstance(value, list | tuple) else [value, value]


def _take(c: _Call, x: Any, indices: Any, axis: int | None) -> str:
    index = indices.name if isinstance(indices, _Value) else np.asarray(indices, np.int64)
    return c("Gather", x if axis is not None else c("Reshape", x, np.array([-1])), index, axis=axis or 0)


def _transposed(c: _Call, x: _Value, *order: Any) -> str:
    """Any order of axes, as NumPy's own function of the call's name makes it of an array of the same axes."""
    axes = np.empty((1,) * x.ndim)
    strided = np.lib.stride_tricks.as_strided(axes, strides=tuple(range(x.ndim)))
    return c("Transpose", x, perm=list(getattr(np, c.made.name)(strided, *order).strides))


def _getitem(c: _Call, x: _Value, index: Any) -> str:
    """Slices cut, integers too; what is left out or new is then a matter of shape."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if not all(part is None or part is ... or isinstance(part, int | np.integer | slice) for part in parts):
        raise c.refused("has no translation to ONNX but for integers, slices, None and ...")
    count = sum(part is not None and part is not ... for part in parts)
    at = parts.index(...) if any(part is ... for part in parts) else len(parts)
    parts[at : at + 1] = [slice(None)] * (x.ndim - count)
    cuts: list[tuple[int, int, int, int]] = []
    for axis, part in enumerate(part for part in parts if part is not None):
        if isinstance(part, slice):
            step = 1 if part.step is None else int(part.step)
            ends = (0, _LONGEST) if step > 0 else (_LONGEST, -_LONGEST)
            start, stop = (end if n is None else int(n) for n, end in zip((part.start, part.stop), ends, strict=True))
        else:
            start, stop, step = int(part), int(part) + 1 or _LONGEST, 1
        if (start, stop, step) != (0, _LONGEST, 1):
            cuts.append((start, stop, axis, step))
    y = c("Slice", x, *np.array(cuts, np.int64).T.copy()) if cuts else x
    return c.reshaped(y, x.shapes)


def _broadcast(c: _Call, x: _Value, _: Any) -> str:
    sizes = [n if n == m else 1 for n, m in zip(*c.shapes, strict=True)]  # 1 leaves an axis as long as it is
    return c("Expand", x, np.array(sizes, np.int64))


# Those whose second argument is a shape, of which the batch is a part.
_SHAPES = {"reshape", "broadcast_to"}

_OPERATORS: dict[str, Rule] = {
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
    "reshape": lambda c, x, _: c.reshaped(x, x.shapes),
    "silu": lambda c, x: c("Mul", x, c("Sigmoid", x)),
    "softmax": _along("Softmax"),
    "square": lambda c, x: c("Mul", x, x),
    "squeeze": lambda c, x, axis: c.reshaped(x, x.shapes),
    "swapaxes": _transposed,
    "take": _take,
    "transpose": _transposed,
    "where": lambda c, condition, a, b: c("Where", np.asarray(condition, bool), a, b),
}  # fmt: skip


def _check_answer(file: Any, x: np.ndarray, expected: np.ndarray) -> None:
    """Run what is about to be written, in ONNX's reference evaluator, against the model's own answer."""
    with np.errstate(all="ignore"):
        (y,) = _extra("onnx.reference", "onnx").ReferenceEvaluator(file).run(None, {"input": x})
    close = math.sqrt(np.finfo(expected.dtype).eps) if expected.dtype.kind == "f" else 0
    if y.shape != expected.shape or y.dtype != expected.dtype or not np.allclose(
        y, expected, rtol=close, atol=close * float(np.abs(expected).max(initial=0, where=np.isfinite(expected))),
        equal_nan=True,
    ):  # fmt: skip
        raise ValueError(
            f"onnx: for one row the graph gives {y.dtype} {y.shape}, and the model {expected.dtype} {expected.shape} "
            f"with other numbers or another shape; does its forward depend on the size of the batch?"
        )
