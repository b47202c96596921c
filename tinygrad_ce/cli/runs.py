"""A run: the folder that train writes, and how a trained model is found and opened."""

from __future__ import annotations

import argparse
import csv
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce import nn
from tinygrad_ce.cli import config
from tinygrad_ce.cli.wording import counted
from tinygrad_ce.common.files import replacing, write
from tinygrad_ce.study import plot
from tinygrad_ce.train import checkpoint, classifier
from tinygrad_ce.train.callback import Callback
from tinygrad_ce.train.history import History
from tinygrad_ce.train.training import Training


class Run(Callback):
    """A run's folder. Nothing is written to it before the training begins, so an error until then loses nothing.

    Args:
        folder: where it is.
        args: the options in effect.
        comment: the version and the command.
    """

    writes = True

    def __init__(self, folder: Path, args: argparse.Namespace, comment: str) -> None:
        self.folder = folder
        self.args, self.comment = args, comment
        self.done = 0  # epochs of the training that this one goes on from
        self.config = folder / config.FILE
        self.model, self.metrics = folder / "model.npz", folder / "metrics.csv"
        self.confusion, self.figures = folder / "confusion.csv", folder / "figures"
        self.tensorboard = folder / "tensorboard"
        self.drawings = {name: self.figures / f"{name}.png" for name in ("training", "confusion")}

    def check(self, resume: bool) -> None:
        """Refuse a folder that holds other things, and to go on from nothing.

        Raises:
            ValueError: it is no run.
            FileNotFoundError: there is nothing to go on from, or no folder to put it in.
        """
        if self.folder.exists() and not config.is_run(self.folder) and not _is_empty(self.folder):
            raise ValueError(f"--run {self.folder}: exists and is no run of this program; choose another")
        if resume and not self.model.is_file():
            raise FileNotFoundError(f"--resume: {self.model}: there is no such model to go on from")
        if not self.folder.absolute().parent.is_dir():
            raise FileNotFoundError(f"--run {self.folder}: the folder {self.folder.parent} does not exist")

    def replaced(self) -> str:
        """What a training from the beginning replaces, if there is any."""
        if not config.is_run(self.folder):
            return ""
        lines = self.metrics.read_bytes().count(b"\n") if self.metrics.is_file() else 1
        return f"replaces a run of {counted(max(lines - 1, 0), 'epoch')}"

    def make(self) -> None:
        """Make the folder."""
        self.folder.mkdir(exist_ok=True)

    def on_train_begin(self, training: Training) -> None:
        """Write the options. What an earlier training left goes, unless this one goes on from it."""
        if training.epoch >= training.epochs:
            return
        if not training.updates:
            logs = self.tensorboard.glob("*/events.out.tfevents.*")
            for path in (self.model, self.metrics, self.confusion, *self.drawings.values(), *logs):
                path.unlink(missing_ok=True)
        write(self.config, config.as_toml(self.args, f"{config.MARK[2:]}{self.comment}"))

    def on_train_end(self, training: Training) -> None:
        """Give Ctrl-C the words of what is saved."""
        stop = sys.exc_info()[1]
        if not isinstance(stop, KeyboardInterrupt):
            return
        if not self.model.is_file():
            stop.args = ("interrupted before the first checkpoint; nothing is saved",)
            return
        together = f"mpiexec -n {training.team.size} " if training.team.size > 1 else ""
        again = f"{together}tinygrad-ce train --config {shlex.quote(str(self.config))} --resume"
        stop.args = (f"interrupted; saved {reached(checkpoint.load(self.model)[1])}: go on with {again}",)

    def write_confusion(self, confusion: np.ndarray, classes: Sequence[str]) -> None:
        """The table of counts: a line for each true class, a column for each predicted one."""
        with replacing(self.confusion, text=True) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["true \\ predicted", *classes])
            writer.writerows([name, *counts] for name, counts in zip(classes, confusion.tolist(), strict=True))

    def draw(self, history: History, confusion: np.ndarray, classes: Sequence[str]) -> bool:
        """Draw how training went and what was confused, if matplotlib is there."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return False
        self.figures.mkdir(exist_ok=True)
        panels = 3 if len(set(history["lr"])) > 1 else 2
        figure = Figure(figsize=(4.5 * panels, 4), layout="constrained")
        loss, accuracy, *rate = figure.subplots(1, panels)
        plot.loss_curves(history, ax=loss)
        plot.loss_curves(history, names=("accuracy", "val_accuracy"), ax=accuracy)
        for ax in rate:
            plot.loss_curves(history, names="lr", ax=ax).get_legend().remove()
            ax.title.set_text("Learning rate")
            ax.yaxis.label.set_text("learning rate")
        figure.savefig(self.drawings["training"], dpi=120)
        side = min(4 + 0.2 * len(classes), 20)
        figure = Figure(figsize=(side, side), layout="constrained")
        plot.confusion_matrix(confusion, classes, ax=figure.subplots()).title.set_text("Confusion on the test rows")
        figure.savefig(self.drawings["confusion"], dpi=120)
        return True

    def contents(self) -> list[str]:
        """The names of what it holds."""
        drawings = self.drawings.values()
        paths = (self.config, self.metrics, self.model, self.confusion, *drawings, self.tensorboard)
        return [path.relative_to(self.folder).as_posix() for path in paths if path.exists()]


def reached(meta: dict[str, Any]) -> str:
    """How far the training of a checkpoint was."""
    epochs, under_way = len(meta["history"]["epoch"]), meta.get("under_way")
    return f"in epoch {epochs + 1}, after step {under_way['step']:,}" if under_way else f"after epoch {epochs}"


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def open_model(path: Path) -> tuple[nn.Sequential, dict[str, Any], Path]:
    """The model of a run or in a file, what it says of itself, and its file.

    Raises:
        ValueError: the folder is no run.
        CheckpointError: the file is damaged, or holds another kind of model.
        OSError: it can't be opened.
    """
    if path.is_dir():
        if not config.is_run(path):
            raise ValueError(f"{path}: a folder, but no run of this program, expected a run's or a model.npz")
        path = path / "model.npz"
    model, about = classifier.load(path)
    return model, about, path
