"""Models of one logit: yes or no by binary cross-entropy, in fit and in what measures and predicts."""

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce import nn

BCE = tg.binary_cross_entropy_with_logits


class Flat(nn.Module):
    """Gives (N) logits, without a column."""

    def __init__(self):
        self.linear = nn.Linear(2, 1, rng=0)

    def forward(self, x):
        return self.linear(x)[:, 0]


@pytest.fixture
def rows():
    x = np.random.default_rng(0).standard_normal((90, 2)).astype(np.float32)
    return x, (x @ [2.0, -1.0] > 0.3).astype(int)


def train(model, data, loss=BCE, **options):
    return tg.fit(model, data, loss=loss, epochs=30, progress=False, **options)


def by_hand(x, y, epochs=30, weight=None):
    """The same training written out: the model starts as Linear(2, 1, rng=0)."""
    start = nn.Linear(2, 1, rng=0)
    w, b = start.weight.numpy().astype(float)[0], float(start.bias.numpy()[0])
    losses = []
    for epoch in range(epochs):
        total = 0.0
        for index in tg.data.batches((np.arange(len(y))[:, None], y), 32, seed=0, epoch=epoch):
            at = index[0][:, 0].astype(int)
            z = x[at] @ w + b
            each = np.ones(len(at)) if weight is None else weight[at]
            total += np.sum(each * (np.logaddexp(0, z) - z * y[at]))
            d = each * (1 / (1 + np.exp(-z)) - y[at]) / len(at)
            w, b = w - 0.1 * d @ x[at], b - 0.1 * d.sum()
        losses.append(total / len(y))
    return w, b, losses


@pytest.mark.parametrize("make", [lambda: nn.Linear(2, 1, rng=0), Flat])
def test_one_logit_trains_as_logistic_regression_does(rows, make):
    model = make()
    history = train(model, rows, validation=rows, metrics=tg.train.macro_f1)
    w, b, losses = by_hand(*rows)
    np.testing.assert_allclose(np.ravel(model.parameters()[0].data), w, rtol=1e-4)
    np.testing.assert_allclose(model.parameters()[1].data, [b], rtol=1e-3)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    x, y = rows
    predicted = (x @ w + b > 0).astype(int)
    np.testing.assert_array_equal(tg.predict(model, x), predicted)
    assert history["val_accuracy"][-1] == np.mean(predicted == y) == tg.accuracy(tg.predict(model, x), y)
    assert history["val_accuracy"][-1] > 0.9 > np.mean(y == 0)
    assert history["accuracy"][-1] > 0.85
    assert history["val_macro_f1"][-1] == tg.train.macro_f1(predicted, y)


def test_measures_take_a_column_of_logits():
    z, y = np.array([[-1.0], [2.0], [0.0], [1e-9]]), [0, 1, 1, 1]
    assert tg.accuracy(z, y) == 0.75
    assert tg.predict(lambda x: x[:, :1], z).tolist() == [0, 1, 0, 1]
    assert tg.train.macro_f1(z, y) == tg.train.macro_f1([0, 1, 0, 1], y)
    with pytest.raises(ValueError, match=r"logits of row \[1\] hold nan"):
        tg.predict(lambda x: x, np.array([[0.0], [np.nan]]))


@pytest.mark.parametrize("loss", [nn.BCEWithLogitsLoss(), lambda z, y: BCE(z, y, pos_weight=1.0), tg.mse_loss])
def test_other_losses_train_it(rows, loss):
    history = train(nn.Linear(2, 1, rng=0), rows, loss)
    assert history["loss"][-1] < history["loss"][0]


def test_weights_soft_labels_and_rows_without_one(rows):
    x, y = rows
    weight = np.linspace(0.1, 2, len(y))
    model = nn.Linear(2, 1, rng=0)
    train(model, rows, sample_weight=weight)
    np.testing.assert_allclose(model.weight.data[0], by_hand(x, y, weight=weight)[0], rtol=1e-4)
    model = nn.Linear(2, 1, rng=0)
    train(model, rows, class_weight={1: 3.0})
    np.testing.assert_allclose(model.weight.data[0], by_hand(x, y, weight=np.where(y, 3.0, 1))[0], rtol=1e-4)
    plain = nn.Linear(2, 1, rng=0)
    train(plain, rows)
    for labels in (y.astype(float), y.astype(np.float32)[:, None]):
        model = nn.Linear(2, 1, rng=0)
        train(model, (x, labels))
        np.testing.assert_allclose(model.weight.data, plain.weight.data, rtol=1e-6)
    some = np.where(np.arange(len(y)) % 3, y, -100)
    model = nn.Linear(2, 1, rng=0)
    history = train(model, (x, some), validation=(x, some), metrics=tg.train.macro_f1, batch_size=90)
    kept = some >= 0
    model, before = nn.Linear(2, 1, rng=0), model.weight.numpy()
    other = train(model, (x[kept], y[kept]), batch_size=90)
    np.testing.assert_allclose(before, model.weight.data, rtol=1e-5)
    np.testing.assert_allclose(history["loss"], other["loss"], rtol=1e-5)


def test_steps_in_parts_are_those_of_one_batch(rows):
    parts, whole = nn.Linear(2, 1, rng=0), nn.Linear(2, 1, rng=0)
    train(parts, rows, batch_size=15, accumulate=2)
    train(whole, rows, batch_size=30)
    np.testing.assert_allclose(parts.weight.data, whole.weight.data, rtol=1e-4)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            tg.cross_entropy,
            "one logit in each row, expected loss=tg.binary_cross_entropy_with_logits.* cross_entropy: ",
        ),
        (nn.CrossEntropyLoss(), "always 1: give one for each class"),
        (lambda z, y: tg.cross_entropy(z, y, label_smoothing=0.1), "the model gives one logit in each row"),
        (tg.nll_loss, "one logit in each row"),
        (tg.focal_loss, "one logit in each row"),
        (tg.binary_cross_entropy, r"the loss says: binary_cross_entropy: input\[0, 0\] is -1"),
    ],
)
def test_a_loss_of_other_outputs_is_refused_before_anything_changes(rows, loss, message):
    model = nn.Linear(2, 1, rng=0)
    before = model.state_dict()
    with pytest.raises(ValueError, match=message):
        train(model, rows, loss)
    assert all((before[name] == numbers).all() for name, numbers in model.state_dict().items())


def test_other_labels_than_0_and_1_are_named(rows):
    x, y = rows
    for labels, message in (
        (y + 1, r"target\[\d+\] is 2"),
        (y + 0.5, r"y\[\d+\] is 1.5"),
        (np.stack([1.0 - y, y], axis=1), r"y has shape \(90, 2\) and dtype float64, expected \(90,\)"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            train(nn.Linear(2, 1, rng=0), (x, labels))


def test_cross_entropy_of_one_logit_names_the_cause():
    with pytest.raises(ValueError, match="for 1 classes; input has one logit in each row"):
        tg.cross_entropy(np.zeros((2, 1)), [0, 1])
    with pytest.raises(ValueError, match="use binary_cross_entropy_with_logits"):
        tg.cross_entropy(np.zeros((2, 1)), [[0], [1]])
