"""fit: train a classifier."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce import labels, ops
from tinygrad_ce.data.dataset import Dataset, as_dataset, batches, split
from tinygrad_ce.guard import at_once
from tinygrad_ce.nn.module import Module
from tinygrad_ce.optim import SGD, Optimizer, Schedule
from tinygrad_ce.tensor import Tensor
from tinygrad_ce.train import checkpoint as files
from tinygrad_ce.train.history import History
from tinygrad_ce.train.metrics import logits
from tinygrad_ce.train.progress import show


def fit(
    model: Module,
    data: Any,
    *,
    epochs: int = 20,
    batch_size: int = 32,
    optimizer: Optimizer | None = None,
    loss: Callable[[Any, Any], Any] = ops.cross_entropy,
    schedule: Schedule | None = None,
    validation: Any = None,
    patience: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    meta: dict[str, Any] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> History:
    """Train a model on rows and their labels.

    Args:
        model: a Module that turns rows of features into rows of logits.
        data: a Dataset, or a pair (x, y).
        epochs: how often each row is seen.
        batch_size: how many rows go into a step.
        optimizer: SGD with a learning rate of 0.1 unless given.
        loss: a function of logits and targets.
        schedule: changes the optimiser's learning rate after every epoch.
        validation: a Dataset or pair to measure after each epoch, or the fraction of data to hold out for it.
        patience: stop when the validation's loss (without validation, the training's) has not fallen for so many
            epochs, and give the model its best weights back.
        checkpoint: a file to write after every epoch.
        resume: go on from that file, to the same bits as if training had never stopped.
        meta: what to write into the checkpoint beside it, as JSON.
        seed: of the order of the rows.
        progress: whether to show any.

    Returns, with the model left in evaluation:
        A History with "loss", "accuracy", "lr" and, with validation, "val_loss" and "val_accuracy".

    Errors:
        FloatingPointError: the loss is nan or infinite; the step and the likely cause are named, and the model keeps
            its last finite weights.
        ValueError: a wrong label (its row is named), a feature that isn't finite, an option out of range.
        CheckpointError: the checkpoint to resume from is damaged or belongs to another model.
        KeyboardInterrupt: the model keeps the weights of its last whole step.

    Example:
        >>> import tinygrad_ce as tg
        >>> model = tg.nn.Linear(4, 3, rng=0)
        >>> history = tg.fit(model, tg.data.load_iris(), epochs=50, progress=False)
        >>> history["accuracy"][-1] > 0.9
        True
    """
    for name, value in {"epochs": epochs, "batch_size": batch_size, "patience": patience}.items():
        if value is not None and (not isinstance(value, int | np.integer) or value < 1):
            raise ValueError(f"fit: {name} is {value!r}, expected a whole number of at least 1")
    if resume and checkpoint is None:
        raise ValueError("fit: resume=True needs checkpoint, the file to go on from")
    if checkpoint is not None and not Path(checkpoint).parent.is_dir():
        raise FileNotFoundError(f"fit: checkpoint {checkpoint}: the folder {Path(checkpoint).parent} does not exist")
    optimizer = optimizer or SGD(model.parameters(), lr=0.1)
    for name, thing, kind in (("optimizer", optimizer, Optimizer), ("schedule", schedule, Schedule)):
        if thing is not None and not isinstance(thing, kind):
            raise TypeError(f"fit: {name} is of type {type(thing).__name__}, expected an instance of {kind.__name__}")
    if not {id(p) for p in optimizer.parameters} & {id(p) for p in model.parameters()}:
        raise ValueError("fit: the optimizer has none of this model's parameters; was the model made anew after it?")
    rows = as_dataset("fit", data)
    held: Dataset | None = None
    if isinstance(validation, float):
        rows, held = split(rows, validation, seed)
    elif validation is not None:
        held = as_dataset("fit: validation", validation)
    _check_labels(model, rows, held)
    training = _Training(model, optimizer, schedule, loss, meta or {})
    if resume and checkpoint is not None:
        training.restore(files.load(checkpoint), str(checkpoint), held is not None)
    return training.run(rows, held, epochs, batch_size, patience, checkpoint, seed, progress)


def _check_labels(model: Module, rows: Dataset, held: Dataset | None) -> None:
    """Hold every label against the number of logits that the model gives, before anything is changed."""
    classes = logits(model, rows.x[:1]).shape[-1]
    for where, part in (("fit", rows), ("fit: validation", held)):
        if part is not None and not labels.is_soft(part.y, (len(part.x), classes)):
            labels.check_indices(where, part.y, (len(part.x), classes), 1, ignore_index=-100)


class _Training:
    """A training under way: everything that changes from step to step."""

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        schedule: Schedule | None,
        loss: Callable[[Any, Any], Any],
        meta: dict[str, Any],
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.loss = loss
        self.meta = meta
        self.history = History()
        self.best: dict[str, np.ndarray] = {}
        self.previous = [p._data for p in optimizer.parameters]  # the weights before the last step

    def run(
        self,
        rows: Dataset,
        held: Dataset | None,
        epochs: int,
        batch_size: int,
        patience: int | None,
        checkpoint: Any,
        seed: int,
        progress: bool,
    ) -> History:
        """Epochs until the last, or until patience is at its end."""
        history = self.history
        done = len(history)
        shown = show(progress, epochs, done, -(-len(rows.y) // batch_size))
        try:
            for epoch in range(done, epochs):
                if patience and len(history) and epoch - (history.best_epoch or 0) > patience:
                    history.stopped = f"no better for {patience} epochs"
                    break
                measured = self._epoch(rows, batch_size, seed, epoch, shown.step)
                if held is not None:
                    output = logits(self.model, held.x)
                    measured["val_loss"] = float(self.loss(output, held.y))
                    measured["val_accuracy"] = _right(output, held.y) / _counted(held.y)
                history.add(epoch, measured)
                if self.schedule:
                    self.schedule.step()
                if patience and history.best_epoch == epoch:
                    self.best = self.model.state_dict()
                if checkpoint is not None:
                    self.save(checkpoint)
                shown.epoch(epoch, measured)
        finally:
            shown.close()
        if patience and self.best:
            self.model.load_state_dict(self.best)
        return history

    def _epoch(
        self, rows: Dataset, batch_size: int, seed: int, epoch: int, tell: Callable[[], Any]
    ) -> dict[str, float]:
        """Every row once."""
        self.model.train()
        loss, right, rate = 0.0, 0, self.optimizer.lr
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # the loss itself is looked at
                for step, (x, y) in enumerate(batches(rows, batch_size, seed=seed, epoch=epoch)):
                    value, output = self._step(x, y, epoch, step)
                    loss += value * _counted(y)
                    right += _right(output, y)
                    tell()
        finally:
            self.model.eval()
        counted = _counted(rows.y) or math.nan
        return {"loss": loss / counted, "accuracy": right / counted, "lr": rate}

    def _step(self, x: np.ndarray, y: np.ndarray, epoch: int, step: int) -> tuple[float, np.ndarray]:
        """Forward, backward, update. Whatever goes wrong, the parameters are those before or those after it."""
        parameters = self.optimizer.parameters
        before = [p._data for p in parameters]
        memory = [dict(kept) for kept in self.optimizer.memory]
        if not _counted(y):
            return 0.0, np.zeros((len(y), 1), x.dtype)
        try:
            self.optimizer.zero_grad()
            output = self.model(Tensor._leaf(x))
            loss = self.loss(output, y)
            value = float(loss)
            if not math.isfinite(value):
                words = self._why(value, x, epoch, step)
                if not all(np.isfinite(data).all() for data in before):
                    before = self.previous  # the step before has spoiled them
                raise FloatingPointError(words)
            self.previous = before
            loss.backward(retain_graph=False)
            self.optimizer.step()
        except BaseException:
            kept = [(p, "_data", data) for p, data in zip(parameters, before, strict=True)]
            at_once([*kept, (self.optimizer, "memory", memory)])
            raise
        return value, output._data

    def _why(self, value: float, x: np.ndarray, epoch: int, step: int) -> str:
        wrong = [name for name, t in self.model.named_tensors() if not np.isfinite(t._data).all()]
        size = max(float(np.abs(p._data).max(initial=0)) for p in self.optimizer.parameters)
        if wrong:
            cause = f"{wrong[0]} holds nan or inf: the learning rate {self.optimizer.lr:g} is likely too high"
        elif float(np.abs(x).max()) > 1e3:
            cause = f"features reach {np.abs(x).max():.3g}: scale them (nn.Standardize), or lower the learning rate"
        elif size > 1e3:
            cause = f"weights reach {size:.3g}: the learning rate {self.optimizer.lr:g} is likely too high"
        else:
            cause = "the model's output or the loss is at fault: a logit of -inf at the label, a log of 0, 0/0"
        where = f"epoch {epoch + 1}, step {step + 1}"
        return f"fit: the loss is {value} at {where}; {cause}. The model keeps its last finite weights"

    def save(self, path: Any) -> None:
        """Write all that is needed to go on."""
        generators = {name: rng.bit_generator.state for name, rng in self.model.named_generators()}
        groups = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "best": self.best}
        try:
            files.save(path, groups, {**self.meta, "history": self.history.state(), "generators": generators})
        except ValueError as error:  # zipfile's complaint that Ctrl-C left it half done
            if isinstance(error.__context__, KeyboardInterrupt):
                raise error.__context__ from None
            raise

    def restore(self, saved: tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]], path: str, held: bool) -> None:
        """Go back to what was saved. If it doesn't fit, nothing changes."""
        groups, meta = saved
        generators = dict(self.model.named_generators())
        try:
            history = History.from_state(meta["history"])
            if set(generators) != set(meta["generators"]):
                raise KeyError(f"random generators {sorted(meta['generators'])}, expected {sorted(generators)}")
            if history.epoch and held != ("val_loss" in history.history):
                raise ValueError("it began with validation" if not held else "it began without validation")
            for name, state in meta["generators"].items():
                copy.deepcopy(generators[name].bit_generator).state = state  # it refuses what isn't its own
            before = self.model.state_dict()
            self.model.load_state_dict(groups["model"])
            try:
                self.optimizer.load_state_dict(groups["optimizer"])
            except BaseException:
                self.model.load_state_dict(before)
                raise
        except (KeyError, ValueError, TypeError) as error:
            raise files.CheckpointError(f"{path}: a checkpoint, but not of this training: {error}") from None
        for name, state in meta["generators"].items():
            generators[name].bit_generator.state = state
        self.history = history
        self.best = groups["best"]
        if self.schedule:
            self.schedule.epoch = len(history)


def _right(output: np.ndarray, y: np.ndarray) -> int:
    """How many rows' largest logit is at the label (of soft targets, at the largest mass)."""
    if y.ndim == output.ndim:
        y = y.argmax(axis=1)
    return int(np.count_nonzero(output.argmax(axis=1) == y))


def _counted(y: np.ndarray) -> int:
    """How many rows have a label; those that are ignored have a negative one."""
    return len(y) if y.dtype.kind == "f" else int(np.count_nonzero(y >= 0))
