"""The commands that use a trained model: evaluate and predict."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any

import numpy as np

from tinygrad_ce import data, nn, ops
from tinygrad_ce.cli import config, inputs
from tinygrad_ce.cli.runs import open_model
from tinygrad_ce.cli.summary import score, table
from tinygrad_ce.cli.tables import write_rows
from tinygrad_ce.common.files import replacing
from tinygrad_ce.common.words import normal
from tinygrad_ce.data import layout, tables
from tinygrad_ce.data.arrays import listed
from tinygrad_ce.data.columns import Plan
from tinygrad_ce.data.dataset import Pair
from tinygrad_ce.data.strict import columns
from tinygrad_ce.train import logits
from tinygrad_ce.train.rows import MEASURED, Rows

_NO_TABLE = "no table, expected one with the columns that the model was trained on"


def evaluate(args: argparse.Namespace) -> int:
    """Measure a model: on the rows that its training held out, or on all rows of DATA."""
    model, about, path = open_model(args.model)
    trained = config.settings(path.with_name(config.FILE)) if config.is_run(path.parent) else None
    where, note = " ".join(args.data), ""
    if args.data:
        if args.label is None and layout.is_table(args.data[0]):
            args.label = None if "columns" in about else about.get("label")  # a plan finds it itself
        rows, names = _given(args, about)
        if trained is not None and args.data == trained.data:
            note = "It was trained on most of them: without DATA it is measured on those held out.\n"
    elif trained is None or not trained.data:
        raise ValueError(f"{path}: a model without its run, so nothing tells its data; give DATA")
    else:
        where = " ".join(trained.data)
        _, rows, names = divided(trained, about, where, "; to measure the model on all rows of a file give DATA")
        note = "Its training held them out.\n"
    found = score(model, _matched(rows, names, where, about), len(about["classes"]))
    print(f"{found} of {where}\n{note}\n{table(found.confusion, about['classes'])}")
    return 0


def _given(args: argparse.Namespace, about: dict[str, Any]) -> tuple[Rows, list[str]]:
    """The rows that DATA means, a table's by the plan of the training."""
    plan = _plan(about)
    loaded = inputs.load(args, plan, strict=plan is None)
    if plan is not None and not plan.raw and loaded.table is None:
        raise ValueError(f"{' '.join(args.data)}: {_NO_TABLE}")
    for note in loaded.table.notes if loaded.table is not None else ():
        _tell(args.data[0], note)
    return loaded.rows, loaded.names


def _tell(path: Any, words: str) -> None:
    """Say what should make one pause, a line on standard error."""
    print(f"tinygrad-ce: warning: {path}: {words}", file=sys.stderr)


def _plan(about: dict[str, Any]) -> Plan | None:
    return Plan.from_json(about["columns"]) if "columns" in about else None


def divided(
    trained: argparse.Namespace, about: dict[str, Any], where: str, hint: str = ""
) -> tuple[Rows, Rows, list[str]]:
    """The rows that a training was given, those that it held out, and the names of the features."""
    try:
        rows, names = _given(trained, about)
    except FileNotFoundError as error:
        words = f"not found; a run's data is looked for from where it was trained{hint}"
        raise FileNotFoundError(f"{error.filename or error}: {words}") from None
    total, before = len(rows), sum(about.get("rows", []))
    if total != before:
        raise ValueError(
            f"{where}: {total:,} rows, expected the {before:,} of the training: others would be held out now{hint}"
        )
    return *rows.split(inputs.TEST, 0), names


def _matched(rows: Rows, names: list[str], where: str, about: dict[str, Any]) -> Iterator[Pair]:
    """Rows in pieces, with the model's features and classes, which the files name in any order."""
    place = {normal(name): i for i, name in enumerate(about["classes"])}
    index = np.array([place.get(normal(name), -1) for name in rows.classes])
    picked = _columns(names, where, about)
    for x, y in inputs.pieces(rows):
        if y.ndim > 1:
            raise ValueError(f"{where}: soft targets of shape {y.shape[1:]}, expected a class index for each row")
        x, y = x[y >= 0], y[y >= 0]
        if unknown := [rows.classes[i] for i in np.unique(y[index[y] < 0])]:
            raise ValueError(f"{where}: classes {listed(unknown)}, expected the model's: {listed(about['classes'])}")
        x = x if picked is None else x[:, picked]
        if x.shape[1] != about["features"]:
            raise ValueError(f"{where}: rows of {x.shape[1]} features, expected the model's {about['features']}")
        yield x, index[y]


def _columns(names: Sequence[str], where: str, about: dict[str, Any]) -> list[int] | None:
    """Where the model's features stand, if file and model both name theirs."""
    wanted = about.get("names", [])
    if not names or not wanted:
        return None
    for name in wanted:
        if list(names).count(name) != 1:
            there = "more than one column" if name in names else "no column"
            raise ValueError(f"{where}: {there} {name!r}, which the model was trained on; there are {columns(names)}")
    return [names.index(name) for name in wanted]


def predict(args: argparse.Namespace) -> int:
    """Write the class of each row, and the probability of every class."""
    model, about, path = open_model(args.model)
    for read in (args.file, path):
        if args.output is not None and args.output.exists() and args.output.samefile(read):
            raise ValueError(f"--output {args.output}: the file that is read; choose another")
    x = _features(args, about)
    kept, names = _kept(args, about) if args.keep else (itertools.repeat([], len(x)), ())
    pieces = (x[first : first + MEASURED] for first in range(0, len(x), MEASURED))
    answers = (row for piece in pieces for row in _answers(model, piece, about["classes"]))
    rows = ([*before, *answer] for before, answer in zip(kept, answers, strict=False))
    with _output(args.output) as file:
        write_rows(file, [*names, "prediction", *(f"p({name})" for name in about["classes"])], rows)
    if args.output is not None:
        print(f"{len(x):,} predictions in {args.output}")
    return 0


def _features(args: argparse.Namespace, about: dict[str, Any]) -> np.ndarray:
    """The rows to predict, a table's by the plan of the training."""
    plan = _plan(about)
    if plan is not None and layout.is_table(args.file):
        return tables.load_rows(args.file, plan, header=inputs.header(args), tell=lambda words: _tell(args.file, words))
    hint = layout.hint(args.file)
    if hint or (plan is not None and not plan.raw):
        raise ValueError(f"{args.file}: {_NO_TABLE}{hint}")
    return data.load_features(args.file, about["features"], about.get("names", ()))


def _kept(args: argparse.Namespace, about: dict[str, Any]) -> tuple[Iterator[list[str]], Sequence[str]]:
    """The table's own cells, and the names of its columns."""
    if not layout.is_table(args.file):
        raise ValueError(f"--keep is for a table; {args.file} is none")
    found = tables.find(args.file, _plan(about), inputs.header(args))
    return tables.cells_of(args.file, found), found.names


def _answers(model: nn.Module, x: np.ndarray, classes: Sequence[str]) -> Iterator[list[str]]:
    """A row's class and its probabilities, in as many digits as tell them from others in float32."""
    output = logits(model, x)
    for best, row in zip(output.argmax(axis=1), ops.softmax(output), strict=True):
        yield [classes[best], *map(str, row)]


def _output(path: Path | None) -> AbstractContextManager[IO[str]]:
    """Standard output, a device, or a file that is written whole or not at all."""
    if path is None:
        return nullcontext(sys.stdout)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--output {path}: the folder {path.parent} does not exist")
    return replacing(path, text=True)
