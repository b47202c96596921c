"""Plain cells of a table, thousands at a time: NumPy reads their digits eight by eight, each number as float() does.

Of a word of eight digits, the first in its lowest byte, a product and a shift make four numbers of two digits, then two
of four, then one of eight. A number is its digits over a power of ten. Where both are exact, so is their rounded
quotient; where the digits are more than a float64 holds, the quotient is computed in extended precision and rounded
once more, which goes wrong on a tie alone. Such a number, and any cell that isn't [-]digits[.digits], is left to float.
"""

from __future__ import annotations

import sys

import numpy as np

_ZERO, _MINUS, _END = map(ord, "0-\n")
_BEFORE = 24  # bytes before the first cell, for the words of its digits
_DIGITS = 19  # that any uint64 holds
_KEPT = np.array([(2**64 - 2 ** (64 - 8 * n)) & 0x0F0F0F0F0F0F0F0F for n in range(9)], np.uint64)  # the last n digits
_STEPS = (  # to numbers of two digits, four, eight: the factor, the shift, and what is kept
    (10 * 2**8 + 1, 8, 0x00FF00FF00FF00FF),
    (100 * 2**16 + 1, 16, 0x0000FFFF0000FFFF),
    (10000 * 2**32 + 1, 32, 0x00000000FFFFFFFF),
)
_TENS = np.array([10**i for i in range(_DIGITS + 1)], np.uint64)
_TENS_AS_FLOATS = _TENS.astype(np.float64)
_EXTENDED = sys.byteorder == "little" and np.finfo(np.longdouble).nmant == 63  # that of x86
_NONE = np.zeros(0, np.int64)
_ARENA = 1 << 24


class NotPlain(ValueError):
    """Lines that the csv module has to read."""


class Block:
    """Whole lines of a table, and the numbers of their cells.

    Args:
        content: the lines, of which each ends in a line feed, and none has a cell in quotes.
        separator: what stands between cells.
        point: the decimal mark.
        width: how many cells each line has.

    Raises:
        NotPlain: a line has more or fewer.
    """

    def __init__(self, content: bytes, separator: str, point: str, width: int) -> None:
        self.content = content
        data = np.frombuffer(content, np.uint8)
        marks = np.flatnonzero((data - np.uint8(_ZERO)) > 9)  # below "0" it wraps
        kinds = data.take(marks)
        last = np.flatnonzero((kinds == ord(separator)) | (kinds == _END))  # of a cell's marks, its end
        lines = kinds.take(last) == _END
        if len(last) % width or lines.sum() * width != len(last) or not lines[width - 1 :: width].all():
            raise NotPlain(f"lines of other than {width} cells")
        ends = self._ends = marks.take(last)
        self._starts = np.concatenate([[0], self._ends[:-1] + 1])
        within = np.diff(last, prepend=-1) - 1
        signed = data.take(self._starts) == _MINUS
        before = np.maximum(last - 1, 0)
        pointed = (kinds.take(before) == ord(point)) & (within > 0)
        whole_ends = np.where(pointed, marks.take(before), self._ends)
        whole, fraction = whole_ends - self._starts - signed, self._ends - whole_ends - pointed
        zero = data.take(self._starts + signed) == _ZERO
        count = whole + fraction
        odd = (within != signed.view(np.int8) + pointed.view(np.int8)) | (count == 0) | (count - zero > _DIGITS)
        whole[odd] = fraction[odd] = 0
        words = self._words = np.zeros((_BEFORE + len(data)) // 8 + 2, "<u8")
        words.view(np.uint8)[_BEFORE : _BEFORE + len(data)] = data
        digits = _whole(words, whole_ends, whole) * _TENS.take(fraction) + _whole(words, self._ends, fraction)
        values = digits.astype(np.float64) / _TENS_AS_FLOATS.take(fraction)
        long = np.flatnonzero(digits > 2**53)
        if len(long):
            values[long], odd[long] = _rounded(digits[long], _TENS.take(fraction[long]))
        values *= 1.0 - 2.0 * signed
        self.count = len(ends) // width
        self.values = np.ascontiguousarray(values.reshape(-1, width).T)  # a row for each column
        self._odd = odd.reshape(-1, width)
        self._has_odd = self._odd.any(axis=0).tolist()

    def odd(self, column: int) -> np.ndarray:
        """The rows of a column whose cells may be other numbers, or none."""
        return np.flatnonzero(self._odd[:, column]) if self._has_odd[column] else _NONE

    def cells(self, column: int, rows: np.ndarray | slice = slice(None)) -> list[bytes]:
        """What is written in some rows of a column."""
        width = len(self.values)
        starts, ends = (places.reshape(-1, width)[rows, column].tolist() for places in (self._starts, self._ends))
        return [self.content[a:b] for a, b in zip(starts, ends, strict=True)]

    def short(self, column: int) -> tuple[np.ndarray, list[bytes]] | None:
        """Which of the different texts each cell of a column is, and these, if none is longer than a word."""
        width = len(self.values)
        ends = self._ends[column::width]
        lengths = ends - self._starts[column::width]
        if lengths.max() > 8:
            return None
        values, codes = np.unique(_last(self._words, ends) >> (64 - 8 * lengths).astype(np.uint64), return_inverse=True)
        return codes, [value.to_bytes(8, "little").rstrip(b"\0") for value in values.tolist()]


def _whole(words: np.ndarray, ends: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The whole numbers of so many digits that end there."""
    found = _eight(words, ends, np.minimum(lengths, 8))
    for more in (8, 16):
        if len(far := np.flatnonzero(lengths > more)):
            found[far] += _eight(words, ends[far] - more, np.minimum(lengths[far] - more, 8)) * _TENS[more]
    return found


def _last(words: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The eight bytes before each of these: the end of one word and the beginning of the next."""
    first = ends + (_BEFORE - 8)
    shift = ((first & 7) << 3).astype(np.uint64)
    first >>= 3
    found = words.take(first) >> shift
    first += 1
    found |= words.take(first) << (np.uint64(64) - shift)  # by 64: 0
    return found


def _eight(words: np.ndarray, ends: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The whole numbers of up to eight digits that end there."""
    found = _last(words, ends)
    found &= _KEPT.take(lengths)
    for factor, by, mask in _STEPS:
        found *= np.uint64(factor)
        found >>= np.uint64(by)
        found &= np.uint64(mask)
    return found


def _rounded(digits: np.ndarray, tens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quotients of whole numbers beyond float64, and which of them may be wrong."""
    if not _EXTENDED:
        return digits.astype(np.float64), np.ones(len(digits), bool)
    quotient = digits.astype(np.longdouble) / tens.astype(np.longdouble)
    tie = quotient.view(np.uint64)[::2] & np.uint64(0x7FF) == 0x400  # the 11 bits that float64 hasn't
    return quotient.astype(np.float64), tie


def keep_memory() -> None:
    """Have the C library keep some MiB of freed memory: each block's arrays, new pages, take longer than its digits."""
    np.empty(_ARENA - 4096, np.uint8)
