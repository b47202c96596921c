"""Seeded inputs on which an operator's rules are checked: drawn when the check runs, in the dtype it asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Draw:
    """An array yet to be drawn: ``draw(rng)`` makes it."""

    def __init__(self, make: Callable[[np.random.Generator], np.ndarray]) -> None:
        self.make = make

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(self.make(rng))


def normal(*shape: int) -> Draw:
    """Standard normal numbers."""
    return Draw(lambda rng: rng.standard_normal(shape))


def positive(*shape: int) -> Draw:
    """Numbers from 0.5 to 2."""
    return Draw(lambda rng: rng.uniform(0.5, 2.0, shape))


def spaced(*shape: int, offset: float = 0.25) -> Draw:
    """Whole numbers around 0 plus an offset, shuffled: no two are close, and none is close to 0."""

    def make(rng: np.random.Generator) -> np.ndarray:
        size = int(np.prod(shape))
        return (rng.permutation(size) - size // 2 + offset).reshape(shape)

    return Draw(make)


def probabilities(*shape: int) -> Draw:
    """Rows that sum to 1, no entry close to 0."""

    def make(rng: np.random.Generator) -> np.ndarray:
        p = rng.uniform(0.5, 1.0, shape)
        p /= p.sum(axis=-1, keepdims=True)
        return p

    return Draw(make)


def fractions(*shape: int) -> Draw:
    """Numbers from 0.4 to 0.6."""
    return Draw(lambda rng: rng.uniform(0.4, 0.6, shape))


def fixed(numbers: Any) -> Draw:
    """Numbers given by hand."""
    return Draw(lambda rng: np.array(numbers, float))


def realise(example: Any, rng: np.random.Generator) -> tuple[list[np.ndarray], Callable[[list[Any]], Any]]:
    """Draw every Draw in an example; return the arrays, and the function that puts others in their places."""
    drawn: list[np.ndarray] = []

    def take(part: Any) -> Callable[[list[Any]], Any]:
        if isinstance(part, Draw):
            place = len(drawn)
            drawn.append(part(rng))
            return lambda values: values[place]
        if isinstance(part, list | tuple):
            kind, takers = type(part), [take(p) for p in part]
            return lambda values: kind(t(values) for t in takers)
        if isinstance(part, dict):
            named = {name: take(p) for name, p in part.items()}
            return lambda values: {name: t(values) for name, t in named.items()}
        return lambda values: part

    return drawn, take(example)
