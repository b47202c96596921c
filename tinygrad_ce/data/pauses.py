"""What should make one pause before one trains on a table: said, or, where it can hardly be meant, refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from tinygrad_ce.data import arrays, numerals
from tinygrad_ce.data.arrays import Damage
from tinygrad_ce.data.columns import Plan, but_for, gapped
from tinygrad_ce.data.kinds import MOST_LEVELS, Category, Cells, Date, Number, Text, date_parts, is_missing, told_units
from tinygrad_ce.data.numerals import number

_CLASS_NUMBERS = 20  # more different numbers than these are likely no classes
FEW, _FEW_OF_A_CLASS = 50, 5  # rows below which there is little to learn from or to measure by
_NINES = {99, 999, 9999, 99999}  # and their negatives: what is often written for a value that is missing
_TOTALS = {"total", "totals", "sum", "grand total", "summe", "gesamt", "insgesamt"}


def check_quantity(name: str, classes: Sequence[str], rows: int, insist: bool) -> None:
    """Refuse labels that look like a quantity: many different numbers that don't count the classes."""
    values = [number(label) for label in classes]
    counted = values in ([*range(len(values))], [*range(1, len(values) + 1)])
    if len(values) > _CLASS_NUMBERS and None not in values and not counted and not insist:
        words = f"column {arrays.word(name)}: {len(values):,} different numbers in {rows:,} rows"
        way_on = "name another with --label, or insist with --classes (quantity=True)"
        raise Damage(f"{words}: a quantity? Expected the name of a class in each row; {way_on}")


def of(cells: Mapping[str, Cells], plan: Plan, y: np.ndarray, line: Callable[[int], str]) -> list[str]:
    """What should make one pause in a table's columns, beside its labels, of which -100 is none."""
    if not plan.features and 1 < len(plan.classes) <= len(y) / 2:  # else the label is at fault
        left = [f"{arrays.word(name)}, {kind}" for name, kind in plan.columns]
        raise Damage(f"no column is left to learn from: {arrays.listed(left, str)}")
    return [
        *_of_totals(cells, plan.classes, y, line),
        *of_leaks(cells, plan, y),
    ]


def of_leaks(cells: Mapping[str, Cells], plan: Plan, y: np.ndarray) -> list[str]:
    """The columns that alone tell the label."""
    told = [arrays.word(name) for name, kind in plan.columns if kind.features and _tells(cells[name], y)]
    return [f"column {name} alone tells the label: would new rows have it?" for name in told]


def of_labels(classes: Sequence[str], counts: np.ndarray, missing: int) -> list[str]:
    """What should make one pause in labels: so many rows of each class, and so many without."""
    few = [f"{arrays.word(name)} ({n})" for name, n in zip(classes, counts, strict=True) if n < _FEW_OF_A_CLASS]
    alike = dict[str, list[str]]()
    for name in classes:
        alike.setdefault("".join(name.split()).casefold(), []).append(arrays.shown(name))
    said = {
        without(missing): missing > 0,
        f"only {counts.sum():,} rows: what is measured on so few says little": counts.sum() < FEW,
        f"classes of fewer than {_FEW_OF_A_CLASS} rows, too few to learn or measure: {arrays.listed(few, str)}": few,
    }
    twins = [f"classes {' and '.join(names)}: one, written differently?" for names in alike.values() if len(names) > 1]
    return [*(text for text, true in said.items() if true), *twins]


def without(count: int) -> str:
    """That so many rows have no label."""
    return f"rows without a label, which are left out: {count:,}"


def of_writing(cells: Mapping[str, Cells], plan: Plan, decimal: str) -> Iterator[str]:
    """What should make one pause in how numbers and dates are written, in a file that shows a decimal mark or none."""
    for name, kind in plan.columns:
        own, said = gapped(cells[name], plan.missing), list[str]()
        if isinstance(own, Text) and isinstance(kind, Number | Date):
            said += _of_dates(own, kind.form) if isinstance(kind, Date) else _of_numbers(own, kind, decimal)
        elif isinstance(own, Text) and isinstance(kind, Category) and len(own.values) > _CLASS_NUMBERS:
            said += [
                f"a category{words}" for words in [but_for(own, numerals.decimal_mark(own.values, decimal))] if words
            ]
        elif isinstance(kind, Number) and not isinstance(own, Text):
            said += _of_stand_ins(own)
        yield from (f"column {arrays.word(name)}: {words}" for words in said)


def _of_numbers(cells: Text, kind: Number, decimal: str) -> Iterator[str]:
    doubtful = min(filter(numerals.is_doubtful, cells.values), default="")
    if doubtful and not decimal and not numerals.shown_mark(cells.values):
        yield f"{doubtful} is read as {number(doubtful, kind.decimal):g}; is that right?"
    if len(kind.units) > 1:
        yield f"numbers in {told_units(kind.units)}, which are taken for one unit"


def _of_stand_ins(values: np.ndarray) -> Iterator[str]:
    """A number of nothing but nines, far from all others, that several rows have."""
    for end in (np.fmin.reduce(values), np.fmax.reduce(values)):
        same = values == end if abs(end) in _NINES else np.empty(0, bool)
        if same.sum() > 1 and 2 * np.fmax.reduce(np.abs(values[~same]), initial=0) < abs(end):
            yield f"{end:g} in {same.sum():,} rows, far from all others; if that means missing, say --missing={end:g}"


def _of_dates(cells: Text, form: str) -> Iterator[str]:
    turned = form.translate({ord("m"): "d", ord("d"): "m"})
    if form.startswith(("%m/%d", "%m-%d")) and all(date_parts(value, turned) for value in cells.values):
        yield f"{cells.values[0]} is read as month, day, year; is that right?"


def _of_totals(
    cells: Mapping[str, Cells], classes: Sequence[str], y: np.ndarray, line: Callable[[int], str]
) -> list[str]:  # fmt: skip
    """A row that says Total; where several do, it is likely the value of a category."""
    texts = [each for each in cells.values() if isinstance(each, Text)] + [Text(y, list(classes))]
    found = list[str]()
    for each in texts:
        for code in (code for code, value in enumerate(each.values) if value.lower() in _TOTALS):
            if len(rows := np.flatnonzero(each.codes == code)) == 1:
                said = arrays.shown(each.values[code])
                found.append(f"{line(int(rows[0]))} says {said}: a sum of other rows? Then take it out")
    return found[:1]


def _tells(cells: Cells, y: np.ndarray) -> bool:
    """Whether each value of a column stands beside one class alone."""
    codes = cells.codes if isinstance(cells, Text) else cells
    if len(np.unique(codes[:1000])) > MOST_LEVELS:  # a look that saves sorting all of them
        return False
    known = (y >= 0) & ~is_missing(cells)
    values, index = np.unique(codes[known], return_inverse=True)
    if not 1 < len(values) <= min(MOST_LEVELS, known.sum() / 2):
        return False
    pairs = np.unique(index * (int(y.max()) + 1) + y[known])
    return len(pairs) == len(values)
