"""detect_anomaly: which operator made the first nan or infinity, forward or backward, and the line that called it."""

from __future__ import annotations

import contextlib
import linecache
import pathlib
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

_PACKAGE = str(pathlib.Path(__file__).parents[1])

watching: list[Watch] = []  # those of all threads: while it is empty, calls look no further
_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


class AnomalyError(FloatingPointError):
    """An operator made a nan or an infinity of finite numbers."""


class Watch:
    """What is known while anomalies are looked for: the line of code behind each recorded call."""

    def __init__(self) -> None:
        self.lines: dict[int, str] = {}

    def forward(self, node: Any, name: str, arguments: Sequence[Any]) -> None:
        """Look at a result, and remember the line that asked for it."""
        line = self.lines[node._order] = _users_line()
        what = _made(node._data, arguments)
        if what:
            raise AnomalyError(f"{name} made {what}\n  of {_described(arguments)}\n  called at {line}")

    def backward(self, node: Any, argument: str, dx: Any, seen: Sequence[Any]) -> None:
        """Look at what a rule gave, beside the upstream gradient, the result and the arguments."""
        what = _made(getattr(dx, "_data", dx), seen)
        if what:
            line = self.lines.get(node._order, "a line before detect_anomaly began")
            raise AnomalyError(
                f"the rule of argument {argument!r} of {node._primitive.name} made {what}\n  of the upstream gradient, "
                f"result and arguments {_described(seen)}\n  of a call at {line}"
            )


@contextlib.contextmanager
def detect_anomaly() -> Iterator[None]:
    """Inside, the first operator that makes a nan or an infinity raises an error that names it and the line it is on.

    Forward, that is an operator whose result has a nan where no operand has one, or an infinity where all are finite;
    backward, a rule that does so with its upstream gradient. An operator called outside isn't looked at, but its rules
    are. It looks at every number, and so costs about as much as the operators themselves: it is for finding a fault,
    not for training. It holds for this thread (and asyncio task) alone.

    Raises:
        AnomalyError (a FloatingPointError): the operator, what it made and of what, and the line of the caller.

    Example:
        >>> import tinygrad_ce as tg
        >>> x = tg.Tensor([1.0, 0.0], requires_grad=True)
        >>> with tg.detect_anomaly():
        ...     tg.sqrt(x).sum().backward()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        tinygrad_ce.engine.anomaly.AnomalyError: the rule of argument 'x' of sqrt made inf at [1]
        ...
    """
    watch = Watch()
    token = _watch.set(watch)
    watching.append(watch)
    try:
        with np.errstate(all="ignore"):  # the error says it better
            yield
    finally:
        watching.remove(watch)
        _watch.reset(token)


def current() -> Watch | None:
    """The watch of this thread."""
    return _watch.get() if watching else None


def noticed(node: Any, name: str, arguments: Sequence[Any]) -> None:
    """A call made a result while some thread looks for anomalies."""
    watch = _watch.get()
    if watch is not None:
        watch.forward(node, name, arguments)


def _made(result: Any, operands: Sequence[Any]) -> str:
    """What is in a result that is in none of its operands: "nan at [2, 0]", or nothing."""
    y = np.asarray(result)
    if y.dtype.kind != "f" or np.isfinite(y).all():
        return ""
    arrays = [np.asarray(getattr(a, "_data", a)) for a in operands if hasattr(a, "dtype") or isinstance(a, float)]
    arrays = [a for a in arrays if a.dtype.kind == "f"]
    has_nan, has_inf = (any(test(a).any() for a in arrays) for test in (np.isnan, np.isinf))
    found = np.isnan(y) if not has_nan else np.zeros(y.shape, bool)
    if not found.any() and not has_inf and not has_nan:
        found = np.isinf(y)
    if not found.any():
        return ""
    first = tuple(int(i) for i in np.argwhere(found)[0])
    return f"{y[first]}" + (f" at {list(first)}" if first else "")


def _described(operands: Sequence[Any]) -> str:
    """Operands in a few words: shape and range."""
    words = []
    for a in operands:
        array = getattr(a, "_data", a)
        if isinstance(array, np.ndarray | np.generic) and array.dtype.kind in "fiu" and array.size:
            low, high = np.min(array), np.max(array)
            words.append(f"{array.shape} from {low:.4g} to {high:.4g}" if array.size > 1 else f"{low:.4g}")
        elif isinstance(array, int | float):
            words.append(f"{array:.4g}")
    return ", ".join(words) or "nothing"


def _users_line() -> str:
    """The innermost line of code outside of this package: file, number and text."""
    frame: Any = sys._getframe(1)
    while frame.f_back and (frame.f_code.co_filename.startswith((_PACKAGE, "<a call of"))):
        frame = frame.f_back
    name, number = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(name, number).strip()
    return f"{name}:{number}" + (f": {text}" if text else "")
