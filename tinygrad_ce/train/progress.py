"""Callbacks that show a training: a tqdm bar on a terminal where tqdm is installed, else a line for each epoch."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

from tinygrad_ce.callback import Callback

if TYPE_CHECKING:
    from tinygrad_ce.train.history import History
    from tinygrad_ce.train.training import Training


class Lines(Callback):
    """A line for each epoch, but no more than about twenty in all."""

    writes = True

    def on_epoch_end(self, training: Training) -> None:
        """The line of an epoch."""
        done, epochs = training.epoch, training.epochs
        if done % max(1, epochs // 20) == 0 or done == epochs:
            words = "; ".join(f"{part}: {numbers}" for part, numbers in last(training.history).items())
            print(f"epoch {done:>{len(str(epochs))}}/{epochs}  {words}", flush=True)


class Bar(Callback):
    """A tqdm bar over all steps, with the last epoch's numbers beside it."""

    writes = True

    def __init__(self, tqdm: Any) -> None:
        self._tqdm = tqdm
        self._bar: Any = None

    def on_train_begin(self, training: Training) -> None:
        """Begin where the training begins."""
        self._bar = self._tqdm(
            total=training.epochs * training.steps,
            initial=training.updates,
            unit="step",
            dynamic_ncols=True,
            bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}",
            desc=f"epoch {training.epoch}/{training.epochs}",
        )

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


def show(progress: bool) -> list[Callback]:
    """The kind that fits where the output goes; none if nobody wants any."""
    if not progress:
        return []
    if sys.stderr.isatty() and shutil.get_terminal_size((0, 0)).columns:
        try:
            from tqdm import tqdm
        except ImportError:
            return [Lines()]
        return [Bar(tqdm)]
    return [Lines()]
