"""Loss and gradient of random rows against 60-digit arithmetic: the largest relative error, in units of eps.

Rows have 5 classes, scales from 1 to 60 and offsets up to 10,000; every loss, and every gradient entry that is a normal
number, counts. Beside it what float arithmetic gives that forms log(sum(exp)) and p - onehot. With --search, the worst
rows of 2 to 10 classes that a search finds: it draws rows of many kinds, keeps the worst, and changes these a little.
"""

from __future__ import annotations

import argparse
import time

import mpmath
import numpy as np

import tinygrad_ce as tg
from benchmarks import turns
from tinygrad_ce.kernels.softmax import index_cross_entropy

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
    plain = np.zeros((30_000, x.shape[1]), x.dtype)
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


def drawn(count: int, classes: int, dtype: type, rng: np.random.Generator) -> np.ndarray:
    """Rows of all scales, with offsets at which exp overflows or underflows, with logits far below, and with masks."""
    range_ = 1 if dtype == np.float32 else 8
    scale, signs = np.exp(rng.uniform(-3, 6, (count, 1))), rng.choice([-1, 1], (count, 1))
    sizes = [0, 100, 1e4, range_ * rng.uniform(70, 110, (count, 1)), 10 ** rng.uniform(-3, 7, (count, 1))]
    offset = signs * np.choose(rng.integers(0, 5, (count, 1)), sizes)
    x = offset + scale * rng.standard_normal((count, classes))
    kind, some = rng.random((count, 1)), rng.random(x.shape) < 0.5
    x = np.where((kind < 0.2) & some, offset - range_ * rng.uniform(60, 95, x.shape), x)
    some[:, 0] = False
    return np.where((kind > 0.9) & some, -np.inf, x).astype(dtype)


def changed(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows moved or stretched a little, or with one logit that is."""
    one = rng.integers(0, x.shape[1], (len(x), 1)) == np.arange(x.shape[1])
    where = one | (rng.random((len(x), 1)) < 0.5)
    size = rng.choice([1e-7, 1e-3, 0.01, 0.3, 3], (len(x), 1)) * rng.standard_normal((len(x), 1))
    moved = np.where(rng.random((len(x), 1)) < 0.5, x + size, x * (1 + size / 10))
    return np.where(where, moved, x).astype(x.dtype)


def quick_errors(x: np.ndarray, target: np.ndarray, together: bool) -> np.ndarray:
    """Each row's largest error in eps, beside NumPy's longest numbers; numbers below the normal ones as their least."""
    limits, rows, long = np.finfo(x.dtype), np.arange(len(x)), x.astype(np.longdouble)
    with np.errstate(all="ignore"):
        e = np.exp(long - long.max(axis=1, keepdims=True))
        label = e[rows, target].copy()
        e[rows, target] = 0
        others = e.sum(axis=1)
        e[rows, target] = -others
        exact = np.column_stack([np.log1p(others / label), e / (label + others)[:, None]])
        if together:  # so many rows are done in another way than a few
            found = in_blocks(x, target)
        else:
            parts = [index_cross_entropy(x[i : i + 8], target[i : i + 8], 1.0, True) for i in range(0, len(x), 8)]
            found = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
        unit = np.maximum(np.abs(exact), np.longdouble(limits.tiny)) * np.longdouble(limits.eps)
        off = np.abs(np.column_stack(found).astype(np.longdouble) - exact) / unit
    off[np.isinf(exact)] = 0
    return np.where(np.isnan(off), np.inf, off).max(axis=1).astype(float)


def search(dtype: type, classes: int, together: bool, seconds: float, seed: int = 0) -> float:
    """The largest error that a search finds."""
    rng = np.random.default_rng(seed)
    kept, kept_target, worst = drawn(0, classes, dtype, rng), np.zeros(0, np.intp), np.zeros(0)
    end = time.monotonic() + seconds
    while not len(worst) or time.monotonic() < end:
        x = np.concatenate([drawn(400, classes, dtype, rng), changed(np.repeat(kept, 10, axis=0), rng)])
        target = np.where(rng.random(400) < 0.5, x[:400].argmax(axis=1), rng.integers(0, classes, 400))
        target = np.concatenate([target, np.repeat(kept_target, 10)])
        found = np.concatenate([worst, quick_errors(x, target, together)])
        x, target = np.concatenate([kept, x]), np.concatenate([kept_target, target])
        order = np.argsort(found)[-100:]
        kept, kept_target, worst = x[order], target[order], found[order]
    return float(worst[-1])


def main() -> None:
    """Print a line for each dtype and method."""
    parser = argparse.ArgumentParser("python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows: shows that it works")
    parser.add_argument("--search", type=float, metavar="SECONDS", help="look for the worst rows, so long each time")
    args = parser.parse_args()
    count = 20 if args.quick else 2000
    if args.search:
        head = ["largest error in eps", *(f"{c} classes" for c in (2, 3, 5, 10))]
        lines = [
            [f"{np.dtype(dtype)}, {how}", *(f"{search(dtype, c, many, args.search):.2f}" for c in (2, 3, 5, 10))]
            for dtype in (np.float32, np.float64)
            for how, many in (("few rows", False), ("in blocks", True))
        ]
        print(f"{__doc__}\n{turns.machine()}\n\n{turns.table(head, lines)}")
        return
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
