"""Reading tables: 100,000 rows of 50 numbers and a label, 1,000,000 of 10, beside pandas, pyarrow and polars.

Times are of one core's work, each reader by turns, as their ratios to pandas' and the median of them; memory is what a
process of its own held at most beyond what it held before. "train" is a whole ``tinygrad-ce train`` of 500 rows, from
the interpreter's start to its end.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import streams, turns

READERS: dict[str, tuple[str, Callable[[Any], Callable[[str], Any]]]] = {
    "pandas": ("pandas", lambda module: module.read_csv),
    "tinygrad_ce, load_csv": ("tinygrad_ce", lambda module: module.data.load_csv),
    "tinygrad_ce, load_table": ("tinygrad_ce", lambda module: module.data.load_table),
    "pyarrow": ("pyarrow.csv", lambda module: module.read_csv),
    "polars": ("polars", lambda module: module.read_csv),
}
SHAPES = ((100_000, 50), (1_000_000, 10))


def write(path: Path, rows: int, width: int) -> None:
    """A table of numbers of six digits, and a label."""
    rng = np.random.default_rng(0)
    form = ",".join(["%.6g"] * width) + ",class%d\n"
    with open(path, "w") as file:
        file.write(",".join([*(f"c{i}" for i in range(width)), "kind"]) + "\n")
        for first in range(0, rows, 10_000):
            x = rng.standard_normal((min(10_000, rows - first), width)).tolist()
            file.writelines(form % (*row, i % 5) for i, row in enumerate(x))


def alone(name: str, path: Path) -> dict[str, float]:
    """What a process of its own says of a reading."""
    command = [sys.executable, "-m", "benchmarks.tables", "--read", name, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=streams.ROOT)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def read(name: str, path: str) -> dict[str, float]:
    """Read a table once to have all modules, and once to measure it."""
    module, choose = READERS[name]
    reader = choose(importlib.import_module(module))
    small = Path(path).with_name("small.csv")
    reader(str(small))
    before, start, wall = streams.peak(), time.process_time(), time.perf_counter()
    kept = reader(path)
    work, wall = time.process_time() - start, time.perf_counter() - wall
    del kept
    return {"work": work, "wall": wall, "peak": streams.peak() - before}


def train(folder: Path, rounds: int) -> float:
    """The seconds of a training of 500 rows."""
    write(folder / "rows.csv", 500, 5)
    command = [sys.executable, "-m", "tinygrad_ce", "train", str(folder / "rows.csv"), "--run", str(folder / "run")]
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run([*command, "--replace", "--quiet"], check=True, stdout=subprocess.DEVNULL, cwd=streams.ROOT)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print a table for each shape, and the training's time."""
    parser = argparse.ArgumentParser("python -m benchmarks.tables", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small tables, one round: measures nothing")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--read", nargs=2, metavar=("READER", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        print(json.dumps(read(*args.read)))
        return
    names = [name for name, (module, _) in READERS.items() if importlib.util.find_spec(module.partition(".")[0])]
    rounds = 1 if args.quick else args.rounds
    print(f"{__doc__}\n{turns.machine()}\n")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder / "small.csv", 100, 3)
        for rows, width in SHAPES:
            rows = rows // 1000 if args.quick else rows
            write(folder / "table.csv", rows, width)
            found = [{name: alone(name, folder / "table.csv") for name in names} for _ in range(rounds)]
            lines = []
            for name in names:
                each = [one[name] for one in found]
                ratios = [one[name]["work"] / one[names[0]]["work"] for one in found]
                times = [turns.spell(statistics.median(one[key] for one in each)) for key in ("wall", "work")]
                most = statistics.median(one["peak"] for one in each) / streams.MIB
                lines.append([name, *times, f"{statistics.median(ratios):.2f} ×", f"{most:,.0f} MiB"])
            heads = [f"{rows:,} rows of {width}", "time", "work", f"work over {names[0]}'s", "memory"]
            print(f"{turns.table(heads, lines)}\n", flush=True)
        print(f"train: {turns.spell(train(folder, rounds))}, median of {rounds}")


if __name__ == "__main__":
    main()
