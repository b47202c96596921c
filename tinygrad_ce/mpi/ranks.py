"""Ranks: the processes of an MPI communicator as a team that shares the steps of a training."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.train.team import Team

try:
    from mpi4py import MPI as MPI
except (ImportError, RuntimeError) as error:  # there is no mpi4py, or no MPI for it
    raise ImportError(
        f"tinygrad_ce.mpi needs mpi4py and an MPI: pip install 'tinygrad-ce[mpi]' ({error})", name="mpi4py"
    ) from error


def communicator(comm: Any = None) -> Any:
    """The communicator given, or that of all processes that mpiexec started."""
    if comm is None:
        return MPI.COMM_WORLD
    if not isinstance(comm, MPI.Comm):
        raise TypeError(f"comm is of type {type(comm).__name__}, expected a communicator of mpi4py")
    return comm


class Ranks(Team):
    """The ranks of a communicator.

    Args:
        comm: MPI.COMM_WORLD unless given.
        sharded: whether each rank has rows of its own, which count as one data set in the order of the ranks; if not,
            all have the same rows.

    Example:
        >>> import tinygrad_ce as tg
        >>> ranks = tg.mpi.Ranks()
        >>> ranks.rank, ranks.size  # of a process that mpiexec did not start
        (0, 1)
    """

    def __init__(self, comm: Any = None, sharded: bool = False) -> None:
        self.comm = communicator(comm)
        self.rank, self.size = self.comm.rank, self.comm.size
        self.sharded = sharded
        self._first = self._end = 0

    def rows(self, count: int) -> int:
        """How many rows there are in all; where a rank has its own, they follow those of the ranks before."""
        if not self.sharded:
            return count
        counts = self.comm.allgather(count)
        self._first = sum(counts[: self.rank])
        self._end = self._first + count
        return int(sum(counts))

    def part(self, rows: np.ndarray) -> np.ndarray:
        """A step's rows that are this rank's own; of rows that all have, an even share."""
        if self.sharded:
            return rows[(rows >= self._first) & (rows < self._end)] - self._first
        return rows[self.slice(len(rows))]

    def slice(self, count: int) -> slice:
        """An even share of rows that all have; of one's own, all."""
        if self.sharded:
            return slice(0, count)
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum(self, numbers: np.ndarray) -> np.ndarray:
        """One Allreduce."""
        total = np.empty_like(numbers)
        self.comm.Allreduce(np.ascontiguousarray(numbers), total)
        return total

    def every(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order."""
        return self.comm.allgather(value)  # type: ignore[no-any-return]

    def agreed(self, value: Any) -> Any:
        """Rank 0's value."""
        return self.comm.bcast(value)
