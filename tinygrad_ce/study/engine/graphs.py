"""Small random graphs: every operator alone is right, is the reverse pass right for all of them?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.study.engine.case import OURS, Fault, differences
from tinygrad_ce.study.engine.protocol import SYMBOLS, Engine

ONE = ("tanh", "relu")
TWO = ("add", "sub", "mul")
NEEDED = ("add", "mul")
LARGEST = 100.0  # of any value; where large numbers cancel, sums depend on their order


class Graph(NamedTuple):
    """Leaves, and steps: an operator and the places of its operands among leaves and earlier values."""

    leaves: list[np.ndarray]
    steps: list[tuple[str, tuple[int, ...]]]

    def values(self, engine: Engine, leaves: Sequence[Any]) -> list[Any]:
        """The leaves, and what the steps make of them."""
        values = list(leaves)
        for name, places in self.steps:
            values.append(engine.apply(name, *(values[place] for place in places)))
        return values

    def run(self, engine: Engine, *leaves: Any) -> Any:
        """The sum of the values that nobody uses."""
        values = self.values(engine, leaves)
        used = {place for _, places in self.steps for place in places}
        ends = [v for place, v in enumerate(values) if place not in used]
        if self.leaves[0].ndim:
            ends = [end.sum() for end in ends]
        total = ends[0]
        for end in ends[1:]:
            total = total + end
        return total

    def __str__(self) -> str:
        """As one would type it, its values v0, v1, …"""
        first = len(self.leaves)
        lines = []
        for k, (name, places) in enumerate(self.steps):
            given = [f"v{place}" for place in places]
            made = f" {SYMBOLS.get(name)} ".join(given) if name in SYMBOLS else f"{name}({given[0]})"
            lines.append(f"v{first + k} = {made}")
        return "; ".join(lines)


def draw(rng: np.random.Generator, size: int, operators: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> Graph:
    """A graph of so many operators; values that are used often and late are likely."""
    leaves = [rng.uniform(0.3, 1.2, shape) * rng.choice([-1, 1], shape) for shape in shapes]
    steps: list[tuple[str, tuple[int, ...]]] = []
    for made in range(len(leaves), len(leaves) + size):
        name = str(rng.choice(operators))
        places = [made - 1 - int(made * rng.random() ** 2) for _ in range(1 if name in ONE else 2)]
        steps.append((name, tuple(places)))
    return Graph(leaves, steps)


def check_graphs(engine: Engine, title: str, shapes: Sequence[tuple[int, ...]], hint: str) -> Iterator[Fault]:
    """Draw graphs of growing size; tell of the first one, and so about the smallest, whose gradients are wrong."""
    for name in NEEDED:
        engine.apply(name, engine.leaf(0.5), engine.leaf(0.5))
    there = [*NEEDED, *(name for name in (*ONE, *TWO) if name not in NEEDED and _works(engine, name))]
    ours, rng = Engine(OURS), np.random.default_rng(0)
    for size in (2, 3, 4, 5, 6, 8, 10, 12):
        for _ in range(3):
            graph = draw(rng, size, there, shapes)
            values = graph.values(ours, [ours.leaf(x) for x in graph.leaves])
            if max(np.abs(value.data).max() for value in values) > LARGEST:
                continue
            names = [f"v{k}" for k in range(len(graph.leaves))]
            found = list(differences(engine, title, graph.run, graph.leaves, (), hint, names, slack=100))
            if found:
                yield found[0]._replace(seen=f"in {graph}: {found[0].seen}")
                return


def _works(engine: Engine, name: str) -> bool:
    """Whether an operator is there; a graph is drawn of those that are."""
    try:
        engine.apply(name, *[engine.leaf(0.5)] * (1 if name in ONE else 2))
    except Exception:
        return False
    return True
