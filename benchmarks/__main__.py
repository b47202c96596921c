"""Run every benchmark and write down what they print: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import datetime
import pathlib
import subprocess
import sys

from benchmarks import turns

HERE = pathlib.Path(__file__).parent
ORDER = (
    "cross_entropy", "training_step", "tape", "linear_cross_entropy", "images", "fit", "scaling", "accuracy",
    "label_checks", "import_time", "tables", "estimators", "mpi",
)  # fmt: skip
# They count faults or memory instead of measuring time, and are each a command of their own.
FAULTS = ("mutants", "random_graphs", "torch_fuzz", "damaged_files", "interrupts", "memory", "streams", "wasm")
HEAD = """# Results

Written by `python -m benchmarks` on {day}: {machine}. Each peer ran in its own process, with the same number of
threads, by turns with this project; times are medians, and a ratio is the median over rounds. "PyTorch over ours" is
PyTorch's time divided by ours: above 1, this project is ahead.
"""


def main() -> None:
    """Each benchmark in a process of its own; the file is written when all have run."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run; all by default: {', '.join(ORDER)}")
    parser.add_argument("--quick", action="store_true", help="show that they work, measure nothing")
    parser.add_argument("--output", default=str(HERE / "RESULTS.md"), help="the file to write (%(default)s)")
    args = parser.parse_args()
    unknown = sorted(set(args.names) - set(ORDER))
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(ORDER)}")
    parts = [HEAD.format(day=datetime.date.today().isoformat(), machine=turns.machine())]
    for name in args.names or ORDER:
        command = [sys.executable, "-m", f"benchmarks.{name}", *["--quick"] * args.quick]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent, check=False)
        print(done.stdout, flush=True)
        if done.returncode:
            sys.exit(f"benchmarks.{name} ended with {done.returncode}; nothing was written")
        parts.append(f"## {name}\n\n`python -m benchmarks.{name}`\n\n{done.stdout.strip()}\n")
    pathlib.Path(args.output).write_text("\n".join(parts))
    print(f"written to {args.output}")


if __name__ == "__main__":
    main()
