"""Threads: how many the kernels use, and how they share rows. NumPy lets go of Python's lock while it computes."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

# Bytes in a piece of by_rows, by measurement: of smaller ones threads spend their time on handing over Python's lock,
# larger ones leave the caches. What is done once for each row takes as long as _ROW bytes.
BLOCK = 1 << 21
_ROW = 32

_chosen: int | None = None
_pool: ThreadPoolExecutor | None = None
_starting: dict[int, bool] = {}  # the threads that are handing work to the pool
_size = 0


def set_num_threads(n: int | None) -> None:
    """How many threads large softmaxes and cross-entropies may use; None: as many as there are cores to run on.

    Without it the environment's TINYGRAD_CE_NUM_THREADS counts, and without that the cores that this process may run
    on. Results are the same, bit for bit, for any number. BLAS has threads of its own, which this doesn't touch.

    Raises:
        ValueError: n isn't a whole number of at least 1.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.set_num_threads(1)
        >>> tg.get_num_threads()
        1
        >>> tg.set_num_threads(None)
    """
    global _chosen
    _chosen = None if n is None else _checked("set_num_threads: n", n)


def chosen() -> int | None:
    """What set_num_threads was given."""
    return _chosen


def get_num_threads() -> int:
    """How many threads large softmaxes and cross-entropies may use now.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.get_num_threads() >= 1
        True
    """
    if _chosen is not None:
        return _chosen
    named = os.environ.get("TINYGRAD_CE_NUM_THREADS")
    if named:
        return _checked("TINYGRAD_CE_NUM_THREADS", int(named) if named.strip().isdigit() else named)
    return cores()


def cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _checked(what: str, n: Any) -> int:
    if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 1:
        raise ValueError(f"{what} is {n!r}, expected a whole number of threads, at least 1")
    return int(n)


def by_rows(work: Callable[..., Any], x: np.ndarray, *others: Any) -> None:
    """``work(x, *others)`` in blocks of rows of x: arrays are cut alike, all else is passed on as it is.

    Where the cuts are depends on x alone, so results don't depend on the number of threads.
    """
    if not x.size:
        return
    blocks = -(-(x.nbytes + _ROW * len(x)) // BLOCK)
    if blocks == 1 or len(x) == 1:
        work(x, *others)
        return
    step = -(-len(x) // (blocks + blocks % 2))  # an even number of equal blocks, for two or four threads
    starts = deque(range(0, len(x), step))
    job: list[Any] = [work, (x, *others)]

    working: list[None] = []  # an entry for each thread at work

    def take() -> None:
        working.append(None)
        try:
            while starts:
                try:
                    i = starts.popleft()
                except IndexError:  # another thread was quicker
                    return
                function, arguments = job
                function(*(a[i : i + step] if isinstance(a, np.ndarray) else a for a in arguments))
        finally:
            working.pop()

    helpers = _start(take, min(get_num_threads(), len(starts)) - 1)
    try:
        take()
    finally:
        starts.clear()  # after an error nothing is left to do
        failures = [helper.exception() for helper in helpers if not helper.cancel()]
        while working:  # a helper whose start was reported as failed, but which runs
            time.sleep(1e-5)
        job.clear()  # a cancelled helper stays in the pool's queue for a while, and would keep all of it alive
    try:
        for failure in failures:
            if failure is not None:
                raise failure
    finally:  # an error holds this frame, which must not hold the error
        failure = None
        failures.clear()
        helpers.clear()


def _start(task: Callable[[], None], count: int) -> list[Future[None]]:
    """Run a task in so many other threads."""
    global _pool, _size
    me = get_ident()
    if count < 1 or me in _starting:  # a signal handler that came while the pool's own locks were held
        return []
    if _pool is None or _size < count:
        from concurrent.futures import ThreadPoolExecutor  # here, as it takes a few milliseconds

        _pool, _size = ThreadPoolExecutor(count, "tinygrad_ce"), count
    started: list[Future[None]] = []
    try:
        _starting[me] = True
        with suppress(RuntimeError):  # Python is shutting down, or the system has no more threads
            started.extend(_pool.submit(task) for _ in range(count))
    finally:
        _starting.pop(me, None)
    return started


def _forget() -> None:
    """A forked process has none of its parent's threads."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

# glibc gives freed arrays back to the system, and each new one is then paid for page by page: for arrays of half a
# megabyte that is several times the arithmetic. A larger one, freed once, makes it keep what is below 32 MiB for reuse.
np.empty((1 << 25) - (1 << 16), np.uint8)
