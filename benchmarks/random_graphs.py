"""Gradients of random graphs, three ways: by the engine, by a reverse pass of ten lines, and by complex steps.

A graph is a list of instructions. The engine runs it on Tensors. Plain NumPy runs it on arrays and walks it backwards
with rules of its own, written here; and runs it on complex arrays, where Im f(x + ih) / h is a slope without any rule.
Values in between have their gradients compared too, and one graph in four its second derivatives.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce.engine.primitive import registry
from tinygrad_ce.transforms import gradients

TOLERANCE = 1e-9  # of a distance, as below
STEP = 1e-30
LARGEST, MOST = 4.0, 48  # of any value in a graph: its numbers, and how many there are


class Instruction(NamedTuple):
    """What makes a value: of the values at some places, which start with the leaves."""

    name: str
    places: tuple[int, ...]
    options: dict[str, Any]


class Program(NamedTuple):
    """Leaves, how many of them, the first ones, are variables, and instructions; the last value is a scalar."""

    leaves: list[np.ndarray]
    variables: int
    instructions: list[Instruction]


class Operator(NamedTuple):
    """An operator as programs call it: operands first, then options by name."""

    plain: Callable[..., Any]  # of arrays, complex ones too
    rule: Callable[..., Any]  # (g, y, *operands, **options): the gradient in each operand, broadcasting not undone
    engine: Callable[..., Any]
    draw: Callable[..., Any]  # of a Draw: the places of operands that fit, and options; None if it finds none


# Ways through a program


def execute(program: Program, leaves: list[Any], engine: bool = False) -> list[Any]:
    """Every value, by plain NumPy or by the engine's operators."""
    values = list(leaves)
    for name, places, options in program.instructions:
        run = OPERATORS[name].engine if engine else OPERATORS[name].plain
        values.append(run(*(values[place] for place in places), **options))
    return values


def reverse_pass(program: Program, leaves: list[np.ndarray]) -> list[np.ndarray]:
    """The gradient of the last value in every value."""
    values = execute(program, leaves)
    slopes = [np.zeros_like(value) for value in values]
    slopes[-1] = np.ones_like(values[-1])
    for made in reversed(range(len(leaves), len(values))):
        name, places, options = program.instructions[made - len(leaves)]
        found = OPERATORS[name].rule(slopes[made], values[made], *(values[place] for place in places), **options)
        for place, slope in zip(places, found, strict=True):
            slopes[place] = slopes[place] + summed_to(np.shape(values[place]), slope)
    return slopes


def summed_to(shape: tuple[int, ...], slope: Any) -> Any:
    """A gradient summed over the axes along which an operand was broadcast."""
    slope = np.sum(slope, axis=tuple(range(np.ndim(slope) - len(shape))))
    return np.sum(slope, axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True).reshape(shape)


def complex_steps(program: Program) -> list[np.ndarray]:
    """The gradient of the last value in each variable, a number at a time."""
    slopes = [np.zeros(x.shape) for x in program.leaves[: program.variables]]
    for k, slope in enumerate(slopes):
        for index in np.ndindex(slope.shape):
            leaves = list(program.leaves)
            leaves[k] = leaves[k].astype(complex)
            leaves[k][index] += STEP * 1j
            slope[index] = np.imag(execute(program, leaves)[-1]) / STEP
    return slopes


def second_reverse_pass(program: Program, directions: list[np.ndarray]) -> list[np.ndarray]:
    """The Hessian times directions of the variables: the complex step of the reverse pass."""
    leaves: list[np.ndarray] = [x + STEP * 1j * v for x, v in zip(program.leaves, directions, strict=False)]
    found = reverse_pass(program, leaves + program.leaves[program.variables :])
    return [np.imag(slope) / STEP for slope in found[: program.variables]]


# The operators


def spread(g: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """A reduction's gradient, to broadcast against its operand."""
    return g if keepdims or axis is None else np.expand_dims(g, axis)


def softmax(x: Any, axis: Any = -1) -> Any:
    e = np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)


def log_softmax(x: Any, axis: Any = -1) -> Any:
    return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))


def logsumexp(x: Any, axis: Any, keepdims: bool) -> Any:
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


def variance(x: Any, axis: Any, keepdims: bool) -> Any:
    return ((x - x.mean(axis=axis, keepdims=True)) ** 2).mean(axis=axis, keepdims=keepdims)


def variance_slope(x: Any, axis: Any) -> Any:
    """∂ variance / ∂ x: 2 (x - mean) / n."""
    centred = x - x.mean(axis=axis, keepdims=True)
    return 2 * centred / (x.size / centred.mean(axis=axis).size)


def larger(a: Any, b: Any) -> Any:
    return np.real(a) > np.real(b)


def maximum_along(x: Any, axis: int) -> Any:
    return np.take_along_axis(x, np.expand_dims(np.real(x).argmax(axis), axis), axis).squeeze(axis)


def maximum_rule(g: Any, y: Any, x: Any, axis: int) -> Any:
    slope = np.zeros(x.shape, np.result_type(g, x))
    np.put_along_axis(slope, np.expand_dims(np.real(x).argmax(axis), axis), np.expand_dims(g, axis), axis)
    return (slope,)


def class_losses(x: Any, target: Any, reduction: str) -> Any:
    """The cross-entropy of rows of logits, targets as one row of masses each."""
    losses = -(target * log_softmax(x)).sum(axis=-1)
    return losses if reduction == "none" else losses.sum() / (len(x) if reduction == "mean" else 1)


def class_slopes(g: Any, x: Any, target: Any, reduction: str) -> tuple[Any, Any]:
    g = g[:, None] if reduction == "none" else g / (len(x) if reduction == "mean" else 1)
    return g * (softmax(x) * target.sum(axis=-1, keepdims=True) - target), -g * log_softmax(x)


def added_at(shape: tuple[int, ...], index: Any, g: Any) -> Any:
    """Zeros with g added at an index, which may repeat."""
    slope = np.zeros(shape, g.dtype)
    np.add.at(slope, index, g)
    return slope


def matmul_rule(g: Any, y: Any, a: Any, b: Any) -> Any:
    """Vectors as matrices of one row or column."""
    left, right = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
    g = g.reshape(np.matmul(left, right).shape)
    da, db = np.einsum("...ik,...jk->...ij", g, right), np.einsum("...ij,...ik->...jk", left, g)
    return (summed_to(left.shape, da).reshape(a.shape), summed_to(right.shape, db).reshape(b.shape))


# Each subscripts' rules, subscripts too: of g with the other operand
EINSUMS = {
    "ij,kj->ik": ("ik,kj->ij", "ik,ij->kj"),
    "ij,ij->i": ("i,ij->ij", "i,ij->ij"),
    "i,j->ji": ("ji,j->i", "ji,i->j"),
    "ij,j": ("i,j->ij", "i,ij->j"),
}


def einsum_rule(g: Any, y: Any, a: Any, b: Any, subscripts: str) -> Any:
    left, right = EINSUMS[subscripts]
    return np.einsum(left, g, b), np.einsum(right, g, a)


def joined_rule(g: Any, y: Any, *arrays: Any, axis: int) -> Any:
    return np.split(g, np.cumsum([a.shape[axis] for a in arrays])[:-1], axis)


class Draw:
    """Draws a program: keeps the values so far, and picks operands among them."""

    def __init__(self, rng: np.random.Generator, leaves: list[np.ndarray]) -> None:
        self.rng, self.values = rng, list(leaves)

    def one(self, fits: Callable[[Any], Any] = lambda x: True, least: int = 0) -> Any:
        """The place of a value that fits, more often a late one; None if few tries find none."""
        for _ in range(6):
            back = int(len(self.values) * self.rng.random() ** (1 if self.rng.random() < 0.5 else 4))
            place = len(self.values) - 1 - back
            if self.values[place].ndim >= least and fits(self.values[place]):
                return place
        return None

    def two(self, fits: Callable[[Any, Any], Any], least: int = 0, second: int = 0) -> Any:
        """A pair of places whose values fit, one time in six the same one twice."""
        a = self.one(least=least)
        if a is None:
            return None
        x = self.values[a]
        if x.ndim >= second and self.rng.random() < 1 / 6 and fits(x, x):
            return a, a
        b = self.one(lambda y: fits(x, y), second)
        return None if b is None else (a, b)

    def axis(self, place: int) -> int:
        ndim = self.values[place].ndim
        return int(self.rng.integers(-ndim, ndim))

    def among(self, *options: Any) -> Any:
        return options[self.rng.integers(len(options))]

    def shape(self, place: int) -> tuple[int, ...]:
        return tuple(self.values[place].shape)


def broadcast(a: Any, b: Any) -> bool:
    """Whether shapes broadcast, to something small."""
    try:
        return bool(np.prod(np.broadcast_shapes(a.shape, b.shape)) <= MOST)
    except ValueError:
        return False


def apart(a: Any, b: Any) -> bool:
    """Whether a maximum of the two has no tie, nor nearly one."""
    return broadcast(a, b) and bool((np.abs(a - b) > 1e-3).all())


def alone(fits: Callable[[Any], Any] = lambda x: True, least: int = 0, **options: Any) -> Any:
    """Draws one operand, and one of the values of each option."""

    def draw(d: Draw) -> Any:
        place = d.one(fits, least)
        return None if place is None else ((place,), {name: d.among(*values) for name, values in options.items()})

    return draw


def both(fits: Callable[[Any, Any], Any] = broadcast, least: int = 0, second: int = 0, **options: Any) -> Any:
    """Draws two operands, and one of the values of each option."""

    def draw(d: Draw) -> Any:
        places = d.two(fits, least, second)
        return None if places is None else (places, {name: d.among(*values) for name, values in options.items()})

    return draw


def along(fits: Callable[[Any], Any] = lambda x: True, whole: bool = False, **options: Any) -> Any:
    """Draws one operand and an axis of it; with whole, None or all axes too."""

    def draw(d: Draw) -> Any:
        place = d.one(fits, least=1)
        if place is None:
            return None
        axis = d.axis(place)
        if whole and d.rng.random() < 0.3:
            axis = d.among(None, tuple(range(d.values[place].ndim)))
        return (place,), {"axis": axis} | {name: d.among(*values) for name, values in options.items()}

    return draw


def shaped(options: Callable[[Draw, tuple[int, ...]], Any], least: int = 0, most: int = 9) -> Any:
    """Draws one operand, and options that depend on its shape."""

    def draw(d: Draw) -> Any:
        place = d.one(lambda x: x.ndim <= most, least)
        return None if place is None else ((place,), options(d, d.shape(place)))

    return draw


def positive(x: Any) -> bool:
    return bool((x > 0.2).all())


def nonzero(x: Any) -> bool:
    return bool((np.abs(x) > 0.3).all())


def distinct(x: Any) -> bool:
    numbers = np.sort(x, axis=None)
    return bool((np.diff(numbers) > 1e-3).all())


def several(same: bool) -> Any:
    """Draws up to three operands and an axis to join them along: of the same shape, or but for that axis."""

    def draw(d: Draw) -> Any:
        first = d.one(least=1)
        if first is None:
            return None
        axis = d.axis(first)
        places = [first]
        for _ in range(d.rng.integers(1, 3)):
            rest = np.delete(d.shape(first), axis).tolist()
            fits = lambda y: y.shape == d.shape(first) if same else np.delete(y.shape, axis).tolist() == rest
            place = first if d.rng.random() < 1 / 6 else d.one(fits, least=d.values[first].ndim)
            if place is not None and d.values[place].ndim == d.values[first].ndim:
                places.append(place)
        return tuple(places), {"axis": axis}

    return draw


def an_index(d: Draw, shape: tuple[int, ...]) -> Any:
    """A slice, an integer, a mask or an array of indices, which may repeat."""
    kind = d.rng.integers(4)
    if kind == 0:
        return d.among(
            (Ellipsis, slice(None, None, -1)), (slice(0, 1),), (Ellipsis, None), (slice(None, None, 2), None)
        )
    if kind == 1:
        return (Ellipsis, int(d.rng.integers(-shape[-1], shape[-1])))
    if kind == 2:
        mask = d.rng.random(shape) < 0.6
        mask[(0,) * len(shape)] = True
        return mask
    return d.rng.integers(-shape[0], shape[0], int(d.rng.integers(1, 5)))


def draw_classes(d: Draw) -> Any:
    place = d.one(lambda x: x.ndim == 2 and (x < 0).any())  # what has a negative can't be taken for probabilities
    if place is None:
        return None
    rows, classes = d.shape(place)
    return (place,), {"target": d.rng.integers(0, classes, rows), "reduction": d.among("mean", "sum", "none")}


def draw_spread(d: Draw) -> Any:
    """An axis along which no numbers are nearly the same."""
    found = along(keepdims=(True, False))(d)
    return found and (found if variance(d.values[found[0][0]], **found[1]).min() > 0.05 else None)


def draw_where(d: Draw) -> Any:
    places = d.two(broadcast)
    if places is None:
        return None
    shape = np.broadcast_shapes(d.shape(places[0]), d.shape(places[1]))
    return places, {"condition": d.rng.random(shape) < 0.5}


def draw_einsum(d: Draw) -> Any:
    subscripts = d.among(*EINSUMS)
    terms = subscripts.partition("->")[0].split(",")

    def fits(a: Any, b: Any) -> bool:
        lengths = dict(zip(terms[0], a.shape, strict=True))
        return b.ndim == len(terms[1]) and all(lengths.get(c, n) == n for c, n in zip(terms[1], b.shape, strict=True))

    places = d.two(lambda a, b: a.ndim == len(terms[0]) and fits(a, b))
    return None if places is None else (places, {"subscripts": subscripts})


def rows_at(d: Draw, shape: tuple[int, ...]) -> Any:
    return {"labels": d.rng.integers(0, shape[0], 3)}


def onehot(x: Any, target: Any) -> Any:
    return np.eye(x.shape[-1])[target]


def op(name: str, plain: Any, rule: Any, draw: Any = None, engine: Any = None) -> tuple[str, Operator]:
    return name, Operator(plain, rule, engine or getattr(tg, name), draw or alone())


OPERATORS = dict([
    # elementwise
    op("add", np.add, lambda g, y, a, b: (g, g), both()),
    op("subtract", np.subtract, lambda g, y, a, b: (g, -g), both()),
    op("multiply", np.multiply, lambda g, y, a, b: (g * b, g * a), both()),
    op("divide", np.divide, lambda g, y, a, b: (g / b, -g * a / b**2),
       both(lambda a, b: broadcast(a, b) and nonzero(b))),
    op("maximum", lambda a, b: np.where(larger(a, b), a, b),
       lambda g, y, a, b: (np.where(larger(a, b), g, 0), np.where(larger(a, b), 0, g)), both(apart)),
    op("power", lambda x, b: x**b, lambda g, y, x, b: (g * b * x ** (b - 1),), alone(nonzero, b=(2, 3, -1.0))),
    op("exponent", lambda a, b: np.exp(b * np.log(a)), lambda g, y, a, b: (g * y * b / a, g * y * np.log(a)),
       both(lambda a, b: broadcast(a, b) and positive(a)), tg.power),
    op("xlogy", lambda a, b: a * np.log(b), lambda g, y, a, b: (g * np.log(b), g * a / b),
       both(lambda a, b: broadcast(a, b) and positive(b))),
    op("where", lambda a, b, condition: np.where(condition, a, b),
       lambda g, y, a, b, condition: (np.where(condition, g, 0), np.where(condition, 0, g)), draw_where,
       lambda a, b, condition: tg.where(condition, a, b)),
    op("negative", np.negative, lambda g, y, x: (-g,)),
    op("square", np.square, lambda g, y, x: (2 * x * g,)),
    op("sqrt", np.sqrt, lambda g, y, x: (g / (2 * np.sqrt(x)),), alone(positive)),
    op("exp", np.exp, lambda g, y, x: (g * np.exp(x),)),
    op("log", np.log, lambda g, y, x: (g / x,), alone(positive)),
    op("log1p", np.log1p, lambda g, y, x: (g / (1 + x),), alone(positive)),
    op("sin", np.sin, lambda g, y, x: (g * np.cos(x),)),
    op("cos", np.cos, lambda g, y, x: (-g * np.sin(x),)),
    op("tanh", np.tanh, lambda g, y, x: (g / np.cosh(x) ** 2,)),
    op("sigmoid", lambda x: 1 / (1 + np.exp(-x)), lambda g, y, x: (g * np.exp(-x) / (1 + np.exp(-x)) ** 2,)),
    op("softplus", lambda x: np.log(1 + np.exp(x)), lambda g, y, x: (g / (1 + np.exp(-x)),)),
    op("silu", lambda x: x / (1 + np.exp(-x)),
       lambda g, y, x: (g * (1 + np.exp(-x) * (1 + x)) / (1 + np.exp(-x)) ** 2,)),
    op("relu", lambda x: np.where(larger(x, 0), x, 0), lambda g, y, x: (np.where(larger(x, 0), g, 0),), alone(nonzero)),
    # reductions
    op("sum", np.sum, lambda g, y, x, axis, keepdims: (spread(g, x, axis, keepdims) * np.ones(x.shape),),
       along(whole=True, keepdims=(True, False))),
    op("mean", np.mean, lambda g, y, x, axis, keepdims: (
        spread(g, x, axis, keepdims) * np.ones(x.shape) * np.size(y) / x.size,
    ), along(whole=True, keepdims=(True, False))),
    op("prod", np.prod, lambda g, y, x, axis, keepdims: (spread(g * y, x, axis, keepdims) / x,),
       along(nonzero, whole=True, keepdims=(True, False))),
    op("var", variance, lambda g, y, x, axis, keepdims: (spread(g, x, axis, keepdims) * variance_slope(x, axis),),
       along(whole=True, keepdims=(True, False))),
    op("std", lambda x, axis, keepdims: np.sqrt(variance(x, axis, keepdims)),
       lambda g, y, x, axis, keepdims: (spread(g / (2 * y), x, axis, keepdims) * variance_slope(x, axis),),
       draw_spread),
    op("max", maximum_along, maximum_rule, along(distinct)),
    op("cumsum", np.cumsum, lambda g, y, x, axis: (np.flip(np.cumsum(np.flip(g, axis), axis), axis),), along()),
    op("logsumexp", logsumexp, lambda g, y, x, axis, keepdims: (spread(g, x, axis, keepdims) * softmax(x, axis),),
       along(whole=True, keepdims=(True, False))),
    # the softmax family
    op("softmax", softmax, lambda g, p, x, axis: (p * (g - (g * p).sum(axis=axis, keepdims=True)),), along()),
    op("softmin", lambda x, axis: softmax(-x, axis),
       lambda g, p, x, axis: (p * ((g * p).sum(axis=axis, keepdims=True) - g),), along()),
    op("log_softmax", log_softmax,
       lambda g, y, x, axis: (g - softmax(x, axis) * g.sum(axis=axis, keepdims=True),), along()),
    op("cross_entropy", lambda x, target, reduction: class_losses(x, onehot(x, target), reduction),
       lambda g, y, x, target, reduction: class_slopes(g, x, onehot(x, target), reduction)[:1], draw_classes),
    op("soft_cross_entropy", class_losses, lambda g, y, x, target, reduction: class_slopes(g, x, target, reduction),
       both(lambda x, y: x.shape == y.shape and x.ndim == 2 and (x < 0).any() and positive(y), least=2, second=2,
            reduction=("mean", "sum", "none")), tg.cross_entropy),
    # products
    op("matmul", np.matmul, matmul_rule, both(
        lambda a, b: a.shape[-1] == b.shape[max(b.ndim - 2, 0)], least=1, second=1)),
    op("linear", lambda x, w: np.einsum("...i,oi->...o", x, w),
       lambda g, y, x, w: (np.einsum("...o,oi->...i", g, w), np.einsum("...o,...i->...oi", g, x)),
       both(lambda x, w: w.ndim == 2 and x.shape[-1] == w.shape[1], least=1, second=2)),
    op("outer", lambda a, b: a.reshape(-1, 1) * b.reshape(-1),
       lambda g, y, a, b: ((g @ b.reshape(-1)).reshape(a.shape), (a.reshape(-1) @ g).reshape(b.shape)),
       both(lambda a, b: a.size * b.size <= MOST)),
    op("einsum", lambda a, b, subscripts: np.einsum(subscripts, a, b), einsum_rule,
       draw_einsum, lambda a, b, subscripts: tg.einsum(subscripts, a, b)),
    # shapes and pieces
    op("reshape", np.reshape, lambda g, y, x, shape: (g.reshape(x.shape),),
       shaped(lambda d, shape: {"shape": d.among((-1,), (*shape, 1), shape[::-1])})),
    op("transpose", np.transpose, lambda g, y, x, axes: (np.transpose(g, np.argsort(axes)),),
       shaped(lambda d, shape: {"axes": tuple(d.rng.permutation(len(shape)).tolist())})),
    op("swapaxes", np.swapaxes, lambda g, y, x, axis1, axis2: (np.swapaxes(g, axis1, axis2),),
       shaped(lambda d, shape: {"axis1": 0, "axis2": -1}, least=1)),
    op("expand_dims", np.expand_dims, lambda g, y, x, axis: (g.reshape(x.shape),), alone(axis=(0, -1))),
    op("squeeze", np.squeeze, lambda g, y, x: (g.reshape(x.shape),)),
    op("broadcast_to", np.broadcast_to, lambda g, y, x, shape: (g,),
       shaped(lambda d, shape: {"shape": (2, *(3 if n == 1 else n for n in shape))})),
    op("flip", np.flip, lambda g, y, x, axis: (np.flip(g, axis),), along(whole=True)),
    op("pad", np.pad, lambda g, y, x, pad_width: (g[(slice(1, -1),) * x.ndim],), alone(least=1, pad_width=(1,))),
    op("concatenate", lambda *arrays, axis: np.concatenate(arrays, axis), joined_rule, several(same=False),
       lambda *arrays, axis: tg.concatenate(arrays, axis)),
    op("stack", lambda *arrays, axis: np.stack(arrays, axis),
       lambda g, y, *arrays, axis: [np.take(g, i, axis) for i in range(len(arrays))], several(same=True),
       lambda *arrays, axis: tg.stack(arrays, axis)),
    op("take", np.take, lambda g, y, x, indices: (added_at((x.size,), indices, g).reshape(x.shape),),
       shaped(lambda d, shape: {"indices": d.rng.integers(0, int(np.prod(shape)), (2, 3))})),
    op("getitem", lambda x, index: x[index], lambda g, y, x, index: (added_at(x.shape, index, g),),
       shaped(lambda d, shape: {"index": an_index(d, shape)}, least=1)),
    op("scatter", lambda x, index, shape: added_at(shape, index, x), lambda g, y, x, index, shape: (g[index],),
       shaped(lambda d, shape: {"index": d.rng.integers(0, 5, shape), "shape": (5,)}, least=1), registry["scatter"]),
    op("embedding", lambda x, labels: x[labels], lambda g, y, x, labels: (added_at(x.shape, labels, g),),
       shaped(rows_at, least=2, most=2), lambda x, labels: tg.embedding(labels, x)),
    # what the whole graph comes to
    op("total", lambda *values, weights: sum((v * w).sum() for v, w in zip(values, weights, strict=True)),
       lambda g, y, *values, weights: [g * w for w in weights], lambda d: None,
       lambda *values, weights: functools.reduce(
           tg.add, [tg.sum(tg.multiply(v, w)) for v, w in zip(values, weights, strict=True)])),
])  # fmt: skip


def draw_program(seed: int, most: int = 200) -> Program:
    """A program of 1 to so many instructions, few more often, whose values are tame, and of which none is in vain."""
    rng = np.random.default_rng(seed)
    shapes = [(), (3,), (2, 3), (3, 2), (3, 3), (2, 1), (2, 2, 3), (1, 3), (4,)]
    leaves = [np.asarray(rng.uniform(-1.5, 1.5, shapes[rng.integers(len(shapes))])) for _ in range(rng.integers(1, 6))]
    instructions = draw_instructions(Draw(rng, leaves), most, OPERATORS, lambda value: np.abs(value).max() <= LARGEST)
    return Program(leaves, int(rng.integers(1, len(leaves) + 1)), instructions)


def draw_instructions(d: Draw, most: int, operators: Any, tame: Callable[[Any], Any]) -> list[Instruction]:
    """1 to so many instructions, few more often, and the weighted sum of all that none of them uses."""
    instructions: list[Instruction] = []
    count, first = int(np.exp(d.rng.uniform(0, np.log(most + 1)))), len(d.values)
    choices = [name for name in operators if name != "total"]
    while len(d.values) < first + count:
        instruction = drawn(d, d.among(*choices), operators, tame)
        if instruction is not None:
            instructions.append(instruction)
    used = {place for i in instructions for place in i.places}
    ends = tuple(place for place in range(len(d.values)) if place not in used)
    weights = [d.rng.uniform(-1, 1, d.shape(place)) for place in ends]
    return [*instructions, Instruction("total", ends, {"weights": weights})]


def drawn(d: Draw, name: str, operators: Any, tame: Callable[[Any], Any]) -> Instruction | None:
    """An instruction whose value is small and tame, which is appended to the values; None if there is none."""
    found = operators[name].draw(d)
    if found is None:
        return None
    places, options = found
    try:
        value = np.asarray(operators[name].plain(*(d.values[place] for place in places), **options))
    except ValueError:  # shapes that don't fit after all
        return None
    if not 0 < value.size <= MOST or value.ndim > 4 or not tame(value):
        return None
    d.values.append(value)
    return Instruction(name, places, options)


# Agreement


class Agreement(NamedTuple):
    """How far apart gradients are at most: see ``distance``."""

    graphs: int
    values: int  # whose gradients were compared
    second: int  # graphs whose second derivatives were too
    by_rules: float  # the engine's values and gradients from the reverse pass's
    by_steps: float  # and from the complex steps'
    by_both: float  # second derivatives from the complex step of the reverse pass
    seeds: list[int]  # of graphs that are further apart than the tolerance


def agreement(count: int, seed: int = 0) -> Agreement:
    """Compare so many graphs, from a seed on."""
    values = second = 0
    rules = steps = both = 0.0
    seeds = []
    for k in range(seed, seed + count):
        try:
            compared, found = compare(draw_program(k), k % 4 == 0)
        except Exception as error:
            error.add_note(f"in the graph of seed {k}")
            raise
        values, second = values + compared, second + (k % 4 == 0)
        rules, steps, both = max(rules, found[0]), max(steps, found[1]), max(both, found[2])
        if max(found) > TOLERANCE:
            seeds.append(k)
    return Agreement(count, values, second, rules, steps, both, seeds)


def compare(program: Program, second: bool) -> tuple[int, tuple[float, float, float]]:
    """How many values of a program have a gradient, and the distances by rules, by steps and by both."""
    variables = [tg.Tensor(x, requires_grad=True) for x in program.leaves[: program.variables]]
    values = execute(program, [*variables, *program.leaves[program.variables :]], engine=True)
    slopes = reverse_pass(program, program.leaves)
    least = 1e-4 * max(float(np.abs(slope).max(initial=0)) for slope in slopes)
    tensors = [k for k, value in enumerate(values) if isinstance(value, tg.Tensor)]
    found = [g.data for g in tg.grad(values[-1], [values[k] for k in tensors])]
    plain = [np.asarray(getattr(value, "data", value)) for value in values]
    by_rules = max(
        distance(plain, execute(program, program.leaves), 1.0), distance(found, [slopes[k] for k in tensors], least)
    )
    values[-1].backward(retain_graph=second)
    by_steps = distance([np.asarray(x.grad) for x in variables], complex_steps(program), least)
    by_both = second_distance(program, variables, values[-1], least) if second else 0.0
    return len(tensors), (by_rules, by_steps, by_both)


def second_distance(program: Program, variables: list[Any], loss: Any, least: float) -> float:
    """The Hessian times random directions."""
    rng = np.random.default_rng(0)
    directions = [rng.standard_normal(x.shape) for x in variables]
    slopes = tg.grad(loss, variables, create_graph=True)
    along = functools.reduce(tg.add, [tg.sum(g * v) for g, v in zip(slopes, directions, strict=True)])
    found = gradients([along], variables, [None], False) if along.requires_grad else [None] * len(variables)
    arrays = [np.zeros(x.shape) if g is None else g.data for x, g in zip(variables, found, strict=True)]
    return distance(arrays, second_reverse_pass(program, directions), least)


def distance(found: list[np.ndarray], expected: list[np.ndarray], least: float) -> float:
    """The largest difference, relative to the largest number of its array, and of one that is 0 but for rounding, to a
    least size; inf where there is nan, or another shape."""
    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        if a.shape != np.shape(b) or not np.isfinite(a).all():
            return np.inf
        worst = max(worst, float(np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), least)))
    return worst


def main() -> int:
    """Print the largest differences; exit code 1 if there is one beyond the tolerance."""
    parser = argparse.ArgumentParser("python -m benchmarks.random_graphs", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="how many graphs (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the first one's seed (%(default)s)")
    options = parser.parse_args()
    a = agreement(options.count, options.seed)
    print(
        f"{a.graphs:,} random graphs of {a.values:,} values, {a.graphs - len(a.seeds):,} agree: gradients differ by "
        f"{a.by_rules:.1e} at most from a reverse pass in plain NumPy, by {a.by_steps:.1e} from the complex step, and "
        f"the second derivatives of {a.second:,} graphs by {a.by_both:.1e}"
    )
    if a.seeds:
        print(f"further apart than {TOLERANCE:.0e}: the graphs of seeds {', '.join(map(str, a.seeds))}")
    return 1 if a.seeds else 0


if __name__ == "__main__":
    sys.exit(main())
