"""What fit does beside plain steps: weights, steps in parts, metrics, callbacks, going on in the middle of an epoch."""

import functools

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import data, nn, optim
from tinygrad_ce.train import checkpoint


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def bits(model):
    return {name: a.tobytes() for name, a in model.state_dict().items()}


@pytest.fixture(scope="module")
def blobs():
    return data.make_blobs(90, seed=3)


def linear():
    """A classifier of zeros, in float64."""
    model = nn.Linear(2, 3, rng=0, dtype="float64")
    model.load_state_dict({"weight": np.zeros((3, 2)), "bias": np.zeros(3)})
    return model


def by_hand(x, y, weight, lr=0.1):
    """The weight after a step from zeros: the gradient is the mean of weight · (p − onehot) xᵀ."""
    counted = y >= 0
    slope = (np.full((len(y), 3), 1 / 3) - np.eye(3)[np.maximum(y, 0)]) * (weight * counted)[:, None]
    return -lr * slope.T @ x.astype(float) / counted.sum()


@pytest.mark.parametrize("parts", [1, 3, 18])
def test_a_weighted_step_is_the_formula(blobs, parts):
    rng = np.random.default_rng(0)
    sample, of_class = rng.uniform(0, 2, 90), np.array([0.5, 3.0, 1.0])
    y = np.where(np.arange(90) % 7, blobs.y, -100)
    model = linear()
    history = tg.fit(
        model, (blobs.x, y), epochs=1, batch_size=90 // parts, accumulate=parts, sample_weight=sample,
        class_weight=of_class, progress=False,
    )  # fmt: skip
    weight = sample * of_class[np.maximum(y, 0)]
    np.testing.assert_allclose(model.weight.data, by_hand(blobs.x, y, weight), rtol=1e-12, atol=1e-15)
    assert history["loss"][0] == pytest.approx(np.log(3) * weight[y >= 0].sum() / (y >= 0).sum(), rel=1e-12)


def test_class_weights_may_be_balanced_or_named():
    x = np.random.default_rng(1).standard_normal((12, 2))
    y = np.array([0] * 6 + [1] * 4 + [2] * 2)
    balanced = (12 / 3 / np.array([6, 4, 2]))[y]
    assert balanced.mean() == pytest.approx(1)
    named = data.Dataset(x.astype(np.float32), y, ("rose", "iris", "lily"))
    for given, weight in [
        ("balanced", balanced),
        ({"lily": 5, 0: 0.5}, np.array([0.5, 1, 5])[y]),
        ([1, 2, 3], np.array([1, 2, 3])[y]),
    ]:
        model = linear()
        tg.fit(model, named, epochs=1, batch_size=12, class_weight=given, progress=False)
        np.testing.assert_allclose(model.weight.data, by_hand(named.x, y, weight), rtol=1e-12, atol=1e-15)


def test_a_held_out_fraction_takes_its_weights_with_it(blobs):
    whole, _ = data.split(blobs, 0.2, 0)
    weight = np.where(blobs.x[:, 0] > 0, 2.0, 0.5)
    model = linear()
    tg.fit(model, blobs, epochs=1, batch_size=90, sample_weight=weight, validation=0.2, seed=0, progress=False)
    expected = by_hand(whole.x, whole.y, np.where(whole.x[:, 0] > 0, 2.0, 0.5))
    np.testing.assert_allclose(model.weight.data, expected, rtol=1e-12, atol=1e-15)


def test_steps_in_parts_are_whole_steps(blobs):
    models = []
    for batch_size, accumulate in ((30, 1), (10, 3), (5, 6), (3, 10)):
        model = nn.Sequential(
            nn.Linear(2, 8, rng=0, dtype="float64"), nn.Tanh(), nn.Linear(8, 3, rng=1, dtype="float64")
        )
        optimizer = optim.Adam(model.parameters(), lr=0.02)
        history = tg.fit(
            model, blobs, epochs=3, batch_size=batch_size, accumulate=accumulate, optimizer=optimizer, progress=False
        )
        models.append((model.state_dict(), history))
    for state, history in models[1:]:
        for name, array in models[0][0].items():
            np.testing.assert_allclose(state[name], array, rtol=0, atol=1e-13)
        np.testing.assert_allclose(history["loss"], models[0][1]["loss"], rtol=1e-13)
        assert history["accuracy"] == models[0][1]["accuracy"]


def test_steps_in_parts_need_a_mean(blobs):
    for loss in (
        functools.partial(tg.cross_entropy, reduction="sum"),
        functools.partial(tg.cross_entropy, weight=[1.0, 9, 2]),
    ):
        model = nn.Linear(2, 3, rng=0)
        before = bits(model)
        with pytest.raises(ValueError, match=r"the loss of 32 rows is .* need a loss that is a mean over rows"):
            tg.fit(model, blobs, accumulate=2, loss=loss, progress=False)
        assert bits(model) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 0}, "accumulate is 0"),
        ({"sample_weight": np.ones(89)}, r"sample_weight has shape \(89,\).* each of 90 rows"),
        ({"sample_weight": np.where(np.arange(90) == 7, -1.0, 1)}, r"sample_weight\[7\] is -1"),
        ({"class_weight": [1, 2]}, r"class_weight has shape \(2,\).* each of 3 classes"),
        ({"class_weight": "balance"}, "class_weight is 'balance', expected 'balanced'"),
        ({"class_weight": {"5": 1}}, "class_weight has '5', expected classes of 0, 1, 2"),
        ({"class_weight": [1, np.nan, 1]}, r"class_weight\[1\] is nan"),
        ({"metrics": {"loss": len}}, "metrics has 'loss'"),
        ({"metrics": ["accuracy"]}, "metrics has"),
    ],
)  # fmt: skip
def test_bad_weights_and_metrics_are_named(blobs, options, message):
    model = nn.Linear(2, 3, rng=0)
    before = bits(model)
    with pytest.raises(ValueError, match=message):
        tg.fit(model, blobs, progress=False, **options)
    assert bits(model) == before


def test_class_weight_of_soft_targets_is_refused(blobs):
    with pytest.raises(ValueError, match="class_weight needs class indices"):
        tg.fit(nn.Linear(2, 3, rng=0), (blobs.x, np.eye(3)[blobs.y]), class_weight=[1, 2, 3], progress=False)


def test_metrics_are_of_all_held_out_rows_at_once(blobs):
    held = data.make_blobs(33, seed=4)
    model = nn.Linear(2, 3, rng=0)

    def spread(logits, y):
        assert (logits.shape, y.shape) == ((33, 3), (33,))
        return logits.std()

    history = tg.fit(model, blobs, epochs=2, validation=held, metrics=[spread], progress=False)
    assert history["val_spread"][-1] == pytest.approx(tg.train.logits(model, held.x).std())
    alone = tg.fit(model, blobs, epochs=1, metrics={"rows": lambda z, y: len(y)}, progress=False)
    assert alone["rows"] == [90]


def test_top_k_and_macro_f1_by_hand():
    z = np.array([[3.0, 2, 1], [1, 2, 3], [3, 1, 2], [0, 5, 1]])
    y = np.array([0, 1, 2, 1])
    assert tg.train.top_k_accuracy(z, y, 1) == 0.5
    assert tg.train.top_k_accuracy(z, y, 2) == 1.0
    # class 0: precision 1/2, recall 1; class 1: 1, 1/2; class 2: 0
    assert tg.train.macro_f1(z, y) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    with pytest.raises(ValueError, match="k is 4"):
        tg.train.top_k_accuracy(z, y, 4)


class Diary(tg.train.Callback):
    """Notes every hook, and where the training is."""

    def __init__(self):
        self.lines = []

    def __getattribute__(self, name):
        if name.startswith(("on_", "before_", "after_")):
            return lambda training: self.lines.append((name, training.epoch, training.step, training.updates))
        return super().__getattribute__(name)


for _hook in ("on_train_begin", "on_epoch_begin", "before_update", "after_update", "before_validation", "on_epoch_end",
              "on_train_end"):  # fmt: skip
    setattr(Diary, _hook, None)  # a hook counts as overridden


def test_hooks_come_in_their_order(blobs):
    diary = Diary()
    tg.fit(nn.Linear(2, 3, rng=0), blobs, epochs=2, batch_size=45, callbacks=[diary], progress=False)
    epoch = [
        ("on_epoch_begin", 0, 0, 0), ("before_update", 0, 0, 0), ("after_update", 0, 1, 1), ("before_update", 0, 1, 1),
        ("after_update", 0, 2, 2), ("before_validation", 0, 2, 2), ("on_epoch_end", 1, 0, 2),
    ]  # fmt: skip
    later = [(name, e + 1, step, updates + 2) for name, e, step, updates in epoch]
    assert diary.lines == [("on_train_begin", 0, 0, 0), *epoch, *later, ("on_train_end", 2, 0, 4)]


@pytest.mark.parametrize(
    "hook", ["before_update", "after_update", "on_epoch_begin", "before_validation", "on_train_begin"]
)
def test_an_error_in_a_hook_leaves_a_whole_step_and_all_callbacks_end(blobs, hook):
    ended, weights = [], []
    model = nn.Linear(2, 3, rng=0)

    class Fails(tg.train.Callback):
        def on_train_end(self, training):
            ended.append(training.failed)
            raise RuntimeError("this too")

    def fail(self, training):
        raise ArithmeticError("on purpose")

    setattr(Fails, hook, fail)

    class Watches(tg.train.Callback):
        def on_train_begin(self, training):
            weights.append(bits(model))

        def after_update(self, training):
            weights.append(bits(model))

        def on_train_end(self, training):
            ended.append(training.failed)

    with pytest.raises(RuntimeError, match="this too") as caught:
        tg.fit(model, blobs, callbacks=[Watches(), Fails(), Watches()], progress=False)
    assert isinstance(caught.value.__context__, ArithmeticError)
    assert ended == [True, True, True]
    assert bits(model) == weights[-1] or not weights


def test_a_callback_stops_training_after_the_epoch(blobs):
    class Enough(tg.train.Callback):
        def after_update(self, training):
            if training.updates == 4:
                training.stop("enough")

    history = tg.fit(nn.Linear(2, 3, rng=0), blobs, epochs=9, callbacks=[Enough()], progress=False)
    assert (len(history), history.stopped) == (2, "enough")
    history = tg.fit(nn.Linear(2, 3, rng=0), blobs, epochs=2, callbacks=[Enough()], progress=False)
    assert (len(history), history.stopped) == (2, "")
    with pytest.raises(TypeError, match=r"callbacks\[0\] is of type function"):
        tg.fit(nn.Linear(2, 3, rng=0), blobs, callbacks=[print.__class__ and (lambda t: None)], progress=False)


def everything(model, source, epochs, path, *, stop_at=None, resume=False, **options):
    """A training with all that changes from step to step, stopped after so many updates."""

    class Stop(tg.train.Callback):
        def after_update(self, training):
            if training.updates == stop_at:
                raise KeyboardInterrupt

    optimizer = optim.Adam(model.parameters(), lr=0.03)
    callbacks = [
        optim.CosineAnnealingLR(optimizer, 40, per="step"), tg.train.ClipGradNorm(0.5), tg.train.EMA(0.9),
        tg.train.Checkpoint(path, steps=3), Stop(),
    ]  # fmt: skip
    return tg.fit(
        model, source, epochs=epochs, optimizer=optimizer, callbacks=callbacks, checkpoint=path, resume=resume,
        validation=0.2, patience=9, seed=4, progress=False, **{"batch_size": 8, "accumulate": 2, **options},
    )  # fmt: skip


def net(seed):
    return nn.Sequential(nn.Linear(2, 8, rng=seed), nn.ReLU(), nn.Dropout(0.3, rng=seed), nn.Linear(8, 3, rng=seed + 1))


@pytest.mark.parametrize("kind", ["arrays", "stream"])
def test_going_on_in_the_middle_of_an_epoch_gives_the_same_bits(blobs, tmp_path, kind):
    source = blobs if kind == "arrays" else data.stream((blobs.x, blobs.y))
    path = tmp_path / "c.npz"
    straight = net(0)
    whole = everything(straight, source, 3, tmp_path / "straight.npz")
    with pytest.raises(KeyboardInterrupt):
        everything(net(0), source, 3, path, stop_at=8)  # of 5 steps in an epoch; saved after the sixth
    assert checkpoint.load(path)[1]["under_way"]["step"] == 1
    resumed = net(7)
    history = everything(resumed, source, 3, path, resume=True)
    assert bits(resumed) == bits(straight)
    assert history.history == whole.history
    with pytest.raises(KeyboardInterrupt):
        everything(net(0), source, 3, path, stop_at=8)
    other = net(7)
    before = bits(other)
    for options in ({"batch_size": 16}, {"accumulate": 1}):
        with pytest.raises(tg.CheckpointError, match="in the middle of an epoch with"):
            everything(other, source, 3, path, resume=True, **options)
    assert bits(other) == before


def test_a_stream_trains_as_its_rows_do(blobs):
    model, same = linear(), linear()
    source = data.stream((blobs.x, blobs.y))
    history = tg.fit(model, source, epochs=1, batch_size=90, validation=source, class_weight="balanced", progress=False)
    expected = tg.fit(same, blobs, epochs=1, batch_size=90, validation=blobs, class_weight="balanced", progress=False)
    np.testing.assert_allclose(model.weight.data, same.weight.data, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(history["val_loss"], expected["val_loss"], rtol=1e-6)
    assert history["val_accuracy"] == expected["val_accuracy"]
    with pytest.raises(ValueError, match="sample_weight is for rows in memory"):
        tg.fit(model, source, sample_weight=np.ones(90), progress=False)
    with pytest.raises(ValueError, match="the stream has 3 classes, but the model gives 2 logits"):
        tg.fit(nn.Linear(2, 2, rng=0), source, progress=False)
