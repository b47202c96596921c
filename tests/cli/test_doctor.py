"""The command doctor, and the film of a training on the command line."""

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import cli
from tinygrad_ce.cli import main


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def said(capsys, code, *argv):
    """What a command prints that ends with a code."""
    capsys.readouterr()
    assert main(list(argv)) == code
    out, error = capsys.readouterr()
    return error if code == 2 else out


def test_it_finds_nothing_in_a_healthy_run(capsys):
    said(capsys, 0, "train", "moons", "--hidden", "16", "--quiet", "--epochs", "30", "--patience", "20")
    assert said(capsys, 0, "doctor", "moons-run", "--page", "found.html").startswith("nothing found by 22 checks\n")
    assert "The training" in Path("found.html").read_text("utf-8")


def test_it_names_what_is_wrong_with_a_run(capsys):
    said(capsys, 0, "train", "moons", "--hidden", "16", "--quiet", "--epochs", "5", "--lr", "1e-6")
    found = said(capsys, 1, "doctor", "moons-run")
    assert "learning rate too low: in 30 steps, 1e-06 makes 1 times the loss" in found


def test_a_table_of_ones_own_is_found_again(capsys):
    rng = np.random.default_rng(0)
    rows = [f"{a:.4f},{b:.4f},{'yes' if (k := a > 0) else 'no'},{int(k) + 7}.5" for a, b in rng.normal(size=(200, 2))]
    Path("mine.csv").write_text("\n".join(["width,height,answer,copied", *rows]))
    said(capsys, 0, "train", "mine.csv", "--label", "answer", "--quiet", "--epochs", "3")
    assert "label among the features: feature 2 has a correlation of 1.000000" in said(capsys, 1, "doctor", "mine-run")
    Path("mine.csv").unlink()
    assert "mine.csv: not found; a run's data is looked for" in (error := said(capsys, 2, "doctor", "mine-run"))
    assert "DATA" not in error


def test_mislabelled_rows_are_named_by_their_places_in_the_file(capsys):
    rng = np.random.default_rng(0)
    y = np.arange(500) % 2
    x = rng.normal(size=(500, 2)) + 10 * y[:, None]
    y[100:115] ^= 1
    rows = [f"{a:.4f},{b:.4f},{'ny'[k]}" for (a, b), k in zip(x, y, strict=True)]
    Path("mine.csv").write_text("\n".join(["a,b,label", *rows]))
    said(capsys, 0, "train", "mine.csv", "--quiet", "--epochs", "5", "--film")
    rows = re.findall(r"(\d+) \([ny], like", said(capsys, 1, "doctor", "mine-run"))
    assert len(rows) == 5
    assert set(map(int, rows)) <= {*range(100, 115)}
    worst = json.loads(re.search(r'id="data">(.*?)</script>', Path("mine-run/training.html").read_text("utf-8"))[1])
    held = {row["place"] for row in worst["rows"] if 100 <= row["place"] < 115}
    assert held


def test_a_page_that_cannot_be_written_is_named(capsys):
    said(capsys, 0, "train", "iris", "--quiet", "--epochs", "2")
    assert "nowhere/found.html" in (error := said(capsys, 2, "doctor", "iris-run", "--page", "nowhere/found.html"))
    assert ".part" not in error


def test_what_is_no_run_or_of_another_version_is_an_error_of_one_line(capsys):
    said(capsys, 0, "train", "iris", "--quiet", "--epochs", "2")
    assert said(capsys, 2, "doctor", "iris-run/figures").count("\n") == 1
    path = Path("iris-run/config.toml")
    old = path.read_text()
    path.write_text(re.sub(r"^# tinygrad-ce [^:]+:(.*)\n", r"# tinygrad-ce 0.0.1:\1\nmomentum = 3\n", old))
    error = said(capsys, 2, "doctor", "iris-run")
    assert error.count("\n") == 1
    assert f"iris-run: written by version 0.0.1, this is {tg.__version__}: iris-run/config.toml: momentum: no" in error
    path.write_text(old + "momentum = 3\n")
    assert "written by" not in said(capsys, 2, "doctor", "iris-run")


def test_a_training_leaves_its_film(capsys):
    out = said(capsys, 0, "train", "moons", "--quiet", "--epochs", "3", "--film")
    assert "training.html" in out.splitlines()[-1]
    page = Path("moons-run/training.html")
    assert '"epoch":3,' in page.read_text("utf-8")
    before = page.read_bytes()
    said(capsys, 0, "train", "--run", "moons-run", "--resume")  # it has nothing to do
    assert page.read_bytes() == before
    said(capsys, 0, "train", "moons", "--quiet", "--epochs", "3", "--replace")
    assert not page.exists()


def test_a_warning_is_one_line(capsys, monkeypatch):
    monkeypatch.setitem(cli._COMMANDS, "evaluate", lambda args: warnings.warn("fit: a word", stacklevel=1) or 0)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert cli.main(["evaluate", "run"]) == 0
    assert capsys.readouterr().err == "tinygrad-ce: warning: fit: a word\n"
