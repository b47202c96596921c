"""What is printed, in the characters that the terminal has."""

from __future__ import annotations

import codecs
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# What explanations and errors are written with, for terminals that have ASCII alone.
_PLAIN = {
    "∂": "d", "−": "-", "·": "*", "×": "x", "→": "->", "←": "<-", "Σ": "sum", "∑": "sum", "√": "sqrt", "≤": "<=",
    "≥": ">=", "≠": "!=", "≈": "~", "∞": "inf", "…": "...", "–": "-", "—": "-", "✓": "+", "✗": "x", "ᵀ": "^T",
    "′": "'", "²": "^2", "³": "^3", "⟨": "<", "⟩": ">",
}  # fmt: skip


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    """Other characters for those that an encoding lacks: like ones, or an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_like, error.object[error.start : error.end])), error.end


def _like(character: str) -> str:
    name = unicodedata.name(character, "")
    letter = name.rpartition(" ")[2].lower() if name.startswith("GREEK SMALL LETTER") else ""
    return _PLAIN.get(character) or letter or character.encode("ascii", "backslashreplace").decode()


codecs.register_error("tinygrad_ce.plain", _replaced)


@contextmanager
def plain_where_needed() -> Iterator[None]:
    """Let standard output and error take any text, whatever they can encode."""
    before = [(stream, stream.errors) for stream in (sys.stdout, sys.stderr) if hasattr(stream, "reconfigure")]
    for stream, _ in before:
        stream.reconfigure(errors="tinygrad_ce.plain")
    try:
        yield
    finally:
        for stream, errors in before:
            if not stream.closed:
                stream.reconfigure(errors=errors)


def say(text: str) -> None:
    """Print a line, in the characters that standard output has. A program without standard output says nothing."""
    with plain_where_needed():
        print(text, flush=True)


def is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal; a program without windows may have no stream at all, or a closed one."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False
