"""Tables as people have them: read by the way they are written, and turned into features by a plan."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.data import arrays, chunks, frames, layout, naming, pauses, readers, strict
from tinygrad_ce.data.arrays import Damage
from tinygrad_ce.data.columns import Column, Plan
from tinygrad_ce.data.dataset import Dataset, Pair, as_dataset, held_rows
from tinygrad_ce.data.frames import Frame
from tinygrad_ce.data.kinds import Cells, Number, Text, as_cells, as_text
from tinygrad_ce.data.layout import Layout
from tinygrad_ce.data.readers import DataError

__all__ = ["Table", "load_rows", "load_table"]


class Found(NamedTuple):
    """What was found out of a table."""

    plan: Plan
    """What became of its columns; it repeats that for new rows."""
    notes: Sequence[str]
    """What should make one pause."""
    layout: Layout
    """How the file is written."""


class Table(Dataset):
    """A Dataset from a table: ``x, y, classes = table``.

    Example:
        >>> import pathlib, tempfile, tinygrad_ce as tg
        >>> path = pathlib.Path(tempfile.mkdtemp(), "birds.csv")
        >>> _ = path.write_text("bill,island,kind\\n38.8,Dream,a\\n47.5,Biscoe,b\\n39.0,Biscoe,a\\n46.1,Dream,b\\n")
        >>> table = tg.data.load_table(path)
        >>> table.x.shape, table.classes
        ((4, 3), ('a', 'b'))
    """

    plan: Plan
    """What became of its columns; it repeats that for new rows."""
    notes: Sequence[str] = ()
    """What should make one pause."""
    layout: Layout
    """How the file is written."""

    def _replace(self, **fields: Any) -> Table:
        """A Table of other rows, with the same plan."""
        made = super()._replace(**fields)
        vars(made).update(vars(self))
        return made


def load_table(
    source: Any, label: int | str | None = None, *, plan: Plan | None = None, header: bool | None = None,
    drop: Sequence[str] = (), category: Sequence[str] = (), number: Sequence[str] = (), missing: Sequence[str] = (),
    quantity: bool = False, scaled: bool = True, held: Sequence[float] = (),
) -> Table:  # fmt: skip
    """A table of numbers, texts, dates, with some missing, as a data set: what each column is is found out.

    Separator, quotes, decimal commas, encoding, gzip and a line of names are recognised. The columns become features
    by a plan, ``table.plan``, that ``print`` shows and that new rows are read by. Rows without a label are left out.

    Args:
        source: a file: .csv, .tsv, .txt, .dat, also with .gz; or a DataFrame of pandas or polars, a pyarrow.Table
            (these three need the extra ``tables``), or a dict of columns.
        label: the label's column, by name or position; the last unless given, or that of the plan.
        plan: that of another table, to be repeated. Its classes come first.
        header: whether the first line is one of names, if that can't be seen.
        drop: columns to leave out.
        category: columns to take as categories, as codes that are numbers.
        number: columns to take as numbers.
        missing: words that say that a value is missing, beside those that usually do.
        quantity: take labels for classes even if they look like quantities.
        scaled: whether a table of nothing but numbers, which float32 holds as they are, is scaled as others are; a
            model that begins with ``nn.Standardize`` doesn't need it.
        held: the fractions that ``tg.data.split`` will hold out, one after the other, with its seed 0: medians and
            scales are those of the other rows. Of all rows, unless given.

    Raises:
        DataError: the file, the line, the column, what stands there and what was expected; of columns all faulty ones.

    Example:
        >>> import tempfile, tinygrad_ce as tg
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "birds.csv"
        >>> _ = path.write_text("bill;island;kind\\n39,1;Reef;a\\n;Hill;b\\n41,5;Reef;a\\n")
        >>> table = tg.data.load_table(path, "kind")
        >>> print(table.plan)
        bill    number, median 40.3, some missing
        island  category, 2 values
        >>> table.x.shape, table.classes
        ((3, 4), ('a', 'b'))
    """
    with _reading(source) as source:
        found, place, kinds = located(source, label, plan, header)
        name, in_memory = found.names[place], isinstance(source, Frame)
        cells = _read(source, found, {name, *category, *texts_of(kinds, found)})
        line = _line_of(source, found)
        labels = as_text(cells.pop(name)).without(plan.missing if plan else missing)
        known, notes = plan is not None, list[str]()
        if plan is None:
            frame, mark = Frame(cells, getattr(source, "codes", ())), None if in_memory else found.decimal
            plan, notes = plan_of(
                found, place, frame, labels, line, mark, drop=drop, category=category, number=number,
                missing=missing, quantity=quantity, scaled=scaled, held=held,
            )  # fmt: skip
            kinds = {column.name: column for column in plan.columns}
        classes, y = class_index(name, labels, plan, line)
        own_cells = {column.name: cells[own] for own, column in kinds.items()}
        x = plan.rows(own_cells, line, found.decimal, notes.append if known else None)
        unlabelled = int((y < 0).sum())
        if known and unlabelled:
            notes.append(pauses.without(unlabelled))
        elif not known:
            notes = [*pauses.of_labels(classes, np.bincount(y[y >= 0], minlength=len(classes)), unlabelled), *notes]
        table = Table(*_labelled(x, y), classes)
        table.plan, table.notes, table.layout = plan, notes, found
        return table


def plan_of(
    found: Layout, place: int, frame: Frame, labels: Text, line: Callable[[int], str], decimal: str | None, *,
    drop: Sequence[str] = (), category: Sequence[str] = (), number: Sequence[str] = (), missing: Sequence[str] = (),
    quantity: bool = False, scaled: bool = True, held: Sequence[float] = (),
) -> tuple[Plan, list[str]]:  # fmt: skip
    """The plan of a table, of which these are the cells and labels, and what should make one pause in its columns."""
    name = found.names[place]
    classes, y = class_index(name, labels, None, line)
    pauses.check_quantity(name, classes, len(y), quantity)
    made = Plan.of(
        frame, labels, drop=drop, category=category, number=number, decimal=decimal, line=line,
        rows=_measured(y, len(classes), held), missing=missing,
    )  # fmt: skip
    made = made if scaled or not made.plain else made.unscaled()
    plan = made._replace(label=name, place=place, named=found.named, classes=classes)
    return plan, [*pauses.of(frame.cells, plan, y, line), *pauses.of_writing(frame.cells, plan, found.decimal)]


def of_frame(where: str, frame: Any, labels: Any, plan: Plan | None = None) -> Table:
    """A DataFrame and its labels: their column's name, or one for each row, of which whole numbers stay as they are."""
    if isinstance(labels, str):
        return load_table(frame, labels, plan=plan, scaled=False)
    with _reading(frame) as source:
        names, classes, y = _labels_beside(labels, plan)
        notes: list[str] = []
        if plan is None:
            plan = Plan.of(source, names)
            plan = (plan.unscaled() if plan.plain else plan)._replace(classes=classes)
            if y.ndim == 1 and y.dtype.kind == "i" and len(y) >= pauses.FEW:
                notes = pauses.of_leaks(source.cells, plan, y)
        pair = plan.rows(source), y
        table = Table(*as_dataset(where, (*pair, classes) if classes else pair))
        table.plan, table.notes = plan, notes
        return table


def _labels_beside(labels: Any, plan: Plan | None) -> tuple[Text | None, tuple[str, ...], np.ndarray]:
    """Labels as text, the names of the classes if they have any, and the class of each row, or soft targets."""
    y = np.asarray(labels)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y  # a frame of one column
    if y.ndim > 1:
        return None, (), y
    names = as_text(as_cells(y))
    if y.dtype.kind not in "fiu":
        return names, *class_index("of labels", names, plan, "row {}".format)
    if y.dtype.kind == "f" and not (y % 1 > 0).any():  # whole but for missing ones
        y = np.where(np.isnan(y), -100, y).astype(np.int64)
    return names, plan.classes if plan else (), y


def _measured(y: np.ndarray, classes: int, held: Sequence[float]) -> np.ndarray:
    """The rows that have a label, but for those that splits hold out, one after the other."""
    rows = np.flatnonzero(y >= 0)
    for fraction in held if 2 * classes <= len(rows) else ():
        rows = rows[~held_rows(y[rows], fraction, 0)]
    return rows


def _labelled(x: np.ndarray, y: np.ndarray) -> Pair:
    """The rows that have a label."""
    kept = y >= 0
    return (x, y) if kept.all() else (x[kept], y[kept])


def load_rows(
    source: Any, plan: Plan, *, header: bool | None = None, tell: Callable[[str], object] | None = None
) -> np.ndarray:  # fmt: skip
    """The features of a table's rows, in order, by the plan of another; the label may be there or not.

    Args:
        source: a file or a DataFrame, as ``load_table`` takes it.
        plan: that of the table trained on.
        header: whether the first line is one of names, if that can't be seen.
        tell: is given a line for each column with what the training didn't see: other values, missing ones, units.

    Raises:
        DataError: columns that aren't there, or cells that aren't what their column is.

    Example:
        >>> import tempfile, tinygrad_ce as tg
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "old.csv").write_text("size,kind\\n1,a\\n2,b\\n3,b\\n")
        >>> _ = (folder / "new.csv").write_text("colour,size\\nred,2\\n")
        >>> tg.data.load_rows(folder / "new.csv", tg.data.load_table(folder / "old.csv").plan)
        array([[0.]], dtype=float32)
    """
    with _reading(source) as source:
        found = find(source, plan, header)
        kinds = _matched(found, plan, _place_of_plan(found, plan))
        cells = _read(source, found, texts_of(kinds, found))
        line = _line_of(source, found)
        return plan.rows({column.name: cells[own] for own, column in kinds.items()}, line, found.decimal, tell)


@contextlib.contextmanager
def _reading(source: Any) -> Iterator[Any]:
    """The path of a file, or a DataFrame as columns; what is wrong gets its name."""
    if not frames.is_frame(source):
        with readers.reading(source):
            yield source
        return
    try:
        yield frames.read(source)
    except Damage as error:
        raise DataError(f"the {type(source).__name__}: {error}") from None


def find(source: Any, plan: Plan | None, header: bool | None) -> Layout:
    """How a table of new rows is written, whose names a plan knows."""
    known = [name for name, kind in plan.columns if kind.features] if plan and plan.named else []
    return _layout(source, known, header, plan)


def located(
    source: Any, label: int | str | None, plan: Plan | None, header: bool | None
) -> tuple[Layout, int, dict[str, Column]]:
    """How a table is written, where its label stands, and what a plan says of its columns."""
    if label is None:
        label = plan.label if plan and plan.named else None
    found = _layout(source, [label] if isinstance(label, str) else [], header, plan)
    place = _label_place(found, plan, label)
    return found, place, _matched(found, plan, place)


def _layout(source: Any, known: Sequence[str], header: bool | None, plan: Plan | None) -> Layout:
    if isinstance(source, Frame):
        return Layout("", ",", '"', "", 0, True, tuple(source.cells), ())
    if plan and not plan.named and header is None:  # then there is no line of names, unless it can be nothing else
        found = layout.find(source, (), False)
        kinds = _matched(found, plan, _place_of_plan(found, plan))
        cells = dict(zip(found.names, found.sample[0], strict=True))
        header = any(isinstance(kind, Number) and layout.is_text(cells[own]) for own, (_, kind) in kinds.items())
    return layout.find(source, known, header)


def cells_of(path: Any, found: Layout) -> Iterator[list[str]]:
    """A table's rows as they stand in it."""
    with layout.opened(path, found.encoding) as text:
        for _, row in layout.cells(text, found):
            yield row


def _place_of_plan(found: Layout, plan: Plan) -> int | None:
    """The position of the label's column of a plan, if it is there."""
    if plan.named and found.named:
        return found.names.index(plan.label) if plan.label in found.names else None
    return plan.place if len(found.names) == len(plan.columns) + 1 else None


def _label_place(found: Layout, plan: Plan | None, label: int | str | None) -> int:
    """The position of the label's column."""
    names = found.names
    if len(names) < 2:
        separated = ", separated by commas, semicolons or the like" if found.encoding else ""
        raise Damage(f"{len(names)} column, expected features and a label{separated}")
    if str(label) in names:
        return names.index(str(label))
    place: int | str | None = -1 if label is None else label
    if plan is not None and label in (None, plan.label):
        place = _place_of_plan(found, plan)
    if isinstance(place, int) and -len(names) <= place < len(names):
        return place % len(names)
    near = [name for name in names if name.lower() == str(label).lower()]
    near = near or difflib.get_close_matches(str(label), names, 1)
    hint = f"; did you mean {arrays.shown(near[0])}?" if near else ""
    raise Damage(f"no column {arrays.shown(label)}; the columns are {strict.columns(names)}{hint}")


def _matched(found: Layout, plan: Plan | None, place: int | None) -> dict[str, Column]:
    """What a plan says of a file's columns: by their names, or by their positions where one of both has no names."""
    if plan is None:
        return {}
    if plan.named and found.named:
        return {column.name: column for column in plan.columns if column.name in found.names}
    others = [name for i, name in enumerate(found.names) if i != place]
    if len(others) != len(plan.columns):
        more = " and the label" if place is None else ""
        raise Damage(f"rows of {len(found.names)} columns without names, expected {len(plan.columns)}{more}")
    return dict(zip(others, plan.columns, strict=True))


def texts_of(kinds: dict[str, Column], found: Layout) -> set[str]:
    """The columns that are no numbers, or whose numbers had another decimal mark than the file: every sign counts."""
    marks = ("", found.decimal) if found.decimal else ("", ".", ",")
    return {n for n, column in kinds.items() if not isinstance(column.kind, Number) or column.kind.decimal not in marks}


def _read(source: Any, found: Layout, texts: Iterable[str]) -> dict[str, Cells]:
    """All columns: numbers, or text where a cell is neither a number nor missing, or where text is wanted."""
    return dict(source.cells) if isinstance(source, Frame) else chunks.read(source, found, texts)


def _line_of(source: Any, found: Layout) -> Callable[[int], str]:
    """What names a row in messages."""
    return "row {}".format if isinstance(source, Frame) else chunks.line_of(source, found)


# Labels


def class_index(
    name: str, labels: Text, plan: Plan | None, line: Callable[[int], str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the classes, those of a plan first, and the class of each row, -100 where it is missing."""
    for code, value in enumerate(labels.values):
        if not arrays.is_printable(value):
            where = f"{line(int((labels.codes == code).argmax()))}, column {arrays.word(name)}"
            raise Damage(f"{where}: {arrays.shown(value)}, expected a class name without control characters")
    if not labels.values:
        raise Damage(f"column {arrays.word(name)}: no row has a label, expected some; name another column with --label")
    index, classes = naming.class_index(labels.values)
    names = {value: classes[i] for value, i in index.items()}
    if plan is not None:
        find = naming.finder(plan.classes)
        names = {value: naming.plain(value) if (i := find(value)) is None else plan.classes[i] for value in index}
        classes = list(dict.fromkeys([*plan.classes, *sorted(names.values())]))
    place = {known: i for i, known in enumerate(classes)}
    found = [place[names[value]] for value in labels.values]
    return tuple(classes), labels.spread(found, -100).astype(np.int64)
