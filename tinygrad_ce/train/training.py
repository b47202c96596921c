"""Training: steps and epochs under way, with all that changes in them."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_ce.engine.atomic import at_once
from tinygrad_ce.nn.module import Module
from tinygrad_ce.optim import Optimizer
from tinygrad_ce.tensor import Tensor
from tinygrad_ce.train import checkpoint
from tinygrad_ce.train.history import History
from tinygrad_ce.train.metrics import logits, value_of
from tinygrad_ce.train.rows import Batch, Rows
from tinygrad_ce.train.team import Team

HOOKS = (
    "on_train_begin", "on_epoch_begin", "before_update", "after_update", "before_validation", "on_epoch_end",
    "on_train_end",
)  # fmt: skip
SUMS = ("loss", "right", "counted")  # over the rows of an epoch


class Training:
    """What callbacks see of a training.

    Attributes:
        model, optimizer: what is trained, and by what.
        history: the numbers of the epochs done.
        epochs, steps: how many epochs are planned, and how many steps each has.
        epoch, step: how many epochs are done, and how many steps of the one under way.
        updates: how many steps were done in all.
        rate: the learning rate at the beginning of the epoch, of the first group of parameters.
        best: the best weights so far by name, if a callback keeps them.
        constants: the model's Tensors that aren't trained, such as the running means of a layer.
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
        self, model: Module, optimizer: Optimizer, loss: Callable[..., Any], callbacks: Sequence[Any], *,
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
        self.updates = 0
        self.count = team.rows(len(rows))
        self.steps = -(-self.count // (batch_size * accumulate))
        self.best: dict[str, np.ndarray] = {}
        self.failed = False
        self.sums = dict.fromkeys(SUMS, 0.0)
        self.rate = optimizer.rates[0]  # at the beginning of the epoch, of the first group of parameters
        self._why_stop = ""
        self._previous = [p._value for p in optimizer.parameters]  # the weights before the last step
        self.constants = [t for _, t in model.named_tensors() if not t.requires_grad]
        self._hooks = {name: self._hooks_named(name) for name in HOOKS}

    def _hooks_named(self, name: str) -> list[Callable[[Training], None]]:
        """What callbacks do at a turn. Of several processes, the first alone shows and writes."""
        taking_part = [c for c in self.callbacks if self.team.rank == 0 or not getattr(c, "writes", False)]
        return [getattr(callback, name) for callback in taking_part if hasattr(callback, name)]

    def _call(self, name: str) -> None:
        for hook in self._hooks[name]:
            hook(self)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history)

    def stop(self, why: str) -> None:
        """End the training after the epoch under way. Where several processes train, the first one's word counts."""
        self._why_stop = why

    @property
    def ending(self) -> bool:
        """Whether no more epoch follows."""
        return bool(self._why_stop) or self.epoch >= self.epochs

    def run(self) -> History:
        """Epochs until the last, or until a callback stops it. Every callback ends, whatever another one does."""
        with contextlib.ExitStack() as ends:
            for hook in reversed(self._hooks["on_train_end"]):
                ends.callback(hook, self)
            try:
                self._call("on_train_begin")
                while not self._over():
                    self._epoch()
                if self.epoch < self.epochs:
                    self.history.stopped = self._why_stop
            except BaseException:
                self.failed = True
                raise
        return self.history

    def _over(self) -> bool:
        """Whether training is over, for all processes alike."""
        self._why_stop = self.team.agreed(self._why_stop)
        return self.ending

    def _epoch(self) -> None:
        """Every row once, or those that a checkpoint left of it; then what the epoch measured."""
        if not self.step:
            self.rate = self.optimizer.rates[0]
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
        self._check_weights()
        self._call("before_validation")
        sums = self.summed()
        counted = sums["counted"]
        if not counted:
            raise FloatingPointError("fit: the loss is nan: no row has a label, all are ignored; nothing was learned")
        measured = {"loss": sums["loss"] / counted, "accuracy": sums["right"] / counted, "lr": self.rate}
        measured = self.team.agreed(measured | self._measure())
        self.history.add(self.epoch, measured)
        self.step, self.sums = 0, dict.fromkeys(SUMS, 0.0)
        self._call("on_epoch_end")

    def _update(self, parts: list[Batch]) -> None:
        """Forward, backward, update. Whatever goes wrong, the parameters are those before or those after it."""
        parameters = self.optimizer.parameters
        before = [p._value for p in parameters]
        memory = [dict(kept) for kept in self.optimizer.memory]
        remembered = [(t, "_value", t._value) for t in self.constants]
        try:
            self.optimizer.zero_grad()
            sums, loss, counted = self._gradients(parts)
            if not math.isfinite(loss):
                words = self._why(f"the loss is {loss} at", parts)
                if not all(np.isfinite(data).all() for data in before):
                    before = self._previous  # the step before has spoiled them
                raise FloatingPointError(words)
            if counted:
                self._call("before_update")
                self._previous = before
                self.optimizer.step()
        except BaseException:
            kept = [(p, "_value", data) for p, data in zip(parameters, before, strict=True)]
            at_once([*kept, *remembered, (self.optimizer, "memory", memory)])
            raise
        for name, value in zip(SUMS, sums, strict=True):
            self.sums[name] += value
        self.step, self.updates = self.step + 1, self.updates + 1
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
                output, part = _answered(self.model(Tensor._leaf(part.x)), part)
                loss = self.loss(output, part.y) if part.weight is None else self._weighed(output, part, counted)
                loss.backward(None if alone else np.asarray(counted, loss.dtype), retain_graph=False)
                total += loss.item() * counted
                right += _right(output._value, part.y)
                count += counted
        mean, everywhere = total / (count or 1), count
        if self.team.size > 1:
            mean, everywhere = self._sum_gradients(mean, count)
        elif not alone and count:
            for p in self.optimizer.parameters:
                if p._grad is not None:
                    p._grad = p._grad / p.dtype.type(count)
        return (total, right, count), mean, everywhere

    def _weighed(self, output: Any, part: Batch, counted: int) -> Any:
        """The mean over the rows that count, of their losses times their weights."""
        assert part.weight is not None
        each = self.loss(output, part.y, reduction="none")
        if each.shape != part.weight.shape:
            found = f"it has shape {each.shape} for {len(part.y)} rows"
            wanted = "with weights the loss is asked for reduction='none' and one number for each row"
            raise ValueError(f"fit: {wanted}, but {found}")
        return (each * part.weight.astype(each.dtype)).sum() / counted

    def _sum_gradients(self, loss: float, count: int) -> tuple[float, int]:
        """The mean of the gradients over the rows of all processes, in one go.

        What is summed is one flat array: all gradients, then a 1 for each parameter that has one, the number of rows
        that count, and nan if a loss isn't finite.
        """
        parameters = self.optimizer.parameters
        flags = [*(p._grad is not None for p in parameters), count, 0 if math.isfinite(loss) else math.nan]
        flat = [np.zeros(p.size, p.dtype) if p._grad is None else p._grad.reshape(-1) for p in parameters]
        summed = self.team.sum(np.concatenate([*flat, np.array(flags, flat[0].dtype)]))
        *have, everywhere, finite = summed[len(summed) - len(flags) :].tolist()
        summed /= everywhere or 1
        start = 0
        for p, has in zip(parameters, have, strict=True):
            p._grad = summed[start : start + p.size].reshape(p.shape).astype(p.dtype, copy=False) if has else None
            start += p.size
        return (loss if math.isfinite(finite) or not math.isfinite(loss) else math.nan), round(everywhere)

    def _check_weights(self) -> None:
        """Refuse weights that aren't finite, where no other step follows whose loss would show it."""
        parameters = self.optimizer.parameters
        if self.step and not all(np.isfinite(p._value).all() for p in parameters):
            words = self._why("weights are nan or infinite after", [])
            at_once((p, "_value", data) for p, data in zip(parameters, self._previous, strict=True))
            raise FloatingPointError(words)

    def _why(self, what: str, parts: list[Batch]) -> str:
        """What went wrong, where, and the likely cause."""
        wrong = [name for name, t in self.model.named_tensors() if not np.isfinite(t._value).all()]
        size = max(float(np.abs(p._value).max(initial=0)) for p in self.optimizer.parameters)
        rate = max(self.optimizer.rates)
        reach = max((float(np.abs(part.x).max(initial=0)) for part in parts), default=0.0)
        if wrong:
            cause = f"{wrong[0]} holds nan or inf: the learning rate {rate:g} is likely too high"
        elif reach > 1e3:
            cause = f"features reach {reach:.3g}: scale them (nn.Standardize), or lower the learning rate"
        elif size > 1e3:
            cause = f"weights reach {size:.3g}: the learning rate {rate:g} is likely too high"
        else:
            cause = "the model's output or the loss is at fault: a logit of -inf at the label, a log of 0, 0/0"
        where = f"epoch {self.epoch + 1}, step {self.step + 1}"
        return f"fit: {what} {where}; {cause}. The model keeps its last finite weights"

    def summed(self) -> dict[str, float]:
        """The epoch's sums so far, over all processes."""
        return dict(zip(SUMS, self.team.sum(np.array(list(self.sums.values()))).tolist(), strict=True))

    def _measure(self) -> dict[str, float]:
        """Loss, accuracy and metrics of the rows held out; without any, the metrics of those trained on."""
        if self.held is None and not self.metrics:
            return {}
        sums, pieces = np.zeros(3), []
        for part in (self.held or self.rows).all(self.team):
            if not len(part.y):  # of few rows, some processes have none
                continue
            output = logits(self.model, part.x)
            if self.metrics:
                pieces.append((output[part.known].reshape(-1, *output.shape[1:] or (1,)), part.y[part.known]))
            if self.held is not None and part.counted:
                output, part = _answered(output, part)
                loss = value_of(self.loss, output, part.y)
                sums += (loss * part.counted, _right(output, part.y), part.counted)
        if self.held is None:
            return self._metrics(pieces)
        loss, right, counted = self.team.sum(sums).tolist()
        if not counted:
            raise FloatingPointError("fit: the validation's loss is nan: none of its rows has a label, all are ignored")
        measured = {"val_loss": loss / counted, "val_accuracy": right / counted}
        return measured | {f"val_{name}": value for name, value in self._metrics(pieces).items()}

    def _metrics(self, pieces: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        """The metrics of logits and labels, which all processes put together."""
        if not self.metrics:
            return {}
        output, y = (np.concatenate(a) for a in zip(*itertools.chain(*self.team.every(pieces)), strict=True))
        return {name: float(metric(output, y)) for name, metric in self.metrics.items()}

    def save(self, path: Any) -> None:
        """Write a checkpoint, from which ``fit(resume=True)`` goes on.

        Where several processes train, all have to call it in the middle of an epoch; the first writes.

        Raises:
            OSError: it can't be written; an older file is still there, whole.
        """
        self._check_weights()
        generators = {name: rng.bit_generator.state for name, rng in self.model.named_generators()}
        meta = {**self.meta, "history": self.history.state(), "generators": generators, "updates": self.updates}
        if self.step:
            meta["under_way"] = {
                "step": self.step, "lr": self.rate, **self.summed(), "order": self.order(),
                "generators": self.team.every(generators) if generators else [],
            }  # fmt: skip
        if self.team.rank:
            return
        groups = {
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "best": self.best,
            "callbacks": self._states_of_callbacks(),
        }  # fmt: skip
        try:
            checkpoint.save(path, groups, meta)
        except ValueError as error:  # zipfile's complaint that Ctrl-C left it half done
            if isinstance(error.__context__, KeyboardInterrupt):
                raise error.__context__ from None
            raise

    def _states_of_callbacks(self) -> dict[str, np.ndarray]:
        """The state of each callback that has any, under its name."""
        kept: dict[str, np.ndarray] = {}
        for name, callback in self.named_callbacks().items():
            for key, value in callback.state_dict().items():
                kept[f"{name}.{key}"] = array = np.asarray(value)
                if array.dtype.kind not in "fiub":
                    raise TypeError(f"{name}: its state has {key!r}: {value!r}, expected numbers or arrays of them")
        return kept

    def named_callbacks(self) -> dict[str, Any]:
        """The callbacks, each under its class's name and its number among those of the class."""
        names: dict[str, Any] = {}
        for callback in self.callbacks:
            kind = type(callback).__name__
            number = sum(name.partition(".")[0] == kind for name in names)
            names[f"{kind}.{number}"] = callback
        return names

    def order(self) -> dict[str, int]:
        """What fixes which rows a step of an epoch takes."""
        chosen = {"batch_size": self.batch_size, "accumulate": self.accumulate, "seed": self.seed}
        return chosen | self.rows.layout | {"rows": self.count}

    @property
    def measures(self) -> set[str]:
        """The names of what an epoch measures."""
        names = {"loss", "accuracy", "lr"}
        held = {"val_loss", "val_accuracy"} if self.held is not None else set()
        return names | held | {f"val_{name}" if held else name for name in self.metrics}


def labels_for(output: Any, y: np.ndarray) -> np.ndarray:
    """Labels as a loss takes them: of one logit in each row, in its shape."""
    return y.reshape(output.shape) if one_logit(output) and y.size == output.size else y


def one_logit(output: Any) -> bool:
    """Whether a model answers each row with a single logit."""
    return bool(math.prod(output.shape[1:]) == 1)


def _answered(output: Any, part: Batch) -> tuple[Any, Batch]:
    """An output and its batch as the loss takes them. Where one logit answers a row, rows without a label are left out.

    (A loss of more logits passes over these rows itself, by their label.)
    """
    if not one_logit(output):
        return output, part
    if part.counted < len(part.y):
        known = np.flatnonzero(part.known)
        output, part = output[known], Batch(*(None if a is None else a[known] for a in part))  # type: ignore[arg-type]
    weight = None if part.weight is None else part.weight.reshape(output.shape)
    return output, part._replace(y=labels_for(output, part.y), weight=weight)


def _right(output: np.ndarray, y: np.ndarray) -> int:
    """How many rows' largest logit is at the label (of soft targets, the largest weight); of one, its side of 0."""
    if output.size == len(output):
        return int(np.count_nonzero((output > 0) == (y > 0.5)))
    if y.ndim == output.ndim:
        y = y.argmax(axis=1)
    return int(np.count_nonzero(output.argmax(axis=1) == y))
