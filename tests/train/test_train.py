"""The trainer: what it measures, stops at, writes and comes back to."""

import json
import os
import re

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import data, nn, optim
from tinygrad_ce.train import checkpoint, classifier


def weights(model):
    return {name: a.tobytes() for name, a in model.state_dict().items()}


def net(seed=0, dropout=0.0):
    layers = [nn.Linear(2, 8, rng=seed), nn.ReLU(), nn.Linear(8, 3, rng=seed + 1)]
    return nn.Sequential(*layers[:2], nn.Dropout(dropout, rng=7), layers[2]) if dropout else nn.Sequential(*layers)


@pytest.fixture(scope="module")
def blobs():
    return data.make_blobs(90, seed=3)


def test_digits_reach_95_percent_on_the_held_out_fifth():
    train, test = data.split(data.load_digits(), 0.2)
    model = classifier.make(64, 10, x=train.x)
    optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    history = tg.fit(model, train, epochs=40, optimizer=optimizer, progress=False)
    assert tg.accuracy(tg.predict(model, test.x), test.y) >= 0.95
    assert history["loss"][-1] < history["loss"][0]
    assert len(history) == 40


def test_hidden_layers_separate_the_spirals():
    train, test = data.split(data.make_spirals(400), 0.25)
    model = classifier.make(2, 3, [32, 32], x=train.x)
    tg.fit(model, train, epochs=80, optimizer=optim.Adam(model.parameters(), lr=0.01), progress=False)
    assert tg.accuracy(tg.predict(model, test.x), test.y) > 0.93


def test_the_same_seed_gives_the_same_bits(blobs):
    runs = []
    for _ in range(2):
        model = net(dropout=0.2)
        history = tg.fit(model, blobs, epochs=4, seed=5, progress=False)
        runs.append((weights(model), history.history))
    assert runs[0] == runs[1]
    other = net(dropout=0.2)
    tg.fit(other, blobs, epochs=4, seed=6, progress=False)
    assert weights(other) != runs[0][0]


def test_history_measures_what_it_says(blobs):
    model = nn.Linear(2, 3, rng=0)
    before = model.state_dict()
    held = data.make_blobs(30, seed=4)
    history = tg.fit(model, blobs, epochs=1, batch_size=90, validation=held, progress=False)
    fresh = nn.Linear(2, 3, rng=0)
    fresh.load_state_dict(before)
    assert history["loss"][0] == pytest.approx(tg.cross_entropy(fresh(blobs.x), blobs.y).item(), rel=1e-6)
    assert history["accuracy"][0] == pytest.approx(tg.accuracy(fresh(blobs.x), blobs.y))
    assert history["val_loss"][0] == pytest.approx(tg.cross_entropy(model(held.x), held.y).item(), rel=1e-6)
    assert history["val_accuracy"][0] == pytest.approx(tg.accuracy(model(held.x), held.y))
    assert history["lr"] == [0.1]
    assert (history.epoch, history.history["loss"]) == ([0], history["loss"])


def test_validation_by_fraction_and_a_schedule(blobs):
    model = nn.Linear(2, 3, rng=0)
    optimizer = optim.SGD(model.parameters(), lr=0.4)
    history = tg.fit(
        model, blobs, epochs=4, optimizer=optimizer, schedule=optim.StepLR(optimizer, 2, 0.5), validation=0.2,
        progress=False,
    )  # fmt: skip
    assert history["lr"] == [0.4, 0.4, 0.2, 0.2]
    assert len(history["val_loss"]) == 4


def test_early_stopping_gives_the_best_weights_back(blobs):
    model = net()
    seen = []
    optimizer = optim.SGD(model.parameters(), lr=0.5)

    def loss(logits, y):
        # A validation that is best after the third epoch, whatever the model does.
        if not logits.requires_grad:
            seen.append(weights(model))
            return abs(len(seen) - 3.0)
        return tg.cross_entropy(logits, y)

    history = tg.fit(
        model, blobs, epochs=50, optimizer=optimizer, loss=loss, validation=0.2, patience=2, progress=False
    )
    assert history["val_loss"] == [2, 1, 0, 1, 2]
    assert history.best_epoch == 2
    assert "no better for 2 epochs" in history.stopped
    assert weights(model) == seen[2]


def run(model, blobs, epochs, **options):
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    schedule = optim.CosineAnnealingLR(optimizer, 6)
    return tg.fit(
        model, blobs, epochs=epochs, optimizer=optimizer, schedule=schedule, validation=0.2, patience=50, seed=2,
        progress=False, **options,
    )  # fmt: skip


def test_resuming_gives_the_same_bits_as_never_stopping(blobs, tmp_path):
    path = tmp_path / "c.npz"
    straight = net(dropout=0.3)
    whole = run(straight, blobs, 6)
    run(net(dropout=0.3), blobs, 2, checkpoint=path)
    run(net(seed=9, dropout=0.3), blobs, 4, checkpoint=path, resume=True)
    resumed = net(seed=5, dropout=0.3)
    history = run(resumed, blobs, 6, checkpoint=path, resume=True)
    assert weights(resumed) == weights(straight)
    assert history.history == whole.history
    assert history.epoch == whole.epoch


def test_a_checkpoint_of_another_model_changes_nothing(blobs, tmp_path):
    path = tmp_path / "c.npz"
    run(net(), blobs, 1, checkpoint=path)
    for other in (nn.Linear(2, 3, rng=0), net(dropout=0.5)):
        before = weights(other)
        with pytest.raises(tg.CheckpointError, match="not of this training"):
            run(other, blobs, 2, checkpoint=path, resume=True)
        assert weights(other) == before
    model = net()
    before = weights(model)
    groups, meta = checkpoint.load(path)
    checkpoint.save(path, {**groups, "optimizer": {"lr": np.array(1.0), "0.mean": np.zeros(99)}}, meta)
    with pytest.raises(tg.CheckpointError, match="not of this training"):
        run(model, blobs, 2, checkpoint=path, resume=True)
    assert weights(model) == before


def test_resuming_with_other_settings_is_refused(blobs, tmp_path):
    path = tmp_path / "c.npz"
    tg.fit(net(), blobs, epochs=1, checkpoint=path, progress=False)
    with pytest.raises(tg.CheckpointError, match="it began without validation"):
        tg.fit(net(), blobs, epochs=2, checkpoint=path, resume=True, validation=0.2, progress=False)
    model = net()
    before = weights(model)
    optimizer = optim.Adam(model.parameters())
    groups, meta = checkpoint.load(path)
    checkpoint.save(path, {**groups, "optimizer": {"lr": np.array(0.1), "0.velocity": np.zeros((8, 2))}}, meta)
    with pytest.raises(tg.CheckpointError, match="expected"):
        tg.fit(model, blobs, epochs=2, optimizer=optimizer, checkpoint=path, resume=True, progress=False)
    assert weights(model) == before


def test_rows_without_labels_are_passed_over(blobs):
    y = np.where(np.arange(90) % 2, blobs.y, -100)
    history = tg.fit(nn.Linear(2, 3, rng=0), (blobs.x, y), epochs=2, batch_size=1, progress=False)
    assert np.isfinite(history["loss"]).all()


def test_any_generator_can_be_saved(blobs, tmp_path):
    path = tmp_path / "c.npz"
    model = nn.Sequential(nn.Dropout(0.5, rng=np.random.Generator(np.random.MT19937(0))), nn.Linear(2, 3, rng=0))
    tg.fit(model, blobs, epochs=1, checkpoint=path, progress=False)
    tg.fit(model, blobs, epochs=2, checkpoint=path, resume=True, progress=False)


def test_damaged_files_of_every_kind_end_in_one_error(tmp_path):
    path = tmp_path / "c.npz"
    checkpoint.save(path, {"model": {"w": np.arange(50.0)}}, {"a": 1})
    content = np.frombuffer(path.read_bytes(), np.uint8)
    np.savez(tmp_path / "d.npz", x=np.ones((5, 2)), y=np.arange(5))
    dataset = np.frombuffer((tmp_path / "d.npz").read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    for read, error, whole in [
        (checkpoint.load, tg.CheckpointError, content),
        (data.load_npz, data.DataError, dataset),
    ]:
        refused = 0
        for _ in range(400):
            damaged = whole.copy()
            damaged[rng.integers(0, len(whole), 3)] = rng.integers(0, 256, 3)
            path.write_bytes(damaged.tobytes())
            try:
                read(path)
            except error as caught:
                refused += "c.npz" in str(caught)  # any other error fails the test
        assert refused > 200


def test_damaged_and_foreign_checkpoints_are_named(tmp_path):
    path = tmp_path / "c.npz"
    checkpoint.save(path, {"model": {"w": np.arange(1000.0)}}, {"a": 1})
    content = path.read_bytes()
    for n in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:n])
        with pytest.raises(tg.CheckpointError, match=r"c\.npz"):
            checkpoint.load(path)
    np.savez(path, w=np.zeros(2))
    with pytest.raises(tg.CheckpointError, match="no whole checkpoint"):
        checkpoint.load(path)
    np.savez(path, meta=np.frombuffer(json.dumps({"format": "other"}).encode(), np.uint8))
    with pytest.raises(tg.CheckpointError, match="format 'other'"):
        checkpoint.load(path)


def test_a_failed_write_leaves_the_old_checkpoint_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "c.npz"
    checkpoint.save(path, {"model": {"w": np.ones(3)}}, {"a": 1})

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path, {"model": {"w": np.zeros(3)}}, {"a": 2})
    assert checkpoint.load(path)[1] == {"a": 1}
    assert os.listdir(tmp_path) == ["c.npz"]
    (tmp_path / "plain").write_text("")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_ctrl_c_leaves_whole_steps_and_a_whole_checkpoint(blobs, tmp_path):
    path = tmp_path / "c.npz"
    model = net()
    steps = []

    class Interrupted(optim.SGD):
        def _updated(self, w, g, memory):
            steps.append(weights(model))
            if len(steps) == 4 * 4 + 3:  # in the middle of a step of the second epoch
                raise KeyboardInterrupt
            return super()._updated(w, g, memory)

    with pytest.raises(KeyboardInterrupt):
        tg.fit(
            model, blobs, epochs=3, optimizer=Interrupted(model.parameters(), lr=0.1), checkpoint=path, progress=False
        )
    assert weights(model) == steps[16]
    assert steps[18] == steps[16] != steps[12]  # a step writes nothing before all of it is computed
    assert checkpoint.load(path)[1]["history"]["epoch"] == [0]
    assert np.isfinite(model(blobs.x).data).all()


def test_a_nan_loss_stops_with_step_and_cause_and_keeps_the_weights(blobs):
    model = nn.Linear(2, 3, rng=0)
    with pytest.raises(FloatingPointError, match=r"epoch 1, step \d+; .* learning rate 1e\+38 is likely too high"):
        tg.fit(model, blobs, epochs=5, optimizer=optim.SGD(model.parameters(), lr=1e38), progress=False)
    assert np.isfinite(model.weight.data).all()
    with pytest.raises(FloatingPointError, match="the model's output or the loss is at fault"):
        tg.fit(nn.Linear(2, 3, rng=0), blobs, loss=lambda z, y: tg.cross_entropy(z, y) * np.nan, progress=False)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (
            lambda x, y: (x, np.where(np.arange(90) == 70, 3, y)),
            ValueError,
            r"fit: target\[70\] is 3; valid are 0 to 2",
        ),
        (lambda x, y: (x, y + 1), ValueError, "labels counted from 1"),
        (lambda x, y: (x, y[:50]), ValueError, r"x has 90 rows and y has shape \(50,\)"),
        (lambda x, y: (x, y.astype(float)), TypeError, "use target.astype"),
        (lambda x, y: (np.where(np.arange(90)[:, None] == 4, np.nan, x), y), ValueError, r"x\[4, 0\] is nan"),
        (lambda x, y: (x[:0], y[:0]), ValueError, "no rows"),
        (lambda x, y: (x[:, :1], y), ValueError, r"expected \(…, 2\)"),
        (lambda x, y: x, TypeError, "expected a Dataset, a pair"),
    ],
)
def test_bad_data_is_named_before_anything_changes(blobs, change, kind, message):
    model = nn.Linear(2, 3, rng=0)
    before = weights(model)
    with pytest.raises(kind, match=message):
        tg.fit(model, change(blobs.x, blobs.y), progress=False)
    assert weights(model) == before


def test_bad_options_are_named(blobs, tmp_path):
    model = nn.Linear(2, 3, rng=0)
    for options, message in [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"patience": 0}, "patience is 0"),
        ({"resume": True}, "needs checkpoint"),
    ]:
        with pytest.raises(ValueError, match=message):
            tg.fit(model, blobs, progress=False, **options)
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist"):
        tg.fit(model, blobs, checkpoint=tmp_path / "nowhere" / "c.npz", progress=False)
    with pytest.raises(ValueError, match="none of this model's parameters"):
        tg.fit(model, blobs, optimizer=optim.SGD(nn.Linear(2, 3, rng=0).parameters()), progress=False)
    with pytest.raises(TypeError, match="optimizer is of type str"):
        tg.fit(model, blobs, optimizer="adam", progress=False)
    with pytest.raises(FileNotFoundError):
        tg.fit(model, blobs, checkpoint=tmp_path / "none.npz", resume=True, progress=False)


def test_soft_targets_train_as_their_labels_do(blobs):
    soft = np.eye(3, dtype=np.float32)[blobs.y]
    histories = [tg.fit(nn.Linear(2, 3, rng=0), (blobs.x, y), epochs=5, progress=False) for y in (blobs.y, soft)]
    np.testing.assert_allclose(histories[1]["loss"], histories[0]["loss"], rtol=1e-5)
    assert histories[1]["accuracy"] == histories[0]["accuracy"]


def test_progress_is_a_line_for_each_epoch(blobs, capsys):
    tg.fit(nn.Linear(2, 3, rng=0), blobs, epochs=3)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1/3  training: loss ")
    assert "accuracy" in lines[0]


def test_progress_is_a_bar_on_a_terminal(blobs, capsys, monkeypatch):
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    tg.fit(nn.Linear(2, 3, rng=0), blobs, epochs=3)
    shown = capsys.readouterr().err
    assert "epoch 3/3: 100%" in shown
    assert "accuracy" in shown


# Metrics


def test_confusion_precision_recall_by_hand():
    y, p = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 2]
    confusion = tg.confusion_matrix(y, p, 4)
    assert confusion.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    precision, recall = tg.precision_recall(confusion)
    np.testing.assert_allclose(precision, [2 / 3, 1 / 2, 1, np.nan])
    np.testing.assert_allclose(recall, [2 / 3, 1 / 2, 1, np.nan])
    assert tg.accuracy(p, y) == pytest.approx(4 / 6)


def test_metrics_ask_the_same_validator():
    with pytest.raises(ValueError, match=r"confusion_matrix: target\[1\] is 2; valid are 0 to 1"):
        tg.confusion_matrix([0, 2], [0, 1], 2)
    with pytest.raises(ValueError, match=r"accuracy: \(3,\) predictions for labels of shape \(2,\)"):
        tg.accuracy([0, 1, 1], [0, 1])
    with pytest.raises(TypeError, match="accuracy: target has dtype float64"):
        tg.accuracy([0, 1], [0.0, 1.0])


# Three classes, of which 0 is taken for 1 once, and 2 for 0 twice. Swapped arguments would transpose the counts.
Y_TRUE, Y_PRED = [0, 0, 1, 2, 2, 2], [0, 1, 1, 0, 0, 2]
LOGITS = np.eye(3)[Y_PRED] * 2.5 - 1


def test_confusion_has_labels_first_and_the_others_logits_first():
    expected = [[1, 1, 0], [0, 1, 0], [2, 0, 1]]
    for y_pred in (Y_PRED, LOGITS, tg.Tensor(LOGITS)):
        assert tg.confusion_matrix(Y_TRUE, y_pred).tolist() == expected
        assert tg.confusion_matrix(y_pred=y_pred, y_true=Y_TRUE, classes=3).tolist() == expected
        for order in ({"y_pred": y_pred, "y_true": Y_TRUE}, {"y_true": Y_TRUE, "y_pred": y_pred}):
            assert tg.accuracy(**order) == 0.5
            assert tg.train.macro_f1(**order) == pytest.approx((2 / 5 + 2 / 3 + 2 / 4) / 3)
    precision, recall = tg.precision_recall(tg.confusion_matrix(Y_TRUE, Y_PRED))
    assert (precision.tolist(), recall.tolist()) == ([1 / 3, 1 / 2, 1], [1 / 2, 1, 1 / 3])
    assert tg.accuracy(Y_TRUE, Y_PRED) == 0.5
    assert tg.train.macro_f1(Y_TRUE, Y_PRED) == tg.train.macro_f1(Y_PRED, Y_TRUE)
    assert tg.train.top_k_accuracy(y_true=Y_TRUE, logits=LOGITS, k=1) == 0.5
    assert tg.confusion_matrix(np.zeros(0, int), np.zeros((0, 3))).tolist() == [[0] * 3] * 3


@pytest.mark.parametrize(
    "wrong", [LOGITS, np.eye(3, dtype=int)[Y_PRED], np.linspace(0, 1, 6)], ids=["logits", "rows", "p"]
)
@pytest.mark.parametrize(
    ("call", "order"),
    [
        (tg.accuracy, "accuracy(y_pred, y_true)"),
        (tg.train.macro_f1, "macro_f1(y_pred, y_true)"),
        (tg.train.top_k_accuracy, "top_k_accuracy(logits, y_true)"),
        (lambda p, y: tg.confusion_matrix(y, p), "confusion_matrix(y_true, y_pred)"),
        (lambda p, y: tg.confusion_matrix(y, p, 3), "confusion_matrix(y_true, y_pred)"),
    ],
)
def test_logits_given_as_labels_are_refused_and_the_order_named(call, order, wrong):
    with pytest.raises(TypeError, match=rf"y_true has dtype .* swapped\? It is {re.escape(order)}"):
        call(Y_TRUE, wrong)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: tg.confusion_matrix(Y_TRUE, np.linspace(0, 1, 6)), TypeError, r"\(predictions\): .* float64"),
        (lambda: tg.accuracy([0, 1], [0.0, np.nan]), TypeError, "a missing label"),
        (lambda: tg.accuracy([0, 1], [1.0, 1.0]), TypeError, r"use target.astype\(int\)"),
        (
            lambda: tg.confusion_matrix([[0], [1]], [0, 1]),
            ValueError,
            r"\(2,\) predictions for labels of shape \(2, 1\)",
        ),
        (lambda: tg.confusion_matrix(Y_TRUE, Y_PRED, ["a", "b"]), ValueError, "classes is .*, expected a whole number"),
        (lambda: tg.precision_recall(Y_PRED), ValueError, r"shape \(6,\), expected \(C, C\).*\(y_true, y_pred\)"),
        (lambda: tg.precision_recall(LOGITS), ValueError, r"shape \(6, 3\), expected \(C, C\)"),
        (lambda: tg.accuracy(predicted=Y_PRED, y_true=Y_TRUE), TypeError, "'predicted'; here it is y_pred"),
        (lambda: tg.accuracy(Y_PRED, y=Y_TRUE), TypeError, "'y'; here it is y_true"),
        (lambda: tg.train.top_k_accuracy(y_score=LOGITS, y_true=Y_TRUE), TypeError, "here it is logits"),
        (lambda: tg.train.top_k_accuracy(Y_PRED, Y_TRUE), ValueError, r"k is 5 for logits of shape \(6,\)"),
        (
            lambda: tg.train.top_k_accuracy(np.eye(3, dtype=int), np.eye(3, dtype=int), 1),
            ValueError,
            "k is 1 for logits",
        ),
    ],
)
def test_wrong_metrics_say_what_is_expected(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_predict_runs_in_evaluation_and_leaves_the_mode():
    model = net(dropout=0.9)
    x = np.ones((5, 2), np.float32)
    assert model.training
    first = tg.predict(model, x)
    assert (first == tg.predict(model, x, batch_size=2)).all()
    assert model.training


@pytest.mark.parametrize("where", ["accuracy", "macro_f1", "top_k_accuracy", "confusion_matrix", "predict"])
def test_logits_of_nan_have_no_largest_one(where):
    z = np.array([[0.0, 1.0], [np.nan, 1.0]])
    calls = {
        "accuracy": lambda: tg.accuracy(z, [1, 0]),
        "macro_f1": lambda: tg.train.macro_f1(z, [1, 0]),
        "top_k_accuracy": lambda: tg.train.top_k_accuracy(z, [1, 0], k=1),
        "confusion_matrix": lambda: tg.confusion_matrix([1, 0], z, 2),
        "predict": lambda: tg.predict(lambda x: x, z),
    }
    with pytest.raises(ValueError, match=rf"{where}: the logits of row \[1\] hold nan"):
        calls[where]()


def test_what_is_like_an_array_is_read_as_one_whatever_its_attributes_are_called():
    class Labels:
        _value = np.array([9, 9])

        def __array__(self, dtype=None, copy=None):
            return np.array([0, 1])

    assert tg.accuracy(np.eye(2), Labels()) == 1
    assert tg.Tensor(Labels()).tolist() == [0, 1]


def test_a_loss_cannot_write_to_the_tensor_of_labels():
    def spoiling(output, y):
        loss = tg.cross_entropy(output, y)
        y[...] = 0
        return loss

    y = tg.Tensor([0, 1, 0, 1])
    rows = (np.ones((4, 2)), y)
    tg.fit(nn.Linear(2, 2, rng=0), rows, validation=rows, loss=spoiling, epochs=1, progress=False)
    assert y.tolist() == [0, 1, 0, 1]
