"""Training a linear classifier to a stated accuracy: seconds of this project's fit, a PyTorch loop and scikit-learn.

digits: 1,438 rows of 64 features for training, 359 held out. synthetic: 60,000 rows of 784 features in 10 classes whose
means differ by little, 10,000 held out. fit and the loop take the same steps (SGD, batches of 32 and 256) and look at
the held-out accuracy after every epoch; LogisticRegression runs its own L-BFGS to its own end, as it comes, and with as
few iterations as it takes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import turns

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
TASKS: dict[str, dict[str, Any]] = {
    "digits": {"accuracy": 0.94, "batch": 32, "lr": 0.1, "epochs": 100},
    "synthetic": {"accuracy": 0.9, "batch": 256, "lr": 0.1, "epochs": 20},
}


def data(task: str, quick: bool) -> Data:
    """Rows and labels for training, rows and labels held out."""
    import tinygrad_ce as tg

    if task == "digits":
        train, test = tg.data.split(tg.data.load_digits(), 0.2, seed=0)
        few = slice(300 if quick else None)
        return train.x[few], train.y[few], test.x, test.y
    rng = np.random.default_rng(0)
    count = 700 if quick else 70_000
    means = 0.12 * rng.standard_normal((10, 784), np.float32)
    y = rng.integers(0, 10, count)
    x = means[y] + rng.standard_normal((count, 784), np.float32)
    cut = count * 6 // 7
    return x[:cut], y[:cut], x[cut:], y[cut:]


def tinygrad_ce(parts: Data, accuracy: float, batch: int, lr: float, epochs: int) -> float:
    """This project's fit, an epoch at a time, as one goes on from a finished one."""
    import tinygrad_ce as tg

    x, y, test_x, test_y = parts
    model = tg.nn.Linear(x.shape[1], 10, rng=0)
    optimizer = tg.optim.SGD(model.parameters(), lr=lr)
    found = 0.0
    for epoch in range(epochs):
        tg.fit(model, (x, y), epochs=1, batch_size=batch, optimizer=optimizer, seed=epoch, progress=False)
        found = tg.accuracy(tg.predict(model, test_x), test_y)
        if found >= accuracy:
            break
    return found


def pytorch(parts: Data, accuracy: float, batch: int, lr: float, epochs: int) -> float:
    """The same steps as a plain PyTorch loop over shuffled batches."""
    import torch

    torch.set_num_threads(turns.threads())
    torch.manual_seed(0)
    x, y, test_x, test_y = (torch.from_numpy(a) for a in parts)
    model = torch.nn.Linear(x.shape[1], 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    found = 0.0
    for _ in range(epochs):
        order = torch.randperm(len(y))
        for i in range(0, len(y), batch):
            rows = order[i : i + batch]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            found = float((model(test_x).argmax(1) == test_y).float().mean())
        if found >= accuracy:
            break
    return found


def scikit_learn(parts: Data, accuracy: float, batch: int, lr: float, epochs: int) -> float:
    """LogisticRegression as it comes (with more iterations allowed on digits, where it asks for them)."""
    from sklearn.linear_model import LogisticRegression

    x, y, test_x, test_y = parts
    return float(LogisticRegression(max_iter=1000).fit(x, y).score(test_x, test_y))


def scikit_learn_in_a_hurry(parts: Data, accuracy: float, batch: int, lr: float, epochs: int) -> tuple[float, float]:
    """LogisticRegression with the fewest iterations, of 5, 10, 20 …, that reach the accuracy: the last fit's time."""
    import warnings

    from sklearn.linear_model import LogisticRegression

    x, y, test_x, test_y = parts
    warnings.simplefilter("ignore")
    for iterations in (5, 10, 20, 40, 80, 160):
        start = time.perf_counter()
        found = float(LogisticRegression(max_iter=iterations).fit(x, y).score(test_x, test_y))
        seconds = time.perf_counter() - start
        if found >= accuracy:
            break
    return found, seconds


def timed(train: Callable[..., float]) -> Callable[..., tuple[float, float]]:
    """The accuracy that a training comes to, and its seconds."""

    def call(*args: Any, **options: Any) -> tuple[float, float]:
        start = time.perf_counter()
        found = train(*args, **options)
        return found, time.perf_counter() - start

    return call


PEERS: dict[str, Callable[..., tuple[float, float]]] = {
    "tinygrad_ce": timed(tinygrad_ce),
    "PyTorch loop": timed(pytorch),
    "LogisticRegression": timed(scikit_learn),
    "LogisticRegression, few iterations": scikit_learn_in_a_hurry,
}


def one(task: str, peer: str, quick: bool) -> dict[str, Any]:
    """In its own process: the seconds of one training, after one on a few rows that loads the code."""
    parts = data(task, quick)
    options = TASKS[task]
    x, y, test_x, test_y = parts
    try:
        PEERS[peer]((x[:320], y[:320], test_x, test_y), **{**options, "epochs": 1})
    except ImportError as error:
        return {"missing": f"{error.name} is not installed"}
    found, seconds = PEERS[peer](parts, **{**options, **({"epochs": 1} if quick else {})})
    return {"seconds": seconds, "accuracy": found}


def main() -> None:
    """A line for each task and peer: seconds, their ratio to ours, the accuracy reached."""
    parser = argparse.ArgumentParser("python -m benchmarks.fit", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one task, one epoch, few rows: shows that it works")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(*json.loads(args.one))))
        return
    print(f"{__doc__}\n{turns.machine()}\n")
    rows, missing = [], set()
    for task, options in list(TASKS.items())[: 1 if args.quick else None]:
        times: dict[str, list[float]] = {}
        accuracy: dict[str, float] = {}
        for _ in range(1 if args.quick else args.rounds):
            for peer in PEERS:
                command = [sys.executable, "-m", "benchmarks.fit", "--one", json.dumps([task, peer, args.quick])]
                done = subprocess.run(command, capture_output=True, text=True, env=turns.environment(), check=True)
                found = json.loads(done.stdout)
                if "missing" in found:
                    missing.add(f"{peer}: {found['missing']}")
                else:
                    times.setdefault(peer, []).append(found["seconds"])
                    accuracy[peer] = found["accuracy"]
        for peer, seconds in times.items():
            row = [f"{task} to {options['accuracy']}", peer, turns.spell(float(np.median(seconds)))]
            rows.append([*row, f"{turns.ratio(times, peer, 'tinygrad_ce'):.2f} ×", f"{accuracy[peer]:.4f}"])
    print(turns.table(["task", "by", "time", "over ours", "accuracy"], rows))
    for line in sorted(missing):
        print(f"\n(left out: {line})")


if __name__ == "__main__":
    main()
