"""linear_cross_entropy's loops: logits z = x Wᵀ + b made block by block, used and forgotten. Knows no Tensor.

The first sweep over the blocks keeps a few numbers of each row (_Seen), from which its loss follows. The second one
makes each block's logits again, turns them into their gradient, and adds its products with x and W to the gradients.
Memory beside inputs and gradients is one block. If there is but one, its gradient is made at once, and kept.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce.kernels.softmax import index_cross_entropy, row_sums
from tinygrad_ce.kernels.sums import add_up
from tinygrad_ce.kernels.threads import by_rows

# Logits in a block, by measurement: 4 MiB of float32 keeps BLAS busy, and stays within a common cache.
BLOCK = 1 << 20
_ROWS = 512


@dataclass
class _Seen:
    """What the logits z of the classes so far have told: one number for each row."""

    largest: np.ndarray  # m, the largest z
    largest_class: np.ndarray  # where it is
    rest_sum: np.ndarray  # s, the sum of exp(z - m) without the largest z
    label_logit: np.ndarray  # the label's z; 0 before it was met
    weight_sum: np.ndarray  # Σ w of the class weights w
    weighted_gap: np.ndarray  # Σ w (m - z)

    @classmethod
    def nothing(cls, count: int, dtype: np.dtype) -> _Seen:
        """Before the first class."""
        zeros = (np.zeros(count, kind) for kind in (np.intp, dtype, dtype, dtype, dtype))
        return cls(np.full(count, -np.inf, dtype), *zeros)


class Sweep:
    """A loss of K rows over C classes: the weighted sum of each row's negative log likelihoods (nll).

    Args:
        x, w, b: (K, F) rows, (C, F) weights, and (C) or None.
        label: (K) class indices, or None.
        label_weight: what the label's nll counts: one number, or (K).
        class_weights: what every class's nll counts beside it, (C) for all rows alike or (K, C), or None.

    Attributes:
        losses: (K) losses.
        largest: (K) class of each row's largest logit.
    """

    def __init__(
        self, x: np.ndarray, w: np.ndarray, b: Any, label: np.ndarray | None, label_weight: Any,
        class_weights: np.ndarray | None,
    ) -> None:  # fmt: skip
        self.x, self.w, self.b, self.label, self.class_weights = x, w, b, label, class_weights
        self.label_weight = np.broadcast_to(np.asarray(label_weight, x.dtype), len(x))
        self._seen = _Seen.nothing(len(x), x.dtype)
        self._kept: np.ndarray | None = None  # the gradient in the logits, if they are one block
        self._found: tuple[Any, dict[str, np.ndarray]] | None = None  # the last gradients, and for which g
        self._lock = threading.RLock()  # a signal handler may go back through the graph, too
        one_block = 0 < len(x) <= _ROWS and len(x) * len(w) <= BLOCK
        with np.errstate(all="ignore"):
            if one_block and label is not None and class_weights is None:
                self.losses = self._losses_at_once(label)
            else:
                self.losses = self._losses_in_blocks()

    @property
    def largest(self) -> np.ndarray:
        """The class of each row's largest logit."""
        return self._seen.largest_class

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

    def _labels_in(self, r: slice, c: slice) -> tuple[np.ndarray, np.ndarray]:
        """The rows of a block whose label is in it, and where."""
        assert self.label is not None
        inside = np.flatnonzero((self.label[r] >= c.start) & (self.label[r] < c.stop))
        return inside, self.label[r][inside] - c.start

    def _class_weights_in(self, r: slice, c: slice) -> np.ndarray | None:
        if self.class_weights is None:
            return None
        return self.class_weights[c] if self.class_weights.ndim == 1 else self.class_weights[r, c]

    # The first sweep

    def _losses_at_once(self, label: np.ndarray) -> np.ndarray:
        ((_, _, z),) = self._blocks()
        self._seen.largest_class = z.argmax(axis=1)
        losses, self._kept = index_cross_entropy(z, label, 1.0, keep=True)
        return _weighted(self.label_weight, losses)

    def _losses_in_blocks(self) -> np.ndarray:
        for r, c, z in self._blocks():
            by_rows(self._see, z, np.arange(r.start, r.stop), c)
        seen = self._seen
        m = seen.largest
        m[~np.isfinite(m) | np.isnan(seen.rest_sum)] = np.nan
        largest_nll = np.log1p(seen.rest_sum)
        losses = seen.weight_sum * largest_nll + seen.weighted_gap + 0 * m
        if self.label is not None:
            losses = losses + _weighted(self.label_weight, largest_nll + (m - seen.label_logit))
        return losses  # type: ignore[no-any-return]

    @np.errstate(all="ignore")
    def _see(self, z: np.ndarray, rows: np.ndarray, c: slice) -> None:
        """Join the logits of some rows and classes to what their rows have so far; z is written over."""
        seen, r = self._seen, slice(rows[0], rows[-1] + 1)
        if self.label is not None:
            inside, where = self._labels_in(r, c)
            seen.label_logit[r][inside] = z[inside, where]
        at = np.arange(0, z.size, z.shape[1]) + z.argmax(axis=1)
        flat = z.reshape(-1)
        before, here = seen.largest[r].copy(), flat[at]
        seen.largest[r] = np.maximum(before, here)
        self._see_weighted(z, r, c, before)
        z -= np.where(here == -np.inf, 0, here)[:, None]
        np.exp(z, out=z)
        flat[at] = 0
        rest_before, rest_here = seen.rest_sum[r], row_sums(z)
        # Two sums joined: exp(a)(1 + s) + exp(b)(1 + t) is exp(a)(1 + s + exp(b - a)(1 + t)) where a is the larger.
        ahead = here > before
        ratio = np.where(np.isinf(before), 0, np.exp(-np.abs(here - before)))
        larger, smaller = np.where(ahead, (rest_here, rest_before), (rest_before, rest_here))
        seen.rest_sum[r] = larger + ratio * (1 + smaller)
        seen.largest_class[r] = np.where(ahead, at % z.shape[1] + c.start, seen.largest_class[r])

    def _see_weighted(self, z: np.ndarray, r: slice, c: slice, before: np.ndarray) -> None:
        """Join Σ w (m - z), where m was before until now."""
        weights = self._class_weights_in(r, c)
        if weights is None:
            return
        seen = self._seen
        m = np.where(seen.largest[r] == -np.inf, 0, seen.largest[r])  # so far every class is masked
        gaps = np.multiply(m[:, None] - z, weights, where=weights != 0, out=np.zeros_like(z))
        rise = np.where(seen.weight_sum[r] > 0, (m - before) * seen.weight_sum[r], 0)
        seen.weighted_gap[r] += rise + gaps.sum(axis=1)
        seen.weight_sum[r] += weights.sum(axis=-1)

    # The second sweep

    def gradients(self, g: Any, needed: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Gradients in "x", "w" and "b", those needed; g is the gradient of a row's loss: a number, or one per row."""
        with self._lock, np.errstate(all="ignore"):  # another thread may go back through the same graph
            g = np.array(np.broadcast_to(np.asarray(g, self.x.dtype), len(self.x)))
            if self._found is None or not np.array_equal(self._found[0], g, equal_nan=True):
                self._found = g, self._gradients(g, needed)
            return self._found[1]

    def _gradients(self, g: np.ndarray, needed: tuple[str, ...]) -> dict[str, np.ndarray]:
        x, w = self.x, self.w
        total = {"x": np.zeros_like(x), "w": np.zeros_like(w), "b": np.zeros(len(w))}
        for r, c, z in self._logit_gradients(g):
            if "x" in needed:
                total["x"][r] += z @ w[c]
            if "w" in needed:
                total["w"][c] += z.T @ x[r]
            if "b" in needed:
                total["b"][c] += add_up(z, 0)
        return {name: total[name].astype(x.dtype, copy=False) for name in needed}

    def _logit_gradients(self, g: np.ndarray) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Row ranges, class ranges, and the gradient in their logits."""
        if self._kept is not None:
            yield slice(0, len(self.x)), slice(0, len(self.w)), self._kept * (g * self.label_weight)[:, None]
            return
        for r, c, z in self._blocks():
            by_rows(self._to_gradient, z, np.arange(r.start, r.stop), c, g[r])
            yield r, c, z

    @np.errstate(all="ignore")
    def _to_gradient(self, z: np.ndarray, rows: np.ndarray, c: slice, g: np.ndarray) -> None:
        """Turn the logits of some rows and classes into the gradient in them."""
        seen, r = self._seen, slice(rows[0], rows[-1] + 1)
        s, label_weight = seen.rest_sum[r], g * self.label_weight[r]
        z -= seen.largest[r, None]
        np.exp(z, out=z)
        z *= ((label_weight + g * seen.weight_sum[r]) / (1 + s))[:, None]
        weights = self._class_weights_in(r, c)
        if weights is not None:
            z -= g[:, None] * weights
        if self.label is not None:
            inside, where = self._labels_in(r, c)
            z[inside, where] -= label_weight[inside]
            if weights is None:  # where the label is the largest, p - 1 is -s / (1 + s), without cancelling
                sure = seen.largest_class[r][inside] == self.label[r][inside]
                z[inside[sure], where[sure]] = -(label_weight * s / (1 + s))[inside[sure]]


def _weighted(weight: Any, losses: np.ndarray) -> np.ndarray:
    """weight · losses; a weight of 0 silences also an infinite loss."""
    kept: np.ndarray = np.where(np.isnan(losses), losses, 0)
    return np.multiply(weight, losses, where=weight != 0, out=kept)  # type: ignore[no-any-return]
