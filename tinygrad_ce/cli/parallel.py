"""Several processes: whether mpiexec started this one among others, and the team they make."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tinygrad_ce.train.team import ALONE, Team


def team(wanted: bool) -> Team:
    """The processes that share a training.

    Raises:
        ValueError: there are several, and nobody wants them to share anything: each would train the same model.
        ImportError: mpi4py isn't installed.
    """
    if wanted:
        from tinygrad_ce.mpi import Ranks

        return Ranks()
    if started_together():
        raise ValueError(
            "mpiexec started several processes, and each would train the same model and write the same files; "
            "share the work with --data-parallel"
        )
    return ALONE


def started_together() -> bool:
    """Whether the launchers of MPICH, Open MPI or PMIx say that there is more than one process."""

    def said(name: str) -> int:
        text = os.environ.get(name, "")
        return int(text) if text.isdecimal() else 0

    return max(said("PMI_SIZE"), said("OMPI_COMM_WORLD_SIZE"), said("PMIX_RANK") + 1) > 1


def first() -> bool:
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
