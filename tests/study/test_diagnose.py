"""A diagnosis names the cause of trainings spoiled on purpose, and finds nothing in healthy ones."""

import re

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.study import diagnose
from tinygrad_ce.train.rows import as_rows

DIGITS, IRIS, SPIRALS = tg.data.load_digits(), tg.data.load_iris(), tg.data.make_spirals()
STANDARD = tg.nn.Standardize.of(DIGITS)
RARE = np.r_[np.flatnonzero(DIGITS.y == 0)[:5], np.flatnonzero(DIGITS.y == 1)]


def net(*widths, activation=tg.nn.ReLU, first=(), last=()):
    """Linear layers with an activation between them, and what stands before and behind."""
    layers = [
        layer for i in range(len(widths) - 1) for layer in (tg.nn.Linear(*widths[i : i + 2], rng=i), activation())
    ]
    return tg.nn.Sequential(*first, *layers[:-1], *last)


def changed(model, name, change):
    """A model with a change in one of its arrays."""
    state = model.state_dict()
    model.load_state_dict({**state, name: change(state[name])})
    return model


def relabelled(share):
    """The digits with a share of their labels one further."""
    y = DIGITS.y.copy()
    rows = np.random.default_rng(0).choice(len(y), int(share * len(y)), replace=False)
    y[rows] = (y[rows] + 1) % 10
    return DIGITS.x, y


SPOILED = {  # what is expected among the findings: model, data, and more
    "one class alone": lambda: (net(64, 10), (DIGITS.x, np.full(len(DIGITS.y), 3)), {}),
    "classes without rows": lambda: (net(64, 11), (DIGITS.x, DIGITS.y + 1), {}),
    "classes out of balance": lambda: (net(64, 2), (DIGITS.x[RARE], DIGITS.y[RARE]), {}),
    "features unscaled": lambda: (net(64, 32, 10), (DIGITS.x * 5000, DIGITS.y), {}),
    "features constant": lambda: (net(64, 10), (np.ones_like(DIGITS.x), DIGITS.y), {}),
    "label among the features": lambda: (net(65, 10), (np.c_[DIGITS.x, DIGITS.y / 9], DIGITS.y), {}),
    "labels out of step with rows": lambda: (net(64, 32, 10), (DIGITS.x, np.roll(DIGITS.y, 1)), {}),
    "rows that look mislabelled": lambda: (net(64, 10), relabelled(0.05), {}),
    "loss too high at the start": lambda: (changed(net(64, 10), "0.weight", lambda w: 50 * w), DIGITS, {}),
    "softmax twice": lambda: (net(64, 32, 10, last=[tg.nn.Softmax()]), DIGITS, {}),
    "logits cut off at 0": lambda: (net(64, 32, 10, last=[tg.nn.ReLU()]), DIGITS, {}),
    "dead units": lambda: (changed(net(64, 32, 10), "0.bias", lambda b: b - 100), DIGITS, {}),
    "saturated units": lambda: (
        changed(net(64, 32, 10, activation=tg.nn.Tanh), "0.weight", lambda w: 100 * w),
        DIGITS,
        {},
    ),
    "units all alike": lambda: (changed(net(64, 32, 10), "0.weight", lambda w: 0 * w + 0.1), DIGITS, {}),
    "parameters that don't move": lambda: (
        (m := net(64, 32, 10)),
        DIGITS,
        {"optimizer": tg.optim.SGD(m[2].parameters(), lr=0.1)},
    ),
    "gradients far apart": lambda: (net(64, *[16] * 8, 10, activation=tg.nn.Sigmoid), DIGITS, {}),
    "one batch isn't learned": lambda: (net(2, 3), SPIRALS, {}),
    "learning rate too high": lambda: (
        (m := net(64, 32, 10, first=[STANDARD])),
        DIGITS,
        {"optimizer": tg.optim.SGD(m.parameters(), lr=30.0)},
    ),
    "learning rate too low": lambda: (
        (m := net(64, 32, 10)),
        DIGITS,
        {"optimizer": tg.optim.Adam(m.parameters(), lr=1e-6)},
    ),
    "steps longer than the weights": lambda: (
        (m := net(64, 10)),
        DIGITS,
        {"optimizer": tg.optim.Adam(m.parameters(), lr=3.0)},
    ),
    "nothing learned": lambda: (net(64, 10), DIGITS, {"history": {"loss": [2.4, 2.31, 2.3027]}}),
    "overfitted": lambda: (net(64, 10), DIGITS, {"history": {"loss": [2, 1, 0.1], "val_loss": [2, 1.5, 2.5]}}),
}

HEALTHY = {
    "softmax regression on digits": lambda: (net(64, 10), DIGITS, {}),
    "softmax regression that begins at 0": lambda: (changed(net(64, 10), "0.weight", lambda w: 0 * w), DIGITS, {}),
    "iris": lambda: (net(4, 3), IRIS, {}),
    "a hidden layer and Adam": lambda: (
        (m := net(64, 32, 10)),
        DIGITS,
        {"optimizer": tg.optim.Adam(m.parameters(), lr=0.01)},
    ),
    "standardised, momentum": lambda: (
        (m := net(64, 32, 10, first=[STANDARD])),
        DIGITS,
        {"optimizer": tg.optim.SGD(m.parameters(), lr=0.02, momentum=0.9)},
    ),
    "spirals, tanh": lambda: (
        (m := net(2, 32, 32, 3, activation=tg.nn.Tanh)),
        SPIRALS,
        {"optimizer": tg.optim.Adam(m.parameters(), lr=0.01)},
    ),
    "moons": lambda: (net(2, 16, 2), tg.data.make_moons(), {}),
    "blobs": lambda: (net(2, 3), tg.data.make_blobs(), {}),
    "one logit": lambda: (net(4, 1), (IRIS.x[:100], IRIS.y[:100]), {"loss": tg.binary_cross_entropy_with_logits}),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_training_is_found_out(name):
    model, data, options = SPOILED[name]()
    found = {finding.name: finding for finding in diagnose(model, data, **options).findings}
    assert name in found
    assert all(len(words) > 5 for words in found[name])


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_found_in_a_healthy_training(name):
    model, data, options = HEALTHY[name]()
    assert diagnose(model, data, **options).findings == []


def test_nothing_is_changed():
    model = net(64, 32, 10)
    optimizer = tg.optim.Adam(model.parameters(), lr=0.01)
    before = model.state_dict()
    diagnose(model, DIGITS, optimizer=optimizer)
    assert all((before[name] == array).all() for name, array in model.state_dict().items())
    assert not any(optimizer.memory)
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_bad_input_is_an_error_of_one_line():
    with pytest.raises(ValueError, match=r"^diagnose: the model has no parameters, so there is nothing to train$"):
        diagnose(tg.nn.ReLU(), IRIS)
    with pytest.raises(ValueError, match=r"^diagnose: data has 1 row with a label, expected at least 2$"):
        diagnose(net(4, 3), (IRIS.x[:1], IRIS.y[:1]))
    with pytest.raises(TypeError, match=r"^diagnose: model is of type function, expected a Module$"):
        diagnose(lambda x: x, IRIS)
    with pytest.raises(ValueError, match=r"^diagnose: target"):
        diagnose(net(4, 2), IRIS)
    with pytest.raises(ValueError, match=r"^diagnose: the model can't take a row of data: linear: input has shape"):
        diagnose(net(5, 3), IRIS)


def test_the_page_holds_what_was_found(tmp_path):
    found = diagnose(net(64, 10), (DIGITS.x * 5000, DIGITS.y), history={"loss": [900, 800, 700]})
    found.save(tmp_path / "found.html")
    page = (tmp_path / "found.html").read_text("utf-8")
    assert "features unscaled" in repr(found)
    assert all(finding.name in page for finding in found.findings)
    assert page.count("<svg viewBox") == 6


def names(*args, **options):
    return {finding.name for finding in diagnose(*args, **options).findings}


@pytest.mark.parametrize("apart", [1.5, 2, 2.5, 3])
def test_classes_that_overlap_have_no_mislabelled_rows(apart):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, 400)
        x = rng.normal(size=(400, 2)) + np.outer(apart * y, [1, 0])
        assert "rows that look mislabelled" not in names(tg.nn.Linear(2, 2, rng=0), (x, y))


def test_rows_to_which_nearness_means_nothing_are_neither_out_of_step_nor_mislabelled():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 500))
    few = tg.nn.Linear(500, 2, rng=0), (x, (x[:, :5].sum(axis=1) > 0).astype(int))
    ids = rng.integers(0, 50, (300, 3)).astype(float)
    words = tg.nn.Sequential(tg.nn.Embedding(50, 8, rng=0), tg.nn.Flatten(), tg.nn.Linear(24, 3, rng=1))
    near = {"labels out of step with rows", "rows that look mislabelled"}
    assert not near & names(*few)
    assert not near & names(words, (ids, ids.sum(axis=1).astype(int) % 3))
    apart = np.tile([0, 1], 30), 0.01 * rng.normal(size=(60, 500))
    y = np.where(np.arange(60) < 6, 1 - apart[0], apart[0])
    assert not near & names(few[0], (apart[1] + apart[0][:, None], y))


@pytest.mark.parametrize(("rate", "kind"), [(1e-3, tg.optim.Adam), (0.01, tg.optim.SGD)])
def test_rates_that_people_use_are_not_too_low(rate, kind):
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 2, (400, 2))
    xor = corners + 0.1 * rng.normal(size=(400, 2)), corners[:, 0] ^ corners[:, 1]
    for model, data in ((net(64, 32, 10), DIGITS), (net(64, 10), DIGITS), (net(2, 16, 2, activation=tg.nn.Tanh), xor)):
        assert "learning rate too low" not in names(model, data, optimizer=kind(model.parameters(), lr=rate))


def test_rows_are_named_by_their_places_in_the_data_that_they_were_split_from():
    rng = np.random.default_rng(0)
    y = np.arange(500) % 2
    x = rng.normal(size=(500, 2)) + 10 * y[:, None]
    y[100:115] ^= 1
    kept, _ = as_rows("fit", (x, y)).split(0.2, 0)
    kept, _ = kept.split(0.1, 0)
    (found,) = [f for f in diagnose(net(2, 2), kept).findings if f.name == "rows that look mislabelled"]
    rows = re.findall(r"(\d+) \(", found.number)
    assert len(rows) == 5
    assert set(map(int, rows)) <= {*range(100, 115)}


def test_a_figure_that_is_cut_says_so():
    assert "2 stands for ≥ 2" in diagnose(net(64, 32, 10), DIGITS).page().html
    gentle = diagnose(net(64, 32, 10), DIGITS)
    gentle.facts.rates.update(dict.fromkeys(gentle.facts.rates, 0.5))
    assert "stands for" not in gentle.page().html
