"""Loss and gradient of random rows against 60-digit arithmetic: the largest relative error, in units of eps.

Rows have 5 classes, scales from 1 to 60 and offsets up to 10,000; every loss, and every gradient entry that is a normal
number, counts. Beside it what float arithmetic gives that forms log(sum(exp)) and p - onehot.
"""

from __future__ import annotations

import argparse

import mpmath
import numpy as np

import tinygrad_ce as tg
from benchmarks import turns

CLASSES = 5


def rows(count: int, dtype: type, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels; half of the labels are at the largest logit."""
    rng = np.random.default_rng(seed)
    scale = rng.uniform(1, 60, (count, 1))
    offset = rng.choice([0.0, 1.0, 100.0, 1e4], (count, 1)) * rng.uniform(-1, 1, (count, 1))
    x = (scale * rng.standard_normal((count, CLASSES)) + offset).astype(dtype)
    return x, np.where(rng.random(count) < 0.5, x.argmax(axis=1), rng.integers(0, CLASSES, count))


def ours(x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """This project's loss and gradient of each row."""
    t = tg.Tensor(x, requires_grad=True)
    loss = tg.cross_entropy(t, target, reduction="none")
    loss.sum().backward()
    assert t.grad is not None
    return loss.data, t.grad


def usual(x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The usual formulas: logsumexp with the maximum subtracted, and softmax - onehot by subtraction."""
    z = x - x.max(axis=1, keepdims=True)
    e = np.exp(z)
    onehot = np.eye(CLASSES, dtype=x.dtype)[target]
    total = e.sum(axis=1, keepdims=True)
    return np.log(total[:, 0]) - (z * onehot).sum(axis=1), e / total - onehot


def errors(x: np.ndarray, target: np.ndarray, found: tuple[np.ndarray, np.ndarray]) -> tuple[float, float, int]:
    """The largest relative error of loss and gradient in eps, and how many numbers read 0 that aren't."""
    limits = np.finfo(x.dtype)
    worst, lost = [0.0, 0.0], 0
    with mpmath.workdps(60):
        for row, t, loss, slope in zip(x, target, *found, strict=True):
            e = [mpmath.e ** mpmath.mpf(float(v)) for v in row]
            total = mpmath.fsum(e)
            others = mpmath.fsum(v for j, v in enumerate(e) if j != t)
            truth = [(0, loss, mpmath.log1p(others / e[t]))]
            truth += [(1, slope[j], -others / total if j == t else e[j] / total) for j in range(len(row))]
            for kind, number, exact in truth:
                if abs(exact) > float(limits.tiny):
                    lost += number == 0
                    worst[kind] = max(worst[kind], float(abs(mpmath.mpf(float(number)) / exact - 1)))
    return worst[0] / float(limits.eps), worst[1] / float(limits.eps), lost


def main() -> None:
    """Print a line for each dtype and method."""
    parser = argparse.ArgumentParser("python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows: shows that it works")
    count = 20 if parser.parse_args().quick else 2000
    print(f"{__doc__}\n{turns.machine()}, {count} rows\n")
    print(f"{'':<22} {'':<9} {'loss':>10} {'gradient':>10} {'lost':>6}   (largest error in eps; numbers that read 0)")
    for dtype in (np.float32, np.float64):
        x, target = rows(count, dtype)
        for name, f in (("tinygrad_ce", ours), ("tinygrad_ce, soft", ours), ("the usual formulas", usual)):
            given = np.eye(CLASSES, dtype=dtype)[target] if name.endswith("soft") else target
            loss, slope, lost = errors(x, target, f(x, given))
            print(f"{name:<22} {np.dtype(dtype).name:<9} {loss:>10.3g} {slope:>10.3g} {lost:>6}")
        sums = np.abs(ours(x, target)[1].astype(np.longdouble).sum(axis=1)).max() / np.finfo(dtype).eps
        print(f"{'':<22} {'':<9} rows of the gradient sum to 0 within {float(sums):.2f} eps")


if __name__ == "__main__":
    main()
