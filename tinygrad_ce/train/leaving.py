"""A rank that ends while others wait for it in mpi.fit ends all of them with an error; they would wait forever.

A rank may end before it has come to mpi.fit, so this is in place as soon as mpiexec's processes import the package. It
does nothing where the program itself hasn't imported mpi4py.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from tinygrad_ce.train.team import started_together

_TAG = 14_529  # of the messages by which ranks meet; other programs' messages have others, most likely
_PROCESS, _end_process = os.getpid(), os._exit
_within: list[Any] = []  # the communicators of the fits under way


@contextmanager
def staying(comm: Any) -> Iterator[None]:
    """Begin when all ranks have come, and let none leave before the end.

    Raises:
        RuntimeError: ``sys.exit(0)`` on this rank; other codes end all ranks anyway.
    """
    if comm.size == 1:
        yield
        return
    watch()
    _meet(comm)
    _within.append(comm)
    try:
        yield
    except SystemExit as stop:
        if stop.code:
            raise
        words = "mpi.fit: sys.exit(0) while other ranks train; training.stop(why) ends a training on all of them"
        raise RuntimeError(words) from stop
    finally:
        _within.remove(comm)


def _meet(comm: Any) -> None:
    """Each rank tells the next one that it has come, and waits for the word of the one before."""
    mpi = sys.modules["mpi4py.MPI"]
    beside = [(comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size]
    after, before = mpi.Group.Translate_ranks(comm.group, beside, mpi.COMM_WORLD.group)
    if mpi.UNDEFINED not in (after, before):  # of ranks that another program has started
        mpi.COMM_WORLD.sendrecv(None, after, _TAG, None, before, _TAG)


def _leave() -> None:
    """Wait for the other ranks to end, too. If one has come to fit and waits there for this one, all end."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is None or os.getpid() != _PROCESS or not mpi.Is_initialized() or mpi.Is_finalized():
        return
    world = mpi.COMM_WORLD
    if _within:
        _end_all(world, "ended within mpi.fit")
    ended = world.Ibarrier()
    while not ended.Test():
        if world.Iprobe(tag=_TAG):
            _end_all(world, "ended, and another rank waits for it in mpi.fit")
        time.sleep(0.01)


def _end_all(world: Any, what: str) -> None:
    print(f"rank {world.rank} of {world.size} {what}", file=sys.stderr, flush=True)
    time.sleep(0.3)  # mpiexec may drop output that it has not passed on yet
    world.Abort(1)
    _end_process(1)


def _exit(status: int) -> NoReturn:
    """os._exit of a rank: mpiexec ends all ranks then, and with 0 it would call that a success."""
    if not status:
        _leave()
    _end_process(status)


def watch() -> None:
    """Look at how this process ends, from now on."""
    if os._exit is not _exit:
        atexit.register(_leave)
        os._exit = _exit


if started_together():
    watch()
