"""Arithmetic: how each entry of an array came about, out of which entries of which others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.study.numbers import WHOLE, number


class Factor(NamedTuple):
    """An array that takes part in terms: for each term the position, in the array's flat order, of its number."""

    name: str
    array: np.ndarray
    places: np.ndarray  # -1 where a term has no number, as in the border of an image
    argument: str = ""  # of the call, if the array was given as one


class Part(NamedTuple):
    """Terms that are alike: numbers put into the same words. ``at`` has for each term the entry that it belongs to.

    ``at`` and the factors' places have a common shape, by broadcasting, with an axis for whatever runs: the entry's
    own axes, and those that are summed over.
    """

    words: tuple[str, ...]  # what stands before, between and behind the numbers
    factors: list[Factor]
    at: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """That of all terms."""
        return np.broadcast_shapes(self.at.shape, *(factor.places.shape for factor in self.factors))


class Origin(NamedTuple):
    """Where an array's entries come from: each is the sum of its terms, or by an operator of the terms' numbers."""

    parts: list[Part]
    by: str = ""


class Row(NamedTuple):
    """A labelled array of a step, and where it comes from, if that can be said."""

    label: str
    array: np.ndarray
    indent: bool = False
    origin: Origin | None = None

    @property
    def name(self) -> str:
        """What the array is called where it takes part."""
        return self.label.partition(",")[0].partition(" = ")[0]

    def factor(self, places: np.ndarray | None = None) -> Factor:
        """The array as a factor: entry by entry, or at these places."""
        return Factor(self.name, self.array, positions(self.array) if places is None else places)


def positions(array: np.ndarray) -> np.ndarray:
    """The place of each entry in the flat order."""
    return np.arange(array.size).reshape(array.shape)


def product(factors: Iterable[Factor], at: np.ndarray) -> Part:
    """Terms that are products."""
    factors = [*factors]
    return Part(("", *[" · "] * (len(factors) - 1), ""), factors, at)


Term = tuple[Part, tuple[int, ...]]  # and the places of its factors' numbers


def terms(origin: Origin, place: int) -> list[Term]:
    """The terms of one entry, in order."""
    found: list[Term] = []
    for part in origin.parts:
        index = _indices(part.at, part.shape, place)
        columns = [np.broadcast_to(f.places, part.shape)[index].ravel().tolist() for f in part.factors]
        found += [(part, places) for places in zip(*columns, strict=True) if min(places) >= 0]
    return found


def _indices(at: np.ndarray, shape: tuple[int, ...], place: int) -> tuple[np.ndarray, ...]:
    """Where terms of a shape belong to one entry. Axes along which the entry stays the same aren't searched."""
    at = at.reshape((1,) * (len(shape) - at.ndim) + at.shape)
    own = at[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in at.strides)]
    found = np.argwhere(own == place)
    if not shape:
        return (np.asarray(bool(len(found))),)
    free = [n if m == 1 else 1 for n, m in zip(shape, own.shape, strict=True)]
    index = found[:, None, :] + np.indices(free).reshape(len(free), 1, -1).transpose(1, 2, 0)
    in_order = np.sort(np.ravel_multi_index(tuple(index.reshape(-1, len(free)).T), shape))
    return np.unravel_index(in_order, shape)


def said(origin: Origin, place: int) -> tuple[str, str]:
    """How an entry came about: its terms with their numbers, and the entries that took part."""
    found = terms(origin, place)
    shown = found if len(found) <= WHOLE else [term for term in found if not _is_zero(term)]
    zeros, rest = len(found) - len(shown), len(shown) - WHOLE
    added = len(found) > 1 and not origin.by
    texts = [_with_numbers(part, places, added) for part, places in shown[:WHOLE]]
    texts += [f"{rest} more"] * (rest > 0) + [f"{zeros} that {'is' if zeros == 1 else 'are'} 0"] * (zeros > 0)
    text = (", " if origin.by else " + ").join(texts) or "nothing takes part in it"
    return f"by {origin.by} of {text}" if origin.by else text, ", ".join(taken(found))


def _is_zero(term: Term) -> bool:
    part, places = term
    factors = zip(part.factors, places, strict=True)
    return set(part.words) <= {"", " · "} and any(factor.array.flat[i] == 0 for factor, i in factors)


def _with_numbers(part: Part, places: Sequence[int], added: bool) -> str:
    """The words with the numbers between them; one below 0 in brackets, unless it stands alone."""
    text, alone = part.words[0], part.words == ("", "") and not added
    for factor, place, behind in zip(part.factors, places, part.words[1:], strict=True):
        value = number(factor.array.flat[place])
        inside = text.endswith(("(", ", ")) and behind.startswith((")", ","))
        text += (f"({value})" if value.startswith("-") and not (alone or inside) else value) + behind
    return text


def taken(found: Iterable[Term]) -> list[str]:
    """The entries that took part, array by array, as one would index them."""
    found_in: dict[int, tuple[Factor, set[int]]] = {}
    for part, places in found:
        for factor, place in zip(part.factors, places, strict=True):
            found_in.setdefault(id(factor.array), (factor, set()))[1].add(place)
    return [f"{factor.name}{box(factor.array.shape, sorted(places))}" for factor, places in found_in.values()]


def box(shape: tuple[int, ...], places: Sequence[int]) -> str:
    """The index of some entries: of one, of a block, or of several within a block."""
    if not shape:
        return ""
    index = np.unravel_index(list(places), shape)
    spans = [(int(i.min()), int(i.max()) + 1) for i in index]
    some = "" if math.prod(high - low for low, high in spans) == len(places) else f", {len(places)} of these"
    words = (
        ":" if (low, high) == (0, n) and n > 1 else str(low) if high == low + 1 else f"{low}:{high}"
        for n, (low, high) in zip(shape, spans, strict=True)
    )  # fmt: skip
    return f"[{', '.join(words)}]{some}"


def whole(factors: Iterable[Factor], of: np.ndarray) -> list[Part]:
    """Terms for each entry of an array: every number of every factor."""
    return [product([f._replace(places=positions(f.array).ravel())], positions(of)[..., None]) for f in factors]


def strided(places: np.ndarray, shape: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Places as an offset and a stride for each axis of a shape; into a list of them, empty where none is needed."""
    places = places.reshape((1,) * (len(shape) - places.ndim) + places.shape)
    own = places[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in places.strides)]
    if not own.size:
        return [0] * (1 + len(shape)), []
    first = int(own.flat[0])
    index: Any = np.indices(own.shape, sparse=True)
    steps = [int(own.take(1, k).flat[0]) - first if n > 1 else 0 for k, n in enumerate(own.shape)]
    if np.array_equal(sum((i * step for i, step in zip(index, steps, strict=True)), np.asarray(first)), own):
        return [first, *steps], []
    lengths = [*own.shape, 1]
    steps = [math.prod(lengths[k + 1 :]) if n > 1 else 0 for k, n in enumerate(own.shape)]
    return [0, *steps], own.ravel().tolist()


def derivation(name: str, rows: Sequence[Row], place: int) -> Iterator[str]:
    """How an entry of a step's last row, named anew, came about; then each number of the step that it is made of."""
    by_array = {id(row.array): row for row in rows}
    queue = [(rows[-1], place)]
    for row, at in queue:  # it grows under the loop
        if row.origin is None:
            continue
        text, entries = said(row.origin, at)
        called = name if row is rows[-1] else row.name
        yield f"{called}{box(row.array.shape, [at])} = {number(row.array.flat[at])} = {text}"
        yield f"    from {entries}" if entries else ""
        used: dict[int, set[int]] = {}
        for part, places in terms(row.origin, at):
            for factor, i in zip(part.factors, places, strict=True):
                used.setdefault(id(factor.array), set()).add(i)
        ones = [(by_array[k], found.pop()) for k, found in used.items() if k in by_array and len(found) == 1]
        queue += [one for one in ones if one not in queue]
