"""How good a model is on some rows: loss, accuracy and a table of what was confused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce import losses
from tinygrad_ce.cli.wording import counted
from tinygrad_ce.train import confusion_matrix, logits, precision_recall


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
        confusion += confusion_matrix(output.argmax(axis=1), y, classes)
    return Score(loss / max(int(confusion.sum()), 1), confusion)


def table(confusion: np.ndarray, classes: Sequence[str]) -> str:
    """A confusion matrix as text, with recall beside it and precision below."""
    precision, recall = precision_recall(confusion)
    width = max(4, *(len(name) for name in classes), len(str(confusion.max()))) + 1
    label = max(width, len("precision") + 1)
    lines = ["rows: what it is; columns: what was predicted"]
    lines.append(" " * label + "".join(f"{name:>{width}}" for name in classes) + "   recall")
    for name, counts, fraction in zip(classes, confusion, recall, strict=True):
        cells = "".join(f"{count if count else '.':>{width}}" for count in counts)
        lines.append(f"{name:>{label}}{cells}   {fraction:6.3f}")
    lines.append(f"{'precision':>{label}}" + "".join(f"{fraction:>{width}.2f}" for fraction in precision))
    return "\n".join(lines)
