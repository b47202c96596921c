"""History: what each epoch of a training measured."""

from __future__ import annotations

from typing import Any


class History:
    """One list of numbers for each thing measured, an entry for each epoch; Keras's shape.

    ``history["loss"]`` and ``history.history["loss"]`` are the same. ``epoch`` holds the epochs' numbers from 0,
    ``stopped`` why training ended early ("" if it didn't), ``best_epoch`` where the watched loss was lowest.

    Example:
        >>> import tinygrad_ce as tg
        >>> history = tg.History()
        >>> history.add(0, {"loss": 0.7})
        >>> history.add(1, {"loss": 0.5})
        >>> history["loss"], history.best_epoch
        ([0.7, 0.5], 1)
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}
        self.stopped = ""

    def add(self, epoch: int, measured: dict[str, float]) -> None:
        """Note an epoch."""
        self.epoch.append(epoch)
        for name, value in measured.items():
            self.history.setdefault(name, []).append(value)

    @property
    def watched(self) -> list[float]:
        """The loss that early stopping watches: the validation's if there is one."""
        return self.history.get("val_loss", self.history.get("loss", []))

    def measured(self, where: str, monitor: str | None) -> list[float]:
        """What each epoch measured by this name; without a name, the loss that early stopping watches.

        Raises:
            ValueError: nothing is measured by this name.
        """
        if monitor is not None and monitor not in self.history:
            raise ValueError(f"{where}: monitor is {monitor!r}; measured are {', '.join(self.history) or 'none yet'}")
        return self.watched if monitor is None else self.history[monitor]

    @property
    def best_epoch(self) -> int | None:
        """The epoch with the lowest watched loss."""
        watched = [loss if loss == loss else float("inf") for loss in self.watched]  # nan is never the best
        return self.epoch[watched.index(min(watched))] if watched else None

    def __getitem__(self, name: str) -> list[float]:
        return self.history[name]

    def __len__(self) -> int:
        return len(self.epoch)

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.4f}" for name, values in self.history.items())
        words = [f"{len(self)} epochs", last, f"stopped: {self.stopped}" if self.stopped else ""]
        return f"History({'; '.join(filter(None, words))})"

    def state(self) -> dict[str, Any]:
        """What JSON can hold of it."""
        return {"epoch": self.epoch, "history": self.history}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> History:
        """A history as ``state`` gave it."""
        history = cls()
        history.epoch = list(state["epoch"])
        history.history = {name: list(values) for name, values in state["history"].items()}
        return history
