"""Packages that an export needs beside NumPy."""

from __future__ import annotations

import importlib
from typing import Any


def extra_module(module: str, extra: str) -> Any:
    """A module of an optional package."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"tg.export.{extra} needs {extra}: pip install 'tinygrad-ce[{extra}]'") from error
