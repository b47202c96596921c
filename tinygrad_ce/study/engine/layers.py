"""What an engine is asked for beyond gradients: a layer, an optimiser, and a training on digits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_ce.data.dataset import load_digits, split
from tinygrad_ce.study.engine.case import Check, Fault, Mistake, fits, same, single_precision
from tinygrad_ce.study.engine.protocol import Engine, Nonsense, NotYet, Operand
from tinygrad_ce.study.numbers import number

ENOUGH = 0.95  # accuracy on digits that were held out


def _differs(what: str, place: str, found: np.ndarray, expected: np.ndarray, rtol: float) -> Iterator[tuple[str, Any]]:
    """What stands at the first wrong index, and which indices are wrong."""
    if found.shape != expected.shape:
        yield f"{place} has shape {found.shape}, expected {expected.shape}", None
        return
    wrong = ~same(found, expected, rtol)
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0].tolist())
        where = f"{place}, index {list(at)}," if at else place
        yield f"{where} is {number(float(found[at]), 8)}, expected {number(float(expected[at]), 8)}", wrong


def _parameters(engine: Engine, layer: Any) -> list[Operand]:
    if not callable(getattr(layer, "parameters", None)):
        raise NotYet("Linear.parameters")
    found = layer.parameters()
    if found is None or found is ...:
        raise NotYet("Linear.parameters")
    found = list(found)
    if not found or not all(isinstance(p, engine.kind) for p in found):
        raise Nonsense(f"parameters() gave {[type(p).__name__ for p in found]}, expected Tensors")
    return [Operand(engine, p) for p in found]


def _linear(engine: Engine) -> Iterator[Fault]:
    """A layer computes x @ W + b, W either way round, and its parameters get their gradients."""
    rtol = 1e-4 if single_precision(engine) else 1e-9
    layer = engine.need("Linear")(3, 2)
    parameters = _parameters(engine, layer)
    shapes = [p.data.shape for p in parameters]
    if sorted(map(len, shapes)) != [1, 2] or {(3, 2), (2, 3)}.isdisjoint(shapes) or (2,) not in shapes:
        words = "parameters() gives the layer's weight and its bias"
        yield Fault("Linear(3, 2)", f"has parameters of shapes {shapes}, expected (3, 2) and (2,)", words)
        return
    weight, bias = sorted(parameters, key=lambda p: -p.data.ndim)
    x = np.array([[0.5, -1.2, 2.0], [1.5, 0.3, -0.7], [0.2, 0.9, -0.1], [1.0, 1.0, -1.0]])
    w = weight.data if weight.data.shape == (3, 2) else weight.data.T
    y = Operand(engine, layer(engine.leaf(x).tensor))
    g = np.array([[1.0, -2.0], [0.5, 1.5], [-1.0, 0.3], [0.7, -0.6]])
    for seen, _ in _differs("Linear", "the value", y.data, x @ w + bias.data, rtol):
        yield Fault("Linear", seen, "a layer computes x @ weight + bias with the Tensors that parameters() gives")
        return
    (y * engine.leaf(g)).sum().backward()
    truth = x.T @ g if weight.data.shape == (3, 2) else g.T @ x
    for name, p, expected in (("weight", weight, truth), ("bias", bias, g.sum(axis=0))):
        for seen, _ in _differs("Linear", f"the gradient in the {name}", p.grad, expected, rtol):
            yield Fault("Linear", seen, "does parameters() give the very Tensors that the layer computes with?")


STEPS = [
    Mistake(0, "the sign: a step goes against the gradient, p − lr · grad", lambda p, g: p + 0.1 * g),
    Mistake(0, "the step is missing its learning rate", lambda p, g: p - g),
    Mistake(0, "the step forgets where it starts: p − lr · grad", lambda p, g: -0.1 * g),
    Mistake(0, "nothing has moved: does step() assign to the parameters' .data?", lambda p, g: p),
]


def _sgd(engine: Engine) -> Iterator[Fault]:
    """A step goes by −lr · grad, and zero_grad clears what has added up."""
    rtol = 1e-4 if single_precision(engine) else 1e-9
    start, slope = np.array([1.0, -2.0, 3.0]), np.array([0.5, 4.0, -1.5])
    p = engine.leaf(start.copy())
    optimizer = engine.need("SGD")([p.tensor], 0.1)

    def backward() -> None:
        (p * engine.leaf(slope)).sum().backward()

    backward()
    if not callable(getattr(optimizer, "step", None)):
        raise NotYet("SGD.step")
    before = p.data.copy()
    if optimizer.step() is ...:
        raise NotYet("SGD.step")
    for seen, wrong in _differs("SGD", "the parameter after a step", p.data, before - 0.1 * slope, rtol):
        known = [m.words for m in STEPS if wrong is not None and fits(m, [before, slope], p.data, wrong)]
        yield Fault("SGD.step", seen, known[0] if known else "p.data becomes p.data − lr · p.grad")
    if not callable(getattr(optimizer, "zero_grad", None)):
        raise NotYet("SGD.zero_grad")
    if optimizer.zero_grad() is ...:
        raise NotYet("SGD.zero_grad")
    backward()
    for seen, _ in _differs("SGD", "the gradient of a second pass", p.grad, slope, rtol):
        yield Fault("SGD.zero_grad", seen, "zero_grad doesn't clear .grad, and the gradients of all steps add up")


class Trained:
    """How a training on digits went: the accuracy on digits that were held out, and its seconds."""

    def __init__(self, engine: Engine) -> None:
        train, test = split(load_digits(), 0.2)
        begin = time.perf_counter()
        model = engine.need("train")(train.x.astype(float), train.y.copy())
        self.seconds = time.perf_counter() - begin
        if model is None or model is ...:
            raise NotYet("train")
        logits = Operand(engine, model(engine.leaf(test.x.astype(float)).tensor)).data
        if logits.shape != (len(test.y), 10):
            raise Nonsense(f"the model gave shape {logits.shape} for {len(test.y)} rows, expected {(len(test.y), 10)}")
        self.finite = bool(np.isfinite(logits).all())
        self.accuracy = float(np.mean(logits.argmax(axis=1) == test.y))


def _digits(engine: Engine) -> Iterator[Fault]:
    """The engine's own training reads 95 of 100 digits that it hasn't seen."""
    engine.trained = trained = Trained(engine)
    if trained.accuracy >= ENOUGH:
        return
    if not trained.finite:
        cause = "the logits aren't finite: is the learning rate too high?"
    elif trained.accuracy < 0.2:
        cause = (
            "no better than guessing: does each step clear the gradients, run backward, and then step? Are rows and "
            "labels shuffled together?"
        )
    else:
        cause = "it has begun to learn: more epochs, another learning rate, or a hidden layer"
    yield Fault("train", f"the accuracy is {trained.accuracy:.4f} on digits held out, expected {ENOUGH}", cause)


CHECKS = [
    Check(6, "Linear", _linear, ("Linear",), hint="Linear(inputs, outputs) is made, and called with a Tensor of rows"),
    Check(6, "SGD", _sgd, ("SGD",), hint="SGD(parameters, lr), then step() and zero_grad()"),
    Check(7, "digits", _digits, ("train",), hint="train(x, labels) returns a model: called with a Tensor of rows, it "
          "gives their logits"),
]  # fmt: skip
