"""A layer over the engine: which operator made the first nan or infinity, and the line of code that called it."""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from tinygrad_ce.engine.primitive import Primitive, Rule, primitives

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep

watching: list[Watch] = []  # those of all threads: while there is one, every operator is watched
_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)
_lock = threading.RLock()  # reentrant, for signal handlers
if hasattr(os, "register_at_fork"):  # a forked process starts with a lock that no thread of its parent holds
    os.register_at_fork(after_in_child=_lock._at_fork_reinit)  # type: ignore[attr-defined]


class AnomalyError(FloatingPointError):
    """An operator made a nan or an infinity of finite numbers."""


class Watch:
    """What is known while anomalies are looked for: the line of code behind each result."""

    def __init__(self) -> None:
        self.lines: dict[int, tuple[Any, str]] = {}  # by an array's identity, as long as it lives

    def remember(self, y: np.ndarray) -> str:
        """The line that asked for a result, kept until the result is gone."""
        line, key = _users_line(), id(y)
        self.lines[key] = weakref.ref(y, lambda _: self.lines.pop(key, None)), line
        return line


def look_at(made: Primitive) -> None:
    """While anomalies are looked for, put a watched forward and watched rules in the place of an operator's."""
    if watching:
        if not hasattr(made.forward, "watched"):
            made.forward = _watched_forward(made, made.forward)
        new = {a: rule for a, rule in made.vjps.items() if not hasattr(rule, "watched")}
        made.vjp(**{a: _watched_rule(made, a, rule) for a, rule in new.items()})


def _look_away(made: Primitive) -> None:
    made.forward = getattr(made.forward, "watched", made.forward)
    made.vjp(**{a: getattr(rule, "watched", rule) for a, rule in made.vjps.items()})


def _watched_forward(made: Primitive, forward: Callable[..., Any]) -> Callable[..., Any]:
    """A forward that looks at its result."""

    def call(*values: Any, **named: Any) -> Any:
        watch, result = _watch.get(), forward(*values, **named)
        if watch is None:
            return result
        y = np.asarray(result[0] if named.get("keep") else result)
        line, what = watch.remember(y), _made(y, values)
        if what:
            raise AnomalyError(f"{made.name} made {what}\n  of {_described(values)}\n  called at {line}")
        return (y, result[1]) if named.get("keep") else y

    call.watched = forward  # type: ignore[attr-defined]
    return call


def _watched_rule(made: Primitive, argument: str, rule: Rule) -> Rule:
    """A rule that looks at what it gives, beside the upstream gradient, the result and the arguments."""
    many = argument == made.many

    def call(*given: Any) -> Any:
        watch, dx, seen = _watch.get(), rule(*given), given[1:] if many else given
        what = watch and _made(getattr(dx, "_value", dx), seen)
        if watch and what:
            y = getattr(seen[1], "_value", seen[1])
            _, line = watch.lines.get(id(y), (None, "a line before detect_anomaly began"))
            raise AnomalyError(
                f"the rule of argument {f'{argument}[{given[0]}]' if many else argument!r} of {made.name} made {what}\n"
                f"  of the upstream gradient, result and arguments {_described(seen)}\n  of a call at {line}"
            )
        return dx

    call.watched = call.__wrapped__ = rule  # type: ignore[attr-defined]
    return call


@contextlib.contextmanager
def detect_anomaly() -> Iterator[None]:
    """Inside, the first operator that makes a nan or an infinity raises an error that names it and the line it is on.

    Forward, that is an operator that makes a nan though no operand contains one, or an infinity though all are finite;
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
    try:
        with _lock:
            watching.append(watch)
            for made in [*primitives]:
                look_at(made)
        with np.errstate(all="ignore"):  # the error says it better
            yield
    finally:
        with _lock:
            if watch in watching:
                watching.remove(watch)
            for made in [*primitives] if not watching else ():
                _look_away(made)
        _watch.reset(token)


def _made(result: Any, operands: Sequence[Any]) -> str:
    """What is in a result that is in none of its operands: "nan at [2, 0]", or nothing."""
    y = np.asarray(result)
    if y.dtype.kind != "f" or np.isfinite(y).all():
        return ""
    given = [np.asarray(getattr(a, "_value", a)) for a in operands if hasattr(a, "dtype") or isinstance(a, float)]
    given = [a for a in given if a.dtype.kind == "f"]
    if any(np.isnan(a).any() for a in given):
        return ""
    found = np.isnan(y)
    if not found.any() and not any(np.isinf(a).any() for a in given):
        found = np.isinf(y)
    if not found.any():
        return ""
    first = tuple(np.argwhere(found)[0].tolist())
    return f"{y[first]}" + (f" at {list(first)}" if first else "")


def _described(operands: Sequence[Any]) -> str:
    """Operands in a few words: shape and range."""
    words = []
    for a in operands:
        array = getattr(a, "_value", a)
        if isinstance(array, np.ndarray | np.generic) and array.dtype.kind in "fiu" and array.size:
            low, high = np.min(array), np.max(array)
            words.append(f"{array.shape} from {low:.4g} to {high:.4g}" if array.size > 1 else f"{low:.4g}")
        elif isinstance(array, int | float):
            words.append(f"{array:.4g}")
    return ", ".join(words) or "nothing"


def _users_line() -> str:
    """The innermost line of code outside of this package: file, number and text."""
    frame: Any = sys._getframe(1)
    while frame.f_back and (frame.f_code.co_filename.startswith(_PACKAGE)):
        frame = frame.f_back
    name, number = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(name, number).strip()
    return f"{name}:{number}" + (f": {text}" if text else "")
