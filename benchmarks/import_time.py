"""What a start costs beside ``import numpy``: fresh processes by turns, and what ``-X importtime`` says of each."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

from benchmarks import turns

# Compiled modules are kept, as they are after an ordinary install.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def seconds(module: str, before: str = "") -> float:
    """The time of an import in a fresh process, with all that it imports but what was imported before."""
    command = [sys.executable, "-X", "importtime", "-c", f"{before}import {module}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=_ENVIRONMENT)
    lines = (line.split("|") for line in done.stderr.splitlines())
    return next(float(whole) for _, whole, name in lines if name.strip() == module) / 1e6


def main() -> None:
    """Print the medians, and the median ratio of the pairs."""
    parser = argparse.ArgumentParser("python -m benchmarks.import_time", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round: shows that it works, measures nothing")
    rounds = 1 if parser.parse_args().quick else 21
    pairs = [(seconds("numpy"), seconds("tinygrad_ce", "import numpy; ")) for _ in range(rounds)]
    print(f"{__doc__}\n{turns.machine()}\n")
    rows = [
        [name, turns.spell(statistics.median(pair[i] for pair in pairs))]
        for i, name in enumerate(("import numpy", "import tinygrad_ce, beside it"))
    ]
    rows.append([f"their ratio, median of {rounds} pairs", f"{statistics.median(b / a for a, b in pairs):.2f} ×"])
    print(turns.table(["what", "time"], rows))


if __name__ == "__main__":
    main()
