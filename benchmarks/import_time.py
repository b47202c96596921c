"""What ``import tinygrad_ce`` costs over ``import numpy``: fresh processes by turns."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

from benchmarks import turns

_TIMED = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


# Compiled modules are kept, as they are after an ordinary install.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def seconds(module: str) -> float:
    """The time of an import in a fresh process, as that process sees it."""
    command = [sys.executable, "-c", _TIMED.format(module)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=_ENVIRONMENT)
    return float(done.stdout)


def main() -> None:
    """Print the medians and the median difference."""
    parser = argparse.ArgumentParser("python -m benchmarks.import_time", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round: shows that it works, measures nothing")
    rounds = 1 if parser.parse_args().quick else 21
    pairs = [(seconds("numpy"), seconds("tinygrad_ce")) for _ in range(rounds)]
    print(f"{__doc__}\n{turns.machine()}\n")
    rows = [
        [f"import {name}", turns.spell(statistics.median(pair[i] for pair in pairs))]
        for i, name in enumerate(("numpy", "tinygrad_ce"))
    ]
    rows.append([f"difference, median of {rounds} pairs", turns.spell(statistics.median(b - a for a, b in pairs))])
    print(turns.table(["what", "time"], rows))


if __name__ == "__main__":
    main()
