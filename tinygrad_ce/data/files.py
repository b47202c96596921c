"""Readers of files: IDX (MNIST's format), .npz and .csv. Nothing is executed; errors say where a file is wrong."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import math
import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tinygrad_ce.data import arrays
from tinygrad_ce.data.dataset import Dataset

_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_FLOAT32_END = 2.0**128 - 2.0**103  # from here on a number rounds to float32's infinity
_EXACT = 2.0**53  # below it every whole number has a float of its own


class DataError(ValueError):
    """A file that isn't what it should be."""


@contextlib.contextmanager
def _reading(path: str | os.PathLike[str], what: str = "") -> Iterator[BinaryIO]:
    """The file, open; what is wrong in it becomes a DataError that names it."""
    try:
        with arrays.open_file(path) as file:
            yield file
    except arrays.Damage as error:
        raise DataError(f"{path}: {what}{error}") from None


def read_idx(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> np.ndarray:
    """The array in an IDX file, gzipped or not.

    Args:
        path: the file.
        max_bytes: how many bytes a gzipped array may unpack to; 64 MiB or 100 times the file, the larger, unless given.

    Errors:
        DataError: the file, the offset, what stands there and what was expected.
        OSError: it can't be opened.

    Source: LeCun, Cortes, Burges, The MNIST database, file formats.
    """
    with _reading(path) as file:
        gzipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not gzipped:
            return _idx(arrays.Stream(file))
        size = os.fstat(file.fileno()).st_size
        with gzip.GzipFile(fileobj=file) as unpacked:
            return _idx(arrays.Stream(unpacked, packing="gzip data"), arrays.allowance(size, max_bytes))


def _idx(stream: arrays.Stream, most: int | None = None) -> np.ndarray:
    """The array in a stream, which may be most bytes."""
    head = bytes(stream.take(4, "the magic number"))
    if head[:2] != b"\0\0" or head[2] not in _IDX_TYPES:
        raise arrays.Damage(f"offset 0: {head.hex(' ')}, expected an IDX file's 00 00 TYPE DIMENSIONS")
    dims = head[3]
    if not 1 <= dims <= 32:
        raise arrays.Damage(f"offset 3: {dims} dimensions, expected 1 to 32")
    sizes = stream.take(4 * dims, f"{dims} sizes")
    shape = tuple(int.from_bytes(sizes[4 * i : 4 * i + 4], "big") for i in range(dims))
    dtype = np.dtype(_IDX_TYPES[head[2]])
    length = math.prod(shape) * dtype.itemsize
    if not length:
        raise arrays.Damage(f"offset 4: shape {arrays.shown(shape)} holds nothing, expected sizes of at least 1")
    arrays.check_allowance(stream.here(), length, most)
    body = stream.take(length, f"{length:,} bytes for shape {shape} of {dtype.name}")
    stream.end(f"shape {shape}")
    return np.ndarray(shape, dtype, body).astype(dtype.newbyteorder("="), copy=False)


def load_idx(
    images: str | os.PathLike[str], labels: str | os.PathLike[str], *, max_bytes: int | None = None
) -> Dataset:
    """A pair of IDX files, as MNIST comes: images flattened to features (bytes to 0…1) and their labels.

    Args:
        images: a file of numbers, an entry along the first axis for each row.
        labels: a file of whole numbers, one for each row.
        max_bytes: how many bytes a gzipped array may unpack to; 64 MiB or 100 times the file, the larger, unless given.

    Errors:
        DataError: a damaged file, or two files that don't belong together.
    """
    x, y = read_idx(images, max_bytes=max_bytes), read_idx(labels, max_bytes=max_bytes)
    if y.ndim != 1 or len(x) != len(y):
        raise DataError(f"{labels}: shape {y.shape}, expected a label for each of the {len(x)} rows of {images}")
    if x.dtype == np.uint8:
        x = np.divide(x, 255, dtype=np.float32)
    return _dataset(labels, _features(images, x), y, None)


def load_npz(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> Dataset:
    """A ``.npz`` with the arrays ``x`` (N, …) and ``y`` (N), and maybe ``classes``, the names.

    Args:
        path: the file.
        max_bytes: how many bytes the arrays may unpack to; 64 MiB or 100 times the file, the larger, unless given.

    Errors:
        DataError: a damaged file, a missing array, or arrays that don't fit.
    """
    found = _arrays(path, max_bytes, "x", "y")
    x, y, classes = found["x"], found["y"], found.get("classes")
    if y.shape != x.shape[:1]:
        raise DataError(f"{path}: y has shape {y.shape}, expected {x.shape[:1]}: a label for each row of x")
    if classes is not None and (classes.ndim != 1 or classes.dtype.kind not in "USiu"):
        raise DataError(f"{path}: classes has shape {classes.shape} and dtype {classes.dtype}, expected a row of names")
    return _dataset(path, _features(path, x), y, classes)


def _arrays(path: Any, max_bytes: int | None, *needed: str) -> dict[str, np.ndarray]:
    """The arrays of a ``.npz`` that a data set may have; x is checked to be rows of numbers."""
    with _reading(path, "no .npz file of plain arrays: ") as file:
        found, names = arrays.read_npz(file, ("x", "y", "classes"), max_bytes)
    for name in needed:
        if name not in found:
            there = arrays.listed(names) or "nothing"
            raise DataError(f"{path}: no array {name!r}; it holds {there}, expected {' and '.join(needed)}")
    x = found["x"]
    if x.dtype.kind not in "fiub" or x.ndim < 2 or not x.size:
        raise DataError(f"{path}: x has shape {x.shape} and dtype {x.dtype}, expected numbers of shape (N, …)")
    return found


def load_csv(path: str | os.PathLike[str], label: int | str = -1) -> Dataset:
    """A ``.csv`` with a row of numbers and a label on each line; a first line of names is recognised.

    Args:
        path: the file, in UTF-8.
        label: the label's column, by position or name. Its values are class names; whole numbers keep their order.

    Errors:
        DataError: the file, the line, the column, what stands there and what was expected.
    """
    x, codes, place = array("f"), array("q"), dict[str, int]()
    with _table(path) as (names, lines):
        column = _column(path, names, label)
        others = names[:column] + names[column + 1 :]
        for number, cells in lines:
            name = cells.pop(column).strip()
            if name not in place:
                _check_name(f"{path}: line {number}, column {arrays.word(names[column])}", name)
            codes.append(place.setdefault(name, len(place)))
            x.extend(_numbers(path, number, others, cells))
    classes = list(place)
    if all(_number(name).is_integer() and abs(_number(name)) < _EXACT for name in classes):
        classes = [str(int(_number(name))) for name in classes]  # 1 and 1.0 are one class
    y, classes = _in_order(classes, np.asarray(codes))
    return _dataset(path, np.asarray(x).reshape(len(codes), len(others)), y, classes)


def feature_names(path: str | os.PathLike[str], label: int | str = -1) -> list[str]:
    """The names that a ``.csv``'s first line gives its features; none if it has no such line."""
    with _table(path) as (names, _):
        del names[_column(path, names, label)]
    return [] if all(name.isdecimal() for name in names) else names


def load_features(path: str | os.PathLike[str], width: int, wanted: Sequence[str] = ()) -> np.ndarray:
    """Rows to predict, float32: a ``.npz``'s array ``x``, or a ``.csv``.

    Where the file and the training data both name their columns, the wanted ones are picked by name.

    Errors:
        DataError: a damaged file, or rows that aren't width wide.
    """
    if Path(path).suffix == ".npz":
        x = _arrays(path, None, "x")["x"]
        _check_width(path, math.prod(x.shape[1:]), width)
        return _features(path, x)
    rows = array("f")
    with _table(path) as (names, lines):
        picked = _picked(path, names, wanted)
        names = [names[i] for i in picked]
        _check_width(path, len(names), width)
        for number, cells in lines:
            rows.extend(_numbers(path, number, names, [cells[i] for i in picked]))
    if not rows:
        raise DataError(f"{path}: no rows, expected at least one below the names")
    return np.asarray(rows).reshape(-1, width)


def _check_width(path: Any, columns: int, width: int) -> None:
    if columns != width:
        more = "; without the label's column" if columns == width + 1 else ""
        raise DataError(f"{path}: rows of {columns} columns, but the model takes {width} features{more}")


def _picked(path: Any, names: list[str], wanted: Sequence[str]) -> Sequence[int]:
    """The positions of the wanted columns, if the file names its own; else all."""
    if not wanted or names == list(wanted) or all(name.isdecimal() for name in names):
        return range(len(names))
    place = {name: i for i, name in enumerate(names)}
    for name in wanted:
        if name not in place:
            there = arrays.listed(names)
            raise DataError(
                f"{path}: no column {arrays.shown(name)}, which the model was trained on; there are {there}"
            )
    if len(place) < len(names) or len(set(wanted)) < len(wanted):
        raise DataError(f"{path}: {arrays.listed(names)}: a name that stands there twice, expected each column once")
    return [place[name] for name in wanted]


@contextlib.contextmanager
def _table(path: Any) -> Iterator[tuple[list[str], Iterator[tuple[int, list[str]]]]]:
    """A table's column names, and its lines of equal length with their numbers, as they are read."""
    with _reading(path) as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise arrays.Damage("offset 0: the mark of UTF-16, expected a table in UTF-8")
        file.seek(0)
        # Bytes that aren't UTF-8 become halves of surrogate pairs, which no number and no label has.
        with io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as text:
            lines = _lines(path, text)
            first = next(lines, None)
            if first is None:
                raise DataError(f"{path}: the file is empty, expected a table")
            if any(map(_is_number, first[1])):
                yield [str(i) for i in range(len(first[1]))], itertools.chain([first], lines)
            else:
                yield [cell.strip() for cell in first[1]], lines


def _lines(path: Any, text: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    reader, width = csv.reader(text), 0
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{path}: line {number}: {error}, expected a row of a table in UTF-8") from None
        width = width or len(cells)
        if cells and len(cells) != width:
            raise DataError(f"{path}: line {number}: {len(cells)} columns, expected {width}")
        if cells:
            yield number, cells


def _numbers(path: Any, number: int, names: Sequence[str], cells: list[str]) -> list[float]:
    """A line's cells as numbers."""
    values = [_number(cell) for cell in cells]
    for name, cell, value in zip(names, cells, values, strict=True):
        if math.isnan(value):
            where = f"{path}: line {number}, column {arrays.word(name)}"
            raise DataError(f"{where}: {arrays.shown(cell)}, expected a finite number (is it the label?)")
    return values


def _number(cell: str) -> float:
    """The number in a cell; nan if there is none that float32 can hold."""
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if abs(value) < _FLOAT32_END and "_" not in cell else math.nan


def _is_number(cell: str) -> bool:
    return not math.isnan(_number(cell))


def _check_name(where: str, name: str) -> None:
    """Refuse a label that is nothing, or that a terminal would obey."""
    if not name:
        raise DataError(f"{where}: no label, expected a class name")
    if not arrays.is_printable(name):
        raise DataError(f"{where}: {arrays.shown(name)}, expected a class name in UTF-8 without control characters")


def _column(path: Any, names: list[str], label: int | str) -> int:
    if len(names) < 2:
        raise DataError(f"{path}: {len(names)} column, expected features and a label, separated by commas")
    if isinstance(label, str) and label in names:
        return names.index(label)
    if isinstance(label, int) and -len(names) <= label < len(names):
        return label % len(names)
    raise DataError(f"{path}: no column {label!r}; the columns are {arrays.listed(names)}")


def _features(path: Any, x: np.ndarray) -> np.ndarray:
    """Rows of any shape as float32 features."""
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is looked at below
        found = x.reshape(len(x), -1).astype(np.float32, copy=False)
    finite = np.isfinite(found)
    if not finite.all():
        row, column = divmod(int(finite.argmin()), found.shape[1])
        value = x.reshape(len(x), -1)[row, column]
        raise DataError(
            f"{path}: row {row} has a feature that is {value}, expected a finite number of float32; a missing value?"
        )
    return found


def _dataset(path: Any, x: np.ndarray, y: np.ndarray, classes: Sequence[Any] | np.ndarray | None) -> Dataset:
    """Features and labels counted from 0."""
    if not len(y):
        raise DataError(f"{path}: no rows, expected at least one")
    if y.dtype.kind in "US":
        unique, y = np.unique(_text(path, "y", y), return_inverse=True)
        y, classes = _in_order(unique.tolist(), y)
    elif y.dtype.kind not in "iu":
        raise DataError(f"{path}: labels have dtype {y.dtype}, expected integers or names")
    count = int(y.max()) + 1 if classes is None else len(classes)
    if y.min() < 0 or y.max() >= count:
        wrong = int(np.flatnonzero((y < 0) | (y >= count))[0])
        raise DataError(f"{path}: y[{wrong}] is {y[wrong]}, expected labels from 0 to {count - 1}")
    if count > max(1000, 10 * len(y)):
        raise DataError(f"{path}: {count:,} classes in {len(y):,} rows, expected fewer; are these class labels?")
    if isinstance(classes, np.ndarray):
        classes = _text(path, "classes", classes).tolist()
    names = tuple(map(str, range(count) if classes is None else classes))
    for name in names:
        _check_name(path, name)
    return Dataset(x, y.astype(np.int64, copy=False), names)


def _text(path: Any, name: str, words: np.ndarray) -> np.ndarray:
    """An array of bytes as one of text; others as they are."""
    try:
        return words.astype(str) if words.dtype.kind == "S" else words
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: {name}: {error}, expected names in ASCII, or an array of str") from None


def _in_order(names: list[str], codes: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Labels as positions in the sorted names, which are sorted as numbers where all of them are."""
    key = (lambda name: (float(name), name)) if all(map(_is_number, names)) else str
    ordered = sorted(set(names), key=key)
    place = {name: i for i, name in enumerate(ordered)}
    return np.array([place[name] for name in names], np.int64)[codes], ordered


def load_file(paths: list[str], label: int | str = -1, *, max_bytes: int | None = None) -> Dataset:
    """A data set from a ``.csv``, a ``.npz``, or a pair of IDX files (images, labels)."""
    if len(paths) == 2:
        return load_idx(*paths, max_bytes=max_bytes)
    if len(paths) == 1 and Path(paths[0]).suffix == ".csv":
        return load_csv(paths[0], label)
    if len(paths) == 1 and Path(paths[0]).suffix == ".npz":
        return load_npz(paths[0], max_bytes=max_bytes)
    raise DataError(f"{' '.join(paths)}: expected a .csv file, a .npz file, or two IDX files: images and labels")
