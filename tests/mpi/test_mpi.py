"""Training by several processes: real ones, started by mpiexec."""

import pathlib
import re
import subprocess
import sys

import pytest

import tinygrad_ce as tg
from tinygrad_ce.train import checkpoint

HERE = pathlib.Path(__file__).parent
MPIEXEC = pathlib.Path(sys.executable).with_name("mpiexec")


def mpiexec(ranks, program, *arguments):
    command = [MPIEXEC, "-n", str(ranks), sys.executable, HERE / "programs" / program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("ranks", "kind"), [(1, "whole"), (2, "whole"), (3, "sharded"), (4, "sharded"), (2, "sharded"), (2, "stream")]
)
def test_any_number_of_ranks_trains_as_one(ranks, kind, tmp_path):
    done = mpiexec(ranks, "train.py", kind, tmp_path)
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[:2] == ["ranks", str(ranks)]
    assert float(words[3]) < 1e-12
    assert float(words[5]) < 1e-12
    assert words[7] == "True"
    assert (tmp_path / "together.csv").read_text().count("\n") == 5
    assert len(checkpoint.load(tmp_path / "together.npz")[1]["history"]["epoch"]) == 4


def test_a_rank_that_fails_ends_all_with_its_traceback_and_a_whole_checkpoint(tmp_path):
    path = tmp_path / "c.npz"
    done = mpiexec(2, "fail.py", path)
    assert done.returncode != 0
    assert "rank 1 of 2 failed" in done.stderr
    assert "ArithmeticError: on purpose, on rank 1" in done.stderr
    assert "never printed" not in done.stdout
    assert checkpoint.load(path)[1]["history"]["epoch"] == [0, 1]
    assert done.stdout.count("epoch  2/50") == 1  # rank 0 alone shows progress


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("rows", "rows of data differ: rank 0 has (60, 2), rank 1 has (61, 2)"),
        ("options", "options differ"),
        ("weights", "rank 1 has other weights than rank 0"),
    ],
)
def test_ranks_that_differ_are_named(what, message):
    done = mpiexec(2, "differ.py", what)
    assert done.returncode != 0
    assert message in done.stderr


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("metrics", "options differ: metrics: rank 0 has none, rank 1 has tinygrad_ce.train.metrics.macro_f1"),
        ("order", "rows differ: data.0: rank 0 has float32 (60, 2) "),
        ("stream", "rows differ: data.rows: "),
        ("sample_weight", "rows differ: sample_weight: rank 0 has float64 (60,) "),
        ("validation", "rows differ: validation: rank 0 has None, rank 1 has 0.2"),
        ("shards", "kinds of rows differ: validation: rank 0 has None, rank 1 has "),
        ("rate", "options differ: optimizer.lr: rank 0 has 0.1, rank 1 has 0.2"),
        ("schedule", "options differ: schedule: rank 0 has none, rank 1 has tinygrad_ce.optim.schedules.StepLR"),
        ("callback", "options differ: callbacks: rank 0 has list of 1, rank 1 has []"),
        ("loss", "options differ: loss.scale: rank 0 has 1, rank 1 has 2"),
        ("model", "options differ: model.1.p: rank 0 has 0.2, rank 1 has 0.4"),
    ],
)
def test_every_difference_is_found_before_the_first_step(what, message):
    done = mpiexec(2, "settings.py", what)
    assert done.returncode != 0
    assert message in done.stderr
    assert "a step" not in done.stdout


@pytest.mark.parametrize("what", ["nothing", "logs"])
def test_what_the_first_rank_alone_may_have(what, tmp_path):
    done = mpiexec(2, "settings.py", what, tmp_path / "log.csv")
    assert (done.returncode, done.stdout.count("a step")) == (0, 2), done.stderr


def test_batch_norms_have_the_rows_of_their_rank_and_the_same_state_on_all():
    done = mpiexec(2, "settings.py", "norm")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("normalises each part of a step by that part's own rows") == 1


@pytest.mark.parametrize("how", ["exit", "_exit"])
@pytest.mark.parametrize(
    ("when", "message"),
    [("before", "ended, and another rank waits for it in mpi.fit"), ("within", "within mpi.fit|training.stop")],
)
@pytest.mark.parametrize("rank", [0, 2])
def test_a_rank_that_leaves_ends_all_with_an_error(how, when, message, rank):
    done = mpiexec(3, "leave.py", when, how, rank)
    assert done.returncode not in (0, None)
    assert re.search(message, done.stderr)
    assert "trained" not in done.stdout


@pytest.mark.parametrize("how", ["exit", "_exit"])
def test_ranks_that_have_trained_may_end_as_they_like(how):
    done = mpiexec(2, "leave.py", "after", how, -1)
    assert (done.returncode, done.stdout.count("trained"), done.stderr) == (0, 2, "")


@pytest.mark.parametrize(
    ("what", "printed"),
    [
        ("dropout", "own numbers True"),
        ("resume", "same bits True"),
        ("stop", "epochs 4 enough"),
        ("few", "measured ['accuracy', 'loss', 'lr', 'val_accuracy', 'val_loss', 'val_macro_f1']"),
    ],
)
def test_ranks_keep_together(what, printed, tmp_path):
    done = mpiexec(2, "differ.py", what, tmp_path / "c.npz")
    assert done.stdout.strip() == printed, done.stderr


def test_one_process_needs_no_mpiexec():
    blobs = tg.data.make_blobs(60)
    models = [tg.nn.Linear(2, 3, rng=0) for _ in range(2)]
    histories = [
        tg.mpi.fit(models[0], blobs, epochs=2, progress=False), tg.fit(models[1], blobs, epochs=2, progress=False)
    ]  # fmt: skip
    assert histories[0].history == histories[1].history
    assert models[0].weight.data.tobytes() == models[1].weight.data.tobytes()
    with pytest.raises(ValueError, match="epochs is 0"):
        tg.mpi.fit(models[0], blobs, epochs=0)
    with pytest.raises(TypeError, match="comm is of type int"):
        tg.mpi.fit(models[0], blobs, comm=3)
