"""linear_cross_entropy's loops: logits x Wᵀ + b made block by block, used and forgotten. Knows no Tensor.

Of each row the first sweep keeps its largest logit m, where it is, the sum s of the other exponentials exp(z - m), and
the label's logit; two blocks join like two rows. The second sweep makes each block's logits again, turns them into
p - target, and adds their products with x and W into the gradients. Memory beside inputs and gradients is one block. If
there is but one, its gradient is made at once, and kept.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_ce.kernels.softmax import index_cross_entropy, row_sums
from tinygrad_ce.kernels.threads import by_rows

# Logits in a block, by measurement: 4 MiB of float32 keeps BLAS busy, and stays within a common cache.
BLOCK = 1 << 20
_ROWS = 512


class Sweep:
    """A loss of K rows over C classes.

    Args:
        x, w, b: (K, F) rows, (C, F) weights, and (C) or None.
        label: (K) class indices, or None.
        alpha: what the label's surprise counts: one number, or (K).
        dense: what every class counts beside it, (C) for all rows alike or (K, C), or None.
    """

    def __init__(
        self, x: np.ndarray, w: np.ndarray, b: Any, label: np.ndarray | None, alpha: Any, dense: np.ndarray | None
    ) -> None:
        self.x, self.w, self.b, self.label, self.dense = x, w, b, label, dense
        self.alpha = np.broadcast_to(np.asarray(alpha, x.dtype), len(x))
        self.mass = np.broadcast_to(0 if dense is None else dense.sum(axis=-1), len(x)).astype(x.dtype)
        self.found: tuple[Any, dict[str, np.ndarray]] | None = None
        self.lock = threading.Lock()
        self.slope: np.ndarray | None = None
        one = 0 < len(x) <= _ROWS and len(x) * len(w) <= BLOCK and label is not None and dense is None
        with np.errstate(all="ignore"):
            self.losses = self._at_once() if one else self._forward()

    def _blocks(self) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Row ranges, class ranges, and their logits, in a buffer that the next block writes over."""
        rows = min(len(self.x), _ROWS) or 1
        step = max(1, min(len(self.w), BLOCK // rows))
        buffer = np.empty((rows, step), self.x.dtype)
        for r in range(0, len(self.x), rows):
            x = self.x[r : r + rows]
            for c in range(0, len(self.w), step):
                w = self.w[c : c + step]
                z = np.matmul(x, w.T, out=buffer.reshape(-1)[: len(x) * len(w)].reshape(len(x), len(w)))
                if self.b is not None:
                    z += self.b[c : c + step]
                yield slice(r, r + len(x)), slice(c, c + len(w)), z

    def _labels_in(self, r: slice, c: slice) -> tuple[Any, Any]:
        """The rows of a block whose label is in it, and where."""
        assert self.label is not None
        inside = np.flatnonzero((self.label[r] >= c.start) & (self.label[r] < c.stop))
        return inside, self.label[r][inside] - c.start

    def _dense_in(self, r: slice, c: slice) -> np.ndarray | None:
        if self.dense is None:
            return None
        return self.dense[c] if self.dense.ndim == 1 else self.dense[r, c]

    def _at_once(self) -> np.ndarray:
        """The loss of each row, and the gradient in the logits, of a single block of them."""
        assert self.label is not None
        ((_, _, z),) = self._blocks()
        self.largest = z.argmax(axis=1)
        losses, self.slope = index_cross_entropy(z, self.label, 1.0, keep=True)
        return _weighted(self.alpha, losses)

    def _forward(self) -> np.ndarray:
        """The loss of each row; and m, s, and where m is."""
        count, dtype = len(self.x), self.x.dtype
        self.m, self.s = np.full(count, -np.inf, dtype), np.zeros(count, dtype)
        self.largest = np.zeros(count, np.intp)
        self.at_label = np.zeros(count, dtype)
        self.lag, self.seen = np.zeros(count, dtype), np.zeros(count, dtype)  # Σ mass (m - z) and Σ mass so far
        for r, c, z in self._blocks():
            by_rows(self._join, z, np.arange(r.start, r.stop), c)
        m, s = self.m, self.s
        m[~np.isfinite(m) | np.isnan(s)] = np.nan
        surprise = np.log1p(s)
        losses = self.mass * surprise + self.lag + 0 * m
        if self.label is not None:
            losses = losses + _weighted(self.alpha, surprise + (m - self.at_label))
        return losses  # type: ignore[no-any-return]

    @np.errstate(all="ignore")
    def _join(self, z: np.ndarray, rows: np.ndarray, c: slice) -> None:
        """Join the logits of some rows and classes to what their rows have so far."""
        r = slice(rows[0], rows[-1] + 1)
        at = np.arange(0, z.size, z.shape[1]) + z.argmax(axis=1)
        flat = z.reshape(-1)
        top = flat[at]
        if self.label is not None:
            inside, where = self._labels_in(r, c)
            self.at_label[r][inside] = z[inside, where]
        before, s = self.m[r].copy(), self.s[r]
        new = np.maximum(before, top)
        level = np.where(new == -np.inf, 0, new)  # so far every class is masked: exp(-inf - 0) is 0
        dense = self._dense_in(r, c)
        if dense is not None:
            seen = self.seen[r]
            behind = np.multiply(level[:, None] - z, dense, where=dense != 0, out=np.zeros_like(z))
            self.lag[r] += np.where(seen > 0, (level - before) * seen, 0) + behind.sum(axis=1)
            self.seen[r] += dense.sum(axis=-1)
        z -= np.where(top == -np.inf, 0, top)[:, None]
        np.exp(z, out=z)
        flat[at] = 0
        rest = row_sums(z)
        # Two rows joined: exp(a)(1 + s) + exp(b)(1 + t) is exp(a)(1 + s + exp(b - a)(1 + t)) where a is the larger.
        ahead = top > before
        gap = np.where(np.isinf(before), 0, np.exp(-np.abs(top - before)))
        self.s[r] = np.where(ahead, rest, s) + gap * (1 + np.where(ahead, s, rest))
        self.largest[r] = np.where(ahead, at % z.shape[1] + c.start, self.largest[r])
        self.m[r] = new

    def gradients(self, g: Any, needed: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Gradients in "x", "w" and "b", those needed; g is the gradient of a row's loss: a number, or one per row."""
        with self.lock, np.errstate(all="ignore"):  # another thread may go back through the same graph
            g = np.array(np.broadcast_to(np.asarray(g, self.x.dtype), len(self.x)))
            if self.found is None or not np.array_equal(self.found[0], g, equal_nan=True):
                self.found = g, self._gradients(g, needed)
            return self.found[1]

    def _gradients(self, g: np.ndarray, needed: tuple[str, ...]) -> dict[str, np.ndarray]:
        x, w = self.x, self.w
        total = {"x": np.zeros_like(x), "w": np.zeros_like(w), "b": np.zeros(len(w), x.dtype)}
        for r, c, z in self._slopes(g):
            if "x" in needed:
                total["x"][r] += z @ w[c]
            if "w" in needed:
                total["w"][c] += z.T @ x[r]
            if "b" in needed:
                total["b"][c] += z.sum(axis=0)
        return {name: total[name] for name in needed}

    def _slopes(self, g: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Row ranges, class ranges, and the gradient in their logits."""
        if self.slope is not None:
            yield slice(0, len(self.x)), slice(0, len(self.w)), self.slope * (g * self.alpha)[:, None]
            return
        for r, c, z in self._blocks():
            by_rows(self._to_slope, z, np.arange(r.start, r.stop), c, g[r])
            yield r, c, z

    @np.errstate(all="ignore")
    def _to_slope(self, z: np.ndarray, rows: np.ndarray, c: slice, g: np.ndarray) -> None:
        """Turn the logits of some rows and classes into the gradient in them."""
        r = slice(rows[0], rows[-1] + 1)
        alpha, s = self.alpha[r], self.s[r]
        z -= self.m[r, None]
        np.exp(z, out=z)
        z *= (g * (alpha + self.mass[r]) / (1 + s))[:, None]
        dense = self._dense_in(r, c)
        if dense is not None:
            z -= g[:, None] * dense
        if self.label is not None:
            inside, where = self._labels_in(r, c)
            z[inside, where] -= (g * alpha)[inside]
            if self.dense is None:  # where the label is the largest, p - 1 is -s / (1 + s), without cancelling
                sure = self.largest[r][inside] == self.label[r][inside]
                rows = inside[sure]
                z[rows, where[sure]] = -(g * alpha * s / (1 + s))[rows]


def _weighted(weight: Any, losses: np.ndarray) -> np.ndarray:
    """weight · losses; a weight of 0 silences also an infinite loss."""
    kept: np.ndarray = np.where(np.isnan(losses), losses, 0)
    return np.multiply(weight, losses, where=weight != 0, out=kept)  # type: ignore[no-any-return]
