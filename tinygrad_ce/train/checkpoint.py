"""Checkpoints: plain arrays and a JSON text in one ``.npz``, written whole or not at all, read without executing."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

import numpy as np

from tinygrad_ce.common.files import replacing
from tinygrad_ce.data import arrays
from tinygrad_ce.data.arrays import Damage

__all__ = ["CheckpointError", "load", "save"]

_FORMAT = "tinygrad_ce checkpoint 1"
_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")  # by name: importing np.random takes 20 ms
# The field that is a position in a buffer, and the buffer's length.
_BUFFERS = {"MT19937": ("pos", 624), "Philox": ("buffer_pos", 4)}


class CheckpointError(ValueError):
    """A file that is no checkpoint, is damaged, or belongs to another model."""


def save(path: str | os.PathLike[str], groups: dict[str, dict[str, np.ndarray]], meta: dict[str, Any]) -> None:
    """Write groups of named arrays, and what JSON can hold. The file at path is the old one or the new one, never less.

    Raises:
        TypeError: an array of neither numbers nor text.
        ValueError: a group's name has a slash, which would make two of it.

    Example:
        >>> import numpy as np, os, tempfile, tinygrad_ce as tg
        >>> path = os.path.join(tempfile.mkdtemp(), "c.npz")
        >>> tg.train.checkpoint.save(path, {"model": {"w": np.ones(2)}}, {"epoch": 3})
        >>> tg.train.checkpoint.load(path)
        ({'model': {'w': array([1., 1.])}}, {'epoch': 3})
    """
    head = {"format": _FORMAT, "groups": sorted(groups), "meta": meta}
    text = _json(head)
    named: dict[str, Any] = {
        f"{group}/{name}": np.asarray(array) for group in groups for name, array in groups[group].items()
    }
    for name, array in named.items():
        arrays.check_plain(f"checkpoint.save: {name}", array)
    for group in groups:
        if "/" in group:
            raise ValueError(f"checkpoint.save: group {group!r}, expected a name without a slash")
    with replacing(path) as file:
        try:
            np.savez(file, meta=np.frombuffer(text.encode(), np.uint8), **named)
        except ValueError as error:  # zipfile's complaint that a full disk left it half done
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load(path: str | os.PathLike[str]) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    """Read groups of arrays and the rest. What ``fit`` goes on from is checked to be of the types that it wrote.

    Raises:
        CheckpointError: not a checkpoint of this project, or a damaged one.
        OSError: it can't be opened.

    Example:
        >>> import numpy as np, os, tempfile, tinygrad_ce as tg
        >>> path = os.path.join(tempfile.mkdtemp(), "c.npz")
        >>> tg.train.checkpoint.save(path, {"model": {"w": np.ones(2)}}, {"epoch": 3})
        >>> groups, meta = tg.train.checkpoint.load(path)
        >>> groups["model"]["w"], meta["epoch"]
        (array([1., 1.]), 3)
    """
    try:
        with arrays.open_file(path) as file:
            groups, meta = _parts(arrays.read_npz(file)[0])
        if meta.keys() >= {"history", "generators"}:
            _check_training(groups, meta)
    except Damage as error:
        raise CheckpointError(f"{path}: no whole checkpoint (truncated, or another program's file): {error}") from None
    return groups, meta


def _json(value: Any) -> str:
    return json.dumps(value, default=lambda a: a.tolist())  # a generator's state may hold arrays


def require(true: bool, what: str, value: Any, expected: str) -> None:
    """Refuse a field of a checkpoint that isn't what is expected."""
    if not true:
        raise Damage(f"{what} {arrays.shown(value)}, expected {expected}")


def is_list(value: Any, *kinds: type) -> bool:
    """Whether a value from JSON is a list of these types, and of nothing that merely inherits from them."""
    return isinstance(value, list) and all(type(entry) in kinds for entry in value)


def _parts(found: dict[str, np.ndarray]) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    """The groups of arrays, and what stands beside them."""
    text = found.pop("meta", None)
    if text is None or text.dtype != np.uint8 or text.ndim != 1:
        raise Damage(f"it holds {arrays.listed(list(found)) or 'nothing'}, expected an array 'meta' of a text's bytes")
    try:
        head = json.loads(text.tobytes())
    except (ValueError, RecursionError) as error:
        raise Damage(f"meta: {str(error)[:200]}, expected JSON") from None
    require(isinstance(head, dict), "meta:", head, "a dict")
    require(head.get("format") == _FORMAT, "meta: format", head.get("format"), repr(_FORMAT))
    names, meta = head.get("groups"), head.get("meta")
    require(is_list(names, str), "meta: groups", names, "a list of names")
    require(isinstance(meta, dict), "meta: meta", meta, "a dict")
    groups: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
    for key, array in found.items():
        group, _, name = key.partition("/")
        require(group in groups, "array", key, f"its name to begin with a group's: {arrays.listed(names)}")
        groups[group][name] = array
    return groups, meta


def _check_training(groups: dict[str, dict[str, np.ndarray]], meta: dict[str, Any]) -> None:
    """Hold every field that ``fit`` goes on from against what it writes; what it can't use would fail midway."""
    for group in ("model", "optimizer", "best", "callbacks"):
        require(group in groups, "groups", sorted(groups), f"{group!r} among them")
        for name, array in groups[group].items():
            what = f"{group}/{arrays.word(name)} has dtype"
            require(array.dtype.kind in "fiub", what, str(array.dtype), "real numbers")
    shapes = {group: {name: array.shape for name, array in groups[group].items()} for group in ("model", "best")}
    alike = shapes["best"] in ({}, shapes["model"])
    require(alike, "best has names and shapes", shapes["best"], "none, or those of model")
    rate = groups["optimizer"].get("lr")
    require(rate is not None and rate.ndim < 2, "optimizer/lr:", rate, "a number, or one for each group")
    _check_history(meta["history"])
    _check_under_way(meta.get("under_way"))
    _check_count("meta: updates", meta.get("updates"), 0)
    _check_generators("meta: generators", meta["generators"])


def _check_history(state: Any) -> None:
    require(isinstance(state, dict), "meta: history", state, "a dict")
    epochs, measured = state.get("epoch"), state.get("history")
    counted = is_list(epochs, int) and epochs == list(range(len(epochs)))
    require(counted, "meta: history: epoch", epochs, "a list of 0, 1, 2, …")
    require(isinstance(measured, dict), "meta: history: history", measured, "a dict")
    for name, values in measured.items():
        what = f"meta: history: {arrays.word(name)}"
        require(is_list(values, float, int) and len(values) == len(epochs), what, values, f"{len(epochs)} numbers")
        require(all(isinstance(v, float) or abs(v) < 2**53 for v in values), what, values, "numbers below 2**53")


def _check_under_way(under_way: Any) -> None:
    """How far an epoch was, if the checkpoint was written in the middle of one."""
    if under_way is None:
        return
    require(isinstance(under_way, dict), "meta: under_way", under_way, "a dict")
    _check_count("meta: under_way: step", under_way.get("step"), 1)
    for name in ("lr", "loss", "right", "counted"):
        require(type(under_way.get(name)) in (float, int), f"meta: under_way: {name}", under_way.get(name), "a number")
    order, ranks = under_way.get("order"), under_way.get("generators")
    require(isinstance(order, dict), "meta: under_way: order", order, "a dict")
    for name, value in order.items():
        _check_count(f"meta: under_way: order: {arrays.word(name)}", value, 0)
    require(is_list(ranks, dict), "meta: under_way: generators", ranks, "a list of dicts")
    for states in ranks:
        _check_generators("meta: under_way: generators", states)


def _check_count(what: str, value: Any, least: int) -> None:
    require(type(value) is int and least <= value < 2**53, what, value, f"a whole number of at least {least}")


def _check_generators(what: str, states: Any) -> None:
    require(isinstance(states, dict), what, states, "a dict")
    for name, state in states.items():
        _check_generator(f"{what}: {arrays.word(name)}", state)


def _check_generator(what: str, state: Any) -> None:
    """Try a state of one of NumPy's generators on a fresh one. NumPy before 2.5 takes positions outside its buffers."""
    named = isinstance(state, dict) and isinstance(state.get("bit_generator"), str)
    require(named, what, state, "a generator's state")
    if state["bit_generator"] not in _GENERATORS:  # another package's; NumPy's own refuse it by its name
        return
    kind = getattr(np.random, state["bit_generator"])
    if kind.__name__ in _BUFFERS:
        name, length = _BUFFERS[kind.__name__]
        inside = state.get("state")
        position = (state | inside if isinstance(inside, dict) else state).get(name)
        within = not isinstance(position, int | float) or 0 <= position <= length
        require(within, f"{what}: {name}", position, f"0 to {length}")
    fresh = kind(0)
    with contextlib.suppress(KeyError, IndexError, TypeError, ValueError, OverflowError):
        fresh.state = state
    found = json.loads(_json(fresh.state))
    require(found == state, what, state, f"a state of {kind.__name__}")
