"""Damaged files of every kind that is read: each ends in a clear error, or is read as what it still says.

Bits are flipped, blocks cut, moved and repeated, sizes and dtypes in headers replaced, zip archives and gzip streams
packed anew around damaged contents (so that their checksums are right), fields of the JSON text exchanged. A clear
error is a DataError or CheckpointError of one line that begins with the file's name. What is read is held against a
reading by other means. Anything else is lost: another exception, a warning, ten seconds without an end, a model that
was changed by a checkpoint it refused, or memory out of proportion to the file.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gzip
import io
import json
import math
import random
import re
import signal
import struct
import tempfile
import time
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinygrad_ce as tg
from tinygrad_ce import cli, data
from tinygrad_ce.train import classifier

LIMIT = 10.0  # seconds
SPARE = 1 << 20  # bytes that any reading may take
GROWTH = (
    64  # and for each byte of the file, unpacked: a cell of two bytes becomes a string of fifty, in the widest rows
)


# The files


def _iris(count: int = 30) -> tuple[np.ndarray, np.ndarray, list[str]]:
    iris = data.load_iris()
    rows = np.arange(0, 150, 150 // count)
    return iris.x[rows], iris.y[rows], list(iris.classes)


def _write_npz(paths: list[Path]) -> None:
    x, y, classes = _iris()
    np.savez(paths[0], x=x, y=y, classes=classes)


def _write_names(paths: list[Path]) -> None:
    x, y, classes = _iris()
    np.savez_compressed(paths[0], x=np.asfortranarray(x, np.float64), y=np.array(classes)[y])


def _write_csv(paths: list[Path]) -> None:
    x, y, classes = _iris()
    lines = ["sepal length,sepal width,petal length,petal width,species"]
    lines += [",".join([*map(str, row), classes[label]]) for row, label in zip(x.tolist(), y, strict=True)]
    paths[0].write_text("\n".join(lines) + "\n")


def _write_table(paths: list[Path]) -> None:
    rows = [f"{['Hill', 'Reef', ''][i % 3]};{i * 7 % 11},5;2026-01-{i % 28 + 1:02};{'ab'[i % 2]}" for i in range(99)]
    paths[0].write_text("\n".join(["island;size;day;kind", *rows]) + "\n")


def _write_columns(paths: list[Path]) -> None:
    np.savetxt(paths[0], _iris()[0], fmt="%.1f", delimiter=",")


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def _write_idx(paths: list[Path], pack: Callable[[bytes], bytes] = bytes) -> None:
    digits = data.load_digits()
    paths[0].write_bytes(pack(_idx(digits.x[:20].reshape(-1, 8, 8) * 255)))
    paths[1].write_bytes(pack(_idx(digits.y[:20])))


def _write_packed(paths: list[Path]) -> None:
    _write_idx(paths, lambda content: gzip.compress(content, mtime=0))


def _write_classifier(paths: list[Path]) -> None:
    run = paths[0].with_name("run")
    with contextlib.redirect_stdout(io.StringIO()):
        cli.main(["train", "iris", "--hidden", "3", "--epochs", "2", "--quiet", "--run", str(run)])
    (run / "model.npz").rename(paths[0])


def _dropout() -> tuple[tg.nn.Module, tg.optim.Optimizer]:
    rng = np.random.Generator(np.random.MT19937(0))
    model = tg.nn.Sequential(tg.nn.Linear(4, 3, rng=0), tg.nn.Dropout(0.5, rng=rng), tg.nn.Linear(3, 3, rng=1))
    return model, tg.optim.Adam(model.parameters())


def _resume(paths: list[Path], resume: bool = True) -> dict[str, np.ndarray]:
    """Go on training from a file, which must leave the model alone if it is refused."""
    model, optimizer = _dropout()
    before = _bits(model)
    try:
        tg.fit(model, _iris()[:2], epochs=2, optimizer=optimizer, checkpoint=paths[0], resume=resume, progress=False)
    except tg.CheckpointError:
        assert _bits(model) == before, "refused, but the model has changed"
        raise
    return model.state_dict()


def _bits(model: tg.nn.Module) -> tuple[list[bytes], str]:
    generators = [str(generator.bit_generator.state) for _, generator in model.named_generators()]
    return [array.tobytes() for array in model.state_dict().values()], str(generators)


# What they say, by other means


def _says_npz(contents: list[bytes], found: data.Dataset) -> bool:
    with np.load(io.BytesIO(contents[0]), allow_pickle=False) as arrays:
        x, y = arrays["x"], arrays["y"]
        names = y.astype(str) if y.dtype.kind in "US" or "classes" not in arrays.files else arrays["classes"][y]
    return _same(found, x.reshape(len(x), -1), names.astype(str).tolist())


def _says_rows(contents: list[bytes], found: np.ndarray) -> bool:
    with np.load(io.BytesIO(contents[0]), allow_pickle=False) as arrays:
        return np.array_equal(found, arrays["x"].reshape(len(found), -1).astype(np.float32))


def _cells(contents: list[bytes]) -> list[list[str]]:
    text = contents[0].decode("utf-8-sig", "surrogateescape")
    rows = list(csv.reader(io.StringIO(text, newline=""))) if '"' in text else map(_split, re.split("\r\n|\r|\n", text))
    rows = [row for row in rows if row]
    return rows if any(map(_is_number, rows[0])) else rows[1:]


def _split(line: str) -> list[str]:
    return line.split(",") if line else []


def _is_number(cell: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(np.isfinite(np.float32(float(cell)))) and "_" not in cell
    return False


def _says_csv(contents: list[bytes], found: data.Dataset) -> bool:
    rows = _cells(contents)
    names = [row[-1].strip() for row in rows]
    if all(_is_number(name) and float(name).is_integer() for name in names):
        names = [str(int(float(name))) for name in names]
    return _same(found, np.array([[float(cell) for cell in row[:-1]] for row in rows]), names)


def _says_table(contents: list[bytes], found: data.Table) -> bool:
    again = data.Plan.from_json(json.loads(json.dumps(found.plan.as_json())))
    small = len(found.y) <= contents[0].count(b"\n") + contents[0].count(b"\r") + 1
    return (
        again == found.plan and small and found.x.shape[1] == len(again.features) and bool(np.isfinite(found.x).all())
    )


def _says_columns(contents: list[bytes], found: np.ndarray) -> bool:
    rows = np.array([[float(cell) for cell in row] for row in _cells(contents)])
    return np.array_equal(found, rows.astype(np.float32))


def _says_idx(contents: list[bytes], found: data.Dataset) -> bool:
    arrays = []
    for content in contents:
        plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        shape = struct.unpack_from(f">{plain[3]}I", plain, 4)
        kind = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}[plain[2]]
        arrays.append(np.frombuffer(plain, kind, offset=4 + 4 * plain[3]).reshape(shape))
    x = arrays[0].reshape(len(arrays[0]), -1)
    return _same(found, x / 255 if x.dtype == np.uint8 else x, arrays[1].astype(str).tolist())


def _same(found: data.Dataset, x: np.ndarray, names: list[str]) -> bool:
    return np.array_equal(found.x, x.astype(np.float32)) and [found.classes[label] for label in found.y] == names


def _says_classifier(contents: list[bytes], found: Any) -> bool:
    model, about = found
    with np.load(io.BytesIO(contents[0]), allow_pickle=False) as arrays:
        state = {name[6:]: arrays[name] for name in arrays.files if name.startswith("model/")}
        meta = json.loads(arrays["meta"].tobytes())["meta"]
    mine = model.state_dict()
    same = state.keys() == mine.keys() and all(np.array_equal(mine[name], state[name]) for name in mine)
    return same and about == meta["classifier"]


def _says_training(contents: list[bytes], found: dict[str, np.ndarray]) -> bool:
    with np.load(io.BytesIO(contents[0]), allow_pickle=False) as arrays:
        meta = json.loads(arrays["meta"].tobytes())["meta"]
        trained_on = len(meta["history"]["epoch"]) < 2
        return trained_on or all(np.array_equal(a, arrays[f"model/{name}"]) for name, a in found.items())


class Kind(NamedTuple):
    """A kind of files: how many, how to write them, how to read them, and whether a reading is what they say."""

    files: tuple[str, ...]
    write: Callable[[list[Path]], Any]
    read: Callable[[list[Path]], Any]
    says: Callable[[list[bytes], Any], bool]


KINDS = {
    "classifier": Kind(("a.npz",), _write_classifier, lambda p: classifier.load(p[0]), _says_classifier),
    "training": Kind(("b.npz",), lambda p: _resume(p, resume=False), _resume, _says_training),
    "npz": Kind(("c.npz",), _write_npz, lambda p: data.load_npz(p[0]), _says_npz),
    "npz, names": Kind(("d.npz",), _write_names, lambda p: data.load_npz(p[0]), _says_npz),
    "npz to predict": Kind(("e.npz",), _write_npz, lambda p: data.load_features(p[0], 4), _says_rows),
    "csv": Kind(("f.csv",), _write_csv, lambda p: data.load_csv(p[0]), _says_csv),
    "table": Kind(("h.csv",), _write_table, lambda p: data.load_table(p[0]), _says_table),
    "csv to predict": Kind(("g.csv",), _write_columns, lambda p: data.load_features(p[0], 4), _says_columns),
    "idx": Kind(("images", "labels"), _write_idx, lambda p: data.load_idx(*p), _says_idx),
    "idx.gz": Kind(("images.gz", "labels.gz"), _write_packed, lambda p: data.load_idx(*p), _says_idx),
}  # fmt: skip


# The damage


def _flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _block(content: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(content))
    return start, min(len(content), start + rng.choice([1, 2, 4, 16, 64, 500]))


def _move(content: bytes, rng: random.Random) -> bytes:
    """Drop, repeat, move, blank or insert a block."""
    start, stop = _block(content, rng)
    block, rest = content[start:stop], content[:start] + content[stop:]
    place = rng.randrange(len(content))
    return rng.choice([
        rest,
        content[:place] + block + content[place:],
        rest[:place] + block + rest[place:],
        content[:start] + bytes([rng.choice([0, 255])]) * len(block) + content[stop:],
        content[:place] + rng.randbytes(rng.choice([1, 4, 64, 4000])) + content[place:],
    ])  # fmt: skip


def _number(content: bytes, rng: random.Random) -> bytes:
    """An extreme number in the place of some bytes, mostly near either end, where headers are."""
    width = rng.choice([1, 2, 4, 8])
    place = rng.choice([rng.randrange(len(content)), rng.randrange(64), len(content) - 1 - rng.randrange(120)])
    place = max(0, min(place, len(content) - width))
    value = rng.choice([0, 1, 255, 2 ** (8 * width - 1), 2 ** (8 * width) - 1, 2 ** (8 * width - 1) - 1, len(content)])
    value %= 256**width
    return content[:place] + value.to_bytes(width, rng.choice(["little", "big"])) + content[place + width :]


PLAIN = (_flip, _cut, _move, _number)


def any_way(content: bytes, rng: random.Random) -> bytes:
    return rng.choice(PLAIN)(content, rng) if len(content) > 8 else rng.randbytes(9)


def _gunzipped(content: bytes, rng: random.Random) -> bytes:
    """Damage within a gzip stream whose checksum is right."""
    packed = gzip.compress(any_way(gzip.decompress(content), rng), mtime=0)
    return rng.choice([packed, packed + packed, packed + bytes(9), packed + b"more"]) if rng.random() < 0.1 else packed


DTYPES = (
    "<f4", "<f8", ">f4", "<f2", "<f16", "|b1", "|u1", "|i1", "<i8", "<u8", "<c8", "|O", "<U0", "<U4", "|S4", "|S0",
    "<U999999999", "|S999999999", "<M8[s]", "|V8", "f4,f4", "(1000000000,)f4", "(2,2)f4", "O", "", "a5", "<f4\\d",
)  # fmt: skip
SHAPES = (
    "(1000000000000,)", "(30, 4)", "(4, 30)", "(120,)", "(120, 1)", "(1, 30, 4)", "(-1, 4)", "(0, 4)", "(30, 0)", "()",
    "(18446744073709551616, 4)", "(4294967296, 4294967296)", "(0, 1000000000000000000, 1000000000000000000)", "4",
    "(True, 4)", "(30L, 4L)", "(1e9,)", "(10**12,)", "(" * 300, "(" + "1, " * 70 + ")", "[30, 4]", "(30, 4", "({},)",
)  # fmt: skip
HEADERS = (
    "", "{", "[" * 5000, "-" * 9000 + "1", "{'descr': 1}", "lambda: 0", "__import__('os').getcwd()", "{" * 9000,
    "'" * 9999, "\x00" * 200, "{'descr': '<f4', 'descr': '<f4', 'shape': (1,)}", "{**{}}", "(1,) * 10 ** 9",
    "1if 1else 2",
)  # fmt: skip


def npy(content: bytes, rng: random.Random) -> bytes:
    """An array with another header before its numbers."""
    if content[:6] != b"\x93NUMPY" or rng.random() < 0.2:
        return any_way(content, rng)
    length = int.from_bytes(content[8:10], "little")
    header, numbers = content[10 : 10 + length].decode("latin-1"), content[10 + length :]
    edit = rng.randrange(4)
    if edit == 0:
        header = re.sub(r"'descr': '[^']*'", lambda _: f"'descr': '{rng.choice(DTYPES)}'", header)
    elif edit == 1:
        header = re.sub(r"\([^)]*\)", lambda _: rng.choice(SHAPES), header)
    elif edit == 2:
        header = header.replace("False", rng.choice(["True", "1", "None", "False, 'more': 1"]))
        numbers = numbers if rng.random() < 0.5 else any_way(numbers, rng)
    else:
        header = rng.choice(HEADERS)
    text, version = header.encode("latin-1"), 1 if "L" in header else rng.choice([1, 1, 1, 2, 3])
    said = len(text) if rng.random() < 0.9 else rng.choice([0, 9_999, 65_535, 2**32 - 1])
    size = (min(said, 65_535)).to_bytes(2, "little") if version == 1 else said.to_bytes(4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + numbers


VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 625, 10**6, 2**53, 10**30, -(10**30), 10**400, 1e308, math.nan, math.inf, 0.5, "", "x",
    "\x1b[2J", "\ud800", "x" * 3000, [], {}, [0], ["x"], [[]], {"a": {}}, [None], "PCG64", "MT19937", [1] * 700,
)  # fmt: skip


def _json(content: bytes, rng: random.Random) -> bytes:
    """A checkpoint's text with another value somewhere."""
    if rng.random() < 0.1:
        return rng.choice([b"[" * 100_000, b'{"a":' * 20_000, b"1" * 5000, b"\xff\xfe{}", b"", b"nul", b"{}", b"[]"])
    root = head = json.loads(content)
    while True:
        place = rng.choice(list(head) if isinstance(head, dict) else range(len(head)))
        if isinstance(head[place], dict | list) and head[place] and rng.random() < 0.85:
            head = head[place]
            continue
        if rng.random() < 0.2:
            del head[place]
        else:
            head[place] = rng.choice(VALUES)
        return json.dumps(root).encode()


NAMES = ("../../x.npy", "x", "x.npy", "y.npy", " ", "model/../x.npy", "\x1b.npy", "x.npy/", "x" * 90)


def _zipped(content: bytes, rng: random.Random) -> bytes:
    """Damage within a zip archive whose checksums are right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    texts = [i for i, (name, _) in enumerate(entries) if name == "meta.npy"]
    if texts and rng.random() < 0.4:
        name, inside = entries[texts[0]]
        entries[texts[0]] = name, _text_array(_json(inside[128:], rng))
        return _zip(entries, rng)
    i = rng.randrange(len(entries))
    name, inside = entries[i]
    edit = rng.randrange(8)
    if edit <= 3:
        entries[i] = name, npy(inside, rng)
    elif edit == 4:
        entries[i] = rng.choice(NAMES), inside
    elif edit == 5:
        entries.insert(rng.randrange(len(entries)), (name, entries[rng.randrange(len(entries))][1]))
    elif edit == 6:
        entries[i] = name, _text_array(bytes(rng.choice([10, 10**4, 10**6])))
    else:
        del entries[i]
    return _lie(_zip(entries, rng), rng) if rng.random() < 0.3 else _zip(entries, rng)


def _text_array(text: bytes) -> bytes:
    file = io.BytesIO()
    np.save(file, np.frombuffer(text, np.uint8))
    return file.getvalue()


def _zip(entries: list[tuple[str, bytes]], rng: random.Random) -> bytes:
    file = io.BytesIO()
    method = rng.choice([0, 0, 8, 8, 8, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that stand there twice
        for name, inside in entries:
            archive.writestr(zipfile.ZipInfo(name), inside, method)  # ZipInfo: every day the same bytes
    return file.getvalue()


def _lie(content: bytes, rng: random.Random) -> bytes:
    """A zip archive whose directory tells another size, offset, method or checksum of an entry, or of itself."""
    places = [match.start() for match in re.finditer(re.escape(b"PK\1\2"), content)] or [0]
    field, width = rng.choice([(6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4)])
    place = rng.choice(places) + field
    if rng.random() < 0.2:
        place, width = len(content) - rng.choice([12, 10, 6, 2]), 2
    value = rng.choice([0, 1, 8, 1000, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), rng.randrange(2 ** (8 * width))])
    return content[:place] + value.to_bytes(width, "little") + content[place + width :]


CELLS = (
    "nan", "inf", "-inf", "1e999", "1e39", "3.4028235e38", "1e-999", "", " ", "x", "1_0", "0x10", "٣", "\0", "\ud800",
    '"', '"a\nb"', "1;2", "1,5", "\x1b[2J", "é", "=1+1", "9" * 400, "1" * 140_000, "-0", "12345678901234567890", "True",
)  # fmt: skip
ENDS = ((b"\n", b"\r"), (b"\n", b"\r\n"), (b"\n", b""), (b"\n", b"\n\n"), (b",", b";"), (b",", b", "))


def _table(content: bytes, rng: random.Random) -> bytes:
    """A table with another cell, column, line, ending of lines or encoding."""
    rows = [line.split(",") for line in content.decode().splitlines()]
    i = rng.randrange(len(rows))
    edit = rng.randrange(10)
    if edit <= 4:
        rows[i][rng.randrange(len(rows[i]))] = rng.choice(CELLS)
    elif edit == 5:
        rows[i] *= rng.choice([0, 2, 5000])
    elif edit == 6:
        rows = [row * 200 for row in rows]
    elif edit == 7:
        return content.decode().encode(rng.choice(["utf-16", "utf-32", "utf-8-sig", "cp037"]))
    elif edit == 8:
        return content.replace(*rng.choice(ENDS))
    else:
        rows = rows[: rng.randrange(2)]
    return "\n".join(",".join(row) for row in rows).encode("utf-8", "surrogatepass")


DEEP = {".npz": _zipped, ".csv": _table, ".gz": _gunzipped}


# The judgement


class Tally:
    """What became of the files."""

    def __init__(self) -> None:
        self.refused = self.read = self.crashes = self.hangs = 0
        self.lost: list[str] = []
        self.beyond = 0
        self.slowest = 0.0


class Hang(BaseException):
    """No end within the limit."""


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """An end after LIMIT seconds, where the system has a timer."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _honest(content: bytes) -> int:
    """The bytes that a file holds, unpacked."""
    size = len(content)
    if content[:2] == b"\x1f\x8b":
        with contextlib.suppress(zlib.error):
            size += len(zlib.decompressobj(31).decompress(content))
    with contextlib.suppress(Exception), zipfile.ZipFile(io.BytesIO(content)) as archive:
        size += sum(min(i.file_size, 1032 * min(i.compress_size, len(content))) for i in archive.infolist())
    return size


def _is_clear(error: Exception, paths: list[Path]) -> bool:
    """One line, not long, that begins with the file's name and says what is expected."""
    words = str(error)
    named = words.startswith(tuple(f"{path}: " for path in paths))
    expects = any(said in words for said in ("expected", "short of", "not of this training", "takes 4 features"))
    return named and expects and words.isprintable() and len(words) < 1000


def _agrees(kind: Kind, contents: list[bytes], found: Any) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(kind.says(contents, found))
        except Exception:  # the other reader sees no sense in it
            return False


def judge(kind: Kind, paths: list[Path], contents: list[bytes], tally: Tally) -> None:
    """Read files that are damaged, and note what becomes of it."""
    tracemalloc.reset_peak()
    held, start = tracemalloc.get_traced_memory()[0], time.perf_counter()
    found, why = None, ""
    try:
        with _watched(), warnings.catch_warnings():
            warnings.simplefilter("error")
            found = kind.read(paths)
    except (data.DataError, tg.CheckpointError, FloatingPointError) as error:
        tally.refused += 1
        why = "" if _is_clear(error, paths) or isinstance(error, FloatingPointError) else f"unclear: {error!s:.300}"
    except Hang:
        tally.hangs += 1
        why = "no end"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        tally.crashes += 1
        why = f"{type(error).__name__}: {error!s:.300}"
    peak = tracemalloc.get_traced_memory()[1] - held
    honest = sum(map(_honest, contents))
    tally.slowest = max(tally.slowest, time.perf_counter() - start)
    tally.beyond = max(tally.beyond, peak - honest)
    if not why and peak > SPARE + GROWTH * honest:
        why = f"{peak:,} bytes taken for {honest:,}"
    if found is not None:
        right = _agrees(kind, contents, found)
        tally.read += right
        why = why or ("" if right else "read as what it doesn't say")
    if why:
        tally.lost.append(why)


def damage(name: str, content: bytes, rng: random.Random) -> bytes:
    """A file's bytes, damaged once or, seldom, several times."""
    deep = DEEP.get(Path(name).suffix)
    if deep and rng.random() < 0.6:
        return deep(content, rng)
    for _ in range(rng.choice([1, 1, 1, 1, 5])):
        content = any_way(content, rng)
    return content


def run(count: int, seed: int = 0, keep: Path | None = None) -> Tally:
    """Damage and read count files, all kinds by turns; those that are lost are kept where asked for."""
    tally, rng = Tally(), random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        sound: dict[str, list[bytes]] = {}
        for name, kind in KINDS.items():
            paths = [Path(folder, file) for file in kind.files]
            kind.write(paths)
            sound[name] = [path.read_bytes() for path in paths]
            assert kind.says(sound[name], kind.read(paths)), name
        tracemalloc.start()
        for i in range(count):
            name = list(KINDS)[i % len(KINDS)]
            kind, contents = KINDS[name], list(sound[name])
            paths = [Path(folder, file) for file in kind.files]
            place = rng.randrange(len(contents))
            contents[place] = damage(kind.files[place], contents[place], rng)
            for path, content in zip(paths, contents, strict=True):
                path.write_bytes(content)
            lost = len(tally.lost)
            judge(kind, paths, contents, tally)
            if len(tally.lost) > lost:
                tally.lost[-1] = f"{name}, file {i}: {tally.lost[-1]}"
                if keep:
                    keep.mkdir(exist_ok=True)
                    (keep / f"{i}-{paths[place].name}").write_bytes(contents[place])
        tracemalloc.stop()
    return tally


def main() -> int:
    """Print the figures, and every file that was lost."""
    parser = argparse.ArgumentParser("python -m benchmarks.damaged_files", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="how many files (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the damage (%(default)s)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where files go that are lost")
    args = parser.parse_args()
    tally = run(args.count, args.seed, args.keep)
    print(
        f"{args.count:,} damaged files: {tally.refused:,} refused, {tally.read:,} read as what they still say, "
        f"{tally.crashes:,} crashes, {tally.hangs:,} hangs; largest allocation beyond the file's size "
        f"{tally.beyond / 2**20:.1f} MiB, slowest file {tally.slowest:.2f} s"
    )
    for words in tally.lost:
        print(f"lost: {words}")
    return 1 if tally.lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
