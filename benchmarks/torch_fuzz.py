"""Random programs and random losses, by this package and by PyTorch: values, gradients and second derivatives.

A program is drawn by its number, as in ``random_graphs``, from the operators that both have; a loss is a program of one
instruction. Both must find nan and infinities in the same places, and other numbers within BASE eps of the largest of
their array, eps being that of the least precise dtype. Where that is not enough, PyTorch runs again with all values and
gradients on the way moved by NOISE eps: rounding may do to a result four times what that does.

A program that still differs is looked at instruction by instruction, each alone with the numbers and the gradient from
above that it had in the program. Every one that differs must be a case of the table NAMED, else it is reported.
"""

from __future__ import annotations

import argparse
import collections
import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinygrad_ce as tg
from benchmarks import turns
from benchmarks.random_graphs import (
    Draw,
    Instruction,
    Program,
    alone,
    along,
    an_index,
    both,
    draw_einsum,
    draw_instructions,
    draw_where,
    rows_at,
    several,
    shaped,
)  # fmt: skip
from tinygrad_ce.engine.primitive import registry
from tinygrad_ce.transforms import gradients

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    raise SystemExit("benchmarks.torch_fuzz: torch is not installed: pip install -e '.[bench]'") from None

BASE, NOISE = 32, 8  # in eps, as above
Arrays = list[np.ndarray]


class Operator(NamedTuple):
    """An operator or a loss as programs call it: operands first, then options by name."""

    plain: Callable[..., Any]  # this package's, of Tensors and of arrays
    theirs: Callable[..., Any]
    draw: Callable[..., Any]  # an operator's as in random_graphs; a loss's makes leaves and options, of a generator


# The operators


def op(name: str, theirs: Any = None, draw: Any = None, plain: Any = None) -> tuple[str, Operator]:
    return name, Operator(plain or getattr(tg, name), theirs or getattr(torch, name), draw or alone())


def reducing(theirs: Any) -> Any:
    """A reduction of PyTorch's with NumPy's axis: None is all, -1 an axis even of a single number."""

    def reduce(x: Any, axis: Any, keepdims: bool = False, **options: Any) -> Any:
        dims = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        return theirs(x, dim=dims, keepdim=keepdims, **options)

    return reduce


def promoting(theirs: Any) -> Any:
    """A product of PyTorch's, of operands in their common dtype."""

    def product(a: Any, b: Any, **options: Any) -> Any:
        dtype = torch.promote_types(a.dtype, b.dtype)
        return theirs(a.to(dtype), b.to(dtype), **options)

    return product


def prod(x: Any, dim: Any, keepdim: bool) -> Any:
    """PyTorch's takes one axis at a time."""
    for axis in sorted((d % x.ndim for d in dim), reverse=True):
        x = torch.prod(x, axis, keepdim=keepdim)
    return x


def taken(x: Any, index: Any) -> Any:
    """x[index] by the places in the flattened x: PyTorch's own index can't step backwards."""
    return x.reshape(-1)[torch.from_numpy(np.array(np.arange(x.numel()).reshape(x.shape)[index]))]


def layer_norm(x: Any, weight: Any) -> Any:
    layer = tg.nn.LayerNorm(weight.shape, bias=False)
    layer.weight = weight
    return layer(x)


def total(*values: Any, weights: Any, add: Any, convert: Any) -> Any:
    return functools.reduce(add, [(v * convert(w, v.dtype)).sum() for v, w in zip(values, weights, strict=True)])


OUR_TOTAL = functools.partial(total, add=tg.add, convert=lambda w, dtype: w.astype(dtype))
THEIR_TOTAL = functools.partial(total, add=torch.add, convert=lambda w, dtype: torch.tensor(np.array(w), dtype=dtype))

OPERATORS = dict([
    *[op(name, draw=both()) for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")],
    op("power", lambda x, b: x**b, alone(b=(0, 1, 2, 3, -1.0, 0.5))), op("exponent", torch.pow, both(), tg.power),
    op("xlogy", torch.special.xlogy, both()), op("xlog1py", torch.special.xlog1py, both()),
    *[op(name) for name in ("negative", "abs", "square", "sqrt", "exp", "expm1", "log", "log1p", "sin", "cos", "tanh",
                            "sigmoid", "relu")],
    op("softplus", lambda x: torch.logaddexp(x, torch.zeros((), dtype=x.dtype))),
    op("logsigmoid", F.logsigmoid), op("silu", F.silu), op("normal_cdf", torch.special.ndtr),
    op("leaky_relu", F.leaky_relu, alone(negative_slope=(0.01, 0.5))),
    op("gelu", F.gelu, alone(approximate=("none", "tanh"))),
    op("clip", torch.clamp, alone(min=(None, -0.5, 0.0), max=(0.5, 1.0))),
    op("where", lambda a, b, condition: torch.where(torch.tensor(condition), a, b), draw_where,
       lambda a, b, condition: tg.where(condition, a, b)),
    op("astype", lambda x, dtype: x.to(getattr(torch, dtype)), alone(dtype=("float32", "float64"))),
    # reductions
    *[op(name, reducing(theirs), along(whole=True, keepdims=(True, False))) for name, theirs in {
        "sum": torch.sum, "mean": torch.mean, "prod": prod, "max": torch.amax, "min": torch.amin,
        "logsumexp": torch.logsumexp}.items()],
    *[op(name, lambda x, axis, keepdims, ddof, theirs=theirs: reducing(theirs)(x, axis, keepdims, correction=ddof),
         along(lambda x: x.shape[-1] > 1, whole=True, keepdims=(True, False), ddof=(0, 1)))
      for name, theirs in {"var": torch.var, "std": torch.std}.items()],
    op("cumsum", draw=along()),
    # the softmax family, products and layers
    op("softmax", draw=along()), op("log_softmax", draw=along()),
    op("softmin", lambda x, axis: F.softmin(x, axis), along()),
    op("matmul", promoting(torch.matmul), both(
        lambda a, b: a.shape[-1] == b.shape[max(b.ndim - 2, 0)], least=1, second=1)),
    op("outer", lambda a, b: torch.outer(a.reshape(-1), b.reshape(-1)), both(lambda a, b: a.size * b.size <= 48)),
    op("einsum", promoting(lambda a, b, subscripts: torch.einsum(subscripts, a, b)), draw_einsum,
       lambda a, b, subscripts: tg.einsum(subscripts, a, b)),
    op("linear", promoting(F.linear), both(lambda x, w: w.ndim == 2 and x.shape[-1] == w.shape[1], least=1, second=2)),
    op("layer_norm", promoting(lambda x, w: F.layer_norm(x, w.shape, w)),
       both(lambda x, w: w.ndim == 1 and x.shape[-1] == w.shape[0] > 1, least=1, second=1), layer_norm),
    op("conv2d", promoting(F.conv2d), both(lambda x, w: w.ndim == 4 and x.shape[1] == w.shape[1], least=4, second=4,
                                           stride=(1, 2, (2, 1)), padding=(0, 1))),
    op("max_pool2d", F.max_pool2d, alone(lambda x: x.ndim == 4, 4, kernel_size=(1, 2, (2, 1)), stride=(None, 1))),
    op("embedding", lambda x, labels: F.embedding(torch.from_numpy(labels), x), shaped(rows_at, least=2, most=2),
       lambda x, labels: tg.embedding(labels, x)),
    # shapes and pieces
    op("reshape", torch.reshape,
       shaped(lambda d, shape: {"shape": d.among((-1,), (*shape, 1), shape[::-1])})),
    op("transpose", lambda x, axes: x.permute(axes),
       shaped(lambda d, shape: {"axes": tuple(d.rng.permutation(len(shape)).tolist())})),
    op("swapaxes", lambda x, axis1, axis2: x.swapaxes(axis1, axis2),
       shaped(lambda d, shape: {"axis1": 0, "axis2": -1}, least=1)),
    op("expand_dims", lambda x, axis: x.unsqueeze(axis), alone(axis=(0, -1))), op("squeeze"),
    op("broadcast_to", lambda x, shape: x.broadcast_to(shape),
       shaped(lambda d, shape: {"shape": (2, *(3 if n == 1 else n for n in shape))})),
    op("flip", lambda x, axis: reducing(lambda x, dim, keepdim: x.flip(dim))(x, axis), along(whole=True)),
    op("pad", lambda x, pad_width: F.pad(x, (pad_width,) * 2 * x.ndim), alone(least=1, pad_width=(1,))),
    op("concatenate", lambda *arrays, axis: torch.cat(arrays, axis), several(same=False),
       lambda *arrays, axis: tg.concatenate(arrays, axis)),
    op("stack", lambda *arrays, axis: torch.stack(arrays, axis), several(same=True),
       lambda *arrays, axis: tg.stack(arrays, axis)),
    op("take", lambda x, indices: torch.take(x, torch.from_numpy(indices)),
       shaped(lambda d, shape: {"indices": d.rng.integers(0, int(np.prod(shape)), (2, 3))})),
    op("getitem", taken, shaped(lambda d, shape: {"index": an_index(d, shape)}, least=1)),
    op("scatter", lambda x, index, shape: torch.zeros(shape, dtype=x.dtype).index_put(
        (torch.from_numpy(index),), x, accumulate=True),
       shaped(lambda d, shape: {"index": d.rng.integers(0, 5, shape), "shape": (5,)}, least=1), registry["scatter"]),
    op("total", THEIR_TOTAL, None, OUR_TOTAL),
])  # fmt: skip


def draw_program(number: int) -> Program:
    """Half of the programs have tame numbers, a third few different ones, so that they tie, the others nan and inf."""
    rng = np.random.default_rng([0, number])
    kind = ("tame", "tame", "tame", "ties", "ties", "wild")[number % 6]
    shapes = [(), (3,), (2, 3), (3, 2), (3, 3), (2, 1), (2, 2, 3), (1, 3), (4,)]
    if rng.random() < 0.2:
        shapes = [(1, 2, 3, 3), (2, 1, 4, 3), (2, 2, 2, 2), (1, 1, 2, 3), (3,)]
    dtypes = [("float64",), ("float32",), ("float64", "float32")][rng.choice(3, p=[0.4, 0.45, 0.15])]
    leaves = []
    for _ in range(rng.integers(1, 6)):
        x = rng.uniform(-1.5, 1.5, shapes[rng.integers(len(shapes))]) * rng.choice([1, 1, 5])
        x = np.round(2 * x) / 2 if kind == "ties" else x
        if kind == "wild":
            x = np.where(rng.random(x.shape) < 0.3, rng.choice([0, -0.0, 1, np.inf, -np.inf, np.nan], x.shape), x)
        x = np.asarray(x, dtypes[rng.integers(len(dtypes))])
        leaves.append(x.T if rng.random() < 0.2 and x.ndim == 2 else x)
    tame = {"tame": lambda v: np.abs(v).max() <= 10, "ties": lambda v: np.isfinite(v).all(), "wild": lambda v: True}
    return Program(leaves, 0, draw_instructions(Draw(rng, leaves), 12, OPERATORS, tame[kind]))


# The losses


def class_axis(x: Any, axis: Any) -> Any:
    return min(1, x.ndim - 1) if axis is None else axis


def draw_logits(rng: Any) -> tuple[np.ndarray, Any]:
    """Logits of few or no rows, large ones and masked ones among them, and the axis of their classes."""
    rows = [(), (int(rng.choice([0, 1, 2, 5])),), (2, 2), (2, 1, 3)][rng.choice(4, p=[0.1, 0.6, 0.2, 0.1])]
    axis = int(rng.integers(len(rows) + 1)) if rng.random() < 0.3 else None
    where = min(1, len(rows)) if axis is None else axis
    x = rng.standard_normal((*rows[:where], rng.integers(1, 7), *rows[where:])) * rng.choice([1, 1, 10, 60])
    x = np.round(2 * x) / 2 if rng.random() < 0.2 else x + rng.choice([0, 0, 0, 1000])
    if rng.random() < 0.25:
        x[rng.random(x.shape) < 0.3] = -np.inf
    return x.astype(rng.choice(["float32", "float64"])), axis


def some_weights(rng: Any, count: int) -> Any:
    return None if rng.random() < 0.6 else rng.choice([0, 0.5, 1.0, 3.0], count)


def draw_index(rng: Any, first: Any = None, weighted: bool = True, **more: Any) -> Any:
    """Logits, or what ``first`` makes of them, and class indices, of which some or all are ignored."""
    x, axis = draw_logits(rng)
    where = class_axis(x, axis)
    target = np.asarray(rng.integers(0, x.shape[where], np.delete(x.shape, where)))
    options = {"axis": axis, "reduction": rng.choice(["mean", "sum", "none"]).item()}
    if weighted:
        options |= {"ignore_index": int(rng.choice([-100, -100, -1, 0])), "weight": some_weights(rng, x.shape[where])}
        ignored = rng.random(target.shape) < rng.choice([0, 0.3, 1], p=[0.6, 0.3, 0.1])
        target = np.where(ignored, options["ignore_index"], target)
    options |= {"target": target} | {name: rng.choice(values).item() for name, values in more.items()}
    return [x if first is None else first(x, where)], options


def draw_soft(rng: Any, first: Any = None, **options: Any) -> Any:
    """Logits, or what is made of them, and soft targets, zeros and rows without a unit sum among them."""
    (x,), options = draw_index(rng, first, **options)
    y = rng.random(x.shape) * rng.integers(0, 2, x.shape)
    return [x, y.astype(x.dtype)], {k: v for k, v in options.items() if k not in ("target", "ignore_index")}


def draw_kl(rng: Any) -> Any:
    (x, y), options = draw_soft(rng, tg.log_softmax, weighted=False)
    log_target = bool(rng.random() < 0.3)
    reduction = rng.choice([options["reduction"], "batchmean"]).item()
    y = np.log(y + 0.1).astype(x.dtype) if log_target else y
    return [x, y], {"reduction": reduction, "log_target": log_target}


def draw_z(rng: Any) -> Any:
    leaves, options = draw_index(rng, weighted=False)
    return leaves, {k: v for k, v in options.items() if k != "target"}


def draw_binary(rng: Any, probable: bool = False) -> Any:
    """Logits or probabilities, and targets from 0 to 1, both ends among them."""
    x, _ = draw_logits(rng)
    x = np.where(np.isinf(x), rng.choice([0, 30]), x)
    if probable:
        x = np.where(rng.random(x.shape) < 0.2, x > 0, rng.random(x.shape))
    y = np.where(rng.random(x.shape) < 0.5, rng.integers(0, 2, x.shape), rng.random(x.shape))
    names = ("weight",) if probable else ("weight", "pos_weight")
    dtype, options = rng.choice(["float32", "float64"]), {name: some_weights(rng, x.shape[-1]) for name in names}
    return [x.astype(dtype), y.astype(dtype)], options | {"reduction": rng.choice(["mean", "sum", "none"]).item()}


def draw_linear(rng: Any) -> Any:
    """Rows of features and the weights of a layer, and class indices."""
    _, options = draw_index(rng, label_smoothing=(0, 0.1))
    target, classes = options["target"].reshape(-1), 6
    dtype = rng.choice(["float32", "float64"])
    leaves = [2 * rng.standard_normal(shape).astype(dtype) for shape in ((len(target), 3), (classes, 3))]
    return leaves, options | {"target": target, "weight": some_weights(rng, classes)}


def probabilities(x: Any, axis: Any) -> Any:
    return tg.softmax(np.nan_to_num(x, neginf=-5), axis)


def by_class(theirs: Any) -> Any:
    """A loss of PyTorch's, which has the classes second; soft targets are operands, class indices an option."""

    def loss(x: Any, *soft: Any, axis: Any = None, target: Any = None, weight: Any = None, **options: Any) -> Any:
        x, *soft = (v.movedim(class_axis(x, axis), min(1, x.ndim - 1)).contiguous() for v in (x, *soft))
        if weight is not None:
            options["weight"] = torch.tensor(weight, dtype=x.dtype)
        return theirs(x, *soft, **options) if target is None else theirs(x, torch.from_numpy(target), **options)

    return loss


def elementwise(theirs: Any) -> Any:
    """A loss of PyTorch's with weights, arrays here."""

    def loss(x: Any, y: Any, reduction: str, **weights: Any) -> Any:
        found = {name: torch.tensor(w, dtype=x.dtype) for name, w in weights.items() if w is not None}
        return theirs(x, y, reduction=reduction, **found)

    return loss


# Losses that PyTorch has not, made of its operators


def reduced(loss: Any, reduction: str) -> Any:
    return loss if reduction == "none" else getattr(loss, reduction)()


def focal(x: Any, target: Any, gamma: float, ignore_index: int, reduction: str, weight: Any = None) -> Any:
    nll = F.cross_entropy(x, target, ignore_index=ignore_index, reduction="none")
    ignored = target == ignore_index
    w = torch.ones(x.shape[min(1, x.ndim - 1)], dtype=x.dtype) if weight is None else weight
    w = torch.where(ignored, 0, w[torch.where(ignored, 0, target)])
    loss = (-torch.expm1(-nll)) ** gamma * nll * w
    return loss.sum() / w.sum() if reduction == "mean" else reduced(loss, reduction)


def categorical(p: Any, y: Any, reduction: str) -> Any:
    axis = min(1, p.ndim - 1)
    soft = y.is_floating_point()
    terms = torch.special.xlogy(y, p) if soft else torch.log(p.gather(axis, y.unsqueeze(axis)))
    return reduced(-terms.sum(axis), reduction)


def z_loss(x: Any, reduction: str) -> Any:
    return reduced(torch.logsumexp(x, min(1, x.ndim - 1)) ** 2, reduction)


SMOOTHING = (0, 0, 0.1, 0.5)
LOSSES = dict([
    op("cross_entropy", by_class(F.cross_entropy), functools.partial(draw_index, label_smoothing=SMOOTHING)),
    op("soft_cross_entropy", by_class(F.cross_entropy), functools.partial(draw_soft, label_smoothing=SMOOTHING),
       tg.cross_entropy),
    op("nll_loss", by_class(F.nll_loss), functools.partial(draw_index, first=tg.log_softmax)),
    op("linear_cross_entropy", lambda x, w, axis, **options: by_class(F.cross_entropy)(F.linear(x, w), **options),
       draw_linear, lambda x, w, axis, **options: tg.linear_cross_entropy(x, w, **options)),
    op("focal_loss", by_class(focal), functools.partial(draw_index, gamma=(0.0, 0.5, 1.0, 2.0))),
    op("categorical_cross_entropy", by_class(categorical),
       functools.partial(draw_index, first=probabilities, weighted=False)),
    op("soft_categorical_cross_entropy", by_class(categorical),
       functools.partial(draw_soft, first=probabilities, weighted=False), tg.categorical_cross_entropy),
    op("kl_div", F.kl_div, draw_kl),
    op("z_loss", by_class(z_loss), draw_z),
    op("binary_cross_entropy_with_logits", elementwise(F.binary_cross_entropy_with_logits), draw_binary),
    op("binary_cross_entropy", elementwise(F.binary_cross_entropy), functools.partial(draw_binary, probable=True)),
])  # fmt: skip


def draw_loss(number: int) -> Program:
    """Each loss in its turn."""
    rng = np.random.default_rng([1, number])
    name = list(LOSSES)[number % len(LOSSES)]
    leaves, options = LOSSES[name].draw(rng)
    places = tuple(range(len(leaves)))
    shape = np.shape(LOSSES[name].plain(*leaves, **options))
    end = Instruction("total", (len(leaves),), {"weights": [rng.uniform(0.5, 1.5, shape)]})
    return Program(leaves, 0, [Instruction(name, places, options), end])


DRAWS = {"program": draw_program, "loss": draw_loss}
ALL = OPERATORS | LOSSES


# Both ways through a program: the values, the gradients of the leaves and, with directions, the second derivatives


def by_us(program: Program, directions: Arrays) -> tuple[Arrays, Arrays]:
    """All of them, and the gradient in every value."""
    values: list[Any] = [tg.Tensor(x, requires_grad=True) for x in program.leaves]
    for name, places, options in program.instructions:
        values.append(ALL[name].plain(*(values[k] for k in places), **options))
    leaves = values[: len(program.leaves)]
    slopes = tg.grad(values[-1], values, create_graph=bool(directions))
    found = [x.data for x in values[len(leaves) : -1]] + [g.data for g in slopes[: len(leaves)]]
    if directions:
        slope = OUR_TOTAL(*slopes[: len(leaves)], weights=directions)
        twice = gradients([slope], leaves, [None], False) if slope.requires_grad else [None] * len(leaves)
        found += [np.zeros_like(x) if g is None else g.data for x, g in zip(program.leaves, twice, strict=True)]
    return found, [g.data for g in slopes]


def by_them(program: Program, directions: Arrays, dtype: Any = None, noise: int = 0) -> Arrays:
    """All of them; with another dtype, or with noise, a number that draws it."""
    leaves = [torch.from_numpy(np.array(x)).to(dtype).requires_grad_() for x in program.leaves]
    values = [moved(x, noise) for x in leaves] if noise else list(leaves)
    for name, places, options in program.instructions:
        value = ALL[name].theirs(*(values[k] for k in places), **options)
        if noise:
            value.register_hook(lambda g: moved(g, noise))
            value = moved(value, noise)
        values.append(value)
    settings = {"allow_unused": True, "materialize_grads": True}
    slopes = torch.autograd.grad(values[-1], leaves, create_graph=bool(directions), **settings)
    found = [*values[len(leaves) : -1], *slopes]
    slope = THEIR_TOTAL(*slopes, weights=directions) if directions else None
    if slope is not None:
        twice = torch.autograd.grad(slope, leaves, **settings) if slope.requires_grad else map(torch.zeros_like, leaves)
        found += twice
    return [x.numpy(force=True) for x in found]


def moved(x: Any, noise: int) -> Any:
    """x with its numbers moved by NOISE eps up or down, equal ones alike; small halves, as the bounds of clip, stay."""
    size = x.detach().abs()
    bits = size.contiguous().view(torch.int64 if x.dtype == torch.float64 else torch.int32)
    sign = (2 * ((bits * 40503 >> (5 + noise)) & 1) - 1).to(x.dtype)
    kept = (size <= 1) & (2 * size == (2 * size).round())
    return x * torch.where(kept, torch.ones_like(sign), 1 + sign * (NOISE * torch.finfo(x.dtype).eps))


# Agreement


class Difference(NamedTuple):
    """What both compute of a program, and differs."""

    program: Program
    directions: Arrays
    g: np.ndarray  # the gradient from above, where the program is one instruction; else the largest on the way
    ours: Arrays
    theirs: Arrays
    wrong: list[int]  # which of the arrays differ
    eps: float

    @property
    def name(self) -> str:
        return self.program.instructions[0].name if len(self.program.instructions) == 2 else "several"

    @property
    def option(self) -> dict[str, Any]:
        return self.program.instructions[0].options

    def only(self, places: Callable[[int, np.ndarray, np.ndarray], Any]) -> bool:
        """Whether nothing but rounding differs elsewhere than at places, a mask for an array by its number and both."""
        unit = 8 * self.eps * max(1.0, *map(largest, self.program.leaves))
        slope = unit * max(1.0, largest(self.g), *map(largest, self.theirs))
        for k in self.wrong:
            a, b = self.ours[k], self.theirs[k]
            elsewhere = ~np.broadcast_to(places(k, a, b), a.shape)
            if beyond(a[elsewhere], b[elsewhere], self.eps, slope if k else unit):
                return False
        return True


def compare(program: Program, directions: Arrays) -> tuple[Difference | None, Arrays]:
    """What differs, if anything, and the gradients on the way."""
    ours, slopes = by_us(program, directions)
    theirs = by_them(program, directions)
    eps = float(max(np.finfo(x.dtype).eps for x in program.leaves + ours))
    wrong = [k for k, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a.dtype != b.dtype or beyond(a, b, eps)]
    if wrong:
        noisy = [by_them(program, directions, noise=noise) for noise in range(1, 9)]
        slack = {k: 4 * max(largest(found[k] - theirs[k]) for found in noisy) for k in wrong}
        wrong = [k for k in wrong if ours[k].dtype != theirs[k].dtype or beyond(ours[k], theirs[k], eps, slack[k])]
    if not wrong:
        return None, slopes
    g = slopes[-2] if len(program.instructions) == 2 else np.array(max(map(largest, slopes)))
    return Difference(program, directions, g, ours, theirs, wrong, eps), slopes


def largest(x: np.ndarray) -> float:
    """The largest size of a finite number."""
    return float(np.abs(x[np.isfinite(x)]).max(initial=0))


def beyond(a: np.ndarray, b: np.ndarray, eps: float, slack: float = 0.0) -> bool:
    """Whether nan or infinities are in other places, or numbers further apart than a tolerance."""
    if not np.array_equal(np.where(np.isfinite(a), 0, a), np.where(np.isfinite(b), 0, b), equal_nan=True):
        return True  # so it is where they have not the same shape
    return largest(a.astype(float) - b) > BASE * eps * largest(b) + slack


def single(program: Program, values: Arrays, slopes: Arrays, made: int) -> Program:
    """The instruction that makes a value, with the numbers and the gradient from above that it had."""
    name, places, options = program.instructions[made - len(program.leaves)]
    end = Instruction("total", (len(places),), {"weights": [slopes[made]]})
    return Program([values[k] for k in places], 0, [Instruction(name, tuple(range(len(places))), options), end])


def start(program: Program, values: Arrays, made: int) -> Program:
    """The instructions up to the one that makes a value."""
    places = tuple(range(made + 1))
    end = Instruction("total", places, {"weights": [np.ones(values[k].shape) for k in places]})
    return Program(program.leaves, 0, [*program.instructions[: made + 1 - len(program.leaves)], end])


def differences(kind: str, number: int) -> list[Difference]:
    """The smallest programs in a program or loss that differ: single instructions, else its start, else all of it."""
    program = DRAWS[kind](number)
    rng = np.random.default_rng(number)
    second = number % 3 == 0 and all(np.isfinite(x).all() for x in program.leaves)

    def directions(program: Program) -> Arrays:
        return [rng.standard_normal(x.shape) for x in program.leaves] if second else []

    found, slopes = compare(program, directions(program))
    if found is None:
        return []
    values = program.leaves + found.ours
    made = range(len(program.leaves), len(slopes) - 1)
    parts = [single(program, values, slopes, k) for k in made]
    apart = [d for d, _ in (compare(part, directions(part)) for part in parts) if d]
    starts = (compare(start(program, values, k), directions(program))[0] for k in made)
    return apart or [next((d for d in starts if d), found)]


class Named(NamedTuple):
    """A case in which the two may differ."""

    name: str
    why: str
    right: str
    holds: Callable[[Difference], Any]


def precise(d: Difference) -> bool:
    """Whether ours, in float32, is what PyTorch finds in float64."""
    if d.eps < np.finfo(np.float32).eps:
        return False
    wide = [i._replace(options=i.options | {"dtype": "float64"} if i.name == "astype" else i.options)
            for i in d.program.instructions]  # fmt: skip
    double = by_them(d.program._replace(instructions=wide), d.directions, torch.float64)
    return not any(beyond(d.ours[k], double[k], d.eps) for k in d.wrong)


def of(*names: str, holding: Callable[[Any], Any] = lambda x: True) -> Callable[[Difference], bool]:
    """Whether it is one of these, with a number of a kind among its operands."""
    return lambda d: d.name in names and any(np.any(holding(x)) for x in d.program.leaves)


def second(d: Difference) -> bool:
    """Whether nothing but second derivatives differs."""
    return min(d.wrong) > len(d.program.leaves)


def unlike(x: Any) -> Any:
    return ~np.isfinite(x)


def theirs_nan(k: int, a: Any, b: Any) -> Any:
    return np.isnan(b)


def any_nan(k: int, a: Any, b: Any) -> Any:
    return np.isnan(a) | np.isnan(b)


def small_spread(d: Difference) -> bool:
    """Whether some numbers lie much closer together than to 0."""
    x = d.program.leaves[0]
    return bool((np.std(x, axis=d.option["axis"]) < 0.05 * np.abs(x).max()).any())


NAMED = [
    Named("float32 is rounded", "ours is what PyTorch finds in float64", "ours", precise),
    Named("digits cancel", "as in 1 - p of a confident row: PyTorch rounds it to 0, or both round", "ours, or both",
          lambda d: d.only(lambda k, a, b: False)),
    Named("clip at a bound", "a corner, where the slopes of either side will do", "both",
          lambda d: of("clip")(d) and d.only(
              lambda k, a, b: k == 1 and np.isin(d.program.leaves[0], (d.option["min"], d.option["max"])))),
    Named("a comparison with nan", "0, g and nan are conventions", "both",
          of("abs", "relu", "max", "min", "max_pool2d", "exponent", holding=np.isnan)),
    Named("nan or inf from above", "times 0, less inf, or left out where an operand had no part", "both",
          lambda d: len(d.program.instructions) == 2 and unlike(d.g).any() and d.only(any_nan)),
    Named("x log y at x = 0, nan, inf", "the slope in x is log y, even at y = 0; that in y is 0, not 0 / 0", "ours",
          of("xlogy", "xlog1py", "soft_categorical_cross_entropy", holding=lambda x: (x == 0) | unlike(x))),
    Named("a power's second derivative", "of base or exponent 0 PyTorch forgets a term; of a base < 0 there is none",
          "ours, or both", lambda d: of("exponent", holding=lambda x: x <= 0)(d) and second(d)),
    Named("a square root as a power", "PyTorch takes sqrt: -inf at -0, nan at -inf", "both",
          lambda d: of("power", holding=lambda x: (x == 0) | np.isinf(x))(d) and d.option["b"] == 0.5),
    Named("logsumexp of inf", "ours is nan for all numbers of the row, as softmax is", "both",
          of("logsumexp", holding=np.isinf)),
    Named("prod of nan or inf", "PyTorch divides the product by each factor: inf / inf", "ours",
          of("prod", holding=unlike)),
    Named("a small std's second derivative", "1 / std³ of digits that cancel; of equal numbers nan or infinite", "ours",
          lambda d: of("std")(d) and second(d) and small_spread(d)),
    Named("spread of infinite numbers", "less their mean: inf - inf, nan of all or of some", "both",
          of("var", "std", holding=np.isinf)),
    Named("kl_div at target 0", "the slope of y log y is -inf, where PyTorch has 0 / 0", "ours",
          lambda d: of("kl_div")(d) and d.only(lambda k, a, b: k > 0 and d.program.leaves[1] == 0)),
    Named("binary_cross_entropy", "PyTorch keeps log p above -100, and p (1 - p) above 1e-12", "ours",
          lambda d: of("binary_cross_entropy")(d) and (second(d) or np.isin(d.program.leaves[0], (0, 1)).any())),
    Named("what weighs nothing", "0 · inf of a masked class is nan with PyTorch", "ours",
          lambda d: of("cross_entropy", "soft_cross_entropy", "nll_loss", holding=np.isinf)(d) and d.only(theirs_nan)),
    Named("mean of no rows", "nan of both, whose gradient is 0 or nan", "both",
          lambda d: d.option.get("reduction") == "mean" and np.isnan(d.ours[0]) and d.only(any_nan)),
    Named("focal_loss of a certain row", "(1 - p)^γ has no finite slope at p = 1: 0 · inf of one of them", "not nan",
          lambda d: of("focal_loss")(d) and d.only(theirs_nan)),
    Named("a nan of PyTorch's, of no part alone", "it rounded to 0 what then divides, or is derived twice", "ours",
          lambda d: d.name == "several" and d.only(theirs_nan)),
]  # fmt: skip


def agreement(programs: range, losses: range) -> tuple[collections.Counter[Any], list[tuple[str, Difference]]]:
    """How many of each kind agree, how many have a named case, and what nothing explains, with its number."""
    counts: collections.Counter[Any] = collections.Counter()
    unexplained = []
    for kind, number in [("program", k) for k in programs] + [("loss", k) for k in losses]:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = differences(kind, number)
                names = [next((case.name for case in NAMED if case.holds(d)), "") for d in found]
            except Exception as error:
                error.add_note(f"in {kind}-{number}")
                raise
        counts.update([(kind, name or "unexplained") for name in set(names)] or [(kind, "agree")])
        unexplained += [(f"{kind}-{number}", d) for d, name in zip(found, names, strict=True) if not name]
    return counts, unexplained


def show(label: str, d: Difference) -> None:
    """The smallest program, and what both compute of it."""
    print(f"\n{label}: it differs in")
    for k, x in enumerate(d.program.leaves):
        print(f"  {k} = {x!r}")
    for k, (name, places, options) in enumerate(d.program.instructions, len(d.program.leaves)):
        print(f"  {k} = {name} of {', '.join(map(str, places))} {options or ''}")
    for k in d.wrong:
        kinds = [*["value"] * (len(d.program.instructions) - 1), *["gradient"] * len(d.program.leaves)]
        kind = kinds[k] if k < len(kinds) else "second derivative"
        print(f"  {kind}:\n{d.ours[k]!r} ours\n{d.theirs[k]!r} PyTorch's")


def main() -> int:
    """Print how many agree, the named cases and what is unexplained; exit code 1 if anything is."""
    parser = argparse.ArgumentParser("python -m benchmarks.torch_fuzz", description=__doc__)
    parser.add_argument("--programs", type=int, default=20_000, help="how many programs (%(default)s)")
    parser.add_argument("--losses", type=int, default=10_000, help="how many losses (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="300 programs and 150 losses")
    parser.add_argument("--only", metavar="N", help="show what differs of one: program-17, loss-4")
    args = parser.parse_args()
    torch.set_num_threads(1)
    programs, losses = range(300 if args.quick else args.programs), range(150 if args.quick else args.losses)
    if args.only:
        kind, _, number = args.only.partition("-")
        only = range(int(number), int(number) + 1)
        programs, losses = (only, range(0)) if kind == "program" else (range(0), only)
    counts, unexplained = agreement(programs, losses)
    print(
        f"tinygrad_ce and PyTorch {torch.__version__}: values and gradients of {len(programs):,} random programs and "
        f"{len(losses):,} random losses, and second derivatives of a third of them\n"
    )
    cases = [("agree", "", ""), *((case.name, case.right, case.why) for case in NAMED), ("unexplained", "", "")]
    rows = [[n, f"{counts['program', n]:,}", f"{counts['loss', n]:,}", right, why] for n, right, why in cases]
    print(turns.table(["outcome", "programs", "losses", "right", "why they differ"], rows))
    for label, d in unexplained[:10]:
        show(label, d)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
