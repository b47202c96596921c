"""What checking the labels (and looking for probabilities) costs of a cross-entropy, forward and backward, float32."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_ce as tg
from benchmarks import turns
from tinygrad_ce.losses import validate

SHAPES = [(1024, 10), (1024, 100), (8192, 10), (65536, 10), (8192, 1000)]


def seconds(call: Callable[[], Any], count: int) -> float:
    """The time of one call."""
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def main() -> None:
    """A line for each shape: the median share over rounds by turns."""
    parser = argparse.ArgumentParser("python -m benchmarks.label_checks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it works, measures nothing")
    quick = parser.parse_args().quick
    print(f"{__doc__}\n{turns.machine()}\n")
    rows = []
    for shape in SHAPES[:1] if quick else SHAPES:
        rng = np.random.default_rng(0)
        x = tg.Tensor(rng.standard_normal(shape, np.float32), requires_grad=True)
        y = rng.integers(0, shape[1], shape[0])

        def loss(x: Any = x, y: Any = y) -> None:
            x.grad = None
            tg.cross_entropy(x, y).backward()

        def checks(x: Any = x.data, y: Any = y, shape: Any = shape) -> None:
            validate.check_options("", "mean", 0.0)
            validate.warn_of_probabilities("", x)
            validate.check_indices("", y, shape, 1, -100)

        count = max(1, 200_000 // (shape[0] * shape[1]))
        rounds = [(seconds(checks, count), seconds(loss, count)) for _ in range(1 if quick else 15)]
        share = statistics.median(check / whole for check, whole in rounds)
        rows.append([f"{shape[0]:,} × {shape[1]:,}", f"{100 * share:.2f} %"])
    print(turns.table(["tinygrad_ce, rows × classes", "share of the loss"], rows))


if __name__ == "__main__":
    main()
