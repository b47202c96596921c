"""Study backprop: explain a pass number by number, draw it, step through it, and plot what training did."""

from tinygrad_ce.study import plot
from tinygrad_ce.study.check import check
from tinygrad_ce.study.explain import Explanation, explain
from tinygrad_ce.study.graph import Graph, graph

__all__ = ["Explanation", "Graph", "check", "explain", "graph", "plot"]
