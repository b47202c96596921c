"""The plan of a table's columns: what each one is found to be, and how new rows become features."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, get_type_hints

import numpy as np

from tinygrad_ce.data import arrays, frames
from tinygrad_ce.data.arrays import Damage
from tinygrad_ce.data.kinds import (
    KINDS,
    MOST_LEVELS,
    MOST_VALUE,
    Category,
    Cells,
    Date,
    Kind,
    LeftOut,
    Number,
    Report,
    Text,
    YesNo,
    as_text,
    date_parts,
    is_missing,
)  # fmt: skip
from tinygrad_ce.data.numerals import decimal_mark, number

_SLIPS = 0.05  # the share of cells that may be slips, not another kind of column
_FEW_TEXTS = 20  # rows of which each may have a category of its own
_COUNTS = re.compile(
    r"|unnamed: \d+|row\.?names?|#|(.*[ _.-])?(index|idx|ids?|rows?|no|nr|num|number)\.?", re.IGNORECASE
)
_YES_NO = (("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"), ("off", "on"))
_DATES = (
    "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%Y/%m/%d", "%d.%m.%y", "%m/%d/%y", "%d/%m/%y",
    "%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%Y-%m",
)  # fmt: skip
_PARTS = re.compile(r"\w\W+\w+\W+\w*\d|\d{8}T|(19|20)\d\d-\d\d$")  # what a date has at least
_CLOCK = re.compile(r"\d{1,2}:\d\d(:\d\d)?")
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p")


class Column(NamedTuple):
    """A column's name, and what it is."""

    name: str
    kind: Kind

    @property
    def features(self) -> list[str]:
        """The names of its features."""
        return [self.name + end for end in (*self.kind.features, *self.kind.gaps * [" missing"])]

    def rows(self, cells: Cells, report: Report) -> Iterator[np.ndarray]:
        """Its features."""
        yield from self.kind.rows(cells, report)
        gone = is_missing(cells)
        if self.kind.gaps:
            yield gone
        elif gone.any():
            report.new(f"{gone.sum():,} rows without a value, as the training had none")


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
    missing: tuple[str, ...] = ()
    """What says that a value is missing, beside what usually does."""

    @staticmethod
    def of(
        columns: Any, label: Text | None = None, *,
        drop: Sequence[str] = (), category: Sequence[str] = (), number: Sequence[str] = (), decimal: str | None = None,
        line: Callable[[int], str] = "row {}".format, rows: Any = slice(None), missing: Sequence[str] = (),
    ) -> Plan:  # fmt: skip
        """Find out what columns are.

        Args:
            columns: a DataFrame of pandas or polars, a pyarrow.Table, or a name and cells for each column: an array of
                numbers, nan where they are missing, or texts.
            label: that of each row, to know its copy.
            drop: columns to leave out.
            category: columns to take as categories, whatever is in them.
            number: columns to take as numbers, whatever is in them.
            decimal: the decimal mark that a file shows, where no number of a column does; "" if it shows none.
            line: names a row in messages.
            rows: those whose medians and scales are taken, as an index; all unless given. What kind a column is and
                which values a category has is found out of all rows.
            missing: words that say that a value is missing, beside those that usually do.

        Raises:
            Damage: columns that are numbers or dates but for a few cells: all of them, each with its first such cell.
        """
        columns, codes = frames.read(columns)
        asked: dict[str, str] = {
            **dict.fromkeys({*codes} & {*columns}, "codes"), **dict.fromkeys(number, "number"),
            **dict.fromkeys(category, "category"), **dict.fromkeys(drop, "drop"),
        }  # fmt: skip
        if unknown := [name for name in asked if name not in columns]:
            there = arrays.listed(list(columns))
            raise Damage(f"no column {arrays.shown(unknown[0])} to drop or to take as asked; there are {there}")
        found, faults = list[Column](), list[str]()
        for name, cells in columns.items():
            report = Report(name, line)
            cells = gapped(cells, missing)
            found.append(Column(name, _kind(name, cells, label, asked.get(name, ""), decimal, report, rows)))
            faults += report.faults("or overrule it with --category or --drop")
        _refuse(faults)
        return Plan(found, missing=tuple(missing))

    @property
    def features(self) -> list[str]:
        """The names of the features."""
        return [feature for column in self.columns for feature in column.features]

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

    def rows(
        self, columns: Any, line: Callable[[int], str] = "row {}".format, decimal: str = "",
        tell: Callable[[str], object] | None = None,
    ) -> np.ndarray:  # fmt: skip
        """The features of rows, float32.

        Args:
            columns: a DataFrame, or a name and cells for each column, in any order. Those that are left out need not be
                there; others are passed over.
            line: names a row in messages.
            decimal: the decimal mark that the file shows, if any.
            tell: is given a line for each column with what the training didn't see.

        Raises:
            Damage: columns that aren't there, or cells that aren't what their column is: all of them.
        """
        columns = frames.read(columns).cells
        used = [column for column in self.columns if column.features]
        if missing := [arrays.shown(name) for name, _ in used if name not in columns]:
            there = arrays.listed(list(columns))
            near = [name for name in columns if any(name.lower() == own.lower() for own, _ in used)]
            hint = f"; is {arrays.shown(near[0])} one of them? Names must be the same" if near else ""
            raise Damage(f"no column {', '.join(missing)}, which the model was trained on; there are {there}{hint}")
        count = len(is_missing(next(iter(columns.values()), np.empty(0))))
        x, place, faults = np.empty((count, len(self.features)), np.float32), 0, list[str]()
        for column in used:
            own, report = gapped(columns[column.name], self.missing), Report(column.name, line, decimal)
            with np.errstate(over="ignore"):
                for feature in column.rows(own, report):
                    x[:, place] = np.clip(feature, -MOST_VALUE, MOST_VALUE)
                    place += 1
            faults += report.faults("as in training")
            if tell and report.news:
                tell(f"column {arrays.word(column.name)}: {'; '.join(report.news)}")
        _refuse(faults)
        return x

    def as_json(self) -> dict[str, Any]:
        """The plan as what JSON can hold."""
        names, columns = {made: name for name, made in KINDS.items()}, []
        for name, kind in self.columns:
            usual: dict[str, Any] = type(kind)._field_defaults  # type: ignore[attr-defined]
            fields = {key: value for key, value in kind._asdict().items() if value != usual.get(key)}  # type: ignore[attr-defined]
            columns.append({"name": name, "kind": names[type(kind)], **fields})
        made = {**self._asdict(), "columns": columns, "classes": list(self.classes), "missing": list(self.missing)}
        return {key: value for key, value in made.items() if key != "missing" or value}

    @staticmethod
    def from_json(value: Any) -> Plan:
        """The plan that as_json wrote.

        Raises:
            Damage: any other value.
        """
        fields = _fields("columns", {"missing": [], **value} if isinstance(value, dict) else value, Plan)
        made = {name: tuple(fields[name]) for name in ("classes", "missing")}
        return Plan(**{**fields, "columns": list(map(_column, fields["columns"])), **made})

    def __str__(self) -> str:
        names = [arrays.word(name) or "(no name)" for name, _ in self.columns]
        width = max(map(len, names), default=0)
        lines = zip(names, self.columns, strict=True)
        return "\n".join(f"{name:<{width}}  {kind}{', some missing' * kind.gaps}" for name, (_, kind) in lines)


def _kind(
    name: str, cells: Cells, label: Text | None, asked: str, decimal: str | None, report: Report, rows: Any
) -> Kind:  # fmt: skip
    """What a column is."""
    if asked == "drop":
        return LeftOut("as asked")
    if asked == "category":
        return Category.of(as_text(cells))
    if asked == "number":
        return _number(cells, decimal, report, rows)
    if (reason := _useless(name, cells, label)) is not None:
        return LeftOut(reason)
    if not isinstance(cells, Text):
        return _number(cells, decimal, report, rows)
    mark = decimal_mark(cells.values, decimal or "")
    if asked != "codes" and _most(cells, functools.partial(number, decimal=mark)):
        return _number(cells, decimal, report, rows)
    lower = {value.lower() for value in cells.values}
    for no, yes in _YES_NO:
        if lower == {no, yes}:
            return YesNo(no, yes, bool(is_missing(cells).any()))
    if (form := _date_form(cells)) is not None:
        return Date.of(cells, form, report, rows)
    if len(cells.values) > MOST_LEVELS or len(cells.values) == (cells.codes >= 0).sum() > _FEW_TEXTS:
        times = ", times? Write hours as a number" * all(map(_CLOCK.fullmatch, cells.values))
        return LeftOut(f"text with {len(cells.values):,} different values{times}{but_for(cells, mark)}")
    return Category.of(cells)


def gapped(cells: Cells, missing: Sequence[str]) -> Cells:
    """Cells where some more words, or numbers, say that nothing is there."""
    if not missing:
        return cells
    if isinstance(cells, Text):
        return cells.without(missing)
    return np.where(np.isin(cells, [value for word in missing if (value := number(word)) is not None]), np.nan, cells)


def but_for(cells: Text, mark: str) -> str:
    """What to say of a column that is numbers but for some cells; nothing of any other."""
    others = cells.spread([number(value, mark) is None for value in cells.values], False).astype(bool)
    if not 0 < others.sum() < (cells.codes >= 0).sum() / 2:
        return ""
    first = arrays.shown(cells.values[cells.codes[others.argmax()]])
    return f", numbers but for {others.sum():,} cells, the first {first}; if that means missing, say --missing {first}"


def _number(cells: Cells, decimal: str | None, report: Report, rows: Any) -> Number:
    if isinstance(cells, Text):
        return Number.read(cells, decimal or "", report, rows)
    return Number.of(cells, "." if decimal is None else decimal, rows)


def _date_form(cells: Text) -> str | None:
    """The form that (nearly) all cells are dates of."""
    if not any(_PARTS.search(value) for value in cells.values[:3]):
        return None
    few = Text(np.arange(min(len(cells.values), 20)), cells.values[:20])
    forms = ["", *(day + time for time in _TIMES for day in _DATES)]
    forms = [form for form in forms if _most(few, functools.partial(date_parts, form=form))]
    for form in forms:
        if all(date_parts(value, form) for value in cells.values):
            return form
    return next((form for form in forms if _most(cells, functools.partial(date_parts, form=form))), None)


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
    if not isinstance(cells, Text) and _counts_rows(name, cells, label):
        return "it counts the rows"
    return None


def _counts_rows(name: str, values: np.ndarray, label: Text | None) -> bool:
    """Whether numbers rise by 1 from row to row, but for rows taken out, and are named so or would tell the label."""
    steps = np.diff(values)
    blocks = label is not None and 10 * np.count_nonzero(np.diff(label.codes)) <= len(values)  # a file sorted by it
    is_count = _COUNTS.fullmatch(name) or (blocks and values[0] in (0, 1) and len(values) > _FEW_TEXTS)
    return bool(is_count and (steps >= 1).all() and (steps % 1 == 0).all() and (steps == 1).mean() > 0.9)


def _is_copy(cells: Cells, label: Text) -> bool:
    """Whether cells are those of the label."""
    if not isinstance(cells, Text):
        found = [number(value) for value in label.values]
        numbers = label.spread([np.nan if value is None else value for value in found], np.nan)
        return None not in found and np.array_equal(cells, numbers, equal_nan=True)
    place = {value: i for i, value in enumerate(label.values)}
    return np.array_equal(cells.spread([place.get(value, -2) for value in cells.values], -1), label.codes)


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
    made = kind(**_fields(f"columns: {arrays.word(value['name'])}", {**kind._field_defaults, **value}, kind))
    if isinstance(made, Number) and made.scale <= 0:
        raise Damage(f"columns: {arrays.word(value['name'])}: scale {made.scale}, expected more than 0")
    return Column(value["name"], made)
