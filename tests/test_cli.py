"""The command line, as a user runs it."""

import subprocess
import sys

import numpy as np
import pytest

from tinygrad_ce import data
from tinygrad_ce.cli import main


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_train_digits_shows_accuracy_confusion_and_where_the_model_is(capsys, elsewhere):
    assert main(["train", "digits"]) == 0
    out = capsys.readouterr().out
    assert "1438 rows to train on, 359 held out" in out
    accuracy = float(out.split("test accuracy ")[1].split()[0])
    assert accuracy >= 0.95
    assert "recall" in out
    assert "model saved to digits-model.npz" in out
    first = (elsewhere / "digits-model.npz").read_bytes()
    assert main(["train", "digits", "--quiet"]) == 0
    assert (elsewhere / "digits-model.npz").read_bytes() == first


def test_predict_gives_the_names_of_classes(capsys, elsewhere):
    assert main(["train", "iris", "--quiet", "--save", "m.npz"]) == 0
    iris = data.load_iris()
    np.savetxt("f.csv", iris.x, delimiter=",", header="a,b,c,d", comments="")
    np.savez("f.npz", x=iris.x)
    answers = []
    for file in ("f.csv", "f.npz"):
        capsys.readouterr()
        assert main(["predict", "m.npz", file]) == 0
        answers.append(capsys.readouterr().out.splitlines())
    assert answers[0] == answers[1]
    assert answers[0][0] == "prediction"
    right = np.array(answers[0][1:]) == np.array(iris.classes)[iris.y]
    assert right.mean() > 0.93


def test_train_on_files(capsys, elsewhere):
    iris = data.load_iris()
    rows = ["sepal length,sepal width,petal length,petal width,species"]
    rows += [",".join([*map(str, x), iris.classes[y]]) for x, y in zip(iris.x, iris.y, strict=True)]
    (elsewhere / "flowers.csv").write_text("\n".join(rows))
    assert main(["train", "flowers.csv", "--label", "species", "--quiet", "--hidden", "8", "--optimizer", "adam"]) == 0
    assert "versicolor" in capsys.readouterr().out
    assert (elsewhere / "flowers-model.npz").exists()


def test_predict_goes_by_column_names(capsys, elsewhere):
    rows = [f"{i % 2},{5 - i % 2 * 5}.5,{'yes' if i % 2 else 'no'}" for i in range(40)]
    (elsewhere / "a.csv").write_text("\n".join(["wide,long,label", *rows]))
    (elsewhere / "b.csv").write_text("long,label,wide\n0.5,?,1\n5.5,?,0\n")
    (elsewhere / "c.csv").write_text("long,high\n0.5,1\n")
    assert main(["train", "a.csv", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["predict", "a-model.npz", "b.csv"]) == 0
    assert capsys.readouterr().out.split() == ["prediction", "yes", "no"]
    assert main(["predict", "a-model.npz", "c.csv"]) == 2
    assert "no column 'wide', which the model was trained on" in capsys.readouterr().err


def test_train_refuses_to_overwrite_what_is_no_model_and_labels_that_are_none(capsys, elsewhere):
    rows = ["1,2,a", "2,3,b"] * 10
    (elsewhere / "a.csv").write_text("\n".join(rows))
    assert main(["train", "a.csv", "--save", "a.csv"]) == 2
    assert "a.csv: the file exists and is no model" in capsys.readouterr().err
    assert (elsewhere / "a.csv").read_text() == "\n".join(rows)
    (elsewhere / "b.csv").write_text("\n".join([*rows, "3,4,"]))
    assert main(["train", "b.csv"]) == 2
    assert "line 21, column 2: no label" in capsys.readouterr().err
    (elsewhere / "c.csv").write_text("\n".join(f"1,2,{i}.5" for i in range(20)))
    assert main(["train", "c.csv"]) == 2
    assert "20 different labels in 20 rows; is the label in the last column?" in capsys.readouterr().err


def test_resume_gives_the_same_file_as_one_run(capsys, elsewhere):
    options = ["train", "moons", "--hidden", "8", "--quiet"]
    assert main([*options, "--epochs", "6", "--save", "a.npz"]) == 0
    assert main([*options, "--epochs", "3", "--save", "b.npz"]) == 0
    assert main([*options, "--epochs", "6", "--save", "b.npz", "--resume"]) == 0
    assert (elsewhere / "a.npz").read_bytes() == (elsewhere / "b.npz").read_bytes()
    assert main([*options, "--save", "b.npz", "--resume", "--seed", "4"]) == 2
    assert "was trained with seed 0, now it is 4" in capsys.readouterr().err


def test_patience_and_plot(capsys, elsewhere):
    assert (
        main(
            [
                "train",
                "moons",
                "--quiet",
                "--hidden",
                "16",
                "--optimizer",
                "adam",
                "--lr",
                "0.3",
                "--patience",
                "3",
                "--plot",
            ]
        )
        == 0
    )
    assert "stopped after epoch" in capsys.readouterr().out
    assert (elsewhere / "moons-model.png").read_bytes().startswith(b"\x89PNG")


def test_gradcheck_prints_every_operator_and_succeeds(capsys):
    assert main(["gradcheck"]) == 0
    out = capsys.readouterr().out
    assert "cross_entropy" in out
    assert "FAILED" not in out
    assert main(["gradcheck", "softmax", "--dtype", "float32"]) == 0


def test_gradcheck_fails_where_a_rule_is_wrong(capsys, monkeypatch):
    import tinygrad_ce as tg

    made = tg.exp.primitive
    monkeypatch.setattr(made, "rules", [lambda g, y, x: g * y * 1.001])
    assert main(["gradcheck", "exp"]) == 1
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "<- wrong" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "nothing.csv"], "nothing.csv: No such file or directory"),
        (["train", "digits", "--epochs", "0"], "argument --epochs: '0', expected a whole number of at least 1"),
        (["train", "digits", "--lr", "-1"], "argument --lr: '-1', expected a number above 0"),
        (["train", "digits", "--lr", "nan"], "argument --lr: 'nan'"),
        (["train", "digits", "--hidden", "8,x"], "argument --hidden: '8,x', expected widths like 32,32"),
        (["train", "digits", "--seed", "-3"], "argument --seed"),
        (["train", "digits", "--optimizer", "lion"], "invalid choice: 'lion'"),
        (["train", "digits", "--save", "no/where.npz"], "the folder no does not exist"),
        (["train", "digits", "--resume"], "digits-model.npz: No such file"),
        (["train", "x.parquet"], "expected a .csv file, a .npz file, or two IDX files"),
        (["predict", "none.npz", "none.csv"], "none.npz: No such file"),
        (["gradcheck", "sofmax"], "no operator 'sofmax'; there are abs"),
        (["train", "digit"], "no such data set; there are digits, iris"),
        (["train", "digits", "iris"], "expected one data set"),
        (["train", "digits", "--label", "species"], "--label is for a .csv"),
        (["tain"], "invalid choice: 'tain'"),
        ([], "required"),
    ],
)
def test_bad_arguments_and_files_are_one_line_and_exit_2(argv, message, capsys):
    try:
        code = main(argv)
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err.splitlines()
    assert code == 2
    assert message in error[-1]
    assert sum("error:" in line for line in error) == 1


def test_bad_predict_files(capsys, elsewhere):
    assert main(["train", "iris", "--quiet", "--epochs", "1"]) == 0
    capsys.readouterr()
    (elsewhere / "wide.csv").write_text("1,2,3,4,setosa\n")
    assert main(["predict", "iris-model.npz", "wide.csv"]) == 2
    assert "rows of 5 columns, but the model takes 4 features; without the label's column" in capsys.readouterr().err
    (elsewhere / "iris-model.npz").write_bytes(b"PK\3\4 no")
    assert main(["predict", "iris-model.npz", "wide.csv"]) == 2
    assert "no whole checkpoint" in capsys.readouterr().err


def test_help_has_examples(capsys):
    for argv in (["--help"], ["train", "--help"], ["predict", "--help"], ["gradcheck", "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 0
        assert "example" in capsys.readouterr().out


def test_it_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "tinygrad_ce", "gradcheck", "exp"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "1 of 1 operators agree" in done.stdout
