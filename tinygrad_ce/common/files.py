"""Files that are written whole or not at all, and folders that one program at a time writes to."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

AnyPath = str | os.PathLike[str]


@contextlib.contextmanager
def replacing(path: AnyPath, *, text: bool = False) -> Iterator[IO[Any]]:
    """A file to write for the place of the one at path: there it is the old one or the new one, never less.

    It is written under a name that nobody can foresee, and takes its place when it is whole; a symbolic link at path is
    replaced itself, and what it leads to stays. What a program that was killed left of such a file goes. A device or a
    pipe can't be replaced; it is written to as it is.

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
    with naming(path):
        if path.exists() and not path.is_file():
            with open(path, f"w{letter}", **how) as file:
                yield file
            return
        remove_leftovers(path)
        part = path.with_name(f".{path.name}.{os.urandom(8).hex()}.part")
        try:
            with open(part, f"x{letter}", **how) as file:
                _lock(file.fileno())
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
            _sync_folder(path.parent)
        except BaseException as error:
            with contextlib.suppress(OSError):
                part.unlink()
            if isinstance(error, OSError) and error.filename == str(part):
                error.filename = os.fspath(path)
            raise


def write(path: AnyPath, content: bytes | str) -> None:
    """Write a file whole or not at all: bytes, or text in UTF-8."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def naming(path: AnyPath) -> Iterator[None]:
    """Give errors of the file system this file's name where they have none: a full disk's come without."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def alone(folder: AnyPath) -> Iterator[None]:
    """Be the only program that writes to a folder, until the end of this one, however it ends.

    Where the system or the folder's file system has no such locks, nothing is locked.

    Raises:
        BlockingIOError: another program writes to it.
    """
    if not hasattr(os, "O_DIRECTORY"):
        yield
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not _lock(handle):
            raise BlockingIOError(errno.EAGAIN, "another program writes to this folder", os.fspath(folder))
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file until it is closed; False if another program has locked it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks on this file system
        pass
    return True


def remove_leftovers(path: Path) -> None:
    """Remove what programs that were killed left of this file. Those still at work have locked theirs."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 16}.part"):
        with contextlib.suppress(OSError):
            handle = os.open(part, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            try:
                if fcntl is not None and _lock(handle):
                    part.unlink()
            finally:
                os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Make the new name last, where a folder can be synced."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
