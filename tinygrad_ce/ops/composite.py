"""Operators that are made of others: plain functions, which NumPy's functions of the same name and the checks find."""

from __future__ import annotations

from typing import Any

from tinygrad_ce.common import spellings
from tinygrad_ce.engine.primitive import Operator, register, with_examples


def composite(function: Any) -> Operator:
    """Register a function made of operators."""
    call: Any = with_examples(spellings.told(function))
    call.primitive = None
    return register(call)
