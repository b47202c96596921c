"""Training: steps and epochs under way, with all that changes in them."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.callback import Callback
from tinygrad_ce.guard import at_once
from tinygrad_ce.nn.module import Module
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.tensor import Tensor
from tinygrad_ce.train import checkpoint as files
from tinygrad_ce.train.history import History
from tinygrad_ce.train.metrics import logits
from tinygrad_ce.train.rows import Batch, Rows
from tinygrad_ce.train.team import Team

_HOOKS = [name for name in vars(Callback) if name.startswith(("on_", "before_", "after_"))]
_SUMS = ("loss", "right", "counted")


class Training:
    """What callbacks see of a training.

    Attributes:
        model, optimizer: what is trained, and by what.
        history: the numbers of the epochs done.
        epochs, steps: how many epochs are planned, and how many steps each has.
        epoch, step: how many epochs are done, and how many steps of the one under way.
        best: the best weights so far by name, if a callback keeps them.
        failed: whether it ended by an error.

    Example:
        >>> import tinygrad_ce as tg
        >>> class Tell(tg.train.Callback):
        ...     def on_epoch_end(self, training):
        ...         print(training.epoch, "of", training.epochs, len(training.history["loss"]))
        >>> model = tg.nn.Linear(4, 3, rng=0)
        >>> _ = tg.fit(model, tg.data.load_iris(), epochs=2, callbacks=[Tell()], progress=False)
        1 of 2 1
        2 of 2 2
    """

    def __init__(
        self, model: Module, optimizer: Optimizer, loss: Callable[..., Any], callbacks: Sequence[Callback], *,
        rows: Rows, held: Rows | None, metrics: Mapping[str, Callable[..., float]], epochs: int, batch_size: int,
        accumulate: int, seed: int, meta: Mapping[str, Any], team: Team,
    ) -> None:  # fmt: skip
        self.model, self.optimizer, self.loss = model, optimizer, loss
        self.callbacks = list(callbacks)
        self.rows, self.held, self.metrics = rows, held, metrics
        self.epochs, self.batch_size, self.accumulate, self.seed = epochs, batch_size, accumulate, seed
        self.meta, self.team = meta, team
        self.history = History()
        self.step = 0
        self.steps = -(-team.rows(len(rows)) // (batch_size * accumulate))
        self.best: dict[str, np.ndarray] = {}
        self.failed = False
        self._sums = dict.fromkeys(_SUMS, 0.0)
        self._rate = optimizer.lr  # at the beginning of the epoch
        self._why_stop = ""
        self._previous = [p._data for p in optimizer.parameters]  # the weights before the last step
        self._hooks = {name: self._overriding(name) for name in _HOOKS}

    def _overriding(self, name: str) -> list[Callable[[Training], None]]:
        """The callbacks that say something at a turn; the rest cost nothing."""
        return [
            getattr(callback, name)
            for callback in self.callbacks
            if getattr(type(callback), name) is not getattr(Callback, name)
            and (self.team.rank == 0 or not callback.writes)
        ]

    def _call(self, name: str) -> None:
        for hook in self._hooks[name]:
            hook(self)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history)

    @property
    def updates(self) -> int:
        """How many steps were done in all."""
        return self.epoch * self.steps + self.step

    def stop(self, why: str) -> None:
        """End the training after the epoch under way."""
        self._why_stop = why

    @property
    def ending(self) -> bool:
        """Whether no epoch follows the ones done."""
        return bool(self._why_stop) or self.epoch >= self.epochs

    def run(self) -> History:
        """Epochs until the last, or until a callback stops it."""
        try:
            self._call("on_train_begin")
            while not self.ending:
                self._epoch()
            if self.epoch < self.epochs:
                self.history.stopped = self._why_stop
        except BaseException:
            self.failed = True
            raise
        finally:
            self._end()
        return self.history

    def _end(self) -> None:
        """Let every callback end, whatever another one does."""
        hooks = self._hooks["on_train_end"]
        for i, hook in enumerate(hooks):
            try:
                hook(self)
            except BaseException:
                self._hooks["on_train_end"] = hooks[i + 1 :]
                self._end()
                raise

    def _epoch(self) -> None:
        """Every row once, or those that a checkpoint left of it; then what the epoch measured."""
        if not self.step:
            self._rate = self.optimizer.lr
            self._call("on_epoch_begin")
        self.model.train()
        batches = self.rows.batches(self.batch_size, self.seed, self.epoch, self.step * self.accumulate, self.team)
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # the loss itself is looked at
                while parts := list(itertools.islice(batches, self.accumulate)):
                    self._update(parts)
        finally:
            batches.close()  # type: ignore[attr-defined]  # it may read ahead in a thread
            self.model.eval()
        self._call("before_validation")
        sums = self._summed()
        counted = sums["counted"] or math.nan
        measured = {"loss": sums["loss"] / counted, "accuracy": sums["right"] / counted, "lr": self._rate}
        measured = self.team.agreed(measured | self._measure())
        self.history.add(self.epoch, measured)
        self.step, self._sums = 0, dict.fromkeys(_SUMS, 0.0)
        self._call("on_epoch_end")

    def _update(self, parts: list[Batch]) -> None:
        """Forward, backward, update. Whatever goes wrong, the parameters are those before or those after it."""
        parameters = self.optimizer.parameters
        before = [p._data for p in parameters]
        memory = [dict(kept) for kept in self.optimizer.memory]
        try:
            self.optimizer.zero_grad()
            sums, loss, counted = self._gradients(parts)
            if not math.isfinite(loss):
                words = self._why(loss, parts)
                if not all(np.isfinite(data).all() for data in before):
                    before = self._previous  # the step before has spoiled them
                raise FloatingPointError(words)
            if counted:
                self._call("before_update")
                self._previous = before
                self.optimizer.step()
        except BaseException:
            kept = [(p, "_data", data) for p, data in zip(parameters, before, strict=True)]
            at_once([*kept, (self.optimizer, "memory", memory)])
            raise
        for name, value in zip(_SUMS, sums, strict=True):
            self._sums[name] += value
        self.step += 1
        if counted:
            self._call("after_update")

    def _gradients(self, parts: list[Batch]) -> tuple[tuple[float, int, int], float, int]:
        """Give each parameter the gradient of the mean over all rows of a step, wherever they are computed.

        Returns what the rows here add to the epoch's sums, a loss that is finite if all are, and how many rows count.
        """
        alone = len(parts) == 1 and self.team.size == 1
        total, right, count = 0.0, 0, 0
        for part in parts:
            counted = part.counted
            if counted:
                output = self.model(Tensor._leaf(part.x))
                loss = self.loss(output, part.y) if part.weight is None else self._weighed(output, part, counted)
                loss.backward(None if alone else np.asarray(counted, loss.dtype), retain_graph=False)
                total += float(loss) * counted
                right += _right(output._data, part.y)
                count += counted
        mean, everywhere = total / (count or 1), count
        if self.team.size > 1:
            mean, everywhere = self._sum_gradients(mean, count)
        if not alone and everywhere:
            for p in self.optimizer.parameters:
                if p._grad is not None:
                    p._grad = p._grad / p.dtype.type(everywhere)
        return (total, right, count), mean, everywhere

    def _weighed(self, output: Any, part: Batch, counted: int) -> Any:
        """The mean over the rows that count, of their losses times their weights."""
        assert part.weight is not None
        each = self.loss(output, part.y, reduction="none")
        return (each * part.weight.astype(each.dtype)).sum() / counted

    def _sum_gradients(self, loss: float, count: int) -> tuple[float, int]:
        """Sum the gradients over all processes, in one go: one flat array, and behind it which parameters have one."""
        parameters = self.optimizer.parameters
        flags = [*(p._grad is not None for p in parameters), count, 0 if math.isfinite(loss) else math.nan]
        flat = [np.zeros(p.size, p.dtype) if p._grad is None else p._grad.reshape(-1) for p in parameters]
        summed = self.team.sum(np.concatenate([*flat, np.array(flags, flat[0].dtype)]))
        *have, everywhere, finite = summed[len(summed) - len(flags) :].tolist()
        start = 0
        for p, has in zip(parameters, have, strict=True):
            p._grad = summed[start : start + p.size].reshape(p.shape).astype(p.dtype) if has else None
            start += p.size
        return (loss if math.isfinite(finite) or not math.isfinite(loss) else math.nan), round(everywhere)

    def _why(self, value: float, parts: list[Batch]) -> str:
        wrong = [name for name, t in self.model.named_tensors() if not np.isfinite(t._data).all()]
        size = max(float(np.abs(p._data).max(initial=0)) for p in self.optimizer.parameters)
        reach = max(float(np.abs(part.x).max(initial=0)) for part in parts)
        if wrong:
            cause = f"{wrong[0]} holds nan or inf: the learning rate {self.optimizer.lr:g} is likely too high"
        elif reach > 1e3:
            cause = f"features reach {reach:.3g}: scale them (nn.Standardize), or lower the learning rate"
        elif size > 1e3:
            cause = f"weights reach {size:.3g}: the learning rate {self.optimizer.lr:g} is likely too high"
        else:
            cause = "the model's output or the loss is at fault: a logit of -inf at the label, a log of 0, 0/0"
        where = f"epoch {self.epoch + 1}, step {self.step + 1}"
        return f"fit: the loss is {value} at {where}; {cause}. The model keeps its last finite weights"

    def _summed(self) -> dict[str, float]:
        """The epoch's sums so far, over all processes."""
        return dict(zip(_SUMS, self.team.sum(np.array(list(self._sums.values()))).tolist(), strict=True))

    def _measure(self) -> dict[str, float]:
        """Loss, accuracy and metrics of the rows held out; without any, the metrics of those trained on."""
        if self.held is None and not self.metrics:
            return {}
        sums, outputs, answers = np.zeros(3), [], []
        for part in (self.held or self.rows).all(self.team):
            output = logits(self.model, part.x)
            if self.held is not None and part.counted:
                loss = float(self.loss(output, part.y))
                sums += (loss * part.counted, _right(output, part.y), part.counted)
            if self.metrics:
                outputs.append(output)
                answers.append(part.y)
        measured: dict[str, float] = {}
        prefix = ""
        if self.held is not None:
            prefix, (loss, right, counted) = "val_", self.team.sum(sums).tolist()
            measured = {"val_loss": loss / (counted or math.nan), "val_accuracy": right / (counted or math.nan)}
        if self.metrics:
            output, y = self.team.gather(np.concatenate(outputs)), self.team.gather(np.concatenate(answers))
            measured |= {f"{prefix}{name}": float(metric(output, y)) for name, metric in self.metrics.items()}
        return measured

    def save(self, path: Any) -> None:
        """Write all that is needed to go on; where several processes train, all have to call it, and the first writes.

        Errors:
            OSError: it can't be written; an older file is still there, whole.
        """
        sums = self._summed()
        if self.team.rank:
            return
        meta = {
            **self.meta,
            "history": self.history.state(),
            "generators": {name: rng.bit_generator.state for name, rng in self.model.named_generators()},
        }
        if self.step:
            meta["under_way"] = {"step": self.step, "lr": self._rate, **self._order(), **sums}
        groups = {
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "best": self.best,
            "callbacks": {key: np.asarray(a) for key, kept in self._kept().items() for key, a in kept.items()},
        }  # fmt: skip
        try:
            files.save(path, groups, meta)
        except ValueError as error:  # zipfile's complaint that Ctrl-C left it half done
            if isinstance(error.__context__, KeyboardInterrupt):
                raise error.__context__ from None
            raise

    def _order(self) -> dict[str, int]:
        """What fixes which rows a step of an epoch takes."""
        return {"batch_size": self.batch_size, "accumulate": self.accumulate, "seed": self.seed}

    def _kept(self) -> dict[str, dict[str, Any]]:
        """The state of each callback that has any, under its class's name and its number among those of the class."""
        return {
            name: {f"{name}.{key}": value for key, value in callback.state_dict().items()}
            for name, callback in self._named_callbacks().items()
        }

    def _named_callbacks(self) -> dict[str, Callback]:
        names: dict[str, Callback] = {}
        for callback in self.callbacks:
            kind = type(callback).__name__
            number = sum(name.partition(".")[0] == kind for name in names)
            names[f"{kind}.{number}"] = callback
        return names

    def restore(self, saved: tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]], path: str) -> None:
        """Go back to what was saved. If it doesn't fit, nothing changes."""
        groups, meta = saved
        generators = dict(self.model.named_generators())
        undo: list[Callable[[], Any]] = []
        try:
            history = History.from_state(meta["history"])
            self._check(history, meta, generators)
            self._load(self.model, groups["model"], undo)
            self._load(self.optimizer, groups["optimizer"], undo)
            kept = groups.get("callbacks", {})
            callbacks = self._named_callbacks()
            for name, callback in callbacks.items():
                state = {key[len(name) + 1 :]: a for key, a in kept.items() if key.startswith(f"{name}.")}
                self._load(callback, state, undo)
            unknown = {".".join(key.split(".")[:2]) for key in kept} - callbacks.keys()
            if unknown:
                raise ValueError(f"it keeps the state of {sorted(unknown)}, and no such callback was given")
        except (KeyError, ValueError, TypeError) as error:
            for back in reversed(undo):
                back()
            raise files.CheckpointError(f"{path}: a checkpoint, but not of this training: {error}") from None
        for name, state in meta["generators"].items():
            generators[name].bit_generator.state = state
        self.history, self.best = history, groups["best"]
        if "under_way" in meta:
            self.step, self._rate = meta["under_way"]["step"], meta["under_way"]["lr"]
            if not self.team.rank:  # the sums of all processes are one's from now on
                self._sums = {name: meta["under_way"][name] for name in _SUMS}

    def _check(self, history: History, meta: dict[str, Any], generators: dict[str, Any]) -> None:
        """Hold a checkpoint against this training's options."""
        held = self.held is not None
        if set(generators) != set(meta["generators"]):
            raise KeyError(f"random generators {sorted(meta['generators'])}, expected {sorted(generators)}")
        if history.epoch and held != ("val_loss" in history.history):
            raise ValueError("it began with validation" if not held else "it began without validation")
        for name, value in self._order().items():
            if (before := meta.get("under_way", {}).get(name, value)) != value:
                raise ValueError(f"it is in the middle of an epoch with {name} {before}, now {name} is {value}")
        for name, state in meta["generators"].items():
            copy.deepcopy(generators[name].bit_generator).state = state  # it refuses what isn't its own

    @staticmethod
    def _load(thing: Any, state: Mapping[str, Any], undo: list[Callable[[], Any]]) -> None:
        before = thing.state_dict()
        thing.load_state_dict(state)
        undo.append(lambda: thing.load_state_dict(before))


def _right(output: np.ndarray, y: np.ndarray) -> int:
    """How many rows' largest logit is at the label (of soft targets, at the largest mass)."""
    if y.ndim == output.ndim:
        y = y.argmax(axis=1)
    return int(np.count_nonzero(output.argmax(axis=1) == y))
