"""The table at the end: somebody's engine beside this one, its lines, accuracy and time."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any

import numpy as np

from tinygrad_ce.nn.layers import Linear, ReLU, Sequential
from tinygrad_ce.optim.optimizers import SGD
from tinygrad_ce.study.engine.case import OURS
from tinygrad_ce.study.engine.layers import Trained
from tinygrad_ce.study.engine.protocol import Engine
from tinygrad_ce.train.fit import fit

# The floors of this package that do what such an engine does.
FLOORS = ("engine", "tensor", "ops", "losses", "kernels", "nn", "optim", "train")


def beside(engine: Engine) -> list[str]:
    """The lines of the table."""
    ours = Engine(SimpleNamespace(**vars(OURS), train=_train))
    floors = tuple(f"tinygrad_ce.{floor}" for floor in FLOORS)
    modules = [module for name, module in sorted(sys.modules.items()) if name.startswith(floors)]
    held = engine.engine if isinstance(engine.engine, Mapping) else vars(engine.engine)
    rows = [
        ("yours", lines(held.values(), engine.kind.__module__), engine.trained),
        ("tinygrad_ce", sum(lines(vars(module).values(), module.__name__) for module in modules), Trained(ours)),
    ]
    head = f"{'':12} {'lines':>6} {'accuracy on digits':>20} {'seconds':>8}"
    return ["", head, *(f"{who:12} {n:6,} {t.accuracy:20.3f} {t.seconds:8.2f}" for who, n, t in rows)]


def _train(x: np.ndarray, labels: np.ndarray) -> Any:
    """A hidden layer of 32, by this package."""
    model = Sequential(Linear(64, 32, rng=0, dtype=float), ReLU(), Linear(32, 10, rng=1, dtype=float))
    fit(model, (x, labels), epochs=20, optimizer=SGD(model.parameters(), lr=0.1, momentum=0.9), progress=False)
    return model


def lines(held: Iterable[Any], module: str) -> int:
    """How many lines of code a module's functions and methods have, without comments and docstrings."""
    return len({line for function in _functions(held, module) for line in _lines(function.__code__)})


def _functions(held: Iterable[Any], module: str) -> Iterator[FunctionType]:
    for value in held:
        value = getattr(value, "fget", None) or getattr(value, "__func__", value)
        if isinstance(value, FunctionType) and value.__module__ == module:
            yield value
        elif isinstance(value, type) and value.__module__ == module:
            yield from _functions(vars(value).values(), module)


def _lines(code: CodeType) -> Iterator[tuple[str, int]]:
    yield from ((code.co_filename, line) for _, _, line in code.co_lines() if line)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _lines(inner)
