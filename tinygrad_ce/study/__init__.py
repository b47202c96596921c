"""Study backprop: explain a pass number by number, draw it, step through it, and plot what training did."""

from tinygrad_ce.study.check import check

__all__ = ["check"]
