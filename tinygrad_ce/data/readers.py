"""Readers of files: IDX (MNIST's), .npz, .npy and .csv. Nothing is executed; errors say where a file is wrong."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import math
import os
import re
from array import array
from collections.abc import Callable, Container, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tinygrad_ce.common.files import AnyPath
from tinygrad_ce.common.words import normal
from tinygrad_ce.data import arrays
from tinygrad_ce.data.dataset import Dataset

__all__ = [
    "DataError", "feature_names", "load_csv", "load_features", "load_file", "load_idx", "load_npz", "read_idx",
]  # fmt: skip

_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_FLOAT32_END = 2.0**128 - 2.0**103  # from here on a number rounds to float32's infinity
_EXACT = 2.0**53  # below it every whole number has a float of its own
_SURROGATES = re.compile("[\ud800-\udfff]")
_CODING = "the file isn't UTF-8: save it as UTF-8"
_NOTHING = ("", "na", "n/a", "nan", "null", "none", "?")  # how tables write that a value is missing
_LONGEST_LINE = 1 << 24  # characters of a table's line


class DataError(ValueError):
    """A file that isn't what it should be."""


@contextlib.contextmanager
def reading(path: AnyPath, what: str = "") -> Iterator[BinaryIO]:
    """The file, open; what is wrong in it becomes a DataError that names it."""
    try:
        with arrays.open_file(path) as file:
            yield file
    except arrays.Damage as error:
        raise DataError(f"{path}: {what}{error}") from None


def read_idx(path: AnyPath, *, max_bytes: int | None = None) -> np.ndarray:
    """The array in an IDX file, gzipped or not.

    Args:
        path: the file.
        max_bytes: how many bytes a gzipped array may unpack to; 64 MiB or 100 times the file, the larger, unless given.

    Raises:
        DataError: the file, the offset, what stands there and what was expected.
        OSError: it can't be opened.

    Example:
        >>> import struct, tempfile, tinygrad_ce as tg
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> head = bytes([0, 0, 8, 2]) + struct.pack(">II", 2, 3)  # bytes (8) along two axes
        >>> _ = (folder / "x.idx").write_bytes(head + bytes(range(6)))
        >>> tg.data.read_idx(folder / "x.idx")
        array([[0, 1, 2],
               [3, 4, 5]], dtype=uint8)

    Source:
        LeCun, Cortes, Burges, The MNIST database, file formats.
    """
    with reading(path) as file:
        gzipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not gzipped:
            return _idx(arrays.ByteReader(file))
        size = os.fstat(file.fileno()).st_size
        with gzip.GzipFile(fileobj=file) as unpacked:
            return _idx(arrays.ByteReader(unpacked, packing="gzip data"), arrays.allowance(size, max_bytes))


def _idx(reader: arrays.ByteReader, most: int | None = None) -> np.ndarray:
    """The array in an IDX file's bytes, which may be so many at most."""
    head = bytes(reader.take(4, "the magic number"))
    if head[:2] != b"\0\0" or head[2] not in _IDX_TYPES:
        raise arrays.Damage(f"offset 0: {head.hex(' ')}, expected an IDX file's 00 00 TYPE DIMENSIONS")
    dims = head[3]
    if not 1 <= dims <= 32:
        raise arrays.Damage(f"offset 3: {dims} dimensions, expected 1 to 32")
    sizes = reader.take(4 * dims, f"{dims} sizes")
    shape = tuple(int.from_bytes(sizes[4 * i : 4 * i + 4], "big") for i in range(dims))
    dtype = np.dtype(_IDX_TYPES[head[2]])
    length = math.prod(shape) * dtype.itemsize
    if not length:
        raise arrays.Damage(f"offset 4: shape {arrays.shown(shape)} holds nothing, expected sizes of at least 1")
    arrays.check_allowance(reader.here(), length, most)
    body = reader.take(length, f"{length:,} bytes for shape {shape} of {dtype.name}")
    reader.end(f"shape {shape}")
    return np.ndarray(shape, dtype, body).astype(dtype.newbyteorder("="), copy=False)


def load_idx(images: AnyPath, labels: AnyPath, *, max_bytes: int | None = None) -> Dataset:
    """A pair of IDX files, as MNIST comes: images flattened to features (bytes to 0…1) and their labels.

    Args:
        images: a file of numbers, an entry along the first axis for each row.
        labels: a file of whole numbers, one for each row.
        max_bytes: how many bytes a gzipped array may unpack to; 64 MiB or 100 times the file, the larger, unless given.

    Raises:
        DataError: a damaged file, or two files that don't belong together.

    Example:
        >>> import struct, tempfile, tinygrad_ce as tg
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> head = bytes([0, 0, 8, 3]) + struct.pack(">III", 2, 1, 2)  # bytes (8) along three axes
        >>> _ = (folder / "x.idx").write_bytes(head + bytes([0, 255, 51, 0]))
        >>> _ = (folder / "y.idx").write_bytes(bytes([0, 0, 8, 1]) + struct.pack(">I", 2) + bytes([1, 0]))
        >>> data = tg.data.load_idx(folder / "x.idx", folder / "y.idx")
        >>> data.x, data.y
        (array([[0. , 1. ],
               [0.2, 0. ]], dtype=float32), array([1, 0]))
    """
    x, y = read_idx(images, max_bytes=max_bytes), read_idx(labels, max_bytes=max_bytes)
    if y.ndim != 1 or len(x) != len(y):
        raise DataError(f"{labels}: shape {y.shape}, expected a label for each of the {len(x)} rows of {images}")
    if x.dtype == np.uint8:
        x = np.divide(x, 255, dtype=np.float32)
    return _dataset(labels, features(images, x.reshape(len(x), -1)), y, None)


def load_npz(path: AnyPath, *, max_bytes: int | None = None) -> Dataset:
    """A ``.npz`` with the arrays ``x`` (N, …) and ``y`` (N), and maybe ``classes``, the names.

    Args:
        path: the file.
        max_bytes: how many bytes the arrays may unpack to; 64 MiB or 100 times the file, the larger, unless given.

    Raises:
        DataError: a damaged file, a missing array, or arrays that don't fit.

    Example:
        >>> import numpy as np, os, tempfile, tinygrad_ce as tg
        >>> path = os.path.join(tempfile.mkdtemp(), "data.npz")
        >>> np.savez(path, x=np.ones((3, 4)), y=np.array(["cat", "dog", "cat"]))
        >>> tg.data.load_npz(path)
        Dataset(x: float32 (3, 4), y: int64 (3,), classes=('cat', 'dog'))
    """
    found = npz_arrays(path, max_bytes, "x", "y")
    x, y, classes = found["x"], found["y"], found.get("classes")
    if y.shape != x.shape[:1]:
        raise DataError(f"{path}: y has shape {y.shape}, expected {x.shape[:1]}: a label for each row of x")
    return _dataset(path, features(path, x.reshape(len(x), -1)), y, classes)


def read_npy(path: Any) -> np.ndarray:
    """The array of a ``.npy``."""
    with reading(path, "no .npy file of a plain array: ") as file:
        return arrays.read_array(arrays.ByteReader(file), os.fstat(file.fileno()).st_size)


def npz_arrays(path: Any, max_bytes: int | None, *needed: str, outlined: Container[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of a ``.npz`` that a data set may have; x is checked to be rows of numbers."""
    with reading(path, "no .npz file of plain arrays: ") as file:
        found, names = arrays.read_npz(file, ("x", "y", "classes"), max_bytes, outlined)
    for name in needed:
        if name not in found:
            there = arrays.listed(names) or "nothing"
            raise DataError(f"{path}: no array {name!r}; it holds {there}, expected {' and '.join(needed)}")
    check_rows(path, found["x"].shape, found["x"].dtype)
    classes = found.get("classes")
    if classes is not None and (classes.ndim != 1 or classes.dtype.kind not in "USiu"):
        raise DataError(f"{path}: classes has shape {classes.shape} and dtype {classes.dtype}, expected a row of names")
    return found


def check_rows(path: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse features that are no numbers, or have no row or no column."""
    if dtype.kind not in "fiub" or len(shape) < 2 or 0 in shape:
        raise DataError(f"{path}: x has shape {shape} and dtype {dtype}, expected numbers of shape (N, …)")


def load_csv(path: AnyPath, label: int | str = -1) -> Dataset:
    """A ``.csv`` with a row of numbers and a label on each line; a first line of names is recognised.

    Args:
        path: the file, in UTF-8.
        label: the label's column, by position or name. Its values are class names; whole numbers keep their order.

    Raises:
        DataError: the file, the line, the column, what stands there and what was expected.

    Example:
        >>> import tempfile, tinygrad_ce as tg
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "flowers.csv"
        >>> _ = path.write_text("width,length,species\\n1,2,iris\\n3,4,rose\\n")
        >>> tg.data.load_csv(path, label="species")
        Dataset(x: float32 (2, 2), y: int64 (2,), classes=('iris', 'rose'))
    """
    x, codes, place = array("f"), array("q"), dict[str, int]()
    with opened(path) as table:
        column = table.column(label)
        for name, numbers in table.rows(column):
            codes.append(place.setdefault(name, len(place)))
            x.extend(numbers)
    index, classes = class_index(list(place))
    y = np.array([index[name] for name in place], np.int64)[np.asarray(codes)]
    return _dataset(path, np.asarray(x).reshape(len(codes), table.width - 1), y, classes)


def feature_names(path: AnyPath, label: int | str = -1) -> list[str]:
    """The names that a ``.csv``'s first line gives its features; none if it has no such line.

    Example:
        >>> import tempfile, tinygrad_ce as tg
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "flowers.csv"
        >>> _ = path.write_text("width,length,species\\n1,2,iris\\n3,4,rose\\n")
        >>> tg.data.feature_names(path)
        ['width', 'length']
    """
    with opened(path) as table:
        names, column = table.names, table.column(label)
    names = names[:column] + names[column + 1 :]
    return [] if all(name.isdecimal() for name in names) else names


def load_features(path: AnyPath, width: int, wanted: Sequence[str] = ()) -> np.ndarray:
    """Rows to predict, float32: a ``.npz``'s array ``x``, a ``.npy``, or a ``.csv``.

    Where the file and the training data both name their columns, the wanted ones are picked by name.

    Raises:
        DataError: a damaged file, or rows that aren't width wide.

    Example:
        >>> import tempfile, tinygrad_ce as tg
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "new.csv"
        >>> _ = path.write_text("length,width\\n2,1\\n4,3\\n")
        >>> tg.data.load_features(path, 2, wanted=["width", "length"])
        array([[1., 2.],
               [3., 4.]], dtype=float32)
    """
    if Path(path).suffix in (".npz", ".npy"):
        x = npz_arrays(path, None, "x")["x"] if Path(path).suffix == ".npz" else read_npy(path)
        check_rows(path, x.shape, x.dtype)
        _check_width(path, math.prod(x.shape[1:]), width)
        return features(path, x.reshape(len(x), -1))
    rows = array("f")
    with opened(path) as table:
        picked = _picked(path, table.names, wanted)
        names = [table.names[i] for i in picked]
        _check_width(path, len(names), width)
        for number, cells in table.lines():
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
    if missing := [arrays.shown(name) for name in wanted if name not in place]:
        there = columns(names)
        raise DataError(f"{path}: no column {missing[0]}, which the model was trained on; there are {there}")
    if len(place) < len(names) or len(set(wanted)) < len(wanted):
        raise DataError(f"{path}: {columns(names)}: a name that stands there twice, expected each column once")
    return [place[name] for name in wanted]


@contextlib.contextmanager
def opened(path: Any) -> Iterator[Table]:
    """A ``.csv``, open to be read line by line."""
    with reading(path) as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise arrays.Damage("offset 0: the mark of UTF-16, expected a table in UTF-8")
        file.seek(0)
        # Bytes that aren't UTF-8 become halves of surrogate pairs, which no number and no label has.
        with io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as text:
            yield Table(path, text)


def columns(names: Sequence[str]) -> str:
    """Columns' names for a message: the first ten."""
    listed = arrays.listed(names, _quoted)
    return f"{listed} ({_CODING})" if any(map(_SURROGATES.search, names)) else listed


def _quoted(name: str) -> str:
    """A column's name for a message, in quotes where it might be taken for several, or for none."""
    return arrays.shown(name) if not name or {",", " "} & set(name) else arrays.word(name)


class Table:
    """A table's column names, and its lines of equal length, as they are read.

    Args:
        path: the file, for messages.
        text: it, open at its beginning.
    """

    def __init__(self, path: Any, text: io.TextIOWrapper) -> None:
        self.path = path
        self.width = 0
        self._text = text
        self._line = 0  # how many are read
        self._labels: set[str] = set()  # those that were looked at
        start = self.place()
        first = next(self.lines(), None)
        if first is None:
            raise DataError(f"{path}: the file is empty, expected a table")
        self._check_separator(first[1])
        self.named = not any(map(_is_number, first[1]))
        self.names = [cell.strip() if self.named else str(i) for i, cell in enumerate(first[1])]
        if not self.named:
            self.go(start)

    def _check_separator(self, cells: list[str]) -> None:
        """Refuse a first line whose only cell is several, told apart otherwise."""
        for mark, words in ((";", "';'"), ("\t", "tabs")):
            if len(cells) == 1 and mark in cells[0]:
                hint = f"separated by {words}? Save it with commas"
                raise DataError(f"{self.path}: 1 column, expected several, separated by commas; {hint}")

    def place(self) -> tuple[int, int]:
        """Where the next line begins, for ``go``."""
        return self._text.tell(), self._line

    def go(self, place: tuple[int, int]) -> None:
        """Read on from a place, of this file or of the same one opened before."""
        offset, self._line = place
        self._text.seek(offset)

    def column(self, label: int | str) -> int:
        """The position of the label's column."""
        path, names = self.path, self.names
        if len(names) < 2:
            raise DataError(f"{path}: {len(names)} column, expected features and a label, separated by commas")
        if isinstance(label, str) and label in names:
            return names.index(label)
        if isinstance(label, int) and -len(names) <= label < len(names):
            return label % len(names)
        raise DataError(f"{path}: no column {label!r}; the columns are {columns(names)}")

    def lines(self) -> Iterator[tuple[int, list[str]]]:
        """The cells of each line from here on, with its number."""
        reader, before = csv.reader(self._physical()), self._line
        while True:
            number = before + reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise DataError(f"{self.path}: line {number}: {error}, expected a row of a table in UTF-8") from None
            self._line = before + reader.line_num
            self.width = self.width or len(cells)
            if cells and len(cells) != self.width:
                raise DataError(f"{self.path}: line {number}: {len(cells)} columns, expected {self.width}")
            if cells:
                yield number, cells

    def rows(self, column: int) -> Iterator[tuple[str, list[float]]]:
        """The label and the features of each line from here on."""
        others = self.names[:column] + self.names[column + 1 :]
        for number, cells in self.lines():
            name = self._label(number, column, cells.pop(column), check_name)
            yield name, _numbers(self.path, number, others, cells)

    def labels(self, column: int, look: Callable[[str, str], None]) -> Iterator[str]:
        """The label alone of each line from here on; the first of each name is looked at."""
        for number, cells in self.lines():
            yield self._label(number, column, cells[column], look)

    def _label(self, number: int, column: int, cell: str, look: Callable[[str, str], None]) -> str:
        name = normal(cell.strip())
        if name not in self._labels:
            look(f"{self.path}: line {number}, column {_quoted(self.names[column])}", name)
            self._labels.add(name)
        return name

    def _physical(self) -> Iterator[str]:
        """The file's own lines; a cell in quotes may span several. By readline, as tell() fails after next()."""
        while line := self._text.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE:
                where = f"{self.path}: line {self._line + 1}"
                raise DataError(f"{where}: more than {_LONGEST_LINE:,} characters, expected a line for each row")
            yield line


def _numbers(path: Any, number: int, names: Sequence[str], cells: list[str]) -> list[float]:
    """A line's cells as numbers."""
    with contextlib.suppress(ValueError):
        values = list(map(float, cells))
        # A nan or an infinity would show in the sum, so no cell needs a look of its own.
        if sum(map(abs, values)) < _FLOAT32_END and "_" not in ",".join(cells):
            return values
    values = [_number(cell) for cell in cells]
    for name, cell, value in zip(names, cells, values, strict=True):
        if math.isnan(value):
            where = f"{path}: line {number}, column {_quoted(name)}"
            raise DataError(f"{where}: {arrays.shown(cell)}, expected a finite number ({_likely(cell)})")
    return values


def _likely(cell: str) -> str:
    """What a cell that is no number likely is."""
    if cell.strip().lower() in _NOTHING:
        return "a missing value: fill it in, or leave the row out"
    return _CODING if _SURROGATES.search(cell) else "is it the label?"


def _number(cell: str) -> float:
    """The number in a cell; nan if there is none that float32 can hold."""
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if abs(value) < _FLOAT32_END and "_" not in cell else math.nan


def _is_number(cell: str) -> bool:
    return not math.isnan(_number(cell))


def check_name(where: str, name: str) -> None:
    """Refuse a label that is nothing, or that a terminal would obey."""
    if not name:
        raise DataError(f"{where}: no label, expected a class name")
    if not arrays.is_printable(name):
        more = f" ({_CODING})" if _SURROGATES.search(name) else ""
        expected = f"expected a class name in UTF-8 without control characters{more}"
        raise DataError(f"{where}: {arrays.shown(name)}, {expected}")


def features(path: Any, x: np.ndarray, first: int = 0) -> np.ndarray:
    """Rows of numbers, of which the first has this number in the file, as float32."""
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is looked at below
        found = x.astype(np.float32, copy=False)
    finite = np.isfinite(found)
    if not finite.all():
        place = np.unravel_index(int(finite.argmin()), found.shape)
        raise DataError(
            f"{path}: row {first + place[0]} has a feature that is {x[place]}, "
            "expected a finite number of float32; a missing value?"
        )
    return found


def _dataset(path: Any, x: np.ndarray, y: np.ndarray, classes: Sequence[Any] | np.ndarray | None) -> Dataset:
    """Features and labels counted from 0."""
    if not len(y):
        raise DataError(f"{path}: no rows, expected at least one")
    if y.dtype.kind in "US":
        unique, y = np.unique(words(path, "y", y), return_inverse=True)
        names = unique.tolist()
        classes = _in_order(names)
        place = {name: i for i, name in enumerate(classes)}
        y = np.array([place[name] for name in names], np.int64)[y]
    elif y.dtype.kind not in "iu":
        raise DataError(f"{path}: labels have dtype {y.dtype}, expected integers or names")
    count = int(y.max()) + 1 if classes is None else len(classes)
    if y.min() < 0 or y.max() >= count:
        wrong = int(np.flatnonzero((y < 0) | (y >= count))[0])
        raise DataError(f"{path}: y[{wrong}] is {y[wrong]}, expected labels from 0 to {count - 1}")
    check_count(path, count, len(y))
    if isinstance(classes, np.ndarray):
        classes = words(path, "classes", classes).tolist()
    names = tuple(map(str, range(count) if classes is None else classes))
    for name in names:
        check_name(path, name)
    _check_forms(path, names)
    return Dataset(x, y.astype(np.int64, copy=False), names)


def _check_forms(path: Any, names: Sequence[str]) -> None:
    """Refuse classes that were told apart by nothing but the form of a letter."""
    composed = sorted(name for name in names if not name.isascii())
    for name, other in pairwise(composed):
        if name == other:
            raise DataError(f"{path}: classes: {arrays.shown(name)} stands there in two forms of Unicode, expected one")


def check_count(path: Any, classes: int, rows: int) -> None:
    """Refuse so many classes that the labels are likely something else."""
    if classes > max(1000, 10 * rows):
        raise DataError(f"{path}: {classes:,} classes in {rows:,} rows, expected fewer; are these class labels?")


def words(path: Any, name: str, array: np.ndarray) -> np.ndarray:
    """An array of names, in bytes or as text, as text in Unicode's composed form; others as they are."""
    try:
        array = array.astype(str) if array.dtype.kind == "S" else array
        return np.array(list(map(normal, array.tolist()))) if array.dtype.kind == "U" else array
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: {name}: {error}, expected names in ASCII, or an array of str") from None


def class_index(found: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """The index of every label found in tables, and the names of the classes, in order."""
    whole = all(map(_is_whole, found))
    names = list(map(plain, found)) if whole else found
    classes = _in_order(names)
    place = {name: i for i, name in enumerate(classes)}
    return {label: place[name] for label, name in zip(found, names, strict=True)}, classes


def plain(label: str) -> str:
    """A whole number as it is usually written, as 1 and 1.0 are one class; other labels as they are."""
    return str(int(_number(label))) if _is_whole(label) else label


def _is_whole(label: str) -> bool:
    return _number(label).is_integer() and abs(_number(label)) < _EXACT


def _in_order(names: Sequence[str]) -> list[str]:
    """Names of classes, each once, sorted as numbers where all of them are."""
    key = (lambda name: (float(name), name)) if all(map(_is_number, names)) else str
    return sorted(set(names), key=key)


def load_file(paths: list[str], label: int | str = -1, *, max_bytes: int | None = None) -> Dataset:
    """A data set from a ``.csv``, a ``.npz``, or a pair of IDX files (images, labels).

    Example:
        >>> import tempfile, tinygrad_ce as tg
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "flowers.csv"
        >>> _ = path.write_text("width,length,species\\n1,2,iris\\n3,4,rose\\n")
        >>> tg.data.load_file([path], label="species").classes
        ('iris', 'rose')
    """
    if len(paths) == 2:
        return load_idx(*paths, max_bytes=max_bytes)
    if len(paths) == 1 and Path(paths[0]).suffix == ".csv":
        return load_csv(paths[0], label)
    if len(paths) == 1 and Path(paths[0]).suffix == ".npz":
        return load_npz(paths[0], max_bytes=max_bytes)
    raise DataError(f"{' '.join(paths)}: expected a .csv file, a .npz file, or two IDX files: images and labels")
