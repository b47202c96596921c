"""How cross-entropy and its gradients are written: that depends on the target, the weights and the reduction."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.losses.validate import check_axis


class Written:
    """A cross-entropy of logits as LaTeX, part by part; y is a soft or smoothed target, w are the class weights."""

    def __init__(
        self, logits: str, target: Any, axis: int | None, weight: Any, ignore_index: int, reduction: str,
        smoothing: float,
    ) -> None:  # fmt: skip
        self.target, self.axis, self.ignore_index = np.asarray(target), axis, ignore_index
        self.reduction, self.smoothing = reduction, smoothing
        self.soft = self.target.dtype.kind == "f"
        self.dense = self.soft or smoothing != 0
        self.p = rf"\mathrm{{softmax}}({logits})"
        self.w = "" if weight is None else "w_{target} "

    @property
    def loss(self) -> str:
        """The value."""
        row = rf"-\sum_c \mathrm{{y}}_c \log {self.p}_c" if self.dense else rf"-{self.w}\log {self.p}_{{target}}"
        mean = r"\text{weighted mean }" if self.w and not self.soft else r"\text{mean }"
        of_rows = {"mean": mean, "sum": r"\sum ", "none": r"\text{each }"}[self.reduction]
        ignored = not self.soft and np.any(self.target == self.ignore_index)
        return f"{of_rows}{{{row}}}" + (r"\text{, rows that count}" if ignored else "")

    @property
    def factor(self) -> str:
        """What the reduction multiplies each row by; nothing where that is 1."""
        if self.reduction != "mean":
            return ""
        if self.w and not self.soft:
            return rf"\tfrac{{1}}{{\sum {self.w.strip()}}}"
        if self.soft:
            rows = self.target.size // max(self.target.shape[check_axis("explain", self.target.shape, self.axis)], 1)
        else:
            rows = np.count_nonzero(self.target != self.ignore_index)
        return "" if rows == 1 else rf"\tfrac{{1}}{{{rows}}}"

    def row_gradient(self, p: str) -> str:
        """The gradient of a row's loss in its logits, which have the probabilities p."""
        return (
            rf"({p} \sum\mathrm{{y}} - \mathrm{{y}})" if self.dense else rf"{self.w}({p} - \mathrm{{onehot}}(target))"
        )

    @property
    def logits_gradient(self) -> str:
        """The gradient in all logits, with what has become of y."""
        how = ["smoothed"] * (self.smoothing != 0) + ["weighted"] * bool(self.w)
        note = rf"\text{{, y {' and '.join(how)}}}" if self.dense and how else ""
        return product(self.factor, self.row_gradient(self.p)) + note

    @property
    def target_gradient(self) -> str:
        """The gradient in a soft target."""
        scales = [f"{1 - self.smoothing:g}"] * (self.smoothing != 0) + ["w"] * bool(self.w)
        return product("-g", self.factor, *scales, rf"\log {self.p}")


def product(*factors: str) -> str:
    """The product of all factors but empty ones."""
    return r" \cdot ".join(filter(None, factors))
