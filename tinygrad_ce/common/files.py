"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

AnyPath = str | os.PathLike[str]


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, text: bool = False) -> Iterator[IO[Any]]:
    """A file to write for the place of the one at path: there it is the old one or the new one, never less.

    A device or a pipe can't be replaced; it is written to as it is.

    Args:
        path: where it will be.
        text: whether it takes text, in UTF-8 with line ends as given, or bytes.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "a.txt")
        >>> with replacing(path, text=True) as file:
        ...     _ = file.write("new")
        >>> path.read_text()
        'new'
    """
    path = Path(path)
    how: dict[str, Any] = {"encoding": "utf-8", "newline": ""} if text else {}
    letter = "" if text else "b"
    if path.exists() and not path.is_file():
        with open(path, f"w{letter}", **how) as file:
            yield file
        return
    part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        with open(part, f"x{letter}", **how) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a file whole or not at all: bytes, or text in UTF-8."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def _sync_folder(folder: Path) -> None:
    """Make the new name last, where a folder can be synced."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
