"""The cells of a table's columns, some rows at a time: plain lines by their bytes, all others by the csv module."""

from __future__ import annotations

import itertools
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from tinygrad_ce.data import layout
from tinygrad_ce.data.arrays import Damage
from tinygrad_ce.data.decimals import Block, NotPlain, keep_memory
from tinygrad_ce.data.kinds import Cells, Text
from tinygrad_ce.data.layout import Layout
from tinygrad_ce.data.numerals import are_numbers

_ROWS = 4096  # of a chunk
_LEAST, _MOST = 1 << 15, 1 << 18  # bytes of a chunk of plain lines
_LONGEST = 1 << 24  # bytes that are kept until their line ends
_BYTEWISE = ("utf-8", "utf-8-sig", "cp1252", "latin-1")  # encodings in which no part of a sign looks like a separator


class Chunk(Protocol):
    """Some rows of a table."""

    @property
    def count(self) -> int:
        """How many rows."""

    def texts(self, column: int) -> tuple[np.ndarray, list[str]]:
        """A column's cells: which of the different texts each one is, and these."""

    def numbers(self, column: int) -> np.ndarray | None:
        """A column's numbers, nan where they are missing; None if a cell is neither."""


class _Rows:
    """Rows of cells."""

    def __init__(self, rows: Sequence[Sequence[str]], decimal: str) -> None:
        self.count = len(rows)
        self._columns, self._decimal = list(zip(*rows, strict=True)), decimal

    def texts(self, column: int) -> tuple[np.ndarray, list[str]]:
        return _coded(self._columns[column])

    def numbers(self, column: int) -> np.ndarray | None:
        return are_numbers(self._columns[column], self._decimal)


class Plain(Block):
    """Plain lines."""

    def __init__(self, content: bytes, found: Layout) -> None:
        super().__init__(content, found.separator, found.decimal or "\0", len(found.names))
        self._encoding, self._decimal = found.encoding.removesuffix("-sig"), found.decimal

    def texts(self, column: int) -> tuple[np.ndarray, list[str]]:
        codes, values = self.short(column) or _coded(self.cells(column))
        return codes, [value.decode(self._encoding) for value in values]

    def numbers(self, column: int) -> np.ndarray | None:
        if len(odd := self.odd(column)):
            read = are_numbers([cell.decode(self._encoding) for cell in self.cells(column, odd)], self._decimal)
            if read is None:
                return None
            self.values[column, odd] = read
        return np.asarray(self.values[column])


def _coded(cells: Sequence[Any]) -> tuple[np.ndarray, list[Any]]:
    place = {cell: i for i, cell in enumerate(dict.fromkeys(cells))}
    return np.fromiter(map(place.__getitem__, cells), np.int64, len(cells)), list(place)


def chunks(path: Any, found: Layout) -> Iterator[Chunk]:
    """All rows of a table, by the csv module from the first line on that isn't plain."""
    rows = 0
    try:
        for chunk in plain(path, found):
            yield chunk
            rows += chunk.count
        return
    except NotPlain:
        pass
    with layout.opened(path, found.encoding) as text:
        others = (row for _, row in itertools.islice(layout.cells(text, found), rows, None))
        while some := list(itertools.islice(others, _ROWS)):
            yield _Rows(some, found.decimal)


def plain(path: Any, found: Layout) -> Iterator[Plain]:
    """The rows of plain lines.

    Raises:
        NotPlain: there are others.
    """
    if found.encoding not in _BYTEWISE:
        raise NotPlain(found.encoding)
    with layout.unpacked(path) as file:
        file.read(3 * (found.encoding == "utf-8-sig"))
        head = [file.readline(_LONGEST) for _ in range(found.skipped + found.named)]
        if any(b"\r" in line.removesuffix(b"\r\n") for line in head) or any("\n" in name for name in found.names):
            raise NotPlain("lines that end otherwise")
        rest = b""
        size, done = _LEAST, 0
        while piece := file.read(size):
            done += len(piece)
            if size < _MOST:  # in proportion to what was read, as its arrays take twelve times as much
                size = min(max(_LEAST, done // 16), _MOST)
                if size == _MOST:
                    keep_memory()
            piece = rest + piece
            end = piece.rfind(b"\n") + 1
            rest = piece[end:]
            if len(rest) > _LONGEST:
                raise NotPlain("a long line")
            if end:
                yield Plain(_cleaned(piece[:end], found), found)
        if rest.strip():
            yield Plain(_cleaned(rest + b"\n", found), found)


def _cleaned(content: bytes, found: Layout) -> bytes:
    """Lines, each ended by a line feed."""
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n")
    if any(sign in content for sign in (b"\r", b"\0", found.quote.encode())):
        raise NotPlain("quotes, or lines that end otherwise")
    if not content.isascii():
        try:
            content.decode(found.encoding)
        except UnicodeDecodeError:
            raise NotPlain("another encoding") from None
    if found.separator == " ":
        content = re.sub(rb" ?\n ?", b"\n", re.sub(rb"[ \t]+", b" ", content)).lstrip(b" ")
    return content


def read(path: Any, found: Layout, texts: Iterable[str], every: int = 1) -> dict[str, Cells]:
    """All columns, of every nth chunk of rows: numbers, or text where a cell is neither a number nor missing, or where
    text is wanted.
    """
    wanted = {found.names.index(name) for name in texts if name in found.names}
    sample = enumerate(zip(*found.sample, strict=True))
    seen = {i for i, cells in sample if are_numbers(cells, found.decimal) is None}
    columns = _columns(path, found, wanted | seen, every)
    if not any(len(cells.codes if isinstance(cells, Text) else cells) for cells in columns):
        raise Damage("no rows, expected at least one below the names")
    return dict(zip(found.names, columns, strict=True))


def _columns(path: Any, found: Layout, texts: set[int], every: int) -> list[Cells]:
    """The columns; what turns out to be text midway is read again."""
    places = {i: dict[str, int]() for i in texts}
    columns = [array("q" if i in texts else "d") for i in range(len(found.names))]
    late = set[int]()
    for chunk in itertools.islice(chunks(path, found), 0, None, every):
        for i, column in enumerate(columns):
            if (place := places.get(i)) is not None:
                codes, values = chunk.texts(i)
                own = np.array([place.setdefault(value, len(place)) for value in values], np.int64)
                column.frombytes(own[codes].tobytes())
            elif i not in late and (numbers := chunk.numbers(i)) is not None:
                column.frombytes(numbers.tobytes())
            else:
                late.add(i)
    if late:
        return _columns(path, found, texts | late, every)
    made = map(np.asarray, columns)
    return [Text.merged(cells, list(places[i])) if i in texts else cells for i, cells in enumerate(made)]


def cells(chunk: Chunk, column: int, as_text: bool) -> Cells:
    """A column of a chunk: numbers, or text where a cell is neither a number nor missing, or where text is wanted."""
    numbers = None if as_text else chunk.numbers(column)
    return Text.merged(*chunk.texts(column)) if numbers is None else numbers


def line_of(path: Any, found: Layout, every: int = 1) -> Callable[[int], str]:
    """What names a row, of every nth chunk, in messages: its first line, read again as it is seldom asked for."""

    def line(row: int) -> str:
        if every > 1:
            counts = [chunk.count for chunk in chunks(path, found)]
            read = [n if i % every == 0 else 0 for i, n in enumerate(counts)]
            last = next(i for i, end in enumerate(itertools.accumulate(read)) if row < end)
            row += sum(counts[:last]) - sum(read[:last])
        with layout.opened(path, found.encoding) as text:
            return f"line {next(itertools.islice(layout.cells(text, found), row, None))[0]}"

    return line
