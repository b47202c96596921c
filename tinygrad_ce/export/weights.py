"""Weights as safetensors files, out and in."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence

import numpy as np

from tinygrad_ce import nn
from tinygrad_ce.common.files import write
from tinygrad_ce.data import arrays
from tinygrad_ce.data.arrays import Damage, listed
from tinygrad_ce.engine.atomic import at_once
from tinygrad_ce.export.extra import extra_module
from tinygrad_ce.tensor import Tensor
from tinygrad_ce.train.checkpoint import CheckpointError


def safetensors(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a model's Tensors as a safetensors file, under the names of PyTorch's ``state_dict``.

    A Tensor that stands in several places is written once, under its first name; the others are in the file's metadata,
    as ``safetensors.torch.save_model`` has it, so that ``safetensors.torch.load_model`` reads it.

    Raises:
        ImportError: safetensors isn't installed.
        TypeError: a Tensor has a dtype that safetensors doesn't know.

    Example:
        >>> import os, tempfile, tinygrad_ce as tg
        >>> path = os.path.join(tempfile.mkdtemp(), "m.safetensors")
        >>> a, b = (tg.nn.Sequential(tg.nn.Linear(4, 3, rng=seed)) for seed in (0, 1))
        >>> tg.export.safetensors(a, path)
        >>> tg.export.load_safetensors(b, path)
        >>> bool((a[0].weight == b[0].weight).all())
        True

    Source:
        https://huggingface.co/docs/safetensors.
    """
    library = extra_module("safetensors.numpy", "safetensors")
    found: dict[str, np.ndarray] = {}
    also: dict[str, str] = {}
    for t, (first, *others) in _all_names(model):
        if t.dtype.itemsize > 8:
            raise TypeError(f"safetensors: {first} has dtype {t.dtype}, expected numbers of at most 8 bytes")
        # The library writes a buffer as it lies in memory, whatever its strides say.
        found[first] = np.array(t._value, order="C")
        also.update(dict.fromkeys(others, first))
    write(path, library.save(found, metadata=also or None))


def load_safetensors(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load a model's Tensors from a safetensors file, ours or PyTorch's: all of them, or none if anything doesn't fit.

    Names are those of ``model.state_dict()``; a Tensor that stands in several places may come under any of its names.
    Numbers are converted to the Tensors' own dtypes.

    Raises:
        ImportError: safetensors isn't installed.
        CheckpointError: not a safetensors file, a damaged one, or another model's: a name is missing or unknown, an
                array has another shape, or numbers that its Tensor's dtype can't hold.
        OSError: it can't be opened.

    Example:
        >>> import os, tempfile, tinygrad_ce as tg
        >>> path = os.path.join(tempfile.mkdtemp(), "m.safetensors")
        >>> tg.export.safetensors(tg.nn.Linear(4, 3, rng=0), path)
        >>> model = tg.nn.Linear(4, 3, rng=1)
        >>> tg.export.load_safetensors(model, path)
        >>> bool((model.weight == tg.nn.Linear(4, 3, rng=0).weight).all())
        True
    """
    library = extra_module("safetensors.numpy", "safetensors")
    damaged = importlib.import_module("safetensors").SafetensorError
    try:
        with arrays.open_file(path) as file:
            found = library.load(file.read())
    except (Damage, damaged) as error:
        raise CheckpointError(f"{path}: no whole safetensors file: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: NumPy has no dtype {error}; expected float16, float32 or float64") from None
    try:
        at_once([(t, "_value", array) for t, array in _fitted(_all_names(model), found)])
    except Damage as error:
        raise CheckpointError(f"{path}: {error}; another model's?") from None


def _all_names(model: nn.Module) -> list[tuple[Tensor, list[str]]]:
    """Every Tensor of a model with all the names that it goes by."""
    found: dict[int, tuple[Tensor, list[str]]] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        for name, child in module._children():
            if isinstance(child, Tensor):
                found.setdefault(id(child), (child, []))[1].append(f"{prefix}.{name}" if prefix else name)
    return list(found.values())


def _fitted(
    tensors: Sequence[tuple[Tensor, list[str]]], found: dict[str, np.ndarray]
) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Each Tensor with its array of a file; one error tells all that is wrong with names and shapes."""
    missing = [names[0] for _, names in tensors if not found.keys() & set(names)]
    unknown = sorted(found.keys() - {name for _, names in tensors for name in names})
    wrong = [f"{what} {listed(names)}" for what, names in (("missing", missing), ("unknown", unknown)) if names]
    given = [(t, [name for name in names if name in found]) for t, names in tensors]
    wrong += [words for t, names in given for words in _misfits(t, names, found)]
    if wrong:
        raise Damage("; ".join(wrong))
    for t, (name, *_) in given:
        yield t, _converted(name, found[name], t.dtype)


def _misfits(t: Tensor, names: list[str], found: dict[str, np.ndarray]) -> Iterator[str]:
    """What is wrong with the arrays that a file has for one Tensor."""
    for name in names:
        if found[name].shape != t.shape:
            yield f"{name} has shape {found[name].shape}, expected {t.shape}"
    others = [name for name in names[1:] if not _equal(found[name], found[names[0]])]
    if others:
        yield f"{listed(others)} differs from {names[0]}, which is the same Tensor here"


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _converted(name: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A copy in a Tensor's dtype, if that can hold the numbers: a float may be rounded, but not become infinite."""
    with np.errstate(all="ignore"):
        converted = np.array(array, dtype, order="C")
    if dtype.kind == "f":
        fits = array.dtype.kind == "f" and not np.any(np.isinf(converted) & np.isfinite(array))
    else:
        fits = np.array_equal(converted, array)
    if not fits:
        raise Damage(f"{name} has dtype {array.dtype}, with numbers that the Tensor's dtype {dtype} can't hold")
    return converted
