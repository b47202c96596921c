"""Files from strangers: nothing in them runs, no size is believed, and what is refused is named in one line."""

import gzip
import json
import os
import pickle
import re
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

import tinygrad_ce as tg
from benchmarks import damaged_files
from tinygrad_ce import cli, data, nn
from tinygrad_ce.data import arrays
from tinygrad_ce.train import checkpoint, classifier

MIB = 2**20


def npy(numbers=b"", header=None, **said):
    """A .npy file with a header that says anything."""
    said = {"descr": "<f4", "fortran_order": False, "shape": (2, 2), **said}
    text = (repr(said) if header is None else header).encode("latin-1")
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + numbers


def write_npz(path, entries, method=zipfile.ZIP_STORED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore", UserWarning)  # of names that stand there twice
        for name, content in entries:
            archive.writestr(name, content)
    return path


def patch(path, mark, field, width, value):
    """Another number in a record of a zip archive."""
    content = bytearray(path.read_bytes())
    place = content.find(mark) + field
    content[place : place + width] = value.to_bytes(width, "little")
    path.write_bytes(content)


def taken(call):
    """The memory that a call takes at its peak, and the error it ends in."""
    tracemalloc.start()
    try:
        call()
        error = None
    except (data.DataError, tg.CheckpointError) as caught:
        error = caught
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, error


def refused(call, *words):
    """A call must end in one short line that says these words, and take no memory to speak of."""
    peak, error = taken(call)
    assert error is not None
    for word in words:
        assert word in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 700
    assert peak < MIB
    return True


ONES = np.ones((2, 2), np.float32).tobytes()
LABELS = npy(struct.pack("<2q", 0, 1), descr="<i8", shape=(2,))


# All kinds at once


def test_250_damaged_files_are_refused_or_read_as_what_they_still_say():
    tally = damaged_files.run(252, seed=1)
    assert tally.lost == []
    assert tally.crashes == tally.hangs == 0
    assert tally.refused > 150
    assert tally.read > 15
    assert tally.refused + tally.read == 252


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (lambda p: {}["x"], "KeyError"),
        (lambda p: warnings.warn("odd", stacklevel=1), "UserWarning"),
        (lambda p: np.ones(10**6), "bytes taken"),
        (lambda p: "wrong", "doesn't say"),
        (lambda p: (_ for _ in ()).throw(data.DataError("it's bad")), "unclear"),
        (lambda p: [None for _ in iter(int, 1)], "no end"),
    ],
)
def test_the_judge_sees_what_is_lost(tmp_path, monkeypatch, read, why):
    monkeypatch.setattr(damaged_files, "LIMIT", 0.5)
    kind = damaged_files.Kind(("a",), None, read, lambda contents, found: not isinstance(found, str))
    tally = damaged_files.Tally()
    tracemalloc.start()
    damaged_files.judge(kind, [tmp_path / "a"], [b"content"], tally)
    tracemalloc.stop()
    assert len(tally.lost) == 1
    assert why in tally.lost[0]


def test_a_file_cut_at_any_byte_is_refused(tmp_path):
    sound = tmp_path / "sound"
    np.savez(sound.with_suffix(".npz"), x=np.ones((2, 2)), y=[0, 1])
    checkpoint.save(tmp_path / "c.npz", {"model": {"w": np.ones(2)}}, {"epoch": 3})
    idx = struct.pack(">HBB2I", 0, 8, 2, 2, 2) + bytes(4)
    for content, read, error in [
        (sound.with_suffix(".npz").read_bytes(), data.load_npz, data.DataError),
        ((tmp_path / "c.npz").read_bytes(), checkpoint.load, tg.CheckpointError),
        (idx, data.read_idx, data.DataError),
        (gzip.compress(idx, mtime=0), data.read_idx, data.DataError),
    ]:
        path = tmp_path / "cut"
        for n in range(len(content)):
            path.write_bytes(content[:n])
            with pytest.raises(error, match=r"cut: .*(expected|short of)"):
                read(path)


READERS = [
    data.read_idx, data.load_npz, data.load_csv, data.feature_names, checkpoint.load, classifier.load,
    lambda path: data.load_features(path, 2), lambda path: data.load_idx(path, path),
]  # fmt: skip


@pytest.mark.parametrize("read", READERS)
def test_folders_pipes_and_devices_are_no_files(tmp_path, read):
    refused(lambda: read(tmp_path), "a folder, expected a regular file")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        refused(lambda: read(tmp_path / "pipe"), "a pipe or device, expected a regular file")
        refused(lambda: read("/dev/zero"), "/dev/zero: ", "a pipe or device")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")


# .npz


class Trap:
    """A pickle that leaves a file behind when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_file_is_executed(tmp_path):
    sprung = tmp_path / "sprung"
    trap = pickle.dumps(Trap(sprung))
    path = tmp_path / "trap.npz"
    for content in (npy(trap, descr="|O", shape=()), trap, npy(header=f"__import__('os').mkdir({str(sprung)!r})")):
        write_npz(path, [("x.npy", content), ("y.npy", content), ("meta.npy", content), ("model/w.npy", content)])
        for read in (
            data.load_npz,
            lambda p: data.load_features(p, 2),
            checkpoint.load,
            classifier.load,
            data.load_csv,
        ):
            refused(lambda read=read: read(path), "trap.npz: ")
    assert not sprung.exists()
    pickle.loads(trap)
    assert sprung.exists()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"shape": (10**12,)}, "16 bytes of numbers, expected 4,000,000,000,000 for shape (1000000000000,) of float32"),
        ({"shape": (2**32, 2**32)}, "expected at most 64 axes and"),
        ({"shape": (0, 10**17, 10**17)}, "expected at most 64 axes and"),
        ({"shape": (1,) * 65}, "expected at most 64 axes"),
        ({"shape": (-1, 4)}, "or the like"),
        ({"shape": (2**64, 2)}, "or the like"),
        ({"shape": [2, 2]}, "or the like"),
        ({"shape": (True, 4)}, "or the like"),
        ({"shape": 4}, "or the like"),
        ({"fortran_order": 1}, "or the like"),
        ({"fortran_order": (2, 2)}, "expected True or False and a tuple"),
        ({"shape": (2, 3)}, "16 bytes of numbers, expected 24"),
        ({"shape": ()}, "16 bytes of numbers, expected 4"),
        ({"descr": "|O"}, "descr '|O', expected plain numbers or text"),
        ({"descr": [("a", "<f4")]}, "or the like"),
        ({"descr": "f4,f4"}, "descr 'f4,f4'"),
        ({"descr": "(1000000000,)f4"}, "descr '(1000000000,)f4'"),
        ({"descr": "<M8[s]"}, "descr '<M8[s]'"),
        ({"descr": "|V4"}, "descr '|V4'"),
        ({"descr": "<U0"}, "descr '<U0'"),
        ({"descr": "|S999999999"}, "16 bytes of numbers, expected 3,999,999,996"),
        ({"descr": "<U999999999", "shape": (0,)}, "descr '<U999999999'"),
        ({"descr": "|b1", "shape": (4, 4)}, "a truth value of 128, expected 0 or 1"),
        ({"descr": "<U1"}, "a character of code 0x3f800000, expected at most 0x10ffff"),
        ({"more": 1}, "or the like"),
        ({"header": ""}, "or the like"),
        ({"header": "[" * 9000}, "or the like"),
        ({"header": "-" * 9000 + "1"}, "or the like"),
        ({"header": " " * 9999}, "or the like"),
        ({"header": "(" + "1" * 9000}, "or the like"),
        ({"header": "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1" * 9000 + ",)}"}, "or the like"),
        ({"header": "{'descr': '<f4', 'fortran_order': False, 'shape': (1 , 4\xa0)}"}, "or the like"),
        ({"header": "{'descr': '<f4', 'fortran_order': False, 'shape': (2 2, 2)}"}, "or the like"),
        ({"header": "{'descr': '<f4', 'fortran_order': False, 'shape': (4)}"}, "or the like"),
        ({"header": "{'descr': '<f4', 'fortran_order': False, 'shape': (04,)}"}, "or the like"),
        ({"header": "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), \"\": 1}"}, "or the like"),
        ({"header": "{'descr': '<f4', 'descr': '<f4', 'shape': (4,)}"}, "or the like"),
        ({"header": "{'descr': '\\d', 'fortran_order': False, 'shape': (4,)}"}, "descr"),
        ({"header": "x" * 10_001}, "a header of 10,001 bytes, expected at most 10,000"),
    ],
)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_headers_that_lie(tmp_path, said, message, method):
    path = write_npz(tmp_path / "lies.npz", [("x.npy", npy(ONES, **said)), ("y.npy", LABELS)], method)
    refused(lambda: data.load_npz(path), "lies.npz: no .npz file of plain arrays: x.npy: ", message, "expected")
    refused(lambda: checkpoint.load(path), "lies.npz: no whole checkpoint", message)


@pytest.mark.parametrize("version", [b"\1\0", b"\2\0", b"\3\0"])
def test_headers_of_all_versions_and_writers_are_read(tmp_path, version):
    for header, expected in [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }   \n", [[1, 2], [3, 4]]),
        ("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2)}", [[1, 3], [2, 4]]),
        ('{"shape":(2L,2L),"fortran_order":False,"descr":"=f4"}', [[1, 2], [3, 4]]),
        ("{ 'descr' : '<f4',\n'shape' : ( 1 , 4 ) , 'fortran_order' : False }", [[1, 2, 3, 4]]),
    ]:
        length = len(header).to_bytes(2 if version == b"\1\0" else 4, "little")
        content = b"\x93NUMPY" + version + length + header.encode() + np.array([1, 2, 3, 4], np.float32).tobytes()
        path = write_npz(tmp_path / "x.npz", [("x.npy", content)])
        assert data.load_features(path, len(expected[0])).tolist() == expected


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", "|u1", ">i2", "<u8", "|b1", "g"])
def test_every_dtype_of_numbers_is_read_as_numpy_reads_it(tmp_path, dtype):
    x = np.arange(6).reshape(3, 2).astype(dtype)
    for array in (x, np.asfortranarray(x), x[:, ::-1]):
        np.savez_compressed(tmp_path / "x.npz", x=array)
        np.testing.assert_array_equal(data.load_features(tmp_path / "x.npz", 2), array.astype(np.float32))
        checkpoint.save(tmp_path / "c.npz", {"a": {"x": array}}, {})
        found = checkpoint.load(tmp_path / "c.npz")[0]["a"]["x"]
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype
        assert found.flags.writeable


def test_what_unpacks_beyond_the_allowance_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros((1000, 1000), np.uint8), y=np.zeros(1000, np.uint8))
    assert path.stat().st_size < 3000
    refused(lambda: data.load_npz(path, max_bytes=500_000), "when unpacked, expected at most 500,000", "max_bytes")
    assert data.load_npz(path).x.shape == (1000, 1000)
    np.savez_compressed(path, x=np.zeros((10, 10), np.uint8))
    for size in (65 * MIB, 2**32 - 2):
        patch(path, b"PK\1\2", 24, 4, size)  # what the directory says it unpacks to
        refused(lambda: data.load_features(path, 10), "bytes when unpacked, expected at most 67,108,864")
    refused(lambda: data.load_npz(path, max_bytes=10**12), "x.npy: offset 128: 4,294,967,166 bytes of numbers")


def test_an_entry_that_is_shorter_than_it_says_takes_no_memory(tmp_path):
    path = write_npz(tmp_path / "short.npz", [("x.npy", npy(ONES, shape=(10**7,)))], zipfile.ZIP_DEFLATED)
    patch(path, b"PK\1\2", 24, 4, len(npy(shape=(10**7,))) + 4 * 10**7)
    refused(lambda: data.load_features(path, 2), "the file ends 39,999,984 bytes short of 40,000,000 bytes")


def test_archives_that_are_not_as_numpy_writes_them(tmp_path):
    path = tmp_path / "odd.npz"
    x = ("x.npy", npy(ONES))
    write_npz(path, [x, ("y.npy", LABELS), x])
    refused(lambda: data.load_npz(path), "'x.npy' stands there twice, expected each name once")
    write_npz(path, [x, ("x", b"other"), ("y.npy", LABELS)])
    refused(lambda: data.load_npz(path), "'x' stands there twice")
    write_npz(path, [x, ("y.npy", LABELS)], zipfile.ZIP_BZIP2)
    refused(lambda: data.load_npz(path), "x.npy: compression method 12, expected it stored or deflated")
    write_npz(path, [x])
    patch(path, b"PK\1\2", 8, 2, 1)
    refused(lambda: data.load_features(path, 2), "x.npy: encrypted, expected it stored or deflated")
    write_npz(path, [x])
    patch(path, b"PK\1\2", 20, 4, 5000)
    refused(lambda: data.load_features(path, 2), "entries of 5,000 bytes, expected no more than the file's")
    write_npz(path, [x])
    patch(path, b"PK\1\2", 42, 4, 2**31)
    refused(lambda: data.load_features(path, 2), "x.npy: ", "expected an entry as the directory tells it")
    write_npz(path, [("../../x.npy", npy(ONES)), ("\x1b[2J.npy", b""), *((f"{i}.npy", b"") for i in range(500))])
    refused(lambda: data.load_features(path, 2), "no array 'x'; it holds ../../x, '\\x1b[2J', 0, ", "(502 in all)")
    write_npz(path, [("x.npy", npy(ONES)), ("y.npy", LABELS), ("notes.txt", b"of another kind")])
    assert data.load_npz(path).y.tolist() == [0, 1]


def test_entries_that_share_their_bytes_are_refused(tmp_path):
    path = write_npz(tmp_path / "shared.npz", [("x.npy", npy(bytes(4000), shape=(10, 100)))])
    content = path.read_bytes()
    start = content.find(b"PK\1\2")
    end = content.find(b"PK\5\6")
    entry = content[start:end]
    shared = entry + entry.replace(b"x.npy", b"y.npy")
    tail = bytearray(content[end:])
    tail[8:16] = struct.pack("<HHI", 2, 2, len(shared))
    path.write_bytes(content[:start] + shared + tail)
    refused(lambda: data.load_npz(path), "shared.npz: ", "expected")


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((0, 2))}, "x has shape (0, 2)"),
        ({"x": np.ones((2, 0))}, "x has shape (2, 0)"),
        ({"x": np.float64(1)}, "x has shape ()"),
        ({"x": np.ones((2, 2), complex)}, "dtype complex128, expected numbers"),
        ({"x": np.array([[1.0, 1e300], [1.0, 1.0]])}, "row 0 has a feature that is 1e+300, expected a finite number"),
        ({"x": np.array([[1.0, 1.0], [-np.inf, 1.0]])}, "row 1 has a feature that is -inf"),
        ({"y": np.float64(1)}, "y has shape ()"),
        ({"y": np.array([2**64 - 1, 0], np.uint64)}, "are these class labels?"),
        ({"y": np.array([-(2**63), 0])}, "y[0] is -9223372036854775808, expected labels from 0"),
        ({"y": np.array([b"\xff", b"a"])}, "expected names in ASCII"),
        ({"y": np.array(["\x1b[2J", "a"])}, "'\\x1b[2J', expected a class name"),
        ({"y": np.array(["\ud800", "a"])}, "'\\ud800', expected a class name"),
        ({"classes": np.array("a")}, "classes has shape ()"),
        ({"classes": np.array([["a", "b"]])}, "classes has shape (1, 2)"),
        ({"classes": np.array([1.5, 2])}, "dtype float64, expected a row of names"),
        ({"classes": np.array(["a"])}, "y[1] is 1, expected labels from 0 to 0"),
        ({"classes": np.array(["a", "b\n"])}, "'b\\n', expected a class name"),
        ({"classes": np.zeros(5000, np.uint8)}, "5,000 classes in 2 rows"),
    ],
)
def test_arrays_that_are_no_data_set(tmp_path, arrays, message):
    path = save(tmp_path / "d.npz", **{"x": np.ones((2, 2)), "y": [0, 1], **arrays})
    refused(lambda: data.load_npz(path), "d.npz: ", message, "expected")
    if "x" in arrays:
        refused(lambda: data.load_features(path, 2), "d.npz: ", message)


def test_names_in_bytes_are_names(tmp_path):
    path = save(tmp_path / "d.npz", x=np.ones((3, 1)), y=np.array([b"cat", b"ant", b"cat"]))
    assert data.load_npz(path).classes == ("ant", "cat")
    path = save(tmp_path / "d.npz", x=np.ones((3, 1)), y=[0, 1, 0], classes=np.array([b"no", b"yes"]))
    assert data.load_npz(path).classes == ("no", "yes")
    path = save(tmp_path / "d.npz", x=np.ones((4, 1)), y=["1.0", "10", "1", "2"])
    assert data.load_npz(path).classes == ("1", "1.0", "2", "10")


# IDX


def test_idx_files_that_lie(tmp_path):
    path = tmp_path / "lies"
    largest = struct.pack(">HBB4I", 0, 14, 4, *[2**32 - 1] * 4)
    path.write_bytes(largest + bytes(100))
    refused(lambda: data.read_idx(path), "lies: offset 20: the file ends 2,722,258,932,832,", "bytes short of")
    path.write_bytes(gzip.compress(largest + bytes(100)))
    refused(lambda: data.read_idx(path), "lies: offset 20: 2,722,258,932,832,", "unpacked, expected at most 67,108,864")
    path.write_bytes(struct.pack(">HBB2I", 0, 8, 2, 0, 2**32 - 1))
    refused(lambda: data.read_idx(path), "shape (0, 4294967295) holds nothing, expected")


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(struct.pack(">HBBI", 0, 8, 1, 4_000_000) + bytes(4_000_000)))
    assert path.stat().st_size < 5000
    refused(lambda: data.read_idx(path, max_bytes=10**6), "4,000,000 bytes when unpacked, expected at most 1,000,000")
    assert len(data.read_idx(path)) == 4_000_000
    path.write_bytes(gzip.compress(struct.pack(">HBBI", 0, 8, 1, 10) + bytes(4_000_000)))
    refused(lambda: data.read_idx(path), "offset 18: more bytes, expected the end after shape (10,)")
    path.write_bytes(gzip.compress(struct.pack(">HBBI", 0, 8, 1, 60 * MIB) + bytes(10)))
    refused(lambda: data.read_idx(path), "offset 8: the file ends 62,914,550 bytes short of")


# .csv


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1,2,a\n1,nan,b\n", "line 2, column 1: 'nan', expected a finite number"),
        (b"1,2,a\n1,-inf,b\n", "line 2, column 1: '-inf'"),
        (b"1,2,a\n1,1e999,b\n", "line 2, column 1: '1e999'"),
        (b"1,2,a\n1,1e39,b\n", "line 2, column 1: '1e39'"),
        (b"1,2,a\n1,1_0,b\n", "line 2, column 1: '1_0'"),
        (b"1,2,a\n1,,b\n", "line 2, column 1: ''"),
        (b"1,2,a\n1,\0,b\n", "line 2, column 1: '\\x00'"),
        (b"1,2,a\n1,\xff9,b\n", "line 2, column 1: '\\udcff9'"),
        (b"1,2,a\n1,2,\0\n", "line 2, column 2: '\\x00', expected a class name in UTF-8"),
        (b"1,2,a\n1,2,caf\xe9\n", "line 2, column 2: 'caf\\udce9', expected a class name in UTF-8"),
        (b"1,2,a\n1,2,\x1b[2J\n", "line 2, column 2: '\\x1b[2J', expected a class name"),
        (b"1,2,a\n1,2, \n", "line 2, column 2: no label, expected a class name"),
        (b'1,2,"a\nb"\n', "line 1, column 2: 'a\\nb', expected a class name"),
        (b'1,2,a\n"1\n2",2,a\n', "line 2, column 0: '1\\n2', expected a finite number"),
        (b'1,2,a\n1,"2,b\n1,2,c\n', "line 2: 2 columns, expected 3"),
        (b'1,2,a\n"\n",2\n', "line 2: 2 columns, expected 3"),
        (b"1,2,a\n1," + b"9" * 200_000 + b",b\n", "line 2: field larger than field limit"),
        (b"1,2,a\n1," + b"9" * 100_000 + b",b\n", "line 2, column 1: '9999"),
        (b"," * 50_000, "no rows, expected at least one"),
        (b"\n" * 1000, "the file is empty, expected a table"),
        (b"\0" * 1000, "1 column, expected features and a label"),
        ("1,2,a\n1,2,b\n".encode("utf-16"), "offset 0: the mark of UTF-16, expected a table in UTF-8"),
        ("1,2,a\n1,2,b\n".encode("utf-16-be"), "line 2, column '\\x00a\\x00': '\\x00b\\x00', expected"),
        (b"\xef\xbb\xbfw,h,kind\n\n1,2,a\n\n1,x,b\n", "line 5, column h: 'x', expected a finite number"),
        (b"w,\x1b[2J,kind\n1,x,b\n", "line 2, column '\\x1b[2J': 'x', expected"),
        (b"w," + b"h" * 100 + b",kind\n1,x,b\n", "line 2, column 'hhh"),
    ],
)
def test_tables_that_are_none(tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    peak, error = taken(lambda: data.load_csv(path))
    assert str(error).startswith(f"{path}: ")
    assert message in str(error)
    assert "expected" in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 400
    assert peak < MIB + 64 * len(content)


def test_tables_of_all_kinds_of_writers_are_read(tmp_path):
    path = tmp_path / "t.csv"
    expected = [[1, 2.5], [3, 3.4028235e38]]
    for text, coding in [
        ("1,2.5,a\n3,3.4028235e38,b\n", "utf-8"),
        ("1,2.5,a\r\n3,3.4028235e38,b\r\n", "utf-8-sig"),
        ("1,2.5,a\r3,3.4028235e38,b", "utf-8"),
        ('"w","h","kind"\n"1","2.5","a"\n\n 3 ,3.4028235e38, b \n', "utf-8"),
        ('"w,\n1",h,kind\n1,2.5,"a"\n+3,340282350000000000000000000000000000000,b\n', "utf-8-sig"),
    ]:
        path.write_text(text, encoding=coding, newline="")
        found = data.load_csv(path)
        np.testing.assert_array_equal(found.x, np.array(expected, np.float32))
        assert (found.y.tolist(), found.classes) == ([0, 1], ("a", "b"))
    path.write_text("é,中文,x\n1.5,2,ü\n1,2,ß\n", encoding="utf-8")
    assert data.load_csv(path).classes == ("ß", "ü")
    assert data.feature_names(path) == ["é", "中文"]


def test_labels_stay_apart_where_floats_would_not(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("1,12345678901234567890\n2,12345678901234567891\n")
    assert data.load_csv(path).classes == ("12345678901234567890", "12345678901234567891")
    path.write_text("1,10\n2,2.0\n3,2\n4,-0\n")
    assert data.load_csv(path).classes == ("0", "2", "10")


def test_a_table_is_read_in_memory_in_proportion_to_it(tmp_path):
    path = tmp_path / "t.csv"
    rng = np.random.default_rng(0)
    np.savetxt(path, np.column_stack([rng.standard_normal((20_000, 4)), np.arange(20_000) % 3]), "%.6f", ",")
    peak, _ = taken(lambda: data.load_csv(path))
    assert peak < 2 * path.stat().st_size
    wide = ",".join(["7"] * 100_000 + ["a"])
    path.write_text(f"{wide}\n{wide}\n")
    assert data.load_csv(path).x.shape == (2, 100_000)
    path.write_text(f"{wide}\n{wide},b\n")
    _, error = taken(lambda: data.load_csv(path))
    assert "line 2: 100002 columns, expected 100001" in str(error)
    _, error = taken(lambda: data.load_csv(path, "kind"))
    assert "no column 'kind'; the columns are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, … (100,001 in all)" in str(error)


def test_columns_are_picked_by_name_only_where_the_name_is_one(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("b,a,b\n1,2,3\n")
    with pytest.raises(data.DataError, match="b, a, b: a name that stands there twice"):
        data.load_features(path, 2, ["a", "b"])
    path.write_text("b,a,c\n1,2,3\n")
    assert data.load_features(path, 2, ["a", "b"]).tolist() == [[2, 1]]
    path.write_text("b,a,b\n1,2,3\n")
    assert data.load_features(path, 3, ["b", "a", "b"]).tolist() == [[1, 2, 3]]
    path.write_text("a,b\n")
    with pytest.raises(data.DataError, match="no rows, expected at least one"):
        data.load_features(path, 2)


# Checkpoints


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of the command line's kind, of a model with every kind of field, as groups and meta."""
    path = tmp_path_factory.mktemp("trained") / "c.npz"
    x, y, classes = data.load_iris()
    model = classifier.make(4, 3, [5], x=x)
    about = {
        "features": 4,
        "hidden": [5],
        "activation": "relu",
        "classes": list(classes),
        "names": ["a", "b", "c", "d"],
    }
    optimizer = tg.optim.Adam(model.parameters())
    tg.fit(
        model, (x, y), epochs=2, optimizer=optimizer, patience=5, checkpoint=path, meta={"classifier": about},
        progress=False,
    )  # fmt: skip
    return path


def changed(trained, path, place, value):
    """The checkpoint with another value at a place like "classifier/features"; None takes the field away."""
    groups, meta = checkpoint.load(trained)
    *above, last = place.split("/")
    inside = {"meta": meta, "groups": groups}
    for name in above:
        inside = inside[int(name) if isinstance(inside, list) else name]
    if value is None:
        del inside[last]
    else:
        inside[int(last) if isinstance(inside, list) else last] = value
    checkpoint.save(path, groups, meta)
    return path


DEEP = json.loads("[" * 200 + "]" * 200)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("meta/classifier", None, "classifier: None, expected a dict"),
        ("meta/classifier", [1], "classifier: [1], expected a dict"),
        ("meta/classifier/features", None, "features: None, expected a whole number"),
        ("meta/classifier/features", "4", "features: '4'"),
        ("meta/classifier/features", True, "features: True"),
        ("meta/classifier/features", 0, "features: 0"),
        ("meta/classifier/features", 10**12, "names: ['a', 'b', 'c', 'd'], expected none, or 1000000000000 names"),
        ("meta/classifier/names", [], None),
        ("meta/classifier/names", None, None),
        ("meta/classifier/names", ["a"], "names: ['a'], expected none, or 4 names"),
        ("meta/classifier/names", [1, 2, 3, 4], "names: [1, 2, 3, 4]"),
        ("meta/classifier/names", {}, "names: {}"),
        ("meta/classifier/hidden", 5, "hidden: 5, expected a list of widths"),
        ("meta/classifier/hidden", [True], "hidden: [True]"),
        ("meta/classifier/hidden", [-5], "hidden: [-5]"),
        ("meta/classifier/hidden", [10**9], "1.weight has shape (5, 4), expected (1000000000, 4)"),
        ("meta/classifier/hidden", [5] * 10**5, "arrays: ['0.mean', "),
        ("meta/classifier/activation", ["relu"], "activation: ['relu'], expected relu or tanh"),
        ("meta/classifier/activation", "exec", "activation: 'exec'"),
        ("meta/classifier/classes", 3, "classes: 3, expected a list of names"),
        ("meta/classifier/classes", [], "classes: []"),
        ("meta/classifier/classes", [1, 2, 3], "classes: [1, 2, 3]"),
        ("meta/classifier/classes", ["a", "b", "\x1b[2J"], "without control characters"),
        ("meta/classifier/classes", DEEP, "classes: [[[[["),
        ("meta/classifier/classes", ["a"] * 10**5, "3.weight has shape (3, 5), expected (100000, 5)"),
        ("groups/best/1.weight", np.zeros((5, 5)), "best has names and shapes"),
        ("groups/best/1.weight", None, "best has names and shapes"),
        (
            "groups/model/1.weight",
            np.zeros((5, 4), complex),
            "model/1.weight has dtype 'complex128', expected real numbers",
        ),
        ("groups/optimizer/0.mean", np.zeros(20, "S1"), "optimizer/0.mean has dtype '|S1', expected real numbers"),
        (
            "groups/optimizer/lr",
            np.zeros((1, 1)),
            "optimizer/lr: array([[0.]]), expected a number, or one for each group",
        ),
        ("groups/optimizer/lr", None, "optimizer/lr: None"),
        ("groups/best", None, "expected 'best' among them"),
        ("groups/model", None, "expected 'model' among them"),
        ("meta/history", [], "meta: history [], expected a dict"),
        ("meta/history/epoch", "ab", "meta: history: epoch 'ab', expected a list of 0, 1, 2, …"),
        ("meta/history/epoch", [0, 2], "epoch [0, 2]"),
        ("meta/history/epoch", [0, True], "epoch [0, True]"),
        ("meta/history/epoch", [0, 1, 2], "expected 3 numbers"),
        ("meta/history/history", [1], "meta: history: history [1], expected a dict"),
        ("meta/history/history/loss", "ab", "meta: history: loss 'ab', expected 2 numbers"),
        ("meta/history/history/loss", [1.0, None], "loss [1.0, None], expected 2 numbers"),
        ("meta/history/history/loss", [1.0, 10**400], "expected numbers below 2**53"),
        ("meta/generators", [], "meta: generators [], expected a dict"),
        ("meta/generators", {"rng": 3}, "meta: generators: rng 3, expected a generator's state"),
        ("meta/generators", {"rng": {"bit_generator": "PCG64"}}, "expected a state of PCG64"),
        ("meta/generators", {"\x1b[2J": DEEP}, "'\\x1b[2J' [[[[["),
    ],
)
def test_fields_of_a_checkpoint_that_are_not_what_they_should_be(trained, tmp_path, place, value, message):
    path = changed(trained, tmp_path / "c.npz", place, value)
    if message is None:
        assert classifier.load(path)[0](np.ones((1, 4))).shape == (1, 3)
        return
    peak, error = taken(lambda: classifier.load(path))
    assert message in str(error)
    assert str(error).startswith(f"{path}: ")
    assert "expected" in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 700
    assert peak < 16 * MIB


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("1.weight", np.full((5, 4), np.nan, np.float32), "1.weight[0]: nan, expected a finite number"),
        ("1.weight", np.zeros((5, 4)), "1.weight has dtype 'float64', expected float32"),
        ("1.weight", np.zeros((4, 5), np.float32), "1.weight has shape (4, 5), expected (5, 4)"),
        ("0.scale", np.array([1, 1, 0, 1], np.float32), "0.scale: 0.0, expected positive numbers"),
        ("0.scale", np.array([1, -1, 1, 1], np.float32), "0.scale: -1.0"),
        ("1.weigth", np.zeros((5, 4), np.float32), "of them"),
    ],
)
def test_arrays_of_a_classifier_that_are_not_what_they_should_be(trained, tmp_path, name, array, message):
    groups, meta = checkpoint.load(trained)
    for group in ("model", "best"):
        groups[group][name] = array
    checkpoint.save(tmp_path / "c.npz", groups, meta)
    refused(lambda: classifier.load(tmp_path / "c.npz"), "c.npz: holds no classifier of the command line: ", message)


def test_a_sound_checkpoint_comes_back_whatever_the_byte_order(trained, tmp_path):
    groups, meta = checkpoint.load(trained)
    swapped = {
        g: {name: a.astype(a.dtype.newbyteorder(">")) for name, a in named.items()} for g, named in groups.items()
    }
    checkpoint.save(tmp_path / "c.npz", swapped, meta)
    x = data.load_iris().x
    here, there = (tg.predict(classifier.load(path)[0], x) for path in (trained, tmp_path / "c.npz"))
    np.testing.assert_array_equal(here, there)
    assert classifier.load(trained)[1] == meta["classifier"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "meta: Expecting value"),
        (b"[" * 100_000, "meta: maximum recursion depth exceeded"),
        (b'{"a":' * 20_000, "meta: maximum recursion depth exceeded"),
        (b"1" * 5000, "meta: Exceeds the limit"),
        (b"\xff\xfe\xff", "meta: "),
        (b"[]", "meta: [], expected a dict"),
        (b"{}", "meta: format None, expected 'tinygrad_ce checkpoint 1'"),
        (b'{"format": [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]}', "meta: format [[[[[["),
        (
            b'{"format": "tinygrad_ce checkpoint 1", "groups": 1, "meta": {}}',
            "meta: groups 1, expected a list of names",
        ),
        (b'{"format": "tinygrad_ce checkpoint 1", "groups": [["a"]], "meta": {}}', "meta: groups [['a']]"),
        (b'{"format": "tinygrad_ce checkpoint 1", "groups": [], "meta": []}', "meta: meta [], expected a dict"),
        (
            b'{"format": "tinygrad_ce checkpoint 1", "groups": [], "meta": {}}',
            "array 'model/w', expected its name to begin",
        ),
    ],
)
def test_texts_that_are_no_checkpoints(tmp_path, text, message):
    path = save(tmp_path / "c.npz", **{"meta": np.frombuffer(text, np.uint8), "model/w": np.ones(2)})
    refused(lambda: checkpoint.load(path), "c.npz: no whole checkpoint", message, "expected")
    for meta in (np.ones((2, 2), np.uint8), np.ones(3), np.array("text")):
        save(path, meta=meta)
        refused(lambda: checkpoint.load(path), "expected an array 'meta' of a text's bytes")


@pytest.mark.parametrize(
    ("kind", "place", "value", "message"),
    [
        (np.random.MT19937, "state/pos", 10**9, "pos 1000000000, expected 0 to 624"),  # NumPy would read far outside
        (np.random.MT19937, "state/pos", -1, "pos -1, expected 0 to 624"),
        (np.random.MT19937, "state/pos", 10**30, "expected 0 to 624"),
        (np.random.MT19937, "state/pos", 1e9, "pos 1000000000.0, expected 0 to 624"),
        (np.random.MT19937, "state/pos", "1", "expected a state of MT19937"),
        (np.random.MT19937, "state/key", [1, 2], "expected a state of MT19937"),
        (np.random.MT19937, "state/key", "x" * 624, "expected a state of MT19937"),
        (np.random.MT19937, "state", 3, "expected a state of MT19937"),
        (np.random.Philox, "buffer_pos", -(10**6), "buffer_pos -1000000, expected 0 to 4"),
        (np.random.Philox, "buffer", [], "expected a state of Philox"),
        (np.random.SFC64, "state/state", [1], "expected a state of SFC64"),  # NumPy would repeat it
        (np.random.SFC64, "state/more", 1, "expected a state of SFC64"),
        (np.random.PCG64DXSM, "state/inc", -1, "expected a state of PCG64DXSM"),
        (np.random.PCG64, "has_uint32", "1", "expected a state of PCG64"),
        (np.random.PCG64, "bit_generator", "MT19937", "expected a state of MT19937"),
        (np.random.PCG64, "bit_generator", ["PCG64"], "expected a generator's state"),
    ],
)
def test_states_of_generators_that_numpy_would_crash_on(tmp_path, kind, place, value, message):
    path = tmp_path / "c.npz"

    def make():
        rng = np.random.Generator(kind(0))
        return nn.Sequential(nn.Linear(2, 3, rng=0), nn.Dropout(0.5, rng=rng), nn.Linear(3, 3, rng=1))

    blobs = data.make_blobs(30)
    tg.fit(make(), blobs, epochs=1, checkpoint=path, progress=False)
    tg.fit(make(), blobs, epochs=2, checkpoint=path, resume=True, progress=False)
    groups, meta = checkpoint.load(path)
    *above, last = place.split("/")
    inside = meta["generators"]["1.rng"]
    for name in above:
        inside = inside[name]
    inside[last] = value
    checkpoint.save(path, groups, meta)
    model = make()
    before = [a.tobytes() for a in model.state_dict().values()]
    with pytest.raises(tg.CheckpointError, match=re.escape(message)):
        tg.fit(model, blobs, epochs=3, checkpoint=path, resume=True, progress=False)
    assert [a.tobytes() for a in model.state_dict().values()] == before


def test_a_generator_of_another_kind_is_refused_and_changes_nothing(tmp_path):
    path = tmp_path / "c.npz"
    blobs = data.make_blobs(30)

    def make(kind):
        rng = np.random.Generator(kind(0))
        return nn.Sequential(nn.Linear(2, 3, rng=kind is np.random.PCG64), nn.Dropout(0.5, rng=rng))

    tg.fit(make(np.random.PCG64), blobs, epochs=1, checkpoint=path, progress=False)
    model = make(np.random.Philox)
    before = [a.tobytes() for a in model.state_dict().values()]
    with pytest.raises(tg.CheckpointError, match="not of this training"):
        tg.fit(model, blobs, epochs=2, checkpoint=path, resume=True, progress=False)
    assert [a.tobytes() for a in model.state_dict().values()] == before


def test_weights_that_the_model_cannot_hold_are_refused(tmp_path):
    path = tmp_path / "c.npz"
    blobs = data.make_blobs(30)
    model = nn.Linear(2, 3, rng=0)
    tg.fit(model, blobs, epochs=1, checkpoint=path, progress=False)
    groups, meta = checkpoint.load(path)
    checkpoint.save(path, {**groups, "model": {**groups["model"], "bias": np.full(3, 1e300)}}, meta)
    before = [a.tobytes() for a in model.state_dict().values()]
    with pytest.raises(tg.CheckpointError, match="not of this training: overflow"):
        tg.fit(model, blobs, epochs=2, checkpoint=path, resume=True, progress=False)
    assert [a.tobytes() for a in model.state_dict().values()] == before


def test_the_command_line_names_the_file_and_ends(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "iris", "--run", "r", "--epochs", "1", "--quiet"]) == 0
    changed(trained, tmp_path / "r" / "model.npz", "meta/classifier", [1])
    assert cli.main(["train", "iris", "--run", "r", "--resume"]) == 2
    assert "model.npz: holds no classifier of the command line" in capsys.readouterr().err
    (tmp_path / "d.csv").write_bytes(b"1,2,3,\x1b[2J\n")
    checkpoint.save(tmp_path / "c.npz", *checkpoint.load(trained))
    assert cli.main(["predict", "c.npz", "d.csv"]) == 2
    error = capsys.readouterr().err
    assert "d.csv: line 1, column 3: '\\x1b[2J', expected a finite number" in error
    assert "\x1b" not in error


def test_what_could_not_be_read_back_is_not_written(tmp_path):
    path = tmp_path / "c.npz"
    checkpoint.save(path, {"a": {"x": np.ones(1)}}, {"kept": 1})
    for groups, error, message in [
        ({"a": {"x": np.array([{}])}}, TypeError, "a/x has dtype object, expected plain numbers or text"),
        ({"a": {"x": np.zeros(2, "f4,f4")}}, TypeError, "a/x has dtype"),
        ({"a": {"x": np.zeros(2, "M8[s]")}}, TypeError, "a/x has dtype datetime64"),
        ({"a/b": {"x": np.ones(1)}}, ValueError, "group 'a/b', expected a name without a slash"),
    ]:
        with pytest.raises(error, match=re.escape(message)):
            checkpoint.save(path, groups, {})
        assert checkpoint.load(path)[1] == {"kept": 1}
    assert os.listdir(tmp_path) == ["c.npz"]
    for x in (np.array("text"), np.array([b"a"]), np.array([1j]), np.array([True]), np.empty((0, 3)), np.float16(2)):
        checkpoint.save(path, {"": {"x": x, "": x}}, {})
        found = checkpoint.load(path)[0][""]
        np.testing.assert_array_equal(found["x"], x)
        np.testing.assert_array_equal(found[""], x)


CAFE = ("caf\xe9", "cafe\u0301")  # composed, and decomposed


def test_two_forms_of_a_letter_are_one_class(tmp_path):
    table, archive, twice = (tmp_path / name for name in ("a.csv", "a.npz", "b.npz"))
    table.write_text("\n".join(f"{i},2,{('tea', *CAFE)[i % 3]}" for i in range(9)), encoding="utf-8")
    np.savez(archive, x=np.ones((3, 2)), y=np.array(["tea", *CAFE]))
    for found in (data.load_csv(table), data.load_npz(archive), data.stream(table)):
        assert tuple(found.classes) == ("caf\xe9", "tea")
    assert data.load_npz(archive).y.tolist() == [1, 0, 0]
    for form in CAFE:
        assert data.stream(table, classes=["tea", form]).classes == ("tea", "caf\xe9")
    np.savez(twice, x=np.ones((3, 2)), y=np.arange(3), classes=np.array(["tea", *CAFE]))
    with pytest.raises(data.DataError, match="classes: 'caf\xe9' stands there in two forms of Unicode, expected one"):
        data.load_npz(twice)


def test_weights_of_classes_go_by_either_form(tmp_path):
    losses = [
        tg.fit(
            tg.nn.Linear(1, 2, rng=0), (np.ones((2, 1)), [0, 1], ("tea", name)), epochs=1, class_weight={form: 9.0},
            progress=False,
        )["loss"]
        for name in CAFE
        for form in CAFE
    ]  # fmt: skip
    assert losses == [losses[0]] * 4


def test_what_is_unseen_is_escaped_in_messages():
    assert arrays.word("a\u202eb") == "'a\\u202eb'"
    assert arrays.word("\u3164") == arrays.shown("\u3164") == "'\\u3164'"
