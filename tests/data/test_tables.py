"""Tables as people have them: how they are written, what their columns are, and new rows by the same plan."""

import csv
import datetime
import gzip
import io
import json
import math
import re
import warnings

import numpy as np
import pytest

from tinygrad_ce import data
from tinygrad_ce.cli import main
from tinygrad_ce.data import columns, layout
from tinygrad_ce.data.arrays import Damage
from tinygrad_ce.data.kinds import Date, Number, Text, numbers
from tinygrad_ce.train import classifier


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(text, label=None, *, encoding="utf-8", name="t.csv", **options):
    """The table in a text."""
    content = text if isinstance(text, bytes) else text.encode(encoding)
    with open(name, "wb") as file:
        file.write(content)
    return data.load_table(name, label, **options)


def refused(text, *messages, label=None, **options):
    """What is refused names the file, in one line that prints."""
    with pytest.raises(data.DataError) as caught:
        table(text, label, **options)
    error = str(caught.value)
    for message in messages:
        assert message in error
    assert error.startswith("t.csv: ")
    assert error.isprintable()
    return error


def kinds(found):
    lines = str(found.plan).splitlines()
    width = len(lines[0]) - len(lines[0][lines[0].index("  ") :].lstrip())
    return {name: line[width:] for (name, _), line in zip(found.plan.columns, lines, strict=True)}


# What columns are


def test_each_kind_of_column_becomes_the_features_it_should():
    text = (
        "size,ok,island,seen,same,copy,kind\n"
        "1,yes,Reef,2024-02-29,7,a,a\n"
        ",no,Hill,2026-01-05,7,b,b\n"
        "3,YES,Reef,2026-12-31,7,a,a\n"
        "8,no,,2025-07-01,7,b,b\n"
    )
    found = table(text, "kind")
    assert kinds(found) == {
        "size": "number, median 3, some missing",
        "ok": "yes/no, 1 for yes",
        "island": "category, 2 values, some missing",
        "seen": "date, year, month, weekday and day of the year",
        "same": "left out: always 7",
        "copy": "left out: the same as the label",
    }
    assert str(found.plan).splitlines()[2] == "island  category, 2 values, some missing"
    names = found.plan.features
    assert names == [
        "size", "size missing", "ok", "island=Hill", "island=Reef", "island missing",
        "seen year", "seen month", "seen weekday", "seen day of year",
    ]  # fmt: skip
    x = dict(zip(names, found.x.T.tolist(), strict=True))
    there = np.array([1, 3, 8])
    expected = (np.array([1, 3, 3, 8]) - there.mean()) / there.std()
    np.testing.assert_allclose(x["size"], expected, rtol=1e-6)
    assert x["size missing"] == [0, 1, 0, 0]
    assert x["ok"] == [1, 0, 1, 0]
    assert [x["island=Hill"], x["island=Reef"], x["island missing"]] == [[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    days = [datetime.date(*day) for day in ((2024, 2, 29), (2026, 1, 5), (2026, 12, 31), (2025, 7, 1))]
    for name, values in {
        "year": [day.year for day in days],
        "month": [day.month for day in days],
        "weekday": [day.weekday() for day in days],
        "day of year": [day.timetuple().tm_yday for day in days],
    }.items():
        np.testing.assert_allclose(np.corrcoef(x[f"seen {name}"], values)[0, 1], 1, rtol=1e-6)
    assert (found.y.tolist(), found.classes) == ([0, 1, 0, 1], ("a", "b"))
    x, y, _ = found
    assert x.dtype == np.float32
    assert y.dtype == np.int64


def test_milliseconds_of_an_epoch_stay_apart():
    rows = [f"{1700000000000 + 60000 * i},{'ab'[i % 2]}" for i in range(20)]
    found = table("\n".join(["t,kind", *rows]))
    np.testing.assert_allclose(found.x[:, 0], (np.arange(20) - 9.5) / np.arange(20).std(), rtol=1e-6)
    assert len(np.unique(np.float32([1700000000000, 1700000060000]))) == 1
    np.testing.assert_array_equal(table("\n".join(["t,kind", *rows]), scaled=False).x, found.x)
    plain = "a,kind\n1,x\n2,y\n4,x\n"
    assert table(plain, scaled=False).x.tolist() == [[1], [2], [4]]


@pytest.mark.parametrize(
    ("cells", "decimal", "expected"),
    [
        (["1,200.50", "300", "12"], ".", [1200.5, 300, 12]),
        (["1.200,50", "300", "0,25"], ".", [1200.5, 300, 0.25]),
        (["1.234.567", "2.345.678", "1"], ".", [1234567, 2345678, 1]),
        (["€ 1,200", "$7", "£2.50"], ".", [1200, 7, 2.5]),
        (["12%", "3.5 %", "-4%"], ".", [12, 3.5, -4]),
        (["1 234", "12\u00a0345", "1'000"], ".", [1234, 12345, 1000]),
        (["1,234", "5,678", "9"], ".", [1234, 5678, 9]),
        (["1,234", "5,678", "9"], ",", [1.234, 5.678, 9]),
        (["1.234", "5.678", "9"], ",", [1234, 5678, 9]),
        (["1e3", "-2.5E-1", "+4"], ".", [1000, -0.25, 4]),
        (["1e300", "-1e308", "0"], ".", [1e300, -1e308, 0]),
        (["-$4.50", "$-1", "(1,234.50)", "($2)"], ".", [-4.5, -1, -1234.5, -2]),
        (["−4.50", "–1", "+3"], ".", [-4.5, -1, 3]),
        (["1.5 EUR", "CHF 1'234.50", "R$2", "zł 7"], ".", [1.5, 1234.5, 2, 7]),
        (["1.234 €", "0,5 €", "-12 €"], ".", [1234, 0.5, -12]),
        (["987", "1.234", "2.500", "870"], "", [987, 1234, 2500, 870]),
        (["987", "1,234", "2,500", "870"], "", [987, 1234, 2500, 870]),
        (["987", "1.234", "2.500", "870"], ".", [987, 1.234, 2.5, 870]),
        (["4987", "1,234", "2,500"], "", [4987, 1.234, 2.5]),
        (["12.125", "3.500", "1.250"], "", [12.125, 3.5, 1.25]),
        (["12.125", "3.500", "0.250"], ",", [12.125, 3.5, 0.25]),
    ],
)
def test_numbers_as_people_write_them(cells, decimal, expected):
    plan = columns.Plan.of({"a": cells}, decimal=decimal)
    kind = plan.columns[0].kind
    assert isinstance(kind, Number)
    found = numbers(Text.of(cells), decimal, None)
    assert found.tolist() == expected
    x = plan.rows({"a": cells})[:, 0]
    assert np.isfinite(x).all()
    scale = max(map(abs, expected))
    parts = np.array(expected) / scale
    np.testing.assert_allclose(x, (parts - parts.mean()) / parts.std(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("cells", "reads"),
    [
        (["31.12.2025", "1.2.2026", "3.4.2026"], ["2025-12-31", "2026-02-01", "2026-04-03"]),
        (["12/31/2025", "2/1/2026", "3/4/2026"], ["2025-12-31", "2026-02-01", "2026-03-04"]),
        (["31/12/2025", "2/1/2026", "3/4/2026"], ["2025-12-31", "2026-01-02", "2026-04-03"]),
        (["2025/12/31", "2026/2/1", "2026/3/4"], ["2025-12-31", "2026-02-01", "2026-03-04"]),
        (["2025-12-31T23:59:59Z", "2026-02-01T00:00", "2026-03-04"], ["2025-12-31", "2026-02-01", "2026-03-04"]),
        (["31.12.2025 14:30", "1.2.2026 08:00", "3.4.2026 0:00"], ["2025-12-31", "2026-02-01", "2026-04-03"]),
        (["5 Jan 2026", "31 Dec 2025", "7 Mar 2026"], ["2026-01-05", "2025-12-31", "2026-03-07"]),
    ],
)
def test_dates_as_people_write_them(cells, reads):
    plan = columns.Plan.of({"a": cells})
    assert isinstance(plan.columns[0].kind, Date)
    np.testing.assert_array_equal(plan.rows({"a": cells}), plan._replace(
        columns=[columns.Column("a", plan.columns[0].kind._replace(form=""))]).rows({"a": reads}))  # fmt: skip


def test_what_makes_no_feature_is_left_out_and_why():
    rows = [f"{i},word {i},7,,{i % 3},{'ab'[i % 2]}" for i in range(100)]
    found = table("\n".join([",text,same,none,n,kind", *rows]))
    assert kinds(found) == {
        "": "left out: it counts the rows",
        "text": "left out: text with 100 different values",
        "same": "left out: always 7",
        "none": "left out: nothing in it",
        "n": "number",
    }
    assert kinds(table("\n".join(["text,n,kind", *(f"w{i},{i % 3},{'ab'[i % 2]}" for i in range(40))])))["text"] == (
        "left out: text with 40 different values"
    )
    assert str(found.plan).splitlines()[0] == "(no name)  left out: it counts the rows"
    assert found.x.shape == (100, 1)
    # A count that doesn't count the rows, or is asked for, stays.
    shuffled = table("\n".join([",kind", *(f"{i * 7 % 100},{'ab'[i % 2]}" for i in range(100))]))
    assert kinds(shuffled) == {"": "number"}
    assert kinds(table("\n".join([",text,same,none,n,kind", *rows]), number=[""]))[""] == "number"
    assert kinds(table("\n".join([",text,same,none,n,kind", *rows]), drop=["n"], category=["text"])) | {
        "n": "left out: as asked",
        "text": "category, 60 values, rare ones as other",
    } == kinds(table("\n".join([",text,same,none,n,kind", *rows]), drop=["n"], category=["text"]))


def test_rare_values_and_those_never_seen_are_other():
    cells = ["often"] * 400 + ["also"] * 196 + ["rare"] * 3 + [None]
    plan = columns.Plan.of({"a": cells})
    assert plan.features == ["a=also", "a=often", "a other", "a missing"]
    found = plan.rows({"a": ["often", "rare", "new", None, "also"]})
    assert found.tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    plan = columns.Plan.of({"a": ["x", "y", "x", "y"]})
    assert plan.rows({"a": ["z", "y", None]}).tolist() == [[0, 0], [0, 1], [0, 0]]


def test_columns_may_be_arrays_lists_truth_values_and_none():
    plan = columns.Plan.of({
        "a": np.array([1, 2, 3, 4]), "b": np.array([0.5, np.nan, 1, 2]), "c": [True, False, None, True],
        "d": ["x", None, "y", "x"], "e": [1, None, 2.5, 4], "f": np.array(["p", "q", "p", "q"]),
    })  # fmt: skip
    assert [type(kind).__name__ for _, kind in plan.columns] == [
        "Number", "Number", "YesNo", "Category", "Number", "Category",
    ]  # fmt: skip
    assert plan.rows({"a": [1.0], "b": [1], "c": [True], "d": ["y"], "e": ["2.5"], "f": ["q"], "g": [0]}).shape == (
        1, len(plan.features),
    )  # fmt: skip


# How files are written


ROWS = [["height", "island", "kind"], ["1.5", "Reef, north", "a"], ["2.25", "Hill", "b"], ["3.5", "Hill", "b"]]


def written(separator=",", quote='"', decimal="."):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, quotechar=quote, lineterminator="\n")
    writer.writerows([row[0].replace(".", decimal), *row[1:]] for row in ROWS)
    return out.getvalue()


LAYOUTS = {
    "commas": (written(), ""),
    "semicolons": (written(";"), "separated by semicolons"),
    "decimal commas": (written(";", decimal=","), "separated by semicolons, decimal commas"),
    "decimal commas between commas": (written(",", decimal=","), "decimal commas"),
    "tabs": (written("\t"), "separated by tabs"),
    "bars": (written("|"), "separated by '|'"),
    "spaces": (written(" "), "separated by spaces"),
    "aligned": (written(" ").replace(" H", "    H").replace("1.5", "  1.5"), "separated by spaces"),
    "single quotes": (written(quote="'"), "quotes '"),
    "sep line": ("sep=;\n" + written(";"), "separated by semicolons, lines above it skipped: 1"),
    "comments": ("# by me\n% 2026\n\n" + written(), "lines above it skipped: 3"),
    "title": ("Birds of two islands\n" + written(), "lines above it skipped: 1"),
    "title of a sheet": ("Birds,,\n,,\n" + written(), "lines above it skipped: 2"),
    "names in a comment": ("# " + written(), ""),
    "carriage returns": (written().replace("\n", "\r\n"), ""),
    "mark of UTF-8": ("\ufeff" + written(), ""),
    "empty lines": (written().replace("\n", "\n\n"), ""),
    "Latin-1": (written().replace("Hill", "Hügel").encode("latin-1"), "Latin-1"),
    "UTF-16": (written().encode("utf-16"), "UTF-16"),
    "UTF-32": (written().encode("utf-32"), "UTF-32"),
    "a blank last line": (written() + "   \n", ""),
    "UTF-16 without a mark": (written().encode("utf-16-le"), "UTF-16-LE"),
    "gzip": (gzip.compress(written().encode()), ""),
}


@pytest.mark.parametrize(("text", "words"), LAYOUTS.values(), ids=LAYOUTS)
def test_however_a_table_is_written_it_is_the_same(text, words):
    found = table(text, "kind")
    assert str(found.layout) == words
    assert list(kinds(found).values()) == ["number", "category, 2 values"]
    np.testing.assert_array_equal(found.x, table(written(), "kind").x)
    assert (found.y.tolist(), found.classes) == ([0, 1, 1], ("a", "b"))


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.dat", "T.CSV", "t.csv.gz"])
def test_the_name_of_a_table_has_many_ends(name):
    assert layout.is_table(name)
    assert not layout.is_table(f"{name}.npz")


def test_a_line_of_names_is_seen_or_asked_for():
    assert table("%fat,n,kind\n1,2,a\n3,4,b\n", "%fat", quantity=True).plan.label == "%fat"
    assert table("0,1,label\n1,2,a\n3,4,b\n5,6,a\n7,8,a\n", "label").x.shape == (4, 2)
    assert kinds(table("a,2019,2020,kind\nx,1,2,p\ny,3,4,q\nx,5,7,q\n", "kind")) == {
        "a": "category, 2 values", "2019": "number", "2020": "number",
    }  # fmt: skip
    assert table("h,2019,kind\n1,2,p\n3,4,q\n5,7,q\n").plan.named
    assert not table("1,2,p\n3,4,q\n5,7,q\n").plan.named
    assert not table("NA,2,p\n3,4,q\n5,7,q\n").plan.named
    for text in ("0,1,label\n1,2,a\n3,4,b\n5,6,a\n7,8,a\n", "0,1,2\n1,5,a\n3,6,b\n", "p,x,s\nq,x,s\np,y,t\nq,y,s\n"):
        refused(text, "line 1: ", "names or a row? Say --header yes or --header no")
        assert len(table(text, header=True).y) == text.count("\n") - 1
        assert len(table(text, header=False).y) == text.count("\n")


def test_long_tables_are_read_alike_by_both_readers(monkeypatch):
    rng = np.random.default_rng(0)
    lines = [f"{a!r},{b},w{c},{'ab'[c % 2]}" for a, b, c in zip(
        rng.standard_normal(9000).tolist(), rng.integers(0, 99, 9000), rng.integers(0, 9, 9000), strict=True
    )]  # fmt: skip
    text = "\n".join(["x,n,w,kind", *lines])
    quick = table(text)
    with monkeypatch.context() as changed:
        changed.setattr(np, "loadtxt", lambda *a, **k: int("no"))
        slow = table(text)
    assert quick.plan == slow.plan
    np.testing.assert_array_equal(quick.x, slow.x)
    np.testing.assert_array_equal(quick.y, slow.y)
    # What is text from some row on was text before it.
    lines = [f"-1,{'007' if i < 4000 else i % 3},w1,{'ab'[i % 2]}" for i in range(8000)]
    lines += [f"1,{i % 2}x,w1,a" for i in range(1000)]
    found = table("\n".join(["x,n,w,kind", *lines]))
    assert found.plan.features == ["x", "n=0", "n=007", "n=0x", "n=1", "n=1x", "n=2"]


# What is wrong


FAULTS = {
    "ragged": ("a,b,c\n1,2,x\n1,x\n", ["line 3: 2 columns, expected 3"]),
    "open quote": ('a,b,c\n1,2,x\n1,"2,x\n1,3,x\n4,5,y\n', ["line 3: ", "a quote that nothing closes?"]),
    "binary": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ["offset 6: byte 1a, a binary file, expected a table as text"]),
    "workbook": (b"PK\3\4\x14\0", ["Excel workbook", "save the sheet as .csv"]),
    "parquet": (b"PAR1\x15\0", ["Parquet: pandas.read_parquet(FILE).to_csv('FILE.csv', index=False)"]),
    "empty": ("", ["the file is empty, expected a table"]),
    "blank": ("\n\n", ["the file is empty, expected a table"]),
    "header alone": ("a,b\n", ["no rows, expected at least one below the names"]),
    "duplicate names": ("a,b,a\n1,2,x\n3,4,y\n", ["line 1: more than one column a, expected each name once"]),
    "one column": ("a\nx\ny\n", ["1 column, expected features and a label"]),
    "beyond float64": ("a,b\n1e999,x\n" + "2,y\n1,x\n" * 9, ["line 2, column a: '1e999', expected a finite number"]),
    "no labels": ("a,b\n1,\n2,NA\n", ["column b: no row has a label"]),
    "a control character": ("a,b\n1,x\n2,y\x1b[2J\n", ["line 3, column b: 'y\\x1b[2J'"]),
    "nothing to learn from": ("a,b\n1,x\n1,y\n1,x\n1,y\n", ["no column is left to learn from: a, left out: always 1"]),
    "a separator at the end": ("a,b\n1,x,\n2,y,\n", ["line 2: 3 columns, expected 2; a separator at the end"]),
    "a separator at the end of all": ("a,b,\n1,x,\n2,y,\n", ["no row has a label, expected some; name another column"]),
    "a web page": ("<!DOCTYPE html>\n<table>", ["a web page: pandas.read_html(FILE)"]),
    "JSON": ('[{"a": 1, "b": "x"},\n{"a": 2, "b": "y"}]', ["JSON: pandas.read_json(FILE)"]),
    "a packed bomb": (gzip.compress(b"1,2\n" * (30 << 20)), ["bytes when unpacked, expected at most 67,108,864"]),
    "cut gzip": (gzip.compress(written().encode() * 99)[:-20], ["damaged gzip data"]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "messages"), FAULTS.values(), ids=FAULTS)
def test_faults_of_files_are_one_line(text, messages):
    refused(text, *messages)


def test_all_faulty_columns_are_told_at_once_each_by_its_first_wrong_cell():
    rows = [f"{i}.5,2024-01-{i % 28 + 1:02},{i},{'ab'[i % 2]}" for i in range(100)]
    rows[40] = "oops,yesterday,3,a"
    rows[70] = "later,2024-01-01,much,a"
    refused(
        "\n".join(["size,day,n,kind", *rows]),
        "line 42, column size: 'oops', expected a finite number (2 such values); correct it, or overrule it",
        "line 42, column day: 'yesterday', expected a date as 2026-12-31",
        "line 72, column n: 'much', expected a finite number",
    )
    found = table("\n".join(["size,day,n,kind", *rows]), drop=["size", "day"], category=["n"])
    assert kinds(found)["n"].startswith("category")


def test_a_label_that_is_not_there_has_a_near_name():
    text = "size,Species\n1,x\n2,y\n"
    refused(text, "no column 'species'; the columns are size, Species; did you mean 'Species'?", label="species")
    refused(text, "did you mean 'Species'?", label="Specie")
    refused(text, "no column 5; the columns are size, Species", label=5)


def test_quantities_are_no_classes_unless_one_insists():
    rows = [f"{i % 5},{i * 1.5}" for i in range(77)]
    text = "\n".join(["n,price", *rows])
    refused(text, "column price: 77 different numbers in 77 rows: a quantity?", "insist with --classes")
    assert len(table(text, quantity=True).classes) == 77
    digits = "\n".join(["n,kind", *(f"{i % 5},{i % 30}" for i in range(90))])
    assert len(table(digits).classes) == 30  # they count the classes
    rings = "\n".join(["n,rings", *(f"{i % 5},{i % 30 + (i % 30 > 27)}" for i in range(90))])
    refused(rings, "30 different numbers in 90 rows")


def test_what_should_make_one_pause_is_said():
    rows = [f"{i % 7},{'ab'[i % 2]},{['male', 'Male ', 'female'][i % 3]}" for i in range(60)]
    said = table("\n".join(["n,sure,kind", *rows])).notes
    assert said == ["classes 'Male' and 'male': one, written differently?"]
    rows = [f"{i % 9},{'ab'[i % 2]},{'xy'[i % 2]}" for i in range(10)]
    said = table("\n".join(["n,sure,kind", *rows, "9,b,", "100,Total,z"])).notes
    assert said == [
        "rows without a label, which are left out: 1",
        "only 11 rows: what is measured on so few says little",
        "classes of fewer than 5 rows, too few to learn or measure: z (1)",
        "line 13 says 'Total': a sum of other rows? Then take it out",
        "column sure alone tells the label: would new rows have it?",
    ]


def test_medians_and_scales_are_those_of_the_rows_trained_on(capsys):
    rng = np.random.default_rng(0)
    rows = [
        [f"{v:.3f}" if v < 1 else "", f"20{10 + i % 9}-01-02", "ab"[i % 2]] for i, v in enumerate(rng.normal(0, 1, 90))
    ]
    text = "\n".join(map(",".join, [["v", "seen", "kind"], *rows, ["1", "2001-01-02", ""]]))
    for options, argv, held in (
        ({}, None, ()),
        ({"held": (0.2,)}, [], (0.2,)),
        ({"held": (0.2, 0.15)}, ["--patience", "9"], (0.2, 0.15)),
    ):
        found = table(text, **options).plan.columns
        kept = np.arange(90)
        for fraction in held:
            index = data.Dataset(kept[:, None], kept % 2, ("a", "b"))
            kept = data.split(index, fraction)[0].x[:, 0].astype(int)
        values = np.array([float(row[0] or "nan") for row in rows])[kept]
        np.testing.assert_allclose(
            found[0].kind[1:4], [np.nanmedian(values), np.nanmean(values), np.nanstd(values)], rtol=1e-12
        )
        assert found[1].kind.year == np.median([int(rows[i][1][:4]) for i in kept])
        assert found[0].kind.gaps
        if argv is not None:
            assert main(["train", "t.csv", "--quiet", "--epochs", "1", "--run", f"r{len(held)}", *argv]) == 0
            assert classifier.load(f"r{len(held)}/model.npz")[1]["columns"] == table(text, **options).plan.as_json()


def test_units_are_told_and_doubtful_ones_make_one_pause():
    rows = [f"{['12%', '0.5'][i % 2]},{['$', '€'][i % 2]}{i}.50,{i} EUR,{i}.{i + 100},{'ab'[i % 2]}" for i in range(60)]
    found = table("\n".join(["share,price,euros,v,kind", *rows]))
    assert list(kinds(found).values()) == ["number, in no unit and %", "number, in $ and €", "number, in EUR", "number"]
    assert found.notes == [
        "column share alone tells the label: would new rows have it?",
        "column share: numbers in no unit and %, which are taken for one unit",
        "column price: numbers in $ and €, which are taken for one unit",
    ]
    found = table("pop;kind\n" + "987;a\n1.234;b\n2.500;a\n870;b\n" * 20)
    assert "column pop: 1.234 is read as 1234; is that right?" in found.notes
    assert found.plan.columns[0].kind.median == 1110.5


# New rows by the same plan


def test_a_plan_goes_through_json_and_repeats_itself():
    found = table("size;ok;island;seen;kind\n1,5;yes;Reef;2024-02-29;a\n;no;;2026-01-05;b\n3;yes;Hill;;a\n", "kind")
    text = json.dumps(found.plan.as_json())
    plan = columns.Plan.from_json(json.loads(text))
    assert plan == found.plan
    again = table(
        "kind;extra;seen;island;size;ok\na;1;2024-02-29;Reef;1,5;yes\nc;2;;Sea;2;no\n;3;;Hill;;yes\n", plan=plan
    )
    np.testing.assert_array_equal(again.x[0], found.x[0])
    assert (again.y.tolist(), again.classes) == ([0, 2], ("a", "b", "c"))
    with open("new.csv", "w") as file:
        file.write("seen\tok\tsize\tisland\n2024-02-29\tyes\t1.5\tReef\n\t\t\t\n")
    x = data.load_rows("new.csv", plan)
    np.testing.assert_array_equal(x[0], found.x[0])
    with open("new.csv", "w") as file:
        file.write("seen,ok,size\n2024-02-29,maybe,1.5\nlately,no,big\n")
    with pytest.raises(data.DataError, match=r"new.csv: no column 'island', which the model was trained on; there are"):
        data.load_rows("new.csv", plan)
    with open("new.csv", "w") as file:
        file.write("seen,ok,size,island\n2024-02-29,maybe,1.5,Hill\nlately,no,big,Hill\n")
    with pytest.raises(data.DataError) as caught:
        data.load_rows("new.csv", plan)
    for message in ("line 3, column size: 'big', expected a finite number; correct it, as in training",
                    "line 2, column ok: 'maybe', expected yes or no", "line 3, column seen: 'lately'"):  # fmt: skip
        assert message in str(caught.value)


def test_columns_without_names_go_by_their_positions():
    found = table("1.5,x,a\n2.5,y,b\n3.5,x,a\n")
    for text in ("1.5,x\n3.5,y\n", "1.5,x,a\n3.5,y,\n", "size,island\n1.5,x\n3.5,y\n"):
        with open("new.csv", "w") as file:
            file.write(text)
        np.testing.assert_array_equal(data.load_rows("new.csv", found.plan)[0], found.x[0])
    with open("new.csv", "w") as file:
        file.write("1.5,x,2,a\n")
    with pytest.raises(data.DataError, match="rows of 4 columns without names, expected 2 and the label"):
        data.load_rows("new.csv", found.plan)


def test_a_new_row_alone_is_read_by_names_that_the_plan_knows():
    found = table("2019,2020,kind\n1,2,a\n3,5,b\n7,6,a\n8,8,b\n", "kind")
    for text in ("2020,2019\n2,1\n", "more,2019,2020\n9,1,2\n"):
        with open("new.csv", "w") as file:
            file.write(text)
        np.testing.assert_array_equal(data.load_rows("new.csv", found.plan)[0], found.x[0])


def test_each_column_has_its_own_decimal_mark():
    rows = [f"555.{100 + i}.{200 + i};{i % 9 + 1}.{100 + i};{i},5;{i % 7}.5;{'ab'[i % 2]}" for i in range(60)]
    found = table("\n".join(["phone;v;comma;point;kind", *rows])).plan.columns
    assert [column.kind.decimal for column in found] == [
        ",",
        ".",
        ",",
        ".",
    ]  # the file shows both: of v nothing decides
    found = table("\n".join(["phone;v;kind", *(";".join([*row.split(";")[:2], row[-1]]) for row in rows)]))
    assert [column.kind.decimal for column in found.plan.columns] == [",", "."]
    assert found.notes == ["column v: 1.100 is read as 1.1; is that right?"]
    assert found.plan.columns[1].kind.median == np.median([float(row.split(";")[1]) for row in rows])
    # The file's first lines show no mark, later ones do.
    found = table("n,m,kind\n" + "7,1,a\n8,2,b\n" * 9000 + "1.234,3,a\n9,4.5,b\n")
    assert [column.kind.decimal for column in found.plan.columns] == [",", "."]
    assert found.plan.columns[0].kind.centre > 7.5 + 1000 / 18002


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (["1,5", "2,25"], ["1.5", "3.25"], [1.5, 3.25]),  # another mark, seen without doubt
        (["1,5", "2,25"], ["1.234", "3"], [1234, 3]),
        (["1,5", "2,25"], ["1.234", "3.5"], "line 2, column v: '1.234', expected a number that can be read in one way"),
        (["987", "1.234"], ["1.234", "1"], [1234, 1]),
        (["987", "1.234"], ["1.234", "1.25"], "unlike in the training, whose decimal mark was ','"),
        (["987", "870"], ["12", "1.234"], "in the training, which showed no decimal mark"),
        (["987", "870"], ["0.5", "1.234"], [0.5, 1.234]),
        (["$1.5", "$2.5"], ["-$7", "(8)"], [-7, -8]),
    ],
)
def test_new_rows_are_read_by_the_decimal_mark_of_the_plan(old, new, expected):
    found = table("v;kind\n" + "".join(f"{cell};{'ab'[i % 2]}\n" for i, cell in enumerate(old * 4)))
    kind = columns.Plan.from_json(json.loads(json.dumps(found.plan.as_json()))).columns[0].kind
    assert kind == found.plan.columns[0].kind
    with open("new.csv", "w") as file:
        file.write("v;w\n" + "".join(f"{cell};1\n" for cell in new))
    if isinstance(expected, str):
        with pytest.raises(data.DataError, match=re.escape(expected)):
            data.load_rows("new.csv", found.plan)
        return
    x = data.load_rows("new.csv", found.plan)[:, 0]
    np.testing.assert_allclose(x, (np.array(expected) - kind.centre) / kind.scale, rtol=1e-6)


def test_doubtful_commas_of_new_rows_are_read_as_those_before():
    found = table("size;kind\n1,5;a\n2,25;b\n1,234;a\n")
    with open("new.csv", "w") as file:
        file.write("size;kind\n1,234;a\n")
    np.testing.assert_array_equal(data.load_rows("new.csv", found.plan)[0], found.x[2])
    with open("new.csv", "w") as file:
        file.write("size;kind\n1.234;a\n")
    kind = found.plan.columns[0].kind
    np.testing.assert_allclose(data.load_rows("new.csv", found.plan), [[(1234 - kind.centre) / kind.scale]], rtol=1e-6)


def test_labels_of_new_rows_go_by_the_names_of_the_plan():
    found = table("n,kind\n1,1.0\n2,2.5\n4,1.0\n")
    again = table("n,kind\n7,1.0\n9,1.0\n", plan=found.plan)
    assert (found.classes, again.classes, again.y.tolist()) == (("1.0", "2.5"), ("1.0", "2.5"), [0, 0])
    found = table("n,kind\n1,1\n2,2\n4,1\n")
    again = table("n,kind\n7,2.0\n9,1.0\n8,x\n", plan=found.plan)
    assert (again.classes, again.y.tolist()) == (("1", "2", "x"), [1, 0, 2])


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("columns", 3, "columns: columns 3, expected list"),
        ("columns/0", "x", "columns: 'x', expected a name and one of number, yes/no"),
        ("columns/0/kind", "exec", "expected a name and one of number"),
        ("columns/0/scale", 0, "columns: size: scale 0, expected more than 0"),
        ("columns/0/scale", "1", "columns: size: scale '1', expected float"),
        ("columns/0/median", None, "columns: size: median None, expected float"),
        ("columns/0/centre", math.inf, "columns: size: centre inf"),
        ("columns/0/gaps", 1, "columns: size: gaps 1, expected bool"),
        ("columns/1/levels", [1], "columns: island: levels [1], expected list"),
        ("classes", "ab", "columns: classes 'ab'"),
        ("label", 1, "columns: label 1, expected str"),
    ],
)
def test_plans_that_are_not_what_they_should_be(place, value, message):
    plan = columns.Plan.of({"size": [1.0, 2, 4], "island": ["a", "b", "a"]}).as_json()
    *above, last = place.split("/")
    inside = plan
    for name in above:
        inside = inside[int(name) if isinstance(inside, list) else name]
    inside[int(last) if isinstance(inside, list) else last] = value
    with pytest.raises(Damage, match=re.escape(message)):
        columns.Plan.from_json(plan)
    for other in (None, [], "x"):
        with pytest.raises(Damage, match="expected a dict"):
            columns.Plan.from_json(other)


def test_without_names_the_first_new_row_is_a_row():
    found = table("red,big,a\nblue,small,b\n" * 9, header=False)
    for text, rows in (("red,big\nblue,small\nblue,small\n", 3), ("red,small,a\nblue,big,b\n", 2), ("blue,big\n", 1)):
        with open("new.csv", "w") as file:
            file.write(text)
        x = data.load_rows("new.csv", found.plan)
        assert x.shape == (rows, 4)
        assert (x.sum(axis=1) == 2).all()
        assert len(table(text, plan=found.plan).y) == 2 if rows == 2 else True


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["1", "1.0", "2"], ("1", "2")),
        (["01", "1", "2"], ("01", "1", "2")),
        (["01", "1.0", "1"], ("01", "1")),
        (["-0", "0.", "+3", "-3"], ("-3", "0", "3")),
        (["1", "1.0", "x"], ("1", "1.0", "x")),
        (["9007199254740993", "9007199254740992"], ("9007199254740992", "9007199254740993")),
        (["1" * 5000, "2"], ("2", "1" * 5000)),
    ],
)
def test_no_two_names_are_merged_but_for_numbers_written_both_ways(names, classes):
    rows = [f"{i},{name},{name}x" for i, name in enumerate(names * 3)]
    found = table("\n".join(["n,code,kind", *rows]), "code")
    assert sorted(found.classes) == sorted(classes)
    kind = columns.Plan.of({"code": names * 3}, category=["code"]).columns[0].kind
    assert sorted(kind.levels) == sorted(classes)


@pytest.mark.parametrize(
    ("known", "new", "found"),
    [
        (["1", "2"], ["1.0", "2.00", "01", "3"], [0, 1, 0, None]),
        (["01067", "10115"], ["1067", "10115.0", "01067"], [0, 1, 0]),
        (["01", "1", "x"], ["1.0", "01", "1", "x"], [None, 0, 1, 2]),
        (["9007199254740993", "9007199254740992"], ["9007199254740993.0", "9007199254740992"], [0, 1]),
        (["A1", "10"], ["10.0", "a1"], [1, None]),
    ],
)
def test_names_of_new_rows_are_found_by_their_number(known, new, found):
    plan = columns.Plan.of({"code": known * 2}, category=["code"])
    place = [plan.columns[0].kind.levels.index(name) for name in known]
    expected = [[float(i is not None and place[i] == k) for k in range(len(known))] for i in found]
    told = []
    assert plan.rows({"code": new}, tell=told.append).tolist() == expected
    assert len(told) == found.count(None) == len([text for text in told if "none of its" in text])
    both = table("n,kind\n" + "".join(f"{i},{name}\n" for i, name in enumerate(known * 2)), "kind")
    if None not in found:
        again = table("n,kind\n" + "".join(f"{i},{name}\n" for i, name in enumerate(new)), "kind", plan=both.plan)
        assert [both.classes[i] for i in again.y] == [known[i] for i in found]


def test_what_the_training_did_not_see_is_told_once_a_column():
    found = table("a,b,c,d,kind\n" + "x,1,$5,yes,p\ny,2,$6,no,q\n" * 9, "kind")
    text = "a,b,c,d,kind\nz,,5,yes,p\nz,1,$6,,q\nx,2,7%,no,\n"
    expected = [
        "column a: 2 rows with a value that is none of its 2, such as 'z'",
        "column b: 1 rows without a value, as the training had none",
        "column c: numbers in no unit and $ and %, in the training in $",
        "column d: 1 rows without a value, as the training had none",
    ]
    assert table(text, plan=found.plan).notes == [*expected, "rows without a label, which are left out: 1"]
    told = []
    data.load_rows("t.csv", found.plan, tell=told.append)
    assert told == expected
    told.clear()
    data.load_rows({"a": ["x"], "b": [1], "c": ["$5"], "d": ["1"]}, found.plan, tell=told.append)
    assert not told


@pytest.mark.parametrize("mark", ["unknown", "-", "inf", "99.."])
def test_numbers_with_a_mark_of_their_own_for_missing(mark):
    rows = [f"{mark if i % 5 == 0 else i * 1.5},{i % 3},{'ab'[i % 2]}" for i in range(200)]
    text = "\n".join(["age,n,kind", *rows])
    said = f"numbers but for 40 cells, the first {mark!r}; if that means missing, say --missing {mark!r}"
    assert said in kinds(table(text))["age"]
    found = table(text, missing=[mark, "2"]).plan
    plain = table(text.replace(f"\n{mark},", "\n,").replace(",2,", ",,"))
    assert [column.kind for column in found.columns] == [column.kind for column in plain.plan.columns]
    assert columns.Plan.from_json(json.loads(json.dumps(found.as_json()))) == found
    np.testing.assert_array_equal(data.load_rows("t.csv", plain.plan), table(text, plan=found).x)
    assert table(text.replace(",a", f",{mark}"), missing=[mark]).classes == ("b",) if mark != "99.." else True


@pytest.mark.parametrize(
    ("cells", "form", "note"),
    [
        (["01/02/2020", "15/03/2020", *["01/04/2020"] * 40], "%d/%m/%Y", ""),
        (["01/02/2020", "03/15/2020", *["01/04/2020"] * 40], "%m/%d/%Y", ""),
        (["01/02/2020", "03/05/2020", *["01/04/2020"] * 40], "%m/%d/%Y", "01/02/2020 is read as month, day, year"),
        (["01-02-2020 10:30", "03-05-2020 11:00"] * 20, "%m-%d-%Y %H:%M", "is read as month, day, year"),
        (["1.2.2020", "3.4.2020"] * 20, "%d.%m.%Y", ""),
    ],
)
def test_the_order_of_month_and_day_is_that_of_all_dates(cells, form, note):
    found = table("day,n,kind\n" + "".join(f"{cell},{i % 7},{'abc'[i % 3]}\n" for i, cell in enumerate(cells)))
    assert found.plan.columns[0].kind.form == form
    assert [text for text in found.notes if "month" in text] == [text for text in found.notes if note and note in text]


def test_a_first_row_is_a_row_and_a_count_of_any_name_is_left_out():
    assert len(table("5,,\n" + "".join(f"{i},{i * 2},{'ab'[i % 2]}\n" for i in range(20))).x) == 20  # one has no label
    for name in ("sample_id", "Patient ID", "row-number", "no."):
        rows = [f"{i + 1},{i * 7 % 50},{'ab'[i > 20]}" for i in range(40)]
        assert kinds(table("\n".join([f"{name},v,kind", *rows])))[name] == "left out: it counts the rows"
    years = "city,2020,kind\n" + "".join(
        f"{['Rome', 'Oslo'][i % 2]},{i / 7:.2f},{'ab'[i % 3 % 2]}\n" for i in range(40)
    )
    refused(years, "line 1: 'city', '2020', 'kind': names or a row? Say --header yes or --header no")


def sheet(names, row, count=60):
    return "\n".join([names, *(row(i) for i in range(count))])


def test_a_count_in_a_sorted_file_is_left_out_whatever_its_name_and_with_rows_taken_out():
    text = sheet("n,v,kind", lambda i: f"{i + (i > 30) + (i > 40)},{i * 7 % 50},{'ab'[i > 20]}")
    assert kinds(table(text)) == {"n": "left out: it counts the rows", "v": "number"}
    assert kinds(table(text, number=["n"]))["n"] == "number"
    assert kinds(table(sheet("n,kind", lambda i: f"{i},{'ab'[i % 2]}")))["n"] == "number"  # which tells no label
    for start, step, count in ((7, 1, 60), (0, 2, 60), (1, 1, 12)):  # no count, or too few to say
        assert (
            kinds(table(sheet("n,kind", lambda i: f"{start + step * i},{'ab'[2 * i >= count]}", count)))["n"]
            == "number"
        )


def test_lines_that_are_no_rows_and_quotes_with_a_backslash_are_told():
    rows = sheet("size,n,kind", lambda i: f"{i * 7 % 50}.5,{i % 3},{'ab'[i % 2]}")
    names, first, *others = rows.split("\n")
    error = refused("\n".join([names, "mm,kg,", first, *others]), "line 2, column size: 'mm'")
    assert error.count("(a line of units?); correct it") == 2
    error = refused("\n".join([names, first, names, *others]), "line 3, column size: 'size'")
    assert error.count("(the names again?); correct it") == 2
    refused(rows + '\n"a \\"b\\" c",1,a\n', "line 62: ", 'a quote within a cell is written twice, not as \\"')


def test_what_stands_for_missing_is_told_where_the_column_is_used_all_the_same():
    found = table(
        sheet("n,crp,kind", lambda i: f"{-999 if i % 9 == 0 else i % 7},{'<1' if i % 5 == 0 else i},{'ab'[i % 2]}")
    )
    assert [note.split(", the first")[0] for note in found.notes] == [
        "column n: -999 in 7 rows, far from all others; if that means missing, say --missing=-999",
        "column crp: a category, numbers but for 12 cells",
    ]
    assert not data.load_table("t.csv", missing=["-999", "<1"]).notes
    assert not table(
        sheet("n,kind", lambda i: f"{999 if i % 2 else 500 + i},{'ab'[i % 3 % 2]}")
    ).notes  # one among such


def test_months_are_dates_and_times_say_why_they_are_left_out():
    text = sheet(
        "month,at,note,kind",
        lambda i: f"{2018 + i % 4}-{i % 12 + 1:02},{i % 24:02}:{i:02},{f'w{i}' * (i % 2)},{'ab'[i % 3 % 2]}",
    )
    found = kinds(table(text))
    assert found["month"].startswith("date (%Y-%m), year")
    assert found["at"] == "left out: text with 60 different values, times? Write hours as a number"
    assert found["note"] == "left out: text with 30 different values"


def test_truth_values_of_new_rows_are_numbers_if_those_were():
    plan, told = table(sheet("flag,v,kind", lambda i: f"{i % 3 % 2},{i % 7},{'ab'[i % 2]}")).plan, []
    x = data.load_rows(
        {"flag": [True, None, False], "v": [1, 2, 3]}, plan._replace(columns=plan.columns), tell=told.append
    )
    np.testing.assert_array_equal(x[[0, 2]], data.load_rows({"flag": [1, 0], "v": [1, 3]}, plan))
    assert told[0].startswith("column flag: true and false, read as 1 and 0")


def test_a_label_is_a_name_before_it_is_a_position():
    text = "n,3,0,kind\n" + "".join(f"{i},{'pq'[i % 2]},{i * 2},x{i % 3}\n" for i in range(12))
    assert table(text, "3").plan.label == table(text, 3).plan.label == "3"
    assert table(text, 0).plan.label == "0"
    assert table(text, 1).plan.label == "3"
    assert data.load_table({3: ["p", "q"] * 9, 1: list(range(18)), 0: [0, 1, 4] * 6}, 3).plan.label == "3"


def test_arrays_of_dates_and_of_long_numbers():
    days = ["2020-01-01", "NaT", "2021-03-04"] * 8
    for unit in ("ns", "us", "s", "D"):
        kinds_found = columns.Plan.of({"day": np.array(days, f"datetime64[{unit}]")})
        assert isinstance(kinds_found.columns[0].kind, Date)
        x = kinds_found.rows({"day": np.array(["2021-03-04"], f"M8[{unit}]")})
        texts = columns.Plan.of({"day": [None if day == "NaT" else day for day in days]})
        np.testing.assert_array_equal(x, texts.rows({"day": ["2021-03-04"]}))
    for kind in ("u8", "i8"):
        found = data.load_table({"n": list(range(8)), "id": np.array([2**53, 2**53 + 1] * 4, kind)}, "id")
        assert found.classes == ("9007199254740992", "9007199254740993")
    with pytest.raises(data.DataError, match=r"column 'd': a column has shape \(8, 2\), expected one axis"):
        data.load_table({"d": np.zeros((8, 2)), "kind": ["p", "q"] * 4}, "kind")


# As well as a pipeline of scikit-learn's


def birds(rows=800, missing=0.0, seed=0):
    """A table of birds as columns of values: the label depends on all of them, not without noise."""
    rng = np.random.default_rng(seed)
    bill, mass = rng.normal(44, 5, rows), rng.normal(4200, 800, rows)
    island, colour = rng.integers(0, 3, rows), rng.integers(0, 12, rows)
    ringed, day = rng.integers(0, 2, rows), rng.integers(0, 700, rows)
    score = (
        (bill - 44) / 5
        + (mass - 4200) / 800
        + 1.5 * (island - 1) * ringed
        + 0.3 * (colour % 3)
        + rng.normal(0, 0.5, rows)
    )
    kind = np.digitize(score, np.quantile(score, [0.35, 0.7]))
    gone = rng.random((2, rows)) < missing
    start = datetime.date(2024, 1, 1)
    return {
        "bill": [None if g else round(v, 1) for v, g in zip(bill.tolist(), gone[0], strict=True)],
        "mass": [None if g else round(v) for v, g in zip(mass.tolist(), gone[1], strict=True)],
        "island": [f"Insel {'ABC'[i]}" for i in island],
        "colour": [f"c{i}" for i in colour],
        "ringed": ["yes" if r else "no" for r in ringed],
        "seen": [(start + datetime.timedelta(int(d))).isoformat() for d in day],
        "kind": [("Adelie", "Chinstrap", "Gentoo")[k] for k in kind],
    }


def lines(table, separator=",", show=str, head=True, quote='"'):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n", quotechar=quote)
    if head:
        writer.writerow(table)
    writer.writerows([["" if v is None else show(v) for v in row] for row in zip(*table.values(), strict=True)])
    return out.getvalue()


def german(value):
    return f"{value:.1f}".replace(".", ",") if isinstance(value, float) else str(value)


def money(value):
    return f"${value:,}" if isinstance(value, int) else f"{value}%" if isinstance(value, float) else value


def numbered(table):
    return {"": list(range(len(table["kind"]))), **table}


def epoch(table):
    rng = np.random.default_rng(1)
    n = len(table["kind"])
    kind = rng.integers(0, 2, n)
    return {
        "t": [1700000000000 + 60000 * int(k) + int(rng.integers(0, 50000)) for k in kind],
        "kind": ["ab"[k] for k in kind],
    }


PLAIN = ("bill", "mass", "kind")
KINDS = {
    "numbers": (lambda t: {name: t[name] for name in PLAIN}, 0, lines),
    "numbers without names": (lambda t: {name: t[name] for name in PLAIN}, 0, lambda t: lines(t, head=False)),
    "numbers, some missing": (lambda t: {name: t[name] for name in PLAIN}, 0.1, lines),
    "text": (lambda t: {name: t[name] for name in ("island", "colour", "ringed", "kind")}, 0, lines),
    "all": (dict, 0, lines),
    "all, some missing": (dict, 0.1, lines),
    "missing as NA": (dict, 0.1, lambda t: lines({k: ["NA" if v is None else v for v in c] for k, c in t.items()})),
    "missing as ?": (dict, 0.1, lambda t: lines({k: ["?" if v is None else v for v in c] for k, c in t.items()})),
    "tabs": (dict, 0.1, lambda t: lines(t, "\t")),
    "semicolons and decimal commas": (dict, 0.1, lambda t: lines(t, ";", german)),
    "bars": (dict, 0.1, lambda t: lines(t, "|")),
    "spaces": (dict, 0, lambda t: lines(t, " ")),
    "single quotes": (dict, 0, lambda t: lines(t | {"island": [f"{v}, so" for v in t["island"]]}, quote="'")),
    "percent and currency": (dict, 0, lambda t: lines(t, show=money)),
    "a title above": (dict, 0, lambda t: "Birds\n# 2026\n" + lines(t)),
    "sep line": (dict, 0, lambda t: "sep=;\n" + lines(t, ";")),
    "Latin-1": (dict, 0, lambda t: lines(t).replace("Insel", "Öland").encode("latin-1")),
    "UTF-16": (dict, 0, lambda t: lines(t).encode("utf-16")),
    "gzip": (dict, 0, lambda t: gzip.compress(lines(t).encode())),
    "a count of the rows": (numbered, 0, lines),
    "a constant and a copy": (lambda t: {"year": [2026] * len(t["kind"]), **t, "again": t["kind"]}, 0,
                              lambda t: lines({k: c for k, c in t.items() if k != "kind"} | {"kind": t["kind"]})),
    "labels missing": (dict, 0, lambda t: lines(t) + "40,4000,Insel A,c1,yes,2024-05-05,\n" * 9),
    "milliseconds": (epoch, 0, lines),
}  # fmt: skip
LEFT_OUT = ("", "year", "again")


def pipeline(table):
    """Median, one-hot, scaled, logistic regression: the features and the model."""
    compose = pytest.importorskip("sklearn.compose")
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    names = [name for name in table if name not in ("kind", *LEFT_OUT)]
    texts = [i for i, name in enumerate(names) if isinstance(table[name][0], str) and name != "seen"]
    numbers = [i for i, name in enumerate(names) if i not in texts and name != "seen"]
    x = np.array([[math.nan if v is None else v for v in table[name]] for name in names], object).T
    scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    parts = [("text", OneHotEncoder(handle_unknown="ignore"), texts), ("number", scaled, numbers)]
    return x, make_pipeline(
        compose.ColumnTransformer([part for part in parts if part[2]]), LogisticRegression(max_iter=500)
    )


@pytest.mark.parametrize(("pick", "missing", "write"), KINDS.values(), ids=KINDS)
def test_every_kind_of_table_trains_as_well_as_a_pipeline_of_scikit_learns(pick, missing, write, capsys):
    found = pick(birds(missing=missing))
    text = write(found)
    with open("birds.csv", "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    assert main(["train", "birds.csv", "--quiet"]) == 0
    out = capsys.readouterr().out
    ours = float(out.split("test accuracy ")[1].split()[0])
    x, model = pipeline(found)
    classes = sorted(set(found["kind"]))
    y = np.array([classes.index(name) for name in found["kind"]])
    index = data.Dataset(np.arange(len(y), dtype=np.float32)[:, None], y, tuple(classes))
    train, test = (part.x[:, 0].astype(int) for part in data.split(index, 0.2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = model.fit(x[train], y[train]).score(x[test], y[test])
    error = math.sqrt(max(theirs * (1 - theirs), 0.01) / len(test))
    assert abs(ours - theirs) <= 2 * error, (ours, theirs)
