"""cross_entropy, forward and backward, through Tensor and backward(): logits (N, C), index targets.

Ordinary logits are normal numbers; wide ones 50 times as large; those with an offset have 10,000 times a normal number
added to each row, or 10,000 to all; far ones lie 615 to 745 below their row's largest, where float64's exp ends. The
floor reads the logits once and writes as much, at this machine's copying speed, and takes NumPy's time for as many
exponentials within a cache, all on the same number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import turns

SHAPES = [
    (32, 2), (32, 10), (128, 10), (1024, 10), (65536, 2), (65536, 10), (65536, 50), (16384, 100), (8192, 250),
    (8192, 1000), (512, 50_000), (64, 1_000_000),
]  # fmt: skip
KINDS = (
    "ordinary", "wide", "offset", "common offset", "around -100", "500 times as large", "half masked", "one wild row",
    "far",
)  # fmt: skip
Call = Callable[[], Any]


def data(rows: int, classes: int, dtype: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, classes), np.float32)
    if kind == "offset":
        x += 1e4 * rng.standard_normal((rows, 1), np.float32)
    labels = rng.integers(0, classes, rows)
    x *= {"wide": 50, "500 times as large": 500}.get(kind, 1)
    x += {"around -100": -100, "common offset": 1e4}.get(kind, 0)
    if kind == "half masked":
        masked = rng.random(x.shape) < 0.5
        masked[np.arange(rows), labels] = False
        x[masked] = -np.inf
    if kind == "one wild row":
        x[rows // 2] *= 1000
    if kind == "far":
        x = -rng.uniform(615, 745, x.shape)
        x[np.arange(rows), rng.integers(0, classes, rows)] = 0
    return x.astype(dtype), labels


def tinygrad_ce(*case: Any) -> Call:
    """This project."""
    import tinygrad_ce as tg

    x, y = data(*case)
    t = tg.Tensor(x, requires_grad=True)

    def step() -> None:
        t.grad = None
        tg.cross_entropy(t, y).backward()

    return step


def floor(rows: int, classes: int, dtype: str, kind: str) -> Call:
    """Every thread copies its share, and takes as many exponentials of numbers that stay in a cache."""
    x, _ = data(rows, classes, dtype, kind)
    x = np.zeros_like(x).reshape(-1)
    parts = turns.threads() if x.nbytes > 1 << 20 else 1
    cuts = [slice(k * x.size // parts, (k + 1) * x.size // parts) for k in range(parts)]
    size = 1 << 14

    def share(out: np.ndarray, cut: slice) -> None:
        small, e = np.zeros(size, x.dtype), np.empty(size, x.dtype)
        np.copyto(out[cut], x[cut])
        left = cut.stop - cut.start
        while left > 0:
            np.exp(small[:left], out=e[:left])
            left -= size

    def step() -> None:
        out = np.empty_like(x)
        helpers = [threading.Thread(target=share, args=(out, cut)) for cut in cuts[1:]]
        for helper in helpers:
            helper.start()
        share(out, cuts[0])
        for helper in helpers:
            helper.join()

    return step


def pytorch(*case: Any) -> Call:
    """PyTorch, eager, on the CPU."""
    import torch

    torch.set_num_threads(turns.threads())
    a, b = data(*case)
    x, y = torch.from_numpy(a).requires_grad_(), torch.from_numpy(b)

    def step() -> None:
        x.grad = None
        torch.nn.functional.cross_entropy(x, y).backward()

    return step


def jax(*case: Any) -> Call:
    """JAX under jit."""
    import jax as j
    import jax.numpy as jnp

    j.config.update("jax_enable_x64", True)
    x, y = data(*case)

    def loss(x: Any, y: Any) -> Any:
        return -j.nn.log_softmax(x)[jnp.arange(len(y)), y].mean()

    both = j.jit(j.value_and_grad(loss))
    x, y = jnp.asarray(x), jnp.asarray(y)
    return lambda: j.block_until_ready(both(x, y))


def small(*case: Any) -> tuple[np.ndarray, np.ndarray]:
    """Data for a peer that makes many arrays of the logits' size."""
    if case[0] * case[1] > 10_000_000:
        raise turns.TooMuch("left out above 10 million logits")
    return data(*case)


def autograd(*case: Any) -> Call:
    """HIPS autograd, with its scipy's logsumexp."""
    import autograd as a
    import autograd.numpy as anp
    from autograd.scipy.special import logsumexp

    x, y = small(*case)
    rows = np.arange(len(y))
    both = a.value_and_grad(lambda x: anp.mean(logsumexp(x, axis=1) - x[rows, y]))
    return lambda: both(x)


def mygrad(*case: Any) -> Call:
    """MyGrad's fused loss."""
    import mygrad as m

    x, y = small(*case)
    t = m.tensor(x)

    def step() -> None:
        m.nnet.losses.softmax_crossentropy(t, y).backward()
        t.null_grad()

    return step


def scipy(*case: Any) -> Call:
    """SciPy's log_softmax, and the gradient by hand."""
    from scipy.special import log_softmax

    x, y = small(*case)
    rows = np.arange(len(y))

    def step() -> Any:
        logs = log_softmax(x, axis=1)
        loss = -logs[rows, y].mean()
        p = np.exp(logs)
        p[rows, y] -= 1
        p /= len(y)
        return loss, p

    return step


PEERS: turns.Peers = {
    "tinygrad_ce": tinygrad_ce, "floor": floor, "PyTorch": pytorch, "JAX, jit": jax, "autograd": autograd,
    "MyGrad": mygrad, "SciPy": scipy,
}  # fmt: skip
CASES: turns.Cases = {
    f"{kind}, {dtype}, {rows:,} × {classes:,}": (rows, classes, dtype, kind)
    for kind in KINDS
    for dtype in ("float32", "float64")
    for rows, classes in SHAPES
}

if __name__ == "__main__":
    turns.main("benchmarks.cross_entropy", __doc__ or "", PEERS, CASES, floor="floor", rounds=7)
