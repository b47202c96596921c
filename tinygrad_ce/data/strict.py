"""Strict tables: a ``.csv`` of numbers and a label, with commas and in UTF-8, of which every cell is checked."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce.common.files import AnyPath
from tinygrad_ce.common.words import normal
from tinygrad_ce.data import arrays, chunks, naming, readers
from tinygrad_ce.data.arrays import DataError
from tinygrad_ce.data.dataset import Dataset
from tinygrad_ce.data.decimals import NotPlain
from tinygrad_ce.data.layout import Layout, numbered

__all__ = ["feature_names", "load_csv", "load_features", "load_file"]

Rows = tuple[Any, Any, dict[str, int]]  # features, which label each row has, and the labels
_NOTHING = ("", "na", "n/a", "nan", "null", "none", "?")  # how tables write that a value is missing
_LONGEST_LINE = 1 << 24  # characters of a table's line


class NotStrict(DataError):
    """A table that may be one by another reader: its cells are other ones than numbers, or stand apart otherwise."""


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
    with opened(path) as table:
        column = table.column(label)
        x, codes, place = _plain(table, column) or _checked(table, column)
    index, classes = naming.class_index(list(place))
    y = np.array([index[name] for name in place], np.int64)[np.asarray(codes)]
    return readers.dataset(path, np.asarray(x).reshape(len(codes), table.width - 1), y, classes)


def _checked(table: Table, column: int) -> Rows:
    """All rows, one by one."""
    x, codes, place = array("f"), array("q"), dict[str, int]()
    for name, numbers in table.rows(column):
        codes.append(place.setdefault(name, len(place)))
        x.extend(numbers)
    return x, codes, place


def _plain(table: Table, column: int) -> Rows | None:
    """All rows of plain lines; None if there are others, or if anything in them is at fault."""
    x, codes, place = array("f"), array("q"), dict[str, int]()
    with readers.reading(table.path) as file:
        encoding = "utf-8-sig" if file.read(3) == codecs.BOM_UTF8 else "utf-8"
    try:
        for chunk in chunks.plain(table.path, Layout(encoding, ",", '"', ".", 0, table.named, tuple(table.names), ())):
            own, texts = chunk.texts(column)
            names = [normal(text.strip()) for text in texts]
            numbers = [found for i in range(table.width) if i != column and (found := chunk.numbers(i)) is not None]
            rows = np.array(numbers).T
            sound = len(numbers) == table.width - 1 and np.abs(rows).max() < naming.FLOAT32_END
            if not sound or not all(name and arrays.is_printable(name) for name in names):
                return None
            codes.frombytes(np.array([place.setdefault(name, len(place)) for name in names])[own].tobytes())
            x.frombytes(rows.astype(np.float32).tobytes())
    except NotPlain:
        return None
    return (x, codes, place) if codes else None


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
        x = readers.npz_arrays(path, None, "x")["x"] if Path(path).suffix == ".npz" else readers.read_npy(path)
        readers.check_rows(path, x.shape, x.dtype)
        _check_width(path, math.prod(x.shape[1:]), width)
        return readers.features(path, x.reshape(len(x), -1))
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
        return readers.load_idx(*paths, max_bytes=max_bytes)
    if len(paths) == 1 and Path(paths[0]).suffix == ".csv":
        return load_csv(paths[0], label)
    if len(paths) == 1 and Path(paths[0]).suffix == ".npz":
        return readers.load_npz(paths[0], max_bytes=max_bytes)
    raise DataError(f"{' '.join(paths)}: expected a .csv file, a .npz file, or two IDX files: images and labels")


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
    with readers.reading(path) as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise arrays.Damage("offset 0: the mark of UTF-16, expected a table in UTF-8")
        file.seek(0)
        # Bytes that aren't UTF-8 become halves of surrogate pairs, which no number and no label has.
        with io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as text:
            yield Table(path, text)


def columns(names: Sequence[str]) -> str:
    """Columns' names for a message: the first ten."""
    listed = arrays.listed(names, _quoted)
    return f"{listed} ({naming.CODING})" if any(map(naming.SURROGATES.search, names)) else listed


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
        self.named = not any(map(naming.is_number, first[1]))
        self.names = [cell.strip() if self.named else str(i) for i, cell in enumerate(first[1])]
        if not self.named:
            self.go(start)

    def _check_separator(self, cells: list[str]) -> None:
        """Refuse a first line whose only cell is several, told apart otherwise."""
        for mark, words in ((";", "';'"), ("\t", "tabs")):
            if len(cells) == 1 and mark in cells[0]:
                hint = f"separated by {words}? Save it with commas"
                raise NotStrict(f"{self.path}: 1 column, expected several, separated by commas; {hint}")

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
        if str(label) in names:
            return names.index(str(label))
        if isinstance(label, int) and -len(names) <= label < len(names):
            return label % len(names)
        raise DataError(f"{path}: no column {label!r}; the columns are {columns(names)}")

    def lines(self) -> Iterator[tuple[int, list[str]]]:
        """The cells of each line from here on, with its number."""
        reader, before = csv.reader(self._physical()), self._line
        for number, cells in numbered(reader, before):
            self._line = before + reader.line_num
            self.width = self.width or len(cells)
            if cells and len(cells) != self.width:
                raise DataError(f"{self.path}: line {number}: {len(cells)} columns, expected {self.width}")
            if cells:
                yield number, cells

    def rows(
        self, column: int, look: Callable[[str, str], None] = naming.check_name
    ) -> Iterator[tuple[str, list[float]]]:
        """The label and the features of each line from here on; the first label of each name is looked at."""
        others = self.names[:column] + self.names[column + 1 :]
        for number, cells in self.lines():
            name = self._label(number, column, cells.pop(column), look)
            yield name, _numbers(self.path, number, others, cells)

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
        if sum(map(abs, values)) < naming.FLOAT32_END and "_" not in ",".join(cells):
            return values
    values = [naming.number(cell) for cell in cells]
    for name, cell, value in zip(names, cells, values, strict=True):
        if math.isnan(value):
            where = f"{path}: line {number}, column {_quoted(name)}"
            raise NotStrict(f"{where}: {arrays.shown(cell)}, expected a finite number ({_likely(cell)})")
    return values


def _likely(cell: str) -> str:
    """What a cell that is no number likely is."""
    if cell.strip().lower() in _NOTHING:
        return "a missing value: fill it in, or leave the row out"
    return naming.CODING if naming.SURROGATES.search(cell) else "is it the label?"
