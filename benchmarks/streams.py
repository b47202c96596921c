"""Streams: an epoch over files larger than the memory it may take, and the most memory that its process held.

A pair of .npy files of 4 GiB and a .csv of 256 MiB are written piece by piece, and each is streamed by a process of its
own, shuffled, in batches that train a linear classifier: the .npy files by their paths, and once more as NumPy maps
them. Every row holds its number, so that it is seen whether each came exactly once. The figure is the peak of resident
memory of the whole process: Python, NumPy, this package and the data.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_ce as tg

MIB = 1 << 20
LIMIT = 300
CLASSES = 10
PIECE = 1 << 13  # rows that are written together
ROOT = Path(__file__).parent.parent


def pieces(features: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows with labels, without end. The first two features are the row's number: its 4096ths and the rest."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((PIECE, features), np.float32)
    for first in itertools.count(0, PIECE):
        y = rng.integers(0, CLASSES, PIECE)
        high, low = np.divmod(np.arange(first, first + PIECE), 4096)
        x[:, 0], x[:, 1], x[:, 2] = high / 4096, low / 4096, y == 0
        yield x, y


def numbers(x: np.ndarray) -> np.ndarray:
    """The numbers of rows."""
    return (np.rint(x[:, 0] * 4096) * 4096 + np.rint(x[:, 1] * 4096)).astype(np.int64)


def write_npy(folder: Path, size: int, features: int = 256) -> None:
    """x.npy of about so many bytes, and y.npy beside it."""
    count = max(1, size // (4 * features * PIECE))
    with open(folder / "x.npy", "wb") as x_file, open(folder / "y.npy", "wb") as y_file:
        for file, descr, shape in ((x_file, "<f4", (count * PIECE, features)), (y_file, "<i8", (count * PIECE,))):
            head = {"descr": descr, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, head)
        for x, y in itertools.islice(pieces(features), count):
            x_file.write(x.tobytes())
            y_file.write(y.tobytes())


def write_csv(folder: Path, size: int, features: int = 20) -> None:
    """rows.csv of about so many bytes."""
    with open(folder / "rows.csv", "w") as file:
        for x, y in pieces(features):
            form = ",".join(["%.6g"] * features) + ",class %d\n"
            file.writelines(form % (*row, label) for row, label in zip(x.tolist(), y.tolist(), strict=True))
            if file.tell() >= size:
                return


SOURCES = {
    "a .csv": lambda folder: folder / "rows.csv",
    "two .npy": lambda folder: (folder / "x.npy", folder / "y.npy"),
    "two .npy, mapped": lambda folder: tuple(np.load(folder / f"{name}.npy", mmap_mode="r") for name in "xy"),
}


def peak() -> int:
    """Bytes of memory that this process held at most."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError):  # elsewhere a new process has none of its parent's peak
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def epoch(kind: str, folder: Path) -> dict[str, Any]:
    """Stream every row once and train on it."""
    start = time.perf_counter()
    rows = tg.data.stream(SOURCES[kind](folder))
    opened = time.perf_counter()
    model = tg.nn.Linear(rows.shape[0], len(rows.classes), rng=0)
    seen = np.zeros(len(rows), np.uint8)
    for x, y in rows.batches(256, seed=0):
        tg.cross_entropy(model(x), y).backward(retain_graph=False)
        for p in model.parameters():
            p.data = p.data - 0.1 * p.grad
            p.grad = None
        seen[numbers(x)] += 1
    end = time.perf_counter()
    once = bool((seen == 1).all())
    return {"rows": len(rows), "once": once, "first": opened - start, "epoch": end - opened, "peak": peak()}


def alone(kind: str, folder: Path) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.streams", "--epoch", kind, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(folder: Path, write: Any, size: int, kinds: list[str]) -> bool:
    """Write files, stream them in these ways, say what came of it; whether all was as it should be."""
    write(folder, size)
    right = True
    for kind in kinds:
        found = alone(kind, folder)
        most = found["peak"] / MIB
        right &= found["once"] and most <= LIMIT
        print(
            f"{size / MIB:,.0f} MiB of {kind}: {found['rows']:,} rows, "
            f"{'each once' if found['once'] else 'NOT EACH ONCE'}, at {size / MIB / found['epoch']:,.0f} MiB/s after a "
            f"first pass of {found['first']:.1f} s; the process held at most {most:,.0f} MiB",
            flush=True,
        )
    for file in folder.iterdir():
        file.unlink()
    return right


def main() -> int:
    """Print a line for each way to stream."""
    parser = argparse.ArgumentParser("python -m benchmarks.streams", description=__doc__)
    parser.add_argument("--size", type=int, default=4096, help="MiB of the .npy files (%(default)s)")
    parser.add_argument("--csv", type=int, default=256, help="MiB of the .csv (%(default)s)")
    parser.add_argument("--folder", help="where the files are written for the while; the system's unless given")
    parser.add_argument("--epoch", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.epoch:
        print(json.dumps(epoch(args.epoch[0], Path(args.epoch[1]))))
        return 0
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        needed, free = max(args.size, args.csv) * MIB * 1.05, shutil.disk_usage(folder).free
        if needed > free:
            print(f"{folder}: {free / MIB:,.0f} MiB free, {needed / MIB:,.0f} needed; see --size and --folder")
            return 1
        right = measure(folder, write_npy, args.size * MIB, ["two .npy", "two .npy, mapped"])
        right &= measure(folder, write_csv, args.csv * MIB, ["a .csv"])
    print(f"every peak within {LIMIT} MiB" if right else f"FAILED: expected each row once, within {LIMIT} MiB")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
