"""A model's forward as the tape records it, in evaluation and on batches of several sizes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce import nn
from tinygrad_ce.engine.atomic import at_once
from tinygrad_ce.engine.constants import plain
from tinygrad_ce.engine.node import Node, recording
from tinygrad_ce.engine.reverse import tape
from tinygrad_ce.tensor import Tensor


def batches(model: nn.Module, example: Any) -> list[np.ndarray]:
    """Batches of 1, 2 and 3 inputs like the example, in the model's dtype; indices as 64-bit integers."""
    dtype = next((t.dtype for _, t in model.named_tensors() if t.dtype.kind == "f"), np.dtype(np.float32))
    example = _like_first(model) if example is None else example
    given = plain(example, "example")
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
    elif len(values) < 2:  # zeros, say, which stand for any numbers
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
def evaluation(model: nn.Module, every: bool) -> Iterator[None]:
    """The model in evaluation. Where indices come in, which have no gradient, every floating Tensor is recorded."""
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


class Forward(NamedTuple):
    """A recorded forward: its input, the result, and the calls in between, oldest first."""

    x: np.ndarray
    leaf: Node | None  # the input as the tape knows it; indices it doesn't
    y: Node
    calls: list[Node]


def recorded(model: nn.Module, x: np.ndarray) -> Forward:
    """The forward of one batch."""
    leaf = Tensor(x, requires_grad=True) if x.dtype.kind == "f" else None
    try:
        with recording():
            y = model(x.copy() if leaf is None else leaf)
    except Exception as error:
        error.add_note(f"in a forward of {x.dtype} {x.shape}, like the example; of indices, it is to hold integers")
        raise
    if not isinstance(y, Node):
        raise TypeError(f"onnx: the model returned a {type(y).__name__}, expected one Tensor")
    return Forward(x, leaf, y, [node for node in tape((y,)) if node._parents])
