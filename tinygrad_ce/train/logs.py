"""Callbacks that show or write down what each epoch measured: lines, a bar, a CSV file, TensorBoard."""

from __future__ import annotations

import csv
import os
import shutil
import sys
import time
from pathlib import Path
from typing import IO, Any

from tinygrad_ce.common.files import naming, replacing
from tinygrad_ce.common.terminal import is_terminal, say
from tinygrad_ce.common.words import cell
from tinygrad_ce.train.callback import Callback
from tinygrad_ce.train.callbacks import require_folder
from tinygrad_ce.train.history import History
from tinygrad_ce.train.training import Training


class CSVLog(Callback):
    """Write a line for each epoch: how many epochs are done, then each number measured in its column.

    The file is replaced when training begins, and after each epoch it holds the whole history: of a training that is
    resumed, first the epochs before. Numbers have all their digits.

    Args:
        path: the file; its folder must exist.

    Raises:
        FileNotFoundError: there is no such folder.

    Example:
        >>> import pathlib, tempfile, tinygrad_ce as tg
        >>> path = pathlib.Path(tempfile.mkdtemp(), "log.csv")
        >>> model = tg.nn.Linear(4, 3, rng=0)
        >>> history = tg.fit(
        ...     model, tg.data.load_iris(), epochs=2, callbacks=[tg.train.CSVLog(path)], progress=False
        ... )
        >>> lines = path.read_text().split()
        >>> lines[0], len(lines)
        ('epoch,loss,accuracy,lr', 3)
        >>> float(lines[2].split(",")[1]) == history["loss"][1]
        True
    """

    writes = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        require_folder("CSVLog", path)
        self.path = path

    def on_train_begin(self, training: Training) -> None:
        """Begin the file, with the epochs before."""
        with replacing(self.path, text=True) as file:
            self._write(file, training.history, *range(training.epoch))

    def on_epoch_end(self, training: Training) -> None:
        """Write the epoch's line."""
        with naming(self.path), open(self.path, "a", encoding="utf-8", newline="") as file:
            self._write(file, training.history, training.epoch - 1)

    def _write(self, file: IO[str], history: History, *epochs: int) -> None:
        writer = csv.writer(file, lineterminator="\n")
        for i in epochs:
            if not i:
                writer.writerow(["epoch", *map(cell, history.history)])
            writer.writerow([i + 1, *(values[i] for values in history.history.values())])


class TensorBoard(Callback):
    """Write what each epoch measured for TensorBoard: ``tensorboard --logdir folder`` draws it.

    Training and validation are two runs, so that one chart shows both losses, and one both accuracies. The folder shows
    the whole history of the last training that wrote into it; to compare trainings, give each its own.

    Args:
        folder: where to write; made if it isn't there.

    Raises:
        ImportError: tensorboard isn't installed; it is an extra.

    Example:
        >>> import os, tempfile, tinygrad_ce as tg
        >>> folder = tempfile.mkdtemp()
        >>> model = tg.nn.Linear(4, 3, rng=0)
        >>> history = tg.fit(
        ...     model, tg.data.load_iris(), epochs=2, validation=0.2, callbacks=[tg.train.TensorBoard(folder)],
        ...     progress=False,
        ... )
        >>> sorted(os.listdir(folder))
        ['training', 'validation']
    """

    writes = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            words = f"TensorBoard needs tensorboard: pip install 'tinygrad-ce[tensorboard]' ({error})"
            raise ImportError(words) from error
        self.folder = Path(folder)
        self._open: Any = EventFileWriter
        self._event, self._summary, self._session = event_pb2.Event, summary_pb2.Summary, event_pb2.SessionLog
        self._runs: dict[str, Any] = {}

    def on_train_begin(self, training: Training) -> None:
        """Write the epochs before."""
        for i in range(training.epoch):
            self._write(training.history, i)

    def on_epoch_end(self, training: Training) -> None:
        """Write the epoch's numbers."""
        self._write(training.history, training.epoch - 1)

    def on_train_end(self, training: Training) -> None:
        """Close the files."""
        while self._runs:
            self._runs.popitem()[1].close()

    def _write(self, history: History, i: int) -> None:
        for name, values in history.history.items():
            run = "validation" if name.startswith("val_") else "training"
            value = self._summary.Value(tag=name.removeprefix("val_"), simple_value=values[i])
            self._add(run, step=i + 1, summary=self._summary(value=[value]))
        for run in self._runs.values():
            run.flush()

    def _add(self, run: str, **event: Any) -> None:
        if run not in self._runs:
            self._runs[run] = self._open(os.fspath(self.folder / run))
            # What another training wrote here before is not to be shown any more.
            self._add(run, step=1, session_log=self._session(status=self._session.START))
        self._runs[run].add_event(self._event(wall_time=time.time(), **event))


class Lines(Callback):
    """A line for each epoch, but no more than about twenty in all."""

    writes = True

    def on_epoch_end(self, training: Training) -> None:
        """The line of an epoch."""
        done, epochs = training.epoch, training.epochs
        if done % max(1, epochs // 20) == 0 or done == epochs:
            words = "; ".join(f"{part}: {numbers}" for part, numbers in last(training.history).items())
            say(f"epoch {done:>{len(str(epochs))}}/{epochs}  {words}")


class Bar(Callback):
    """A tqdm bar over all steps, with the last epoch's numbers beside it."""

    writes = True

    def __init__(self, tqdm: Any) -> None:
        self._tqdm = tqdm
        self._bar: Any = None

    def on_train_begin(self, training: Training) -> None:
        """Begin where the training begins."""
        self._bar = self._tqdm(
            total=training.epochs * training.steps, initial=training.updates, unit="step", dynamic_ncols=True,
            desc=f"epoch {training.epoch}/{training.epochs}", bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}",
        )  # fmt: skip

    def after_update(self, training: Training) -> None:
        """Another step is done."""
        self._bar.update(training.updates - self._bar.n)

    def on_epoch_end(self, training: Training) -> None:
        """The numbers of an epoch."""
        part, numbers = list(last(training.history).items())[-1]
        self._bar.set_description(f"epoch {training.epoch}/{training.epochs}", refresh=False)
        self._bar.set_postfix_str(f"{part}: {numbers}", refresh=False)
        self._bar.update(training.updates - self._bar.n)

    def on_train_end(self, training: Training) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


def last(history: History) -> dict[str, str]:
    """The last epoch's numbers as text: of training, and of validation if there is any."""
    parts: dict[str, list[str]] = {"training": [], "validation": []}
    for name, values in history.history.items():
        if name != "lr":
            part = "validation" if name.startswith("val_") else "training"
            parts[part].append(f"{name.removeprefix('val_')} {values[-1]:.4f}")
    return {part: ", ".join(numbers) for part, numbers in parts.items() if numbers}


def show() -> list[Callback]:
    """The kind that fits where the output goes."""
    if is_terminal(sys.stderr) and shutil.get_terminal_size((0, 0)).columns:
        try:
            from tqdm import tqdm
        except ImportError:
            return [Lines()]
        return [Bar(tqdm)]
    return [Lines()]
