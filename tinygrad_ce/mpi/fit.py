"""mpi.fit: one training by several processes, which ends in the numbers that one process would have come to."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_ce.data.stream import Stream
from tinygrad_ce.engine.atomic import at_once
from tinygrad_ce.kernels.threads import chosen, cores, get_num_threads, set_num_threads
from tinygrad_ce.mpi.ranks import MPI, Ranks, communicator
from tinygrad_ce.mpi.told import Told
from tinygrad_ce.nn.module import Module
from tinygrad_ce.train import fit as fit_
from tinygrad_ce.train.callback import Callback, as_list
from tinygrad_ce.train.history import History
from tinygrad_ce.train.leaving import staying
from tinygrad_ce.train.rows import Rows
from tinygrad_ce.train.training import Training


def fit(model: Module, data: Any, *, comm: Any = None, sharded: bool = False, **options: Any) -> History:
    r"""Train a model by all ranks of a communicator, as ``tg.fit`` does by one process.

    The rows of each step are shared among the ranks. Each computes the gradients of its rows' losses, their sum over
    all ranks is one Allreduce of one flat array, and it is divided by the number of all rows:

    .. math:: g = \frac{1}{\sum_r n_r} \sum_r \sum_{i \in r} \nabla \ell_i.

    So the numbers are those of one process, up to the rounding of the sums: whatever the number of ranks, and however
    unevenly the rows are spread. (But Dropout draws other numbers on each rank, and BatchNorm1d normalises by the rows
    that the rank has, of which a warning tells.) The weights are rank 0's to begin with,
    and stay the same bits on all. Rank 0 alone shows and writes. A rank that fails, leaves or differs from the others
    says why and ends them all, with the last checkpoint whole. Start it with ``mpiexec -n 4 python train.py``.

    Args:
        model: a Module; the other ranks' weights are replaced by rank 0's.
        data: as for ``tg.fit``. Each rank has to give the same; a Stream is read whole by each.
        comm: a communicator of mpi4py; MPI.COMM_WORLD, all processes, unless given.
        sharded: whether data, sample_weight and validation are this rank's own rows instead. Together they are the data
            set, in the order of the ranks; a step has the same rows as it would have in one process, and each rank
            computes those that are its own.
        options: all that ``tg.fit`` takes.

    Returns:
        The same History on every rank.

    One rank alone raises what ``tg.fit`` raises; of more, an error on any ends all processes.

    Raises:
        ValueError: shards of a Stream; ranks that differ in their rows, in their order, in an option or in the model:
                a digest of all is compared before the first step (a Stream is read once for it).
        RuntimeError: a rank calls ``sys.exit(0)``; ``training.stop(why)`` ends a training on all ranks.

    Example:
        >>> import tinygrad_ce as tg
        >>> model = tg.nn.Linear(4, 3, rng=0)
        >>> history = tg.mpi.fit(model, tg.data.load_iris(), epochs=3, progress=False)
        >>> len(history)
        3

    Source:
        Goyal et al., Accurate, large minibatch SGD, 2017, arXiv:1706.02677.
    """
    team = Ranks(comm, sharded)
    given = as_list(options.pop("callbacks", ()))
    with failing_together(team.comm), staying(team.comm), sharing_cores(team.comm):
        _check_data(team, data, options)
        model.load_state_dict(team.agreed(model.state_dict()))
        _check_settings(team, model, {**options, "callbacks": given})
        return fit_(model, data, callbacks=[*given, _Together(team)], team=team, **options)


@contextmanager
def failing_together(comm: Any = None) -> Iterator[None]:
    """Let all ranks end if one fails, with its traceback; the others would wait for it forever.

    ``fit`` does so. What else the ranks do, reading data or making the model, can go into one of these, too; or start
    the program by ``python -m mpi4py``, which does the same.

    Args:
        comm: a communicator of mpi4py; MPI.COMM_WORLD unless given. If it has one rank, errors are raised as ever.

    Example:
        >>> import tinygrad_ce as tg
        >>> with tg.mpi.failing_together():
        ...     data = tg.data.load_iris()
    """
    comm = communicator(comm)
    try:
        yield
    except BaseException as error:
        if comm.size == 1 or (isinstance(error, SystemExit) and not error.code):
            raise
        if sys.stdout is not None:
            sys.stdout.flush()
        interrupted = isinstance(error, KeyboardInterrupt)
        if not interrupted:
            words = f"rank {comm.rank} of {comm.size} failed:\n{traceback.format_exc()}"
            print(words, file=sys.stderr, flush=True)
        elif not comm.rank:  # Ctrl-C comes to all
            print(str(error) or "interrupted", file=sys.stderr, flush=True)
        time.sleep(0.3)  # mpiexec may drop output that it has not passed on yet
        comm.Abort(130 if interrupted else 1)
        os._exit(1)


@contextmanager
def sharing_cores(comm: Any) -> Iterator[None]:
    """Let the ranks of one machine share its cores: each would start as many threads as there are cores."""
    try:
        from threadpoolctl import threadpool_info, threadpool_limits
    except ImportError as error:
        raise ImportError(f"tinygrad_ce.mpi needs threadpoolctl: pip install 'tinygrad-ce[mpi]' ({error})") from error
    here = comm.Split_type(MPI.COMM_TYPE_SHARED)
    share = max(1, cores() // here.size)
    here.Free()  # MPI has only some thousands of communicators
    before = chosen()
    blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    set_num_threads(min(get_num_threads(), share))
    try:
        with threadpool_limits(min([share, *blas]), user_api="blas"):
            yield
    finally:
        set_num_threads(before)


def _check_data(team: Ranks, data: Any, options: dict[str, Any]) -> None:
    """Refuse ranks that would not train on one data set, in one order. Shards differ, but are of one kind."""
    rows = {"data": data} | {name: options.get(name) for name in ("sample_weight", "validation")}
    if team.size == 1:
        return
    if not team.sharded:
        _check_alike(team, "rows of data", len(data) if isinstance(data, Stream | Rows) else np.shape(data[0]))
        _check_told(team, "rows", rows)
        return
    if isinstance(data, Stream):
        raise ValueError("mpi.fit: sharded=True is for rows in memory; give every rank the whole Stream")
    if isinstance(options.get("validation"), float):
        raise ValueError("mpi.fit: validation is a fraction, and each shard would hold out its own; give the rows")
    _check_alike(team, "classes", tuple(data[2]) if len(data) == 3 else None)
    _check_told(team, "kinds of rows", {name: _kind(value) for name, value in rows.items()})


def _kind(rows: Any) -> Any:
    """What shards have in common: the shapes of a row and of a label, or that there are none."""
    if isinstance(rows, tuple | list) and len(rows) in (2, 3):
        return [str(np.shape(part)[1:]) for part in rows[:2]]
    return None if rows is None else type(rows).__name__


def _check_settings(team: Ranks, model: Module, options: dict[str, Any]) -> None:
    """Refuse ranks that would not train one model in one way. What only the first one does, the others need not have.

    The model's weights are rank 0's already.
    """
    alike = {name: value for name, value in options.items() if name not in ("sample_weight", "validation", "meta")}
    alike["callbacks"] = [each for each in options["callbacks"] if not getattr(each, "writes", False)]
    if team.size > 1:
        _check_told(team, "options", {**alike, "model": model})


def _check_told(team: Ranks, what: str, values: dict[str, Any]) -> None:
    """Name the first line in which ranks differ."""
    ranks = team.every(Told(values).lines)
    for rank, other in enumerate(ranks):
        for name in [*ranks[0], *other]:
            ours, theirs = ranks[0].get(name, "none"), other.get(name, "none")
            if ours != theirs:
                words = f"mpi.fit: {what} differ: {name}: rank 0 has {ours}, rank {rank} has {theirs}"
                raise ValueError(words)


def _check_alike(team: Ranks, what: str, value: Any) -> None:
    values = team.comm.allgather(value)
    for rank, other in enumerate(values):
        if other != values[0]:
            raise ValueError(f"mpi.fit: {what} differ: rank 0 has {values[0]}, rank {rank} has {other}")


class _Together(Callback):
    """Gives each rank random numbers of its own, and makes sure that all ranks have the same weights."""

    def __init__(self, team: Ranks) -> None:
        self.team = team

    def on_epoch_begin(self, training: Training) -> None:
        for name, rng in training.model.named_generators():
            rng.bit_generator.state = self.team.agreed(rng.bit_generator.state)
            if self.team.rank:
                if not hasattr(rng.bit_generator, "jumped"):
                    kind = type(rng.bit_generator).__name__
                    raise TypeError(f"mpi.fit: {name} draws from {kind}, which gives no other numbers to each rank")
                rng.bit_generator.state = rng.bit_generator.jumped(self.team.rank).state

    def before_validation(self, training: Training) -> None:
        """What layers remember of the batches, each rank's of its own, is the first one's from here on."""
        constants = training.constants
        at_once(
            (t, "_value", a) for t, a in zip(constants, self.team.agreed([t._value for t in constants]), strict=True)
        )

    def on_epoch_end(self, training: Training) -> None:
        sums = np.array([float(np.sum(p._value, dtype=float)) for p in training.optimizer.parameters])
        if not np.array_equal(sums, self.team.agreed(sums)):
            raise RuntimeError(
                f"mpi.fit: after epoch {training.epoch} rank {self.team.rank} has other weights than rank 0; does a "
                "callback, or the loss, change them on one rank only?"
            )
