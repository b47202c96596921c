"""linear_cross_entropy beside the two steps it stands for: time, and peak memory beside inputs and gradients.

float32, forward and backward, each method in its own process. PyTorch's own linear_cross_entropy is measured where the
installed version has one, else its two steps.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import turns

SHAPES = [(256, 64, 1000), (512, 64, 32_000), (256, 64, 262_144), (512, 64, 262_144), (512, 64, 1_000_000)]
QUICK = [(32, 8, 1000)]


def data(rows: int, features: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, weights, labels."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, features), np.float32)
    return x, rng.standard_normal((classes, features), np.float32) / 8, rng.integers(0, classes, rows)


def ours(x: np.ndarray, w: np.ndarray, y: np.ndarray, blocks: bool) -> Callable[[], Any]:
    """This project: in blocks, or in two steps."""
    import tinygrad_ce as tg

    tx, tw = tg.Tensor(x, requires_grad=True), tg.Tensor(w, requires_grad=True)

    def call() -> None:
        tx.grad = tw.grad = None
        (tg.linear_cross_entropy(tx, tw, y) if blocks else tg.cross_entropy(tg.linear(tx, tw), y)).backward()

    return call


def pytorch(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    """PyTorch: its own linear_cross_entropy if it has one, else two steps."""
    import torch

    torch.set_num_threads(turns.threads())
    tx, tw = torch.from_numpy(x).requires_grad_(), torch.from_numpy(w).requires_grad_()
    ty = torch.from_numpy(y)
    functional = torch.nn.functional
    own = getattr(functional, "linear_cross_entropy", None)

    def call() -> None:
        tx.grad = tw.grad = None
        (own(tx, tw, ty) if own else functional.cross_entropy(functional.linear(tx, tw), ty)).backward()

    return call


METHODS: dict[str, Callable[..., Callable[[], Any]]] = {
    "tinygrad_ce in blocks": lambda x, w, y: ours(x, w, y, blocks=True),
    "tinygrad_ce, two steps": lambda x, w, y: ours(x, w, y, blocks=False),
    "PyTorch": pytorch,
}


def peak() -> float:
    """The process's largest resident memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 2**20)


def one(method: str, shape: tuple[int, int, int], repeats: int) -> dict[str, Any]:
    """In its own process: the times, and the growth of resident memory beyond the gradients."""
    x, w, y = data(*shape)
    try:
        call = METHODS[method](x, w, y)
    except ImportError as error:
        return {"missing": error.name}
    METHODS[method](*data(8, shape[1], 16))()  # code and threads are loaded before memory is measured
    before = peak()
    call()
    grown = peak() - before - (x.nbytes + w.nbytes) / 2**20
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return {"times": times, "memory": max(grown, 0.0)}


def main() -> None:
    """A table with a line for each shape and method."""
    parser = argparse.ArgumentParser("python -m benchmarks.linear_cross_entropy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small shape: shows that it works, measures nothing")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(*json.loads(args.one))))
        return
    print(f"{__doc__}\n{turns.machine()}\n")
    print(f"{'rows':>5} {'features':>9} {'classes':>9}  {'':<24} {'median':>11} {'memory':>12} {'logits would be':>16}")
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(turns.threads()))
    for shape in QUICK if args.quick else SHAPES:
        for method in METHODS:
            command = [sys.executable, "-m", "benchmarks.linear_cross_entropy", "--one"]
            command.append(json.dumps([method, shape, 1 if args.quick else 5]))
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **limits}, check=False)
            head = f"{shape[0]:>5} {shape[1]:>9} {shape[2]:>9,}  {method:<24}"
            found = json.loads(done.stdout) if done.returncode == 0 else {"missing": f"it ended with {done.returncode}"}
            if "missing" in found:
                print(f"{head} left out: {found['missing']}")
                continue
            logits = 4 * shape[0] * shape[2] / 2**20
            median = 1e3 * statistics.median(found["times"])
            print(f"{head} {median:>8.1f} ms {found['memory']:>8.1f} MiB {logits:>12.1f} MiB")


if __name__ == "__main__":
    main()
