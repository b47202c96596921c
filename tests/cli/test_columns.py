"""Tables of text, dates and missing values on the command line: the plan printed, overruled, kept and repeated."""

import csv
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import data
from tinygrad_ce.cli import inputs, main
from tinygrad_ce.data.columns import Plan
from tinygrad_ce.train import checkpoint, classifier

QUIET = ["--quiet", "--epochs", "3"]
HEAD = "island;bill;seen;code;kind"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = []
    for i in range(120):
        kind = int(rng.integers(0, 2))
        bill = "" if i % 10 == 3 else f"{39 + 6 * kind + rng.normal():.1f}".replace(".", ",")
        rows.append(
            f"{['Reef', 'Hill', 'Sea'][(i + kind) % 3]};{bill};2024-0{i % 9 + 1}-1{i % 9};{i % 4};{['a', 'b'][kind]}"
        )
    (tmp_path / "birds.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    return tmp_path


def printed(capsys, *argv):
    """What a command that succeeds prints."""
    capsys.readouterr()
    assert main(list(argv)) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys, *argv):
    """The one line that a command ends with that fails."""
    capsys.readouterr()
    assert main(list(argv)) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    return error[0]


def about(run="birds-run"):
    return classifier.load(Path(run, "model.npz"))[1]


def test_train_prints_the_plan_and_keeps_it(capsys):
    out = printed(capsys, "train", "birds.csv", "--dry-run")
    assert (
        "table      separated by semicolons, decimal commas\n"
        "label      kind\n"
        "columns    island  category, 3 values\n"
        "           bill    number, median "
    ) in out
    assert "           seen    date, year, month, weekday and day of the year\n" in out
    assert "           code    number\n" in out
    assert os.listdir() == ["birds.csv"]
    out = printed(capsys, "train", "birds.csv", *QUIET)
    plan = Plan.from_json(about()["columns"])
    assert plan == data.load_table("birds.csv", held=(0.2,)).plan
    assert about()["names"] == plan.features
    assert about()["features"] == len(plan.features) == 10
    test = data.split(data.load_table("birds.csv"), 0.2)[1]
    share = np.bincount(test.y).max() / len(test.y)
    assert f"accuracy of always saying {test.classes[np.bincount(test.y).argmax()]}: {share:.4f}" in out


def test_the_plan_can_be_overruled_here_and_in_a_config(capsys):
    argv = ["--drop", "bill,seen", "--category", "code", "--run", "r"]
    out = printed(capsys, "train", "birds.csv", *QUIET, *argv)
    for line in ("bill    left out: as asked", "seen    left out: as asked", "code    category, 4 values"):
        assert line in out
    found = tomllib.loads(Path("r/config.toml").read_text())
    assert found["columns"] == {"drop": ["bill", "seen"], "category": ["code"]}
    again = printed(capsys, "train", "--config", "r/config.toml", "--run", "s")
    assert Path("r/model.npz").read_bytes() == Path("s/model.npz").read_bytes()
    assert again.split("run  ")[0] == out.split("run  ")[0]
    Path("c.toml").write_text('data = "birds.csv"\n[columns]\nnumber = ["a, b", "code"]\n')
    error = refused(capsys, "train", "--config", "c.toml")
    assert "birds.csv: no column 'a, b' to drop or to take as asked; there are island, bill, seen, code" in error
    for text, message in (
        ("[columns]\nlr = 3\n", "c.toml: columns: {'lr': 3}, expected a section with some of drop, category, number"),
        ("columns = 3\n", "c.toml: columns: 3, expected a section"),
        ('[columns]\nheader = "maybe"\n', "c.toml: header: invalid choice: 'maybe'"),
    ):
        Path("c.toml").write_text(text)
        assert message in refused(capsys, "train", "birds.csv", "--config", "c.toml")
    error = refused(capsys, "train", "birds.csv", "--number", "island")
    assert "line 2, column island: 'Hill', expected a finite number (3 such values)" in error
    for option in (["--drop", "a"], ["--header", "yes"], ["--classes"]):
        assert "is for a table whose columns are found out" in refused(capsys, "train", "digits", *option)


def test_a_quantity_is_refused_unless_one_insists(capsys):
    Path("q.csv").write_text("\n".join(["n,price", *(f"{i % 6},{(i % 30) * 1.5}" for i in range(120))]))
    assert "column price: 30 different numbers in 120 rows: a quantity?" in refused(capsys, "train", "q.csv")
    assert "30 classes" in printed(capsys, "train", "q.csv", "--classes", *QUIET)
    assert "classes = true" in Path("q-run/config.toml").read_text()
    printed(capsys, "train", "--config", "q-run/config.toml", "--dry-run")
    printed(capsys, "evaluate", "q-run")


def test_a_training_is_resumed_by_the_plan_it_began_with(capsys):
    printed(capsys, "train", "birds.csv", *QUIET, "--run", "a")
    printed(capsys, "train", "birds.csv", "--quiet", "--epochs", "2", "--run", "b")
    printed(capsys, "train", "birds.csv", *QUIET, "--run", "b", "--resume")
    assert Path("a/model.npz").read_bytes() == Path("b/model.npz").read_bytes()
    error = refused(capsys, "train", "birds.csv", "--run", "a", "--resume", "--drop", "bill")
    assert "a/model.npz: was trained with drop None, now it is ['bill']" in error


def test_a_stream_of_a_table_goes_by_the_same_plan(capsys):
    argv = ["train", "birds.csv", "--stream", "--drop", "code", "--run", "s"]
    out = printed(capsys, *argv, *QUIET)
    plan = data.load_table("birds.csv", drop=["code"]).plan
    assert Plan.from_json(about("s")["columns"]) == plan
    assert about("s")["names"] == plan.features
    for line in str(plan).splitlines():
        assert line in out
    assert printed(capsys, "evaluate", "s").split(" of ")[0] == out.split("\n\n")[1].split(" held")[0]
    whole = printed(capsys, "evaluate", "s", "birds.csv")
    assert printed(capsys, "evaluate", "s", "birds.csv", "--stream") == whole
    answers = list(csv.reader(printed(capsys, "predict", "s", "birds.csv").splitlines()))
    model, _ = classifier.load("s/model.npz")
    x = data.load_rows("birds.csv", plan)
    assert [row[0] for row in answers[1:]] == [plan.classes[c] for c in tg.predict(model, x)]
    before = Path("s/model.npz").read_bytes()
    printed(capsys, *argv, "--quiet", "--epochs", "2", "--replace")
    printed(capsys, *argv, *QUIET, "--resume")
    assert Path("s/model.npz").read_bytes() == before


def test_a_stream_that_began_without_a_plan_goes_on_so(capsys):
    Path("t.csv").write_text("\n".join(f"{i},7,{i % 5},{i % 2}" for i in range(60)))
    argv = ["train", "t.csv", "--stream", "--run", "s"]
    with pytest.MonkeyPatch.context() as patch:
        real = inputs.load
        patch.setattr(inputs, "load", lambda args, plan=None, strict=False: real(args, plan, strict=True))
        printed(capsys, *argv, *QUIET)
        assert "columns" not in about("s")
        whole = Path("s/model.npz").read_bytes()
        printed(capsys, *argv, "--quiet", "--epochs", "2", "--replace")
    printed(capsys, *argv, *QUIET, "--resume")
    assert Path("s/model.npz").read_bytes() == whole
    assert printed(capsys, "evaluate", "s")
    printed(capsys, *argv, *QUIET, "--replace")
    assert about("s")["features"] == 2  # without the constant


def test_evaluate_knows_the_label_and_the_columns(capsys):
    trained = printed(capsys, "train", "birds.csv", *QUIET)
    score = trained.split("\n\n")[1].split(" held")[0]
    assert printed(capsys, "evaluate", "birds-run").startswith(f"{score} of birds.csv\n")
    whole = printed(capsys, "evaluate", "birds-run", "birds.csv").splitlines()[0]
    rows = [line.split(";") for line in Path("birds.csv").read_text().splitlines()]
    order = [4, 2, 0, 1, 3]
    other = ["\t".join(["more", *(row[i].replace(",", ".") if i == 1 else row[i] for i in order)]) for row in rows]
    Path("new.tsv").write_text("\n".join([*other, "\t".join(["more", "", "2024-01-01", "Reef", "", "1"])]))
    os.rename("birds-run/model.npz", "m.npz")
    assert printed(capsys, "evaluate", "m.npz", "new.tsv").splitlines()[0] == whole.replace("birds.csv", "new.tsv")
    assert "on 120 rows" in whole
    np.save("x.npy", np.zeros((2, 10)))
    for argv in (["predict", "m.npz", "x.npy"], ["evaluate", "m.npz", "x.npy", "x.npy"]):
        assert "no table, expected one with the columns that the model was trained on" in refused(capsys, *argv)


def test_predict_takes_rows_as_they_come_and_keeps_their_order_and_columns(capsys):
    printed(capsys, "train", "birds.csv", *QUIET)
    Path("new.csv").write_text(
        'code,note,bill,seen,island\n3,"so, so",45.1,2024-05-05,Atlantis\n1,,NA,,Hill\n\n2,x,38.5,2024-02-02,\n'
    )
    head, *rows = csv.reader(printed(capsys, "predict", "birds-run", "new.csv", "--keep").splitlines())
    assert head == ["code", "note", "bill", "seen", "island", "prediction", "p(a)", "p(b)"]
    assert [row[:5] for row in rows] == [
        ["3", "so, so", "45.1", "2024-05-05", "Atlantis"],
        ["1", "", "NA", "", "Hill"],
        ["2", "x", "38.5", "2024-02-02", ""],
    ]
    model, found = classifier.load("birds-run/model.npz")
    p = tg.softmax(tg.train.logits(model, data.load_rows("new.csv", Plan.from_json(found["columns"]))))
    np.testing.assert_array_equal(np.array([row[6:] for row in rows], np.float32), p)
    assert [row[5] for row in rows] == [found["classes"][i] for i in p.argmax(axis=1)]
    plain = printed(capsys, "predict", "birds-run", "new.csv").splitlines()
    assert [line.split(",") for line in plain] == [row[5:] for row in [head, *rows]]
    labelled = printed(capsys, "predict", "birds-run", "birds.csv", "--keep").splitlines()
    assert labelled[0] == "island,bill,seen,code,kind,prediction,p(a),p(b)"
    assert len(labelled) == 121
    assert "no column 'bill', 'seen', which" in refused(
        capsys, "predict", "birds-run", _write("n.csv", "island,code\nReef,1\n")
    )
    error = refused(capsys, "predict", "birds-run", _write("n.csv", "island,code,bill,seen\nReef,x,1,2024-01-01\n"))
    assert "n.csv: line 2, column code: 'x', expected a finite number; correct it, as in training" in error
    np.save("x.npy", np.zeros((2, 4)))
    printed(capsys, "train", "iris", *QUIET)
    assert "--keep is for a table; x.npy is none" in refused(capsys, "predict", "iris-run", "x.npy", "--keep")


def _write(name, text):
    Path(name).write_text(text)
    return name


def without_plan(path):
    """A checkpoint as it was before there were plans."""
    groups, meta = checkpoint.load(path)
    del meta["classifier"]["columns"]
    checkpoint.save(path, groups, meta)


def test_checkpoints_without_a_plan_are_used_as_before(capsys):
    rows = [f"{i % 7},{i % 5}.5,{'yes' if i % 7 > 3 else 'no'}" for i in range(70)]
    _write("old.csv", "\n".join(["a,b,label", *rows]))
    for run in ("r", "s"):
        printed(capsys, "train", "old.csv", *QUIET, "--run", run)
    without_plan("s/model.npz")
    for argv in ([], ["old.csv"]):
        assert printed(capsys, "evaluate", "s", *argv) == printed(capsys, "evaluate", "r", *argv)
    _write("new.csv", "b,a\n1.5,2\n2.5,3\n")
    assert printed(capsys, "predict", "s", "new.csv") == printed(capsys, "predict", "r", "new.csv")
    _write("gap.csv", "b,a\n,2\n")
    assert "a missing value: fill it in" in refused(capsys, "predict", "s", "gap.csv")
    printed(capsys, "train", "old.csv", "--quiet", "--epochs", "4", "--run", "r", "--resume")
    printed(capsys, "train", "old.csv", "--quiet", "--epochs", "4", "--run", "s", "--resume")
    without_plan("r/model.npz")
    assert Path("r/model.npz").read_bytes() == Path("s/model.npz").read_bytes()


def test_what_the_training_did_not_see_is_a_line_on_standard_error(capsys):
    printed(capsys, "train", "birds.csv", *QUIET, "--missing", "Hill", "--run", "r")
    assert about("r")["columns"]["missing"] == about("r")["missing"] == ["Hill"]
    _write("new.csv", "island;bill;seen;code;kind\nMoon;4,5;2024-01-01;;a\nHill;;2024-01-01;3;\n")
    for argv, more in ((["predict", "r", "new.csv"], 0), (["evaluate", "r", "new.csv"], 1)):
        capsys.readouterr()
        assert main(argv) == 0
        said = capsys.readouterr().err.splitlines()
        assert said[:2] == [
            "tinygrad-ce: warning: new.csv: column island: 1 rows with a value that is none of its 2, such as 'Moon'",
            "tinygrad-ce: warning: new.csv: column code: 1 rows without a value, as the training had none",
        ]
        assert said[2:] == more * ["tinygrad-ce: warning: new.csv: rows without a label, which are left out: 1"]
    assert tomllib.loads(Path("r/config.toml").read_text())["columns"] == {"missing": ["Hill"]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "columns: [], expected a dict"),
        ({"columns": []}, "columns: label None, expected str"),
        ({**Plan([], "kind").as_json()}, "columns: they make 0, expected 10 features"),
    ],
)
def test_a_damaged_plan_is_a_damaged_checkpoint(value, message, capsys):
    printed(capsys, "train", "birds.csv", *QUIET)
    groups, meta = checkpoint.load("birds-run/model.npz")
    meta["classifier"]["columns"] = value
    checkpoint.save("birds-run/model.npz", groups, meta)
    error = refused(capsys, "evaluate", "birds-run")
    assert f"birds-run/model.npz: holds no classifier of the command line: {message}" in error
