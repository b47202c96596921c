"""What messages are put together of: numbers with their nouns, and names that were likely meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def counted(number: int, noun: str) -> str:
    """A number and its noun: 1 epoch, 2,000 epochs."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def likely(name: str, known: Iterable[str]) -> str:
    """The question whether another name was meant, if one is near; else nothing."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]}?" if near else ""
