"""What train will do, in words and numbers, before it begins."""

from __future__ import annotations

import argparse
import itertools
import textwrap
from typing import NamedTuple

import numpy as np

from tinygrad_ce.cli.options import OPTIMIZERS
from tinygrad_ce.cli.sources import MEASURED, Parts

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
        words = ", ".join(f"{name} {_mib(size)}" for name, size in self._asdict().items())
        return f"about {_mib(sum(self))} MiB: {words}"


def _mib(size: int) -> str:
    return f"{size / 2**20:,.{1 if size >= 2**20 else 3}f}"


def memory(args: argparse.Namespace, parts: Parts) -> Memory:
    """The memory that a training will take at most, to within a factor of 2."""
    layers = [parts.features, *args.hidden, len(parts.classes)]
    kept = 1 + _REMEMBERED[args.optimizer]
    copies = 2 * kept + 1 + kept + bool(args.patience) + 3 * bool(args.ema)
    rows = min(args.batch_size, parts.rows.train)
    # The features, standardised; what each layer and its activation give; on the way back one gradient at a time.
    step = rows * (2 * parts.features + 2 * sum(layers[1:]) + max(layers))
    measured = min(MEASURED, max(parts.rows)) * (
        2 * parts.features + max(a + 2 * b for a, b in itertools.pairwise(layers))
    )
    return Memory(parts.bytes, _NUMBER * copies * parameters(layers), _NUMBER * max(step, measured))


def parameters(layers: list[int]) -> int:
    """How many numbers a model of these widths learns."""
    return sum((width + 1) * out for width, out in itertools.pairwise(layers))


def words(args: argparse.Namespace, parts: Parts, done: int) -> str:
    """What a training will do, in aligned lines, after so many epochs. Rate and epochs are those in effect."""
    layers = [parts.features, *args.hidden, len(parts.classes)]
    steps = -(-parts.rows.train // (args.batch_size * args.accumulate))
    between = f" with {args.activation}" if args.hidden else ""
    lines = {
        "data": f"{' '.join(args.data)}: {_rows(parts)}",
        "": f"{parts.features:,} features, {len(parts.classes):,} classes of {_span(parts.each)} rows",
        "model": f"{' -> '.join(map(str, layers))}{between}, {parameters(layers):,} parameters",
        "optimiser": _optimiser(args),
        "steps": f"{args.epochs:,} epochs of {steps:,} steps = {args.epochs * steps:,}, {_size(args)}",
        "memory": str(memory(args, parts)),
        "run": f"{args.run}/" + (f", goes on after epoch {done}" if args.resume else ""),
    }
    return "\n".join(
        textwrap.fill(line, 100, initial_indent=f"{name:<11}", subsequent_indent=" " * 11, break_on_hyphens=False)
        for name, line in lines.items()
    )


def _rows(parts: Parts) -> str:
    train, validation, test = parts.rows
    between = f"{validation:,} for validation, " if validation else ""
    return f"{train:,} rows to train on, {between}{test:,} held out for the test"


def _span(counts: np.ndarray) -> str:
    least, most = int(counts.min()), int(counts.max())
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _optimiser(args: argparse.Namespace) -> str:
    options = "".join(f" with {name} {value:g}" for name, value in OPTIMIZERS[args.optimizer][1].items())
    more = {
        "{} schedule": None if args.schedule == "constant" else args.schedule,
        "warm-up of {} epochs": args.warmup or None,
        "gradient clipped to a norm of {:g}": args.clip,
        "moving average of the weights with decay {:g}": args.ema,
        "class weights {}": args.class_weight,
        "stops {} epochs after the best": args.patience,
    }
    words = [text.format(value) for text, value in more.items() if value is not None]
    return ", ".join([f"{args.optimizer}{options}", f"learning rate {args.lr:g}", *words])


def _size(args: argparse.Namespace) -> str:
    rows = f"{args.batch_size * args.accumulate:,} rows in each"
    return rows if args.accumulate == 1 else f"{rows}, in {args.accumulate} batches"
