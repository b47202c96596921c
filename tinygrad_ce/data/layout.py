"""How a table's file is written: packed or not, encoding, separator, quotes, decimal mark, and its line of names."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import itertools
import operator
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tinygrad_ce.data import arrays
from tinygrad_ce.data.arrays import Damage
from tinygrad_ce.data.numerals import MISSING, mark_of_file, number
from tinygrad_ce.data.readers import reading

ENDINGS = (".csv", ".tsv", ".txt", ".dat")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "'|'", " ": "spaces"}
_ENCODINGS = {"utf-8": "", "cp1252": "Latin-1", "latin-1": "Latin-1"}  # and what messages call them
_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"\xef\xbb\xbf": "utf-8-sig",
}
_OTHERS = {
    b"PK\3\4": ("an Excel workbook or another zip archive: save the sheet as .csv, or", "excel"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook: save the sheet as .csv, or", "excel"),
    b"PAR1": ("Parquet:", "parquet"),
    b"ARROW1": ("Feather:", "feather"),
    b"<!": ("a web page:", "html"),
    b"<html": ("a web page:", "html"),
    b"[{": ("JSON:", "json"),
    b'{"': ("JSON:", "json"),
}
_READERS = {".parquet": "parquet", ".xlsx": "excel", ".xls": "excel", ".ods": "excel", ".feather": "feather"}
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")
_SAMPLE = 1 << 16  # characters, or so, that are looked at to find how a file is written
_FEW_ROWS = 100  # in which most files show their decimal mark
_PIECE = 1 << 18
_LONGEST = 1 << 24  # bytes of a line, or so


class Layout(NamedTuple):
    """How a table's file is written."""

    encoding: str
    separator: str
    quote: str
    decimal: str
    """The decimal mark that columns of numbers show; "" if none does."""
    skipped: int
    """Lines before the names, or before the rows if there are none."""
    named: bool
    """Whether a line of names stands above the rows."""
    names: tuple[str, ...]
    """Those of the columns; their positions if the file gives none."""
    sample: tuple[tuple[str, ...], ...]
    """The first rows."""
    size: int = 0
    """Its bytes, unpacked."""

    def __str__(self) -> str:
        words = {
            f"separated by {_SEPARATORS.get(self.separator, arrays.shown(self.separator))}": self.separator != ",",
            "decimal commas": self.decimal == ",",
            f"quotes {self.quote}": self.quote != '"',
            _ENCODINGS.get(self.encoding, self.encoding.upper()): self.encoding not in ("utf-8", "utf-8-sig"),
            f"lines above it skipped: {self.skipped}": self.skipped > 0,
            "no line of names": not self.named,
        }
        return ", ".join(text for text, unusual in words.items() if unusual)


def is_table(path: Any) -> bool:
    """Whether a file's name is that of a table as text, gzipped or not."""
    return Path(str(path).lower().removesuffix(".gz")).suffix in ENDINGS


def hint(path: Any) -> str:
    """What to write for a file whose name is that of another kind of table; nothing for others."""
    reader = _READERS.get(Path(path).suffix.lower())
    return f"; {_by_pandas(reader, repr(str(path)), Path(path).stem)}" if reader else ""


def _by_pandas(reader: str, file: str, stem: str) -> str:
    read = f"pandas.read_{reader}({file})"
    return f"{read}.to_csv({f'{stem}.csv'!r}, index=False) makes a .csv of it; in Python, load_table({read}) takes it"


class _Unpacked(io.RawIOBase):
    """A gzipped file's bytes, no more of them than an honest one needs."""

    def __init__(self, file: BinaryIO) -> None:
        self._most = arrays.allowance(os.fstat(file.fileno()).st_size, None)
        self._reader = arrays.ByteReader(gzip.GzipFile(fileobj=file), packing="gzip data")

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        piece = self._reader.some(len(room))
        arrays.check_allowance(self._reader.here(), self._reader.offset, self._most)
        room[: len(piece)] = piece
        return len(piece)


@contextlib.contextmanager
def unpacked(path: Any) -> Iterator[BinaryIO]:
    """The file's bytes, open to be read."""
    with reading(path) as file:
        gzipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        yield io.BufferedReader(_Unpacked(file), _PIECE) if gzipped else file


@contextlib.contextmanager
def opened(path: Any, encoding: str) -> Iterator[io.TextIOWrapper]:
    """The file's text, open to be read line by line."""
    with unpacked(path) as file, io.TextIOWrapper(file, encoding, newline="") as text:
        try:
            yield text
        except UnicodeDecodeError as error:
            raise Damage(f"{error}, expected {encoding} as it was before; has the file changed?") from None


def find(path: Any, known: Sequence[str] = (), header: bool | None = None) -> Layout:
    """How a table is written.

    Args:
        path: the file.
        known: names of columns; a first line that holds them is one of names.
        header: whether the first line is one of names, if that isn't to be found out.

    Raises:
        DataError: no table, or one that can be read in two ways: what was found, and how to say what it is.
    """
    with reading(path):  # what is wrong gets the file's name
        with unpacked(path) as file:
            encoding, size = _encoding(file)
        with opened(path, encoding) as text:
            lines = _sample(text)
        if not any(map(str.strip, lines)):
            raise Damage("the file is empty, expected a table")
        said = re.fullmatch(r'"?sep=(.)"?\s*', lines[0])
        quote = _quote(lines)
        kinds = [said[1]] if said else list(_SEPARATORS)
        separator, width = max((_fit(lines[bool(said) :], kind, quote) for kind in kinds), key=lambda fit: fit[0])[1:]
        skipped = bool(said) + _above(lines[bool(said) :], separator, quote, width)
        rows = [tuple(map(str.strip, cells)) for cells in _sound(lines[skipped:], separator, quote)]
        if not rows:  # then the first line is at fault
            next(_rows(lines[skipped:], separator, quote, skipped), None)
            raise Damage("no rows, expected a table")
        first = (re.sub(r"^(#+\s*|%\s+)(?=\S)", "", rows[0][0]), *rows[0][1:])
        below = [row for row in rows[1:] if len(row) == len(first)]
        named = _is_named(skipped + 1, first, below, known) if header is None else header
        names = _unique(skipped + 1, first) if named else tuple(map(str, range(len(first))))
        rows = below if named else [first, *below]
        mark = mark_of_file(zip(*rows[:_FEW_ROWS], strict=True)) or mark_of_file(zip(*rows, strict=True))
        return Layout(encoding, separator, quote, mark, skipped, named, names, tuple(rows), size)


def cells(text: io.TextIOWrapper, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, with the number of its line.

    Raises:
        Damage: a row that isn't as wide as the others, or a quote that nothing closes.
    """
    lines = itertools.islice(text, layout.skipped, None)
    rows = ((n, row) for n, row in _rows(lines, layout.separator, layout.quote, layout.skipped) if any(row) or row[1:])
    width = len(layout.names)
    for line, row in itertools.islice(rows, int(layout.named), None):
        if len(row) != width:
            hint = "; a separator at the end of the lines?" if len(row) == width + 1 and not row[-1].strip() else ""
            raise Damage(f"line {line}: {len(row)} column{'s' * (len(row) != 1)}, expected {width}{hint}")
        yield line, row


def _encoding(file: BinaryIO) -> tuple[str, int]:
    """The first encoding that all of a file can be read in, and how many bytes these are."""
    piece = file.read(_PIECE)
    marked = _marked(piece)
    decoders = {name: codecs.getincrementaldecoder(name)() for name in ([marked] if marked else _ENCODINGS)}
    offset = since = 0  # the last end of a line
    while True:
        since = offset if b"\n" in piece or b"\r" in piece else since
        offset += len(piece)
        if offset - since > _LONGEST:
            raise Damage(f"offset {since}: more than {_LONGEST:,} bytes in a line, expected a line for each row")
        for name, decoder in list(decoders.items()):
            try:
                if name.startswith("utf") or not piece.isascii():  # the others take all of ASCII
                    decoder.decode(piece, not piece)
            except UnicodeDecodeError as error:
                del decoders[name]
                if not decoders:
                    raise Damage(f"{error}, expected text in {name}") from None
        if not piece:
            return next(iter(decoders)), offset
        piece = file.read(_PIECE)


def _marked(head: bytes) -> str:
    """The encoding that a file's beginning tells; none if it tells none.

    Raises:
        Damage: it isn't the beginning of text.
    """
    for magic, (kind, reader) in _OTHERS.items():
        if head.startswith(magic):
            raise Damage(f"{kind} {_by_pandas(reader, 'FILE', 'FILE')}, expected a table as text")
    marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "")
    zeros = head[0::2].count(0), head[1::2].count(0)
    if not marked and not min(zeros) and max(zeros) > 0.35 * len(head):
        marked = "utf-16-be" if zeros[0] else "utf-16-le"
    if not marked.startswith(("utf-16", "utf-32")) and (control := _CONTROL.search(head)):
        raise Damage(f"offset {control.start()}: byte {control[0].hex()}, a binary file, expected a table as text")
    return marked


def _sample(text: io.TextIOWrapper) -> list[str]:
    """The first lines, whole ones."""
    lines, size = list[str](), 0
    for line in text:
        lines.append(line)
        size += len(line)
        if size > _SAMPLE:
            break
    return lines


def _quote(lines: Sequence[str]) -> str:
    """The sign that cells are quoted with."""
    counts = {
        quote: sum(len(re.findall(rf"(?:^|[,;\t| ]){quote}[^{quote}]*{quote}(?=[,;\t|\s]|$)", line)) for line in lines)
        for quote in ('"', "'")
    }
    return max(counts, key=counts.__getitem__)


def _collapsed(line: str) -> str:
    return re.sub(r"[ \t]+", " ", line.strip()) + "\n"


def _rows(lines: Any, separator: str, quote: str, before: int = 0) -> Iterator[tuple[int, list[str]]]:
    """The cells of lines, so many of which were read before, and the line that each row begins at."""
    reader = csv.reader(
        map(_collapsed, lines) if separator == " " else lines,
        delimiter=separator, quotechar=quote, strict=True, skipinitialspace=True,
    )  # fmt: skip
    return numbered(reader, before)


def numbered(reader: Any, before: int = 0) -> Iterator[tuple[int, list[str]]]:
    """The rows of a csv.reader, and the line that each begins at, where so many lines were read before.

    Raises:
        Damage: lines that can't be cells.
    """
    while True:
        number = before + reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            open_quote = before + reader.line_num > number or "end of data" in str(error)
            hint = (
                "; a quote that nothing closes?"
                if open_quote
                else '; a quote within a cell is written twice, not as \\"'
            )
            raise Damage(f"line {number}: {error}, expected a row of a table{hint}") from None
        yield number, row


def _sound(lines: Sequence[str], separator: str, quote: str) -> list[list[str]]:
    """The rows of lines that may end within one, as far as they can be read."""
    found = list[list[str]]()
    with contextlib.suppress(Damage):
        found.extend(row for _, row in _rows(lines, separator, quote) if row)
    return found


def _fit(lines: Sequence[str], separator: str, quote: str) -> tuple[tuple[float, int], str, int]:
    """How well lines fit a separator: the share of rows of the commonest width, and of cells with no other in them."""
    rows = _sound(lines, separator, quote)
    widths = Counter(map(len, rows))
    width = max(widths, key=lambda width: (width > 1, widths[width], width), default=1)
    found = [cell for row in rows if len(row) == width for cell in row]
    marks = {mark for mark in _SEPARATORS if mark not in (separator, " ")}
    clean = sum(not marks & set(cell) or number(cell, ",") is not None for cell in found)
    share = widths[width] / len(rows) * clean / len(found) if found and width > 1 else 0.0
    return (share, -list(_SEPARATORS).index(separator) if separator in _SEPARATORS else 0), separator, width


def _above(lines: Sequence[str], separator: str, quote: str, width: int) -> int:
    """How many lines stand above the table: empty ones, comments and titles."""
    for i, line in enumerate(lines):
        row, below = [(_sound([each], separator, quote) or [[]])[0] for each in (line, *lines[i + 1 : i + 2], "")[:2]]
        names = len(row) == width and any(number(cell) is not None for cell in below)
        comment = line.lstrip()[:1] in ("#", "%") and not names
        alone = not any(map(str.strip, row[1:])) and number("".join(row[:1])) is None
        title = line.count(quote) % 2 == 0 and width > 1 and alone
        if not comment and not title:
            return i
    return 0


def _is_named(line: int, first: Sequence[str], rows: Sequence[Sequence[str]], known: Sequence[str]) -> bool:
    """Whether the first line is one of names.

    Raises:
        Damage: it may be either.
    """
    if known and {*known} <= {*first}:
        return True
    below = _turned(rows, len(first))
    numbers = list(map(_are_numbers, _turned(filter(tuple(first).__ne__, rows), len(first))))  # names may stand again
    is_number = [number(cell) is not None for cell in first]
    again = [cell in column for cell, column in zip(first, below, strict=True)]
    if any(map(operator.and_, numbers, map(is_text, first))):  # a text above numbers
        return True
    named = not any(is_number)
    if named:
        doubt = len(rows) > 1 and all(again)
    else:
        doubt = _counts(first) or _may_be_names(
            first, [() if over else cells for cells, over in zip(below, numbers, strict=True)]
        )
    if doubt:
        words = "names or a row? Say --header yes or --header no (header=True or False)"
        raise Damage(f"line {line}: {arrays.listed(first, arrays.shown)}: {words}")
    return named


def _turned(rows: Iterable[Sequence[str]], width: int) -> list[tuple[str, ...]]:
    """The columns of rows, empty ones of none."""
    return list(zip(*rows, strict=True)) or [()] * width


def is_text(cell: str) -> bool:
    """Whether a cell is there and no number."""
    return cell not in MISSING and number(cell) is None


def _may_be_names(first: Sequence[str], texts: Sequence[Sequence[str]]) -> bool:
    """Whether a first line with numbers may be one of names, given the cells below it in columns of text."""
    below = [(name, cells) for name, cells in zip(first, texts, strict=True) if len(cells) > 3 and name not in MISSING]
    few = all(len(set(cells)) <= len(cells) / 2 for _, cells in below)  # of which a row would have one
    return bool(below) and not any(name in cells for name, cells in below) and _are_years(first, 1 if few else 2)


def _counts(first: Sequence[str]) -> bool:
    """Whether cells are 0, 1, 2, …"""
    return len(first) > 2 and list(first) == list(map(str, range(len(first))))


def _are_years(first: Sequence[str], least: int) -> bool:
    """Whether the numbers among cells might be names: whole ones, so many at least, each once."""
    digits = [cell for cell in first if number(cell) is not None]
    return least <= len(set(digits)) == len(digits) and all(map(str.isdecimal, digits))


def _are_numbers(column: Sequence[str]) -> bool:
    there = [cell for cell in column if cell not in MISSING]
    return bool(there) and all(number(cell) is not None or number(cell, ",") is not None for cell in there)


def _unique(line: int, names: Sequence[str]) -> tuple[str, ...]:
    """Names of columns, each once; those that have none are numbered, but the first."""
    blank = names.index("") if "" in names else 0
    names = [name or (f"unnamed: {i}" if i > blank else "") for i, name in enumerate(names)]
    if twice := [arrays.word(name) for name, count in Counter(names).items() if count > 1]:
        hint = "rename them; or is it no line of names? Then --header no (header=False)"
        raise Damage(f"line {line}: more than one column {arrays.listed(twice)}, expected each name once; {hint}")
    return tuple(names)
