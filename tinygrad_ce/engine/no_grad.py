"""no_grad: a context in which nothing is recorded, and a decorator of functions of every kind."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from tinygrad_ce.engine.node import recording


def no_grad(function: Callable[..., Any] | None = None) -> Any:
    """Record nothing inside: results require no grad, and cost no memory for a reverse pass.

    A context manager, ``with tg.no_grad():``, and a decorator, ``@tg.no_grad()`` or ``@tg.no_grad``, of functions,
    generators and coroutines. It holds for this thread (and asyncio task) alone, and for the body of what it
    decorates: between two values of a generator, who asks for them records or not as before.

    Args:
        function: what to decorate, if it is used without parentheses.

    Raises:
        TypeError: what is given is no function.

    Example:
        >>> import tinygrad_ce as tg
        >>> w = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> with tg.no_grad():
        ...     (w * w).requires_grad
        False
        >>> @tg.no_grad
        ... def squares():
        ...     yield w * w
        >>> [y.requires_grad for y in squares()], (w * w).requires_grad
        ([False], True)
    """
    if function is None:
        return _NoGrad()
    if not callable(function):
        raise TypeError(f"no_grad: got {function!r}, expected a function to decorate, or nothing: `with no_grad():`")
    return _inside(_NoGrad, function)


class _NoGrad(AbstractContextManager[None]):
    """What no_grad() is before it is entered, or put before a function. It may be entered again, also inside itself."""

    def __init__(self) -> None:
        self._entered: list[AbstractContextManager[None]] = []

    def __enter__(self) -> None:
        self._entered.append(recording(False))
        self._entered[-1].__enter__()

    def __exit__(self, *error: Any) -> None:
        self._entered.pop().__exit__(*error)

    __call__ = staticmethod(no_grad)


def _inside(context: Callable[[], AbstractContextManager[Any]], function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the same kind, whose body runs inside a context; between two values of a generator it is left."""
    if inspect.isgeneratorfunction(function):

        def call(*args: Any, **named: Any) -> Any:
            values = function(*args, **named)
            resume = functools.partial(next, values)
            while True:
                try:
                    with context():
                        value = resume()
                except StopIteration as end:
                    return end.value
                try:
                    resume = functools.partial(values.send, (yield value))
                except BaseException as error:  # thrown in by who asks for values, or GeneratorExit by close()
                    resume = functools.partial(values.throw, error)

    elif inspect.isasyncgenfunction(function):

        async def call(*args: Any, **named: Any) -> Any:
            values = function(*args, **named)
            resume = functools.partial(anext, values)
            while True:
                try:
                    with context():
                        value = await resume()
                except StopAsyncIteration:
                    return
                try:
                    resume = functools.partial(values.asend, (yield value))
                except BaseException as error:
                    resume = functools.partial(values.athrow, error)

    elif inspect.iscoroutinefunction(function):

        async def call(*args: Any, **named: Any) -> Any:  # type: ignore[misc]
            with context():
                return await function(*args, **named)

    else:

        def call(*args: Any, **named: Any) -> Any:
            with context():
                return function(*args, **named)

    return functools.wraps(function)(call)
