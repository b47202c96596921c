"""Peers measured by turns, each in its own process, so that a drift of the machine's speed hits all alike.

A benchmark is a module with cases and a table of peers: a name, and a function that makes of a case the callable to
time. The functions import what they need; a peer that isn't installed is left out and named. Every process may use the
same number of threads.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Peers = dict[str, Callable[..., Callable[[], Any]]]
Cases = dict[str, tuple[Any, ...]]
Times = dict[str, dict[str, list[float]]]  # case, peer: seconds of one call, round by round

PACKAGES = ("numpy", "torch", "jax", "autograd", "mygrad", "scipy", "scikit-learn")
LIMITS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "TINYGRAD_CE_NUM_THREADS"
)  # fmt: skip


class TooMuch(Exception):
    """A peer would take far too long, or too much memory, for a case."""


def threads() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> dict[str, str]:
    """The environment of a measured process."""
    return {**os.environ, **dict.fromkeys(LIMITS, str(threads()))}


def serve(make: Callable[..., Callable[[], Any]], cases: list[tuple[Any, ...]], seconds: float) -> None:
    """A peer's process: a line with a number prepares that case, any other one times it and prints a call's seconds."""
    call: Callable[[], Any] | None = None
    count = 1
    for line in sys.stdin:
        if line.strip().isdigit():
            call = None  # give the memory of the case before free first
            try:
                call = make(*cases[int(line)])
            except ImportError as error:
                print(f"{error.name} is not installed", flush=True)
                continue
            except TooMuch as error:
                print(error, flush=True)
                continue
            start = time.perf_counter()
            for i in range(20):
                call()
                if i and time.perf_counter() - start > 4 * seconds:
                    break
            start = time.perf_counter()
            call()
            count = max(1, int(seconds / (time.perf_counter() - start)))
            print("ready", flush=True)
        elif call is not None:
            for _ in range(count // 4):  # the others have had the caches since
                call()
            start = time.perf_counter()
            for _ in range(count):
                call()
            print((time.perf_counter() - start) / count, flush=True)


class Peer:
    """A peer's process, seen from here."""

    def __init__(self, module: str, name: str, quick: bool) -> None:
        command = [sys.executable, "-m", module, "--peer", name, *["--quick"] * quick]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
        )

    def ask(self, line: str) -> str:
        """The answer to a line; empty if the process has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return ""
        return self.process.stdout.readline().strip()


def measure(module: str, cases: list[str], names: list[str], rounds: int, quick: bool) -> tuple[Times, set[str]]:
    """The times, and why a peer is missing from some."""
    peers = {name: Peer(module, name, quick) for name in names}
    times: Times = {}
    missing: set[str] = set()
    for i, case in enumerate(cases):
        ready = {}
        for name, peer in peers.items():
            answer = peer.ask(str(i))
            if answer == "ready":
                ready[name] = peer
            else:
                missing.add(f"{name}: {answer or 'its process ended'}")
        times[case] = {name: [] for name in ready}
        for _ in range(rounds):
            for name, peer in ready.items():
                times[case][name].append(float(peer.ask("go")))
    for peer in peers.values():
        peer.process.communicate()
    return times, missing


def ratio(times: dict[str, list[float]], one: str, other: str) -> float:
    """The median over rounds of one's time over the other's; nan if one of them is missing."""
    if one not in times or other not in times:
        return float("nan")
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def main(
    module: str,
    title: str,
    peers: Peers,
    cases: Cases,
    quick_cases: int = 1,
    floor: str | None = None,
    summary: Callable[[Times], str] | None = None,
    rounds: int = 15,
) -> None:
    """The command line of a benchmark: for each case our time, and each peer's over ours. The first peer is ours.

    ``floor`` names a peer that does no more than anyone must; beside it stands our time over its.
    """
    parser = argparse.ArgumentParser(f"python -m {module}", description=title)
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it works, measures nothing")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--peer", choices=peers, help=argparse.SUPPRESS)
    args = parser.parse_args()
    chosen = dict(list(cases.items())[:quick_cases]) if args.quick else cases
    if args.peer:
        serve(peers[args.peer], list(chosen.values()), 0.001 if args.quick else 0.05)
        return
    print(f"{title}\n\n{machine()}\n")
    ours, *others = peers
    times, missing = measure(module, list(chosen), list(peers), 1 if args.quick else args.rounds, args.quick)
    rows = []
    for case, found in times.items():
        row = [case, spell(statistics.median(found[ours]))]
        for name in others:
            value = ratio(found, ours, name) if name == floor else ratio(found, name, ours)
            row.append("–" if np.isnan(value) else f"{value:.2f} ×")
        rows.append(row)
    heads = [f"ours over {name}" if name == floor else f"{name} over ours" for name in others]
    print(table(["what", ours, *heads], rows))
    for line in sorted(missing):
        print(f"\n(left out: {line})")
    if summary is not None:
        print(f"\n{summary(times)}")


def spell(seconds: float) -> str:
    """A time with a fitting unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table that reads well as text and as Markdown; above it the worst row of each column of times over ours."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    padded = [
        [c.ljust(w) if not i else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
        for line in lines
    ]
    text = [f"| {' | '.join(line)} |" for line in padded]
    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([*worst(head, rows), text[0], rule, *text[1:]])


def worst(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines that name the row where a peer's time over ours is least."""
    lines = []
    for i, name in enumerate(head):
        names = 2 if name == "over ours" else 1  # columns that say what a row is
        found = [(float(row[i][:-2]), ", ".join(row[:names])) for row in rows if row[i].endswith(" ×")]
        if name.endswith("over ours") and found:
            ratio, what = min(found)
            lines.append(f"The worst, {name}: {what}, {ratio:.2f} ×")
    return [*lines, ""] if lines else []


def machine() -> str:
    """What it runs on, with the versions of the peers found."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    simd: Any = np.show_config(mode="dicts")["SIMD Extensions"]
    vectors = (simd.get("found") or simd["baseline"])[-1]  # NumPy's exp of float64 needs AVX-512, X86_V4
    cores = f"{platform.machine()}, {threads()} cores with {vectors}"
    return f"{cores}, Python {platform.python_version()}, {', '.join(found)}"
