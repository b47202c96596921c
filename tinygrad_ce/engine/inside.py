"""inside: functions, generators and coroutines whose body runs inside a context, such as no_grad."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


def inside(context: Callable[[], AbstractContextManager[Any]], function: Callable[..., Any]) -> Callable[..., Any]:
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
