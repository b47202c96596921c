"""The command line, as a user runs it."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
import tracemalloc
import types
from pathlib import Path

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import data
from tinygrad_ce.cli import apply, arguments, config, inputs, main, study, summary, train
from tinygrad_ce.common import files
from tinygrad_ce.engine.primitive import registry
from tinygrad_ce.train import checkpoint, classifier

LAUNCHED = ("PMI_SIZE", "PMI_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")
QUIET = ["--quiet", "--epochs", "2"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def flowers(elsewhere):
    """A table with names for its columns and classes."""
    iris = data.load_iris()
    rows = ["sepal length,sepal width,petal length,petal width,species"]
    rows += [",".join([*map(str, x), iris.classes[y]]) for x, y in zip(iris.x.tolist(), iris.y, strict=True)]
    (elsewhere / "flowers.csv").write_text("\n".join(rows))
    return iris


def printed(capsys, *argv):
    """What a command that succeeds prints."""
    capsys.readouterr()
    assert main(list(argv)) == 0
    return capsys.readouterr().out


def refused(capsys, *argv):
    """The one line that a command ends with that fails."""
    capsys.readouterr()
    try:
        code = main(list(argv))
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err.splitlines()
    assert code == 2
    assert sum("error:" in line for line in error) == 1
    return error[-1]


def weights(folder, group="model"):
    return checkpoint.load(Path(folder) / "model.npz")[0][group]


# train


def test_train_digits_says_what_it_does_and_writes_a_run(capsys, elsewhere):
    out = printed(capsys, "train", "digits")
    lines = {line[:11].strip(): line[11:] for line in out.split("\nepoch")[0].splitlines()}
    assert lines["data"] == "digits: 1,438 rows to train on, 359 held out for the test"
    each = np.bincount(data.split(data.load_digits(), 0.2)[0].y)
    assert lines[""] == f"64 features, 10 classes of {each.min()} to {each.max()} rows"
    assert lines["model"] == "64 -> 10, 650 parameters"
    assert lines["optimiser"] == "sgd with momentum 0.9, learning rate 0.02"
    assert lines["steps"] == "45 epochs of 45 steps = 2,025, 32 rows in each"
    assert float(out.split("test accuracy ")[1].split()[0]) >= 0.95
    assert "epoch 45/45  training: loss " in out
    assert "recall" in out
    files = ["config.toml", "metrics.csv", "model.npz", "confusion.csv"]
    drawing = "train --config digits-run/config.toml --resume --figures"
    assert out.endswith(f"\nsaved in digits-run/: {', '.join(files)}\nfigures, too: tinygrad-ce {drawing}\n")
    assert sorted(p.name for p in Path("digits-run").rglob("*.*")) == sorted(files)
    first = Path("digits-run/model.npz").read_bytes()
    assert "digits-run: holds a run of 45 epochs; --resume goes on" in refused(capsys, "train", "digits", "--quiet")
    assert Path("digits-run/model.npz").read_bytes() == first
    printed(capsys, "train", "digits", "--quiet", "--replace")
    assert Path("digits-run/model.npz").read_bytes() == first


def test_figures_are_drawn_where_they_are_asked_for(capsys, elsewhere, monkeypatch):
    printed(capsys, "train", "iris", *QUIET)
    trained = Path("iris-run/model.npz").read_bytes()
    figures = [Path("iris-run/figures", name) for name in ("training.png", "confusion.png")]
    again = ["train", "--config", "iris-run/config.toml", "--resume", "--figures"]
    assert printed(capsys, *again).endswith(", confusion.csv, figures/training.png, figures/confusion.png\n")
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in figures)
    assert Path("iris-run/model.npz").read_bytes() == trained
    printed(capsys, "train", "iris", "--epochs", "3", "--quiet", "--resume")  # whose figures they are not
    assert not any(path.exists() for path in figures)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "--figures needs matplotlib: pip install 'tinygrad-ce[plot]'" in refused(capsys, *again)


def test_the_tables_of_a_run(capsys, elsewhere):
    out = printed(capsys, "train", "iris", "--epochs", "3", "--patience", "2")
    with open("iris-run/metrics.csv") as file:
        metrics = list(csv.DictReader(file))
    assert [row["epoch"] for row in metrics] == ["1", "2", "3"]
    last = re.search(r"epoch 3/3  training: loss (.*), accuracy (.*); validation: loss (.*), accuracy (.*)", out)
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    assert [f"{float(metrics[-1][name]):.4f}" for name in names] == list(last.groups())
    with open("iris-run/confusion.csv") as file:
        head, *rows = csv.reader(file)
    assert head[1:] == [row[0] for row in rows] == list(data.load_iris().classes)
    counts = np.array([row[1:] for row in rows], int)
    test = data.split(data.load_iris(), 0.2)[1]
    model, _ = classifier.load("iris-run/model.npz")
    np.testing.assert_array_equal(counts, tg.confusion_matrix(test.y, tg.predict(model, test.x), 3))
    loss = float(tg.cross_entropy(tg.train.logits(model, test.x), test.y))
    assert f"test accuracy {counts.trace() / 30:.4f} and loss {loss:.4g} on 30 rows held out" in out


@pytest.mark.parametrize(
    ("rows", "width", "argv"),
    [(40_000, 200, []), (200, 20, ["--hidden", "1500,1000", "--optimizer", "adam", "--patience", "2"]),
     (6000, 50, ["--hidden", "500,500", "--batch-size", "4096"])],
)  # fmt: skip
def test_the_memory_it_announces_is_what_it_takes(rows, width, argv, capsys):
    rng = np.random.default_rng(0)
    np.savez("r.npz", x=rng.standard_normal((rows, width), np.float32), y=rng.integers(0, 10, rows))
    tracemalloc.start()
    try:
        out = printed(capsys, "train", "r.npz", *argv, "--quiet", "--epochs", "1")
        taken = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
    units = {"KiB": 2**-10, "MiB": 1}
    sizes = re.findall(r"([\d.,]+) ([KM]iB)", re.search("memory .*", out)[0])
    total, *parts = (float(size.replace(",", "")) * units[unit] for size, unit in sizes)
    assert sum(parts) == pytest.approx(total, abs=0.2)
    assert 0.5 < total / taken < 2, (total, taken)


def test_the_plan_counts_what_there_is(capsys):
    out = printed(
        capsys, "train", "digits", "--dry-run", "--epochs", "1", "--batch-size", "1000", "--accumulate", "100"
    )
    assert "\nsteps      1 epoch of 1 step = 1, 1,438 rows in each, in 2 batches\n" in out
    assert out.endswith("\nrun        digits-run/\n")
    Path("few.csv").write_text("1,a\n2,b\n" * 5)
    out = printed(capsys, "train", "few.csv", "--dry-run")
    assert "1 feature, 2 classes of 4 rows\n" in out
    assert "steps      2,000 epochs of 1 step = 2,000, 8 rows in each\n" in out
    sizes = re.findall(r"([\d.]+) KiB", re.search("memory .*", out)[0])
    assert len(sizes) == 4
    assert min(map(float, sizes)) > 0
    Path("one.csv").write_text("1,a\n" * 6)
    assert "one.csv: 1 different label in 6 rows; is" in refused(capsys, "train", "one.csv")


def test_a_dry_run_writes_nothing(capsys, elsewhere):
    assert "memory" in printed(capsys, "train", "digits", "--dry-run", "--tensorboard")
    assert os.listdir(elsewhere) == []


BY_HAND = {
    "--accumulate": (["--accumulate", "3"], lambda o: {"accumulate": 3}),
    "--class-weight": (["--class-weight", "balanced"], lambda o: {"class_weight": "balanced"}),
    "--clip": (["--clip", "0.01"], lambda o: {"callbacks": [tg.train.ClipGradNorm(0.01)]}),
    "--ema": (["--ema", "0.9"], lambda o: {"callbacks": [tg.train.EMA(0.9)]}),
    "--seed": (["--seed", "3"], lambda o: {"seed": 3}),
    "--batch-size": (["--batch-size", "7"], lambda o: {"batch_size": 7}),
    "--schedule": (["--schedule", "plateau"],
                   lambda o: {"schedule": tg.optim.ReduceLROnPlateau(o, factor=0.3, patience=3)}),
}  # fmt: skip


@pytest.mark.parametrize(("argv", "by_hand"), BY_HAND.values(), ids=BY_HAND)
def test_options_reach_the_training(argv, by_hand, capsys):
    Path("few.csv").write_text("\n".join(f"{i % 7},{i % 5},{'rare' if i % 6 == 0 else 'often'}" for i in range(60)))
    printed(capsys, "train", "few.csv", "--quiet", "--epochs", "12", "--lr", "0.5", *argv)
    train = data.split(data.load_csv("few.csv"), 0.2)[0]
    seed = int(argv[1]) if argv[0] == "--seed" else 0
    model = classifier.make(2, 2, moments=data.stream(train).moments(), seed=seed)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    tg.fit(model, train, epochs=12, optimizer=optimizer, progress=False, **by_hand(optimizer))
    plain = classifier.make(2, 2, moments=data.stream(train).moments())
    sgd = tg.optim.SGD(plain.parameters(), lr=0.5, momentum=0.9)
    tg.fit(plain, train, epochs=12, optimizer=sgd, progress=False)
    found = weights("few-run")
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(found[name], array)
    assert not np.array_equal(found["1.weight"], plain.state_dict()["1.weight"])


@pytest.mark.parametrize(
    ("schedule", "rate"),
    [
        ("constant", lambda t, rest: 1.0),
        ("step", lambda t, rest: 0.1 ** (3 * t // rest)),
        ("cosine", lambda t, rest: (1 + np.cos(np.pi * t / rest)) / 2),
    ],
)
def test_the_rate_warms_up_and_follows_its_schedule(schedule, rate, capsys):
    printed(capsys, "train", "iris", "--quiet", "--epochs", "9", "--warmup", "3", "--schedule", schedule, "--lr", "0.1")
    found = np.genfromtxt("iris-run/metrics.csv", delimiter=",", names=True)["lr"]
    warm, rest = 3 * 4, 6 * 4  # 120 rows are 4 steps of 32
    first = [1 / warm + (1 - 1 / warm) * t / warm for t in (0, 4, 8)]
    np.testing.assert_allclose(found, 0.1 * np.array([*first, *(rate(t, rest) for t in range(0, rest, 4))]), rtol=1e-12)


def test_train_on_files(capsys, flowers):
    argv = ("train", "flowers.csv", "--label", "species", "--quiet", "--hidden", "8", "--optimizer", "adam")
    assert "versicolor" in printed(capsys, *argv, "--epochs", "20")
    assert Path("flowers-run/model.npz").exists()


def test_what_is_larger_than_memory_is_streamed(capsys, flowers):
    rng = np.random.default_rng(0)
    digits = data.load_digits()
    images, labels = (digits.x.reshape(-1, 8, 8) * 16).astype(np.uint8)[:900], digits.y[:900]
    np.save("a.x.npy", images)
    np.save("a.y.npy", labels)
    Path("shards").mkdir()
    for i, rows in enumerate(np.split(rng.permutation(900), 3)):
        np.savez(f"shards/{i}.npz", x=images[rows], y=labels[rows])
    for name, argv in {
        "a": ["a.x.npy", "a.y.npy"],
        "shards": ["shards"],
        "flowers": ["flowers.csv", "--stream"],
    }.items():
        out = printed(capsys, "train", *argv, "--quiet", "--epochs", "15", "--patience", "9")
        rows = len(flowers.y) if name == "flowers" else 900
        train, validation, test = (
            int(n.replace(",", "")) for n in re.findall(r"([\d,]+) (?:rows to|for val|held)", out)[:3]
        )
        assert (train + validation + test, test) == (rows, rows // 5)
        with open(f"{name}-run/confusion.csv") as file:
            assert sum(int(n) for row in list(csv.reader(file))[1:] for n in row[1:]) == test
        assert float(out.split("test accuracy ")[1].split()[0]) > 0.85
        assert printed(capsys, "evaluate", f"{name}-run").split(" of ")[0] == out.split("\n\n")[1].split(" held")[0]
    whole = data.stream((images.reshape(900, 64), labels)).split(0.2)[0].split(0.15)[0].moments()
    found = weights("a-run")
    np.testing.assert_allclose([found["0.mean"], found["0.scale"]], whole, rtol=1e-6)


def test_train_refuses_folders_that_are_no_runs_and_labels_that_are_none(capsys, elsewhere):
    rows = ["1,2,a", "2,3,b"] * 10
    (elsewhere / "a.csv").write_text("\n".join(rows))
    for name in ("mine", "a-run"):
        (elsewhere / name).mkdir()
        (elsewhere / name / "config.toml").write_text("mine = true\n")
    assert "--run mine: exists and is no run of this program" in refused(capsys, "train", "a.csv", "--run", "mine")
    assert "--run a-run: exists and is no run" in refused(capsys, "train", "a.csv")
    assert "--run a.csv: exists and is no run" in refused(capsys, "train", "a.csv", "--run", "a.csv")
    assert (elsewhere / "a.csv").read_text() == "\n".join(rows)
    assert os.listdir("mine") == os.listdir("a-run") == ["config.toml"]
    assert (elsewhere / "mine" / "config.toml").read_text() == "mine = true\n"
    (elsewhere / "b.csv").write_text("\n".join([*rows, "3,4,", "3,4,NA"]))
    out = printed(capsys, "train", "b.csv", *QUIET)
    assert "note       rows without a label, which are left out: 2\n" in out
    assert "b.csv: 16 rows to train on, 4 held out" in out
    (elsewhere / "c.csv").write_text("\n".join(f"1,2,{i}.5" for i in range(20)))
    error = refused(capsys, "train", "c.csv")
    assert "20 different labels in 20 rows; is the label in the last column?" in error


def test_a_run_trained_anew_keeps_nothing_of_the_old_one(capsys, elsewhere, monkeypatch):
    printed(capsys, "train", "iris", *QUIET, "--tensorboard")
    before = {path: path.read_bytes() for path in Path("iris-run").rglob("*.*")}
    assert "no run" not in refused(capsys, "train", "iris", "--warmup", "999", "--replace")
    assert {path: path.read_bytes() for path in Path("iris-run").rglob("*.*")} == before
    monkeypatch.setattr(tg.optim.SGD, "step", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["train", "iris", *QUIET, "--seed", "1", "--replace"])
    assert sorted(p.name for p in Path("iris-run").rglob("*.*")) == ["config.toml", "metrics.csv"]
    assert tomllib.loads(Path("iris-run/config.toml").read_text())["seed"] == 1


# Folders from strangers


@pytest.mark.parametrize(
    "name", ["confusion.csv", "metrics.csv", "model.npz", "config.toml", "figures", "new", "tensorboard/a"]
)
@pytest.mark.parametrize("how", ["--resume", "--replace"])
def test_no_link_in_a_runs_folder_is_followed(name, how, capsys, elsewhere):
    printed(capsys, "train", "iris", *QUIET)
    link, target = Path("iris-run", name), elsewhere / "mine"
    link.parent.mkdir(exist_ok=True)
    if link.exists():
        os.rename(link, target)
    else:
        target.mkdir() if name == "figures" else target.write_text("precious")
    link.symlink_to(target)
    before = target.read_bytes() if target.is_file() else os.listdir(target)
    for argv in (["iris"], ["--config", "iris-run/config.toml"]):
        error = refused(capsys, "train", *argv, how, "--epochs", "9", "--quiet")
        assert f"--run iris-run: {name} is a symbolic link, expected none in a run's folder" in error
    assert before == (target.read_bytes() if target.is_file() else os.listdir(target))


def test_a_hard_link_in_a_runs_folder_is_replaced(capsys, elsewhere):
    printed(capsys, "train", "iris", *QUIET, "--figures")
    precious = {}
    for path in [path for path in Path("iris-run").rglob("*") if path.is_file()]:
        other = elsewhere / f"mine-{path.name}"
        os.link(path, other)
        precious[other] = other.read_bytes()
    assert len(precious) == 6
    printed(capsys, "train", "iris", "--quiet", "--epochs", "3", "--resume")
    assert {path: path.read_bytes() for path in precious} == precious


def test_a_config_does_not_say_where_to_write(capsys, elsewhere):
    (elsewhere / "other").mkdir()
    printed(capsys, "train", "iris", *QUIET, "--run", "other/finished")
    before = {path: path.read_bytes() for path in Path("other").rglob("*.*")}
    Path("stranger.toml").write_text(f'data = "iris"\nepochs = 1\nrun = "{elsewhere}/other/finished"\nquiet = true\n')
    for argv in ([], ["--replace"]):
        out = printed(capsys, "train", "--config", "stranger.toml", *argv)
        assert f"iris-run/, {'replaces a run of 1 epoch, ' if argv else ''}not the config's " in " ".join(out.split())
    assert {path: path.read_bytes() for path in Path("other").rglob("*.*")} == before
    assert sorted(os.listdir(elsewhere)) == ["iris-run", "other", "stranger.toml"]
    Path("again.toml").write_text("replace = true\n")
    assert "replace: no such option" in refused(capsys, "train", "iris", "--config", "again.toml")


def test_a_trained_run_is_replaced_only_if_asked(capsys, elsewhere):
    printed(capsys, "train", "iris", *QUIET)
    before = Path("iris-run/model.npz").read_bytes()
    words = "--run iris-run: holds a run of 2 epochs; --resume goes on with it, --replace trains it anew"
    for argv in (["iris"], ["iris", "--seed", "1"], ["--config", "iris-run/config.toml"]):
        assert words in refused(capsys, "train", *argv)
    assert "not allowed with argument" in refused(capsys, "train", "iris", "--resume", "--replace")
    assert Path("iris-run/model.npz").read_bytes() == before
    assert "replaces a run of 2 epochs\n" in printed(capsys, "train", "iris", *QUIET, "--seed", "1", "--replace")
    os.rename("iris-run", "b")
    out = printed(capsys, "train", "--config", "b/config.toml", "--replace", "--seed", "0")
    assert "run        b/, replaces a run of 2 epochs\n" in out
    assert Path("b/model.npz").read_bytes() == before


def test_two_trainings_of_one_folder_find_out(capsys, elsewhere):
    printed(capsys, "train", "iris", *QUIET)
    before = Path("iris-run/model.npz").read_bytes()
    with files.alone("iris-run"):
        for how in ("--resume", "--replace"):
            assert "iris-run: another program writes to this folder" in refused(capsys, "train", "iris", how)
    assert Path("iris-run/model.npz").read_bytes() == before
    step = tg.optim.SGD.step

    with pytest.MonkeyPatch.context() as changed:
        found = []

        def meanwhile(self):
            if not found:
                found.append(main(["train", "iris", "--replace", "--quiet"]))
            step(self)

        changed.setattr(tg.optim.SGD, "step", meanwhile)
        printed(capsys, "train", "iris", *QUIET, "--replace")
    assert found == [2]


def test_what_a_killed_training_left_goes(capsys, elsewhere):
    printed(capsys, "train", "iris", *QUIET)
    names = ("config.toml", "model.npz", "confusion.csv", "metrics.csv")
    for name in names:
        Path("iris-run", f".{name}.{'0a' * 8}.part").write_text("half")
    printed(capsys, "train", "iris", *QUIET, "--resume")
    assert sorted(os.listdir("iris-run")) == sorted(names)


FULL = """
import resource, sys
from tinygrad_ce.cli import main

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(("size", "name"), [(100, "config.toml"), (3000, "model.npz")])
def test_a_full_disk_is_an_error_with_the_files_name(size, name, elsewhere):
    argv = ["train", "iris", "--quiet", "--epochs", "40", "--lr", "0.123456789"]
    done = subprocess.run([sys.executable, "-c", FULL, str(size), *argv], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"error: iris-run/{name}: File too large" in done.stderr


@pytest.mark.parametrize("argv", [["explain", "1", "2", "--target", "1"], ["gradcheck", "exp"]])
def test_a_full_standard_output_is_named(argv):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "tinygrad_ce", *argv]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == f"tinygrad-ce {argv[0]}: error: standard output: No space left on device\n"


CAFE = ("café", "cafe\u0301")  # composed, and decomposed
HOSTILE = [*CAFE, "a\u202ebad", "\u200bhidden", "=1+2", "$\\frac{$"]


def test_hostile_names_of_classes(capsys, elsewhere):
    rows = [f"{i},{i % 7},{HOSTILE[i % 6]}" for i in range(120)]
    Path("n.csv").write_text("\n".join(rows), encoding="utf-8")
    out = printed(capsys, "train", "n.csv", *QUIET, "--figures")
    assert "2 features, 5 classes of" in out
    assert not {"\u202e", "\u200b", "\u0301"} & set(out)
    for name in ("a\\u202ebad", "\\u200bhidden", "=1+2", "$\\frac{$", "café"):
        assert f" {name} " in out
    assert Path("n-run/figures/confusion.png").exists()
    with open("n-run/confusion.csv", encoding="utf-8") as file:
        head = next(csv.reader(file))
    assert "'=1+2" in head
    assert not [name for name in head if name.startswith("=")]
    for form in CAFE:
        Path("new.csv").write_text(f"3,3,{form}\n", encoding="utf-8")
        assert "on 1 row of new.csv" in printed(capsys, "evaluate", "n-run", "new.csv")
    Path("x.csv").write_text("4,4\n" * 3, encoding="utf-8")
    answers = printed(capsys, "predict", "n-run", "x.csv").splitlines()[1:]
    assert not [line for line in answers if line.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("argv", [
    ["explain", "2", "-1", "0.1", "--target", "1"], ["gradcheck", "exp"], ["train", "größe.csv", *QUIET],
    ["predict", "größe-run", "x.csv"], ["evaluate", "größe-run"], ["train", "日本.csv"],
])  # fmt: skip
def test_terminals_of_ascii_alone(argv, capsys, elsewhere):
    Path("größe.csv").write_text("\n".join(f"{i},{i % 7},{['groß', 'klein'][i % 2]}" for i in range(60)))
    Path("x.csv").write_text("1,2\n")
    if "größe-run" in argv:
        printed(capsys, "train", "größe.csv", *QUIET)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "tinygrad_ce", *argv]
    done = subprocess.run(command, capture_output=True, env=environment)
    assert done.returncode == (2 if argv == ["train", "日本.csv"] else 0), done.stderr
    assert (done.stdout + done.stderr).isascii()
    assert b"Traceback" not in done.stderr


# --resume


EVERYTHING = [
    "train", "moons", "--hidden", "8", "--quiet", "--optimizer", "adam", "--schedule", "cosine", "--warmup", "2",
    "--ema", "0.9", "--clip", "1", "--accumulate", "2", "--class-weight", "balanced", "--patience", "9",
    "--epochs", "6",
]  # fmt: skip


def test_resume_gives_the_same_file_as_one_run(capsys, elsewhere):
    argv = ["train", "moons", "--hidden", "8", "--quiet"]
    printed(capsys, *argv, "--epochs", "6", "--run", "a")
    printed(capsys, *argv, "--epochs", "3", "--run", "b")
    out = printed(capsys, *argv, "--epochs", "6", "--run", "b", "--resume")
    assert "b/, goes on after epoch 3\n" in out
    for name in ("model.npz", "metrics.csv", "confusion.csv"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()
    error = refused(capsys, *argv, "--run", "b", "--resume", "--seed", "4")
    assert "b/model.npz: was trained with seed 0, now it is 4; --config b/config.toml brings" in error
    np.savez("other.npz", **data.make_moons(seed=1)._asdict())
    error = refused(capsys, "train", "other.npz", *argv[2:], "--run", "b", "--resume")
    assert "was trained with data ['moons'], now it is ['other.npz']" in error
    out = printed(capsys, "train", "--config", "b/config.toml", "--epochs", "5", "--resume")
    assert "nothing to do: b/model.npz has seen 6 epochs" in out
    assert Path("a/model.npz").read_bytes() == Path("b/model.npz").read_bytes()
    assert tomllib.loads(Path("b/config.toml").read_text())["epochs"] == 6


def test_resume_in_the_middle_of_an_epoch_with_everything(capsys, monkeypatch):
    printed(capsys, *EVERYTHING, "--run", "a")
    step, steps = tg.optim.Adam.step, []

    def interrupted(self):
        steps.append(1)
        if len(steps) == 12:
            raise KeyboardInterrupt
        step(self)

    with monkeypatch.context() as changed:
        changed.setattr(tg.optim.Adam, "step", interrupted)
        assert main([*EVERYTHING, "--run", "b", "--checkpoint-steps", "5"]) == 130
    words = "interrupted; saved in epoch 3, after step 2: go on with tinygrad-ce train --config b/config.toml --resume"
    assert capsys.readouterr().err == f"\ntinygrad-ce: {words}\n"
    under_way = checkpoint.load("b/model.npz")[1]["under_way"]
    assert under_way["step"] == 10 - 2 * 4  # 204 rows are 4 steps of 64
    os.rename("b", "moved")  # its config still says b
    out = printed(capsys, "train", "--config", "moved/config.toml", "--resume")
    assert "moved/, goes on in epoch 3, after step 2\n" in out
    os.rename("moved", "b")
    for name in ("model.npz", "metrics.csv"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()
    longer = ["train", "--config", "a/config.toml", "--resume", "--epochs", "7"]
    assert "was trained with epochs 6, now it is 7" in refused(capsys, *longer)


def test_ctrl_c_says_what_is_saved_and_only_by_the_first_process(capsys, monkeypatch):
    step, steps = tg.optim.SGD.step, []

    def interrupted(self):
        steps.append(1)
        if len(steps) in (3, 12):  # in the first epoch, then in the third: 120 rows are 4 steps
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(tg.optim.SGD, "step", interrupted)
    for words in (
        "interrupted before the first checkpoint; nothing is saved",
        "interrupted; saved after epoch 2: go on with tinygrad-ce train --config 'my run/config.toml' --resume",
    ):
        assert main(["train", "iris", "--quiet", "--epochs", "5", "--run", "my run"]) == 130
        assert capsys.readouterr().err == f"\ntinygrad-ce: {words}\n"
    with monkeypatch.context() as changed:
        changed.setitem(inputs.SETS, "iris", lambda: signal.raise_signal(signal.SIGINT))
        assert main(["train", "iris"]) == 130
        assert capsys.readouterr().err == "\ntinygrad-ce: interrupted\n"
        changed.setenv("PMI_RANK", "1")
        assert main(["train", "iris"]) == 130
        assert capsys.readouterr().err == ""
    assert "my run/, goes on after epoch 2\n" in printed(capsys, "train", "--resume", "--run", "my run")
    assert "my run/, replaces a run of 5 epochs\n" in printed(
        capsys, "train", "iris", "--run", "my run", "--dry-run", "--epochs", "1"
    )


def test_patience_leaves_the_best_weights(capsys):
    argv = ["train", "moons", "--quiet", "--hidden", "16", "--optimizer", "adam", "--lr", "0.3", "--patience", "3"]
    out = printed(capsys, *argv)
    last, best = map(int, re.search(r"stopped after epoch (\d+): .* those of epoch (\d+)", out).groups())
    assert last == best + 3
    metrics = np.genfromtxt("moons-run/metrics.csv", delimiter=",", names=True)
    assert metrics["val_loss"].argmin() + 1 == best
    assert not np.array_equal(weights("moons-run", "best")["1.weight"], weights("moons-run")["1.weight"])
    assert printed(capsys, "evaluate", "moons-run").split(" of ")[0] == out.split("\n\n")[1].split(" held")[0]


# --config


def test_a_runs_config_is_all_it_takes_to_train_it_again(capsys, elsewhere):
    printed(capsys, *EVERYTHING, "--run", "a")
    text = Path("a/config.toml").read_text()
    head = text.splitlines()[0]
    assert head == f"# tinygrad-ce {tg.__version__}: tinygrad-ce {' '.join([*EVERYTHING, '--run', 'a'])}"
    found = tomllib.loads(text)
    assert found == {
        "data": ["moons"], "stream": False, "hidden": [8], "activation": "relu", "optimizer": "adam", "lr": 0.005,
        "epochs": 6, "stop-early": False, "batch-size": 32, "accumulate": 2,
        "schedule": "cosine", "warmup": 2, "clip": 1.0, "ema": 0.9,
        "class-weight": "balanced", "patience": 9, "seed": 0, "run": "a", "tensorboard": False,
        "figures": False, "film": False, "data-parallel": False, "quiet": True,
    }  # fmt: skip
    assert text.splitlines()[-1] == "# not set: label, checkpoint-steps"
    printed(capsys, "train", "--config", "a/config.toml", "--run", "b")
    assert Path("a/model.npz").read_bytes() == Path("b/model.npz").read_bytes()


def test_options_of_the_call_win_over_those_of_the_file(capsys, elsewhere):
    Path("c.toml").write_text(
        'data = "iris"\nhidden = [4, 3]\nlr = 1\ntensorboard = true\nclass-weight = "balanced"\nrun = "here"\n'
    )
    out = printed(capsys, "train", "--config", "c.toml", "--dry-run")
    assert "iris: 120 rows" in out
    assert "4 -> 4 -> 3 -> 3 with relu" in out
    assert "learning rate 1, class weights balanced" in out
    assert "iris-run/, not the config's here/, which takes --run" in out
    assert "run        there/\n" in printed(capsys, "train", "--config", "c.toml", "--dry-run", "--run", "there")
    argv = ["train", "--hidden", "7", "moons", "--no-tensorboard", "--config", "c.toml", "--lr", "0.5", "--dry-run"]
    out = printed(capsys, *argv)
    assert "moons: 240 rows" in out
    assert "2 -> 7 -> 2 with relu" in out
    assert "learning rate 0.5, class weights balanced" in out
    parser = arguments.parser()
    assert not config.merged(parser, argv, parser.parse_args(argv)).tensorboard


NAMES = [
    "Größe.csv",
    "日本語.csv",
    "العربية.csv",
    'a "quoted" \\ one.csv',
    "tab\tline\nend\x7f\x85.csv",
    "🌸.csv",
    "# no.csv",
]


def test_toml_holds_names_in_any_script():
    for name in NAMES:
        args = arguments.parser().parse_args(["train", name, "--label", name, "--run", name])
        text = config.as_toml(args, f"comment {name}")
        found = tomllib.loads(text)
        assert (found["data"], found["label"], found["run"]) == ([name], name, name)
        assert text.count("\n") == len(found) + 2  # a comment before them, and one after
        Path("c.toml").write_text(text, encoding="utf-8")
        assert (
            vars(config.settings(Path("c.toml"))).items() >= {"data": [name], "label": name, "run": Path(name)}.items()
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "c.toml: epoch: no such option; did you mean epochs?"),
        ("batch_size = 3", "c.toml: batch_size: no such option; did you mean batch-size?"),
        ('"\\u001b[2J" = 3', "c.toml: '\\x1b[2J': no such option; there are data, label"),
        ("epochs = 0", "c.toml: epochs: '0', expected a whole number of at least 1"),
        ("epochs = 2.5", "c.toml: epochs: '2.5', expected a whole number"),
        ("lr = nan", "c.toml: lr: 'nan', expected a number above 0"),
        ("lr = true", "c.toml: lr: True, expected a value"),
        ("lr = [1, 2]", "c.toml: lr: [1, 2], expected one value"),
        ("stream = 1", "c.toml: stream: 1, expected true or false"),
        ("hidden = [8, 0]", "c.toml: hidden: '8,0', expected widths like 32,32"),
        ('optimizer = "lion"', "c.toml: optimizer: invalid choice: 'lion'"),
        ("[model]\nhidden = 3", "c.toml: model: no such option"),
        ("[hidden]\na = 3", "c.toml: hidden: {'a': 3}, expected one value"),
        ("data = 3", "c.toml: data: 3, expected a name, or a list of names"),
        ("lr =\n", "c.toml: Invalid value (at line 1, column 5), expected TOML"),
        ("lr = 1\nlr = 2\n", "c.toml: Cannot overwrite a value (at line 2, column 7), expected TOML"),
    ],
)
def test_wrong_configs_are_refused_by_file_and_key(text, message, capsys, elsewhere):
    Path("c.toml").write_text(text)
    assert message in refused(capsys, "train", "iris", "--config", "c.toml")
    assert os.listdir(elsewhere) == ["c.toml"]


# evaluate, predict


def test_evaluate_measures_what_was_held_out(capsys, elsewhere, flowers):
    out = printed(capsys, "train", "flowers.csv", "--quiet", "--label", "species", "--epochs", "20")
    measured = out[out.index("test accuracy") : out.index("\n\nsaved")]
    for model in ("flowers-run", "flowers-run/model.npz"):
        found = printed(capsys, "evaluate", model)
        assert found.startswith(measured.split(" held out")[0] + " of flowers.csv\nIts training held them out.\n\n")
        assert found.strip().endswith(measured.split("\n\n")[1])
    with open("flowers.csv", "a") as file:
        file.write("\n1,2,3,4,setosa\n")
    error = refused(capsys, "evaluate", "flowers-run")
    assert "flowers.csv: 151 rows, expected the 150 of the training: others would be held out now" in error
    os.rename("flowers.csv", "gone.csv")
    assert "flowers.csv: not found; a run's data is looked for from where" in refused(capsys, "evaluate", "flowers-run")
    os.rename("flowers-run/model.npz", "m.npz")
    assert "m.npz: a model without its run, so nothing tells its data" in refused(capsys, "evaluate", "m.npz")


def test_evaluate_goes_by_the_names_of_columns_and_classes(capsys, elsewhere, flowers):
    printed(capsys, "train", "flowers.csv", "--label", "species", *QUIET)
    head = "species,petal width,extra,petal length,sepal width,sepal length"
    rows = [
        f"{flowers.classes[y]},{d},7,{c},{b},{a}" for (a, b, c, d), y in zip(flowers.x.tolist(), flowers.y, strict=True)
    ]
    Path("new.csv").write_text("\n".join([head, *rows[50:]]))  # without the first class
    model, _ = classifier.load("flowers-run/model.npz")
    right = tg.accuracy(tg.predict(model, flowers.x[50:]), flowers.y[50:])
    for argv in ([], ["--label", "species"], ["--label", "0"], ["--stream"]):
        found = printed(capsys, "evaluate", "flowers-run", "new.csv", *argv)
        assert found.startswith(f"test accuracy {right:.4f} and loss ")
        assert " on 100 rows of new.csv\n" in found
        assert re.search(r"setosa +\. +\. +\. +nan", found)
    note = "It was trained on most of them: without DATA it is measured on those held out."
    assert note in printed(capsys, "evaluate", "flowers-run", "flowers.csv")
    Path("new.csv").write_text("\n".join([head, *rows]).replace("setosa", "rose").replace("virginica", "tulip"))
    error = refused(capsys, "evaluate", "flowers-run", "new.csv")
    assert "new.csv: classes rose, tulip, expected the model's: setosa, versicolor, virginica" in error
    Path("new.csv").write_text("\n".join([head.replace("sepal width", "height"), *rows]))
    assert "new.csv: no column 'sepal width', which the model was trained on" in refused(
        capsys, "evaluate", "flowers-run", "new.csv"
    )


def test_predict_gives_classes_and_their_probabilities(capsys, elsewhere):
    printed(capsys, "train", "iris", "--quiet", "--epochs", "40", "--lr", "0.1", "--run", "m")
    iris = data.load_iris()
    np.savetxt("f.csv", iris.x, delimiter=",", header="a,b,c,d", comments="")
    np.savez("f.npz", x=iris.x)
    np.save("f.npy", iris.x)
    files = (("m", "f.csv"), ("m/model.npz", "f.npz"), ("m", "f.npy"))
    answers = [printed(capsys, "predict", *argv) for argv in files]
    assert answers[0] == answers[1] == answers[2]
    head, *rows = csv.reader(answers[0].splitlines())
    assert head == ["prediction", "p(setosa)", "p(versicolor)", "p(virginica)"]
    names = np.array([row[0] for row in rows])
    assert (names == np.array(iris.classes)[iris.y]).mean() > 0.93
    p = np.array([row[1:] for row in rows], np.float32)
    model, _ = classifier.load("m/model.npz")
    np.testing.assert_array_equal(p, tg.softmax(tg.train.logits(model, iris.x)))
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=3 * np.finfo(np.float32).eps)
    assert printed(capsys, "predict", "m", "f.csv", "--output", "out.csv") == "150 predictions in out.csv\n"
    assert Path("out.csv").read_text() == answers[0]


def test_predict_never_writes_over_what_it_reads(capsys, elsewhere, monkeypatch):
    printed(capsys, "train", "iris", *QUIET)
    Path("f.csv").write_text("1,2,3,4\n")
    os.link("f.csv", "same.csv")
    before = Path("iris-run/model.npz").read_bytes()
    for output in ("f.csv", "same.csv", "../" + elsewhere.name + "/f.csv", "iris-run/model.npz"):
        error = refused(capsys, "predict", "iris-run", "f.csv", "--output", output)
        assert f"--output {output}: the file that is read" in error
    assert Path("f.csv").read_text() == "1,2,3,4\n"
    assert Path("iris-run/model.npz").read_bytes() == before
    Path("out.csv").write_text("old")
    Path("wrong.csv").write_text("1,2,3\n")
    assert "rows of 3 columns" in refused(capsys, "predict", "iris-run", "wrong.csv", "--output", "out.csv")
    with monkeypatch.context() as changed:
        changed.setattr(apply, "logits", lambda model, x: checkpoint.load("gone"))
        assert "gone: No such file" in refused(capsys, "predict", "iris-run", "f.csv", "--output", "out.csv")
    assert Path("out.csv").read_text() == "old"
    assert "the folder no does not exist" in refused(capsys, "predict", "iris-run", "f.csv", "--output", "no/o.csv")
    assert sorted(os.listdir(elsewhere)) == ["f.csv", "iris-run", "out.csv", "same.csv", "wrong.csv"]


def test_predict_goes_by_column_names(capsys, elsewhere):
    rows = [f"{i % 2},{5 - i % 2 * 5}.5,{'yes' if i % 2 else 'no'}" for i in range(40)]
    (elsewhere / "a.csv").write_text("\n".join(["wide,long,label", *rows]))
    (elsewhere / "b.csv").write_text("long,label,wide\n0.5,?,1\n5.5,?,0\n")
    (elsewhere / "c.csv").write_text("long,high\n0.5,1\n")
    printed(capsys, "train", "a.csv", "--quiet", "--epochs", "30")
    answers = printed(capsys, "predict", "a-run", "b.csv").splitlines()
    assert [line.split(",")[0] for line in answers] == ["prediction", "yes", "no"]
    assert "no column 'wide', which the model was trained on" in refused(capsys, "predict", "a-run", "c.csv")


def test_bad_models_and_files_to_predict(capsys, elsewhere):
    printed(capsys, "train", "iris", *QUIET)
    (elsewhere / "wide.csv").write_text("1,2,3,4,setosa\n")
    error = refused(capsys, "predict", "iris-run", "wide.csv")
    assert "rows of 5 columns, but the model takes 4 features; without the label's column" in error
    assert refused(capsys, "evaluate").endswith("required: MODEL")
    assert "a folder, but no run of this program" in refused(capsys, "predict", ".", "wide.csv")
    (elsewhere / "iris-run/model.npz").write_bytes(b"PK\3\4 no")
    for argv in (["predict", "iris-run", "wide.csv"], ["evaluate", "iris-run"], ["train", "iris", "--resume"]):
        assert "iris-run/model.npz: no whole checkpoint" in refused(capsys, *argv)


# Several processes


def mpiexec(*argv, code="from tinygrad_ce.cli import main; import sys; sys.exit(main())"):
    """Run a program by two processes."""
    pytest.importorskip("mpi4py")
    launcher = Path(sys.executable).with_name("mpiexec")
    if not launcher.exists():
        pytest.skip("mpiexec is not installed beside Python")
    command = [launcher, "-n", "2", sys.executable, "-c", code, *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_two_processes_end_in_the_model_of_one(capsys):
    argv = ["train", "digits", "--epochs", "3", "--hidden", "8", "--patience", "2", "--ema", "0.9"]
    printed(capsys, *argv, "--run", "one")
    done = mpiexec(*argv, "--run", "two", "--data-parallel")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("rows to train on") == done.stdout.count("epoch 3/3") == done.stdout.count("saved in") == 1
    for name, array in weights("one").items():
        np.testing.assert_allclose(weights("two")[name], array, atol=2e-6)
    one, two = (np.genfromtxt(f"{run}/metrics.csv", delimiter=",", skip_header=1) for run in ("one", "two"))
    np.testing.assert_allclose(two, one, rtol=1e-5)


FAILING = """
import sys
from mpi4py import MPI
from tinygrad_ce import optim
from tinygrad_ce.cli import main

step, steps = optim.SGD.step, []

def failing(self):
    steps.append(1)
    if len(steps) == 6 and MPI.COMM_WORLD.rank == 1:
        raise ZeroDivisionError("of rank 1")
    step(self)

optim.SGD.step = failing
sys.exit(main())
"""


def test_a_process_that_fails_ends_all_with_the_last_checkpoint_whole(capsys):
    done = mpiexec("train", "iris", "--epochs", "5", "--quiet", "--data-parallel", code=FAILING)
    assert done.returncode != 0
    assert checkpoint.load("iris-run/model.npz")[1]["history"]["epoch"] == [0]  # 120 rows are 4 steps
    done = mpiexec("train", "nothing.csv", "--data-parallel")
    assert done.returncode == 2
    assert done.stderr == "tinygrad-ce train: error: nothing.csv: No such file or directory\n"


@pytest.mark.parametrize(("name", "value", "several"), [
    ("PMI_SIZE", "2", True), ("OMPI_COMM_WORLD_SIZE", "4", True), ("PMIX_RANK", "1", True),
    ("PMI_SIZE", "1", False), ("PMIX_RANK", "0", False), ("OMPI_COMM_WORLD_SIZE", "", False),
])  # fmt: skip
def test_processes_that_share_nothing_are_refused(name, value, several, capsys, monkeypatch, elsewhere):
    monkeypatch.setenv(name, value)
    argv = ["train", "iris", "--dry-run"]
    if not several:
        printed(capsys, *argv)
        return
    error = refused(capsys, *argv)
    assert "each would train the same model and write the same files; share the work with --data-parallel" in error


# gradcheck, explain, notebooks, docs


def test_gradcheck_prints_every_operator_and_succeeds(capsys, monkeypatch):
    few = {name: registry[name] for name in ("exp", "cross_entropy", "matmul")}
    monkeypatch.setattr(study, "registry", few)
    out = printed(capsys, "gradcheck")
    assert out.count(" ok\n") == 3
    assert "3 of 3 operators agree with finite differences" in out
    assert "1 of 1 operators agree with finite differences (1 examples, float32)" in printed(
        capsys, "gradcheck", "exp", "--dtype", "float32"
    )


def test_gradcheck_fails_where_a_rule_is_wrong(capsys, monkeypatch):
    made = tg.exp.primitive
    monkeypatch.setattr(made, "rules", [lambda g, y, x: g * y * 1.001])
    assert main(["gradcheck", "exp"]) == 1
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "<- wrong" in out


def test_notebooks_and_docs_are_handed_on(capsys, monkeypatch):
    calls = []
    course = types.SimpleNamespace(
        open_course=lambda folder, browser, edition, lang: calls.append(
            (folder, browser, *([edition] if edition else []))
        )
    )
    site = types.SimpleNamespace(
        build=lambda folder, parser, pack: calls.append((folder, parser.prog, pack)) or Path("there/index.html")
    )
    monkeypatch.setitem(sys.modules, "tinygrad_ce.docs.course", course)
    monkeypatch.setitem(sys.modules, "tinygrad_ce.docs", site)
    printed(capsys, "notebooks")
    printed(capsys, "notebooks", "mine", "--no-browser")
    printed(capsys, "notebooks", "mine", "--for", "student")
    assert printed(capsys, "docs") == "the documentation is in there/index.html\n"
    printed(capsys, "docs", "mine", "--zip")
    assert calls == [
        (None, True),
        (Path("mine"), False),
        (Path("mine"), True, "student"),
        (Path("tinygrad_ce_docs"), "tinygrad-ce", False),
        (Path("mine"), "tinygrad-ce", True),
    ]

    def missing(*folder, pack):
        raise ImportError("the site needs Sphinx: pip install 'tinygrad-ce[docs]'")

    def faulty(*folder, pack):
        raise RuntimeError("build: the site has faults")

    site.build = missing
    assert refused(capsys, "docs") == "tinygrad-ce docs: error: the site needs Sphinx: pip install 'tinygrad-ce[docs]'"
    site.build = faulty
    assert main(["docs"]) == 1
    assert capsys.readouterr().err == "build: the site has faults\n"


# Wrong input, help


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "nothing.csv"], "nothing.csv: No such file or directory"),
        (["train", "digits", "--epochs", "0"], "argument --epochs: '0', expected a whole number of at least 1"),
        (["train", "digits", "--lr", "-1"], "argument --lr: '-1', expected a number above 0"),
        (["train", "digits", "--lr", "nan"], "argument --lr: 'nan'"),
        (["train", "digits", "--ema", "1"], "argument --ema: '1', expected a number above 0 and below 1"),
        (["train", "digits", "--hidden", "8,x"], "argument --hidden: '8,x', expected widths like 32,32"),
        (["train", "digits", "--seed", "-3"], "argument --seed"),
        (["train", "digits", "--optimizer", "lion"], "invalid choice: 'lion'"),
        (["train", "digits", "--schedule", "linear"], "invalid choice: 'linear'"),
        (["train", "digits", "--warmup", "45"], "--warmup 45: expected fewer than the 45 epochs"),
        (["train", "digits", "--run", "no/where"], "--run no/where: the folder no does not exist"),
        (["train", "digits", "--resume"], "--resume: digits-run/model.npz: there is no such model to go on from"),
        (["train", "digits", "--stream"], "--stream is for a .csv; digits comes with its labels"),
        (["train", "digits", "--label", "species"], "--label is for a .csv"),
        (["train", "digits", "--config", "no.toml"], "no.toml: No such file or directory"),
        (["train", "x.parquet"], "expected a .csv, a .npz, two .npy or two IDX files (features, labels), or a folder"),
        (["train", "x.parquet"], "pandas.read_parquet('x.parquet').to_csv('x.csv', index=False) makes a .csv of it"),
        (["train", "x.tsv"], "x.tsv: No such file"),
        (["train", "digit"], "digit: no such data set; did you mean digits?"),
        (["train", "flowers"], "flowers: no such data set; there are digits, iris"),
        (["train", "--resume", "--run", "gone"], "gone/config.toml: No such file"),
        (["train", "digits", "iris"], "expected one data set"),
        (["train"], "no DATA: give one of digits, iris"),
        (["predict", "none.npz", "none.csv"], "none.npz: No such file"),
        (["evaluate", "none-run"], "none-run: No such file"),
        (["gradcheck", "sofmax"], "no operator 'sofmax'; there are abs"),
        (["tain"], "invalid choice: 'tain'"),
        ([], "required"),
    ],
)
def test_bad_arguments_and_files_are_one_line_and_exit_2(argv, message, capsys, elsewhere):
    assert message in refused(capsys, *argv)
    assert os.listdir(elsewhere) == []


def test_grade_prints_a_class_as_text_csv_and_json(capsys, tmp_path):
    text = "def lead(p):\n    return np.log(p / (1 - p))"
    cells = [{"cell_type": "code", "source": source, "execution_count": 1} for source in ("import numpy as np", text)]
    (tmp_path / "=anna").mkdir()
    (tmp_path / "=anna" / "01_softmax.ipynb").write_text(json.dumps({"cells": cells}))
    options = (str(tmp_path), "--only", "01", "--limit", "60")
    assert main(["grade", *options]) == 0
    out, err = capsys.readouterr()
    assert err == "answers run in a process of their own, with a time limit; it is no sandbox\n"
    assert out.splitlines()[0] == "=anna: 1 of 5 points"
    assert "  01  lead                       1/1  ✓ right" in out.splitlines()
    assert "  01  my_softmax                 0/1  no cell makes my_softmax" in out.splitlines()
    assert main(["grade", *options, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["student"], row["exercise"], row["points"]) for row in rows if row["verdict"] == "right"] == [
        ("'=anna", "lead", "1.0")
    ]
    assert main(["grade", *options, "--format", "json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert {line["exercise"]: line["points"] for line in lines}["lead"] == 1
    assert [*lines[0]] == ["student", "notebook", "exercise", "points", "of", "verdict", "message"]


def test_grade_refuses_notebooks_and_folders_that_are_not_there(capsys, tmp_path):
    assert main(["grade", str(tmp_path), "--only", "99"]) == 2
    assert "--only: no notebook '99' with exercises; there are 01_softmax, " in capsys.readouterr().err
    assert main(["grade", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: No such file or directory" in capsys.readouterr().err


def test_help_has_examples(capsys):
    commands = ("train", "evaluate", "predict", "doctor", "gradcheck", "explain", "notebooks", "grade", "build", "docs")
    for argv in (["--help"], *([command, "--help"] for command in commands)):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 0
        out = capsys.readouterr().out
        assert "example" in out
        assert out.count("(off: --no-") == {"train": 7, "evaluate": 1}.get(argv[0], 0)


def test_it_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "tinygrad_ce", "gradcheck", "exp"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "1 of 1 operators agree" in done.stdout


# Sizes


@pytest.mark.parametrize(
    ("rows", "batch", "steps", "epochs", "early"),
    [
        (80, 32, 3, 667, False),
        (1438, 32, 45, 45, False),
        (2000, 32, 63, 40, True),
        (25_600, 64, 400, 25, True),
        (80_000, 128, 625, 16, True),
        (800_000, 1024, 782, 13, True),
    ],
)
def test_steps_fit_the_number_of_rows(rows, batch, steps, epochs, early):
    args = arguments.parser().parse_args(["train", "r"])
    train._settle(args, rows)
    assert (args.batch_size, args.epochs, args.stop_early) == (batch, epochs, early)
    assert -(-rows // batch) == steps
    for argv in (["--epochs", "3"], ["--patience", "3"], ["--schedule", "cosine"]):
        args = arguments.parser().parse_args(["train", "r", *argv])
        train._settle(args, rows)
        assert not args.stop_early
        assert args.epochs == (3 if argv[0] == "--epochs" else epochs)


def test_training_stops_when_the_loss_does_and_goes_on_as_if_it_had_not_stopped(capsys, monkeypatch):
    monkeypatch.setattr(train, "_STEPS", 100)
    monkeypatch.setattr(train, "_LAST_STEPS", 60)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((800, 2), np.float32)
    np.savez("r.npz", x=x, y=(x[:, 0] + rng.standard_normal(800) > 0).astype(int))
    out = printed(capsys, "train", "r.npz", "--quiet")
    assert "learning rate 0.02, stops once the loss stays" in out
    epochs = int(re.search(r"stopped after epoch (\d+): the loss stays at", out)[1])
    losses = np.genfromtxt("r-run/metrics.csv", delimiter=",", names=True)["loss"]
    assert len(losses) == epochs < 40
    lower = [losses[i - 3 : i].min() <= 0.99 * losses[: i - 3].min() for i in range(5, epochs + 1)]
    assert lower == [True] * (epochs - 5) + [False]
    config_ = tomllib.loads(Path("r-run/config.toml").read_text())
    assert (config_["epochs"], config_["batch-size"], config_["stop-early"]) == (40, 32, True)
    before = Path("r-run/model.npz").read_bytes()
    assert f"stopped after epoch {epochs}" in printed(capsys, "train", "--run", "r-run", "--resume")
    assert Path("r-run/model.npz").read_bytes() == before
    printed(capsys, "train", "--config", "r-run/config.toml", "--run", "s")
    assert Path("s/model.npz").read_bytes() == before
    assert "stopped" not in printed(capsys, "train", "--run", "r-run", "--resume", "--no-stop-early", "--quiet")
    assert len(np.genfromtxt("r-run/metrics.csv", delimiter=",", names=True)["loss"]) == 40


def test_a_run_with_batches_of_another_size_is_resumed_with_them(capsys):
    for run, epochs in (("a", "3"), ("b", "2")):
        printed(capsys, "train", "iris", "--quiet", "--epochs", epochs, "--batch-size", "7", "--run", run)
    printed(capsys, "train", "iris", "--quiet", "--epochs", "3", "--run", "b", "--resume")
    assert weights("a")["1.weight"].tobytes() == weights("b")["1.weight"].tobytes()


def test_of_many_classes_those_with_most_mistakes_are_shown(monkeypatch):
    classes = [f"c{i}" for i in range(500)]
    confusion = np.diag(np.arange(500))
    wrong = np.arange(10, 400, 13)
    confusion[wrong, (wrong + 13) % 500] = 5
    assert summary.worst(confusion).tolist() == sorted(summary.worst(confusion))
    assert {*wrong.tolist()[1:]} < {*summary.worst(confusion).tolist()}
    lines = summary.table(confusion, classes).splitlines()
    assert lines[0].startswith("the 30 of 500 classes with most mistakes; rows: what it is")
    assert len(lines) == 34
    recall = tg.train.precision_recall(confusion)[1]
    shown = summary.worst(confusion)
    assert [float(line.split()[-1]) for line in lines[2:32]] == [round(recall[i], 3) for i in shown]
    assert lines[-1] == f"accuracy of always saying c499: {499 / confusion.sum():.4f}"
    assert summary.worst(np.eye(30)).tolist() == list(range(30))


def test_the_figure_of_many_classes_shows_those_with_most_mistakes(capsys):
    rng = np.random.default_rng(0)
    np.savez("many.npz", x=rng.standard_normal((400, 3), np.float32), y=np.arange(400) % 100)
    out = printed(capsys, "train", "many.npz", *QUIET, "--figures")
    assert "the 30 of 100 classes with most mistakes" in out
    with open("many-run/confusion.csv") as file:
        assert len(list(csv.reader(file))) == 101
    from matplotlib.image import imread

    assert max(imread("many-run/figures/confusion.png").shape) <= 1400
