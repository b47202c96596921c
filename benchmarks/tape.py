"""A chain of 50 tiny operators (4 numbers each), forward and backward: what recording and reversing costs.

Beside it the same arithmetic in NumPy, forward and by the rules, and np.add. The figure to look at is the overhead of
an operator in units of one np.add: (chain - arithmetic) / 50 / add.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import turns

OPERATORS = 50
X, C = np.full(4, 0.5), np.full(4, 0.9)


def tinygrad_ce() -> Callable[[], Any]:
    """This project: x·c, + c, tanh, sin, negative, ten times over."""
    import tinygrad_ce as tg

    x, c = tg.Tensor(X, requires_grad=True), tg.Tensor(C)
    g = np.ones(4)

    def step() -> Any:
        y = x
        for _ in range(OPERATORS // 5):
            y = -tg.sin(tg.tanh(y * c + c))
        x.grad = None
        y.backward(g)
        return x.grad

    return step


def numpy_arithmetic() -> Callable[[], Any]:
    """The NumPy calls that the chain cannot do without."""

    def step() -> Any:
        y, saved = X, []
        for _ in range(OPERATORS // 5):
            t = np.tanh(y * C + C)
            y = -np.sin(t)
            saved.append(t)
        g = np.ones(4)
        for t in reversed(saved):
            g = -g * np.cos(t)
            g = g * (1 - t * t) * C
        return g

    return step


def numpy_add() -> Callable[[], Any]:
    """np.add of 4 numbers, a hundred times."""

    def step() -> Any:
        for _ in range(100):
            np.add(X, C)

    return step


def pytorch() -> Callable[[], Any]:
    """PyTorch, eager, on the CPU."""
    import torch

    x = torch.tensor(X, requires_grad=True)
    c, g = torch.tensor(C), torch.ones(4, dtype=torch.float64)

    def step() -> Any:
        y = x
        for _ in range(OPERATORS // 5):
            y = -torch.sin(torch.tanh(y * c + c))
        x.grad = None
        y.backward(g)
        return x.grad

    return step


def autograd() -> Callable[[], Any]:
    """HIPS autograd."""
    import autograd as a
    import autograd.numpy as anp

    def chain(x: Any) -> Any:
        for _ in range(OPERATORS // 5):
            x = -anp.sin(anp.tanh(x * C + C))
        return x

    g = np.ones(4)

    def step() -> Any:
        pull, _ = a.make_vjp(chain)(X)
        return pull(g)

    return step


def mygrad() -> Callable[[], Any]:
    """MyGrad."""
    import mygrad as m

    x = m.tensor(X)
    g = np.ones(4)

    def step() -> Any:
        y: Any = x
        for _ in range(OPERATORS // 5):
            y = -m.sin(m.tanh(y * C + C))
        y.backward(g)
        found = x.grad
        x.null_grad()
        return found

    return step


PEERS: turns.Peers = {
    "tinygrad_ce": tinygrad_ce,
    "NumPy's arithmetic": numpy_arithmetic,
    "100 times np.add": numpy_add,
    "PyTorch": pytorch,
    "autograd": autograd,
    "MyGrad": mygrad,
}
CASES: turns.Cases = {f"{OPERATORS} operators": ()}


def summary(times: turns.Times) -> str:
    """The overhead of one operator over NumPy's own time, in calls of np.add: the median over rounds."""
    (found,) = times.values()
    rounds = zip(found["tinygrad_ce"], found["NumPy's arithmetic"], found["100 times np.add"], strict=True)
    ratio = statistics.median((chain - arithmetic) / OPERATORS / (adds / 100) for chain, arithmetic, adds in rounds)
    return f"overhead of one operator, forward and backward: {ratio:.2f} times np.add"


if __name__ == "__main__":
    turns.main("benchmarks.tape", __doc__ or "", PEERS, CASES, summary=summary)
