"""How cross-entropy and its gradients are written: that depends on the target, the weights and the reduction."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.losses.targets import check_axis


class Written:
    """The parts of a cross-entropy of logits as LaTeX: y stands for soft or smoothed targets, w for class weights."""

    def __init__(
        self, logits: str, target: Any, axis: int | None, weight: Any, ignore_index: int, reduction: str,
        label_smoothing: float,
    ) -> None:  # fmt: skip
        target = np.asarray(target)
        soft = target.dtype.kind == "f"
        counts = np.ones(target.shape, bool) if soft else target != ignore_index
        weighted = weight is not None
        p = rf"\mathrm{{softmax}}({logits})"
        w = "w_{target} " if weighted else ""
        if soft or label_smoothing:
            how = " and ".join(["smoothed"] * bool(label_smoothing) + ["weighted"] * weighted)
            row = rf"-\sum_c \mathrm{{y}}_c \log {p}_c"
            self.row_gradient = rf"({p} \sum\mathrm{{y}} - \mathrm{{y}})" + (rf"\text{{, y {how}}}" if how else "")
            in_short = r"(p \sum\mathrm{y} - \mathrm{y})"
        else:
            row = rf"-{w}\log {p}_{{target}}"
            self.row_gradient = rf"{w}({p} - \mathrm{{onehot}}(target))"
            in_short = rf"{w}(p - \mathrm{{onehot}})"
        self.factor, of_rows = "", {"mean": r"\text{mean }", "sum": r"\sum ", "none": r"\text{each }"}[reduction]
        if reduction == "mean" and weighted and not soft:
            self.factor, of_rows = rf"\tfrac{{1}}{{\sum {w.strip()}}}", r"\text{weighted mean }"
        elif reduction == "mean":
            rows = int(counts.sum()) // (max(target.shape[check_axis("explain", target.shape, axis)], 1) if soft else 1)
            self.factor = "" if rows == 1 else rf"\tfrac{{1}}{{{rows}}}"
        self.loss = of_rows + f"{{{row}}}" + ("" if counts.all() else r"\text{, rows that count}")
        scales = [f"{1 - label_smoothing:g}"] * bool(label_smoothing) + ["w"] * weighted
        self.input_gradient = product("g", self.factor, self.row_gradient)
        self.logit_gradient = product("g", self.factor, in_short)
        self.target_gradient = product("-g", self.factor, *scales, rf"\log {p}")

    @classmethod
    def of_call(cls, input: Any, target: Any, axis: int | None, *options: Any) -> Written:
        """A call of cross_entropy."""
        return cls("input", target, check_axis("explain", np.shape(input), axis), *options)


def product(*factors: str) -> str:
    """The product of all factors but empty ones."""
    return r" \cdot ".join(filter(None, factors))
