"""How time and memory grow: with rows, classes and depth. The exponent is the slope of a line through the logarithms.

Time is forward and backward, the median of several; memory is the peak that Python's tracemalloc sees of NumPy beside
inputs. With depth, memory is the activations': its second column is the peak of the reverse pass above them.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_ce as tg
from benchmarks import turns

Case = tuple[Callable[[], Any], Callable[[Any], None]]  # a forward, and what follows it


def _loss(rows: int, classes: int) -> Case:
    rng = np.random.default_rng(0)
    x = tg.Tensor(rng.standard_normal((rows, classes), np.float32), requires_grad=True)
    y = rng.integers(0, classes, rows)

    def backward(loss: Any) -> None:
        x.grad = None
        loss.backward()

    return lambda: tg.cross_entropy(x, y), backward


def _linear(classes: int) -> Case:
    rng = np.random.default_rng(0)
    x = tg.Tensor(rng.standard_normal((256, 64), np.float32), requires_grad=True)
    w = tg.Tensor(rng.standard_normal((classes, 64), np.float32) / 8, requires_grad=True)
    y = rng.integers(0, classes, 256)

    def backward(loss: Any) -> None:
        x.grad = w.grad = None
        loss.backward()

    return lambda: tg.linear_cross_entropy(x, w, y), backward


def _deep(layers: int) -> Case:
    rng = np.random.default_rng(0)
    model = tg.nn.Sequential(
        *(m for k in range(layers) for m in (tg.nn.Linear(64, 64, rng=k), tg.nn.Tanh())), tg.nn.Linear(64, 10, rng=99)
    )
    x, y = tg.Tensor(rng.standard_normal((256, 64), np.float32)), rng.integers(0, 10, 256)

    def backward(loss: Any) -> None:
        model.zero_grad()
        loss.backward(retain_graph=False)

    return lambda: tg.cross_entropy(model(x), y), backward


def _chain(operators: int) -> Case:
    x = tg.Tensor(np.full(4, 0.5), requires_grad=True)

    def forward() -> Any:
        y = x
        for _ in range(operators):
            y = tg.sin(y)
        return y.sum()

    def backward(loss: Any) -> None:
        x.grad = None
        loss.backward(retain_graph=False)

    return forward, backward


def _drawing(operators: int) -> Case:
    rng = np.random.default_rng(0)
    w, u = (tg.Tensor(rng.standard_normal((4, 4)) / 4, requires_grad=True) for _ in range(2))
    h = tg.Tensor(np.zeros((2, 4)))
    for x in rng.standard_normal((operators // 5, 2, 4)):
        h = tg.tanh(x @ w.T + h @ u)
    loss = (h * h).sum()
    return lambda: tg.study.graph(loss, fold=False, names={}), lambda drawing: None


def _leaves(n: int) -> list[Any]:
    return [tg.Tensor(np.ones(3), requires_grad=True) for _ in range(n)]


def _join(parts: int) -> Case:
    leaves = _leaves(parts)
    return lambda: tg.stack(leaves).sum(), lambda loss: loss.backward(retain_graph=False)


def _products(numbers: int) -> Case:
    """Products and running products, with zeros among the factors."""
    x = tg.Tensor(np.where(np.arange(numbers) % (numbers // 2), 1.0, 0.0), requires_grad=True)
    return lambda: tg.prod(x) + tg.cumprod(x).sum(), lambda loss: loss.backward(retain_graph=False)


def _optimizer(parameters: int) -> Case:
    """A step of Adam, and its state and the model's, out and in."""

    class Model(tg.nn.Module):
        def __init__(self) -> None:
            self.all = _leaves(parameters)

    model = Model()
    optimizer = tg.optim.Adam(model.parameters())

    def step() -> None:
        for p in optimizer.parameters:
            p.grad = np.ones(3)
        optimizer.step()

    def states(_: Any) -> None:
        for each in (optimizer, model):
            each.load_state_dict(each.state_dict())

    return step, states


def _explanation(operators: int) -> Case:
    loss = _chain(operators)[0]()
    return lambda: str(tg.study.explain(loss, names={})), lambda text: None


# What grows, its sizes, the first few of them for a quick run, and the case of a size.
GROWTHS: dict[str, tuple[list[int], Callable[[int], Case]]] = {
    "cross_entropy, rows × 10": ([1_000, 10_000, 100_000, 1_000_000], lambda n: _loss(n, 10)),
    "cross_entropy, 256 × classes": ([100, 1_000, 10_000, 100_000], lambda n: _loss(256, n)),
    "linear_cross_entropy, 256 × 64 → classes": ([1_000, 10_000, 100_000, 1_000_000], _linear),
    "layers of 64, batch 256": ([4, 16, 64, 256], _deep),
    "a chain of tiny operators": ([100, 1_000, 10_000, 100_000], _chain),
    "stack of so many Tensors": ([100, 1_000, 10_000, 100_000], _join),
    "prod and cumprod, zeros among the factors": ([1_000, 10_000, 100_000, 1_000_000], _products),
    "parameters: Adam's step, states out and in": ([100, 1_000, 10_000, 100_000], _optimizer),
    "a drawing of so many operators": ([300, 1_000, 3_000, 10_000], _drawing),
    "an explanation of so many operators": ([300, 1_000, 3_000, 10_000], _explanation),
}


def seconds(case: Case, repeats: int) -> float:
    """The median time of forward and backward."""
    forward, backward = case
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        backward(forward())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def memory(case: Case) -> tuple[float, float]:
    """The peak of forward and backward, and of the backward above the forward's level, in MiB."""
    forward, backward = case
    backward(forward())
    tracemalloc.start()
    loss = forward()
    level = tracemalloc.get_traced_memory()[0]
    first = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    backward(loss)
    second = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return max(first, second) / 2**20, max(0, second - level) / 2**20


def exponent(sizes: list[int], values: list[float]) -> float:
    """The slope of the least-squares line through the logarithms of the larger half of the sizes."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half - 1 :]), np.log(values[half - 1 :]), 1)[0])


def main() -> None:
    """A line for each growth and size, then the exponents."""
    parser = argparse.ArgumentParser("python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, measures nothing")
    quick = parser.parse_args().quick
    print(f"{__doc__}\n{turns.machine()}, tinygrad_ce alone\n")
    rows, fitted = [], []
    for name, (sizes, make) in GROWTHS.items():
        sizes = sizes[:2] if quick else sizes
        times, peaks = [], []
        for n in sizes:
            case = make(n)
            seconds(case, 2)
            times.append(seconds(case, 1 if quick else 9))
            whole, reverse = memory(case)
            peaks.append(whole)
            rows.append([name, f"{n:,}", turns.spell(times[-1]), f"{whole:.2f} MiB", f"{reverse:.2f} MiB"])
        fitted.append([name, f"{exponent(sizes, times):.2f}", f"{exponent(sizes, peaks):.2f}"])
    print(turns.table(["what grows", "size", "time", "peak memory", "reverse pass above forward"], rows))
    print(f"\n{turns.table(['what grows', 'exponent of time', 'exponent of memory'], fitted)}")


if __name__ == "__main__":
    main()
