"""What DATA on the command line means: rows in memory or a stream, divided to train, to validate and to test with."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce import data
from tinygrad_ce.cli.wording import counted, likely
from tinygrad_ce.data import layout, sources
from tinygrad_ce.data.columns import Plan
from tinygrad_ce.data.dataset import Dataset, Pair
from tinygrad_ce.data.stream import Stream, stream
from tinygrad_ce.data.tables import Found, Table, load_table
from tinygrad_ce.train.rows import MEASURED, Rows, StreamRows, as_rows
from tinygrad_ce.train.team import ALONE

SETS: dict[str, Callable[[], Dataset]] = {
    "digits": data.load_digits,
    "iris": data.load_iris,
    "moons": data.make_moons,
    "spirals": data.make_spirals,
    "blobs": data.make_blobs,
}
COLUMNS = ("drop", "category", "number", "missing", "header", "classes")  # options of tables read by a plan
TEST, VALIDATION = 0.2, 0.15  # the fractions of rows that are held out: of all, and of the others
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
    table: Found | Table | None
    """Where they come from, if that is a table whose columns were found out."""


class Loaded(NamedTuple):
    """What DATA means."""

    rows: Rows
    names: list[str]
    """Of the features, if the file gives any."""
    table: Found | Table | None = None
    """The table that they come from, if it was read by a plan."""


def load(args: argparse.Namespace, plan: Plan | None = None, strict: bool = False) -> Loaded:
    """The rows that DATA means. A table is read by a plan, unless strict: then it is one of plain numbers.

    Raises:
        ValueError: there is no such data set, or an option that isn't for it.
        DataError: a file isn't what it should be.
    """
    paths, path, label = args.data, Path(args.data[0]), None if args.label is None else column(args.label)
    built_in = any(name in SETS for name in paths)
    if built_in and len(paths) > 1:
        raise ValueError(f"{' '.join(paths)}: expected one data set, or two files: features and labels")
    planned = _check_options(args, built_in, strict)
    if built_in:
        return Loaded(as_rows("fit", SETS[paths[0]]()), [])
    if not planned:
        return _from_files(paths, -1 if label is None else label, args.stream)
    asked: dict[str, Any] = {name: getattr(args, name, ()) for name in ("drop", "category", "number", "missing")}
    asked |= {"plan": plan, "header": header(args), "quantity": getattr(args, "classes", False), "scaled": False}
    if args.stream:
        rows: Any = stream(path, label=label, window=_WINDOW, **asked)
        table = rows.table
    else:
        held = (TEST, VALIDATION) if getattr(args, "patience", None) else (TEST,)
        rows = table = load_table(path, label, held=held, **asked)
    return Loaded(as_rows("fit", rows), table.plan.features if table.plan.named else [], table)


def _check_options(args: argparse.Namespace, built_in: bool, strict: bool) -> bool:
    """Refuse options that aren't for this data; whether it is a table whose columns are found out."""
    path = Path(args.data[0])
    is_folder = path.is_dir() and not built_in
    is_file = not built_in and not is_folder and len(args.data) == 1 and layout.is_table(path)
    planned = is_file and not strict
    kinds = {**dict.fromkeys(("label", "stream"), ("a .csv", is_file or is_folder)),
             **dict.fromkeys(COLUMNS, ("a table whose columns are found out", planned))}  # fmt: skip
    for name, (kind, fits) in kinds.items():
        if getattr(args, name, None) and not fits:
            raise ValueError(f"--{name} is for {kind}; {path} {'comes with its labels' if built_in else 'is none'}")
    return planned


def _from_files(paths: Sequence[str], label: int | str, streamed: bool) -> Loaded:
    _check_kind(paths)
    path = Path(paths[0])
    if streamed or path.is_dir() or path.suffix == ".npy":
        rows: Any = _flat(stream(paths[0] if len(paths) == 1 else tuple(paths), label=label, window=_WINDOW))
    else:
        rows = data.load_file(list(paths), label)
    tables = [path] if path.suffix == ".csv" else sorted(path.glob("[!.]*.csv"))
    return Loaded(as_rows("fit", rows), data.feature_names(tables[0], label) if tables else [])


def _check_kind(paths: Sequence[str]) -> None:
    """Refuse what is neither a data set nor files of a known kind."""
    path = Path(paths[0])
    if len(paths) == 2 or (len(paths) == 1 and (path.is_dir() or path.suffix in (".csv", ".npz", ".npy"))):
        return
    if len(paths) == 1 and not path.suffix and not path.exists():
        more = likely(path.name, SETS) or f"there are {', '.join(SETS)}, or give a file"
        raise ValueError(f"{path}: no such data set; {more}")
    expected = "a .csv, a .npz, two .npy or two IDX files (features, labels), or a folder of shards"
    raise ValueError(f"{' '.join(paths)}: expected {expected}{layout.hint(path)}")


def header(args: argparse.Namespace) -> bool | None:
    """Whether the first line of a table is one of names, if that is said."""
    return None if args.header is None else bool(args.header == "yes")


def column(text: str) -> int | str:
    """The label's column: a position, or a name."""
    return int(text) if text.removeprefix("-").isdecimal() else text


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
    return Stream(_Flat(rows._source), rows.classes, None, rows._window, rows._prefetch)


def parts_of(loaded: Loaded, path: str, validated: bool) -> Parts:
    """Hold out a fifth of the rows for the test, and of the others 0.15 for validation where it is wanted.

    The same rows are held out whatever the seed of a training is.

    Raises:
        ValueError: the labels can't be classes.
    """
    rows, names, table = loaded
    total, classes = len(rows), rows.classes
    if len(classes) < 2 or 2 * len(classes) > total:
        found = f"{counted(len(classes), 'different label')} in {counted(total, 'row')}"
        raise ValueError(f"{path}: {found}; is the label in the last column? name it with --label")
    train, test = rows.split(TEST, 0)
    train, validation = train.split(VALIDATION, 0) if validated else (train, None)
    each = np.zeros(len(classes), np.int64)
    for y in train.labels():
        if y.ndim > 1:
            raise ValueError(f"{path}: soft targets of shape {y.shape[1:]}, expected a class index for each row")
        each += np.bincount(y[y >= 0], minlength=len(classes))
    counts = Counts(len(train), 0 if validation is None else len(validation), len(test))
    return Parts(train, validation, test, names, classes, rows.shape[0], counts, each, _bytes(rows, validated), table)


def pieces(rows: Rows) -> Iterator[Pair]:
    """All rows in order, some thousand at a time."""
    for part in rows.all(ALONE):
        for i in range(0, len(part.y), MEASURED):
            yield part.x[i : i + MEASURED], part.y[i : i + MEASURED]


def _bytes(rows: Rows, validated: bool) -> int:
    if isinstance(rows, StreamRows):
        return 2 * min(len(rows) * (4 * rows.shape[0] + 8), _WINDOW)
    return round((2.8 if validated else 2) * (rows.data.x.nbytes + rows.data.y.nbytes))
