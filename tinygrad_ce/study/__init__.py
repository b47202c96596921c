"""Study backprop: explain a pass number by number, draw it, step through it, and plot what training did."""

from tinygrad_ce.study import plot
from tinygrad_ce.study.check import check
from tinygrad_ce.study.diagnose import Diagnosis, Finding, diagnose
from tinygrad_ce.study.engine.report import EngineReport, check_engine
from tinygrad_ce.study.explain import Entry, Explanation, explain
from tinygrad_ce.study.film import Recording, film
from tinygrad_ce.study.graph import Graph, graph
from tinygrad_ce.study.language import language
from tinygrad_ce.study.page import Page
from tinygrad_ce.study.player import player
from tinygrad_ce.study.softmax_page import softmax_page

__all__ = [
    "Diagnosis", "EngineReport", "Entry", "Explanation", "Finding", "Graph", "Page", "Recording", "check",
    "check_engine", "diagnose", "explain", "film", "graph", "language", "player", "plot", "softmax_page",
]  # fmt: skip
