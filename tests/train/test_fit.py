"""What fit does beside plain steps: weights, steps in parts, metrics, callbacks, going on in the middle of an epoch."""

import functools
import itertools

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


def test_a_pair_names_its_classes_by_their_numbers():
    x = np.random.default_rng(1).standard_normal((12, 2))
    y = np.array([0] * 6 + [2] * 6)  # class 1 doesn't occur
    models = [linear(), linear()]
    for model, weight in zip(models, ({"2": 5.0}, [1, 1, 5]), strict=True):
        tg.fit(model, (x, y), epochs=1, batch_size=12, class_weight=weight, progress=False)
    assert bits(models[0]) == bits(models[1])


def test_weights_need_a_loss_for_each_row(blobs):
    def loss(z, y, **options):
        return tg.cross_entropy(z, y)

    with pytest.raises(ValueError, match=r"reduction='none' and one number for each row, but it has shape \(\)"):
        tg.fit(linear(), blobs, loss=loss, sample_weight=np.ones(90), progress=False)


def test_a_loss_is_given_tensors_everywhere(blobs):
    def loss(z, y, **options):
        z.detach()
        return tg.cross_entropy(z, y, **options)

    history = tg.fit(linear(), blobs, epochs=1, loss=loss, validation=0.2, accumulate=2, progress=False)
    assert np.isfinite(history["val_loss"]).all()


def test_a_mean_is_told_also_of_rows_sorted_by_class():
    iris = data.load_iris()
    loss = functools.partial(tg.cross_entropy, weight=[1.0, 10, 1])
    with pytest.raises(ValueError, match="need a loss that is a mean over rows"):
        tg.fit(nn.Linear(4, 3, rng=0), iris, loss=loss, accumulate=4, progress=False)


def test_a_step_in_parts_of_a_batch_norm_is_told_to_be_another_one():
    x, y, _ = data.make_blobs(60, seed=0)
    model = nn.Sequential(nn.Linear(2, 4, rng=0), nn.BatchNorm1d(4), nn.Linear(4, 3, rng=1))
    tg.fit(model, (x, y), epochs=1, progress=False)
    with pytest.warns(UserWarning, match=r"BatchNorm1d \(1\) normalises each part of a step by that part's own rows"):
        tg.fit(model, (x, y), epochs=1, accumulate=2, progress=False)


def test_weights_spoiled_by_the_very_last_step_are_noticed(blobs, tmp_path):
    for options in ({}, {"checkpoint": tg.train.Checkpoint(tmp_path / "c.npz", steps=1)}):
        model = nn.Linear(2, 3, rng=0)
        before = bits(model)
        with pytest.raises(FloatingPointError, match=r"weights are nan or infinite after epoch 1.*rate 1e\+39"):
            tg.fit(
                model, blobs, epochs=1, batch_size=90, optimizer=optim.SGD(model.parameters(), lr=1e39),
                progress=False, **options,
            )  # fmt: skip
        assert bits(model) == before
    assert list(tmp_path.iterdir()) == []


def test_validation_with_other_class_numbers_is_refused(blobs):
    train = blobs._replace(classes=("a", "b", "c"))
    held = data.Dataset(blobs.x, np.maximum(blobs.y - 1, 0), ("b", "c"))
    model = nn.Linear(2, 3, rng=0)
    before = bits(model)
    with pytest.raises(ValueError, match=r"validation numbers the classes otherwise: '[bc]' is [01], not [12]"):
        tg.fit(model, train, validation=held, progress=False)
    wide = (np.zeros((5, 4)), np.zeros(5, int))
    with pytest.raises(ValueError, match=r"expected \(…, 2\)"):
        tg.fit(model, train, validation=wide, progress=False)
    soft = np.full((5, 3), np.nan)
    with pytest.raises(ValueError, match="nan"):
        tg.fit(model, train, validation=(np.zeros((5, 2)), soft), progress=False)
    assert bits(model) == before


def test_resuming_with_other_metrics_or_rows_is_refused(blobs, tmp_path):
    path = tmp_path / "c.npz"
    tg.fit(linear(), blobs, epochs=1, checkpoint=path, progress=False)
    before = path.read_bytes()
    with pytest.raises(tg.CheckpointError, match=r"\['macro_f1'\] less"):
        tg.fit(linear(), blobs, epochs=2, checkpoint=path, resume=True, metrics=[tg.train.macro_f1], progress=False)
    assert path.read_bytes() == before
    with pytest.raises(KeyboardInterrupt):
        everything(net(0), blobs, 3, path, stop_at=8)
    fewer = (blobs.x[:60], blobs.y[:60])
    with pytest.raises(tg.CheckpointError, match="with rows 72, now rows is 48"):
        everything(net(0), fewer, 3, path, resume=True)
    streams = [data.stream(blobs, block=size) for size in (64, 128)]
    with pytest.raises(KeyboardInterrupt):
        everything(net(0), streams[0], 3, path, stop_at=8)
    with pytest.raises(tg.CheckpointError, match="with blocks"):
        everything(net(0), streams[1], 3, path, resume=True)


def test_a_stream_goes_on_from_the_last_step_of_an_epoch(blobs, tmp_path):
    """Where the last of the batches that share a step isn't there, and the epoch's numbers are still to be measured."""
    path = tmp_path / "{step}.npz"
    source = data.stream((blobs.x, blobs.y))
    saving = tg.train.Checkpoint(path, every=9, steps=1)
    straight = linear()
    tg.fit(straight, source, epochs=2, batch_size=18, accumulate=2, callbacks=[saving], progress=False)
    resumed = linear()
    history = tg.fit(
        resumed, source, epochs=2, batch_size=18, accumulate=2, checkpoint=tmp_path / "3.npz", resume=True,
        progress=False,
    )  # fmt: skip
    assert bits(resumed) == bits(straight)
    assert len(history) == 2


def test_one_callback_takes_part_once(blobs):
    model = linear()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    schedule = optim.StepLR(optimizer, 1)
    before = bits(model)
    for options, message in [
        ({"schedule": schedule, "callbacks": [schedule]}, "one StepLR takes part twice"),
        ({"callbacks": [tg.train.EMA(0.9), tg.train.EMA(0.99)]}, "more than one EMA takes part"),
        ({"callbacks": [tg.train.EarlyStopping(3)], "patience": 3}, "more than one EarlyStopping takes part"),
    ]:
        with pytest.raises(ValueError, match=message):
            tg.fit(model, blobs, optimizer=optimizer, progress=False, **options)
    assert bits(model) == before


def test_early_stopping_that_joins_or_leaves_later(blobs, tmp_path):
    path = tmp_path / "c.npz"
    tg.fit(linear(), blobs, epochs=5, checkpoint=path, progress=False)
    model, seen = linear(), []

    class Worse(tg.train.Callback):
        def on_epoch_end(self, training):
            seen.append(bits(training.model))
            training.history.history["loss"][-1] += 10 * training.epoch  # than all that was before

    history = tg.fit(
        model, blobs, epochs=50, checkpoint=path, resume=True, callbacks=[Worse()], patience=2, progress=False
    )
    assert len(history) == 8  # of those from its joining on the first is the best
    assert bits(model) == seen[0]
    with pytest.raises(tg.CheckpointError, match=r"keeps the state of EarlyStopping\.0"):
        tg.fit(linear(), blobs, epochs=60, checkpoint=path, resume=True, progress=False)


def test_what_cannot_be_written_is_refused_at_once(blobs, tmp_path):
    model = linear()
    before = bits(model)
    for options, error, message in [
        ({"meta": {"a": {1}}}, TypeError, "meta: Object of type set"),
        ({"meta": {"history": 1}}, ValueError, "names that the checkpoint itself uses"),
        ({"checkpoint": tmp_path}, IsADirectoryError, "is a folder"),
        ({"seed": 1.5}, ValueError, "seed is 1.5"),
        ({"metrics": [len, len]}, ValueError, "a name for each"),
        ({"metrics": {"val_x": len}}, ValueError, "metrics has 'val_x'"),
    ]:
        with pytest.raises(error, match=message):
            tg.fit(model, blobs, progress=False, **options)
    assert bits(model) == before


def test_a_hook_of_another_name_is_refused_and_one_thing_needs_no_list(blobs):
    with pytest.raises(TypeError, match=r"Ends\.on_batch_end is no hook.* there are on_train_begin, on_epoch_begin"):
        type("Ends", (tg.train.Callback,), {"on_batch_end": print})
    history = tg.fit(linear(), blobs, epochs=1, callbacks=tg.train.EMA(0.9), metrics=tg.train.macro_f1, progress=False)
    assert "macro_f1" in history.history


def test_streams_and_data_sets_are_predicted_and_standardised(blobs):
    source = data.stream((blobs.x, blobs.y))
    model = nn.Linear(2, 3, rng=0)
    for rows in (source, blobs, (blobs.x, blobs.y)):
        np.testing.assert_array_equal(tg.predict(model, rows), tg.predict(model, blobs.x))
        np.testing.assert_allclose(nn.Standardize.of(rows).mean.data, blobs.x.mean(axis=0), rtol=1e-5)
    for mean, scale, message in [
        ([0, 0], [1, 0], r"scale\[1\] is 0.0, .* Standardize.of\(x\) takes a scale of 1"),
        ([0, np.nan], [1, 1], r"mean\[1\] is nan"),
        ([0], [1, 1], r"mean has shape \(1,\), but scale \(2,\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            nn.Standardize(mean, scale)


def test_a_hook_may_be_set_on_a_callback_itself(blobs):
    told = []
    callback = tg.train.Callback()
    callback.on_epoch_end = lambda training: told.append(training.epoch)
    tg.fit(linear(), blobs, epochs=2, callbacks=[callback], progress=False)
    assert told == [1, 2]


def test_updates_are_counted_over_resumptions_with_other_batches(blobs, tmp_path):
    path, seen = tmp_path / "c.npz", []

    class Counts(tg.train.Callback):
        def on_train_end(self, training):
            seen.append(training.updates)

    for epochs, batch_size in ((2, 9), (3, 45)):
        tg.fit(
            linear(), blobs, epochs=epochs, batch_size=batch_size, checkpoint=path, resume=epochs > 2,
            callbacks=[Counts()], progress=False,
        )  # fmt: skip
    assert seen == [20, 22]


# What would train nothing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_weight": np.zeros(90)}, "sample_weight is 0 for every labelled row, expected some above 0"),
        ({"class_weight": [0, 0, 0]}, "class_weight is 0 for every labelled row"),
        ({"class_weight": dict.fromkeys(range(3), 0)}, "class_weight is 0 for every labelled row"),
        ({"sample_weight": [1, 0, 0] * 30, "class_weight": {0: 0}}, "sample_weight times class_weight is 0 for every"),
    ],
)
def test_weights_that_leave_nothing_are_refused(options, message):
    x, y = np.ones((90, 2)), np.arange(90) % 3
    model = nn.Linear(2, 3, rng=0)
    before = model.state_dict()
    with pytest.raises(ValueError, match=message):
        tg.fit(model, (x, y), epochs=1, progress=False, **options)
    if "sample_weight" not in options:
        with pytest.raises(ValueError, match=message):
            tg.fit(model, tg.data.stream((x, y)), epochs=1, progress=False, **options)
    labelled = (x, np.where(y == 0, 0, -100))
    with pytest.raises(ValueError, match="0 for every labelled row"):
        tg.fit(model, labelled, epochs=1, progress=False, sample_weight=[0, 1, 1] * 30)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    one = np.zeros(90)
    one[7] = 1
    assert tg.fit(model, (x, y), epochs=1, progress=False, sample_weight=one)["loss"][0] > 0


def test_rows_without_any_label_are_an_error():
    x, y = np.ones((40, 2)), np.arange(40) % 3
    nothing = np.full(40, -100)
    model = nn.Linear(2, 3, rng=0)
    with pytest.raises(FloatingPointError, match="fit: the loss is nan: no row has a label, all are ignored"):
        tg.fit(model, (x, nothing), epochs=1, progress=False)
    with pytest.raises(FloatingPointError, match="fit: the loss is nan: no row has a label"):
        tg.fit(model, (x, nothing), epochs=1, accumulate=3, progress=False)
    with pytest.raises(FloatingPointError, match="the validation's loss is nan: none of its rows has a label"):
        tg.fit(model, (x, y), epochs=1, validation=(x, nothing), progress=False)


def test_a_class_of_one_row_is_told_where_rows_are_held_out():
    x, y = np.ones((21, 2)), np.array([0, 1] * 10 + [3])
    names = ("a", "b", "c", "dd")
    message = r"split: class 'dd' has but one row, so it is trained on or measured, not both; is the label misspelt\?"
    with pytest.warns(UserWarning, match=message) as caught:
        tg.data.split(tg.data.Dataset(x, y, names))
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=message):
        tg.fit(nn.Linear(2, 4, rng=0), (x, y, names), epochs=1, validation=0.2, progress=False)
    y[:2] = 2, 4
    with pytest.warns(UserWarning, match=r"class 'c' \(and 2 more like it\) has but one row"):
        tg.data.split(tg.data.Dataset(x, y, names))


@pytest.mark.parametrize("hidden", [[], [16]])
def test_unscaled_features_that_taught_nothing_are_told(hidden):
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = rng.normal(size=(90, 4)) * [0.1, 300, 2, 5] + y[:, None] * [0.3, 300, 4, 5] + [0, 700, 1, 100]

    def made(*first):
        widths = [4, *hidden, 3]
        layers = [nn.Linear(a, b, rng=0) for a, b in itertools.pairwise(widths)]
        return nn.Sequential(*first, layers[0], *(part for layer in layers[1:] for part in (nn.ReLU(), layer)))

    message = r"fit: the loss is .*, that of guessing .* 1.099; features .* are likely why: begin .* nn.Standardize.of"
    with pytest.warns(UserWarning, match=message) as caught:
        tg.fit(made(), (x, y), progress=False)
    assert caught[0].filename == __file__
    for model, data_ in ((made(nn.Standardize.of(x)), (x, y)), (made(), ((x - x.mean(axis=0)) / x.std(axis=0), y))):
        assert tg.fit(model, data_, progress=False)["accuracy"][-1] > 0.7
