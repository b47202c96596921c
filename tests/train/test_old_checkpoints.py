"""What version 0.1 wrote still loads, goes on, and comes to the numbers that 0.1 came to."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from reference.record_checkpoint import train

from tinygrad_ce.cli import main
from tinygrad_ce.train import checkpoint, classifier

HERE = pathlib.Path(__file__).parents[1] / "reference"


def test_a_training_of_0_1_goes_on_to_what_0_1_came_to(tmp_path):
    path = shutil.copy(HERE / "checkpoint_0.1.npz", tmp_path / "c.npz")
    assert len(checkpoint.load(path)[1]["history"]["epoch"]) == 2
    weights, losses = train(4, checkpoint=path, resume=True)
    expected = json.loads((HERE / "checkpoint_0.1.json").read_text("utf-8"))
    np.testing.assert_allclose(losses, expected["val_loss"], rtol=1e-5)
    assert weights.keys() == expected["weights"].keys()
    for name, values in expected["weights"].items():
        np.testing.assert_allclose(weights[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
    assert len(checkpoint.load(path)[1]["history"]["epoch"]) == 4


def test_a_run_of_0_1_is_evaluated_used_and_trained_on(tmp_path, monkeypatch, capsys):
    shutil.copytree(HERE / "run_0.1", tmp_path / "run_0.1")
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "run_0.1"]) == 0
    counts = [line.split(",")[1:] for line in (HERE / "run_0.1/confusion.csv").read_text("utf-8").splitlines()]
    right = sum(int(row[k]) for k, row in enumerate(counts[1:]))
    assert f"{right / 30:.4f}" in capsys.readouterr().out
    rows = tmp_path / "new.csv"
    rows.write_text("a,b,c,d\n5.1,3.5,1.4,0.2\n6.3,3.3,6.0,2.5\n")
    assert main(["predict", "run_0.1", str(rows)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3
    assert [row.partition(",")[0] for row in said[1:]] == ["setosa", "virginica"]
    assert main(["train", "--run", "run_0.1", "--resume", "--epochs", "5"]) == 0
    metrics = (tmp_path / "run_0.1/metrics.csv").read_text("utf-8").splitlines()
    assert metrics[:4] == (HERE / "run_0.1/metrics.csv").read_text("utf-8").splitlines()
    assert len(metrics) == 6


def test_a_checkpoint_of_a_later_format_is_refused_by_its_number(tmp_path):
    path = tmp_path / "later.npz"
    head = {"format": "tinygrad_ce checkpoint 2", "groups": [], "meta": {}}
    np.savez(path, meta=np.frombuffer(json.dumps(head).encode(), np.uint8))
    for load in (checkpoint.load, classifier.load):
        with pytest.raises(
            checkpoint.CheckpointError, match=r"format 'tinygrad_ce checkpoint 2', expected .*checkpoint 1"
        ):
            load(path)
