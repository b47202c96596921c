"""Memory: that of 10,000 steps of each kind stays where it was, and graphs of a million operators come and go.

The resident memory of the process is read after a warm-up and then twenty times on the way; the figure is how far these
readings lie apart. No step may leave a reference cycle behind either: the garbage collector is off while it counts.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

import tinygrad_ce as tg

MIB = 1 << 20
Step = Callable[[], Any]


def resident() -> int:
    """Bytes of memory that this process holds; where the system doesn't tell, those that Python does."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        if not tracemalloc.is_tracing():
            tracemalloc.start()
        return tracemalloc.get_traced_memory()[0]


def mlp() -> Step:
    """A step of a training: two layers, dropout, the loss, backward, Adam."""
    model = tg.nn.Sequential(
        tg.nn.Linear(20, 64, rng=0), tg.nn.ReLU(), tg.nn.Dropout(rng=0), tg.nn.Linear(64, 5, rng=1)
    )
    optimizer = tg.optim.Adam(model.parameters())
    x, y = np.random.default_rng(0).standard_normal((32, 20), np.float32), np.arange(32) % 5

    def step() -> None:
        optimizer.zero_grad()
        tg.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def batches() -> Step:
    """A cross-entropy of a batch of one size or another, forward and backward, its graph used up."""
    rng = np.random.default_rng(0)
    w = tg.Tensor(rng.standard_normal((20, 10)), requires_grad=True)

    def step() -> None:
        rows = 9 * int(rng.integers(1, 20))
        x, y = rng.standard_normal((rows, 20)), np.where(np.arange(rows) % 9, rng.integers(0, 10, rows), -1)
        w.zero_grad()
        tg.cross_entropy(tg.Tensor(x) @ w, y, ignore_index=-1, label_smoothing=0.1).backward(retain_graph=False)

    return step


def second_order() -> Step:
    """A gradient of a gradient, through the graph of the reverse pass."""
    x, v = tg.Tensor(np.linspace(-1, 1, 12).reshape(3, 4), requires_grad=True), np.ones((3, 4))

    def step() -> None:
        slope = tg.grad(tg.cross_entropy(tg.tanh(x), [0, 3, 1]), x, create_graph=True)
        (slope * v).sum().backward()
        x.zero_grad()

    return step


def errors() -> Step:
    """Errors in a forward, in a rule halfway through a reverse pass, and in what backward is given; all are caught."""

    @tg.primitive
    def broken(x: Any) -> Any:
        return x + 0

    def fails(g: Any, y: Any, x: Any) -> Any:
        raise ArithmeticError("on purpose")

    broken.vjp(x=fails)
    x = tg.Tensor(np.ones(50), requires_grad=True)

    def step() -> None:
        with suppress(ValueError):
            tg.add(x, np.ones(3))
        with suppress(ArithmeticError):
            (tg.exp(broken(x * 2)) * x).sum().backward()
        with suppress(ValueError):
            tg.exp(x).backward()
        with suppress(ValueError):
            tg.cross_entropy(x, 99)

    return step


KINDS: dict[str, Callable[[], Step]] = {
    "training steps": mlp, "cross-entropies of many batch sizes": batches, "second derivatives": second_order,
    "errors": errors,
}  # fmt: skip


def spread(step: Step, steps: int, warm_up: int) -> int:
    """How many bytes the readings of resident memory lie apart, over so many steps after a warm-up."""
    for _ in range(warm_up):
        step()
    readings = []
    for i in range(steps):
        if i % max(1, steps // 20) == 0:
            readings.append(resident())
        step()
    readings.append(resident())
    return max(readings) - min(readings)


def cycles(step: Step, steps: int) -> int:
    """How many objects so many steps leave to the garbage collector, as nobody else could free them."""
    step()
    gc.collect()
    gc.disable()
    try:
        for _ in range(steps):
            step()
        return gc.collect()
    finally:
        gc.enable()


def chain(nodes: int) -> float:
    """A chain of so many operators: forward, backward, grad, and all of it let go; the gradient, which is 1."""
    x = tg.Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(nodes):
        y = -y
    y.backward()
    assert x.grad is not None
    assert float(tg.grad(y, x)) == float(x.grad)
    del y
    return float(x.grad)


def wide(nodes: int) -> float:
    """So many operators on one Tensor, added up pair by pair: likewise; the gradient is the number of pairs."""
    x = tg.Tensor(1.0, requires_grad=True)
    row = [x * 2.0 for _ in range(nodes // 2)]
    while len(row) > 1:
        row = [a + b for a, b in zip(row[::2], row[1::2], strict=False)] + row[len(row) - len(row) % 2 :]
    row[0].backward()
    assert x.grad is not None
    assert float(tg.grad(row[0], x)) == float(x.grad)
    row.clear()
    return float(x.grad)


def main() -> int:
    """Print how far the readings lie apart for each kind of step, what cycles are left, and the large graphs."""
    parser = argparse.ArgumentParser("python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=1_000_000)
    args = parser.parse_args()
    failed = False
    for kind, make in KINDS.items():
        step = make()
        apart, left = spread(step, args.steps, args.steps // 5), cycles(step, 100)
        failed |= apart > 2 * MIB or left > 0
        print(f"{args.steps:,} {kind}: memory within {apart / MIB:.2f} MiB, {left} objects left in reference cycles")
    for make_graph, expected in ((chain, 1.0), (wide, 2.0 * (args.nodes // 2))):
        right = make_graph(args.nodes) == expected
        before = resident()
        right &= make_graph(args.nodes) == expected
        more = max(0, resident() - before)
        failed |= not right or more > 16 * MIB  # of half a GiB; the allocator is never quite the same
        print(
            f"{make_graph.__name__} of {args.nodes:,} operators: gradient {'right' if right else 'WRONG'}, "
            f"{more / MIB:.2f} MiB more after a second one than after the first"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
