"""Callbacks: what they do to a training, what they write, and that a resumed training comes to the same bits."""

import csv
import io
import json
import math
import pathlib
import struct
import sys
import types

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import data, nn, optim
from tinygrad_ce.train import EMA, Callback, Checkpoint, ClipGradNorm, ClipGradValue, EarlyStopping, checkpoint
from tinygrad_ce.train.logs import CSVLog, TensorBoard


@pytest.fixture(scope="module")
def figures():
    """PyTorch's clipped gradients, as reference/record_training.py wrote them."""
    return json.loads((pathlib.Path(__file__).parents[1] / "reference" / "torch_training.json").read_text())["clipping"]


@pytest.fixture(scope="module")
def blobs():
    return data.make_blobs(90, seed=3)


def net(seed=0):
    return nn.Sequential(nn.Linear(2, 6, rng=seed), nn.ReLU(), nn.Dropout(0.2, rng=7), nn.Linear(6, 3, rng=seed + 1))


def bits(model):
    return {name: a.tobytes() for name, a in model.state_dict().items()}


def fit(model, blobs, epochs=5, **options):
    """Three steps an epoch, with momentum, so that all there is to restore matters."""
    optimizer = optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    options = {"validation": 0.2, "batch_size": 24, "progress": False, "optimizer": optimizer, **options}
    return tg.fit(model, blobs, epochs=epochs, **options)


class Seen(Callback):
    """Notes what the model holds at each turn, and raises at one if told to."""

    def __init__(self, fail=None):
        self.fail = fail
        self.turns = {"after_update": [], "before_validation": [], "on_epoch_end": [], "on_epoch_begin": []}

    def note(self, turn, training):
        self.turns[turn].append([p.numpy() for p in training.optimizer.parameters])
        if self.fail == (turn, len(self.turns[turn])):
            raise KeyboardInterrupt

    def on_epoch_begin(self, training):
        self.note("on_epoch_begin", training)

    def after_update(self, training):
        self.note("after_update", training)

    def before_validation(self, training):
        self.note("before_validation", training)

    def on_epoch_end(self, training):
        self.note("on_epoch_end", training)


class Losses:
    """A loss that is the usual one in training, and these numbers for the rows held out."""

    def __init__(self, held):
        self.held = iter(held)

    def __call__(self, output, y, **options):
        return next(self.held) if not output.requires_grad else tg.cross_entropy(output, y, **options)


# Clipping


def with_gradients(gradients, dtype=np.float64):
    parameters = []
    for g in gradients:
        p = tg.Tensor(np.zeros(np.shape(0.0 if g is None else g), dtype), requires_grad=True)
        if g is not None:
            p.grad = np.array(g, dtype)
        parameters.append(p)
    return parameters


def test_clipping_is_pytorchs(figures):
    for figure in figures["figures"]:
        scaled = [None if g is None else np.multiply(g, figure["scale"]) for g in figures["gradients"]]
        parameters = with_gradients(scaled)
        norm = optim.clip_grad_norm(parameters, figure["bound"], figure["norm_type"])
        assert norm == pytest.approx(figure["norm"], rel=1e-12)
        by_norm = [p.grad for p in parameters]
        parameters = with_gradients(scaled)
        optim.clip_grad_value(parameters, figure["bound"])
        for found, expected in ((by_norm, figure["by_norm"]), ([p.grad for p in parameters], figure["by_value"])):
            for g, e in zip(found, expected, strict=True):
                assert (g is None) == (e is None)
                if e is not None:
                    np.testing.assert_allclose(g, e, rtol=1e-12)


def test_clipping_by_hand():
    w, b = with_gradients([[3.0, 0.0], 4.0])
    assert optim.clip_grad_norm([w, b], math.inf) == 5.0
    assert optim.clip_grad_norm(iter([w, b]), 1.0) == 5.0
    np.testing.assert_allclose([*w.grad, b.grad], np.array([3, 0, 4]) / 5.000001)
    assert optim.clip_grad_norm(w, 9.0) == pytest.approx(0.6, rel=1e-6)  # below the bound nothing changes
    assert optim.clip_grad_norm(with_gradients([None, [0.0, 0.0]]), 1.0) == 0
    w, b = with_gradients([[3.0, -0.25], -4.0], np.float32)
    optim.clip_grad_value([w, b], 1e300)
    assert (w.grad.tolist(), b.grad.tolist()) == ([3, -0.25], -4)
    optim.clip_grad_value([w, b], 0.5)
    assert (w.grad.tolist(), b.grad.tolist(), w.grad.dtype, type(b.grad)) == ([0.5, -0.25], -0.5, "f4", np.ndarray)


@pytest.mark.parametrize("size", [1e-40, 1e-30, 1.0, 3e37])
@pytest.mark.parametrize("norm_type", [1, 2, 3])
def test_no_power_of_a_float32_gradient_overflows_or_vanishes(size, norm_type):
    (w,) = with_gradients([np.full(8, size)], np.float32)
    assert optim.clip_grad_norm([w], math.inf, norm_type) == pytest.approx(float(w.grad[0]) * 8 ** (1 / norm_type))


def test_a_gradient_that_is_not_finite_is_named_and_none_changes():
    parameters = with_gradients([[1.0, 2.0], [[3.0, np.nan]]])
    with pytest.raises(FloatingPointError, match=r"gradient of parameters\[1\] holds nan at \[0, 1\]"):
        optim.clip_grad_norm(parameters, 0.1)
    assert parameters[0].grad.tolist() == [1, 2]
    with pytest.raises(FloatingPointError, match="beyond the largest number"):
        optim.clip_grad_norm(with_gradients([[1e308, 1e308, 1e308, 1e308]]), 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.clip_grad_norm([], -1.0), "clip_grad_norm: max_norm is -1.0, expected a number of at least 0"),
        (lambda: optim.clip_grad_norm([], 1.0, 0), "norm_type is 0, expected a number above 0"),
        (lambda: optim.clip_grad_value([], math.nan), "clip_grad_value: clip_value is nan"),
        (lambda: ClipGradNorm(math.nan), "ClipGradNorm: max_norm is nan"),
        (lambda: ClipGradNorm(1.0, -2), "norm_type is -2"),
        (lambda: ClipGradValue(-1), "ClipGradValue: clip_value is -1"),
        (lambda: EMA(1.0), r"EMA: decay is 1.0, expected a number in \[0, 1\)"),
        (lambda: EarlyStopping(0), "EarlyStopping: patience is 0"),
        (lambda: EarlyStopping(2, mode="most"), "mode is 'most'"),
        (lambda: EarlyStopping(2, min_delta=-0.1), "EarlyStopping: min_delta is -0.1"),
        (lambda: Checkpoint("c.npz", every=0), "Checkpoint: every is 0"),
        (lambda: Checkpoint("c.npz", steps=0.5), "steps is 0.5"),
        (lambda: Checkpoint("c-{loss}.npz"), r"expected no fields but \{epoch\} and \{step\}"),
        (lambda: Checkpoint("c-{.npz"), "expected no fields"),
    ],
)
def test_wrong_options_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("clipping", "clip"),
    [
        (ClipGradNorm(0.05), lambda p: optim.clip_grad_norm(p, 0.05)),
        (ClipGradNorm(0.02, math.inf), lambda p: optim.clip_grad_norm(p, 0.02, math.inf)),
        (ClipGradValue(0.01), lambda p: optim.clip_grad_value(p, 0.01)),
    ],
)
def test_fit_clips_before_it_steps(blobs, clipping, clip):
    model, twin = (nn.Linear(2, 3, rng=0) for _ in range(2))
    tg.fit(model, blobs, epochs=1, batch_size=90, callbacks=[clipping], progress=False)
    order = np.random.default_rng([0, 0]).permutation(90)
    tg.cross_entropy(twin(blobs.x[order]), blobs.y[order]).backward()
    clip(twin.parameters())
    optim.SGD(twin.parameters(), lr=0.1).step()
    np.testing.assert_allclose(model.weight.data, twin.weight.data, rtol=1e-6)


def test_fit_names_the_parameter_whose_gradient_is_not_finite(blobs):
    model = net()
    before = bits(model)

    def loss(output, y):
        # Finite, with an infinite slope where the output is 0.
        return tg.cross_entropy(output, y) + tg.sqrt(tg.sum(output * 0.0))

    with pytest.raises(FloatingPointError, match=r"ClipGradNorm: the gradient of 0\.weight holds nan"):
        fit(model, blobs, loss=loss, callbacks=[ClipGradNorm(1.0)], validation=None)
    assert bits(model) == before


# The moving average


def averages(weights, decay):
    """By the formula, from the weights before training and after each update."""
    a, found = [np.asarray(w, float) for w in weights[0]], []
    for t, step in enumerate(weights[1:]):
        d = min(decay, (1 + t) / (10 + t))
        a = [d * old + (1 - d) * w for old, w in zip(a, step, strict=True)]
        found.append(a)
    return found


@pytest.mark.parametrize("decay", [0.0, 0.05, 0.15, 0.999])
def test_the_average_is_the_formula_and_the_steps_are_as_without(blobs, decay):
    plain, model = net(), net()
    raw, seen = Seen(), Seen()
    start = [p.numpy() for p in model.parameters()]
    fit(plain, blobs, 3, callbacks=[raw])
    fit(model, blobs, 3, callbacks=[EMA(decay), seen])
    steps = raw.turns["after_update"]
    expected = averages([start, *steps], decay)
    for found, want in zip(seen.turns["after_update"], steps, strict=True):
        assert all((a == b).all() for a, b in zip(found, want, strict=True))
    for turn in ("before_validation", "on_epoch_end"):
        for found, want in zip(seen.turns[turn], expected[2::3], strict=True):
            for a, b in zip(found, want, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    for found, want in zip(seen.turns["on_epoch_begin"], [start, *steps[2::3]], strict=False):
        assert all((a == b).all() for a, b in zip(found, want, strict=True))
    for p, want in zip(model.parameters(), expected[-1], strict=True):
        np.testing.assert_allclose(p.data, want, rtol=1e-5, atol=1e-7)


def test_a_known_sequence_is_averaged():
    """The slope is 1 and the rate 1, so that the weight is −1, −2, −3, −4; with d = 0.1, 2/11, 0.2, 0.2."""

    class Weight(nn.Module):
        def __init__(self):
            self.w = tg.Tensor(0.0, requires_grad=True)

        def forward(self, x):
            return self.w + x

    model = Weight()
    mean = lambda output, y: tg.mean(output) if isinstance(output, tg.Tensor) else float(output.mean())
    rows = np.zeros((4, 2)), np.zeros(4, int)
    history = tg.fit(
        model, rows, epochs=4, batch_size=4, optimizer=optim.SGD([model.w], lr=1.0), loss=mean, validation=rows,
        callbacks=[EMA(0.2)], progress=False,
    )  # fmt: skip
    a = [-0.9]
    for d, w in ((2 / 11, -2), (0.2, -3), (0.2, -4)):
        a.append(d * a[-1] + (1 - d) * w)
    assert history["loss"] == [0, -1, -2, -3]
    assert history["val_loss"] == pytest.approx(a, rel=1e-12)
    assert model.w.item() == pytest.approx(a[-1], rel=1e-12)


@pytest.mark.parametrize(
    "turn", [("after_update", 5), ("before_validation", 2), ("on_epoch_end", 1), ("on_epoch_begin", 2)]
)
def test_an_interrupt_leaves_the_averages(blobs, turn):
    model, plain = net(), net()
    raw, seen = Seen(), Seen(fail=turn)
    start = [p.numpy() for p in model.parameters()]
    fit(plain, blobs, 3, callbacks=[raw])
    with pytest.raises(KeyboardInterrupt):
        fit(model, blobs, 3, callbacks=[EMA(0.9), seen])
    done = len(seen.turns["after_update"])
    expected = averages([start, *raw.turns["after_update"][:done]], 0.9)[-1]
    for p, want in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(p.data, want, rtol=1e-5, atol=1e-7)


def test_an_average_that_is_not_finite_is_not_left(blobs):
    model = nn.Linear(2, 3, rng=0)
    with pytest.raises(FloatingPointError, match="learning rate 1e\\+39 is likely too high"):
        fit(model, blobs, optimizer=optim.SGD(model.parameters(), lr=1e39), callbacks=[EMA(0.9)])
    assert np.isfinite(model.weight.data).all()


def test_an_average_begins_anew_in_another_training(blobs):
    average = EMA(0.9)
    fit(net(), blobs, 2, callbacks=[average])
    models = net(), net()
    for model, callback in zip(models, (average, EMA(0.9)), strict=True):
        fit(model, blobs, 2, callbacks=[callback])
    assert bits(models[0]) == bits(models[1])


def test_a_state_of_other_parameters_is_refused(blobs, tmp_path):
    path = tmp_path / "c.npz"
    fit(net(), blobs, 1, callbacks=[EMA(0.9)], checkpoint=path)
    groups, meta = checkpoint.load(path)
    for wrong in (
        {"EMA.0.updates": np.array(-1)},
        {"EMA.0.inside": np.array(2)},
        {"EMA.0.others.9": np.zeros(2)},
    ):
        checkpoint.save(path, {**groups, "callbacks": {**groups["callbacks"], **wrong}}, meta)
        model = net()
        before = bits(model)
        with pytest.raises(tg.CheckpointError, match="EMA"):
            fit(model, blobs, 2, callbacks=[EMA(0.9)], checkpoint=path, resume=True)
        assert bits(model) == before
    wrong = {"EMA.0.others.1": np.zeros((1, 6), np.float32)}
    checkpoint.save(path, {**groups, "callbacks": {**groups["callbacks"], **wrong}}, meta)
    with pytest.raises(ValueError, match="EMA: its state is of other parameters"):
        fit(net(), blobs, 2, callbacks=[EMA(0.9)], checkpoint=path, resume=True)


# Going on


class Stop(Callback):
    """Ends a process in the middle: after so many updates in all."""

    def __init__(self, updates):
        self.updates = updates

    def after_update(self, training):
        if training.updates == self.updates:
            raise KeyboardInterrupt


@pytest.mark.parametrize("killed", [2, 3, 4, 7, 9])  # updates; an epoch has three
def test_resuming_anywhere_gives_the_same_bits(blobs, tmp_path, killed):
    def callbacks():
        return [ClipGradNorm(0.5), EMA(0.8), EarlyStopping(50)]

    straight = net()
    whole = fit(straight, blobs, callbacks=callbacks())
    path = tmp_path / "c.npz"
    with pytest.raises(KeyboardInterrupt):
        fit(net(), blobs, callbacks=[*callbacks(), Checkpoint(path, steps=1), Stop(killed)])
    resumed = net(seed=5)
    history = fit(resumed, blobs, callbacks=callbacks(), checkpoint=path, resume=True)
    assert history.history == whole.history
    assert bits(resumed) == bits(straight)


def test_resuming_between_epochs_goes_on_from_the_raw_weights(blobs, tmp_path):
    path = tmp_path / "c.npz"
    straight = net()
    whole = fit(straight, blobs, callbacks=[EMA(0.9)])
    part = net()
    fit(part, blobs, 2, callbacks=[EMA(0.9)], checkpoint=path)
    saved = checkpoint.load(path)[0]["model"]
    assert {name: a.tobytes() for name, a in saved.items()} == bits(part)  # the averages
    resumed = net(seed=5)
    history = fit(resumed, blobs, callbacks=[EMA(0.9)], checkpoint=path, resume=True)
    assert history.history == whole.history
    assert bits(resumed) == bits(straight)


# Stopping


def test_stopping_gives_the_best_weights_back(blobs):
    seen, model = Seen(), net()
    history = fit(model, blobs, 50, loss=Losses([2, 1, 0, 1, 2, 3]), callbacks=[seen, EarlyStopping(2)])
    assert history["val_loss"] == [2, 1, 0, 1, 2]
    assert history.stopped == "no better for 2 epochs"
    best = seen.turns["on_epoch_end"][2]
    assert all((p.data == w).all() for p, w in zip(model.parameters(), best, strict=True))


@pytest.mark.parametrize(
    ("values", "epochs", "ran", "best"),
    [
        ([3, 2, 1, 0, -1], 5, 5, 4),
        ([1, 1, 1, 1, 1], 5, 3, 0),  # equals are no better
        ([2, 3, 1, 3, 3], 5, 5, 2),  # patience ends with the last epoch
        ([math.nan, 3, math.nan, math.nan, 1], 5, 4, 1),
    ],
)
def test_when_it_stops(blobs, values, epochs, ran, best):
    seen, model = Seen(), net()
    history = fit(model, blobs, epochs, loss=Losses(values), callbacks=[seen, EarlyStopping(2)])
    assert (len(history), bool(history.stopped)) == (ran, ran < epochs)
    weights = seen.turns["on_epoch_end"][best]
    assert all((p.data == w).all() for p, w in zip(model.parameters(), weights, strict=True))


@pytest.mark.parametrize(
    ("values", "min_delta", "ran", "best"),
    [
        ([2, 1.9, 1.74, 1.7, 1.6], 0.25, 5, 2),  # slow steps add up: each is held against the best that counted
        ([2, 1.9, 1.8, 1.79, 1.0], 0.25, 3, 0),
        ([2, 1.5, 1.25, 1.0, 0.9], 0.5, 5, 2),  # 1.5 is no more than 0.5 better than 2
        ([math.nan, 3, 2.9, 2.8, 1], 0.5, 4, 1),
    ],
)
def test_what_is_better_by_less_than_min_delta_does_not_count(blobs, values, min_delta, ran, best):
    seen, model = Seen(), net()
    stopping = EarlyStopping(2, min_delta=min_delta)
    history = fit(model, blobs, 5, loss=Losses(values), callbacks=[seen, stopping])
    assert len(history) == ran
    weights = seen.turns["on_epoch_end"][best]
    assert all((p.data == w).all() for p, w in zip(model.parameters(), weights, strict=True))


def test_min_delta_of_what_shall_rise(blobs):
    scores = iter([0.5, 0.6, 0.72, 0.73, 0.74, 0.9])
    metrics = {"score": lambda output, y: next(scores)}
    stopping = EarlyStopping(2, "val_score", "max", min_delta=0.05)
    assert len(fit(net(), blobs, 6, metrics=metrics, callbacks=[stopping])) == 5


@pytest.mark.parametrize(("options", "ran"), [({"mode": "max"}, 4), ({}, 3), ({"mode": "min"}, 3)])
def test_what_it_watches(blobs, options, ran):
    scores = iter([0.5, 0.6, 0.6, 0.6, 0.6, 0.6])
    metrics = {"score": lambda output, y: next(scores)}
    history = fit(net(), blobs, 6, metrics=metrics, callbacks=[EarlyStopping(2, "val_score", **options)])
    assert len(history) == ran
    assert EarlyStopping(2, "val_accuracy").mode == "max"
    with pytest.raises(
        ValueError, match="EarlyStopping: monitor is 'val_f1'; measured are loss, accuracy, lr, val_loss"
    ):
        fit(net(), blobs, callbacks=[EarlyStopping(2, "val_f1")])


def test_patience_holds_across_a_resumption(blobs, tmp_path):
    values = [2, 0, 1, 1, 1, 1, -1]
    straight, resumed = net(), net(seed=5)
    whole = fit(straight, blobs, 9, loss=Losses(values), callbacks=[EarlyStopping(3)])
    path = tmp_path / "c.npz"
    fit(net(), blobs, 3, loss=Losses(values), callbacks=[EarlyStopping(3)], checkpoint=path)
    going_on = {"checkpoint": path, "resume": True}
    history = fit(resumed, blobs, 9, loss=Losses(values[3:]), callbacks=[EarlyStopping(3)], **going_on)
    assert history.history == whole.history
    assert history.stopped == whole.stopped == "no better for 3 epochs"
    assert bits(resumed) == bits(straight)
    again = net(seed=5)
    history = fit(again, blobs, 9, loss=Losses([]), callbacks=[EarlyStopping(3)], **going_on)
    assert (len(history), bits(again)) == (5, bits(straight))  # its patience is at its end: nothing is trained
    longer = fit(net(), blobs, 9, loss=Losses(values[5:]), callbacks=[EarlyStopping(4)], **going_on)
    assert longer["val_loss"] == values[:6]


def test_after_an_error_the_best_weights_are_not_loaded(blobs):
    seen, model = Seen(fail=("after_update", 8)), net()
    with pytest.raises(KeyboardInterrupt):
        fit(model, blobs, loss=Losses([0, 1, 2]), callbacks=[EarlyStopping(9), seen])
    last = seen.turns["after_update"][-1]
    assert all((p.data == w).all() for p, w in zip(model.parameters(), last, strict=True))


def test_stopping_and_averaging_go_together(blobs):
    seen, model = Seen(), net()
    fit(model, blobs, 9, loss=Losses([2, 0, 1, 1]), callbacks=[EMA(0.9), seen, EarlyStopping(2)])
    best = seen.turns["on_epoch_end"][1]
    assert all((p.data == w).all() for p, w in zip(model.parameters(), best, strict=True))


# Checkpoints


@pytest.mark.parametrize(
    ("name", "options", "files"),
    [
        ("c.npz", {}, {"c.npz": (5, 0)}),
        ("c{epoch}.npz", {"every": 2}, {"c2.npz": (2, 0), "c4.npz": (4, 0), "c5.npz": (5, 0)}),
        ("c{epoch}.npz", {"every": 5, "steps": 4}, {
            "c2.npz": (1, 1), "c3.npz": (2, 2), "c4.npz": (3, 3), "c5.npz": (5, 0),
        }),
        ("c{step:03}.npz", {"every": 5, "steps": 4}, {
            "c004.npz": (1, 1), "c008.npz": (2, 2), "c012.npz": (3, 3), "c015.npz": (5, 0),
        }),
    ],
)  # fmt: skip
def test_which_checkpoints_are_written(blobs, tmp_path, name, options, files):
    fit(net(), blobs, callbacks=[Checkpoint(tmp_path / name, **options)])
    found = {path.name: checkpoint.load(path)[1] for path in tmp_path.iterdir()}
    done = {name: (len(m["history"]["epoch"]), m.get("under_way", {}).get("step", 0)) for name, m in found.items()}
    assert done == files


def test_the_last_epoch_is_saved_also_where_training_is_stopped(blobs, tmp_path):
    path = tmp_path / "c.npz"
    stopping = [EarlyStopping(2), Checkpoint(path, every=100)]
    fit(net(), blobs, 50, loss=Losses([1, 2, 3, 4]), callbacks=stopping)
    assert checkpoint.load(path)[1]["history"]["epoch"] == [0, 1, 2]


def test_folders_must_exist(tmp_path):
    for make in (Checkpoint, CSVLog):
        with pytest.raises(FileNotFoundError, match=rf"{make.__name__}: .*the folder .*nowhere does not exist"):
            make(tmp_path / "nowhere" / "file")


# Progress


def numbers(history, prefix):
    return ", ".join(f"{name} {history[prefix + name][-1]:.4f}" for name in ("loss", "accuracy"))


def test_progress_is_a_line_for_each_epoch_that_says_which_rows(blobs, capsys):
    history = fit(net(), blobs, 10, progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:11] for line in lines] == [f"epoch {i:>2}/10" for i in range(1, 11)]
    words = f"training: {numbers(history, '')}; validation: {numbers(history, 'val_')}"
    assert lines[-1] == f"epoch 10/10  {words}"
    history = fit(net(), blobs, 45, progress=True, validation=None)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 23  # every other epoch, and the last
    assert lines[-1] == f"epoch 45/45  training: {numbers(history, '')}"


@pytest.mark.parametrize(("validation", "shown"), [(0.2, "validation"), (None, "training")])
def test_progress_is_a_bar_on_a_terminal(blobs, tmp_path, capsys, monkeypatch, validation, shown):
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    options = {"progress": True, "validation": validation, "checkpoint": tmp_path / "c.npz"}
    fit(net(), blobs, 2, **options)
    history = fit(net(), blobs, 3, **options, resume=True)
    out, err = capsys.readouterr()
    assert not out
    words = numbers(history, "val_" if shown == "validation" else "")
    last = err.splitlines()[-1].split("\r")[-1]
    assert last.startswith("epoch 3/3: 100%")
    assert last.rstrip().endswith(f"{shown}: {words}")
    monkeypatch.setitem(sys.modules, "tqdm", None)
    fit(net(), blobs, 2, progress=True)
    assert capsys.readouterr().out.startswith("epoch 1/2  training: loss ")


def test_a_bar_counts_all_steps_once(tmp_path):
    from tqdm import tqdm

    from tinygrad_ce.train.logs import Bar

    class Counts(Callback):
        def after_update(self, training):
            counts.append(bars[-1].n)

    bars, counts = [], []
    made = lambda **options: bars.append(tqdm(**options)) or bars[-1]
    # Batches without a label update nothing.
    rows = np.zeros((8, 2)), np.array([0, -100, 0, -100, -100, 0, -100, -100])
    for epochs, resume in ((1, False), (2, True)):
        tg.fit(
            nn.Linear(2, 3, rng=0), rows, epochs=epochs, batch_size=1, callbacks=[Bar(made), Counts()],
            checkpoint=tmp_path / "c.npz", resume=resume, progress=False,
        )  # fmt: skip
    labelled = [
        1 + i for e in (0, 1) for i in np.flatnonzero(rows[1][np.random.default_rng([0, e]).permutation(8)] == 0)
    ]
    assert counts == [*labelled[:3], *(8 + n for n in labelled[3:])]
    assert [(bar.initial, bar.n, bar.total) for bar in bars] == [(0, 8, 8), (8, 16, 16)]


# Logs


def rows(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def expected_rows(history):
    names = list(history.history)
    lines = [[str(i + 1), *(repr(history[name][i]) for name in names)] for i in range(len(history))]
    return [["epoch", *names], *lines]


def test_the_csv_file_is_the_history(blobs, tmp_path):
    path = tmp_path / "log.csv"
    history = fit(net(), blobs, 3, callbacks=[CSVLog(path)])
    assert rows(path) == expected_rows(history)
    assert rows(path)[0] == ["epoch", "loss", "accuracy", "lr", "val_loss", "val_accuracy"]
    assert [float(row[1]) for row in rows(path)[1:]] == history["loss"]


def test_the_csv_file_is_whole_after_each_epoch_and_after_a_resumption(blobs, tmp_path):
    path, saved = tmp_path / "log.csv", tmp_path / "c.npz"
    lengths = []

    class Lengths(Callback):
        def on_epoch_end(self, training):
            lengths.append(len(rows(path)))

    path.write_text("something else\n")
    log = CSVLog(path)
    with pytest.raises(KeyboardInterrupt):
        fit(net(), blobs, callbacks=[log, Lengths(), Checkpoint(saved, every=2), Seen(fail=("on_epoch_end", 3))])
    assert lengths == [2, 3, 4]  # the third epoch is written, and lost: the checkpoint has two
    history = fit(net(), blobs, callbacks=[log], checkpoint=saved, resume=True)
    assert rows(path) == expected_rows(history)


def events(folder):
    """(tag, step, value) and starts, read by TensorBoard itself, in the order of writing."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    for path in sorted(folder.iterdir()):
        for event in EventFileLoader(str(path)).Load():
            if event.HasField("session_log"):
                yield "start", event.step, None
            for value in event.summary.value:
                yield value.tag, event.step, value.tensor.float_val[0]


def expected_events(history, run):
    names = [name for name in history.history if name.startswith("val_") == (run == "validation")]
    for i in range(len(history)):
        for name in names:
            yield name.removeprefix("val_"), i + 1, struct.unpack("f", struct.pack("f", history[name][i]))[0]


def test_tensorboard_reads_the_history(blobs, tmp_path):
    history = fit(net(), blobs, 3, callbacks=[TensorBoard(tmp_path / "new" / "run")])
    for run, tags in (("training", {"loss", "accuracy", "lr"}), ("validation", {"loss", "accuracy"})):
        found = list(events(tmp_path / "new" / "run" / run))
        assert found == [("start", 1, None), *expected_events(history, run)]
        assert {tag for tag, _, value in found if value is not None} == tags


def test_tensorboard_shows_the_last_training_of_a_folder(blobs, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.summary.writer import event_file_writer

    clock = types.SimpleNamespace(time=lambda: 1e9)
    monkeypatch.setattr(event_file_writer, "time", clock)  # files are read in the order of the seconds in their names
    saved, folder = tmp_path / "c.npz", tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(net(), blobs, callbacks=[TensorBoard(folder), Checkpoint(saved, every=2), Seen(fail=("on_epoch_end", 3))])
    clock.time = lambda: 2e9
    history = fit(net(), blobs, 4, callbacks=[TensorBoard(folder)], checkpoint=saved, resume=True)
    shown = EventAccumulator(str(folder / "validation")).Reload()
    np.testing.assert_array_equal([e.value for e in shown.Scalars("loss")], np.float32(history["val_loss"]))
    assert [e.step for e in shown.Scalars("loss")] == [1, 2, 3, 4]


def test_tensorboard_asks_for_its_extra(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with pytest.raises(ImportError, match=r"needs tensorboard: pip install 'tinygrad-ce\[tensorboard\]'"):
        TensorBoard(tmp_path)


def test_a_checkpoint_holds_what_all_callbacks_made_of_the_turn(blobs, tmp_path):
    """Wherever it stands among them: those after it have to be done, too."""

    def run(model, epochs, **options):
        optimizer = optim.SGD(model.parameters(), lr=0.3)
        schedule = optim.CosineAnnealingLR(optimizer, 12, per="step")
        callbacks = [*options.pop("first", []), EMA(0.8), EarlyStopping(50)]
        return fit(model, blobs, epochs, optimizer=optimizer, schedule=schedule, callbacks=callbacks, **options)

    straight, resumed = net(), net(seed=5)
    run(straight, 4)
    run(net(), 2, first=[Checkpoint(tmp_path / "c{step}.npz", steps=2)])
    for step in (2, 4, 6):
        run(resumed, 4, checkpoint=tmp_path / f"c{step}.npz", resume=True)
        assert bits(resumed) == bits(straight)


def test_errors_of_a_full_disk_name_the_log():
    callbacks = [tg.train.CSVLog("/dev/full")]
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        tg.fit(tg.nn.Linear(4, 3, rng=0), tg.data.load_iris(), epochs=1, callbacks=callbacks, progress=False)


def test_a_log_follows_no_link_and_no_name_of_a_measure_is_a_formula(tmp_path):
    path, mine = tmp_path / "log.csv", tmp_path / "mine"
    mine.write_text("precious")
    path.symlink_to(mine)
    metrics = {"=1+2": tg.train.macro_f1}
    model = tg.nn.Linear(4, 3, rng=0)
    tg.fit(model, tg.data.load_iris(), epochs=1, metrics=metrics, callbacks=[tg.train.CSVLog(path)], progress=False)
    assert mine.read_text() == "precious"
    assert path.read_text().splitlines()[0] == "epoch,loss,accuracy,lr,'=1+2"


def test_progress_in_a_program_without_windows(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert len(tg.fit(tg.nn.Linear(4, 3, rng=0), tg.data.load_iris(), epochs=2)) == 2


def test_progress_on_a_terminal_of_ascii_alone(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    tg.fit(tg.nn.Linear(4, 3, rng=0), tg.data.load_iris(), epochs=1, metrics={"größe": tg.train.macro_f1})
    assert b"gr\\xf6\\xdfe 0." in raw.getvalue()
