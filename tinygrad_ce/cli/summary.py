"""What the command line says: of a training before it begins, and of a model that was measured."""

from __future__ import annotations

import argparse
import itertools
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce import losses
from tinygrad_ce.cli.arguments import OPTIMIZERS
from tinygrad_ce.cli.inputs import Parts
from tinygrad_ce.cli.wording import counted
from tinygrad_ce.common.words import visible
from tinygrad_ce.data.arrays import word
from tinygrad_ce.train import confusion_matrix, logits, precision_recall
from tinygrad_ce.train.rows import MEASURED

_SHOWN = 30  # classes of a confusion matrix that are printed and drawn
_NUMBER = 4  # bytes of a float32
_REMEMBERED = {"sgd": 1, "adam": 2, "adamw": 2}  # arrays that an optimiser keeps of each parameter


class Memory(NamedTuple):
    """Bytes that a training takes beside the program itself."""

    data: int
    """Rows in memory, and once more while they are divided; of a stream, the blocks that it reads."""
    parameters: int
    """Weights, gradients and what the optimiser keeps, each as it is and as it was a step before, and their copies."""
    activations: int
    """What a step computes, or the measuring of the rows held out, whichever is more."""

    def __str__(self) -> str:
        words = ", ".join(f"{name} {_bytes(size)}" for name, size in self._asdict().items())
        return f"about {_bytes(sum(self))}: {words}"


def _bytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"


def memory(args: argparse.Namespace, parts: Parts) -> Memory:
    """The memory that a training will take at most, to within a factor of 2."""
    layers = [parts.features, *args.hidden, len(parts.classes)]
    kept = 1 + _REMEMBERED[args.optimizer]
    copies = 2 * kept + 1 + kept + bool(args.patience) + 3 * bool(args.ema)
    rows = min(args.batch_size, parts.rows.train)
    # The features, standardised; what each layer and its activation give; on the way back one gradient at a time.
    step = rows * (2 * parts.features + 2 * sum(layers[1:]) + max(layers))
    widest = max(a + 2 * b for a, b in itertools.pairwise(layers))
    measured = min(MEASURED, max(parts.rows)) * (2 * parts.features + widest)
    return Memory(parts.bytes, _NUMBER * copies * parameters(layers), _NUMBER * max(step, measured))


def parameters(layers: list[int]) -> int:
    """How many numbers a model of these widths learns."""
    return sum((width + 1) * out for width, out in itertools.pairwise(layers))


def plan(args: argparse.Namespace, parts: Parts, found: str) -> str:
    """What a training will do, in aligned lines, with the run that it found. Rate and epochs are those in effect."""
    layers = [parts.features, *args.hidden, len(parts.classes)]
    steps = -(-parts.rows.train // (args.batch_size * args.accumulate))
    each = f"{counted(args.epochs, 'epoch')} of {counted(steps, 'step')}"
    between = f" with {args.activation}" if args.hidden else ""
    lines = [
        ("data", f"{visible(' '.join(args.data))}: {_rows(parts)}"),
        ("", f"{counted(parts.features, 'feature')}, {len(parts.classes):,} classes of {_span(parts.each)}"),
        *_columns(parts),
        ("model", f"{' -> '.join(map(str, layers))}{between}, {parameters(layers):,} parameters"),
        ("optimiser", _optimiser(args)),
        ("steps", f"{each} = {args.epochs * steps:,}, {_size(args, parts)}"),
        ("memory", str(memory(args, parts))),
        ("run", ", ".join(filter(None, [f"{args.run}/", found, _passed_over(args)]))),
    ]
    return "\n".join(
        textwrap.fill(line, 100, initial_indent=f"{name:<11}", subsequent_indent=" " * 11, break_on_hyphens=False)
        for name, line in lines
    )


def _passed_over(args: argparse.Namespace) -> str:
    """That a config names another folder, which only the command line can choose."""
    named = getattr(args, "passed_over", None)
    return f"not the config's {visible(str(named))}/, which takes --run" if named not in (None, args.run) else ""


def _columns(parts: Parts) -> list[tuple[str, str]]:
    """How a table is written, what its columns are, and what should make one pause."""
    if parts.table is None:
        return []
    written, plan = str(parts.table.layout), str(parts.table.plan).splitlines()
    lines = [("label", word(parts.table.plan.label)), *zip(["columns", *[""] * len(plan)], plan)]  # noqa: B905
    return [("table", written)] * bool(written) + lines + [("note", note) for note in parts.table.notes]


def _rows(parts: Parts) -> str:
    train, validation, test = parts.rows
    between = f"{validation:,} for validation, " if validation else ""
    return f"{counted(train, 'row')} to train on, {between}{test:,} held out for the test"


def _span(counts: np.ndarray) -> str:
    least, most = int(counts.min()), int(counts.max())
    return counted(most, "row") if least == most else f"{least:,} to {most:,} rows"


def _optimiser(args: argparse.Namespace) -> str:
    options = "".join(f" with {name} {value:g}" for name, value in OPTIMIZERS[args.optimizer][1].items())
    more = {
        "{} schedule": None if args.schedule == "constant" else args.schedule,
        "warm-up of {}": counted(args.warmup, "epoch") if args.warmup else None,
        "gradient clipped to a norm of {:g}": args.clip,
        "moving average of the weights with decay {:g}": args.ema,
        "class weights {}": args.class_weight,
        "stops once the loss {}": "stays" if args.stop_early else None,
        "stops {} after the best": counted(args.patience, "epoch") if args.patience else None,
    }
    words = [text.format(value) for text, value in more.items() if value is not None]
    return ", ".join([f"{args.optimizer}{options}", f"learning rate {args.lr:g}", *words])


def _size(args: argparse.Namespace, parts: Parts) -> str:
    size = min(args.batch_size * args.accumulate, parts.rows.train)
    batches = -(-size // args.batch_size)
    return f"{counted(size, 'row')} in each" + (f", in {batches} batches" if batches > 1 else "")


class Score(NamedTuple):
    """What was measured."""

    loss: float
    """The mean over the rows."""
    confusion: np.ndarray
    """Counts, with a row for each true class and a column for each predicted one."""

    def __str__(self) -> str:
        rows = int(self.confusion.sum())
        accuracy = np.trace(self.confusion) / rows
        return f"test accuracy {accuracy:.4f} and loss {self.loss:.4g} on {counted(rows, 'row')}"


def score(model: Any, pieces: Iterable[tuple[np.ndarray, np.ndarray]], classes: int) -> Score:
    """Measure a model on rows that come in pieces (x, y)."""
    loss, confusion = 0.0, np.zeros((classes, classes), np.int64)
    for x, y in pieces:
        output = logits(model, x)
        loss += float(losses.cross_entropy(output, y, reduction="sum"))
        confusion += confusion_matrix(y, output.argmax(axis=1), classes)
    return Score(loss / max(int(confusion.sum()), 1), confusion)


def worst(confusion: np.ndarray) -> np.ndarray:
    """The classes to show: all, or of many those with most mistakes, as rows or as columns; in their order."""
    if len(confusion) <= _SHOWN:
        return np.arange(len(confusion))
    mistakes = confusion.sum(axis=0) + confusion.sum(axis=1) - 2 * confusion.diagonal()
    return np.sort(np.argsort(-mistakes, kind="stable")[:_SHOWN])


def table(confusion: np.ndarray, classes: Sequence[str]) -> str:
    """A confusion matrix as text, with recall beside it and precision below; of many classes, the worst."""
    precision, recall = precision_recall(confusion)
    each, shown = confusion.sum(axis=1), worst(confusion)
    commonest, share = classes[each.argmax()], each.max() / max(each.sum(), 1)
    few = f"the {_SHOWN} of {len(classes):,} classes with most mistakes; " if len(shown) < len(classes) else ""
    classes = [visible(classes[i]) for i in shown]
    precision, recall, confusion = precision[shown], recall[shown], confusion[np.ix_(shown, shown)]
    width = max(4, *(len(name) for name in classes), len(str(confusion.max()))) + 1
    label = max(width, len("precision") + 1)
    lines = [f"{few}rows: what it is; columns: what was predicted"]
    lines.append(" " * label + "".join(f"{name:>{width}}" for name in classes) + "   recall")
    for name, counts, fraction in zip(classes, confusion, recall, strict=True):
        cells = "".join(f"{count if count else '.':>{width}}" for count in counts)
        lines.append(f"{name:>{label}}{cells}   {fraction:6.3f}")
    lines.append(f"{'precision':>{label}}" + "".join(f"{fraction:>{width}.2f}" for fraction in precision))
    lines.append(f"accuracy of always saying {word(visible(commonest))}: {share:.4f}")
    return "\n".join(lines)
