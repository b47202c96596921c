"""Arrays in files from anyone: every size is checked before memory is taken for it, and nothing is ever executed.

Headers of ``.npy`` files, alone or inside a ``.npz``, are parsed here, by a pattern that knows plain arrays only: no
pickles, no evaluation of literals, and no size that the file's own bytes don't bear out.
"""

from __future__ import annotations

import math
import os
import re
import reprlib
import stat
import sys
import zipfile
import zlib
from collections.abc import Callable, Container, Sequence
from typing import Any, BinaryIO, Protocol

import numpy as np

from tinygrad_ce.common.words import visible

FACTOR, FLOOR = 100, 64 << 20  # a compressed file may unpack to so many times its size, or to so many bytes

# What zipfile, gzip and zlib raise of damaged bytes.
_BROKEN = (
    zipfile.BadZipFile, zlib.error, ValueError, OverflowError, EOFError, OSError, KeyError, RuntimeError,
)  # fmt: skip

_LEAST, _MOST = 1 << 16, 1 << 20  # bytes read at a time
_LONGEST_HEADER = 10_000
_MOST_AXES = 64
_LARGEST_ITEM = 2**31 - 1  # NumPy keeps it in a C int; in 2.1 a larger one wraps around
_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f(?:2|4|8|16)|c(?:8|16|32)|[SU][1-9]\d{0,8})")
_SIZE = r"(?:0|[1-9]\d{0,17})L?"  # Python 2 wrote 3L for 3
_SHAPE = rf"\((?:{_SIZE},|{_SIZE}(?:,{_SIZE})+,?)?\)"
_ENTRY = re.compile(rf"'(descr|fortran_order|shape)':('[^']*'|True|False|{_SHAPE}),?")
_HEADER = re.compile(rf"\{{(?:{_ENTRY.pattern}){{3}}\}}")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60


class DataError(ValueError):
    """A file that isn't what it should be."""


class Damage(ValueError):
    """What is wrong in a file: where, what stands there, what is expected. Who opened the file adds its name."""


def shown(value: Any) -> str:
    """A value from a file for a message: its repr, never long, never deep, with nothing that a terminal obeys."""
    return visible(_short.repr(value))


def word(name: str) -> str:
    """A name from a file for a message: as it is, if it is short and prints."""
    return name if name.isprintable() and visible(name) == name and len(name) <= 40 else shown(name)


def listed(names: Sequence[str], written: Callable[[str], str] = word) -> str:
    """Names from a file for a message: the first ten."""
    more = f", … ({len(names):,} in all)" if len(names) > 10 else ""
    return ", ".join(map(written, names[:10])) + more


def is_printable(name: str) -> bool:
    """Whether a name can go to a terminal: no control characters, no halves of surrogate pairs."""
    return not _UNPRINTABLE.search(name)


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file, open to read. A pipe would block, and a device may have no end.

    Raises:
        Damage: a folder, pipe or device.
        OSError: it can't be opened.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise Damage(f"{'a folder' if stat.S_ISDIR(mode) else 'a pipe or device'}, expected a regular file")
    return open(path, "rb")


def allowance(size: int, max_bytes: int | None) -> int:
    """How many bytes a file of a size may unpack to: as many as the caller says, or what an honest one needs."""
    return max(FLOOR, FACTOR * size) if max_bytes is None else max_bytes


def check_allowance(where: str, length: int, most: int | None) -> None:
    """Refuse what unpacks to more than the most allowed (None: it isn't packed), before it is unpacked."""
    if most is not None and length > most:
        fix = "if it is to be so, store it without compression or raise max_bytes"
        raise Damage(f"{where}: {length:,} bytes when unpacked, expected at most {most:,}; {fix}")


class Readable(Protocol):
    """What bytes come from: an open file, or what unpacks one."""

    def read(self, length: int, /) -> bytes:
        """Up to so many bytes; none at the end."""


class ByteReader:
    """The bytes of a file in order; errors tell the offset.

    Args:
        file: where the bytes come from.
        where: what messages begin with.
        packing: what the bytes are unpacked from, for messages.
    """

    def __init__(self, file: Readable, where: str = "", packing: str = "file") -> None:
        self.file = file
        self.where = where
        self.packing = packing
        self.offset = 0

    def take(self, length: int, what: str) -> bytearray:
        """So many bytes. A piece is no larger than all that was read before it, so a false size takes no memory."""
        taken = bytearray()
        while len(taken) < length:
            piece = self._read(min(length - len(taken), max(_LEAST, min(len(taken), _MOST))), what)
            if not piece:
                break
            taken += piece
        if len(taken) < length:
            raise Damage(f"{self.here()}: the file ends {length - len(taken):,} bytes short of {what}")
        self.offset += length
        return taken

    def some(self, most: int) -> bytes:
        """The bytes that come next, so many at most; none at the end."""
        piece = self._read(most, "more of it")
        self.offset += len(piece)
        return piece

    def end(self, after: str) -> None:
        """Refuse bytes that follow."""
        if self._read(1, "the end"):
            raise Damage(f"{self.here()}: more bytes, expected the end after {after}")

    def here(self) -> str:
        """The place that is read next."""
        return f"{self.where}offset {self.offset}"

    def _read(self, length: int, what: str) -> bytes:
        try:
            return self.file.read(length)
        except _BROKEN as error:
            why = str(error) or type(error).__name__
            raise Damage(f"{self.here()}: damaged {self.packing}: {why[:200]}, expected {what}") from None


def read_npz(
    file: BinaryIO, wanted: Container[str] | None = None, max_bytes: int | None = None, outlined: Container[str] = ()
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of a ``.npz`` that are wanted (None: all), and the names of all that it holds.

    Of those to be outlined the header alone is read: they come as zeros of their dtype and shape that take no memory.

    Raises:
        Damage: no zip archive, a name that stands there twice, a size that nothing bears out, arrays that aren't plain.

    Source:
        PKWARE, .ZIP File Format Specification; NumPy Enhancement Proposal 1, A Simple File Format for NumPy Arrays.
    """
    size = os.fstat(file.fileno()).st_size
    try:
        archive = zipfile.ZipFile(file)
    except _BROKEN as error:
        raise Damage(f"{str(error)[:200]}, expected the zip archive that a .npz is") from None
    with archive:
        entries: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in entries:
                raise Damage(f"{shown(info.filename)} stands there twice, expected each name once")
            entries[name] = info
        chosen = {name: info for name, info in entries.items() if wanted is None or name in wanted}
        _check_sizes(list(chosen.values()), size, max_bytes)
        return {name: _read_entry(archive, info, name in outlined) for name, info in chosen.items()}, list(entries)


def _check_sizes(entries: list[zipfile.ZipInfo], size: int, max_bytes: int | None) -> None:
    """Hold what the archive's directory announces against the file's size, and against what it may unpack to."""
    for info in entries:
        method = "encrypted" if info.flag_bits & 1 else f"compression method {info.compress_type}"
        if method not in ("compression method 0", "compression method 8"):
            raise Damage(f"{word(info.filename)}: {method}, expected it stored or deflated")
    packed = sum(info.compress_size for info in entries)
    if packed > size:
        raise Damage(f"the directory: entries of {packed:,} bytes, expected no more than the file's {size:,}")
    check_allowance("the directory", sum(info.file_size for info in entries), allowance(size, max_bytes))


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, outlined: bool) -> np.ndarray:
    name = word(info.filename)
    try:
        entry = archive.open(info)
    except _BROKEN as error:
        raise Damage(f"{name}: {str(error)[:200]}, expected an entry as the directory tells it") from None
    with entry:
        return read_array(ByteReader(entry, f"{name}: ", "zip data"), info.file_size, outlined)


def read_array(reader: ByteReader, size: int, outlined: bool = False) -> np.ndarray:
    """An array in NumPy's format that fills size bytes exactly; outlined, its header alone is read."""
    dtype, shape, order = read_header(reader, size)
    if outlined:
        return np.broadcast_to(np.zeros((), dtype), shape)
    place = reader.here()
    length = math.prod(shape) * dtype.itemsize
    data = reader.take(length, f"{length:,} bytes for shape {shown(shape)} of {dtype.name}")
    check_items(place, dtype, data)
    return np.ndarray(shape, dtype, data, order=order)


def read_header(reader: ByteReader, size: int) -> tuple[np.dtype[Any], tuple[int, ...], Any]:
    """The dtype, shape and order ("C" or "F") of an array in NumPy's format that fills size bytes exactly."""
    magic = bytes(reader.take(8, "the magic number"))
    if magic[:6] != b"\x93NUMPY" or magic[6:] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise Damage(f"{reader.where}offset 0: {magic.hex(' ')}, expected 93 4e 55 4d 50 59 and version 1, 2 or 3")
    length = int.from_bytes(reader.take(2 if magic[6] == 1 else 4, "the header's length"), "little")
    if length > _LONGEST_HEADER:
        raise Damage(f"{reader.where}offset 8: a header of {length:,} bytes, expected at most {_LONGEST_HEADER:,}")
    place = reader.here()
    try:
        dtype, shape, order = _parse_header(reader.take(length, f"a header of {length} bytes").decode("latin-1"))
    except Damage as error:
        raise Damage(f"{place}: {error}") from None
    wanted = math.prod(shape) * dtype.itemsize
    if reader.offset + wanted != size:
        what = f"{wanted:,} for shape {shown(shape)} of {dtype.name}"
        raise Damage(f"{reader.here()}: {size - reader.offset:,} bytes of numbers, expected {what}")
    return dtype, shape, order


def _fields(header: str) -> tuple[str, str, str]:
    """What a ``.npy`` header says as text: descr without its quotes, fortran_order, shape."""
    plain = re.sub(r" ?([{}(),:]) ?", r"\1", re.sub(r"[ \t\r\n]+", " ", header)).strip(" ")
    if "'" not in plain:
        plain = plain.replace('"', "'")
    said = dict(_ENTRY.findall(plain)) if _HEADER.fullmatch(plain) else {}
    if set(said) != {"descr", "fortran_order", "shape"} or said["descr"][0] != "'":
        expected = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} or the like"
        raise Damage(f"{shown(header)}, expected {expected}")
    return said["descr"][1:-1], said["fortran_order"], said["shape"]


def _parse_header(text: str) -> tuple[np.dtype[Any], tuple[int, ...], Any]:
    """The dtype, the shape and the order ("C" or "F") that a ``.npy`` header says."""
    descr, order, sizes = _fields(text)
    kind = _DTYPE.fullmatch(descr)
    if not kind:
        raise Damage(f"descr {shown(descr)}, expected plain numbers or text, as '<f4', '|u1' or '<U8'")
    if order not in ("True", "False") or sizes[0] != "(":
        raise Damage(f"fortran_order {shown(order)} and shape {shown(sizes)}, expected True or False and a tuple")
    shape = tuple(int(n.rstrip("L")) for n in sizes[1:-1].split(",") if n)
    itemsize = int(kind[1][1:]) * (4 if kind[1][0] == "U" else 1)
    if len(shape) > _MOST_AXES or itemsize * math.prod(max(n, 1) for n in shape) > sys.maxsize:
        raise Damage(f"shape {shown(shape)} of {descr!r}, expected at most {_MOST_AXES} axes and {sys.maxsize:,} bytes")
    if itemsize > _LARGEST_ITEM:
        raise Damage(f"descr {descr!r}, expected items of at most {_LARGEST_ITEM:,} bytes")
    try:
        return np.dtype(descr), shape, "F" if order == "True" else "C"
    except (TypeError, ValueError) as error:
        raise Damage(f"descr {descr!r}: {error}, expected a dtype of this machine") from None


def check_items(place: str, dtype: np.dtype[Any], data: bytearray | np.ndarray) -> None:
    """Refuse bytes that are no truth value and no character: NumPy takes them unseen."""
    if dtype.kind == "b" and (last := np.ndarray(len(data), np.uint8, data).max(initial=0)) > 1:
        raise Damage(f"{place}: a truth value of {last}, expected 0 or 1")
    if dtype.kind == "U":
        codes: np.ndarray = np.ndarray(len(data) // 4, dtype.byteorder + "u4", data)
        if (last := codes.max(initial=0)) > sys.maxunicode:
            raise Damage(f"{place}: a character of code {last:#x}, expected at most {sys.maxunicode:#x}")


def check_plain(name: str, array: np.ndarray) -> None:
    """Refuse to write what ``read_npz`` would not read back.

    Raises:
        TypeError: the array's dtype is neither plain numbers nor text.
    """
    if not _DTYPE.fullmatch(array.dtype.str):
        raise TypeError(f"{name} has dtype {array.dtype}, expected plain numbers or text")
