"""Team: who shares the steps of a training. Here a process alone; in tinygrad_ce.mpi the ranks of a communicator."""

from __future__ import annotations

from typing import Any

import numpy as np


class Team:
    """One process alone, and what several have to answer: who I am, which rows are mine, what is the sum over all."""

    rank = 0
    size = 1

    def rows(self, count: int) -> int:
        """How many rows there are in all, where count are here."""
        return count

    def part(self, rows: np.ndarray) -> np.ndarray:
        """Of a step's rows, numbered over all data, those that are computed here, as positions in the data here."""
        return rows

    def slice(self, count: int) -> slice:
        """Of count rows that all processes have, those that are computed here."""
        return slice(0, count)

    def sum(self, numbers: np.ndarray) -> np.ndarray:
        """The sum over all processes, the same bits for each."""
        return numbers

    def every(self, value: Any) -> list[Any]:
        """The values of all processes, in their order."""
        return [value]

    def agreed(self, value: Any) -> Any:
        """The first process's value, for all."""
        return value


ALONE = Team()
