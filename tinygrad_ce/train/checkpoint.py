"""Checkpoints: plain arrays and a JSON text in one ``.npz``, written whole or not at all, read without executing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

import numpy as np

from tinygrad_ce.data.files import DAMAGE

_FORMAT = "tinygrad_ce checkpoint 1"


class CheckpointError(ValueError):
    """A file that is no checkpoint, is damaged, or belongs to another model."""


def save(path: str | os.PathLike[str], groups: dict[str, dict[str, np.ndarray]], meta: dict[str, Any]) -> None:
    """Write groups of named arrays, and what JSON can hold. The file at path is the old one or the new one, never less.

    Example:
        >>> import numpy as np, os, tempfile, tinygrad_ce as tg
        >>> path = os.path.join(tempfile.mkdtemp(), "c.npz")
        >>> tg.train.checkpoint.save(path, {"model": {"w": np.ones(2)}}, {"epoch": 3})
        >>> tg.train.checkpoint.load(path)
        ({'model': {'w': array([1., 1.])}}, {'epoch': 3})
    """
    path = Path(path)
    head = {"format": _FORMAT, "groups": sorted(groups), "meta": meta}
    text = json.dumps(head, default=lambda a: a.tolist())  # a generator's state may hold arrays
    arrays = {f"{group}/{name}": array for group, named in groups.items() for name, array in named.items()}
    part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        with open(part, "xb") as file:
            np.savez(file, allow_pickle=False, meta=np.frombuffer(text.encode(), np.uint8), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def load(path: str | os.PathLike[str]) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    """Read groups of arrays and the rest.

    Errors:
        CheckpointError: not a checkpoint of this project, or a damaged one.
        OSError: it can't be opened.
    """
    with open(path, "rb") as file:
        return _read(path, file)


def _read(path: Any, file: IO[bytes]) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            head = json.loads(bytes(arrays["meta"]))
            if head["format"] != _FORMAT:
                raise CheckpointError(f"{path}: format {head['format']!r}, expected {_FORMAT!r}")
            groups: dict[str, dict[str, np.ndarray]] = {group: {} for group in head["groups"]}
            for key in arrays.files:
                group, _, name = key.partition("/")
                if group in groups:
                    groups[group][name] = arrays[key]
            return groups, head["meta"]
    except CheckpointError:
        raise
    except DAMAGE as error:
        raise CheckpointError(f"{path}: no whole checkpoint (truncated, or another program's file): {error}") from None
