"""How a training shows itself: a tqdm bar on a terminal where tqdm is installed, else a line for each epoch."""

from __future__ import annotations

import shutil
import sys
from typing import Any, Protocol


class Progress(Protocol):
    """What the trainer tells of its progress."""

    def step(self) -> None:
        """Another batch is done."""

    def epoch(self, number: int, measured: dict[str, float]) -> None:
        """An epoch is done."""

    def close(self) -> None:
        """Training is over."""


class Silent:
    """Shows nothing."""

    def step(self) -> None:
        """Nothing."""

    def epoch(self, number: int, measured: dict[str, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines(Silent):
    """A line for each epoch, but no more than about twenty in all."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.every = max(1, epochs // 20)

    def epoch(self, number: int, measured: dict[str, float]) -> None:
        """The line of an epoch."""
        if (number + 1) % self.every == 0 or number + 1 == self.epochs:
            print(f"epoch {number + 1:>{len(str(self.epochs))}}/{self.epochs}  {words(measured)}", flush=True)


class Bar:
    """A tqdm bar over all batches, with the last epoch's numbers beside it."""

    def __init__(self, tqdm: Any, epochs: int, done: int, steps: int) -> None:
        self.epochs = epochs
        self.bar = tqdm(
            total=epochs * steps,
            initial=done * steps,
            unit="step",
            dynamic_ncols=True,
            bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}",
            desc=f"epoch {done}/{epochs}",
        )
        self.step = self.bar.update

    def epoch(self, number: int, measured: dict[str, float]) -> None:
        """The numbers of an epoch."""
        self.bar.set_description(f"epoch {number + 1}/{self.epochs}", refresh=False)
        held = {name: value for name, value in measured.items() if name.startswith("val_")}
        self.bar.set_postfix_str(words(held or measured), refresh=False)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.bar.close()


def words(measured: dict[str, float]) -> str:
    """An epoch's numbers as text."""
    return "  ".join(f"{name} {value:.4f}" for name, value in measured.items() if name != "lr")


def show(progress: bool, epochs: int, done: int, steps: int) -> Progress:
    """The kind that fits where the output goes."""
    if not progress:
        return Silent()
    if sys.stderr.isatty() and shutil.get_terminal_size((0, 0)).columns:
        try:
            from tqdm import tqdm
        except ImportError:
            return Lines(epochs)
        return Bar(tqdm, epochs, done, steps)
    return Lines(epochs)
