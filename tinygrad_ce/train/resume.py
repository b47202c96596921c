"""restore: a training goes on from its checkpoint, or says why the checkpoint doesn't fit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_ce.train.checkpoint import CheckpointError
from tinygrad_ce.train.history import History
from tinygrad_ce.train.training import SUMS, Training


def restore(training: Training, saved: tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]], path: str) -> None:
    """Go back to what was saved.

    Raises:
        CheckpointError: it doesn't fit this training; nothing has changed then.
    """
    groups, meta = saved
    under_way = meta.get("under_way")
    undo: list[Callable[[], Any]] = []
    try:
        history = History.from_state(meta["history"])
        states = meta["generators"]
        if under_way and under_way["generators"]:
            states = _own(training, under_way["generators"])
        _check(training, history, meta, states)
        _load(training.model, groups["model"], undo)
        _load(training.optimizer, groups["optimizer"], undo)
        callbacks = training.named_callbacks()
        kept = groups["callbacks"]
        for name, callback in callbacks.items():
            _load(callback, {key[len(name) + 1 :]: a for key, a in kept.items() if key.startswith(f"{name}.")}, undo)
        unknown = sorted({".".join(key.split(".")[:2]) for key in kept} - callbacks.keys())
        if unknown:
            raise ValueError(f"it keeps the state of {', '.join(unknown)}, and no such callback was given")
    except Exception as error:
        for back in reversed(undo):
            back()
        raise CheckpointError(f"{path}: a checkpoint, but not of this training: {error}") from error
    for name, rng in training.model.named_generators():
        rng.bit_generator.state = states[name]
    training.history, training.best, training.updates = history, groups["best"], meta["updates"]
    if under_way:
        training.step, training.rate = under_way["step"], under_way["lr"]
        if not training.team.rank:  # the sums of all processes are one's from now on
            training.sums = {name: under_way[name] for name in SUMS}


def _own(training: Training, states: list[dict[str, Any]]) -> dict[str, Any]:
    """In the middle of an epoch, each process's random generators are somewhere else."""
    if len(states) != training.team.size:
        there, here = len(states), training.team.size
        raise ValueError(f"it is in the middle of an epoch of {there} processes that draw, now there are {here}")
    return states[training.team.rank]


def _check(training: Training, history: History, meta: dict[str, Any], states: dict[str, Any]) -> None:
    """Hold a checkpoint against this training's options."""
    generators = dict(training.model.named_generators())
    if set(generators) != set(states):
        raise KeyError(f"random generators {sorted(states)}, expected {sorted(generators)}")
    for name, state in states.items():
        copy.deepcopy(generators[name].bit_generator).state = state  # it refuses what isn't its own
    before, now = set(history.history), training.measures
    if history.epoch and before != now:
        more, less = sorted(before - now), sorted(now - before)
        held = "; it began with validation" if "val_loss" in more else ""
        held = "; it began without validation" if "val_loss" in less else held
        raise ValueError(f"it measured {more or 'nothing'} more than this one, and {less or 'nothing'} less{held}")
    if "under_way" not in meta:
        return
    order, ours = meta["under_way"]["order"], training.order()
    for name in sorted(order.keys() | ours.keys()):
        was, is_now = order.get(name), ours.get(name)
        if was != is_now:
            raise ValueError(f"it is in the middle of an epoch with {name} {was}, now {name} is {is_now}")


def _load(thing: Any, state: Mapping[str, Any], undo: list[Callable[[], Any]]) -> None:
    before = thing.state_dict()
    undo.append(lambda: thing.load_state_dict(before))
    thing.load_state_dict(state)
