"""Callbacks that take part in a training: they clip, average, stop and save it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce.common.options import finite, number, whole
from tinygrad_ce.engine.atomic import at_once
from tinygrad_ce.optim.clip import check_bound, check_norm, clip_grad_value, clip_norm
from tinygrad_ce.optim.schedules import direction
from tinygrad_ce.tensor import Tensor
from tinygrad_ce.train.callback import Callback
from tinygrad_ce.train.training import Training


class EarlyStopping(Callback):
    """Stop when a measured number has not improved for so many epochs, and give the model its best weights back.

    ``fit(patience=n)`` is EarlyStopping(n). Training also ends with the best weights where it ran to its last epoch;
    after an error or Ctrl-C it leaves the model as it is.

    Args:
        patience: stop after so many epochs without improvement; at least 1.
        monitor: the number in the history to watch, such as "val_accuracy"; the validation's loss, or the training's
            where there is no validation, unless given.
        mode: "min" or "max": whether lower or higher is better. None: "max" if monitor names an accuracy, else "min".
        min_delta: by how much a number has to be better than the best one so far; at least 0.

    Raises:
        ValueError: patience below 1, an unknown mode, min_delta below 0; in training, nothing is measured by the name
            monitor.

    Example:
        >>> import tinygrad_ce as tg
        >>> model = tg.nn.Linear(4, 3, rng=0)
        >>> stopping = tg.train.EarlyStopping(2, monitor="val_accuracy")
        >>> history = tg.fit(
        ...     model, tg.data.load_iris(), epochs=99, validation=0.2, callbacks=[stopping], progress=False
        ... )
        >>> len(history) < 99, history.stopped
        (True, 'no better for 2 epochs')
    """

    def __init__(
        self, patience: int, monitor: str | None = None, mode: str | None = None, min_delta: float = 0.0
    ) -> None:
        self.patience = whole("EarlyStopping", "patience", patience)
        self.monitor, self.mode = monitor, direction("EarlyStopping", mode, monitor)
        self.min_delta = finite("EarlyStopping", "min_delta", min_delta)
        self._first = 0  # the epoch from which on it has seen the weights

    def on_train_begin(self, training: Training) -> None:
        """Stop at once if a resumed training has no patience left."""
        if not training.epoch:
            self._first = 0
        elif training.best:
            self._judge(training)
        else:  # it takes part from here on
            self._first = training.epoch

    def on_epoch_end(self, training: Training) -> None:
        """Keep the weights of the best epoch so far; stop where it is too long ago."""
        if self._judge(training) == training.epoch - 1:
            training.best = training.model.state_dict()

    def _judge(self, training: Training) -> int:
        """The best epoch, the first one of equals; stop if it is too long ago."""
        sign = 1 if self.mode == "min" else -1
        values = [sign * v for v in training.history.measured("EarlyStopping", self.monitor)]
        values = [math.inf if math.isnan(v) else v for v in values]
        best = self._first
        for i in range(best + 1, len(values)):
            best = i if values[i] < values[best] - self.min_delta else best
        if len(values) - 1 - best >= self.patience:
            training.stop(f"no better for {self.patience} epochs")
        return best

    def on_train_end(self, training: Training) -> None:
        """Give the model its best weights back."""
        if training.best and not training.failed:
            training.model.load_state_dict(training.best)

    def state_dict(self) -> dict[str, Any]:
        """The epoch from which on it took part."""
        return {"first": self._first}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; from none, where a training began without it.

        Raises:
            ValueError: it isn't an EarlyStopping's.
        """
        if set(state) - {"first"} or np.shape(state.get("first", 0)) or not state.get("first", 0) >= 0:
            raise ValueError(f"EarlyStopping: the state has {dict(state)}, expected first, a whole number")
        self._first = int(state.get("first", 0))


class ClipGradNorm(Callback):
    """Scale the gradients of each step by one factor, so that their norm together is at most max_norm.

    Args:
        max_norm: the bound, at least 0.
        norm_type: p of the norm, above 0; inf for the largest absolute entry.

    Raises:
        FloatingPointError: in training, a gradient holds nan or inf; its parameter is named, and no weight has changed.

    Example:
        >>> import tinygrad_ce as tg
        >>> model = tg.nn.Linear(4, 3, rng=0)
        >>> clipping = [tg.train.ClipGradNorm(0.5)]
        >>> history = tg.fit(model, tg.data.load_iris(), epochs=100, callbacks=clipping, progress=False)
        >>> history["accuracy"][-1] > 0.9
        True

    See also: ``tg.optim.clip_grad_norm``, for loops of one's own.
    """

    def __init__(self, max_norm: float, norm_type: float = 2.0) -> None:
        check_norm("ClipGradNorm", max_norm, norm_type)
        self.max_norm, self.norm_type = max_norm, norm_type
        self._named: list[tuple[str, Tensor]] = []

    def on_train_begin(self, training: Training) -> None:
        """Look up what the parameters are called."""
        names = {id(p): name for name, p in training.model.named_parameters()}
        parameters = training.optimizer.parameters
        self._named = [(names.get(id(p), f"parameters[{i}]"), p) for i, p in enumerate(parameters)]

    def before_update(self, training: Training) -> None:
        """Clip."""
        clip_norm("ClipGradNorm", self._named, self.max_norm, self.norm_type)


class ClipGradValue(Callback):
    """Bring each entry of the gradients of each step into [-clip_value, clip_value].

    Args:
        clip_value: the bound, at least 0.

    Example:
        >>> import tinygrad_ce as tg
        >>> model = tg.nn.Linear(4, 3, rng=0)
        >>> clipping = [tg.train.ClipGradValue(0.1)]
        >>> history = tg.fit(model, tg.data.load_iris(), epochs=100, callbacks=clipping, progress=False)
        >>> history["accuracy"][-1] > 0.9
        True

    See also: ``tg.optim.clip_grad_value``, for loops of one's own.
    """

    def __init__(self, clip_value: float) -> None:
        self.clip_value = check_bound("ClipGradValue", "clip_value", clip_value)

    def before_update(self, training: Training) -> None:
        """Clip."""
        clip_grad_value(training.optimizer.parameters, self.clip_value)


class EMA(Callback):
    r"""Exponential moving average of the weights: what is validated, saved and left at the end are averages.

    After each update t = 0, 1, …, with :math:`d_t = \min(d, (1 + t) / (10 + t))`, of each trained parameter

    .. math:: a \leftarrow d_t\, a + (1 - d_t)\, w.

    The smaller :math:`d_t` of the first updates let the average forget the weights before training. The optimiser
    steps the weights w themselves. Between epochs, and when training is over, the model holds the averages a:
    validation, early stopping, checkpoints after an epoch and predictions take these.

    Args:
        decay: d in [0, 1): the average reaches back over about 1 / (1 - d) updates.

    Example:
        >>> import tinygrad_ce as tg
        >>> model = tg.nn.Linear(4, 3, rng=0)
        >>> average = [tg.train.EMA(0.99)]
        >>> history = tg.fit(
        ...     model, tg.data.load_iris(), epochs=100, validation=0.2, callbacks=average, progress=False
        ... )
        >>> history["val_accuracy"][-1] > 0.9
        True

    Source:
        Polyak, Juditsky, Acceleration of stochastic approximation by averaging, 1992.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= number("EMA", "decay", decay) < 1:
            raise ValueError(f"EMA: decay is {decay!r}, expected a number in [0, 1)")
        self.decay = float(decay)
        self._forget()

    def _forget(self) -> None:
        self._updates = 0
        self._inside = False  # whether the model holds the averages; the others are here
        self._others: list[np.ndarray] = []

    def on_train_begin(self, training: Training) -> None:
        """The average begins with the weights as they are."""
        weights = [p._value for p in training.optimizer.parameters]
        if not self._others:
            self._others = weights
        elif [(a.shape, a.dtype) for a in self._others] != [(w.shape, w.dtype) for w in weights]:
            raise ValueError("EMA: its state is of other parameters than the optimizer's")

    def on_epoch_begin(self, training: Training) -> None:
        """The weights themselves are stepped."""
        if self._inside:
            self._swap(training)

    def after_update(self, training: Training) -> None:
        """Average."""
        d = min(self.decay, (1 + self._updates) / (10 + self._updates))
        pairs = zip(self._others, training.optimizer.parameters, strict=True)
        averages = [np.asarray(d * a + (1 - d) * p._value) for a, p in pairs]
        at_once([(self, "_others", averages), (self, "_updates", self._updates + 1)])

    def before_validation(self, training: Training) -> None:
        """What is measured, and saved, is the average."""
        self._swap(training)

    def on_train_end(self, training: Training) -> None:
        """The average is what training leaves; but if a step has spoiled it, the last finite weights."""
        if self._others and not self._inside and all(np.isfinite(a).all() for a in self._others):
            self._swap(training)
        self._forget()

    def _swap(self, training: Training) -> None:
        parameters = training.optimizer.parameters
        changes = [(p, "_value", a) for p, a in zip(parameters, self._others, strict=True)]
        at_once([*changes, (self, "_others", [p._value for p in parameters]), (self, "_inside", not self._inside)])

    def state_dict(self) -> dict[str, Any]:
        """The weights that the model doesn't hold, whether it holds the averages, and how many updates there were."""
        others = {f"others.{i}": a.copy() for i, a in enumerate(self._others)}
        return {"updates": self._updates, "inside": int(self._inside), **others}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; that it fits the parameters is checked when training begins.

        Raises:
            ValueError: it isn't an EMA's; nothing has changed then.
        """
        expected = {"updates", "inside", *(f"others.{i}" for i in range(len(state) - 2))}
        if set(state) != expected:
            raise ValueError(f"EMA: the state has {sorted(state) or 'nothing'}, expected updates, inside, others.0, …")
        updates, inside = (np.asarray(state[name]) for name in ("updates", "inside"))
        if updates.shape or inside.shape or not updates >= 0 or inside not in (0, 1):
            raise ValueError(f"EMA: updates is {updates}, inside {inside}, expected a whole number, and 0 or 1")
        others = [np.array(state[f"others.{i}"]) for i in range(len(state) - 2)]
        at_once([(self, "_updates", int(updates)), (self, "_inside", bool(inside)), (self, "_others", others)])


class Checkpoint(Callback):
    """Write a checkpoint after every so many epochs, and after the last.

    ``fit(checkpoint=path)`` is Checkpoint(path). With ``{epoch}`` or ``{step}`` in its name each is another file:
    "run-{epoch:03}.npz" becomes run-001.npz after the first epoch, and ``{step}`` is the number of updates in all.
    Otherwise the one file is replaced, and is whole at any moment. To go on: ``fit(checkpoint=file, resume=True)``.

    Args:
        path: the file; its folder must exist.
        every: how many epochs lie between two.
        steps: also write in the middle of an epoch, after every so many updates.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: every or steps is below 1; the name has fields other than epoch and step.

    Example:
        >>> import os, tempfile, tinygrad_ce as tg
        >>> folder = tempfile.mkdtemp()
        >>> saving = [tg.train.Checkpoint(os.path.join(folder, "run-{epoch:02}.npz"), every=2)]
        >>> model = tg.nn.Linear(4, 3, rng=0)
        >>> history = tg.fit(model, tg.data.load_iris(), epochs=5, callbacks=saving, progress=False)
        >>> sorted(os.listdir(folder))
        ['run-02.npz', 'run-04.npz', 'run-05.npz']
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1, *, steps: int | None = None) -> None:
        self.path = os.fspath(path)
        self.every = whole("Checkpoint", "every", every)
        self.steps = None if steps is None else whole("Checkpoint", "steps", steps)
        require_folder("Checkpoint", self.path)
        if os.path.isdir(self.path):
            raise IsADirectoryError(f"Checkpoint: {self.path} is a folder, expected a file's path")
        try:
            self._name(1, 1)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            expected = f"expected no fields but {{epoch}} and {{step}}: {error}"
            raise ValueError(f"Checkpoint: path is {self.path!r}, {expected}") from None

    def _name(self, epoch: int, step: int) -> Path:
        folder, name = os.path.split(self.path)
        return Path(folder, name.format(epoch=epoch, step=step))

    def after_update(self, training: Training) -> None:
        """Write, if so many updates were done."""
        if self.steps and training.updates % self.steps == 0:
            training.save(self._name(training.epoch + 1, training.updates))

    def on_epoch_end(self, training: Training) -> None:
        """Write, if so many epochs were done, or this was the last."""
        if training.epoch % self.every == 0 or training.ending:
            training.save(self._name(training.epoch, training.updates))


def require_folder(where: str, path: str | os.PathLike[str]) -> None:
    """Refuse a file's path whose folder isn't there."""
    folder = Path(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{where}: {os.fspath(path)}: the folder {folder} does not exist")
