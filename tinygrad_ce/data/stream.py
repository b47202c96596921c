"""Stream: data sets larger than memory, in batches of a seeded order that can be gone on with midway."""

from __future__ import annotations

import contextlib
import os
from _thread import allocate_lock, get_ident, start_new_thread
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from sys import is_finalizing
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tinygrad_ce.common.options import whole
from tinygrad_ce.data import layout, sources
from tinygrad_ce.data.dataset import BLOCK, Pair, moments
from tinygrad_ce.data.readers import DataError
from tinygrad_ce.data.spool import spool
from tinygrad_ce.data.strict import NotStrict
from tinygrad_ce.data.tables import Found

T = TypeVar("T")


def stream(
    source: Any, *, label: int | str | None = None, classes: Sequence[str] | None = None,
    block: int = BLOCK, window: int = 1 << 24, prefetch: int = 1, **columns: Any,
) -> Stream:  # fmt: skip
    """Rows and their labels that need not fit in memory, to be read in batches.

    Args:
        source: one of

            - a pair (x, y) of paths of ``.npy`` files or of arrays, or a Dataset. Of arrays only slices are taken, so
              ``np.memmap`` and h5py's datasets will do. x has shape (N, …), y (N) or, of soft targets, (N, classes).
            - the path of a table, as ``load_table`` reads it: a ``.csv``, ``.tsv``, ``.txt`` or ``.dat``, also with
              ``.gz``. Its features, by a plan of its columns, are written to a temporary file without a name, and read
              from there. In a table of more than 64 MiB the plan is that of a part of it, spread over the whole.
            - the path of a ``.csv`` of numbers and a label, as ``load_csv`` reads it. It is read once at the start, to
              check it, and then again whenever its rows are needed.
            - the path of a ``.npz`` with the arrays of such a pair, and maybe ``classes``. It is read in one piece, and
              may be no larger than a window.
            - the path of a folder of shards of one kind, in the order of their names: ``.csv`` files, ``.npz`` files,
              or pairs ``NAME.x.npy`` and ``NAME.y.npy``. Files of other kinds and hidden ones are passed over.
        label: the column of a table with the label, by position or name; the last unless given, or that of the plan.
        classes: the names of the classes, in order: of a data set that was trained on before, ``its.classes``. Unless
            given they are those found.
        block: bytes, as float32, of neighbouring rows that are read together.
        window: bytes of blocks whose rows are shuffled together.
        prefetch: how many windows a thread reads ahead; 0 for no thread.
        columns: plan, header, drop, category, number, missing, quantity or scaled, as ``load_table`` takes them; but
            scaled is False unless given. With any of them a ``.csv`` of numbers is read by a plan, too.

    Features become float32 and are otherwise left as they are, those of images from 0 to 255 too: see
    ``Stream.moments``. In arrays a label of -100 marks a row without one. At any time prefetch + 1 windows and a block
    are in memory.

    Raises:
        DataError: a file that isn't what it should be: its name, the place in it, and what was expected; likewise where
                rows are read later, and there also for a file that has changed since.
        TypeError, ValueError: a source of another kind, or an option out of range.
        OSError: a file can't be opened.

    Example:
        >>> import tinygrad_ce as tg
        >>> rows = tg.data.stream(tg.data.load_digits())
        >>> rows
        Stream(1,797 rows of shape (64,), 10 classes)
        >>> for x, y in rows.batches(600, seed=0, epoch=3, start=1):
        ...     print(x.shape, y.shape)
        (600, 64) (600,)
        (597, 64) (597,)
    """
    for name, value, least in (("block", block, 1), ("window", window, 1), ("prefetch", prefetch, 0)):
        whole("stream", name, value, least)
    if classes is not None:
        if isinstance(classes, str) or len(set(map(str, classes))) < len(classes):
            raise ValueError(f"stream: classes is {classes!r}, expected names, each once")
        classes = tuple(map(str, classes))
    given = label, classes, min(block, window)
    if isinstance(source, str | os.PathLike) and layout.is_table(source) and not os.path.isdir(source):
        return Stream(*_of_table(source, *given, columns), window, prefetch)
    if columns:
        raise ValueError(f"stream: {next(iter(columns))} is for a table, expected the path of one")
    return Stream(*sources.find(source, *given, window), None, window, prefetch)


def _of_table(
    path: Any, label: int | str | None, classes: Sequence[str] | None, block: int, columns: dict[str, Any]
) -> tuple[sources.Source, tuple[str, ...], Found | None]:
    """A table's rows: as they are if they are but numbers and a label, unless options are given; else by a plan."""
    strict: DataError | None = None
    if not columns and Path(path).suffix == ".csv":
        try:
            return *sources.find(path, label, classes, block, 0), None
        except DataError as error:
            strict = error
    try:
        return spool(path, label, classes, block, **{"scaled": False, **columns})
    except DataError as error:
        raise error if strict is None or isinstance(strict, NotStrict) else strict from None


class _Window(NamedTuple):
    """Rows in memory, and the order in which they are handed out."""

    x: np.ndarray
    y: np.ndarray
    order: np.ndarray


class Stream:
    """Rows that are read as they are needed; made by ``stream``.

    Attributes:
        classes: the names of the classes.
        shape: that of a row's features.
        table: of one that was read by a plan of its columns, ``table.plan``, ``table.notes`` and ``table.layout``, as
            those of ``load_table``'s; else None.

    ``len()`` is the number of rows.

    Example:
        >>> import tempfile, tinygrad_ce as tg
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "flowers.csv"
        >>> _ = path.write_text("1,2,iris\\n3,4,rose\\n5,6,iris\\n")
        >>> rows = tg.data.stream(path)
        >>> len(rows), [x.shape for x, y in rows.batches(2)]
        (3, [(2, 2), (1, 2)])
    """

    def __init__(
        self, source: sources.Source, classes: tuple[str, ...], table: Found | None, window: int, prefetch: int
    ) -> None:
        self.classes = classes
        self.table = table
        self.shape = source.shape
        self._source = source
        self._window = window
        self._prefetch = prefetch
        self._blocks = np.flatnonzero(source.counts)

    def __len__(self) -> int:
        return int(self._source.counts.sum())

    @property
    def layout(self) -> dict[str, int]:
        """What, beside seed and epoch, fixes the order of the rows."""
        return {"rows": len(self), "blocks": len(self._blocks), "window": self._window}

    def __repr__(self) -> str:
        return f"Stream({len(self):,} rows of shape {self.shape}, {len(self.classes):,} classes)"

    def batches(
        self, batch_size: int = 32, *, seed: int = 0, epoch: int = 0, start: int = 0, shuffle: bool = True
    ) -> Iterator[Pair]:
        """Every row once, in batches of (x, y), the last one smaller.

        Args:
            batch_size: how many rows a batch has.
            seed: fixes the order, together with the epoch and the stream's block and window.
            epoch: the number of the pass over the data.
            start: the batch to begin with. Those before it are not read, and those from it on are the same, bit for
                bit, as if they had been.
            shuffle: whether to shuffle; else the rows come as they are in the source.

        Rows are shuffled in two steps. The blocks, each of neighbouring rows, are put in a random order; then the rows
        of as many successive blocks as fit into a window are put in a random order among themselves. This is **not** a
        uniform permutation of all rows: a row can turn up anywhere in an epoch, but together with its block, within a
        window. Where neighbouring rows are no more alike than others, that makes no difference. In a file sorted by
        class nearly every block holds a single class, and a window is 64 blocks by default: some classes are then rare
        in it. Make blocks smaller or the window larger, or write the file in another order. Blocks of one row
        (``block=1``) make it a uniform permutation, and the reading slowest.

        The iterator has a thread of its own. It ends with the loop, however the loop ends, or with the iterator's
        ``close()``.

        Raises:
            ValueError: batch_size below 1, or a start beyond the end.
            DataError: what is wrong in a block, when it is read.

        Example:
            >>> import tinygrad_ce as tg
            >>> rows = tg.data.stream(tg.data.load_iris())
            >>> [len(y) for x, y in rows.batches(64)]
            [64, 64, 22]
        """
        for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0), ("epoch", epoch, 0)):
            whole("Stream.batches", name, value, least)
        rows = min(len(self), whole("Stream.batches", "start", start, 0) * batch_size)
        if start > (most := -(-len(self) // batch_size)):
            raise ValueError(f"Stream.batches: start is {start}, expected at most the {most} batches")
        groups = self._groups(_generator(seed, epoch, 0) if shuffle else None)
        ends = np.cumsum([self._source.counts[group].sum() for group in groups])
        first = int(np.searchsorted(ends, rows, side="right"))
        skip = rows - int(ends[first - 1]) if first else rows
        windows = (
            self._read(groups[i], _generator(seed, epoch, i + 1) if shuffle else None)
            for i in range(first, len(groups))
        )
        return _cut(_ahead(windows, self._prefetch) if self._prefetch else windows, batch_size, skip)

    def _groups(self, rng: np.random.Generator | None) -> list[list[int]]:
        """The blocks of each window, as many as fit into it."""
        blocks = self._blocks if rng is None else rng.permutation(self._blocks)
        sizes = (self._source.counts * self._source.row_bytes).tolist()
        groups: list[list[int]] = []
        room = 0
        for block in blocks.tolist():
            if sizes[block] > room:
                groups.append([])
                room = self._window
            groups[-1].append(block)
            room -= sizes[block]
        return groups

    def _read(self, blocks: list[int], rng: np.random.Generator | None) -> _Window:
        """The rows of some blocks."""
        rows = int(self._source.counts[blocks].sum())
        x, y, place = np.empty((rows, *self.shape), np.float32), [], 0
        for i in blocks:
            found, labels = self._source.read(i)
            if len(found) != self._source.counts[i]:
                raise DataError(f"stream: {len(found)} rows, expected {self._source.counts[i]}; has the data changed?")
            x[place : place + len(found)] = found
            y.append(labels)
            place += len(found)
        return _Window(x, np.concatenate(y), np.arange(rows) if rng is None else rng.permutation(rows))

    def split(self, fraction: float = 0.2, seed: int = 0) -> tuple[Stream, Stream]:
        """Hold out a fraction of the rows of each block: (train, held out). The same seed gives the same rows.

        Both sides read all blocks.

        Raises:
            ValueError: the fraction isn't between 0 and 1, or too small or large for any row on either side.

        Example:
            >>> import tinygrad_ce as tg
            >>> train, test = tg.data.stream(tg.data.load_iris()).split(0.2)
            >>> len(train), len(test)
            (120, 30)
        """
        if not 0 < fraction < 1:
            raise ValueError(f"Stream.split: fraction is {fraction!r}, expected a number between 0 and 1")
        whole("Stream.split", "seed", seed, 0)
        sides = [sources.Part(self._source, fraction, seed, held) for held in (False, True)]
        kept, held = (Stream(side, self.classes, self.table, self._window, self._prefetch) for side in sides)
        if not len(kept) or not len(held):
            raise ValueError(f"Stream.split: fraction {fraction} of {len(self)} rows leaves one side empty")
        return kept, held

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean and the deviation of each feature over all rows, float64; the deviation of a constant one is 1.

        They are what ``nn.Standardize`` takes, which so begins a model for rows that are not in memory:
        ``nn.Standardize(*rows.moments())``.

        Example:
            >>> import tinygrad_ce as tg
            >>> mean, deviation = tg.data.stream(tg.data.load_iris()).moments()
            >>> mean.round(2), deviation.round(2)
            (array([5.84, 3.06, 3.76, 1.2 ]), array([0.83, 0.43, 1.76, 0.76]))
        """
        return moments(self.shape, (self._source.read(i)[0] for i in self._blocks.tolist()))


def _generator(seed: int, epoch: int, number: int) -> np.random.Generator:
    """That of an epoch's blocks, number 0, or of one of its windows."""
    # Without a key of their own [s, e] and [s, e, 0] would be the same seed.
    return np.random.default_rng(np.random.SeedSequence([seed, epoch], spawn_key=(number,)))


def _cut(windows: Generator[_Window, None, None], batch_size: int, skip: int) -> Iterator[Pair]:
    """Batches from windows, after some rows that are skipped; a batch may have rows of several windows."""
    parts: list[Pair] = []
    missing = batch_size
    with contextlib.closing(windows):
        for x, y, order in windows:
            while skip < len(order):
                rows = order[skip : skip + missing]
                parts.append((x[rows], y[rows]))
                skip, missing = skip + len(rows), missing - len(rows)
                if not missing:
                    yield _joined(parts)
                    parts, missing = [], batch_size
            skip = 0
            del x, y, order  # before the thread is asked for another window
    if parts:
        yield _joined(parts)


def _joined(parts: list[Pair]) -> Pair:
    if len(parts) == 1:
        return parts[0]
    x, y = zip(*parts, strict=True)
    return np.concatenate(x), np.concatenate(y)


def _ahead(items: Generator[T, None, None], count: int) -> Generator[T, None, None]:
    """The items of an iterator, made by a thread up to so many ahead of their use.

    Locks and queues here are taken in one step of C, so an interrupt never finds one half taken. It could with those
    of ``threading``, and the thread would wait forever.
    """
    wanted, made = SimpleQueue[bool](), SimpleQueue[tuple[Any, BaseException | None]]()
    over: list[bool] = []
    running = allocate_lock()

    def work() -> None:
        try:
            while wanted.get() and not over:
                made.put((next(items), None))
        except BaseException as error:
            made.put((None, error))
        finally:
            running.release()

    worker = None
    try:
        running.acquire()
        try:
            worker = start_new_thread(work, ())
        except RuntimeError:  # a browser has no threads
            yield from items
            return
        for _ in range(count):
            wanted.put(True)
        while True:
            item, error = made.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                try:
                    raise error
                finally:
                    del error  # it holds this frame, which must not hold it
            wanted.put(True)
            yield item
    finally:
        over.append(True)
        wanted.put(False)
        # Where the garbage collector ends this, it may run in that very thread, which can't wait for itself; and when
        # Python shuts down, no other thread runs any more.
        if worker not in (None, get_ident()) and not is_finalizing():
            running.acquire()
