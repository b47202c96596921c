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


def in_blocks(x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same among so many rows that they are done in blocks, and rows that need a shift apart from the others."""
    plain = np.zeros((30_000, CLASSES), x.dtype)
    loss, slope = ours(np.concatenate([plain, x]), np.concatenate([np.zeros(len(plain), np.intp), target]))
    return loss[len(plain) :], slope[len(plain) :]


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
    lines = []
    for dtype in (np.float32, np.float64):
        x, target = rows(count, dtype)
        methods = {
            "tinygrad_ce": ours,
            "tinygrad_ce, in blocks": in_blocks,
            "tinygrad_ce, soft": ours,
            "the usual formulas": usual,
        }
        for name, f in methods.items():
            given = np.eye(CLASSES, dtype=dtype)[target] if name.endswith("soft") else target
            loss, slope, lost = errors(x, target, f(x, given))
            sums = np.abs(f(x, given)[1].astype(np.longdouble).sum(axis=1)).max() / np.finfo(dtype).eps
            lines.append([f"{name}, {np.dtype(dtype)}", f"{loss:.3g}", f"{slope:.3g}", f"{lost}", f"{float(sums):.2f}"])
    head = ["largest error in eps", "loss", "gradient", "numbers that read 0", "a gradient row's sum"]
    print(turns.table(head, lines))


if __name__ == "__main__":
    main()
