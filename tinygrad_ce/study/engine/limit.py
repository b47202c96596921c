"""A function that somebody else has written, run with a limit of time."""

from __future__ import annotations

import ctypes
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np


class TimeUp(BaseException):
    """It took longer than it was given. (No Exception, so that ``except Exception`` in what runs doesn't end it.)"""


def within(seconds: float, function: Callable[[], Any]) -> Any:
    """What a function returns, or raises; it has so many seconds.

    It runs in a thread of its own, which works on every system and for classes that were typed into a notebook. When
    the time is up the thread is stopped at its next line of Python. Where no thread can be started there is no limit.

    Raises:
        TimeUp: it took longer.
    """
    returned: list[Any] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                returned.append(function())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # a browser has no threads: it runs here, without a limit
        run()
    try:
        end = time.monotonic() + seconds
        while thread.is_alive() and time.monotonic() < end:
            thread.join(0.1)  # Ctrl-C would wait for a longer one, on some systems
    finally:
        late = thread.is_alive()
        for _ in range(10):  # it may swallow what stops it
            if not thread.is_alive():
                break
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TimeUp))
            thread.join(0.1)
    if late:
        raise TimeUp
    if raised:
        raise raised[0]
    return returned[0]
