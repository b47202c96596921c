"""One training step of a linear classifier: forward, loss, backward, SGD; Linear(64 → 10), batch 32, float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import turns

ROWS, FEATURES, CLASSES, RATE = 32, 64, 10, 0.1
_rng = np.random.default_rng(0)
X = _rng.standard_normal((ROWS, FEATURES)).astype(np.float32)
Y = _rng.integers(0, CLASSES, ROWS)
W = (_rng.standard_normal((CLASSES, FEATURES)) / 8).astype(np.float32)
B = np.zeros(CLASSES, np.float32)


def tinygrad_ce() -> Callable[[], Any]:
    """This project: a layer, the fused loss, backward, an optimiser."""
    import tinygrad_ce as tg

    layer = tg.nn.Linear(FEATURES, CLASSES, rng=0)
    layer.weight.data, layer.bias.data = W, B
    optimizer = tg.optim.SGD(layer.parameters(), lr=RATE)
    x = tg.Tensor(X)

    def step() -> Any:
        optimizer.zero_grad()
        loss = tg.cross_entropy(layer(x), Y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def numpy_by_hand() -> Callable[[], Any]:
    """The same step as a textbook writes it out in NumPy, with the row maximum subtracted."""
    w, b = W.copy(), B.copy()
    rows = np.arange(ROWS)

    def step() -> Any:
        z = X @ w.T + b
        z -= z.max(axis=1, keepdims=True)
        p = np.exp(z)
        p /= p.sum(axis=1, keepdims=True)
        loss = -np.log(p[rows, Y]).mean()
        p[rows, Y] -= 1
        p /= ROWS
        dw, db = p.T @ X, p.sum(axis=0)
        np.subtract(w, RATE * dw, out=w)
        np.subtract(b, RATE * db, out=b)
        return loss

    return step


def pytorch() -> Callable[[], Any]:
    """PyTorch, eager, on the CPU."""
    import torch

    torch.set_num_threads(turns.threads())
    layer = torch.nn.Linear(FEATURES, CLASSES)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(W))
        layer.bias.copy_(torch.from_numpy(B))
    optimizer = torch.optim.SGD(layer.parameters(), lr=RATE)
    x, y = torch.from_numpy(X), torch.from_numpy(Y)

    def step() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(layer(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


PEERS: turns.Peers = {"tinygrad_ce": tinygrad_ce, "NumPy by hand": numpy_by_hand, "PyTorch": pytorch}

if __name__ == "__main__":
    turns.main("benchmarks.training_step", __doc__ or "", PEERS, "tinygrad_ce")
