"""Sources of a stream: rows in blocks, from arrays and from files of every kind, read and checked block by block."""

from __future__ import annotations

import bisect
import itertools
import math
import mmap
import os
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tinygrad_ce.common.words import normal
from tinygrad_ce.data import arrays, naming, readers, strict
from tinygrad_ce.data.dataset import Pair
from tinygrad_ce.data.readers import DataError

_MISSING = -100  # the label of a row that has none: the losses' ignore_index
_MOST_CLASSES = 1 << 20
_LOOK = 1 << 17  # labels' numbers that are looked at together
_ENDINGS = (".csv", ".npz", ".x.npy")


class Source(Protocol):
    """Rows in blocks."""

    counts: np.ndarray
    """How many rows each block has."""
    shape: tuple[int, ...]
    """That of a row's features."""
    row_bytes: int
    """What a row takes in memory: its features as float32, and its label."""

    def read(self, i: int) -> Pair:
        """The rows of block i: features, float32, and class indices, int64, or soft targets."""


def find(
    source: Any, label: int | str | None, classes: Sequence[str] | None, block: int, window: int
) -> tuple[Source, tuple[str, ...]]:
    """The source that a user means, and the names of its classes.

    Raises:
        TypeError: neither a path nor a pair.
        DataError: a file that isn't what it should be, or files that don't belong together.
    """
    if isinstance(source, tuple | list):
        if len(source) not in (2, 3):
            raise TypeError(f"stream: source has {len(source)} parts, expected a pair (x, y) or a Dataset")
        indices = Indices(tuple(map(str, source[2])) if classes is None and len(source) == 3 else classes)
        pair = Arrays("stream", _rows(source[0]), _rows(source[1]), indices, block)
        return pair, indices.done("stream", int(pair.counts.sum()))
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"stream: source is of type {type(source).__name__}, expected a path, or a pair (x, y)")
    path = Path(source)
    paths = _shards(path) if path.is_dir() else [path]
    if paths[0].suffix == ".csv":
        names, tables = Names(classes), list[Csv]()
        for shard in paths:
            tables.append(Csv(shard, -1 if label is None else label, names, block, tables[0] if tables else None))
        return Shards(paths, tables), names.done()
    if not paths[0].name.endswith(_ENDINGS):
        raise DataError(f"{path}: expected a .csv, a .npz, a folder of shards, or a pair of .npy files (x, y)")
    indices = Indices(classes)
    parts = [_shard(shard, indices, block, window) for shard in paths]
    shards = Shards(paths, parts)
    return shards, indices.done(str(path), int(shards.counts.sum()))


def _rows(part: Any) -> Any:
    """What has a shape and gives rows when it is sliced."""
    if isinstance(part, str | os.PathLike):
        return Npy(Path(part))
    return part if hasattr(part, "shape") else np.asarray(part)


def _shards(folder: Path) -> list[Path]:
    """The shards in a folder, in the order of their names."""
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    kinds = [ending for ending in _ENDINGS if any(name.endswith(ending) for name in names)]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "no shards"
        raise DataError(f"{folder}: {found}, expected files of one kind: .npz, .csv, or pairs NAME.x.npy, NAME.y.npy")
    x, y = ({name[:-6] for name in names if name.endswith(ending)} for ending in (".x.npy", ".y.npy"))
    if alone := sorted(x ^ y):
        raise DataError(f"{folder}: {arrays.word(alone[0])}.x.npy or .y.npy is missing, expected pairs of them")
    return [folder / name for name in names if name.endswith(kinds[0])]


def _shard(path: Path, indices: Indices, block: int, window: int) -> Source:
    if path.suffix == ".npz":
        return Npz(path, indices, window)
    y = path.with_name(path.name.removesuffix(".x.npy") + ".y.npy")
    return Arrays(str(path), Npy(path), Npy(y), indices, block)


# Labels


class Names:
    """The labels of tables, names of classes: noted in a first pass over all of them, and then turned into indices.

    Args:
        classes: all there may be, if they are known.
    """

    def __init__(self, classes: Sequence[str] | None) -> None:
        self._classes = None if classes is None else {normal(name): i for i, name in enumerate(classes)}
        self._index: dict[str, int] = {}

    def note(self, where: str, label: str) -> None:
        """Note a label, or refuse it."""
        naming.check_name(where, label)
        if self._classes is None:
            self._index[label] = 0  # until all are known
        else:
            found = self._classes.get(label, self._classes.get(naming.plain(label)))
            if found is None:
                raise DataError(f"{where}: {arrays.shown(label)}, expected one of {arrays.listed(list(self._classes))}")
            self._index[label] = found
        if len(self._index) > _MOST_CLASSES:
            raise DataError(f"{where}: one more class, expected at most {_MOST_CLASSES:,}; are these class labels?")

    def done(self) -> tuple[str, ...]:
        """The names of the classes, once all labels are noted."""
        if self._classes is not None:
            return tuple(self._classes)
        self._index, classes = naming.class_index(list(self._index))
        return tuple(classes)

    def encode(self, labels: list[str]) -> np.ndarray:
        """Class indices."""
        return np.array([self._index[label] for label in labels], np.int64)


class Indices:
    """The labels of arrays, class indices or soft targets: noted in a first pass, and checked again as they are read.

    Args:
        classes: the names of the classes, if they are known.
    """

    def __init__(self, classes: Sequence[str] | None) -> None:
        self._classes = None if classes is None else tuple(classes)
        self._kind = ""
        self._count = 0

    def name(self, where: str, classes: np.ndarray) -> None:
        """Take the names of the classes from a file."""
        names = tuple(map(str, naming.words(where, "classes", classes).tolist()))
        for name in names:
            naming.check_name(where, name)
        if self._classes is None and not self._kind:
            self._classes = names
        if self._classes is None or names != self._classes:
            expected = "no names" if self._classes is None else arrays.listed(self._classes)
            raise DataError(f"{where}: classes {arrays.listed(names)}, expected {expected}, as before it")

    def note(self, where: str, y: np.ndarray, first: int) -> None:
        """Note labels, or refuse them; the first is in this row of the file."""
        self._kind = self._kind or _kind(where, y.shape, y.dtype)
        self.encode(where, y, first)
        self._count = max(self._count, y.shape[1] if y.ndim > 1 else int(y.max()) + 1)

    def done(self, where: str, rows: int) -> tuple[str, ...]:
        """The names of the classes, once the labels of all rows are noted."""
        naming.check_count(where, self._count, rows)
        if not self._count:
            raise DataError(f"{where}: every label is {_MISSING}, expected some that are not")
        if self._classes is None:
            self._classes = tuple(map(str, range(self._count)))
        return self._classes

    def encode(self, where: str, y: np.ndarray, first: int) -> np.ndarray:
        """Class indices, int64, or soft targets."""
        kind = _kind(where, y.shape, y.dtype)
        end = _MOST_CLASSES if self._classes is None else len(self._classes)
        if kind != self._kind or (y.ndim > 1 and self._classes is not None and y.shape[1] != end):
            expected = self._kind if kind != self._kind else f"{end} classes"
            raise DataError(f"{where}: {kind}, expected {expected}")
        if y.ndim > 1:
            return y
        wrong = np.flatnonzero(((y < 0) & (y != _MISSING)) | (y >= end))
        if wrong.size:
            expected = f"expected labels from 0 to {end - 1}, or {_MISSING} for none"
            raise DataError(f"{where}: y[{first + wrong[0]}] is {y[wrong[0]]}, {expected}")
        return y.astype(np.int64, copy=False)


def _kind(where: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    if len(shape) == 1 and dtype.kind in "iu":
        return "class indices"
    if len(shape) == 2 and dtype.kind == "f":
        return f"soft targets of {shape[1]} classes"
    expected = "class indices, integers of shape (N), or soft targets, floats of shape (N, classes)"
    raise DataError(f"{where}: labels have shape {shape} and dtype {dtype}, expected {expected}")


# Blocks


class Watched:
    """A file that must stay as it was when it was first seen: each use of it is within ``with watched:``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._look()

    def _look(self) -> tuple[int, int]:
        now = os.stat(self._path)
        return now.st_size, now.st_mtime_ns

    def __enter__(self) -> None:
        now = self._look()
        if now != self._seen:
            sizes = f"from {self._seen[0]:,} to {now[0]:,} bytes" if now[0] != self._seen[0] else "not in its size"
            raise DataError(f"{self._path}: it has changed, {sizes}, expected it to stay; make the stream anew")

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None or issubclass(kind, Exception):  # a change is likely its cause
            self.__enter__()


class Npy:
    """The rows of a ``.npy``, read as they are asked for. (A mapping of a file that shrinks would end the process.)"""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = Watched(path)
        with self._file, readers.reading(path) as file:
            reader = arrays.ByteReader(file)
            self._dtype, self.shape, order = arrays.read_header(reader, os.fstat(file.fileno()).st_size)
            if order == "F":
                raise arrays.Damage("fortran_order True, expected rows that lie together: save np.ascontiguousarray(x)")
            self._start = reader.offset

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, last, _ = rows.indices(self.shape[0])
        shape = (last - first, *self.shape[1:])
        row_bytes = math.prod(self.shape[1:]) * self._dtype.itemsize
        found = np.empty(shape[0] * row_bytes, np.uint8)
        with self._file, readers.reading(self.path) as file:
            file.seek(self._start + first * row_bytes)
            if file.readinto(found) < len(found):  # type: ignore[attr-defined]
                raise arrays.Damage(f"the file ends before row {last}, expected {self.shape[0]}")
            arrays.check_items(f"rows {first} to {last - 1}", self._dtype, found)
        return found.view(self._dtype).reshape(shape)


class Arrays:
    """The rows of two arrays, or of what has a shape and gives arrays for slices.

    Args:
        where: what messages call arrays that are no files.
        x: features of shape (N, …).
        y: labels of shape (N), or soft targets of shape (N, classes).
        labels: takes note of the labels, and encodes them.
        block: the bytes of a block.
    """

    def __init__(self, where: str, x: Any, y: Any, labels: Indices, block: int) -> None:
        self._x, self._y, self._labels = x, y, labels
        self._names = [
            str(getattr(part, "path", None) or getattr(part, "filename", None) or f"{where}: {name}")
            for name, part in (("x", x), ("y", y))
        ]
        rows, *shape = map(int, x.shape)
        readers.check_rows(self._names[0], (rows, *shape), np.asarray(x[:1]).dtype)
        if tuple(y.shape[:1]) != (rows,):
            expected = f"expected a label for each of the {rows:,} rows of {self._names[0]}"
            raise DataError(f"{self._names[1]}: y has shape {tuple(y.shape)}, {expected}")
        _kind(self._names[1], tuple(y.shape), np.asarray(y[:1]).dtype)
        self.shape = tuple(shape)
        width = math.prod(y.shape[1:])
        self.row_bytes = 4 * math.prod(shape) + 8 * width
        step = max(1, block // self.row_bytes)
        self._edges = np.append(np.arange(0, rows, step), rows)
        self.counts = np.diff(self._edges)
        step = max(1, _LOOK // max(1, width))
        for first in range(0, rows, step):
            labels.note(self._names[1], np.asarray(y[first : first + step]), first)

    def read(self, i: int) -> Pair:
        """The rows of block i."""
        first, last = self._edges[i : i + 2].tolist()
        x, y = (np.asarray(part[first:last]) for part in (self._x, self._y))
        if x.shape != (last - first, *self.shape) or len(y) != last - first:
            where, found = self._names[0], f"{x.shape} and {y.shape}"
            raise DataError(f"{where}: rows {first} to {last - 1} have shapes {found}, expected {self.shape} of each")
        rows = readers.features(self._names[0], x, first), self._labels.encode(self._names[1], y, first)
        for part in (self._x, self._y):
            _let_go(part)
        return rows


def _let_go(part: Any) -> None:
    """Give back the memory of a mapped array: the system keeps what was read as long as there is room for it."""
    while isinstance(part, np.ndarray):
        # What was written to a copy-on-write mapping is nowhere but in memory.
        if isinstance(part, np.memmap) and part.mode != "c" and isinstance(part.base, mmap.mmap):
            if hasattr(mmap, "MADV_DONTNEED"):
                part.base.madvise(mmap.MADV_DONTNEED)
            return
        part = part.base


class Npz:
    """The rows of a ``.npz`` with the arrays x, y and maybe classes, which is one block.

    Args:
        path: the file.
        labels: takes note of the labels, and encodes them.
        window: the bytes that it may take at most.
    """

    counts: np.ndarray

    def __init__(self, path: Path, labels: Indices, window: int) -> None:
        self._path, self._labels = path, labels
        self._file = Watched(path)
        with self._file:
            found = readers.npz_arrays(path, None, "x", "y", outlined=("x",))
        (rows, *shape), y = found["x"].shape, found["y"]
        if y.shape[:1] != (rows,):
            raise DataError(f"{path}: y has shape {y.shape}, expected a label for each of the {rows:,} rows of x")
        self.shape = tuple(shape)
        self.row_bytes = 4 * math.prod(shape) + 8 * math.prod(y.shape[1:])
        self.counts = np.array([rows])
        if (size := rows * self.row_bytes) > window:
            expected = f"expected at most the window's {window:,}; write smaller files, or pairs of .npy"
            raise DataError(f"{path}: {size:,} bytes that are read in one piece, {expected}")
        if "classes" in found:
            labels.name(str(path), found["classes"])
        labels.note(str(path), y, 0)

    def read(self, i: int) -> Pair:
        """The rows, as block 0 is all there is."""
        with self._file:
            found = readers.npz_arrays(self._path, None, "x", "y")
        return readers.features(self._path, found["x"]), self._labels.encode(str(self._path), found["y"], 0)


class Csv:
    """The rows of a ``.csv``. A first pass checks and counts them, notes their labels and where each block begins.

    Args:
        path: the file.
        label: the label's column, by position or name.
        names: takes note of the labels, and encodes them.
        block: the bytes of a block.
        like: another table, whose columns this one must have.
    """

    def __init__(self, path: Path, label: int | str, names: Names, block: int, like: Csv | None = None) -> None:
        self._path, self._names = path, names
        self._file = Watched(path)
        self._places: list[tuple[int, int]] = []
        counts: list[int] = []
        with self._file, strict.opened(path) as table:
            self._columns, self._named = table.names, table.named
            if like is not None and (
                len(table.names) != len(like._columns) or (table.named and like._named and table.names != like._columns)
            ):
                raise DataError(
                    f"{path}: line 1: {table.width} columns, {arrays.listed(table.names)}, expected "
                    f"{len(like._columns)}, {arrays.listed(like._columns)}, as in {like._path.name}"
                )
            self._column: int = table.column(label if like is None else like._column)
            self.shape: tuple[int, ...] = (table.width - 1,)
            self.row_bytes = 4 * (table.width - 1) + 8
            step = max(1, block // self.row_bytes)
            while True:
                place = table.place()
                count = sum(1 for _ in itertools.islice(table.rows(self._column, names.note), step))
                if not count:
                    break
                self._places.append(place)
                counts.append(count)
        if not counts:
            raise DataError(f"{path}: no rows, expected at least one")
        self.counts: np.ndarray = np.array(counts)

    def read(self, i: int) -> Pair:
        """The rows of block i."""
        x, labels = array("f"), list[str]()
        with self._file, strict.opened(self._path) as table:
            table.go(self._places[i])
            for name, numbers in itertools.islice(table.rows(self._column), int(self.counts[i])):
                labels.append(name)
                x.extend(numbers)
            y = self._names.encode(labels)
        return np.asarray(x).reshape(len(y), *self.shape), y


class Shards:
    """The rows of several sources, one after the other.

    Args:
        paths: their files, for messages.
        parts: the sources.
    """

    def __init__(self, paths: Sequence[Path], parts: Sequence[Source]) -> None:
        self._parts = parts
        self.shape = parts[0].shape
        self.row_bytes = parts[0].row_bytes
        self.counts = np.concatenate([part.counts for part in parts])
        self._ends = list(itertools.accumulate(len(part.counts) for part in parts))
        for path, part in zip(paths, parts, strict=True):
            if part.shape != self.shape:
                raise DataError(f"{path}: rows of shape {part.shape}, expected {self.shape} as in {paths[0].name}")

    def read(self, i: int) -> Pair:
        """The rows of block i of all."""
        k = bisect.bisect_right(self._ends, i)
        return self._parts[k].read(i - self._ends[k] + len(self._parts[k].counts))


class Part:
    """One side of a source of which a fraction of each block's rows is held out, drawn by a seed.

    Args:
        source: what is divided.
        fraction: how much of it is held out.
        seed: decides which rows are.
        held: whether this is the side held out.
    """

    def __init__(self, source: Source, fraction: float, seed: int, held: bool) -> None:
        self._source, self._seed, self._held = source, seed, held
        self.shape, self.row_bytes = source.shape, source.row_bytes
        # Over all blocks: a small one has no such fraction.
        ends = np.floor(fraction * np.cumsum(source.counts) + 0.5).astype(int)
        self._out = np.diff(ends, prepend=0)
        self.counts = self._out if held else source.counts - self._out

    def read(self, i: int) -> Pair:
        """This side's rows of block i."""
        x, y = self._source.read(i)
        order = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(i,))).permutation(len(x))
        rows = np.sort(order[: self._out[i]] if self._held else order[self._out[i] :])
        return x[rows], y[rows]
