"""Peers measured by turns, each in its own process, so that a drift of the machine's speed hits all alike.

A benchmark is a module with a table of peers: a name, and a function that returns the callable to time. The functions
import what they need; a peer that isn't installed is left out and named.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Peers = dict[str, Callable[[], Callable[[], Any]]]


def serve(make: Callable[[], Callable[[], Any]], seconds: float) -> None:
    """A peer's process: for every line read, time the callable and print the seconds of one call."""
    try:
        call = make()
    except ImportError as error:
        print(f"missing {error.name}", flush=True)
        return
    for _ in range(20):
        call()
    start = time.perf_counter()
    call()
    count = max(1, int(seconds / (time.perf_counter() - start)))
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(count):
            call()
        print((time.perf_counter() - start) / count, flush=True)


def threads() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure(module: str, names: list[str], rounds: int, options: list[str]) -> dict[str, list[float]]:
    """Each peer's seconds for one call, round by round."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads()))
    running: dict[str, subprocess.Popen[str]] = {}
    for name in names:
        peer = subprocess.Popen(
            [sys.executable, "-m", module, "--peer", name, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **limits},
        )  # fmt: skip
        assert peer.stdout is not None
        answer = peer.stdout.readline().strip()
        if answer == "ready":
            running[name] = peer
        else:
            print(f"{name}: left out, {answer or 'it failed'}")
    times: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(rounds):
        for name, peer in running.items():
            assert peer.stdin is not None
            assert peer.stdout is not None
            peer.stdin.write("go\n")
            peer.stdin.flush()
            times[name].append(float(peer.stdout.readline()))
    for peer in running.values():
        peer.communicate()
    return times


def main(
    module: str,
    title: str,
    peers: Peers,
    ours: str,
    summary: Callable[[dict[str, list[float]]], str] | None = None,
) -> None:
    """The command line of a benchmark: a table of medians, and of each peer's time over ours."""
    parser = argparse.ArgumentParser(f"python -m {module}", description=title)
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it works, measures nothing")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peer", choices=peers, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        serve(peers[args.peer], 0.001 if args.quick else 0.05)
        return
    print(f"{title}\n{machine()}\n")
    times = measure(module, list(peers), 1 if args.quick else args.rounds, ["--quick"] * args.quick)
    print(f"\n{'':<22} {'median':>10} {'over ours':>10}   (median of {len(times[ours])} rounds by turns)")
    for name, values in times.items():
        ratio = statistics.median(t / o for t, o in zip(values, times[ours], strict=True))
        print(f"{name:<22} {1e6 * statistics.median(values):>7.1f} µs {ratio:>9.2f}×")
    if summary is not None:
        print(f"\n{summary(times)}")


def machine() -> str:
    """What it ran on."""
    return f"{platform.machine()}, {threads()} cores, Python {platform.python_version()}, NumPy {np.__version__}"
