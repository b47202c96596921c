"""DataFrames of pandas, polars and pyarrow: the same plan and the same numbers as the same table in a file."""

import sys

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import data
from tinygrad_ce.cli import main
from tinygrad_ce.data.columns import Plan

pd, pl, pa = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))

DAYS = ["2024-01-02", "2024-03-04", None, "2024-05-06", "2025-07-08"]
TABLE = {
    "bill": [38.1, None, 40.25, 46.2, 39.0] * 16,
    "island": ["Reef", "Hill", "Hill", None, "Sea"] * 16,
    "ringed": [True, False, None, True, False] * 16,
    "seen": DAYS * 16,
    "count": [3, 1, 2, 5, 4, 1, 7, 2] * 10,
    "always": ["x"] * 80,
    "kind": ["a", "b", "b", "a", "c", "b", "a", "a"] * 10,
}
PANDAS = pd.DataFrame(TABLE)
TYPED = PANDAS.assign(seen=pd.to_datetime(PANDAS["seen"]), island=PANDAS["island"].astype("category"))
POLARS = pl.DataFrame(TABLE)
FRAMES = {
    "pandas": PANDAS,
    "pandas, nullable": PANDAS.convert_dtypes(),
    "pandas, of pyarrow": PANDAS.convert_dtypes(dtype_backend="pyarrow"),
    "pandas, categories and dates": TYPED,
    "polars": POLARS,
    "polars, categories and dates": POLARS.with_columns(
        pl.col("island").cast(pl.Categorical),
        pl.col("kind").cast(pl.Enum(["c", "b", "a"])),
        pl.col("seen").str.to_date(),
    ),
    "pyarrow": pa.table(TABLE),
    "pyarrow, dictionary": pa.table({**TABLE, "island": pa.array(TABLE["island"]).dictionary_encode()}),
    "a dict": TABLE,
}  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PANDAS.to_csv("t.csv", index=False)


def model(features):
    return tg.nn.Sequential(tg.nn.Linear(features, 3, rng=0))


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_frame_has_the_plan_and_the_numbers_of_the_same_file(frame):
    file, found = data.load_table("t.csv", "kind"), data.load_table(frame, "kind")
    assert found.plan == file.plan
    assert found.classes == ("a", "b", "c")
    np.testing.assert_array_equal(found.x, file.x)
    np.testing.assert_array_equal(found.y, file.y)
    np.testing.assert_array_equal(data.load_rows(frame, file.plan), file.x)
    np.testing.assert_array_equal(Plan.from_json(file.plan.as_json()).rows(frame), file.x)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_fit_and_predict_take_frames(frame):
    table = data.load_table("t.csv", "kind")
    by_file, by_frame = model(table.x.shape[1]), model(table.x.shape[1])
    options = {"epochs": 5, "validation": 0.2, "progress": False}
    histories = tg.fit(by_file, table, **options), tg.fit(by_frame, (frame, "kind"), **options)
    assert histories[0].history == histories[1].history
    for made in (by_file, by_frame):
        np.testing.assert_array_equal(tg.predict(made, frame), tg.predict(by_file, table.x))
        np.testing.assert_array_equal(tg.train.logits(made, frame), tg.train.logits(by_file, table))


def test_the_labels_may_come_beside_the_frame():
    x, y = PANDAS.drop(columns="kind"), PANDAS["kind"]
    table = data.load_table("t.csv", "kind")
    found = [
        tg.fit(model(table.x.shape[1]), each, epochs=3, validation=held, progress=False).history
        for each, held in [
            (table, table),
            ((x, y), (x, y)),
            ((pl.from_pandas(x), y.tolist()), (x[::-1], y[::-1])),
            ((x, np.array(["abc".index(k) for k in y])), (PANDAS, "kind")),
        ]
    ]
    assert found[0] == found[1]
    for other in found[2:]:
        assert other["loss"] == found[0]["loss"]
        np.testing.assert_allclose(other["val_loss"], found[0]["val_loss"], rtol=1e-6)


def test_labels_that_are_whole_numbers_stay_what_they_are():
    x = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0] * 5, "b": [5, 7, 6, 8] * 5})
    made = tg.nn.Linear(2, 4, rng=0)
    tg.fit(made, (x, [1, 3, 1, 3] * 5), epochs=200, progress=False, optimizer=tg.optim.Adam(made.parameters(), lr=0.1))
    assert {*tg.predict(made, x).tolist()} == {1, 3}
    np.testing.assert_array_equal(tg.predict(made, x[["b", "a"]]), tg.predict(made, x.to_numpy()))


def test_labels_beside_a_frame_may_be_a_frame_and_floats_and_their_copy_is_no_feature():
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"a": rng.normal(size=80), "kind": ["p", "q"] * 40, "t": [0, 1] * 40})
    for y, copies in (
        (x["t"], "t"), (x[["t"]], "t"), (x["t"] * 1.0, "t"), (x["kind"], "kind"), (x[["kind"]], "kind"),
        (pl.DataFrame({"t": x["t"].to_numpy()}), "t"),
    ):  # fmt: skip
        made = tg.nn.Linear(3 if copies == "t" else 2, 2, rng=0)
        with pytest.warns(UserWarning, match="fit: column .* alone tells the label: would new rows have it?"):
            tg.fit(made, (x, y), epochs=1, progress=False)
        assert len(tg.predict(made, x.drop(columns=copies))) == 80
    gaps = x["t"].where(x["t"].index > 9)  # floats, nan where there is no label
    gone = tg.nn.Linear(1, 2, rng=0)
    left = tg.nn.Linear(1, 2, rng=0)
    tg.fit(gone, (x[["a"]], gaps), epochs=1, progress=False, batch_size=80)
    tg.fit(left, (x[["a"]], gaps.fillna(-100).astype(int)), epochs=1, progress=False, batch_size=80)
    np.testing.assert_array_equal(gone.weight.data, left.weight.data)


def test_whole_numbers_of_a_frame_beyond_float64_stay_apart():
    long = [2**53, 2**53 + 1] * 20
    for frame in (pd.DataFrame({"n": range(40), "id": long}), pl.DataFrame({"n": range(40), "id": long})):
        assert data.load_table(frame, "id").classes == (str(2**53), str(2**53 + 1))


def test_the_plan_goes_with_the_rows_that_are_split_off():
    table = data.load_table(PANDAS, "kind")
    train, test = data.split(table, 0.25)
    assert train.plan is test.plan is table.plan
    made = model(train.x.shape[1])
    tg.fit(made, train, epochs=1, progress=False)
    assert len(tg.predict(made, PANDAS[["seen", "island", "bill", "count", "ringed"]])) == 80


def test_a_run_of_the_command_line_takes_frames():
    assert main(["train", "t.csv", "--quiet", "--epochs", "2"]) == 0
    made, about = tg.train.classifier.load("t-run/model.npz")
    rows = data.load_rows("t.csv", Plan.from_json(about["columns"]))
    np.testing.assert_array_equal(tg.predict(made, POLARS), tg.predict(made, rows))


def test_categories_that_are_codes_are_no_numbers():
    coded = PANDAS.assign(count=PANDAS["count"].astype("category"))
    plan = data.load_table(coded, "kind").plan
    assert str(plan).splitlines()[4] == "count   category, 6 values"
    assert "count   number" in str(data.load_table(coded, "kind", number=["count"]).plan)
    np.testing.assert_array_equal(plan.rows(coded), plan.rows(PANDAS))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.load_table(POLARS.lazy(), "kind"), "the LazyFrame: expected a DataFrame of pandas or polars"),
        (lambda: data.load_table(PANDAS, "kin"), "the DataFrame: no column 'kin'.*did you mean 'kind'"),
        (lambda: data.load_table(PANDAS[:0], "kind"), "the DataFrame: .*expected"),
        (lambda: data.load_table({"a": [1], "kind": ["x", "y"]}), "the dict: column 'kind' has 2 cells, expected 1"),
        (lambda: data.load_table(pd.concat([PANDAS, PANDAS], axis=1), "kind"), "the DataFrame: .*'bill' 2 times"),
        (lambda: data.load_table(pd.DataFrame({1: [2], "1": [3]})), "the DataFrame: more than one column '1'"),
        (
            lambda: data.load_table(PANDAS.assign(bill=PANDAS["bill"].astype(object).where(PANDAS.index != 7, "oops"))),
            "the DataFrame: row 7, column bill: 'oops', expected a finite number",
        ),
        (lambda: tg.fit(model(3), PANDAS), r"of type DataFrame, expected .*; of a DataFrame .*\(frame, 'name'\)"),
    ],
)
def test_what_is_wrong_with_a_frame_is_told(call, message):
    with pytest.raises((data.DataError, TypeError), match=message):
        call()


def test_new_rows_that_lack_columns_are_refused():
    made = model(14)
    tg.fit(made, (PANDAS, "kind"), epochs=1, progress=False)
    with pytest.raises(data.DataError, match="the DataFrame: no column 'bill', 'ringed', which"):
        tg.predict(made, PANDAS[["island", "seen", "count"]])


def test_without_narwhals_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "narwhals.stable.v2", None)
    with pytest.raises(ImportError, match=r"a DataFrame is read through narwhals: pip install 'tinygrad-ce\[tables\]'"):
        data.load_table(PANDAS, "kind")
    assert data.load_table(TABLE, "kind").x.shape == (80, 14)


@pytest.mark.parametrize(
    ("name", "content", "reader"),
    [("t.parquet", b"PAR1", "parquet"), ("t.xlsx", b"PK\3\4", "excel"), ("t.xls", b"\xd0\xcf\x11\xe0", "excel"),
     ("t.feather", b"ARROW1", "feather")],
)  # fmt: skip
def test_files_of_other_kinds_are_left_to_their_libraries(name, content, reader, capsys):
    with open(name, "wb") as file:
        file.write(content + bytes(100))
    with pytest.raises(data.DataError, match=rf"{name}: .*load_table\(pandas.read_{reader}\(FILE\)"):
        data.load_table(name)
    assert main(["train", "t.csv", "--quiet", "--epochs", "1"]) == 0
    for argv in (["train", name, "--run", "r"], ["evaluate", "t-run", name], ["predict", "t-run", name]):
        capsys.readouterr()
        assert main(argv) == 2
        assert f"pandas.read_{reader}('{name}').to_csv('t.csv', index=False)" in capsys.readouterr().err
