"""What a column of a table may be, and how its cells become features."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tinygrad_ce.common.words import normal
from tinygrad_ce.data import arrays, naming, numerals
from tinygrad_ce.data.arrays import Damage
from tinygrad_ce.data.numerals import MISSING

MOST_LEVELS = 60  # different values that a category may have
_RARE = 5  # rows below which a value of a category is rare, where there are a hundred times as many
_LEAST_SCALE, MOST_VALUE, _MOST_OFFSET = 1e-30, 1e38, 1e3  # within these float32 holds a column's numbers as they are


class Text(NamedTuple):
    """Cells of text: each different one once, and which of them every row has; -1 for none."""

    codes: np.ndarray
    values: list[str]

    @staticmethod
    def of(cells: Any) -> Text:
        """Cells as they come; spaces around them are no part of them."""
        place = {cell: i for i, cell in enumerate(dict.fromkeys(cells))}
        codes = np.fromiter(map(place.__getitem__, cells), np.int64, len(cells))
        return Text.merged(codes, ["" if cell is None else _written(cell) for cell in place])

    @staticmethod
    def merged(codes: np.ndarray, texts: Sequence[str]) -> Text:
        """Cells that have codes already; what differs in spaces around it or in how é is coded is one value."""
        plain = [normal(text.strip()) for text in texts]
        values = {text: i for i, text in enumerate(dict.fromkeys(text for text in plain if text not in MISSING))}
        return Text(np.array([values.get(text, -1) for text in plain], np.int64)[codes], list(values))

    def without(self, missing: Sequence[str]) -> Text:
        """The same cells, where some more words say that nothing is there."""
        return Text.merged(self.codes, [*("" if value in missing else value for value in self.values), ""])

    def spread(self, found: Sequence[Any], missing: Any) -> np.ndarray:
        """Something found of each value, for each row."""
        return np.asarray(np.array([*found, missing], float)[self.codes])


Cells = np.ndarray | Text  # float64, nan where nothing is; or text


def _written(cell: Any) -> str:
    """A cell as text: whole numbers as they are usually written."""
    whole = isinstance(cell, float | np.floating) and float(cell).is_integer()
    return str(int(cell) if whole else cell)


def as_cells(column: Any) -> Cells:
    """A column of anyone's: an array of numbers, or a sequence of texts, numbers, truth values and None."""
    if isinstance(column, Text):
        return column
    array = np.asarray(column)
    if array.ndim != 1:
        raise Damage(f"a column has shape {array.shape}, expected one axis: a cell for each row")
    if array.dtype.kind in "fiu" and not np.isinf(array).any() and not is_long(array):
        return array.astype(np.float64, copy=False)
    array = array.astype("M8[us]") if array.dtype.kind == "M" else array  # of which tolist makes dates
    return Text.of(array.tolist())


def is_long(whole: np.ndarray) -> bool:
    """Whether whole numbers are beyond those of which each has a float64 of its own."""
    return whole.dtype.kind in "iu" and bool(len(whole)) and max(int(whole.max()), -int(whole.min())) > 2**53


def as_text(cells: Cells) -> Text:
    """Cells of either kind as text."""
    return cells if isinstance(cells, Text) else Text.of(cells.tolist())


def is_missing(cells: Cells) -> np.ndarray:
    """Where nothing is."""
    return cells.codes < 0 if isinstance(cells, Text) else np.isnan(cells)


class Report:
    """Takes note of a column's cells that aren't what they should be, and of those that the training didn't see.

    Args:
        name: that of the column.
        line: names a row in messages.
        decimal: the decimal mark that the file shows, if any.
    """

    def __init__(self, name: str, line: Callable[[int], str], decimal: str = "") -> None:
        self.decimal = decimal
        self.news: list[str] = []
        self._name, self._line, self._hint = name, line, ""
        self._found: list[tuple[int, str, str]] = []

    def wrong(self, cells: Text, value: int, expected: str) -> None:
        """Note one of the column's values, and what was expected."""
        row, cell = int((cells.codes == value).argmax()), cells.values[value]
        units = row == 0 and len(cells.values) > 1 and not cell[0].isdigit()
        self._hint = " (the names again?)" if cell == self._name else " (a line of units?)" if units else ""
        self._found.append((row, cell, expected))

    def new(self, words: str) -> None:
        """Note what the training didn't see."""
        self.news.append(words)

    def faults(self, way_on: str) -> list[str]:
        """What to say of them: the first one."""
        if not self._found:
            return []
        row, value, expected = min(self._found)
        more = f" ({len(set(self._found)):,} such values)" if len(set(self._found)) > 1 else self._hint
        where = f"{self._line(row)}, column {arrays.word(self._name)}"
        return [f"{where}: {arrays.shown(value)}, expected {expected}{more}; correct it, {way_on}"]


class Kind(Protocol):
    """What a column is. Its fields are plain values, which JSON can hold."""

    @property
    def gaps(self) -> bool:
        """Whether cells were missing, so that one more feature says where they are."""

    @property
    def features(self) -> Sequence[str]:
        """The names of its other features, to be put behind the column's."""

    def rows(self, cells: Cells, report: Report) -> Iterator[np.ndarray]:
        """Those features; 0 or what is usual where a cell is missing."""


class Number(NamedTuple):
    """A number: the median for what is missing, and a feature that says so; centred and scaled in float64."""

    decimal: str
    """The decimal mark; "" if no cell, and no other column, showed it."""
    median: float
    centre: float
    scale: float
    gaps: bool
    units: list[str] = []  # noqa: RUF012
    """Those that stand beside the numbers, "" among them if some have none; none if none has one."""

    @staticmethod
    def read(cells: Text, known: str, report: Report, rows: Any = slice(None)) -> Number:
        """Of a column's cells, where a decimal mark may be known."""
        mark = numerals.decimal_mark(cells.values, known)
        made = Number.of(numbers(cells, mark, report.wrong), mark, rows)
        return made._replace(units=numerals.units(cells.values))

    @staticmethod
    def of(values: np.ndarray, decimal: str, rows: Any = slice(None)) -> Number:
        """Of a column's numbers, nan where they are missing; median and scale are those of some rows."""
        there = values[rows]
        there = there[~np.isnan(there)]
        largest = float(np.abs(there).max(initial=0)) or 1.0
        median = float(np.median(there)) if there.size else 0.0
        parts = there / largest  # their squares are no infinity
        centre = float(parts.mean()) * largest if there.size else 0.0
        scale = float(parts.std()) * largest if there.size else 1.0
        usual = scale > 1e-12 * largest
        return Number(decimal, median, centre, scale if usual else 1.0, bool(np.isnan(values).any()))

    @property
    def features(self) -> Sequence[str]:
        return ("",)

    @property
    def plain(self) -> bool:
        """Whether nothing is missing, and float32 holds the numbers as they are."""
        small = abs(self.centre) < _MOST_OFFSET * self.scale < MOST_VALUE
        return small and not self.gaps and self.scale > _LEAST_SCALE

    def rows(self, cells: Cells, report: Report) -> Iterator[np.ndarray]:
        if isinstance(cells, Text) and cells.values and {value.lower() for value in cells.values} <= {"true", "false"}:
            report.new("true and false, read as 1 and 0")
            cells = cells.spread([value.lower() == "true" for value in cells.values], np.nan)
        values = self._numbers(cells, report) if isinstance(cells, Text) else cells
        units = numerals.units(cells.values) if isinstance(cells, Text) else []
        if not {*(units or [""])} <= {*(self.units or [""])} and not np.isnan(values).all():
            report.new(f"numbers in {told_units(units)}, in the training in {told_units(self.units)}")
        yield (np.where(np.isnan(values), self.median, values) - self.centre) / self.scale

    def _numbers(self, cells: Text, report: Report) -> np.ndarray:
        """The numbers of new cells: by the decimal mark that they or their file show, unless a cell is doubtful."""
        seen = numerals.shown_mark(cells.values) or report.decimal
        mark = seen or self.decimal
        for i, value in enumerate(cells.values if not mark or mark != (self.decimal or mark) else ()):
            if numerals.is_doubtful(value):
                known = f"whose decimal mark was {self.decimal!r}" if self.decimal else "which showed no decimal mark"
                report.wrong(cells, i, f"a number that can be read in one way, unlike in the training, {known}")
        return numbers(cells, mark, report.wrong)

    def __str__(self) -> str:
        words = [
            "number",
            f"in {told_units(self.units)}" if self.units else "",
            f"median {self.median:g}" if self.gaps else "",
        ]
        return ", ".join(filter(None, words))


def told_units(units: Sequence[str]) -> str:
    """Units for a message."""
    return " and ".join(unit or "no unit" for unit in units or [""])


def numbers(cells: Text, decimal: str, wrong: Callable[[Text, int, str], None]) -> np.ndarray:
    """The numbers of a column's cells, where a decimal mark may be known."""
    mark = numerals.decimal_mark(cells.values, decimal)
    found = [numerals.number(value, mark) for value in cells.values]
    for i, value in enumerate(found):
        if value is None:
            wrong(cells, i, "a finite number")
    return cells.spread([np.nan if value is None else value for value in found], np.nan)


class YesNo(NamedTuple):
    """Yes or no: 1 or 0, ½ where it is missing."""

    no: str
    yes: str
    gaps: bool

    @property
    def features(self) -> Sequence[str]:
        return ("",)

    def rows(self, cells: Cells, report: Report) -> Iterator[np.ndarray]:
        text = as_text(cells)
        place = {self.no: 0.0, self.yes: 1.0, "0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
        for i, value in enumerate(text.values):
            if value.lower() not in place:
                report.wrong(text, i, f"{self.yes} or {self.no}")
        yield text.spread([place.get(value.lower(), 0.5) for value in text.values], 0.5)

    def __str__(self) -> str:
        return f"yes/no, 1 for {self.yes}"


class Category(NamedTuple):
    """One of some values: a feature for each of them, and for rare ones together."""

    levels: list[str]
    other: bool
    gaps: bool

    @staticmethod
    def of(text: Text) -> Category:
        """Of a column's cells, of which 1 and 1.0 are one value as they are one label."""
        index, names = naming.class_index(text.values)
        codes = text.spread([index[value] for value in text.values], -1).astype(int)
        counts = np.bincount(codes[codes >= 0], minlength=len(names))
        first = np.argsort(-counts, kind="stable")[:MOST_LEVELS].tolist()
        levels = sorted(names[i] for i in first if counts[i] >= min(_RARE, len(codes) / 100))
        return Category(levels, len(levels) < len(names), bool((codes < 0).any()))

    @property
    def features(self) -> Sequence[str]:
        return [f"={level}" for level in self.levels] + self.other * [" other"]

    def rows(self, cells: Cells, report: Report) -> Iterator[np.ndarray]:
        text = as_text(cells)
        places = list(map(naming.finder(self.levels), text.values))
        codes = text.spread([len(self.levels) if place is None else place for place in places], -1)
        if None in places:
            count, other = int((codes == len(self.levels)).sum()), arrays.shown(text.values[places.index(None)])
            report.new(f"{count:,} rows with a value that is none of its {len(self.levels)}, such as {other}")
        for i in range(len(self.levels) + self.other):
            yield codes == i

    def __str__(self) -> str:
        count = len(self.levels)
        return f"category, {count} value{'s' * (count != 1)}" + ", rare ones as other" * self.other


class Date(NamedTuple):
    """A date: year, month, day of the week and day of the year, as numbers around 0."""

    form: str
    year: float
    gaps: bool

    @staticmethod
    def of(cells: Text, form: str, report: Report, rows: Any = slice(None)) -> Date:
        """Of a column's cells, dates of this form; the year that is usual is that of some rows."""
        years = next(Date(form, 0.0, False).rows(cells, report))[rows]
        there = years[cells.codes[rows] >= 0]
        return Date(form, float(np.median(there)) if there.size else 0.0, bool((cells.codes < 0).any()))

    @property
    def features(self) -> Sequence[str]:
        return " year", " month", " weekday", " day of year"

    def rows(self, cells: Cells, report: Report) -> Iterator[np.ndarray]:
        text, middle = as_text(cells), (self.year, 6.5, 3.0, 183.0)
        found = [date_parts(value, self.form) for value in text.values]
        for i, value in enumerate(found):
            if value is None:
                report.wrong(text, i, f"a date as {datetime.date(2026, 12, 31).strftime(self.form or '%Y-%m-%d')}")
        for i, spread in enumerate((1.0, 3.5, 2.0, 105.0)):
            yield (text.spread([(value or middle)[i] for value in found], middle[i]) - middle[i]) / spread

    def __str__(self) -> str:
        form = f" ({self.form})" if self.form else ""
        return f"date{form}, year, month, weekday and day of the year"


@functools.lru_cache(1 << 16)
def date_parts(text: str, form: str) -> Sequence[float] | None:
    """Year, month, weekday and day of the year of a date; None if it isn't written in this form ("": ISO 8601)."""
    try:
        day = datetime.datetime.strptime(text, form) if form else datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return [day.year, day.month, day.weekday(), day.timetuple().tm_yday]


class LeftOut(NamedTuple):
    """A column that makes no feature, and why."""

    reason: str

    @property
    def gaps(self) -> bool:
        return False

    @property
    def features(self) -> Sequence[str]:
        return ()

    def rows(self, cells: Cells, report: Report) -> Iterator[np.ndarray]:
        return iter(())

    def __str__(self) -> str:
        return f"left out: {self.reason}"


KINDS: dict[str, Any] = {"number": Number, "yes/no": YesNo, "category": Category, "date": Date, "left out": LeftOut}
