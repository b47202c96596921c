"""Team: who shares the steps of a training. Here a process alone; in tinygrad_ce.mpi the ranks of a communicator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
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
        """The rows of a step that are computed here: from numbers over all data to positions in the data here."""
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


def started_together() -> bool:
    """Whether the launchers of MPICH, Open MPI or PMIx say that there is more than one process."""

    def said(name: str) -> int:
        text = os.environ.get(name, "")
        return int(text) if text.isdecimal() else 0

    return max(said("PMI_SIZE"), said("OMPI_COMM_WORLD_SIZE"), said("PMIX_RANK") + 1) > 1


def is_first() -> bool:
    """Whether this process is the first of those started together, or alone."""
    return all(os.environ.get(name, "0") == "0" for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK"))


@contextmanager
def ready(team: Team) -> Iterator[None]:
    """Go on together when all processes are ready; if one isn't, all end, and the first that isn't says why."""
    error: Exception | None = None
    try:
        yield
    except Exception as caught:
        error = caught
    unready = team.every(error is not None)
    if error is not None and not any(unready[: team.rank]):
        raise error
    if any(unready):
        raise SystemExit(2)
