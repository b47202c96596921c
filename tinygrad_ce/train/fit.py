"""fit: train a classifier."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_ce import losses
from tinygrad_ce.common import spellings
from tinygrad_ce.common.options import whole
from tinygrad_ce.losses.validate import warn
from tinygrad_ce.nn.module import Module
from tinygrad_ce.nn.norms import BatchNorm1d
from tinygrad_ce.optim import SGD, Optimizer, Schedule
from tinygrad_ce.train import checkpoint as files
from tinygrad_ce.train.callback import Callback, as_list
from tinygrad_ce.train.callbacks import EMA, Checkpoint, EarlyStopping
from tinygrad_ce.train.history import History
from tinygrad_ce.train.logs import show
from tinygrad_ce.train.metrics import know, logits, value_of
from tinygrad_ce.train.resume import restore
from tinygrad_ce.train.rows import Rows, as_rows, check_weights, weights_of_classes
from tinygrad_ce.train.team import ALONE, Team
from tinygrad_ce.train.training import Training, labels_for
from tinygrad_ce.train.watch import Watch


@spellings.told
def fit(
    model: Module, data: Any, *,
    epochs: int = 20, batch_size: int = 32, accumulate: int = 1, optimizer: Optimizer | None = None,
    loss: Callable[..., Any] = losses.cross_entropy, class_weight: Any = None, sample_weight: Any = None,
    metrics: Mapping[str, Callable[..., float]] | Sequence[Callable[..., float]] | Callable[..., float] = (),
    schedule: Schedule | None = None, validation: Any = None, patience: int | None = None,
    callbacks: Iterable[Callback | Schedule] | Callback | Schedule = (),
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None, resume: bool = False,
    meta: dict[str, Any] | None = None, seed: int = 0, progress: bool = True, team: Team = ALONE,
) -> History:  # fmt: skip
    r"""Train a model on rows and their labels, by steps that each lower the mean loss of some rows.

    A step's loss is :math:`\frac{1}{n} \sum_i s_i\, w_{y_i}\, \ell_i` over the n rows of the step that have a label:
    with the rows' weights s and the classes' w, 1 unless given. Weights that average to 1 leave the learning rate what
    it is.

    Args:
        model: a Module that turns rows of features into rows of logits, one for each class; or, for labels of 0 and 1
            and a loss such as binary_cross_entropy_with_logits, into one logit, above 0 for class 1.
        data: a Dataset, a pair (x, y), or a ``tg.data.Stream`` of more rows than memory holds. x may be a DataFrame of
            pandas or polars or a pyarrow.Table, and y the name of its label's column: it becomes numbers as
            ``tg.data.load_table`` says. Of a DataFrame or a ``tg.data.Table`` the model knows the plan, so that
            ``predict`` takes DataFrames, too.
        epochs: how often each row is seen.
        batch_size: how many rows go through the model together.
        accumulate: how many such batches share a step: the step of 8 batches of 32 is that of one batch of 256.
        optimizer: SGD with a learning rate of 0.1 unless given.
        loss: a function of logits and targets, the mean over rows; with weights it is asked for reduction="none". For
            one logit in each row, the targets come in the logits' shape, and rows without a label are left out.
        class_weight: a number for each class, a mapping of some classes (index or name) to numbers, or "balanced": the
            rarer a class, the more it counts, 1 on average over the rows.
        sample_weight: (N) numbers, one for each row of arrays.
        metrics: functions of all (logits, targets), measured after each epoch, on the validation's rows if there are
            any, otherwise on the training's; by name, or under their own names.
        schedule: changes the optimiser's learning rate; as if it were the last of the callbacks.
        validation: a Dataset, pair or Stream to measure after each epoch, or the fraction of data to hold out for it;
            measured without weights. A DataFrame's medians and scales are those of all its rows, these among them;
            for those of the others alone, ``load_table(frame, label, held=[0.2])`` and ``split``.
        patience: stop when the validation's loss (without validation, the training's) has not fallen for so many
            epochs, and give the model its best weights back: ``tg.train.EarlyStopping``.
        callbacks: what else takes part; see ``tg.train.Callback``.
        checkpoint: a file to write after every epoch; or a ``tg.train.Checkpoint``, which says how often.
        resume: go on from that file, to the same bits as if training had never stopped.
        meta: what to write into the checkpoint beside it, as JSON.
        seed: of the order of the rows.
        progress: whether to show any.
        team: who shares the steps; ``tg.mpi.fit`` gives one of several processes.

    Returns, with the model left in evaluation:
        A History with "loss", "accuracy", "lr" and, with validation, "val_loss" and "val_accuracy", and the metrics.

    Raises:
        FloatingPointError: the loss is nan or infinite; the step and the likely cause are named, and the model keeps
                its last finite weights.
        ValueError: a wrong label (its row is named), a feature that isn't finite, an option out of range.
        CheckpointError: the checkpoint to resume from is damaged or belongs to another model.
        KeyboardInterrupt: the model keeps the weights of its last whole step.

    Warns:
        UserWarning: once, where a training by cross-entropy is plainly sick: one class alone, a layer that no gradient
                reaches, a loss that was never below log C, features that are large and not scaled;
                ``tg.study.diagnose`` finds more.

    Example:
        >>> import tinygrad_ce as tg
        >>> model = tg.nn.Linear(4, 3, rng=0)
        >>> history = tg.fit(model, tg.data.load_iris(), epochs=50, progress=False)
        >>> history["accuracy"][-1] > 0.9
        True
    """
    epochs, batch_size = whole("fit", "epochs", epochs), whole("fit", "batch_size", batch_size)
    accumulate, seed = whole("fit", "accumulate", accumulate), whole("fit", "seed", seed, 0)
    stopping = None if patience is None else EarlyStopping(whole("fit", "patience", patience))
    if resume and checkpoint is None:
        raise ValueError("fit: resume=True needs checkpoint, the file to go on from")
    saving = Checkpoint(checkpoint) if isinstance(checkpoint, str | os.PathLike) else checkpoint
    optimizer = optimizer or SGD(model.parameters(), lr=0.1)
    everything = (*as_list(callbacks), schedule, stopping, saving, *(show() if progress else []), Watch())
    taking_part = [callback for callback in everything if callback is not None]
    taking_part.sort(key=lambda callback: isinstance(callback, Checkpoint))  # they write what the others have left
    _check_kinds(model, optimizer, schedule, taking_part)
    rows, held = _rows(data, validation, sample_weight, seed)
    classes = _check_labels(model, loss, rows, held)
    if class_weight is not None:
        rows.class_weight = weights_of_classes("fit", rows, class_weight, classes, team)
    check_weights("fit", rows, team)
    if accumulate > 1 or team.size > 1:
        _check_mean(model, loss, rows)
        _warn_of_batch_norms(model, team)
    training = Training(
        model, optimizer, loss, taking_part, rows=rows, held=held, metrics=_named(metrics), epochs=epochs,
        batch_size=batch_size, accumulate=accumulate, seed=seed, meta=_plain(meta or {}), team=team,
    )  # fmt: skip
    if resume and saving is not None:
        restore(training, files.load(saving.path), saving.path)
    know(model, rows.plan)
    return training.run()


def _check_kinds(model: Module, optimizer: Any, schedule: Any, callbacks: list[Any]) -> None:
    """Refuse what is of another type than it has to be, or was made for another model."""
    _check_kind("optimizer", optimizer, Optimizer)
    if schedule is not None:
        _check_kind("schedule", schedule, Schedule)
    if not {id(p) for p in optimizer.parameters} & {id(p) for p in model.parameters()}:
        raise ValueError("fit: the optimizer has none of this model's parameters; was the model made anew after it?")
    for i, callback in enumerate(callbacks):
        _check_kind(f"callbacks[{i}]", callback, Callback, Schedule)
        name = type(callback).__name__
        if any(callback is other for other in callbacks[:i]):
            raise ValueError(f"fit: one {name} takes part twice; as schedule or checkpoint, too?")
        if isinstance(callback, Schedule) and callback.optimizer is not optimizer:
            raise ValueError(f"{name}: it was made for another optimizer than fit has; give fit(optimizer=…) the same")
    for kind in (EMA, EarlyStopping):
        if sum(isinstance(callback, kind) for callback in callbacks) > 1:
            words = f"more than one {kind.__name__} takes part, and each would give the model its weights"
            raise ValueError(f"fit: {words}")


def _check_kind(name: str, thing: Any, *kinds: type) -> None:
    if not isinstance(thing, kinds):
        expected = kinds[0].__name__
        raise TypeError(f"fit: {name} is of type {type(thing).__name__}, expected an instance of {expected}")


def _rows(data: Any, validation: Any, sample_weight: Any, seed: int) -> tuple[Rows, Rows | None]:
    """The rows to train on, and those to measure."""
    rows = as_rows("fit", data, sample_weight)
    if isinstance(validation, float):
        return rows.split(validation, seed)
    return rows, None if validation is None else as_rows("fit: validation", validation, None, rows.plan)


def _check_labels(model: Module, loss: Callable[..., Any], rows: Rows, held: Rows | None) -> int:
    """Hold every label against the number of logits that the model gives, before anything is changed."""
    output = logits(model, rows.first)
    count = int(output.shape[-1]) if output.size > 1 else 1
    if count == 1:
        _check_one_logit(loss, output)
    rows.check_labels(count)
    if held is not None:
        logits(model, held.first)
        held.check_labels(count)
        for name in set(rows.classes) & set(held.classes):
            number, other = rows.classes.index(name), held.classes.index(name)
            if number != other:
                raise ValueError(f"fit: validation numbers the classes otherwise: {name!r} is {other}, not {number}")
    return max(count, 2)


def _check_one_logit(loss: Callable[..., Any], output: np.ndarray) -> None:
    """Try whether a loss takes one logit in each row, also below 0, with labels of 0 and 1 in the same shape."""
    try:
        value_of(loss, np.full_like(output, -1), np.zeros(output.shape, np.intp))
    except (TypeError, ValueError) as error:
        expected = "expected loss=tg.binary_cross_entropy_with_logits, or a model with one logit for each class"
        raise ValueError(f"fit: the model gives one logit in each row, {expected}; the loss says: {error}") from error


def _check_mean(model: Module, loss: Callable[..., Any], rows: Rows) -> None:
    """A step in parts is right only for a loss that is a mean over rows; try it on a few."""
    part = next(iter(rows.all(ALONE)))
    known = np.flatnonzero(part.y >= 0 if part.y.ndim == 1 else np.ones(len(part.y)))[:32]
    x, y = part.x[known], part.y[known]
    output, half = logits(model, x), len(y) // 3
    if y.ndim == 1:  # other classes in each part, which would show weights of classes
        y = np.arange(len(y)) * max(output[:1].size, 2) // len(y)
    parts = (slice(None), slice(half), slice(half, None))
    y = labels_for(output, y)
    whole, first, second = (value_of(loss, output[s], y[s]) for s in parts)
    mean = (first * half + second * (len(y) - half)) / len(y) if half else whole
    if abs(whole - mean) > 1e-3 * (abs(first) + abs(second)):
        raise ValueError(
            f"fit: the loss of {len(y)} rows is {whole:.6g}, but the mean over its parts is {mean:.6g}; steps in parts "
            "need a loss that is a mean over rows (of weighted classes give class_weight, not a loss with weight)"
        )


def _warn_of_batch_norms(model: Module, team: Team) -> None:
    """Say that a step in parts is another one where a row's output depends on the rows beside it."""
    found = [name or "the model" for name, layer in model.named_modules() if isinstance(layer, BatchNorm1d)]
    if found and not team.rank:
        words = f"fit: BatchNorm1d ({', '.join(found)}) normalises each part of a step by that part's own rows, so the"
        warn(f"{words} step is not that of one batch; LayerNorm depends on no other rows")


def _plain(meta: dict[str, Any]) -> dict[str, Any]:
    """Refuse now what could not be written after an epoch."""
    taken = {"history", "generators", "under_way", "updates"} & meta.keys()
    if taken:
        raise ValueError(f"fit: meta has {sorted(taken)}, names that the checkpoint itself uses")
    try:
        json.dumps(meta)
    except (TypeError, ValueError) as error:
        raise TypeError(f"fit: meta: {error}, expected what JSON can hold") from None
    return meta


def _named(metrics: Any) -> dict[str, Callable[..., float]]:
    metrics = [metrics] if callable(metrics) else metrics
    if isinstance(metrics, Mapping):
        named = dict(metrics)
    else:
        names = [getattr(metric, "__name__", str(metric)) for metric in metrics]
        named = dict(zip(names, metrics, strict=True))
        if len(named) < len(names):
            raise ValueError(f"fit: metrics has {names}; give a dict with a name for each")
    for name, metric in named.items():
        if not callable(metric) or name in ("loss", "accuracy", "lr") or str(name).startswith("val_"):
            expected = "functions of (logits, targets) under names of their own"
            raise ValueError(f"fit: metrics has {name!r}, expected {expected}")
    return named
