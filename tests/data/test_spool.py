"""Streams of tables as people have them: load_table's rows, in bounded memory; what is wrong is told with its line."""

import errno
import gzip
import random
import tempfile
import tracemalloc
from datetime import date, timedelta

import numpy as np
import pytest

import tinygrad_ce as tg
from benchmarks import streams
from tinygrad_ce.data import DataError, chunks, load_table, spool, stream


def lines(count=300, separator=",", point=".", quote=""):
    """A table of a number with gaps, an amount, a word, a rare one, a day, yes or no, a constant, and a label."""
    rng, found = random.Random(0), [["size", "price", "town", "when", "fit", "all", "kind"]]
    for i in range(count):
        size = "" if i % 7 == 3 else f"{rng.gauss(40, 9):.2f}".replace(".", point)
        price = f"{rng.uniform(1, 9):.1f}".replace(".", point) + " €"
        town = rng.choice(["Zürich", "Bern", "Genf"]) if i % 100 else "Chur"
        day = date(2024, 1, 1) + timedelta(days=rng.randrange(900))
        label = rng.choice(["a", "b"]) if i % 11 != 5 else "NA"
        found.append([size, price, f"{quote}{town}{quote}", str(day), rng.choice(["yes", "no"]), "7", label])
    return "".join(separator.join(row) + "\n" for row in found)


WRITTEN = {
    "t.csv": lines().encode(),
    "quoted.csv": lines(quote='"').encode(),
    "t.tsv": lines(separator="\t").encode("cp1252"),
    "t.txt": ("a title\n" + lines(separator=";", point=",")).encode("utf-16"),
    "t.csv.gz": gzip.compress(lines(separator=";", point=",").encode()),
}


def rows(found, **options):
    x, y = zip(*found.batches(64, **options), strict=True)
    return np.concatenate(x), np.concatenate(y)


@pytest.fixture(params=WRITTEN)
def path(request, tmp_path):
    path = tmp_path / request.param
    path.write_bytes(WRITTEN[request.param])
    return path


def test_rows_are_those_of_the_table_in_memory(path):
    found, table = stream(path, label="kind", block=4000), load_table(path, "kind", scaled=False)
    assert found.table == (table.plan, table.notes, table.layout)
    assert found.classes == table.classes
    assert "rows without a label, which are left out: 27" in found.table.notes
    x, y = rows(found, shuffle=False)
    assert (x.tobytes(), y.tobytes()) == (table.x.tobytes(), table.y.tobytes())
    whole = list(found.batches(20, seed=3))
    for (u, v), (x, y) in zip(found.batches(20, seed=3, start=5), whole[5:], strict=True):
        assert (u.tobytes(), v.tobytes()) == (x.tobytes(), y.tobytes())
    assert [part.table for part in found.split(0.2)] == [found.table] * 2


@pytest.fixture
def sampled(monkeypatch):
    """Chunks of 20 rows or so, of which every other one or fewer is looked at."""
    monkeypatch.setattr(spool, "SAMPLE", 1 << 12)
    monkeypatch.setattr(chunks, "_LEAST", 1 << 9)
    monkeypatch.setattr(chunks, "_ROWS", 20)


@pytest.mark.usefixtures("sampled")
def test_of_a_large_table_a_part_tells_the_plan(path):
    found, table = stream(path, label="kind"), load_table(path, "kind", scaled=False)
    assert "th part of the table: medians and scales are that part's" in found.table.notes[-1]
    assert (found.classes, len(found)) == (table.classes, len(table.y))
    for own, other in zip(found.table.plan.columns, table.plan.columns, strict=True):
        assert (own.name, type(own.kind)) == (other.name, type(other.kind))
    size, exact = found.table.plan.columns[0].kind, table.plan.columns[0].kind
    assert 0 < abs(size.median - exact.median) < exact.scale / 3
    plan = found.table.plan
    again = load_table(path, plan=plan)
    x, y = rows(found, shuffle=False)
    assert (x.tobytes(), y.tobytes()) == (again.x.tobytes(), again.y.tobytes())
    assert rows(stream(path, plan=plan), shuffle=False)[0].tobytes() == x.tobytes()


@pytest.mark.usefixtures("sampled")
@pytest.mark.parametrize("quote", ["", '"'])
def test_what_is_wrong_anywhere_is_named_with_its_line(tmp_path, quote):
    path = tmp_path / "t.csv"
    for wrong in range(2, 600, 23):
        text = lines(600, quote=quote).splitlines(keepends=True)
        text[wrong - 1] = "oops," + text[wrong - 1].partition(",")[2]
        path.write_text("".join(text))
        with pytest.raises(DataError, match=f"t.csv: line {wrong}, column size: 'oops', expected a finite number"):
            stream(path, label="kind")


def test_classes_that_are_known_come_first(tmp_path):
    (tmp_path / "t.csv").write_text(lines(50))
    found = stream(tmp_path / "t.csv", classes=["c", "b", "a"])
    y = load_table(tmp_path / "t.csv").y
    assert rows(found, shuffle=False)[1].tolist() == [2 - c for c in y]
    assert found.classes == found.table.plan.classes == ("c", "b", "a")
    with pytest.raises(DataError, match=r"t.csv: line \d, column kind: 'b', expected one of c, a"):
        stream(tmp_path / "t.csv", classes=["c", "a"])
    plan = load_table(tmp_path / "t.csv").plan
    (tmp_path / "new.csv").write_text(lines(50).replace(",a\n", ",new\n"))
    assert stream(tmp_path / "new.csv", plan=plan).classes == ("a", "b", "new")


def test_numbers_alone_stay_as_they_are_unless_a_plan_is_asked_for(tmp_path):
    (tmp_path / "t.csv").write_text("".join(f"{i},7,{i % 3}.5,{i % 2}\n" for i in range(60)))
    plain, planned = stream(tmp_path / "t.csv"), stream(tmp_path / "t.csv", drop=["0"])
    assert plain.table is None
    assert (plain.shape, planned.shape) == ((3,), (1,))
    assert rows(planned, shuffle=False)[0].tobytes() == load_table(tmp_path / "t.csv", drop=["0"]).x.tobytes()
    assert rows(plain, shuffle=False)[0].tolist() == [[i, 7, i % 3 + 0.5] for i in range(60)]
    with pytest.raises(ValueError, match="stream: drop is for a table, expected the path of one"):
        stream((np.ones((3, 2)), [0, 1, 0]), drop=["a"])


def test_a_model_trained_on_a_stream_takes_the_tables_columns(tmp_path):
    (tmp_path / "t.csv").write_text(lines())
    found = stream(tmp_path / "t.csv", label="kind")
    model = tg.nn.Linear(found.shape[0], 2, rng=0)
    tg.fit(model, found, epochs=1, progress=False)
    new = {"size": [None, 40.0], "price": ["3 €", "4 €"], "town": ["Bern", "Rom"], "when": ["2024-05-05", None],
           "fit": ["no", "yes"]}  # fmt: skip
    assert tg.predict(model, new).tolist() == tg.predict(model, found.table.plan.rows(new)).tolist()


def test_labels_that_are_none_and_a_disk_that_is_full_are_told(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("".join(f"{i},{i % 2},\n" for i in range(9)))
    with pytest.raises(DataError, match=r"t.csv: column 2: no row has a label, expected some"):
        stream(path, drop=["0"])
    path.write_text(lines())

    class Full(tempfile.SpooledTemporaryFile):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(OSError, match=r"no room for the features of .*t.csv; the variable TMPDIR names another folder"):
        stream(path)


def test_a_table_of_words_takes_bounded_memory(tmp_path, monkeypatch):
    streams.write_csv(tmp_path, 4 << 20)
    monkeypatch.setattr(spool, "SAMPLE", 1 << 16)
    monkeypatch.setattr(chunks, "_MOST", 1 << 16)
    monkeypatch.setattr(chunks, "keep_memory", lambda: None)  # pages that nothing is written to
    tracemalloc.start()
    found = stream(tmp_path / "rows.csv", header=False, block=1 << 12, window=1 << 16)
    count = sum(len(y) for _, y in found.batches(256))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == len(found) > 10_000
    assert peak < 5 << 20
