"""One training step of a linear classifier, float32: forward, loss, backward, SGD. Features → classes, batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import turns

RATE = 0.1
CASES: turns.Cases = {
    f"{features} → {classes}, batch {rows:,}": (features, classes, rows)
    for features, classes, rows in [(64, 10, 32), (784, 10, 64), (784, 10, 256), (784, 10, 1024)]
}
Call = Callable[[], Any]


def data(features: int, classes: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows, labels, weights and bias."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, features), np.float32)
    w = rng.standard_normal((classes, features), np.float32) / np.float32(features**0.5)
    return x, rng.integers(0, classes, rows), w, np.zeros(classes, np.float32)


def tinygrad_ce(*case: int) -> Call:
    """This project: a layer, the fused loss, backward, an optimiser."""
    import tinygrad_ce as tg

    rows, y, w, b = data(*case)
    layer = tg.nn.Linear(*w.shape[::-1], rng=0)
    layer.weight.data, layer.bias.data = w, b
    optimizer = tg.optim.SGD(layer.parameters(), lr=RATE)
    x = tg.Tensor(rows)

    def step() -> Any:
        optimizer.zero_grad()
        loss = tg.cross_entropy(layer(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def numpy_by_hand(*case: int) -> Call:
    """The same step as a textbook writes it out in NumPy, with the row maximum subtracted."""
    x, y, w, b = data(*case)
    rows = np.arange(len(y))

    def step() -> Any:
        z = x @ w.T + b
        z -= z.max(axis=1, keepdims=True)
        p = np.exp(z)
        p /= p.sum(axis=1, keepdims=True)
        loss = -np.log(p[rows, y]).mean()
        p[rows, y] -= 1
        p /= len(y)
        dw, db = p.T @ x, p.sum(axis=0)
        np.subtract(w, RATE * dw, out=w)
        np.subtract(b, RATE * db, out=b)
        return loss

    return step


def pytorch(*case: int) -> Call:
    """PyTorch, eager, on the CPU."""
    import torch

    torch.set_num_threads(turns.threads())
    rows, labels, w, b = data(*case)
    layer = torch.nn.Linear(*w.shape[::-1])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(w))
        layer.bias.copy_(torch.from_numpy(b))
    optimizer = torch.optim.SGD(layer.parameters(), lr=RATE)
    x, y = torch.from_numpy(rows), torch.from_numpy(labels)

    def step() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(layer(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def jax(*case: int) -> Call:
    """JAX: the whole step under one jit."""
    import jax as j
    import jax.numpy as jnp

    x, y, *parameters = (jnp.asarray(a) for a in data(*case))

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        w, b = parameters
        return -j.nn.log_softmax(x @ w.T + b)[jnp.arange(len(y)), y].mean()

    @j.jit
    def update(parameters: Any, x: Any, y: Any) -> Any:
        value, slopes = j.value_and_grad(loss)(parameters, x, y)
        return [p - RATE * g for p, g in zip(parameters, slopes, strict=True)], value

    def step() -> None:
        nonlocal parameters
        parameters, value = update(parameters, x, y)
        j.block_until_ready(value)

    return step


def autograd(*case: int) -> Call:
    """HIPS autograd."""
    import autograd as a
    import autograd.numpy as anp
    from autograd.scipy.special import logsumexp

    x, y, w, b = data(*case)
    rows = np.arange(len(y))

    def loss(w: Any, b: Any) -> Any:
        z = anp.dot(x, w.T) + b
        return anp.mean(logsumexp(z, axis=1) - z[rows, y])

    both = a.value_and_grad(loss, (0, 1))

    def step() -> Any:
        value, (dw, db) = both(w, b)
        np.subtract(w, RATE * dw, out=w)
        np.subtract(b, RATE * db, out=b)
        return value

    return step


def mygrad(*case: int) -> Call:
    """MyGrad."""
    import mygrad as m

    x, y, w, b = data(*case)
    tw, tb = m.tensor(w), m.tensor(b)

    def step() -> Any:
        loss = m.nnet.losses.softmax_crossentropy(m.matmul(x, tw.T) + tb, y)
        loss.backward()
        tw.data -= RATE * tw.grad
        tb.data -= RATE * tb.grad
        tw.null_grad()
        tb.null_grad()
        return loss

    return step


PEERS: turns.Peers = {
    "tinygrad_ce": tinygrad_ce, "NumPy by hand": numpy_by_hand, "PyTorch": pytorch, "JAX, jit": jax,
    "autograd": autograd, "MyGrad": mygrad,
}  # fmt: skip


def summary(times: turns.Times) -> str:
    """Our time in units of hand-written NumPy's."""
    return "\n".join(
        f"{case}: {turns.ratio(found, 'tinygrad_ce', 'NumPy by hand'):.2f} times the step written by hand in NumPy"
        for case, found in times.items()
    )


if __name__ == "__main__":
    turns.main("benchmarks.training_step", __doc__ or "", PEERS, CASES, summary=summary)
