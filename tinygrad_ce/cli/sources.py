"""Where rows come from: DATA on the command line, in memory or as a stream, and its parts to train and to test with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce import data as sets
from tinygrad_ce.cli.wording import counted, likely
from tinygrad_ce.data import sources
from tinygrad_ce.data.dataset import Dataset
from tinygrad_ce.data.stream import Stream, stream

SETS: dict[str, Callable[[], Dataset]] = {
    "digits": sets.load_digits,
    "iris": sets.load_iris,
    "moons": sets.make_moons,
    "spirals": sets.make_spirals,
    "blobs": sets.make_blobs,
}
MEASURED = 4096  # rows that are measured together
_WINDOW = 1 << 24  # bytes of a stream that are shuffled together; while they are used, as many are read ahead

Rows = Dataset | Stream


class Source(NamedTuple):
    """All rows of DATA, and the names of their features if the file gives any."""

    rows: Rows
    names: list[str]


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


def load(paths: Sequence[str], label: int | str | None, streamed: bool) -> Source:
    """The rows that DATA means.

    Raises:
        ValueError: there is no such data set, or an option that isn't for it.
        DataError: a file isn't what it should be.
    """
    built_in = [name for name in paths if name in SETS]
    if built_in and len(paths) > 1:
        raise ValueError(f"{' '.join(paths)}: expected one data set, or two files: features and labels")
    is_csv = Path(paths[0]).suffix == ".csv"
    for option, given in (("--label", label is not None), ("--stream", streamed)):
        if given and (built_in or not (is_csv or Path(paths[0]).is_dir())):
            raise ValueError(f"{option} is for a .csv; {paths[0]} {'comes with its labels' if built_in else 'is none'}")
    if built_in:
        return Source(SETS[built_in[0]](), [])
    _check_kind(paths)
    column = -1 if label is None else label
    if streamed or Path(paths[0]).is_dir() or Path(paths[0]).suffix == ".npy":
        whole = paths[0] if len(paths) == 1 else tuple(paths)
        rows: Rows = _flat(stream(whole, label=column, window=_WINDOW))
    else:
        rows = sets.load_file(list(paths), column)
    tables = [paths[0]] if is_csv else sorted(Path(paths[0]).glob("[!.]*.csv"))
    return Source(rows, sets.feature_names(tables[0], column) if tables else [])


def _check_kind(paths: Sequence[str]) -> None:
    """Refuse what is neither a data set nor files of a known kind."""
    path = Path(paths[0])
    if len(paths) == 2 or (len(paths) == 1 and (path.is_dir() or path.suffix in (".csv", ".npz", ".npy"))):
        return
    if len(paths) == 1 and not path.suffix and not path.exists():
        more = likely(path.name, SETS) or f"there are {', '.join(SETS)}, or give a file"
        raise ValueError(f"{path}: no such data set; {more}")
    hint = "; separated by tabs? Save it with commas, as a .csv" if path.suffix == ".tsv" else ""
    raise ValueError(
        f"{' '.join(paths)}: expected a .csv, a .npz, two .npy or two IDX files (features, labels), or a folder of "
        f"shards{hint}"
    )


class _Flat:
    """A source whose rows have their features along one axis."""

    def __init__(self, source: sources.Source) -> None:
        self.source = source
        self.counts, self.row_bytes = source.counts, source.row_bytes
        self.shape: tuple[int, ...] = (math.prod(source.shape),)

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows of block i."""
        x, y = self.source.read(i)
        return x.reshape(len(x), -1), y


def _flat(rows: Stream) -> Stream:
    return Stream(_Flat(rows._source), rows.classes, rows._window, rows._prefetch)


def divide(source: Source, path: str, validated: bool) -> Parts:
    """Hold out a fifth of the rows for the test, and of the others 0.15 for validation where it is wanted.

    The same rows are held out whatever the seed of a training is.

    Raises:
        ValueError: the labels can't be classes.
    """
    rows, names = source
    total, classes = count(rows), rows.classes
    if len(classes) < 2 or 2 * len(classes) > total:
        raise ValueError(
            f"{path}: {counted(len(classes), 'different label')} in {counted(total, 'row')}; "
            "is the label in the last column? name it with --label"
        )
    train, test = split(rows, 0.2)
    validation = None
    if validated:
        train, validation = split(train, 0.15)
    each = np.zeros(len(classes), np.int64)
    for _, y in pieces(train):
        if y.ndim > 1:
            raise ValueError(f"{path}: soft targets of shape {y.shape[1:]}, expected a class index for each row")
        each += np.bincount(y[y >= 0], minlength=len(classes))
    counts = Counts(count(train), count(validation) if validation is not None else 0, count(test))
    return Parts(train, validation, test, names, classes, _width(rows), counts, each, _bytes(rows, validated))


def split(rows: Any, fraction: float) -> tuple[Any, Any]:
    """Hold out a fraction of the rows, the same ones every time."""
    return rows.split(fraction) if isinstance(rows, Stream) else sets.split(rows, fraction)


def count(rows: Rows) -> int:
    """How many rows there are."""
    return len(rows) if isinstance(rows, Stream) else len(rows.y)


def pieces(rows: Rows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All rows in order, some thousand at a time."""
    if isinstance(rows, Stream):
        return rows.batches(MEASURED, shuffle=False)
    return sets.batches(rows, MEASURED, shuffle=False)


def moments(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each feature, block by block, so that no second copy of the rows is made."""
    return (rows if isinstance(rows, Stream) else stream(rows)).moments()


def _width(rows: Rows) -> int:
    return int((rows.shape if isinstance(rows, Stream) else rows.x.shape[1:])[0])


def _bytes(rows: Rows, validated: bool) -> int:
    if isinstance(rows, Stream):
        return 2 * min(len(rows) * (4 * _width(rows) + 8), _WINDOW)
    return round((2.8 if validated else 2) * (rows.x.nbytes + rows.y.nbytes))
