"""linear_cross_entropy beside the two steps it stands for: time, and peak memory beside inputs and gradients.

float32, forward and backward, each method in its own process, by turns. Newer versions of PyTorch have a
linear_cross_entropy of their own, which holds all logits unless it is asked for chunks.
"""

from __future__ import annotations

import argparse
import json
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


def pytorch(x: np.ndarray, w: np.ndarray, y: np.ndarray, how: str) -> Callable[[], Any]:
    """PyTorch: its own linear_cross_entropy where it has one, as it is or in chunks, or the two steps."""
    import torch

    torch.set_num_threads(turns.threads())
    tx, tw = torch.from_numpy(x).requires_grad_(), torch.from_numpy(w).requires_grad_()
    ty = torch.from_numpy(y)
    functional = torch.nn.functional
    own = getattr(functional, "linear_cross_entropy", None)
    if how != "two steps" and own is None:
        raise ImportError("no linear_cross_entropy", name=f"linear_cross_entropy in PyTorch {torch.__version__}")

    def call() -> None:
        tx.grad = tw.grad = None
        if how == "two steps":
            loss = functional.cross_entropy(functional.linear(tx, tw), ty)
        elif how == "chunks":
            loss = own(tx, tw, ty, options=torch.nn.LinearCrossEntropyOptions())
        else:
            loss = own(tx, tw, ty)
        loss.backward()

    return call


METHODS: dict[str, Callable[..., Callable[[], Any]]] = {
    "tinygrad_ce": lambda x, w, y: ours(x, w, y, blocks=True),
    "tinygrad_ce, two steps": lambda x, w, y: ours(x, w, y, blocks=False),
    "PyTorch, two steps": lambda x, w, y: pytorch(x, w, y, "two steps"),
    "PyTorch's own": lambda x, w, y: pytorch(x, w, y, "own"),
    "PyTorch's own, in chunks": lambda x, w, y: pytorch(x, w, y, "chunks"),
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


def run(method: str, shape: tuple[int, int, int], repeats: int) -> dict[str, Any]:
    """A method's process for one shape."""
    command = [sys.executable, "-m", "benchmarks.linear_cross_entropy", "--one", json.dumps([method, shape, repeats])]
    done = subprocess.run(command, capture_output=True, text=True, env=turns.environment(), check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {"missing": f"its process ended with {done.returncode}"}


def main() -> None:
    """A table with a line for each shape and method."""
    parser = argparse.ArgumentParser("python -m benchmarks.linear_cross_entropy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small shape: shows that it works, measures nothing")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(*json.loads(args.one))))
        return
    print(f"{__doc__}\n{turns.machine()}\n")
    rows, missing = [], {}
    for shape in QUICK if args.quick else SHAPES:
        times: dict[str, list[float]] = {}
        memory: dict[str, float] = {}
        for _ in range(1 if args.quick else args.rounds):
            for method in METHODS:
                found = run(method, shape, 1 if args.quick else 3)
                if "missing" in found:
                    missing[method] = found["missing"]
                else:
                    times.setdefault(method, []).append(statistics.median(found["times"]))
                    memory[method] = max(memory.get(method, 0.0), found["memory"])
        for method in times:
            row = [f"{shape[0]} × {shape[1]} → {shape[2]:,}", method, turns.spell(statistics.median(times[method]))]
            rows.append([*row, f"{turns.ratio(times, method, 'tinygrad_ce'):.2f} ×", f"{memory[method]:.1f} MiB"])
    print(turns.table(["rows × features → classes", "method", "time", "over ours", "memory"], rows))
    for method, why in missing.items():
        print(f"\n(left out: {method}: {why})")


if __name__ == "__main__":
    main()
