"""Tables larger than memory: their features, by a plan that a sample tells, in temporary files without a name."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

import numpy as np

from tinygrad_ce.data import arrays, chunks, pauses, readers, sources, tables
from tinygrad_ce.data.arrays import Damage
from tinygrad_ce.data.columns import Column, Plan
from tinygrad_ce.data.frames import Frame
from tinygrad_ce.data.kinds import Text, as_text
from tinygrad_ce.data.layout import Layout
from tinygrad_ce.data.sources import Arrays, Indices

SAMPLE = 1 << 26  # bytes of a table that medians, scales and kinds of columns are found out of
_STEP = 1 << 16  # labels that are turned into class indices together


class _Rows(NamedTuple):
    """Features and labels, mapped from files, and of each different label its first row."""

    x: np.ndarray
    codes: np.ndarray
    labels: dict[str, int]
    missing: int
    """How many rows had no label, and were left out."""


def spool(
    path: Any, label: int | str | None, classes: Sequence[str] | None, block: int, *, plan: Plan | None = None,
    header: bool | None = None, category: Sequence[str] = (), missing: Sequence[str] = (), **options: Any,
) -> tuple[Arrays, tuple[str, ...], tables.Found]:  # fmt: skip
    """A table's rows as a source of a stream, the names of its classes, and what was found out of it.

    The kinds of columns, medians and scales are those of a sample, chunks of rows spread over the file; a table no
    larger than that is its own sample.

    Args:
        path: the file.
        label: the label's column; the last unless given, or that of the plan.
        classes: all there may be, if they are known.
        block: the bytes of a block.
        plan: that of another table, to be repeated.
        header: whether the first line is one of names.
        category: columns to take as categories.
        missing: words that say that a value is missing.
        options: others of ``tables.plan_of``.
    """
    with readers.reading(path):
        found, place, kinds = tables.located(path, label, plan, header)
        name, notes, every = found.names[place], list[str](), max(1, -(-found.size // SAMPLE))
        known = Plan([], classes=tuple(classes)) if classes is not None else plan
        made = plan
        if made is None:
            cells = chunks.read(path, found, {name, *category}, every)
            labels, line = as_text(cells.pop(name)).without(missing), chunks.line_of(path, found, every)
            made, notes = tables.plan_of(
                found, place, Frame(cells), labels, line, found.decimal, category=category, missing=missing, **options
            )
            kinds = {column.name: column for column in made.columns}
        rows = _written(path, found, place, made, kinds)
        first, line = list(rows.labels.values()), chunks.line_of(path, found)
        text = Text(np.arange(len(first)), list(rows.labels))
        names, index = tables.class_index(name, text, known, lambda code: line(first[code]))
        if classes is not None and (more := names[len(classes) :]):
            where = f"{line(first[index.tolist().index(len(classes))])}, column {arrays.word(name)}"
            raise Damage(f"{where}: {arrays.shown(more[0])}, expected one of {arrays.listed(list(classes))}")
        counts = _indexed(rows.codes, index, len(names))
        if plan is None:
            notes = [*pauses.of_labels(names, counts, rows.missing), *notes]
            sampled = f"columns were looked at in every {every}th part of the table: medians and scales are that part's"
            notes += [sampled] * (every > 1)
        elif rows.missing:
            notes = [pauses.without(rows.missing)]
        indices = Indices(names)
        source = Arrays(str(path), rows.x, rows.codes, indices, block)
        return source, indices.done(str(path), len(rows.x)), tables.Found(made._replace(classes=names), notes, found)


def _written(path: Any, found: Layout, place: int, plan: Plan, kinds: dict[str, Column]) -> _Rows:
    """The features of all rows that have a label."""
    used = {found.names.index(own): column for own, column in kinds.items() if column.features}
    if not used:
        raise Damage(
            f"no column is left to learn from, expected some beside the label, {arrays.word(found.names[place])}"
        )
    texts, line = tables.texts_of(kinds, found), chunks.line_of(path, found)
    codes, labels, start, count = dict[str, int](), dict[str, int](), 0, 0
    with _temporary(path) as x_file, _temporary(path) as y_file:
        for chunk in chunks.chunks(path, found):
            cells = {column.name: chunks.cells(chunk, i, found.names[i] in texts) for i, column in used.items()}
            x = plan.rows(cells, lambda row, start=start: line(start + row), found.decimal)  # type: ignore[misc]
            own, values = Text.merged(*chunk.texts(place)).without(plan.missing)
            for code, value in enumerate(values):
                if value not in codes:
                    codes[value], labels[value] = len(codes), start + int((own == code).argmax())
            if len(codes) > sources._MOST_CLASSES:
                raise Damage(
                    f"more than {sources._MOST_CLASSES:,} different labels, expected fewer; are these class labels?"
                )
            there = own >= 0
            x_file.write(x[there].data)
            y_file.write(np.array([codes[value] for value in values], np.int64)[own[there]].data)
            start, count = start + chunk.count, count + int(there.sum())
        if not count:
            raise Damage(f"column {arrays.word(found.names[place])}: no row has a label, expected some")
        x_file.flush()
        y_file.flush()
        x = np.memmap(x_file, np.float32, "r", shape=(count, len(plan.features)))
        return _Rows(x, np.memmap(y_file, np.int64, "r+", shape=(count,)), labels, start - count)


@contextlib.contextmanager
def _temporary(path: Any) -> Iterator[IO[bytes]]:
    """A file without a name, which is gone when nothing maps it any more."""
    with tempfile.TemporaryFile() as file:
        try:
            yield file
        except OSError as error:
            if error.errno == errno.ENOSPC:
                error.filename = tempfile.gettempdir()
                error.strerror = f"no room for the features of {path}; the variable TMPDIR names another folder"
            raise


def _indexed(codes: np.ndarray, index: np.ndarray, classes: int) -> np.ndarray:
    """Turn labels into class indices, in place; how many rows each class has."""
    counts = np.zeros(classes, np.int64)
    for first in range(0, len(codes), _STEP):
        piece = codes[first : first + _STEP] = index[codes[first : first + _STEP]]
        counts += np.bincount(piece, minlength=classes)
    return counts
