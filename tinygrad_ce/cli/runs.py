"""A run: the folder that train writes, and how a trained model is found and opened."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce import nn
from tinygrad_ce.cli import config
from tinygrad_ce.cli.summary import worst
from tinygrad_ce.cli.tables import write_rows
from tinygrad_ce.cli.wording import counted
from tinygrad_ce.common.files import alone, remove_leftovers, replacing, write
from tinygrad_ce.common.words import visible
from tinygrad_ce.train import checkpoint, classifier
from tinygrad_ce.train.callback import Callback
from tinygrad_ce.train.history import History
from tinygrad_ce.train.training import Training


class Run(Callback):
    """A run's folder. Nothing is written to it before the training begins, so an error until then loses nothing.

    It may come from a stranger, so there are no symbolic links in it: what is written stays in it.

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
        self.tensorboard, self.film = folder / "tensorboard", folder / "training.html"
        self.drawings = {name: self.figures / f"{name}.png" for name in ("training", "confusion")}
        self.files = (self.config, self.metrics, self.model, self.confusion, *self.drawings.values(), self.film)

    def check(self) -> None:
        """Refuse a folder that holds other things, or a model that nobody wants replaced; and to go on from nothing.

        Raises:
            ValueError: it is no run, holds a symbolic link, or a model, and neither --resume nor --replace is given.
            FileNotFoundError: there is nothing to go on from, or no folder to put it in.
        """
        if self.folder.exists() and not config.is_run(self.folder) and not _is_empty(self.folder):
            raise ValueError(f"--run {self.folder}: exists and is no run of this program; choose another")
        for link in _links(self.folder):
            expected = "expected none in a run's folder: writing there would write elsewhere; remove it"
            raise ValueError(f"--run {self.folder}: {link} is a symbolic link, {expected}")
        if self.args.resume and not self.model.is_file():
            raise FileNotFoundError(f"--resume: {self.model}: there is no such model to go on from")
        if self.model.exists() and not self.args.resume and not self.args.replace and not self.args.dry_run:
            what = f"holds a run of {self._epochs()}; --resume goes on with it, --replace trains it anew"
            raise ValueError(f"--run {self.folder}: {what}, or choose another folder")
        if not self.folder.absolute().parent.is_dir():
            raise FileNotFoundError(f"--run {self.folder}: the folder {self.folder.parent} does not exist")

    def replaced(self) -> str:
        """What a training from the beginning replaces, if there is any."""
        if not config.is_run(self.folder):
            return ""
        return f"replaces a run of {self._epochs()}"

    def _epochs(self) -> str:
        lines = self.metrics.read_bytes().count(b"\n") if self.metrics.is_file() else 1
        return counted(max(lines - 1, 0), "epoch")

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        """The folder, there and for this program alone; what those that were killed left half written goes.

        Raises:
            BlockingIOError: another training writes to it.
            ValueError: another one has in the meantime.
        """
        self.folder.mkdir(exist_ok=True)
        with alone(self.folder):
            self.check()
            for path in self.files:
                remove_leftovers(path)
            yield

    def on_train_begin(self, training: Training) -> None:
        """Write the options. What an earlier training left goes; where this one goes on from it, its figures do."""
        if training.epoch >= training.epochs:
            return
        logs = self.tensorboard.glob("*/events.out.tfevents.*")
        for path in self.drawings.values() if training.updates else (*self.files, *logs):
            if path != self.config:
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
        counted = ([name, *map(str, counts)] for name, counts in zip(classes, confusion.tolist(), strict=True))
        with replacing(self.confusion, text=True) as file:
            write_rows(file, ["true \\ predicted", *classes], counted)

    def draw(self, history: History, confusion: np.ndarray, classes: Sequence[str]) -> None:
        """Draw how training went and what was confused."""
        from matplotlib.figure import Figure  # it takes longer than to train on a small table

        from tinygrad_ce.study import plot

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
        _save(figure, self.drawings["training"])
        shown = worst(confusion)
        of = f": the {len(shown)} of {len(classes):,} classes with most mistakes" if len(shown) < len(classes) else ""
        side = 4 + 0.2 * len(shown)
        figure = Figure(figsize=(side, side), layout="constrained")
        ax = plot.confusion_matrix(confusion[np.ix_(shown, shown)], [classes[i] for i in shown], ax=figure.subplots())
        ax.title.set_text(f"Confusion on the test rows{of}")
        _save(figure, self.drawings["confusion"])

    def contents(self) -> list[str]:
        """The names of what it holds."""
        paths = (*self.files, self.tensorboard)
        return [path.relative_to(self.folder).as_posix() for path in paths if path.exists()]


def reached(meta: dict[str, Any]) -> str:
    """How far the training of a checkpoint was."""
    epochs, under_way = len(meta["history"]["epoch"]), meta.get("under_way")
    return f"in epoch {epochs + 1}, after step {under_way['step']:,}" if under_way else f"after epoch {epochs}"


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)


def _links(folder: Path) -> Iterator[str]:
    """The symbolic links anywhere in a folder, which may be one itself."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if Path(place, name).is_symlink():
                yield visible(str(Path(place, name).relative_to(folder)))


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
