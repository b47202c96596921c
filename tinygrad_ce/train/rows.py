"""Rows: what a training takes its batches from, arrays or a stream, and what each row weighs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.common.words import normal
from tinygrad_ce.data.columns import Plan
from tinygrad_ce.data.dataset import BLOCK, as_dataset, batch_rows, hold_out, moments
from tinygrad_ce.data.frames import is_frame
from tinygrad_ce.data.stream import Stream
from tinygrad_ce.data.tables import of_frame
from tinygrad_ce.losses import validate
from tinygrad_ce.train.team import Team

MEASURED = 4096  # rows that are measured together


class Batch(NamedTuple):
    """Rows that go through the model together."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None = None

    @property
    def counted(self) -> int:
        """How many rows have a label."""
        return int(np.count_nonzero(self.known)) if self.y.ndim == 1 else len(self.y)

    @property
    def known(self) -> Any:
        """Which rows have a label; those that are ignored have a negative one."""
        return self.y >= 0 if self.y.ndim == 1 else slice(None)


class ArrayRows:
    """Rows in memory."""

    def __init__(self, where: str, data: Any, weight: Any = None) -> None:
        self.where = where
        self.data = as_dataset(where, data)
        self.plan: Plan | None = getattr(self.data, "plan", None)  # of a table's columns
        self.weight = None if weight is None else _weights(where, "sample_weight", weight, len(self), "rows")
        self.class_weight: np.ndarray | None = None
        self.classes, self.shape = self.data.classes, self.data.x.shape[1:]  # their names; of a row's features
        self.places = np.arange(len(self))  # where the rows stand in the data that they come from
        self.first = self.data.x[:1]  # the features of a row, as a batch of one
        self.layout = {"rows": len(self)}  # what fixes, beside seed and epoch, the order of the rows

    def __len__(self) -> int:
        return len(self.data.y)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of each feature, piece by piece, so that no second copy of the rows is made."""
        step = max(1, BLOCK // (4 * math.prod(self.shape) + 8))
        return moments(self.shape, (self.data.x[i : i + step] for i in range(0, len(self), step)))

    def check_labels(self, logits: int) -> None:
        """Hold the labels against the number of logits; of one, they are 0 and 1, or anything between, as floats."""
        y, shape = self.data.y, (len(self), max(logits, 2))
        if logits == 1 and y.dtype.kind == "f" and y.shape in (shape[:1], (len(self), 1)):
            validate.check_probabilities(self.where, "y", y)
        elif logits == 1 and y.ndim > 1:
            expected = f"expected {shape[:1]}, labels of 0 and 1, as the model gives one logit in each row"
            raise ValueError(f"{self.where}: y has shape {y.shape} and dtype {y.dtype}, {expected}")
        elif validate.is_soft(y, shape):
            validate.check_soft(self.where, y)
        else:
            validate.check_indices(self.where, y, shape, 1, ignore_index=-100)

    def labels(self) -> Iterable[np.ndarray]:
        """All labels, in pieces."""
        return [self.data.y]

    def split(self, fraction: float, seed: int) -> tuple[ArrayRows, ArrayRows]:
        """Hold out a fraction of the rows."""
        out = hold_out(self.data.y, fraction, seed, self.classes)
        kept, held = self._only(self.where, ~out), self._only(f"{self.where}: validation", out)
        return kept, held

    def _only(self, where: str, rows: np.ndarray) -> ArrayRows:
        data = self.data._replace(x=self.data.x[rows], y=self.data.y[rows])
        part = ArrayRows(where, data, None if self.weight is None else self.weight[rows])
        part.places = self.places[rows]
        return part

    def batches(self, batch_size: int, seed: int, epoch: int, start: int, team: Team) -> Iterator[Batch]:
        """The batches of an epoch from number start on, of each the rows that are computed here."""
        x, y, weight = self.data.x, self.data.y, self.weight
        for rows in batch_rows(team.rows(len(y)), batch_size, seed, epoch, start):
            mine = team.part(rows)
            yield _weighed(x[mine], y[mine], None if weight is None else weight[mine], self.class_weight)

    def all(self, team: Team) -> Iterator[Batch]:
        """All rows in order, in pieces as large as memory may hold; of each those that are computed here."""
        mine = team.slice(len(self))
        yield Batch(self.data.x[mine], self.data.y[mine])


class StreamRows:
    """Rows of a Stream, whose labels it checks as it reads them; it can do what ArrayRows can."""

    def __init__(self, where: str, stream: Stream) -> None:
        self.where = where
        self.stream, self.plan = stream, stream.table and stream.table.plan
        self.class_weight: np.ndarray | None = None
        self.classes, self.shape, self.layout = stream.classes, stream.shape, stream.layout
        self.moments = stream.moments

    def __len__(self) -> int:
        return len(self.stream)

    @property
    def first(self) -> np.ndarray:
        return next(self.stream.batches(1, shuffle=False))[0]

    def check_labels(self, logits: int) -> None:
        if len(self.stream.classes) > max(logits, 2):
            there = len(self.stream.classes)
            raise ValueError(f"{self.where}: the stream has {there} classes, but the model gives {logits} logits")

    def labels(self) -> Iterable[np.ndarray]:
        return (y for _, y in self.stream.batches(MEASURED, shuffle=False))

    def split(self, fraction: float, seed: int) -> tuple[StreamRows, StreamRows]:
        kept, held = self.stream.split(fraction, seed)
        return StreamRows(self.where, kept), StreamRows(f"{self.where}: validation", held)

    def batches(self, batch_size: int, seed: int, epoch: int, start: int, team: Team) -> Iterator[Batch]:
        start = min(start, -(-len(self) // batch_size))  # the last of the batches that share a step may not be there
        for x, y in self.stream.batches(batch_size, seed=seed, epoch=epoch, start=start):
            mine = team.slice(len(y))
            yield _weighed(x[mine], y[mine], None, self.class_weight)

    def all(self, team: Team) -> Iterator[Batch]:
        for x, y in self.stream.batches(MEASURED, shuffle=False):
            mine = team.slice(len(y))
            yield Batch(x[mine], y[mine])


Rows = ArrayRows | StreamRows


def as_rows(where: str, data: Any, weight: Any = None, plan: Plan | None = None) -> Rows:
    """Rows of a Stream, a Dataset or a pair (x, y), of which x may be a DataFrame; weight is one for each row."""
    if isinstance(data, Rows):
        return data
    if isinstance(data, tuple | list) and len(data) == 2 and is_frame(data[0]):
        data = of_frame(where, data[0], data[1], plan)
        for note in data.notes:
            warnings.warn(f"{where}: {note}", stacklevel=4)
    if not isinstance(data, Stream):
        return ArrayRows(where, data, weight)
    if weight is not None:
        raise ValueError(f"{where}: sample_weight is for rows in memory; for a Stream's give class_weight")
    return StreamRows(where, data)


def weights_of_classes(where: str, rows: Rows, given: Any, classes: int, team: Team) -> np.ndarray:
    """What each class weighs: a number for each, a mapping of some by index or name, or "balanced"."""
    if isinstance(given, str):
        if given != "balanced":
            raise ValueError(f"{where}: class_weight is {given!r}, expected 'balanced', a mapping or numbers")
        counts = sum((np.bincount(_index(where, y), minlength=classes) for y in rows.labels()), np.zeros(classes, int))
        counts = team.sum(counts)  # where all have all rows, a multiple: no difference
        return np.asarray(counts.sum() / np.count_nonzero(counts) / np.maximum(counts, 1))
    if isinstance(given, Mapping):
        weight = np.ones(classes)
        for key, value in given.items():
            name = normal(key) if isinstance(key, str) else key
            index = rows.classes.index(name) if name in rows.classes else key
            if not isinstance(index, int | np.integer) or not 0 <= index < classes:
                raise ValueError(f"{where}: class_weight has {key!r}, expected classes of {', '.join(rows.classes)}")
            weight[index] = value
        given = weight
    for y in rows.labels():
        _index(where, y)
        break
    return _weights(where, "class_weight", given, classes, "classes")


def check_weights(where: str, rows: Rows, team: Team) -> None:
    """Refuse weights that leave nothing of any labelled row: the loss would be 0, and nothing be learned."""
    of_rows = rows.weight if isinstance(rows, ArrayRows) else None
    given = {"sample_weight": of_rows, "class_weight": rows.class_weight}
    names = [name for name, weight in given.items() if weight is not None and not weight.all()]
    if not team.sum(np.array([len(names)])).any():
        return
    labelled = heavy = False
    for y in rows.labels():
        part = _weighed(y, y, of_rows, rows.class_weight)
        labelled = labelled or part.counted > 0
        heavy = heavy or bool(part.counted and (part.weight is None or np.any(part.weight[part.known])))
        if heavy:
            break
    labelled, heavy = team.sum(np.array([labelled, heavy], np.int64)).tolist()
    if labelled and not heavy:
        raise ValueError(f"{where}: {' times '.join(names)} is 0 for every labelled row, expected some above 0")


def _index(where: str, y: np.ndarray) -> np.ndarray:
    if y.ndim > 1:
        raise ValueError(f"{where}: class_weight needs class indices, but y has shape {y.shape}: soft targets")
    return y[y >= 0]


def _weights(where: str, name: str, given: Any, count: int, what: str) -> np.ndarray:
    weight = np.asarray(given)
    if weight.shape != (count,) or weight.dtype.kind not in "fiub":
        expected = f"expected a number for each of {count} {what}"
        raise ValueError(f"{where}: {name} has shape {weight.shape} and dtype {weight.dtype}, {expected}")
    wrong = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if wrong.size:
        raise ValueError(f"{where}: {name}[{wrong[0]}] is {weight[wrong[0]]}, expected a finite number ≥ 0")
    return weight


def _weighed(x: np.ndarray, y: np.ndarray, weight: np.ndarray | None, class_weight: np.ndarray | None) -> Batch:
    if class_weight is not None:
        each = class_weight[np.maximum(y, 0)]  # a row that is ignored has no loss to weigh
        weight = each if weight is None else weight * each
    return Batch(x, y, weight)
