"""The plan of a table's columns: what each one is, and how its cells become features."""

from __future__ import annotations

import datetime
import functools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, get_type_hints

import numpy as np

from tinygrad_ce.common.words import normal
from tinygrad_ce.data import arrays
from tinygrad_ce.data.arrays import Damage
from tinygrad_ce.data.layout import MISSING, decimal_mark, number

MOST_LEVELS = 60  # different values that a category may have
_RARE = 5  # rows below which a value of a category is rare, where there are a hundred times as many
_SLIPS = 0.05  # the share of cells that may be slips, not another kind of column
_COUNTS = re.compile(r"|unnamed: \d+|index|id|row\.?names?|rows?|no\.?|nr\.?|#", re.IGNORECASE)
_YES_NO = (("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"), ("off", "on"))
_DATES = (
    "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%Y/%m/%d", "%d.%m.%y", "%m/%d/%y", "%d/%m/%y",
    "%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y",
)  # fmt: skip
_PARTS = re.compile(r"\w\W+\w+\W+\w*\d|\d{8}T")  # what a date has at least
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p")
_LEAST_SCALE, _MOST_VALUE, _MOST_OFFSET = 1e-30, 1e38, 1e3  # within these float32 holds a column's numbers as they are


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

    def spread(self, found: Sequence[Any], missing: Any) -> np.ndarray:
        """Something found of each value, for each row."""
        return np.asarray(np.array([*found, missing], float)[self.codes])


Cells = np.ndarray | Text  # float64, nan where nothing is; or text
Wrong = Callable[[Text, int, str], None]  # told a column, one of its values, and what was expected


def _written(cell: Any) -> str:
    """A cell as text: whole numbers as they are usually written."""
    whole = isinstance(cell, float | np.floating) and float(cell).is_integer()
    return str(int(cell) if whole else cell)


def as_cells(column: Any) -> Cells:
    """A column of anyone's: an array of numbers, or a sequence of texts, numbers, truth values and None."""
    if isinstance(column, Text):
        return column
    array = np.asarray(column)
    if array.dtype.kind in "fiu" and not np.isinf(array).any():
        return array.astype(np.float64, copy=False)
    return Text.of(array.tolist())


def as_text(cells: Cells) -> Text:
    """Cells of either kind as text."""
    return cells if isinstance(cells, Text) else Text.of(cells.tolist())


def is_missing(cells: Cells) -> np.ndarray:
    """Where nothing is."""
    return cells.codes < 0 if isinstance(cells, Text) else np.isnan(cells)


class Kind(Protocol):
    """What a column is. Its fields are plain values, which JSON can hold."""

    @property
    def gaps(self) -> bool:
        """Whether cells were missing, so that one more feature says where they are."""

    @property
    def features(self) -> Sequence[str]:
        """The names of its other features, to be put behind the column's."""

    def rows(self, cells: Cells, wrong: Wrong) -> Iterator[np.ndarray]:
        """Those features; 0 or what is usual where a cell is missing."""


class Number(NamedTuple):
    """A number: the median for what is missing, and a feature that says so; centred and scaled in float64."""

    decimal: str
    median: float
    centre: float
    scale: float
    gaps: bool

    @staticmethod
    def of(values: np.ndarray, decimal: str) -> Number:
        """Of a column's numbers, nan where they are missing."""
        there = values[~np.isnan(values)]
        largest = float(np.abs(there).max(initial=0)) or 1.0
        median = float(np.median(there)) if there.size else 0.0
        parts = there / largest  # their squares are no infinity
        centre = float(parts.mean()) * largest if there.size else 0.0
        scale = float(parts.std()) * largest if there.size else 1.0
        usual = scale > 1e-12 * largest
        return Number(decimal, median, centre, scale if usual else 1.0, there.size < values.size)

    @property
    def features(self) -> Sequence[str]:
        return ("",)

    @property
    def plain(self) -> bool:
        """Whether nothing is missing, and float32 holds the numbers as they are."""
        small = abs(self.centre) < _MOST_OFFSET * self.scale < _MOST_VALUE
        return small and not self.gaps and self.scale > _LEAST_SCALE

    def rows(self, cells: Cells, wrong: Wrong) -> Iterator[np.ndarray]:
        values = numbers(cells, self.decimal, wrong) if isinstance(cells, Text) else cells
        yield (np.where(np.isnan(values), self.median, values) - self.centre) / self.scale

    def __str__(self) -> str:
        return f"number, median {self.median:g}" if self.gaps else "number"


def numbers(cells: Text, decimal: str, wrong: Wrong) -> np.ndarray:
    """The numbers of cells, which may use another decimal mark than those before, if they show it without doubt."""
    mark = decimal_mark(cells.values) or decimal
    found = [number(value, mark) for value in cells.values]
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

    def rows(self, cells: Cells, wrong: Wrong) -> Iterator[np.ndarray]:
        text = as_text(cells)
        place = {self.no: 0.0, self.yes: 1.0}
        for i, value in enumerate(text.values):
            if value.lower() not in place:
                wrong(text, i, f"{self.yes} or {self.no}")
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
        """Of a column's cells."""
        counts = np.bincount(text.codes[text.codes >= 0], minlength=len(text.values))
        first = np.argsort(-counts, kind="stable")[:MOST_LEVELS].tolist()
        levels = sorted(text.values[i] for i in first if counts[i] >= min(_RARE, len(text.codes) / 100))
        return Category(levels, len(levels) < len(text.values), bool((text.codes < 0).any()))

    @property
    def features(self) -> Sequence[str]:
        return [f"={level}" for level in self.levels] + self.other * [" other"]

    def rows(self, cells: Cells, wrong: Wrong) -> Iterator[np.ndarray]:
        text = as_text(cells)
        place = {level: i for i, level in enumerate(self.levels)}
        codes = text.spread([place.get(value, len(place)) for value in text.values], -1)
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
    def of(cells: Text, form: str, wrong: Wrong) -> Date:
        """Of a column's cells, dates of this form."""
        years = Date(form, 0.0, False).rows(cells, wrong)
        there = next(years)[cells.codes >= 0]
        return Date(form, float(np.median(there)), there.size < cells.codes.size)

    @property
    def features(self) -> Sequence[str]:
        return " year", " month", " weekday", " day of year"

    def rows(self, cells: Cells, wrong: Wrong) -> Iterator[np.ndarray]:
        text, middle = as_text(cells), (self.year, 6.5, 3.0, 183.0)
        found = [_parts(value, self.form) for value in text.values]
        for i, value in enumerate(found):
            if value is None:
                wrong(text, i, f"a date as {datetime.date(2026, 12, 31).strftime(self.form or '%Y-%m-%d')}")
        for i, spread in enumerate((1.0, 3.5, 2.0, 105.0)):
            yield (text.spread([(value or middle)[i] for value in found], middle[i]) - middle[i]) / spread

    def __str__(self) -> str:
        form = f" ({self.form})" if self.form else ""
        return f"date{form}, year, month, weekday and day of the year"


def _parts(text: str, form: str) -> Sequence[float] | None:
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

    def rows(self, cells: Cells, wrong: Wrong) -> Iterator[np.ndarray]:
        return iter(())

    def __str__(self) -> str:
        return f"left out: {self.reason}"


KINDS: dict[str, Any] = {"number": Number, "yes/no": YesNo, "category": Category, "date": Date, "left out": LeftOut}


class Column(NamedTuple):
    """A column's name, and what it is."""

    name: str
    kind: Kind

    @property
    def features(self) -> list[str]:
        """The names of its features."""
        return [self.name + end for end in (*self.kind.features, *self.kind.gaps * [" missing"])]

    def rows(self, cells: Cells, wrong: Wrong) -> Iterator[np.ndarray]:
        """Its features."""
        yield from self.kind.rows(cells, wrong)
        if self.kind.gaps:
            yield is_missing(cells)


class Plan(NamedTuple):
    """What each column of a table is, and how new rows become features: plain values that one can read and store.

    Example:
        >>> plan = Plan.of({"size": [1.5, None, 2.5, 3], "kind": ["a", "b", "a", "b"]})
        >>> print(plan)
        size  number, median 2.5, some missing
        kind  category, 2 values
        >>> plan.features
        ['size', 'size missing', 'kind=a', 'kind=b']
        >>> plan.rows({"kind": ["b", "new"], "size": [2.5, None]}).round(2)
        array([[0.27, 0.  , 0.  , 1.  ],
               [0.27, 1.  , 0.  , 0.  ]], dtype=float32)
    """

    columns: list[Column]
    """All but the label's, in the order of the table."""
    label: str = ""
    """The name of the label's column."""
    place: int = -1
    """The position of the label's column."""
    named: bool = True
    """Whether the table has names, by which columns are found; else they are by their positions."""
    classes: tuple[str, ...] = ()
    """The names of the classes."""

    @staticmethod
    def of(
        columns: Mapping[str, Any], label: Text | None = None, *,
        drop: Sequence[str] = (), category: Sequence[str] = (), number: Sequence[str] = (), decimal: str = ".",
        line: Callable[[int], str] = "row {}".format,
    ) -> Plan:  # fmt: skip
        """Find out what columns are.

        Args:
            columns: a name and cells for each: an array of numbers, nan where they are missing, or texts.
            label: that of each row, to know its copy.
            drop: columns to leave out.
            category: columns to take as categories, whatever is in them.
            number: columns to take as numbers, whatever is in them.
            decimal: the decimal mark, where no number of a column shows it.
            line: names a row in messages.

        Raises:
            Damage: columns that are numbers or dates but for a few cells: all of them, each with its first such cell.
        """
        asked: dict[str, str] = {
            **dict.fromkeys(number, "number"), **dict.fromkeys(category, "category"), **dict.fromkeys(drop, "drop"),
        }  # fmt: skip
        if unknown := [name for name in asked if name not in columns]:
            there = arrays.listed(list(columns))
            raise Damage(f"no column {arrays.shown(unknown[0])} to drop or to take as asked; there are {there}")
        found, faults = list[Column](), list[str]()
        for name, column in columns.items():
            cells, wrong = as_cells(column), _Wrong(name, line)
            found.append(Column(name, _kind(name, cells, label, asked.get(name, ""), decimal, wrong)))
            faults += wrong.faults("or overrule it with --category or --drop")
        _refuse(faults)
        return Plan(found)

    @property
    def features(self) -> list[str]:
        """The names of the features."""
        return [feature for column in self.columns for feature in column.features]

    @property
    def decimal(self) -> str:
        """The decimal mark of new rows that show none."""
        return "," if any(isinstance(kind, Number) and kind.decimal == "," for _, kind in self.columns) else "."

    @property
    def plain(self) -> bool:
        """Whether all columns are numbers that float32 holds as they are, and none is missing."""
        return all(isinstance(column.kind, Number) and column.kind.plain for column in self.columns)

    @property
    def raw(self) -> bool:
        """Whether features are the table's numbers as they are."""
        return self.plain and self == self.unscaled()

    def unscaled(self) -> Plan:
        """The same plan of a plain table with its numbers left as they are, for a model that scales them itself."""
        same = [Column(name, kind._replace(centre=0.0, scale=1.0)) for name, kind in self.columns]  # type: ignore[attr-defined]
        return self._replace(columns=same)

    def rows(self, columns: Mapping[str, Any], line: Callable[[int], str] = "row {}".format) -> np.ndarray:
        """The features of rows, float32.

        Args:
            columns: a name and cells for each column that isn't left out, in any order; others are passed over.
            line: names a row in messages.

        Raises:
            Damage: columns that aren't there, or cells that aren't what their column is: all of them.
        """
        used = [column for column in self.columns if column.features]
        if missing := [arrays.shown(name) for name, _ in used if name not in columns]:
            there = arrays.listed(list(columns))
            raise Damage(f"no column {', '.join(missing)}, which the model was trained on; there are {there}")
        cells = [as_cells(columns[name]) for name, _ in used]
        count = len(is_missing(cells[0] if cells else as_cells(next(iter(columns.values()), ()))))
        x, place, faults = np.empty((count, len(self.features)), np.float32), 0, list[str]()
        for column, own in zip(used, cells, strict=True):
            wrong = _Wrong(column.name, line)
            with np.errstate(over="ignore"):
                for feature in column.rows(own, wrong):
                    x[:, place] = np.clip(feature, -_MOST_VALUE, _MOST_VALUE)
                    place += 1
            faults += wrong.faults("as in training")
        _refuse(faults)
        return x

    def as_json(self) -> dict[str, Any]:
        """The plan as what JSON can hold."""
        names = {made: name for name, made in KINDS.items()}
        columns = [
            {"name": name, "kind": names[type(kind)], **kind._asdict()}  # type: ignore[attr-defined]
            for name, kind in self.columns
        ]
        return {**self._asdict(), "columns": columns, "classes": list(self.classes)}

    @staticmethod
    def from_json(value: Any) -> Plan:
        """The plan that as_json wrote.

        Raises:
            Damage: any other value.
        """
        fields = _fields("columns", value, Plan)
        return Plan(**{**fields, "columns": list(map(_column, fields["columns"])), "classes": tuple(fields["classes"])})

    def __str__(self) -> str:
        names = [arrays.word(name) or "(no name)" for name, _ in self.columns]
        width = max(map(len, names), default=0)
        lines = zip(names, self.columns, strict=True)
        return "\n".join(f"{name:<{width}}  {kind}{', some missing' * kind.gaps}" for name, (_, kind) in lines)


def _kind(name: str, cells: Cells, label: Text | None, asked: str, decimal: str, wrong: _Wrong) -> Kind:
    """What a column is."""
    if asked == "drop":
        return LeftOut("as asked")
    if asked == "category":
        return Category.of(as_text(cells))
    if asked == "number":
        return _number(cells, decimal, wrong)
    if (reason := _useless(name, cells, label)) is not None:
        return LeftOut(reason)
    if not isinstance(cells, Text):
        return _number(cells, decimal, wrong)
    mark = decimal_mark(cells.values) or decimal
    if _most(cells, functools.partial(number, decimal=mark)):
        return _number(cells, decimal, wrong)
    lower = {value.lower() for value in cells.values}
    for no, yes in _YES_NO:
        if lower == {no, yes}:
            return YesNo(no, yes, bool(is_missing(cells).any()))
    if (form := _date_form(cells)) is not None:
        return Date.of(cells, form, wrong)
    if len(cells.values) > MOST_LEVELS:
        return LeftOut(f"text with {len(cells.values):,} different values")
    return Category.of(cells)


def _number(cells: Cells, decimal: str, wrong: _Wrong) -> Number:
    if not isinstance(cells, Text):
        return Number.of(cells, decimal)
    mark = decimal_mark(cells.values) or decimal
    return Number.of(numbers(cells, mark, wrong), mark)


def _date_form(cells: Text) -> str | None:
    """The form that (nearly) all cells are dates of."""
    if not any(_PARTS.search(value) for value in cells.values[:3]):
        return None
    few = Text(np.arange(min(len(cells.values), 20)), cells.values[:20])
    for form in ("", *(day + time for time in _TIMES for day in _DATES)):
        fits = functools.partial(_parts, form=form)
        if _most(few, fits) and _most(cells, fits):
            return form
    return None


def _most(cells: Text, read: Callable[[str], Any]) -> bool:
    """Whether all cells can be read but for a few, which are then likely slips."""
    total = int((cells.codes >= 0).sum())
    right = int(cells.spread([read(value) is not None for value in cells.values], False).sum())
    return right > 3 * (total - right) and total - right <= max(1, _SLIPS * total)


def _useless(name: str, cells: Cells, label: Text | None) -> str | None:
    """Why a column can't be of use."""
    if is_missing(cells).all():
        return "nothing in it"
    values = cells.codes if isinstance(cells, Text) else cells
    if (values == values[0]).all():
        return f"always {arrays.word(as_text(cells).values[0])}"
    if label is not None and _is_copy(cells, label):
        return "the same as the label"
    if _COUNTS.fullmatch(name) and not isinstance(cells, Text) and (np.diff(values) == 1).all():
        return "it counts the rows"
    return None


def _is_copy(cells: Cells, label: Text) -> bool:
    """Whether cells are those of the label."""
    if not isinstance(cells, Text):
        found = [number(value) for value in label.values]
        numbers = label.spread([np.nan if value is None else value for value in found], np.nan)
        return None not in found and np.array_equal(cells, numbers, equal_nan=True)
    place = {value: i for i, value in enumerate(label.values)}
    return np.array_equal(cells.spread([place.get(value, -2) for value in cells.values], -1), label.codes)


class _Wrong:
    """Takes note of a column's cells that aren't what they should be."""

    def __init__(self, name: str, line: Callable[[int], str]) -> None:
        self._name, self._line = name, line
        self._found: list[tuple[int, str, str]] = []

    def __call__(self, cells: Text, value: int, expected: str) -> None:
        row = int((cells.codes == value).argmax())
        self._found.append((row, cells.values[value], expected))

    def faults(self, way_on: str) -> list[str]:
        """What to say of them: the first one."""
        if not self._found:
            return []
        row, value, expected = min(self._found)
        more = f" ({len(set(self._found)):,} such values)" if len(set(self._found)) > 1 else ""
        where = f"{self._line(row)}, column {arrays.word(self._name)}"
        return [f"{where}: {arrays.shown(value)}, expected {expected}{more}; correct it, {way_on}"]


def _refuse(faults: Sequence[str]) -> None:
    if faults:
        raise Damage("; ".join(faults[:20]) + (f"; and {len(faults) - 20:,} more columns" if len(faults) > 20 else ""))


def _are_texts(value: Any) -> bool:
    return type(value) is list and all(type(entry) is str for entry in value)


_TYPES: dict[Any, Callable[[Any], bool]] = {
    str: lambda value: type(value) is str,
    bool: lambda value: type(value) is bool,
    int: lambda value: type(value) is int,
    float: lambda value: type(value) in (int, float) and abs(value) < sys.float_info.max,
    list[str]: _are_texts,
    tuple[str, ...]: _are_texts,
    list[Column]: lambda value: type(value) is list,
}


def _fields(where: str, value: Any, made: Any) -> dict[str, Any]:
    """The fields of what JSON held, each of its type."""
    if not isinstance(value, dict):
        raise Damage(f"{where}: {arrays.shown(value)}, expected a dict")
    for name, kind in get_type_hints(made).items():
        if not _TYPES[kind](value.get(name)):
            raise Damage(f"{where}: {name} {arrays.shown(value.get(name))}, expected {getattr(kind, '__name__', kind)}")
    return {name: value[name] for name in made._fields}


def _column(value: Any) -> Column:
    kind = KINDS.get(str(value.get("kind"))) if isinstance(value, dict) else None
    if kind is None or type(value.get("name")) is not str:
        raise Damage(f"columns: {arrays.shown(value)}, expected a name and one of {', '.join(KINDS)}")
    made = kind(**_fields(f"columns: {arrays.word(value['name'])}", value, kind))
    if isinstance(made, Number) and made.scale <= 0:
        raise Damage(f"columns: {arrays.word(value['name'])}: scale {made.scale}, expected more than 0")
    return Column(value["name"], made)
