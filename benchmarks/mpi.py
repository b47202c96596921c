"""Data-parallel training over MPI: what 1 to 4 ranks of this machine take, and what 8 to 1,024 would, by a model.

Measured: Allreduce of 8 B to 64 MiB; and the steps of tinygrad_ce.mpi.fit (float32, SGD), with a fixed batch (strong
scaling) or fixed rows on each rank (weak). A rank is a process with one thread; nothing is pinned. Rank counts take
turns; times are medians over rounds. A step's Allreduce is timed on the rank that arrives last; all else, waiting for
the slowest rank included, is computing. "Oversubscribed" marks more ranks than cores: they take turns on a core, and
say nothing about ranks that have one each.

Modelled: a rank computes for c + d · rows, and an Allreduce of n bytes among p ranks takes

    T(n, p) = 2 ⌈log2 p⌉ α + 2 (p - 1)/p n β + (p - 1)/p n γ

with α the latency of a message, β the time per byte sent and γ that per byte added: Rabenseifner's algorithm, as in
Thakur, Rabenseifner, Gropp, Optimization of collective communication operations in MPICH, IJHPCA 19 (1), 2005. Both
are fitted to two ranks, by least squares of the logarithm of modelled over measured: half and twice count alike.
Modelled ranks have a core each, and none is late.
The columns "network" assume messages between nodes instead, one rank on each.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time
from typing import Any, NamedTuple

import numpy as np

from benchmarks import turns

MPIEXEC = pathlib.Path(sys.executable).with_name("mpiexec")
RANKS = (1, 2, 3, 4)
SIZES = [8, 64, 512, 4 << 10, 32 << 10, 256 << 10, 2 << 20, 16 << 20, 64 << 20]
MORE = [8, 16, 32, 64, 128, 256, 512, 1024]
PAIR = 2  # the ranks that the model is fitted to
SECONDS = 0.1  # to measure a thing in a round, at least twice
EPOCH = 6  # steps; the first of an epoch isn't timed
# What the second set of modelled times assumes: a 100 Gb/s network, each rank on a node of its own.
LATENCY, BYTE = 1.5e-6, 1 / 12.5e9


class Model(NamedTuple):
    """What is trained: the widths of its layers, the batch of strong scaling, a rank's rows of weak scaling."""

    widths: tuple[int, ...]
    batch: int
    rows: int

    @property
    def name(self) -> str:
        return " → ".join(map(str, self.widths))

    @property
    def parameters(self) -> int:
        return sum((a + 1) * b for a, b in itertools.pairwise(self.widths))


MODELS = [Model((64, 10), 32, 32), Model((784, 10), 1024, 256), Model((784, 1024, 1024, 10), 1024, 256)]


# On the ranks


def rank(sizes: list[int], steps: list[tuple[list[int], int]]) -> None:
    """A rank's process: rank 0 prints the seconds of Allreduces, and those of steps with what of them is Allreduce."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    reduced = [allreduce(comm, size) for size in sizes] if comm.size > 1 else []
    trained = [step(comm, widths, batch) for widths, batch in steps]
    if comm.rank == 0:
        print(json.dumps({"allreduce": reduced, "steps": trained, "add": addition() if comm.size == 1 else None}))


def allreduce(comm: Any, size: int) -> float:
    """The median time of an Allreduce on the slowest rank."""
    ours, total = np.ones(size // 4, np.float32), np.empty(size // 4, np.float32)

    def times(count: int) -> list[float]:
        found = []
        for _ in range(count):
            start = time.perf_counter()
            comm.Allreduce(ours, total)
            found.append(time.perf_counter() - start)
        return found

    once = statistics.median(times(5))
    return float(max(comm.allgather(statistics.median(times(repeats(comm, once, least=5))))))


def repeats(comm: Any, once: float, least: int) -> int:
    """How often what takes so long once is measured: the same number on all ranks."""
    return int(comm.bcast(min(300, max(least, int(SECONDS / once)))))


def addition() -> float:
    """Seconds per byte of adding one array of float32 to another."""
    a, b = np.ones(1 << 18, np.float32), np.ones(1 << 18, np.float32)
    times = []
    for _ in range(100):
        start = time.perf_counter()
        np.add(a, b, out=a)
        times.append(time.perf_counter() - start)
    return float(np.median(times)) / a.nbytes


def step(comm: Any, widths: list[int], batch: int) -> tuple[float, float]:
    """The median time of a training step, and of its communication."""
    from mpi4py import MPI

    import tinygrad_ce as tg

    class Watched(MPI.Intracomm):
        """Remembers how long its last Allreduce took."""

        last = 0.0

        def Allreduce(self, *arguments: Any) -> None:
            start = time.perf_counter()
            super().Allreduce(*arguments)
            self.last = time.perf_counter() - start

    class Clock(tg.train.Callback):
        """The seconds of each step but an epoch's first, and of its Allreduce."""

        def __init__(self) -> None:
            self.times: list[tuple[float, float]] = []
            self.before = 0.0

        def after_update(self, training: Any) -> None:
            if training.step > 1:
                self.times.append((time.perf_counter() - self.before, watched.last))
            watched.last = 0.0  # one rank has no Allreduce in a step
            self.before = time.perf_counter()

    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((EPOCH * batch, widths[0]), np.float32), rng.integers(0, widths[-1], EPOCH * batch))
    sizes = enumerate(itertools.pairwise(widths))
    layers = [m for k, size in sizes for m in (tg.nn.Linear(*size, rng=k), tg.nn.ReLU())]
    model = tg.nn.Sequential(*layers[:-1])
    optimizer = tg.optim.SGD(model.parameters(), lr=1e-4)
    watched, clock = Watched(comm), Clock()
    options: dict[str, Any] = {"comm": watched, "batch_size": batch, "optimizer": optimizer, "progress": False}
    start = time.perf_counter()
    tg.mpi.fit(model, rows, epochs=1, callbacks=[clock], **options)
    more = repeats(comm, time.perf_counter() - start, least=1)
    tg.mpi.fit(model, rows, epochs=more, callbacks=[clock], **options)
    every = np.array(comm.allgather(clock.times))  # (ranks, steps, 2)
    return float(np.median(every[..., 0].max(axis=0))), float(np.median(every[..., 1].min(axis=0)))


# From here on in the process that starts them


class Measured:
    """What the rounds found: by ranks and size, or by ranks, model and batch, a number for each round."""

    def __init__(self) -> None:
        self.allreduce: dict[tuple[int, int], list[float]] = {}
        self.steps: dict[tuple[int, Model, int], list[tuple[float, float]]] = {}
        self.add: list[float] = []

    def round(self, ranks: int, sizes: list[int], models: list[Model]) -> None:
        """One turn of so many ranks."""
        cases = [(model, batch) for model in models for batch in batches(model, ranks)]
        task = json.dumps([sizes, [(model.widths, batch) for model, batch in cases]])
        command = [str(MPIEXEC), "-n", str(ranks), sys.executable, "-m", "benchmarks.mpi", "--rank", task]
        one_thread = {**os.environ, **dict.fromkeys(turns.LIMITS, "1")}
        done = subprocess.run(command, capture_output=True, text=True, env=one_thread, timeout=170, check=False)
        if done.returncode:
            sys.exit(f"{ranks} ranks ended with {done.returncode}:\n{done.stderr}")
        found = json.loads(done.stdout)
        for size, seconds in zip(sizes, found["allreduce"], strict=False):
            self.allreduce.setdefault((ranks, size), []).append(seconds)
        for case, pair in zip(cases, found["steps"], strict=True):
            self.steps.setdefault((ranks, *case), []).append(pair)
        self.add += [found["add"]] if found["add"] else []

    def latency(self, ranks: int, size: int) -> float:
        """The median time of an Allreduce."""
        return statistics.median(self.allreduce[ranks, size])

    def step(self, ranks: int, model: Model, batch: int) -> tuple[float, float]:
        """The median time of a step, and of its communication."""
        total, communication = zip(*self.steps[ranks, model, batch], strict=True)
        return statistics.median(total), statistics.median(communication)

    def adding(self) -> float:
        """Seconds per byte added."""
        return statistics.median(self.add)


def batches(model: Model, ranks: int) -> list[int]:
    """The batches that so many ranks are measured with; two ranks also with those that computing is fitted to."""
    some = {model.batch, ranks * model.rows}
    if ranks == PAIR:
        some |= {ranks * max(1, model.batch >> k) for k in range(3, model.batch.bit_length() + 1, 2)}
    return sorted(some)


class Line(NamedTuple):
    """T = first · one + second · other, fitted; and how far it is off: the median and the largest relative error."""

    first: float
    second: float
    median: float
    largest: float

    def at(self, one: float, other: float) -> float:
        """T."""
        return self.first * one + self.second * other

    @property
    def off(self) -> str:
        """The errors, in words."""
        return f"relative error {self.median:.0%} in the median, {self.largest:.0%} at most"


def fitted(terms: list[tuple[float, float]], times: list[float]) -> Line:
    """Least squares of log T - log time, by Gauss-Newton in the coefficients' logarithms, as none is below 0."""
    a = np.array(terms) / np.array(times)[:, None]
    found = 0.5 / np.median(a, axis=0)
    for _ in range(100):
        parts = a * found
        ratio = parts.sum(axis=1)
        step, *_ = np.linalg.lstsq(parts / ratio[:, None], -np.log(ratio))
        found = found * np.exp(np.clip(step, -1, 1))
    found[found < 1e-15] = 0  # lost in the noise
    off = np.abs(a @ found - 1)
    return Line(float(found[0]), float(found[1]), float(np.median(off)), float(off.max()))


def terms(size: int, ranks: int) -> tuple[float, float]:
    """What the model multiplies α and 2 β + γ by."""
    return 2 * math.ceil(math.log2(ranks)), (ranks - 1) / ranks * size


def main() -> None:
    """Allreduce, then for each model strong and weak scaling, measured and modelled."""
    parser = argparse.ArgumentParser("python -m benchmarks.mpi", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two ranks, one model: shows that it works")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rank", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rank:
        rank(*json.loads(args.rank))
        return
    print(f"{__doc__}\n{turns.machine()}\n")
    if importlib.util.find_spec("mpi4py") is None or not MPIEXEC.exists():
        print("(left out: tinygrad_ce.mpi needs mpi4py and mpiexec: pip install 'tinygrad-ce[mpi]')")
        return
    ranks, sizes, models = (RANKS[:2], SIZES[::4], MODELS[:1]) if args.quick else (RANKS, SIZES, MODELS)
    measured = Measured()
    for _ in range(1 if args.quick else args.rounds):
        for p in ranks:
            measured.round(p, sizes, models)
    line = fitted([terms(size, PAIR) for size in sizes], [measured.latency(PAIR, size) for size in sizes])
    print(of_allreduce(measured, line, ranks, sizes))
    for model in models:
        print(f"\n{of_model(measured, model, line, ranks)}")


def of_allreduce(measured: Measured, line: Line, ranks: tuple[int, ...], sizes: list[int]) -> str:
    """The table of Allreduces, and what is fitted to those of two ranks."""
    rows = []
    for size in sizes:
        row = [spell_bytes(size), turns.spell(line.at(*terms(size, PAIR)))]
        rows.append(row + [turns.spell(measured.latency(p, size)) for p in ranks[1:]])
    table = turns.table(
        ["Allreduce of", f"{PAIR} ranks, modelled", *(f"{p} ranks, {kind(p)}" for p in ranks[1:])], rows
    )
    return (
        f"{table}\n\nFitted to {PAIR} ranks: α = {turns.spell(line.first)}, 2 β + γ = {line.second * 1e9:.3f} ns per "
        f"byte; {line.off}.\n"
        f"Assumed of the network, not measured: α = {turns.spell(LATENCY)} and β = 1/({1e-9 / BYTE:g} GB/s), as a "
        f"100 Gb/s network may have;\nγ = {measured.adding() * 1e9:.3f} ns per byte, measured as NumPy's addition here."
    )


def of_model(measured: Measured, model: Model, line: Line, ranks: tuple[int, ...]) -> str:
    """A model's tables of strong and weak scaling, and where communication takes over."""
    shares = [batch // PAIR for p, m, batch in measured.steps if p == PAIR and m == model]
    spent = [measured.step(PAIR, model, PAIR * rows) for rows in shares]
    work = fitted([(1.0, rows) for rows in shares], [total - reduced for total, reduced in spent])
    network = Line(LATENCY, 2 * BYTE + measured.adding(), 0.0, 0.0)
    parts = [
        f"**{model.name}**: an Allreduce of {spell_bytes(4 * model.parameters)}. Fitted to {PAIR} ranks, computing "
        f"takes {turns.spell(work.first)} + {turns.spell(work.second)} · rows;\n{work.off}."
    ]
    for strong in (True, False):
        scaling = Scaling(model, strong, work)
        alone = measured.step(1, model, scaling.batch(1))[0]
        rows = []
        for p in [*ranks, *(p for p in MORE if scaling.rows(p) >= 1)]:
            if p in ranks:
                total, reduced = measured.step(p, model, scaling.batch(p))
                row, other = scaling.row(p, alone, total - reduced, reduced), ["", ""]
            else:
                row = scaling.row(p, alone, *scaling.modelled(p, line))
                over = scaling.row(p, alone, *scaling.modelled(p, network))
                other = [over[-4], over[-2]]
            rows.append([f"{p:,}", kind(p) if p in ranks else "modelled", *row, *other])
        heads = ["rows", "computing", "Allreduce", "step", "speed-up", "efficiency"]
        parts.append(
            turns.table([scaling.title, "tinygrad_ce", *heads, "network: Allreduce", "network: speed-up"], rows)
            + f"\n\nCommunication takes over: an Allreduce takes longer {scaling.takes_over(line)}.\n"
            f"Over the network it takes longer {scaling.takes_over(network)}."
        )
    return "\n\n".join(parts)


class Scaling(NamedTuple):
    """How a model's training scales: the batch is shared among the ranks, or each has as many rows as one alone."""

    model: Model
    strong: bool
    work: Line

    @property
    def title(self) -> str:
        if self.strong:
            return f"strong, batch {self.model.batch:,}: ranks"
        return f"weak, {self.model.rows:,} rows each: ranks"

    def batch(self, ranks: int) -> int:
        """The rows of a step."""
        return self.model.batch if self.strong else ranks * self.model.rows

    def rows(self, ranks: int) -> float:
        """A rank's rows of a step."""
        return self.batch(ranks) / ranks

    def modelled(self, ranks: int, line: Line) -> tuple[float, float]:
        """The time of computing, and that of the Allreduce."""
        return self.work.at(1.0, self.rows(ranks)), line.at(*terms(4 * self.model.parameters, ranks))

    def row(self, ranks: int, alone: float, computing: float, reduced: float) -> list[str]:
        """Rows, times, how many times as many rows a second as one rank alone, and that for each rank."""
        step = computing + reduced
        speed = alone / step * self.batch(ranks) / self.batch(1)
        times = [turns.spell(computing), turns.spell(reduced) if ranks > 1 else "–", turns.spell(step)]
        return [f"{self.rows(ranks):.4g}", *times, f"{speed:,.2f} ×", f"{speed / ranks:.0%}"]

    def takes_over(self, line: Line) -> str:
        """The fewest ranks whose Allreduce takes longer than computing, in words: than for the rows, and in all."""
        last = max(p for p in MORE if self.rows(p) >= 1)
        words = []
        for what, fixed in (
            (f"than its rows at {turns.spell(self.work.second)} each", self.work.first),
            ("than computing in all", 0.0),
        ):
            modelled = ((p, self.modelled(p, line)) for p in range(2, last + 1))
            first = next((p for p, (computing, reduced) in modelled if reduced > computing - fixed), None)
            words.append(f"{what} {f'from {first:,} ranks on' if first else f'at no number of ranks up to {last:,}'}")
        return ", ".join(words)


def kind(ranks: int) -> str:
    """Whether measured ranks have a core each."""
    return "measured" if ranks <= turns.threads() else "oversubscribed"


def spell_bytes(size: int) -> str:
    """A number of bytes with a fitting unit."""
    for unit, one in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= one:
            return f"{size / one:.3g} {unit}"
    return f"{size} B"


if __name__ == "__main__":
    main()
