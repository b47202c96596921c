"""What DATA on the command line means: rows in memory or a stream, divided to train, to validate and to test with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce import data
from tinygrad_ce.cli.wording import counted, likely
from tinygrad_ce.data import sources
from tinygrad_ce.data.dataset import Dataset, Pair
from tinygrad_ce.data.stream import Stream, stream
from tinygrad_ce.train.rows import MEASURED, Rows, StreamRows, as_rows
from tinygrad_ce.train.team import ALONE

SETS: dict[str, Callable[[], Dataset]] = {
    "digits": data.load_digits,
    "iris": data.load_iris,
    "moons": data.make_moons,
    "spirals": data.make_spirals,
    "blobs": data.make_blobs,
}
_WINDOW = 1 << 24  # bytes of a stream that are shuffled together; while they are used, as many are read ahead


class Counts(NamedTuple):
    """How many rows each part has."""

    train: int
    validation: int
    test: int


class Parts(NamedTuple):
    """The rows to train on, those to validate with if there are any, and those to test with."""

    train: Rows
    validation: Rows | None
    test: Rows
    names: list[str]
    classes: tuple[str, ...]
    features: int
    rows: Counts
    each: np.ndarray
    """How many of the rows to train on each class has."""
    bytes: int
    """What all of them take in memory while they are divided, or while a stream is read."""


def load(paths: Sequence[str], label: int | str | None, streamed: bool) -> tuple[Rows, list[str]]:
    """The rows that DATA means, and the names of their features if the file gives any.

    Raises:
        ValueError: there is no such data set, or an option that isn't for it.
        DataError: a file isn't what it should be.
    """
    built_in = any(name in SETS for name in paths)
    if built_in and len(paths) > 1:
        raise ValueError(f"{' '.join(paths)}: expected one data set, or two files: features and labels")
    path = Path(paths[0])
    is_table = not built_in and (path.suffix == ".csv" or path.is_dir())
    for option, given in (("--label", label is not None), ("--stream", streamed)):
        if given and not is_table:
            raise ValueError(f"{option} is for a .csv; {paths[0]} {'comes with its labels' if built_in else 'is none'}")
    if built_in:
        return as_rows("fit", SETS[paths[0]]()), []
    return _from_files(paths, -1 if label is None else label, streamed)


def _from_files(paths: Sequence[str], column: int | str, streamed: bool) -> tuple[Rows, list[str]]:
    _check_kind(paths)
    path = Path(paths[0])
    if streamed or path.is_dir() or path.suffix == ".npy":
        rows: Any = _flat(stream(paths[0] if len(paths) == 1 else tuple(paths), label=column, window=_WINDOW))
    else:
        rows = data.load_file(list(paths), column)
    tables = [path] if path.suffix == ".csv" else sorted(path.glob("[!.]*.csv"))
    return as_rows("fit", rows), data.feature_names(tables[0], column) if tables else []


def _check_kind(paths: Sequence[str]) -> None:
    """Refuse what is neither a data set nor files of a known kind."""
    path = Path(paths[0])
    if len(paths) == 2 or (len(paths) == 1 and (path.is_dir() or path.suffix in (".csv", ".npz", ".npy"))):
        return
    if len(paths) == 1 and not path.suffix and not path.exists():
        more = likely(path.name, SETS) or f"there are {', '.join(SETS)}, or give a file"
        raise ValueError(f"{path}: no such data set; {more}")
    hint = "; separated by tabs? Save it with commas, as a .csv" if path.suffix == ".tsv" else ""
    expected = "a .csv, a .npz, two .npy or two IDX files (features, labels), or a folder of shards"
    raise ValueError(f"{' '.join(paths)}: expected {expected}{hint}")


class _Flat:
    """A source whose rows have their features along one axis."""

    def __init__(self, source: sources.Source) -> None:
        self.source = source
        self.counts, self.row_bytes = source.counts, source.row_bytes
        self.shape: tuple[int, ...] = (math.prod(source.shape),)

    def read(self, i: int) -> Pair:
        """The rows of block i."""
        x, y = self.source.read(i)
        return x.reshape(len(x), -1), y


def _flat(rows: Stream) -> Stream:
    return Stream(_Flat(rows._source), rows.classes, rows._window, rows._prefetch)


def parts_of(rows: Rows, names: list[str], path: str, validated: bool) -> Parts:
    """Hold out a fifth of the rows for the test, and of the others 0.15 for validation where it is wanted.

    The same rows are held out whatever the seed of a training is.

    Raises:
        ValueError: the labels can't be classes.
    """
    total, classes = len(rows), rows.classes
    if len(classes) < 2 or 2 * len(classes) > total:
        found = f"{counted(len(classes), 'different label')} in {counted(total, 'row')}"
        raise ValueError(f"{path}: {found}; is the label in the last column? name it with --label")
    train, test = rows.split(0.2, 0)
    train, validation = train.split(0.15, 0) if validated else (train, None)
    each = np.zeros(len(classes), np.int64)
    for y in train.labels():
        if y.ndim > 1:
            raise ValueError(f"{path}: soft targets of shape {y.shape[1:]}, expected a class index for each row")
        each += np.bincount(y[y >= 0], minlength=len(classes))
    counts = Counts(len(train), 0 if validation is None else len(validation), len(test))
    return Parts(train, validation, test, names, classes, rows.shape[0], counts, each, _bytes(rows, validated))


def pieces(rows: Rows) -> Iterator[Pair]:
    """All rows in order, some thousand at a time."""
    for part in rows.all(ALONE):
        for i in range(0, len(part.y), MEASURED):
            yield part.x[i : i + MEASURED], part.y[i : i + MEASURED]


def _bytes(rows: Rows, validated: bool) -> int:
    if isinstance(rows, StreamRows):
        return 2 * min(len(rows) * (4 * rows.shape[0] + 8), _WINDOW)
    return round((2.8 if validated else 2) * (rows.data.x.nbytes + rows.data.y.nbytes))
