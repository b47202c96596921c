"""What a rank was given, told in lines that ranks can compare: numbers as they are, arrays by a digest."""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

from tinygrad_ce.data.stream import Stream
from tinygrad_ce.nn.module import Module
from tinygrad_ce.optim import Optimizer, Schedule
from tinygrad_ce.tensor import Tensor
from tinygrad_ce.train.rows import MEASURED, ArrayRows, StreamRows

_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic, np.dtype, PurePath)


class Told:
    """Values by name, each in one line, as are the parts of lists, mappings, functions and this package's objects.

    Of a function the code, the defaults and what it took from around it count; of another package's object its class.
    Random generators count by their kind, as fit gives each rank its own.

    Example:
        >>> Told({"lr": 0.1, "rows": np.arange(3)}).lines
        {'lr': '0.1', 'rows': 'int64 (3,) fa1e0462'}
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.lines: dict[str, str] = {}
        self._seen: dict[int, tuple[str, Any]] = {}  # with the value, whose id would be another's if it were freed
        for name, value in values.items():
            self._add(name, value)

    def _add(self, name: str, value: Any) -> None:
        value = value._value if isinstance(value, Tensor) else value
        if isinstance(value, np.ndarray):
            self.lines[name] = f"{value.dtype} {value.shape} {_digest(value)}"
        elif isinstance(value, _PLAIN):
            self.lines[name] = _short(repr(value))
        elif isinstance(value, type | types.BuiltinFunctionType):
            self.lines[name] = f"{value.__module__}.{value.__qualname__}"
        elif id(value) in self._seen:
            self.lines[name] = f"the same as {self._seen[id(value)][0]}"
        else:
            self._seen[id(value)] = name, value
            self._add_parts(name, value)

    def _add_parts(self, name: str, value: Any) -> None:
        """A value that has parts: what it is, and then each of them."""
        self.lines[name], parts = _parts_of_callable(value) if callable(value) else _parts(value)
        for part, inner in parts.items():
            self._add(f"{name}.{part}", inner)


def _parts(value: Any) -> tuple[str, dict[Any, Any]]:
    """What a value is, and what it holds."""
    kind = _kind(value)
    if isinstance(value, Mapping):
        return f"{kind} of {len(value)}", dict(value)
    if isinstance(value, list | tuple):
        if all(isinstance(part, _PLAIN) for part in value):
            return _short(repr(value)), {}
        return f"{kind} of {len(value)}", dict(enumerate(value))
    if isinstance(value, Stream):
        return kind, {"classes": value.classes, "layout": value.layout, "rows": _digest_of_rows(value)}
    if isinstance(value, ArrayRows | StreamRows):
        return kind, {"rows": value.data if isinstance(value, ArrayRows) else value.stream}
    ours = isinstance(value, Module | Optimizer | Schedule) or kind.startswith("tinygrad_ce.")
    return kind, dict(vars(value)) if ours and hasattr(value, "__dict__") else {}


def _parts_of_callable(value: Any) -> tuple[str, dict[Any, Any]]:
    """What a function is, and what it was made with."""
    if isinstance(value, types.FunctionType):
        kind = f"{value.__module__}.{value.__qualname__} {_hashed(_code(value.__code__))}"
        return kind, {"defaults": value.__defaults__, "keywords": value.__kwdefaults__, **_taken(value)}
    if isinstance(value, types.MethodType):
        return _kind(value), {"function": value.__func__, "self": value.__self__}
    if isinstance(value, functools.partial):
        return _kind(value), {"function": value.func, "args": value.args, "keywords": value.keywords}
    return _parts(value)


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _taken(function: types.FunctionType) -> dict[str, Any]:
    """What a function took from around it: of its module's names the numbers, texts and arrays."""
    around = {name: function.__globals__.get(name) for name in function.__code__.co_names}
    taken = {name: value for name, value in around.items() if isinstance(value, (*_PLAIN, np.ndarray))}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            taken[name] = cell.cell_contents
        except ValueError:  # not set yet
            taken[name] = None
    return taken


def _code(code: types.CodeType) -> str:
    """A function's code as text, without places in files or in memory."""
    constants = [_code(part) if isinstance(part, types.CodeType) else _constant(part) for part in code.co_consts]
    return repr((code.co_code, code.co_names, code.co_varnames, constants))


def _constant(value: Any) -> str:
    """A constant of a function. The order of a set differs from process to process."""
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:60]}… {_hashed(text)}"


def _hashed(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="backslashreplace"), digest_size=4).hexdigest()


def _digest(*arrays: np.ndarray) -> str:
    found = hashlib.blake2b(digest_size=4)
    for array in arrays:
        found.update(repr(array.tolist()).encode() if array.dtype.hasobject else np.ascontiguousarray(array).data)
    return found.hexdigest()


def _digest_of_rows(stream: Stream) -> str:
    """The digest of all rows in order: the stream is read once more."""
    blocks = stream.batches(MEASURED, shuffle=False)
    return _hashed(" ".join(_digest(np.asarray(x), np.asarray(y)) for x, y in blocks))
