"""Streams: each row once, the same bits from anywhere, in little memory; what is wrong in a file is named."""

import _thread
import gc
import os
import queue
import random
import re
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
import weakref

import numpy as np
import pytest

import tinygrad_ce as tg
from benchmarks import damaged_files, streams
from benchmarks.interrupts import Interrupt
from benchmarks.memory import resident
from tinygrad_ce.data import DataError, load_csv, load_npz, load_table, stream

ROWS, WIDTH, CLASSES = 103, 3, 4
SMALL = {"block": 100, "window": 700}  # bytes: 5 rows and 35


def rows(n=ROWS, width=WIDTH):
    """Rows that hold their number, and labels."""
    x = np.arange(n * width, dtype=np.float32).reshape(n, width) / 4
    y = np.random.default_rng(0).permutation(np.arange(n) % CLASSES)
    return x, y


class Sliceable:
    """What h5py's datasets are like: a shape, and arrays for slices."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def __getitem__(self, part):
        assert isinstance(part, slice)
        assert part.step is None
        return self.array[part].copy()


def write_csv(path, x, y, head=True):
    lines = [",".join([*map(repr, row), f"c{label}"]) for row, label in zip(x.tolist(), y.tolist(), strict=True)]
    path.write_text("\n".join([*["a,b,c,kind"] * head, *lines]) + "\n")
    return path


def write_npy(folder, x, y, name=""):
    np.save(folder / f"{name}x.npy", x)
    np.save(folder / f"{name}y.npy", y)
    return folder / f"{name}x.npy", folder / f"{name}y.npy"


def shards(folder, x, y, write):
    """A folder of three shards."""
    folder.mkdir()
    for name in ("README", ".a.csv", ".a.npz", ".a.x.npy"):
        (folder / name).write_text("none of them")
    for name, part in zip("abc", np.split(np.arange(len(x)), [35, 69]), strict=True):
        write(folder, name, x[part], y[part])
    return folder


SOURCES = {
    "arrays": lambda folder, x, y: (x, y),
    "a Dataset": lambda folder, x, y: tg.data.Dataset(x, y, tuple("0123")),
    "sliceable": lambda folder, x, y: (Sliceable(x), Sliceable(y)),
    ".npy": write_npy,
    "mapped": lambda folder, x, y: tuple(np.load(path, mmap_mode="r") for path in write_npy(folder, x, y)),
    ".csv": lambda folder, x, y: write_csv(folder / "t.csv", x, y),
    "a folder of .csv": lambda folder, x, y: shards(
        folder / "f", x, y, lambda f, name, *part: write_csv(f / f"{name}.csv", *part, head=name == "a")
    ),
    "a folder of .npz": lambda folder, x, y: shards(
        folder / "f", x, y, lambda f, name, x, y: np.savez_compressed(f / f"{name}.npz", x=x, y=y)
    ),
    "a folder of .npy": lambda folder, x, y: shards(
        folder / "f", x, y, lambda f, name, *part: write_npy(f, *part, f"{name}.")
    ),
}


def opened(kind, folder, x, y, **options):
    return stream(SOURCES[kind](folder, x, y), **{**SMALL, **options})


def read(batches):
    """All batches as one, and their lengths."""
    found = list(batches)
    return (*(np.concatenate(part) for part in zip(*found, strict=True)), [len(y) for _, y in found])


def same(found, expected):
    assert len(found) == len(expected)
    for (x, y), (u, v) in zip(found, expected, strict=True):
        assert (x.dtype, y.dtype, x.shape, y.shape) == (u.dtype, v.dtype, u.shape, v.shape)
        assert (x.tobytes(), y.tobytes()) == (u.tobytes(), v.tobytes())


@pytest.mark.parametrize("kind", SOURCES)
def test_each_row_once_and_the_same_bits_from_any_start(tmp_path, kind):
    x, y = rows()
    found = opened(kind, tmp_path, x, y)
    assert len(found) == ROWS
    assert found.shape == (WIDTH,)
    assert [name[-1] for name in found.classes] == list("0123")
    u, v, lengths = read(found.batches(10, shuffle=False))
    assert (u.dtype, v.dtype, lengths) == (np.float32, np.int64, [10] * 10 + [3])
    assert (u.tobytes(), v.tobytes()) == (x.tobytes(), y.tobytes())
    for size in (1, 10, 64, 1000):
        whole = list(found.batches(size, seed=3, epoch=5))
        u, v, _ = read(whole)
        assert not (u[:, 0] == x[:, 0]).all()
        order = np.lexsort(u.T[::-1])
        assert (u[order].tobytes(), v[order].tobytes()) == (x.tobytes(), y.tobytes())
        for start in {0, 1, len(whole) // 2, len(whole) - 1, len(whole)}:
            same(list(found.batches(size, seed=3, epoch=5, start=start)), whole[start:])
    orders = {read(found.batches(ROWS, seed=s, epoch=e))[1].tobytes() for s in (0, 1) for e in (0, 1, 2)}
    assert len(orders) == 6


def test_the_order_is_that_of_the_formula():
    x, y = rows()
    found, expected = stream((x, y), **SMALL), []
    rng = lambda number: np.random.default_rng(np.random.SeedSequence([7, 2], spawn_key=(number,)))
    blocks = [np.arange(i, min(i + 5, ROWS)) for i in range(0, ROWS, 5)]
    order = rng(0).permutation(len(blocks))
    for number in range(3):  # 21 blocks, of which 7 make a window
        window = np.concatenate([blocks[i] for i in order[7 * number : 7 * number + 7]])
        expected += rng(number + 1).permutation(window).tolist()
    u, v, _ = read(found.batches(8, seed=7, epoch=2))
    assert u.tobytes() == x[expected].tobytes()
    assert v.tolist() == y[expected].tolist()


def test_rows_of_a_block_stay_within_a_window_and_blocks_of_one_row_do_not():
    x, y = rows(1000)
    place = np.argsort(read(stream((x, y), block=200, window=2000).batches())[0][:, 0])
    travelled = np.ptp(place.reshape(-1, 10), axis=1)
    assert travelled.max() < 100
    place = np.argsort(read(stream((x, y), block=1, window=2000).batches())[0][:, 0])
    assert np.ptp(place.reshape(-1, 10), axis=1).mean() > 700  # of ten uniform draws: 9/11 of 1000
    assert abs(np.corrcoef(place, np.arange(1000))[0, 1]) < 0.1


def test_a_block_is_no_larger_than_a_window():
    larger, equal = (stream(rows(), block=block, window=100) for block in (10**6, 100))
    same(list(larger.batches(7)), list(equal.batches(7)))


@pytest.mark.parametrize("prefetch", [1, 2, 9])
def test_reading_ahead_changes_nothing(tmp_path, prefetch):
    x, y = rows()
    paths = write_npy(tmp_path, x, y)
    here, ahead = stream(paths, **SMALL, prefetch=0), stream(paths, **SMALL, prefetch=prefetch)
    same(list(ahead.batches(7, seed=1)), list(here.batches(7, seed=1)))


def test_where_no_thread_starts_the_same_is_read(monkeypatch):
    found = stream(rows(), **SMALL, prefetch=2)
    expected = list(found.batches(7, seed=1))

    def start(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(sys.modules["tinygrad_ce.data.stream"], "start_new_thread", start)
    same(list(found.batches(7, seed=1)), expected)
    next(begun := iter(found.batches(7)))
    begun.close()
    assert next(begun, None) is None


def test_only_what_is_needed_is_read():
    x, y = rows()
    seen = []

    class Watching(Sliceable):
        def __getitem__(self, part):
            seen.append(part)
            return super().__getitem__(part)

    found = stream((Watching(x), y), **SMALL, prefetch=0)
    seen.clear()
    next(found.batches(10, start=9))
    assert len(seen) <= 7 + 7  # the window of row 90, and at most the one after it
    seen.clear()
    assert list(found.batches(10, start=11)) == []
    assert seen == []


# Sides


@pytest.mark.parametrize("kind", [".csv", "a folder of .npz", "arrays"])
def test_a_split_puts_each_row_on_one_side(tmp_path, kind):
    x, y = rows()
    found = opened(kind, tmp_path, x, y)
    for fraction in (0.99, 0.5, 0.2):
        train, held = found.split(fraction, seed=1)
        assert len(held) == np.floor(fraction * ROWS + 0.5)
        sides = [read(side.batches(6, seed=2))[0][:, 0] for side in (train, held)]
        assert [len(train), len(held)] == list(map(len, sides))
        assert sorted(np.concatenate(sides)) == x[:, 0].tolist()
        assert train.classes == held.classes == found.classes
    again, other = (found.split(0.2, seed=seed)[1] for seed in (1, 2))
    in_order = read(held.batches(5, shuffle=False))[0]
    assert (np.diff(in_order[:, 0]) > 0).all()
    assert in_order.tobytes() == read(again.batches(5, shuffle=False))[0].tobytes()
    assert in_order.tobytes() != read(other.batches(5, shuffle=False))[0].tobytes()
    parts = [*train.split(0.5, seed=1), held]
    assert sorted(np.concatenate([read(part.batches())[0][:, 0] for part in parts])) == x[:, 0].tolist()


def test_other_places_are_held_out_in_each_block():
    held = stream(rows(100), block=200).split(0.3)[1]
    places = read(held.batches(shuffle=False))[0][:, 0] * 4 // 3 % 10
    assert len(np.unique(places)) == 10


def test_a_fraction_of_blocks_of_one_row_is_held_out():
    train, held = stream(rows(100), block=1).split(0.1)
    assert (len(train), len(held)) == (90, 10)
    u = read(held.batches(100))[0]
    assert len(np.unique(u[:, 0])) == 10


@pytest.mark.parametrize("fraction", [0, 1, 1.5, float("nan"), 0.001])
def test_fractions_that_leave_nothing(fraction):
    with pytest.raises(ValueError, match=r"Stream.split: fraction"):
        stream(rows(), **SMALL).split(fraction)


# Moments


@pytest.mark.parametrize("kind", ["arrays", ".csv"])
def test_moments_are_those_of_all_rows(tmp_path, kind):
    x, y = rows()
    x = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32) * [1, 1e3, 0] + [1e4, 0, 0.1]
    x = x.astype(np.float32)
    mean, deviation = opened(kind, tmp_path, x, y).moments()
    assert mean.dtype == deviation.dtype == np.float64
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(deviation[:2], exact.std(axis=0)[:2], rtol=1e-12)
    assert deviation[2] == 1
    mine, whole = tg.nn.Standardize(mean, deviation), tg.nn.Standardize.of(exact[:, :2])
    assert mine.mean.data[:2].tolist() == whole.mean.data.tolist()
    assert mine.scale.data[:2].tolist() == whole.scale.data.tolist()


def test_moments_of_one_side_and_of_images():
    x = np.random.default_rng(0).integers(0, 256, (50, 2, 4, 4)).astype(np.uint8)
    found = stream((x, np.arange(50) % 3), block=300)
    assert found.shape == (2, 4, 4)
    mean, deviation = found.moments()
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(deviation, x.std(axis=0), rtol=1e-13)
    _, held = found.split(0.3)
    side = read(held.batches(64, shuffle=False))[0]
    np.testing.assert_allclose(held.moments()[0], side.mean(axis=0, dtype=np.float64), rtol=1e-13)


# What rows may be


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", "|u1", ">i2", "|b1"])
def test_features_of_every_dtype_become_float32(tmp_path, dtype):
    x = (np.arange(24).reshape(8, 3) % 2).astype(dtype)
    u, v, _ = read(stream(write_npy(tmp_path, x, np.arange(8).astype(">u2") % 2)).batches(3, shuffle=False))
    assert (u.dtype, v.dtype) == (np.float32, np.int64)
    assert u.tolist() == x.astype(np.float32).tolist()
    assert v.tolist() == [0, 1] * 4


def test_what_was_written_to_a_mapping_is_read(tmp_path):
    paths = write_npy(tmp_path, *rows())
    x, y = (np.load(path, mmap_mode="c") for path in paths)
    found = stream((x[:], y), **SMALL)
    x[50] = 7
    for _ in range(2):
        assert read(found.batches(shuffle=False))[0][50].tolist() == [7, 7, 7]


def test_soft_targets_and_rows_without_a_label(tmp_path):
    x, _ = rows(8)
    soft = np.full((8, 5), 0.2, ">f8")
    found = stream(write_npy(tmp_path, x, soft), **SMALL)
    assert found.classes == ("0", "1", "2", "3", "4")
    _, v, _ = read(found.batches(3))
    assert (v.dtype, v.tolist()) == (np.float64, soft.tolist())
    found = stream((x, [0, 2, -100, 0, 1, 2, -100, 0]))
    assert found.classes == ("0", "1", "2")
    assert read(found.batches(3, shuffle=False))[1].tolist() == [0, 2, -100, 0, 1, 2, -100, 0]


def test_classes_are_named_by_files_or_by_the_caller(tmp_path):
    x, y = rows(8)
    np.savez(tmp_path / "a.npz", x=x, y=y, classes=["e", "f", "g", "h"])
    np.savez(tmp_path / "b.npz", x=x, y=y)
    assert stream(tmp_path).classes == ("e", "f", "g", "h")
    assert load_npz(tmp_path / "a.npz").classes == ("e", "f", "g", "h")
    np.savez(tmp_path / "b.npz", x=x, y=y, classes=["e", "f", "g", "x"])
    with pytest.raises(DataError, match=r"b.npz: classes e, f, g, x, expected e, f, g, h, as before"):
        stream(tmp_path)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    with pytest.raises(DataError, match=r"b.npz: classes e, f, g, x, expected no names"):
        stream(tmp_path)
    assert stream((x, y), classes=list("vwxyz")).classes == tuple("vwxyz")
    with pytest.raises(DataError, match=r"stream: y: y\[\d\] is \d, expected labels from 0 to 1"):
        stream((x, y), classes=["a", "b"])
    table = tmp_path / "t.csv"
    table.write_text("1,dog\n2,2.0\n3,dog\n")
    found = stream(table, classes=["cat", "dog", "2"])
    assert found.classes == ("cat", "dog", "2")
    assert read(found.batches(shuffle=False))[1].tolist() == [1, 2, 1]
    with pytest.raises(DataError, match=r"t.csv: line 2, column 1: '2.0', expected one of cat, dog"):
        stream(table, classes=["cat", "dog"])


def test_labels_of_tables_are_ordered_over_all_of_them(tmp_path):
    (tmp_path / "a.csv").write_text("w,kind\n1,10\n2,2.0\n")
    (tmp_path / "b.csv").write_text("3,2\n4,-1\n")
    found = stream(tmp_path, label="kind")
    assert found.classes == ("-1", "2", "10")
    assert read(found.batches(shuffle=False))[1].tolist() == [2, 1, 1, 0]
    (tmp_path / "b.csv").write_text("\n3,two\n")
    assert stream(tmp_path).classes == ("10", "2.0", "two")


TABLES = [
    'w,h,kind\r\n1,2,"a"\r\n\r\n3,"4","b,\n"\n5,6,"b,\n"\r\n',
    "1,2,a\r3,4,b\r\r5,6,a",
    '\ufeffw,"h\n\n",kind\n1,2,é\n\n\n"3",4,ß\n5,6,é',
    "1,2, 7 \n 3,4,7.0\n5,6,10\n",
]


@pytest.mark.parametrize("text", TABLES)
@pytest.mark.parametrize("block", [1, 30, 1000])
def test_tables_of_all_writers_are_read_as_load_csv_reads_them(tmp_path, text, block):
    path = tmp_path / "t.csv"
    for repeated in (text, text + text[text.index("1,2") :] * 2):
        path.write_bytes(repeated.encode())
        try:
            expected = load_csv(path)
        except DataError as error:
            with pytest.raises(DataError, match=re.escape(str(error))):
                stream(path)
            continue
        found = stream(path, block=block)
        assert found.classes == expected.classes
        u, v, _ = read(found.batches(2, shuffle=False))
        assert (u.tolist(), v.tolist()) == (expected.x.tolist(), expected.y.tolist())
        order = np.argsort(read(found.batches(2))[0], axis=0, kind="stable")[:, 0]
        assert read(found.batches(2))[0][order].tolist() == expected.x[np.argsort(expected.x[:, 0])].tolist()


def end(reader):
    """What a reader gives, or its error."""
    try:
        return reader()
    except DataError as error:
        return str(error)


def whole(found):
    x, y, _ = read(found.batches(7, shuffle=False))
    return x, y, found.classes


def test_damaged_tables_end_as_they_do_with_load_csv(tmp_path):
    path, rng, good, other = tmp_path / "t.csv", random.Random(5), 0, 0
    sound = write_csv(path, *rows(30)).read_bytes()
    for _ in range(400):
        path.write_bytes(damaged_files.damage("t.csv", sound, rng))
        expected, found = end(lambda: load_csv(path)), end(lambda: whole(stream(path, block=60)))
        if isinstance(expected, str):
            if isinstance(found, str):  # not always in the same words
                assert re.match(f"{path}: .*(expected|header)", found)
            else:  # a table of another kind
                table = load_table(path, scaled=False)
                assert all(map(np.array_equal, found, table))
                other += 1
        else:
            good += 1
            assert all(map(np.array_equal, found, expected))
    assert 50 < good < 350
    assert 0 < other < 100


def test_damaged_arrays_are_refused_or_read_as_what_they_say(tmp_path):
    rng, good = random.Random(6), 0
    paths = write_npy(tmp_path, *rows(30))
    sound = {path: path.read_bytes() for path in paths}
    for i in range(400):
        path = paths[i % 2]
        path.write_bytes((damaged_files.npy if i % 3 else damaged_files.any_way)(sound[path], rng))
        found = end(lambda: whole(stream(paths, block=60)))
        if isinstance(found, str):
            assert re.match(f"({'|'.join(map(str, paths))}|stream): .*(expected|short of)", found)
        else:
            good += 1
            x, y = map(np.load, paths)
            assert np.array_equal(found[0], x.astype(np.float32))
            assert np.array_equal(found[1], y)
        path.write_bytes(sound[path])
    assert 30 < good < 350


# What is wrong is named


def bad(x, row, value=np.nan):
    x = x.copy()
    x[row, 1] = value
    return x


def npz(f, **parts):
    np.savez(f / "a.npz", **parts)
    return f


def pairs(f, *parts):
    for name, (x, y) in zip("ab", parts, strict=True):
        write_npy(f, x, y, f"{name}.")
    return f


def tables(f, *texts):
    for name, text in zip("ab", texts, strict=False):
        (f / f"{name}.csv").write_text(text)
    return f


def truth(paths):
    content = paths[0].read_bytes()
    paths[0].write_bytes(content[:-1] + b"\2")
    return paths


def odd(f, *names):
    for name in names:
        (f / name).touch()
    return f


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda f, x, y: write_npy(f, bad(x, 77), y), r"x.npy: row 77 has a feature that is nan, expected a finite"),
        (lambda f, x, y: write_npy(f, bad(x.astype(float), 5, 1e39), y), r"x.npy: row 5 has a feature that is 1e\+39"),
        (lambda f, x, y: write_npy(f, x, np.where(x[:, 0] == 60, -1, y)), r"y.npy: y\[80\] is -1, expected .* from 0"),
        (lambda f, x, y: write_npy(f, x, y * 1.0), r"y.npy: labels have shape \(103,\) and dtype float64, expected cl"),
        (lambda f, x, y: write_npy(f, x, y[:, None]), r"y.npy: labels have shape \(103, 1\) and dtype int64"),
        (lambda f, x, y: write_npy(f, x, y[1:]), r"y.npy: y has shape \(102,\), expected a label .* 103 rows of .*x.n"),
        (lambda f, x, y: write_npy(f, x[:, 0], y), r"x.npy: x has shape \(103,\) and dtype float32, expected numbers"),
        (lambda f, x, y: write_npy(f, x[:0], y[:0]), r"x.npy: x has shape \(0, 3\)"),
        (lambda f, x, y: write_npy(f, x.astype("U"), y), r"x.npy: x has shape \(103, 3\) and dtype <U32"),
        (lambda f, x, y: write_npy(f, np.asfortranarray(x), y), r"x.npy: fortran_order True, expected rows that lie t"),
        (lambda f, x, y: write_npy(f, x, y + 2**20), r"y.npy: y\[0\] is 10485.., expected labels from 0 to 1048575"),
        (lambda f, x, y: write_npy(f, x, y * 2000), r"classes in 103 rows, expected fewer; are these class labels"),
        (lambda f, x, y: write_npy(f, x, y * 0 - 100), r"every label is -100, expected some"),
        (lambda f, x, y: (f / "none.npy", f / "y.npy"), r"No such file"),
        (lambda f, x, y: (f, f), r"a folder, expected a regular file"),
        (lambda f, x, y: f, r"no shards, expected files of one kind: .npz, .csv, or pairs"),
        (lambda f, x, y: f / "x.npy", r"x.npy: expected a .csv, a .npz, a folder of shards, or a pair of .npy"),
        (lambda f, x, y: odd(f, "b.y.npy", "a.x.npy", "a.y.npy"), r"b.x.npy or .y.npy is missing"),
        (lambda f, x, y: odd(f, "b.csv", "a.npz", ".hidden"), r".csv and .npz, expected files of one kind"),
        (lambda f, x, y: npz(f, x=x, y=y), r"a.npz: 2,060 bytes that are read in one .* the window's 700; write small"),
        (lambda f, x, y: npz(f, x=x), r"a.npz: no array 'y'; it holds x"),
        (lambda f, x, y: npz(f, x=x, y=y[1:]), r"a.npz: y has shape \(102,\), expected a label for each of the 103"),
        (lambda f, x, y: npz(f, x=x[:9], y=y[:9] - 9), r"a.npz: y\[0\] is -"),
        (lambda f, x, y: npz(f, x=bad(x[:9], 2), y=y[:9]), r"a.npz: row 2 has a feature"),
        (lambda f, x, y: pairs(f, (x, y), (x[:, 1:], y)), r"b.x.npy: rows of shape \(2,\), expected \(3,\) as in a.x."),
        (lambda f, x, y: pairs(f, (x, y), (x, x)), r"b.y.npy: soft targets of 3 classes, expected class indices"),
        (lambda f, x, y: pairs(f, (x, x), (x, x[:, 1:])), r"b.y.npy: soft targets of 2 classes, expected .* of 3"),
        (lambda f, x, y: tables(f, "a,b,c\n1,2,x\n", "b,a,c\n1,2,x\n"), r"b.csv: line 1: 3 columns, b, a, c, expected"),
        (lambda f, x, y: tables(f, "1,2,x\n", "1,2,3,x\n"), r"b.csv: line 1: 4 columns, 0, 1, 2, 3, expected 3, 0, 1"),
        (lambda f, x, y: tables(f, "1,2,x\n\n1,nan,x\n"), r"a.csv: line 3, column 1: 'nan', expected a finite number"),
        (lambda f, x, y: tables(f, "1,2,x\n" * 99 + "1,nan,x\n"), r"a.csv: line 100, column 1: 'nan', expected"),
        (lambda f, x, y: truth(write_npy(f, x > 0, y)), r"x.npy: rows \d+ to \d+: a truth value of 2, expected 0 or 1"),
        (lambda f, x, y: tables(f, "a,b\n"), r"a.csv: no rows, expected at least one"),
        (lambda f, x, y: (x, y, "ab", 4), r"source has 4 parts, expected a pair"),
        (lambda f, x, y: 7, r"source is of type int, expected a path, or a pair"),
        (lambda f, x, y: (Sliceable(bad(x, 9)), y), r"stream: x: row 9 has a feature"),
        (lambda f, x, y: (x, x, "ab"), r"stream: y: soft targets of 3 classes, expected 2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefetch", [0, 1])
def test_what_is_wrong_is_named(tmp_path, monkeypatch, write, message, prefetch):
    monkeypatch.setattr(tg.data.sources, "_LOOK", 32)
    with pytest.raises((DataError, TypeError, OSError), match=message) as caught:
        list(stream(write(tmp_path, *rows()), **SMALL, prefetch=prefetch).batches())
    assert len(str(caught.value)) < 500


def test_a_mapped_file_is_named_too(tmp_path):
    x, y = rows()
    paths = write_npy(tmp_path, bad(x, 50), y)
    with pytest.raises(DataError, match=r"x.npy: row 50 has"):
        list(stream(tuple(np.load(path, mmap_mode="r") for path in paths)).batches())


def test_of_shards_only_labels_are_read_at_first(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((100, 10_000), np.float32), y=np.arange(100))
    tracemalloc.start()
    found = stream(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 100
    assert peak < 500_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"), ({"batch_size": 2.0}, "batch_size is 2.0"),
        ({"seed": -1}, "seed is -1"), ({"epoch": None}, "epoch is None"), ({"start": -1}, "start is -1"),
        ({"start": 12, "batch_size": 10}, "start is 12, expected at most the 11 batches"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        stream(rows()).batches(**options)


@pytest.mark.parametrize("options", [{"block": 0}, {"window": True}, {"prefetch": -1}, {"classes": "ab"},
                                     {"classes": ["a", "a"]}])  # fmt: skip
def test_options_of_a_stream_are_checked(options):
    with pytest.raises(ValueError, match=f"stream: {next(iter(options))}"):
        stream(rows(), **options)


def test_a_line_without_an_end_is_not_read_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tg.data.strict, "_LONGEST_LINE", 1000)
    (tmp_path / "t.csv").write_text("1,2,a\n" + "1" * 5000)
    for reader in (load_csv, stream):
        with pytest.raises(DataError, match=r"t.csv: line 2: more than 1,000 characters, expected a line for each row"):
            reader(tmp_path / "t.csv")


def test_a_label_for_every_row_is_no_label(tmp_path, monkeypatch):
    monkeypatch.setattr(tg.data.sources, "_MOST_CLASSES", 50)
    (tmp_path / "t.csv").write_text("".join(f"{i},{i}.5\n" for i in range(99)))
    with pytest.raises(
        DataError, match="line 51, column 1: one more class, expected at most 50; are these class labels"
    ):
        stream(tmp_path / "t.csv")


# Files that change


def shrunk(path):
    os.truncate(path, path.stat().st_size - 40)


def grown(path):
    with open(path, "ab") as file:
        file.write(b"\n1,2,3,c1\n")


def touched(path):
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))


@pytest.mark.parametrize("change", [shrunk, grown, touched])
@pytest.mark.parametrize("kind", [".npy", ".csv", "a folder of .npz", "a folder of .npy"])
def test_a_file_that_changes_is_refused(tmp_path, kind, change):
    found = opened(kind, tmp_path, *rows(), prefetch=0)
    begun = found.batches(5)
    next(begun)
    for path in tmp_path.rglob("*.*"):
        if path.is_file() and path.name[0] != ".":
            change(path)
    for batches in (begun, found.batches(5), found.split()[0].batches(5)):
        with pytest.raises(
            DataError, match=r"\.(npy|csv|npz): it has changed, .* expected it to stay; make the stream"
        ):
            list(batches)
    with pytest.raises(DataError, match="it has changed"):
        found.moments()


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = write_csv(tmp_path / "t.csv", *rows())
    found = stream(path, **SMALL, prefetch=0)
    real = tg.data.strict.Table.go

    def go(table, place):
        path.write_text("1,2,3,c9\n" * 9)
        real(table, (0, 0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tg.data.strict.Table, "go", go)
        with pytest.raises(DataError, match="it has changed"):
            list(found.batches())


def test_arrays_that_shrink_are_refused():
    x, y = rows()
    shrinking = Sliceable(x)
    found = stream((shrinking, y), **SMALL)
    shrinking.array = x[:50]
    with pytest.raises(DataError, match=r"stream: x: rows \d+ to \d+ have shapes .*, expected"):
        list(found.batches())


# Threads


def settled(count):
    """Whether no more threads than that are left, a moment after the last lock was released."""
    for _ in range(2000):
        if _thread._count() <= count:
            return True
        time.sleep(0.001)
    return False


@pytest.fixture
def threads():
    """The number of threads, which must be the same afterwards."""
    count = _thread._count()
    yield count
    assert settled(count)


def test_no_thread_outlives_its_loop(threads):
    found = stream(rows(), **SMALL, prefetch=2)

    def loop(body):
        for i, _ in enumerate(found.batches(5)):
            if i == 0:
                assert _thread._count() == threads + 1
            elif body == "break":
                break
            elif body == "raise":
                raise ZeroDivisionError

    unused = found.batches(5)
    assert _thread._count() == threads
    loop("to its end")
    assert settled(threads)
    loop("break")
    assert settled(threads)
    with pytest.raises(ZeroDivisionError):
        loop("raise")
    assert settled(threads)
    next(unused)
    unused.close()
    assert settled(threads)


def test_an_iterator_in_a_cycle_may_be_ended_by_its_own_thread(threads):
    x, y = rows()
    abandoned, collected = threading.Event(), threading.Event()

    class Collecting(Sliceable):
        def __getitem__(self, part):
            if part.start == 2:
                abandoned.wait(30)
                gc.collect()
                collected.set()
            return super().__getitem__(part)

    cycle = [stream((Collecting(x), y), block=20, window=20).batches(1, shuffle=False)]
    cycle.append(cycle)
    kept = weakref.ref(cycle[0])
    gc.disable()
    try:
        next(cycle[0])
        next(cycle[0])  # and its thread is asked for row 2
        del cycle
        abandoned.set()
        assert collected.wait(30)
        assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("prefetch", [0, 1])
def test_an_error_comes_with_its_own_traceback_and_leaves_no_cycle(threads, prefetch):
    x, y = rows()

    class Failing(Sliceable):
        def __getitem__(self, part):
            if part.start:
                raise OSError("the disk is gone")
            return super().__getitem__(part)

    def failing():
        try:
            list(stream((Failing(x), y), **SMALL, prefetch=prefetch).batches())
        except OSError as error:
            return [frame.name for frame in traceback.extract_tb(error.__traceback__)]

    assert failing()[-1] == "__getitem__"
    gc.collect()
    gc.disable()
    try:
        failing()
        assert gc.collect() == 0
    finally:
        gc.enable()


LEFT = """
import numpy as np, tinygrad_ce as tg
x = np.zeros((1000, 4))
kept = tg.data.stream((x, np.arange(1000) % 3), block=100, window=1000, prefetch=PREFETCH).batches(8)
next(kept)
"""


@pytest.mark.parametrize("prefetch", [1, 3])
def test_python_ends_while_an_iterator_is_kept(prefetch):
    code = LEFT.replace("PREFETCH", str(prefetch))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_anywhere_ends_the_thread(threads):
    found = stream(rows(12), block=40, window=80, prefetch=2)
    epoch = lambda: list(found.batches(5))
    Interrupt().during(epoch)
    counting = Interrupt()
    counting.during(epoch)
    assert counting.seen > 100
    for at in range(1, counting.seen + 1):
        Interrupt().during(epoch)  # in Python 3.13, code shows all of its points only when it was just traced before
        with pytest.raises(KeyboardInterrupt):
            Interrupt(at).during(epoch)
        assert settled(threads)


# Memory


def test_a_file_takes_the_memory_of_windows_not_of_its_size(tmp_path):
    streams.write_npy(tmp_path, 64 << 20)
    paths = tmp_path / "x.npy", tmp_path / "y.npy"
    for source in (paths, tuple(np.load(path, mmap_mode="r") for path in paths)):
        found = stream(source, block=1 << 16, window=1 << 22, prefetch=1)
        before, most = resident(), 0
        tracemalloc.start()
        seen = np.zeros(len(found), np.uint8)
        for x, _ in found.batches(256):
            seen[streams.numbers(x)] += 1
            most = max(most, resident())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (seen == 1).all()
        assert peak < 10 << 20  # two windows, two blocks, two batches
        assert most - before < 24 << 20


class Slow(queue.SimpleQueue):
    """Gives way to other threads at each turn."""

    def put(self, item):
        super().put(item)
        time.sleep(0.002)


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_no_more_windows_are_in_memory_than_said(monkeypatch, prefetch):
    monkeypatch.setattr(sys.modules["tinygrad_ce.data.stream"], "SimpleQueue", Slow)
    x = np.zeros((96, 1 << 16), np.float32)
    found = stream((Sliceable(x), np.arange(96) % 2), window=1 << 22, prefetch=prefetch)  # a row is a block
    tracemalloc.start()
    for x, _ in found.batches(1):
        del x
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < ((prefetch + 1) << 22) + (1 << 20)


def test_a_table_takes_the_memory_of_windows(tmp_path):
    streams.write_csv(tmp_path, 2 << 20)
    tracemalloc.start()
    found = stream(tmp_path / "rows.csv", block=1 << 12, window=1 << 16)
    first = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    count = sum(len(y) for _, y in found.batches(256))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == len(found)
    assert first < 1 << 20
    assert peak < 1 << 20


def test_the_benchmark_says_what_it_has_seen():
    command = [sys.executable, "-m", "benchmarks.streams", "--csv", "1", "--size"]
    done = subprocess.run([*command, "16"], cwd=streams.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("each once") == 3
    done = subprocess.run([*command, str(10**9)], cwd=streams.ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "needed; see --size and --folder" in done.stdout
