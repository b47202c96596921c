"""The figures: what is drawn against closed forms, NumPy by hand and figures worked out on paper."""

import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

import tinygrad_ce as tg
from tinygrad_ce import nn
from tinygrad_ce.study import plot
from tinygrad_ce.study.plot.parameters import landscape


@pytest.fixture(autouse=True)
def figures(monkeypatch):
    """No display; the figures of a test are drawn whole, warnings and all, and closed."""
    plt.switch_backend("Agg")
    settings = dict(matplotlib.rcParams)
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")
    assert dict(matplotlib.rcParams) == settings


def heights(container):
    return [bar.get_height() for bar in container]


def said(ax):
    legend = ax.get_legend()
    return [text.get_text() for text in legend.get_texts()]


def history(**measured):
    made = tg.History()
    for epoch in range(len(next(iter(measured.values())))):
        made.add(epoch, {name: values[epoch] for name, values in measured.items()})
    return made


def quadrants(x):
    """Logits of four classes, one for each quadrant: class 0 where both features are below 0, 1 right of it, …"""
    x = np.asarray(x, float)
    return np.stack([-x[:, 0] - x[:, 1], x[:, 0] - x[:, 1], -x[:, 0] + x[:, 1], x[:, 0] + x[:, 1]], axis=1)


CORNERS = tg.data.Dataset(
    np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], np.float32), np.arange(4), ("sw", "se", "nw", "ne")
)

# Every function with arguments it takes.
DRAWN = {
    "probabilities": lambda ax: plot.probabilities([2.0, -1.0, 0.1], ax=ax),
    "loss_curves": lambda ax: plot.loss_curves({"a": [2.0, 1.0]}, ax=ax),
    "decision_boundary": lambda ax: plot.decision_boundary(quadrants, CORNERS, resolution=10, ax=ax),
    "confusion_matrix": lambda ax: plot.confusion_matrix([[3, 1], [0, 2]], ax=ax),
    "weights": lambda ax: plot.weights(np.eye(4), (2, 2), ax=ax),
    "gradient_flow": lambda ax: plot.gradient_flow(backward(nn.Linear(2, 2, rng=0)), ax=ax),
    "loss_landscape": lambda ax: plot.loss_landscape(nn.Linear(2, 4, rng=0), CORNERS, points=4, ax=ax),
    "reliability": lambda ax: plot.reliability([[0.9, 0.1], [0.4, 0.6]], [0, 1], ax=ax),
    "step_sweep": lambda ax: plot.step_sweep(tg.exp, 1.0, ax=ax),
    "temperature_sweep": lambda ax: plot.temperature_sweep([2.0, -1.0, 0.1], ax=ax),
}


def backward(model):
    tg.cross_entropy(model(np.ones((3, 2), np.float32)), [0, 1, 1]).backward()
    return model


@pytest.mark.parametrize("name", plot.__all__)
def test_each_draws_into_the_axes_given_or_into_a_new_figure(name):
    _, (_, ax) = plt.subplots(1, 2, figsize=(6, 3), layout="constrained")
    assert DRAWN[name](ax) is ax
    assert ax.get_title()
    assert plt.get_fignums() == [1]
    new = DRAWN[name](None)
    assert new.figure is not ax.figure
    assert plt.get_fignums() == [1, 2]


@pytest.mark.parametrize("name", plot.__all__)
def test_axes_that_are_none_and_a_missing_matplotlib_are_named(name, monkeypatch):
    _, several = plt.subplots(1, 2)
    with pytest.raises(TypeError, match=rf"plot.{name}: ax is of type ndarray, .* it holds several, take one: ax\[0\]"):
        DRAWN[name](several)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    with pytest.raises(ImportError, match=rf"plot.{name} needs matplotlib: pip install 'tinygrad-ce\[plot\]'"):
        DRAWN[name](None)


def test_importing_the_package_does_not_import_matplotlib():
    import subprocess

    code = "import sys, tinygrad_ce.study.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# probabilities, temperature_sweep


def test_bars_are_logits_and_their_softmax():
    logits = np.array([2.0, -1.0, 0.1])
    ax = plot.probabilities(logits, names=["cat", "dog", "horse"])
    left, right = ax.figure.axes
    assert left is ax
    assert heights(left.containers[0]) == [2.0, -1.0, 0.1]
    np.testing.assert_allclose(heights(right.containers[0]), np.exp(logits) / np.exp(logits).sum(), rtol=1e-14)
    assert [text.get_text() for text in left.texts] == ["2", "−1", "0.1"]
    assert [text.get_text() for text in right.texts] == ["0.834", "0.042", "0.125"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["cat", "dog", "horse"]
    assert said(ax) == ["logit", "probability"]
    assert (left.get_ylabel(), right.get_ylabel()) == ("logit", "probability")


def test_bars_at_a_temperature_of_a_class_left_out_and_beyond_what_exp_can_take():
    _, right = plot.probabilities([3.0, 0.0, -np.inf], temperature=3).figure.axes
    np.testing.assert_allclose(heights(right.containers[0]), [np.e / (1 + np.e), 1 / (1 + np.e), 0], rtol=1e-14)
    left, right = plot.probabilities([1000.0, 1000.0 + np.log(3)]).figure.axes
    np.testing.assert_allclose(heights(right.containers[0]), [0.25, 0.75], rtol=1e-12)
    assert [text.get_text() for text in left.texts] == ["1000", "1001"]


@pytest.mark.parametrize("logits", [[2.0, -1.0], [-30.0, -1.0], [0.0, 0.0], [5.0, 4.0], [1.5, -0.2]])
def test_both_scales_share_the_zero_and_hold_every_bar(logits):
    left, right = plot.probabilities(logits).figure.axes
    (low, high), (bottom, top) = left.get_ylim(), right.get_ylim()
    assert low / high == pytest.approx(bottom / top, abs=1e-12)
    assert low <= min(logits)
    assert high > max(logits)
    assert 1 < top < 2


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize(
    "logits",
    [
        [2.0, -1.0, 0.1],
        [1.5, 0.8, -0.2],
        [-30.0, -1.0, -np.inf, -20.0],
        [1000.0, 1001.0, 1002.0],
        np.linspace(-3, 2, 9),
    ],
)
def test_numbers_at_bars_touch_neither_each_other_nor_the_frame(logits, columns):
    size = (6, 4) if columns == 1 else (9, 3)
    figure, several = plt.subplots(1, columns, figsize=size, layout="constrained", squeeze=False)
    for ax in several[0]:
        plot.probabilities(logits, ax=ax)
    figure.canvas.draw()
    for left, right in zip(figure.axes[:columns], figure.axes[columns:], strict=True):
        boxes = [text.get_window_extent() for text in (*left.texts, *right.texts) if text.get_text()]
        legend, frame = left.get_legend().get_window_extent(), left.get_window_extent()
        for i, box in enumerate(boxes):
            assert frame.y0 <= box.y0 + 1
            assert not box.overlaps(legend)
            assert not any(box.shrunk(0.9, 0.9).overlaps(other) for other in boxes[:i])


def test_fifty_bars_have_few_names_and_no_values():
    left, right = plot.probabilities(np.linspace(-1, 1, 50)).figure.axes
    assert {text.get_text() for text in (*left.texts, *right.texts)} == {""}
    assert 5 <= len(left.get_xticks()) <= 25


def test_temperature_sweep_draws_softmax_at_each_temperature():
    logits, ts = np.array([2.0, -1.0, 0.1]), np.array([4.0, 0.5, 1.0])
    ax = plot.temperature_sweep(logits, temperatures=ts, names=["a", "b", "c"])
    for k, line in enumerate(ax.lines[:3]):
        np.testing.assert_array_equal(line.get_xdata(), [0.5, 1, 4])
        e = np.exp(logits[:, None] / line.get_xdata())
        np.testing.assert_allclose(line.get_ydata(), (e / e.sum(axis=0))[k], rtol=1e-13)
    np.testing.assert_allclose(ax.lines[3].get_ydata(), 1 / 3)
    assert said(ax) == ["a", "b", "c"]


def test_a_sweep_of_fifty_classes_names_those_with_the_largest_logits():
    logits = np.random.default_rng(0).permutation(50.0 * np.arange(50))
    ax = plot.temperature_sweep(logits)
    assert [logits[int(name)] for name in said(ax)] == [50.0 * k for k in range(49, 41, -1)]
    assert len(ax.lines) == 52


@pytest.mark.parametrize("draw", [plot.probabilities, plot.temperature_sweep])
@pytest.mark.parametrize(
    ("logits", "options", "message"),
    [
        ([[1.0, 2.0]], {}, r"logits has dtype float64 and shape \(1, 2\), expected numbers of shape \(n\)"),
        ([], {}, r"logits has dtype float64 and shape \(0,\)"),
        ([[1.0], [1.0, 2.0]], {}, "logits is no array of numbers: rows of different lengths"),
        (["a"], {}, "logits has dtype <U1"),
        ([1.0, np.nan], {}, r"logits\[1\] is nan, expected a finite number or -inf"),
        ([np.inf, 0.0], {}, r"logits\[0\] is inf"),
        ([-np.inf], {}, "every logit is -inf"),
        ([1.0, 2.0], {"names": ["a"]}, r"names is \['a'\], expected 2 names"),
        ([1.0, 2.0], {"names": "ab"}, "names is 'ab'"),
    ],
)
def test_wrong_logits(draw, logits, options, message):
    with pytest.raises(ValueError, match=f"plot.{draw.__name__}: {message}"):
        draw(logits, **options)
    assert not plt.get_fignums()


def test_wrong_temperatures():
    for wrong in (0, -1.0, np.inf, np.nan, "1"):
        with pytest.raises(ValueError, match=r"temperature is .*, expected a number above 0"):
            plot.probabilities([1.0, 2.0], temperature=wrong)
    for wrong in ([1.0], [1.0, 1.0], [0.0, 1.0]):
        with pytest.raises(ValueError, match="expected at least two different numbers above 0"):
            plot.temperature_sweep([1.0, 2.0], temperatures=wrong)


# loss_curves


def test_curves_of_a_history_are_its_numbers_from_epoch_1():
    made = history(loss=[3.0, 2.0, 1.0], lr=[0.1, 0.1, 0.1], val_loss=[3.5, 2.5, 2.0], accuracy=[0.1, 0.5, 0.9])
    ax = plot.loss_curves(made)
    assert [line.get_ydata().tolist() for line in ax.lines] == [[3, 2, 1], [3.5, 2.5, 2]]
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert said(ax) == ["training", "validation"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    ax = plot.loss_curves(made, names=("accuracy", "val_accuracy"))  # the second one is absent
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0.1, 0.5, 0.9]]
    assert ax.get_title() == "Accuracy"
    ax = plot.loss_curves(made, names=("loss", "accuracy"))
    assert said(ax) == ["loss", "accuracy"]


def test_curves_of_several_trainings_have_a_colour_each_and_a_style_for_each_name():
    adam, sgd = history(loss=[2.0, 1.0], val_loss=[2.0, 1.5]), history(loss=[2.0, 1.9])
    ax = plot.loss_curves({"Adam": adam, "SGD": sgd, "by hand": [1.0, 0.5, 0.25]})
    assert said(ax) == ["Adam, training", "Adam, validation", "SGD, training", "by hand"]
    colours = [tuple(line.get_color()) for line in ax.lines]
    assert colours[0] == colours[1]
    assert len(set(colours)) == 3
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--", "-", "-"]
    assert ax.lines[3].get_xdata().tolist() == [1, 2, 3]
    assert said(plot.loss_curves({"a": sgd, "b": sgd})) == ["a", "b"]


def test_logarithmic_curves():
    ax = plot.loss_curves({"a": [1.0, 0.5, 0.0]}, log=True)
    assert ax.get_yscale() == "log"
    assert plot.loss_curves({"a": [1.0]}).get_yscale() == "linear"
    with pytest.raises(ValueError, match="no value is above 0"):
        plot.loss_curves({"a": [0.0, -1.0]}, log=True)


def test_histories_with_nothing_to_draw():
    with pytest.raises(TypeError, match="history is of type list, expected a History, or a dict"):
        plot.loss_curves([1.0, 2.0])
    with pytest.raises(ValueError, match=r"names is \('f1',\), history has \['loss'\]"):
        plot.loss_curves(history(loss=[1.0]), names="f1")
    with pytest.raises(ValueError, match="history has no epochs"):
        plot.loss_curves(tg.History())
    with pytest.raises(ValueError, match=r"history\['a'\] has dtype float64 and shape \(1, 2\)"):
        plot.loss_curves({"a": [[1.0, 2.0]]})


# decision_boundary


def test_regions_have_the_colour_of_the_class_that_predict_gives():
    model = nn.Sequential(nn.Linear(2, 16, rng=3), nn.Tanh(), nn.Linear(16, 3, rng=4))
    data = tg.data.make_spirals(90)
    tg.fit(model, data, epochs=30, optimizer=tg.optim.Adam(model.parameters(), lr=0.03), progress=False)
    ax = plot.decision_boundary(model, data, resolution=50, probabilities=False)
    image = ax.images[0]
    assert image.origin == "lower"
    left, right, bottom, top = image.get_extent()
    at = np.random.default_rng(0).integers(0, 50, (40, 2))
    points = np.stack([np.linspace(left, right, 50)[at[:, 0]], np.linspace(bottom, top, 50)[at[:, 1]]], axis=1)
    drawn = image.get_array()[at[:, 1], at[:, 0]]
    wanted = tg.predict(model, points.astype(np.float32))
    assert len(set(wanted.tolist())) == 3
    colours = np.array([to_rgb(plot.PALETTE[k]) for k in wanted])
    np.testing.assert_allclose(drawn, 1 - 0.4 * (1 - colours), atol=1e-12)
    assert (data.x.min(axis=0) > [left, bottom]).all()
    assert (data.x.max(axis=0) < [right, top]).all()


def test_shades_follow_the_probability_of_the_winner():
    ax = plot.decision_boundary(
        lambda x: np.stack([0 * x[:, 0], x[:, 0]], axis=1), CORNERS._replace(y=np.arange(4) % 2)
    )
    row = ax.images[0].get_array()[100]
    strength = (1 - row).max(axis=1) / (1 - np.array([to_rgb(plot.BLUE), to_rgb(plot.VERMILLION)])).max(axis=1).repeat(
        100
    )
    assert (np.diff(strength[:100]) < 0).all()
    assert (np.diff(strength[100:]) > 0).all()
    x = np.linspace(*ax.get_xlim(), 200).astype(np.float32)
    p = 1 / (1 + np.exp(-np.abs(x.astype(float))))
    np.testing.assert_allclose(strength, 0.08 + 0.47 * (2 * p - 1), atol=1e-6)


def test_points_stand_where_they_are_under_the_names_of_their_classes():
    ax = plot.decision_boundary(quadrants, CORNERS)
    assert said(ax) == ["sw", "se", "nw", "ne"]
    scattered = [c for c in ax.collections if c.get_label() in CORNERS.classes]
    np.testing.assert_array_equal(np.concatenate([c.get_offsets() for c in scattered]), CORNERS.x)
    for k, c in enumerate(scattered):
        np.testing.assert_allclose(c.get_facecolor()[0, :3], to_rgb(plot.PALETTE[k]))


def test_boundaries_run_where_two_logits_are_equal():
    ax = plot.decision_boundary(quadrants, CORNERS)
    lines = [path.vertices for c in ax.collections if not c.get_label().isalpha() for path in c.get_paths()]
    vertices = np.concatenate([v for v in lines if len(v)])
    np.testing.assert_allclose(np.abs(vertices).min(axis=1), 0, atol=0.01)  # quadrants part at the axes


def test_a_model_is_left_in_its_mode_and_fifty_classes_have_a_short_legend():
    model = nn.Sequential(nn.Dropout(0.5, rng=0), nn.Linear(2, 50, rng=0))
    x = np.random.default_rng(0).normal(size=(100, 2))
    ax = plot.decision_boundary(model, (x, np.arange(100) % 50), resolution=20)
    assert model.training
    assert model[0].training
    assert 10 <= len(said(ax)) <= 16


@pytest.mark.parametrize(
    ("model", "data", "options", "message"),
    [
        (quadrants, (np.zeros((2, 3)), [0, 1]), {}, r"x has shape \(2, 3\), expected \(N, 2\)"),
        (quadrants, (np.zeros((2, 2)), [0, 4]), {}, r"target\[1\] is 4; valid are 0 to 3"),
        (quadrants, ([[0, np.nan]], [0]), {}, r"x\[0, 1\] is nan"),
        (quadrants, CORNERS, {"resolution": 1}, "resolution is 1, expected a whole number of at least 2"),
        (lambda x: x[:, :1], CORNERS, {}, r"at least two classes; of a single logit z"),
        (lambda x: x + np.nan, CORNERS, {}, "expected finite logits"),
    ],
)
def test_wrong_decision_boundaries(model, data, options, message):
    with pytest.raises(ValueError, match=f"plot.decision_boundary: .*{message}"):
        plot.decision_boundary(model, data, **options)


# confusion_matrix


def test_cells_hold_the_counts_and_shades_the_share_of_the_true_class():
    counts = np.array([[8, 2, 0], [0, 5, 0], [1, 1, 2]])
    ax = plot.confusion_matrix(counts, ["cat", "dog", "fox"])
    drawn = np.zeros_like(counts)
    for text in ax.texts:
        j, i = text.get_position()
        drawn[i, j] = int(text.get_text())
    np.testing.assert_array_equal(drawn, counts)
    shares = np.array([[0.8, 0.2, 0], [0, 1, 0], [0.25, 0.25, 0.5]])
    np.testing.assert_allclose(ax.images[0].get_array().filled(0), shares, rtol=1e-15)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cat", "dog", "fox"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")


def test_fifty_classes_have_a_colour_bar_and_few_names():
    ax = plot.confusion_matrix(np.eye(50, dtype=int), [f"class {i}" for i in range(50)])
    assert not ax.texts
    assert [a.get_ylabel() for a in ax.figure.axes] == ["true class", "share of the true class"]
    assert len(ax.get_yticks()) <= 25


@pytest.mark.parametrize(
    ("confusion", "classes", "message"),
    [
        ([[1, 2]], None, r"confusion has shape \(1, 2\), expected a square"),
        ([[1, -2], [0, 1]], None, r"confusion\[0, 1\] is -2.0, expected a count"),
        ([[1, 0], [0.5, 0.5]], None, r"confusion\[1, 0\] is 0.5, expected a count"),
        ([1, 2], None, r"confusion has dtype int64 and shape \(2,\)"),
        ([[1, 0], [0, 1]], ["a"], r"classes is \['a'\], expected 2 names"),
    ],
)
def test_wrong_confusions(confusion, classes, message):
    with pytest.raises(ValueError, match=f"plot.confusion_matrix: {message}"):
        plot.confusion_matrix(np.array(confusion), classes)


# weights


def test_every_row_is_an_image_on_one_scale_around_0():
    w = np.random.default_rng(0).normal(size=(5, 6))
    ax = plot.weights(w, (2, 3), columns=3, names=list("abcde"))
    image = ax.images[0]
    mosaic = image.get_array().filled(np.nan)
    found = {}
    for text in ax.texts:  # each image stands under its name, centred
        middle, above = text.get_position()
        top, left = int(np.ceil(above)), round(middle - 1)
        found[text.get_text()] = mosaic[top : top + 2, left : left + 3]
    for name, row in zip("abcde", w, strict=True):
        np.testing.assert_array_equal(found[name], row.reshape(2, 3))
    assert np.isfinite(mosaic).sum() == 30
    assert image.get_clim() == (-np.abs(w).max(), np.abs(w).max())
    assert ax.figure.axes[1].get_ylabel() == "weight"


def test_weights_take_tensors_and_kernels_and_thin_names():
    kernels = tg.Tensor(np.arange(-4.0, 5.0).reshape(1, 1, 3, 3), requires_grad=True)
    mosaic = plot.weights(kernels, (3, 3)).images[0].get_array()
    np.testing.assert_array_equal(np.sort(mosaic.compressed()), np.arange(-4, 5))
    assert plot.weights(np.zeros((2, 4)), (2, 2)).images[0].get_clim() == (-1, 1)
    ax = plot.weights(np.ones((400, 64)), (8, 8))
    assert not ax.texts
    assert ax.images[0].get_array().count() == 400 * 64


@pytest.mark.parametrize(
    ("weight", "shape", "options", "message"),
    [
        (np.zeros((2, 6)), (2, 2), {}, r"weight has shape \(2, 6\), expected \(K, 4\): rows of 2 · 2 numbers"),
        (np.zeros(4), (2, 2), {}, r"weight has shape \(4,\)"),
        (np.full((1, 4), np.nan), (2, 2), {}, r"weight\[0, 0\] is nan"),
        (np.zeros((2, 4)), 4, {}, r"shape is 4, expected \(height, width\)"),
        (np.zeros((2, 4)), (4, 0), {}, r"shape\[1\] is 0, expected a whole number of at least 1"),
        (np.zeros((2, 4)), (2, 2), {"columns": 0}, "columns is 0"),
        (np.zeros((2, 4)), (2, 2), {"names": ["a"]}, r"names is .*expected 2 names"),
    ],
)
def test_wrong_weights(weight, shape, options, message):
    with pytest.raises(ValueError, match=f"plot.weights: {message}"):
        plot.weights(weight, shape, **options)


# gradient_flow


def test_flow_shows_mean_and_maximum_of_each_gradient():
    model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Linear(2, 2, rng=1))
    model[0].weight.grad = np.array([[1.0, -3.0], [0.0, 0.0]])
    model[0].bias.grad = np.zeros(2)
    model[1].weight.grad = np.full((2, 2), 1e-4)
    ax = plot.gradient_flow(model)
    mean, largest = (c.get_offsets() for c in ax.collections if c.get_label() in ("mean", "maximum"))
    np.testing.assert_allclose(mean, [[1, 0], [1e-4, 2]], rtol=1e-6)
    np.testing.assert_allclose(largest, [[3, 0], [1e-4, 2]], rtol=1e-6)
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0.weight", "0.bias", "1.weight"]
    assert [(text.get_text(), text.get_position()[1]) for text in ax.texts] == [("0", 1)]
    assert ax.yaxis_inverted()


def test_flow_of_nothing_but_zeros_and_of_many_parameters():
    model = nn.Linear(2, 2, rng=0)
    model.weight.grad = np.zeros((2, 2))
    assert [text.get_text() for text in plot.gradient_flow(model).texts] == ["0"]
    deep = nn.Sequential(*(nn.Linear(2, 2, rng=k) for k in range(40)))
    assert len(plot.gradient_flow(backward(deep)).get_yticks()) < 30


def test_wrong_flows():
    with pytest.raises(TypeError, match=r"plot.gradient_flow: model is of type function, expected a Module"):
        plot.gradient_flow(quadrants)
    model = nn.Linear(2, 2, rng=0)
    with pytest.raises(ValueError, match=r"no parameter has a gradient; call loss.backward\(\) first"):
        plot.gradient_flow(model)
    model.bias.grad = np.array([1.0, np.nan])
    with pytest.raises(ValueError, match="the gradient of bias holds nan or inf"):
        plot.gradient_flow(model)


# loss_landscape


def small_model():
    return nn.Sequential(nn.Linear(4, 8, rng=0), nn.Tanh(), nn.Dropout(0.5, rng=3), nn.Linear(8, 3, rng=1))


def test_the_centre_is_the_loss_and_the_model_is_left_as_it_was():
    model, iris = small_model(), tg.data.load_iris()
    arrays = [p._value for p in model.parameters()]
    before = [a.tobytes() for a in arrays]
    drawn = model[2].rng.bit_generator.state
    ax = plot.loss_landscape(model, iris, points=5)
    assert all(p._value is a for p, a in zip(model.parameters(), arrays, strict=True))
    assert [p._value.tobytes() for p in model.parameters()] == before
    assert model.training
    assert model[2].rng.bit_generator.state == drawn
    loss = float(tg.cross_entropy(tg.train.logits(model, iris.x), iris.y))
    assert said(ax) == [f"these weights: {loss:.3g}"]
    heights, centre = landscape("here", model, iris, tg.cross_entropy, np.linspace(-1, 1, 5), 0)
    assert heights[2, 2] == centre == loss
    assert heights.max() > loss


def test_heights_are_the_losses_along_directions_as_long_as_each_filter():
    model, iris = nn.Linear(4, 3, rng=0, dtype=np.float64), tg.data.load_iris()
    weight, bias = model.weight.numpy(), model.bias.numpy()
    rng = np.random.default_rng(7)
    directions = []
    for _ in range(2):
        d, e = rng.standard_normal((3, 4)), rng.standard_normal(3)
        for row, of in zip(d, weight, strict=True):
            row *= np.linalg.norm(of) / np.linalg.norm(row)
        directions.append((d, e * np.linalg.norm(bias) / np.linalg.norm(e)))
    (d, d0), (e, e0) = directions
    heights, _ = landscape("here", model, iris, tg.cross_entropy, np.array([0.0, 0.5]), 7)
    for (i, j), (a, b) in {(0, 1): (0.5, 0), (1, 0): (0, 0.5), (1, 1): (0.5, 0.5)}.items():
        z = iris.x @ (weight + a * d + b * e).T + bias + a * d0 + b * e0
        expected = np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(150), iris.y])
        assert heights[i, j] == pytest.approx(expected, rel=1e-6)


def test_the_model_comes_back_when_the_loss_fails():
    model = small_model()
    before = model.state_dict()
    calls = []

    def loss(z, y):
        calls.append(0)
        return 1 / 0 if len(calls) == 3 else tg.cross_entropy(z, y)

    with pytest.raises(ZeroDivisionError):
        plot.loss_landscape(model, tg.data.load_iris(), loss=loss, points=3)
    for name, array in model.state_dict().items():
        assert array.tobytes() == before[name].tobytes()


def test_landscapes_of_flat_and_partly_infinite_losses():
    iris = tg.data.load_iris()
    assert said(plot.loss_landscape(nn.Linear(4, 3, rng=0), iris, loss=lambda z, y: 2.0, points=3)) == [
        "these weights: 2"
    ]

    def cut(z, y):
        loss = float(tg.cross_entropy(z, y))
        return loss if loss < 3 else np.inf

    plot.loss_landscape(nn.Linear(4, 3, rng=0), iris, loss=cut, points=5)


def test_wrong_landscapes():
    iris, model = tg.data.load_iris(), nn.Linear(4, 3, rng=0)
    with pytest.raises(TypeError, match=r"plot.loss_landscape: model is of type function"):
        plot.loss_landscape(quadrants, iris)
    for options, message in (
        ({"span": 0}, "span is 0, expected a number above 0"),
        ({"points": 2}, "points is 2, expected a whole number of at least 3"),
        ({"points": 3, "loss": lambda z, y: z}, r"loss gave shape \(150, 3\), expected a single number"),
        ({"points": 3, "loss": lambda z, y: np.nan}, "the loss is nowhere finite; lower span"),
    ):
        with pytest.raises(ValueError, match=message):
            plot.loss_landscape(model, iris, **options)
    model.load_state_dict({name: np.zeros_like(a) for name, a in model.state_dict().items()})
    with pytest.raises(ValueError, match="every weight is 0"):
        plot.loss_landscape(model, iris)


# reliability

# Two bins. (0, 0.5]: one row of confidence 0.5, right. (0.5, 1]: confidences 0.6, 0.8, 1.0, of which 1.0 is right:
# accuracy 1/3, confidence 0.8. ECE = 1/4 · |1 - 0.5| + 3/4 · |1/3 - 0.8| = 0.125 + 0.35 = 0.475.
FOUR = [[0.5, 0.25, 0.25], [0.1, 0.3, 0.6], [0.8, 0.1, 0.1], [0.0, 1.0, 0.0]]
LABELS = [0, 1, 2, 1]


def test_reliability_is_that_worked_out_on_paper():
    ax = plot.reliability(FOUR, LABELS, bins=2)
    assert ax.get_title() == "Reliability (ECE 0.475)"
    accuracy, gap = ax.containers
    np.testing.assert_allclose(heights(accuracy), [1, 1 / 3], rtol=1e-15)
    np.testing.assert_allclose([bar.get_y() + bar.get_height() for bar in gap], [0.5, 0.8], rtol=1e-12)
    np.testing.assert_allclose([bar.get_x() + bar.get_width() / 2 for bar in accuracy], [0.25, 0.75], rtol=1e-12)
    assert [text.get_text() for text in ax.texts] == ["1", "3"]
    assert said(ax) == ["accuracy", "gap"]


def test_bins_without_rows_have_no_bar_and_a_calibrated_classifier_no_error():
    p = np.repeat([[0.75, 0.25]], 8, axis=0)
    ax = plot.reliability(tg.Tensor(p), np.array([0] * 6 + [1] * 2))
    assert ax.get_title() == "Reliability (ECE 0.000)"
    assert heights(ax.containers[0]) == [0.75]


@pytest.mark.parametrize(
    ("p", "y", "options", "kind", "message"),
    [
        ([0.2, 0.7], [0, 1], {}, ValueError, r"shape \(2,\), expected \(N, C\); .* np.stack\(\[1 - p, p\], axis=1\)"),
        ([[0.5, 0.5], [2.0, -1.0]], [0, 1], {}, ValueError, r"row 1 of probabilities is \[ 2. -1.\].* tg.softmax"),
        ([[0.5, 0.6]], [0], {}, ValueError, "row 0 of probabilities"),
        ([[0.5, np.nan]], [0], {}, ValueError, r"probabilities\[0, 1\] is nan"),
        ([[0.5, 0.5]], [2], {}, ValueError, r"target\[0\] is 2; valid are 0 to 1"),
        ([[0.5, 0.5]], [0, 1], {}, ValueError, r"target has shape \(2,\), expected \(1,\)"),
        ([[0.5, 0.5]], [0.0], {}, TypeError, "target has dtype float64"),
        ([[0.5, 0.5]], [0], {"bins": 0}, ValueError, "bins is 0, expected a whole number of at least 1"),
    ],
)
def test_wrong_reliability(p, y, options, kind, message):
    with pytest.raises(kind, match=f"plot.reliability: .*{message}"):
        plot.reliability(p, y, **options)


# step_sweep


def lowest(ax):
    """The smallest error of each curve, and the step where it is."""
    return {
        line.get_label(): (line.get_ydata().min(), line.get_xdata()[line.get_ydata().argmin()]) for line in ax.lines
    }


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (tg.exp, 1.0),
        (lambda x: tg.sum(tg.exp(x) * tg.tanh(x)), np.array([0.3, -1.2, 2.0])),
        (lambda x: x**3 / (1 + x * x), 0.7),
    ],
)
def test_the_v_has_its_minima_where_theory_puts_them(f, x):
    best = lowest(plot.step_sweep(f, x, complex_step=True))
    assert set(best) == {"one-sided", "central", "complex step"}
    error, step = best["one-sided"]  # at the root of eps
    assert 1e-11 < error < 1e-7
    assert 1e-10 < step < 1e-6
    error, step = best["central"]  # at the cube root of eps
    assert error < 1e-9
    assert 1e-8 < step < 1e-3
    assert best["complex step"][0] < 1e-14


def test_the_arms_of_the_v_have_the_slopes_of_their_truncation():
    ax = plot.step_sweep(tg.exp, 1.0, steps=[1e-3, 1e-2], complex_step=True)
    for line, order, constant in zip(ax.lines, (1, 2, 2), (1 / 2, 1 / 6, 1 / 6), strict=True):
        h = line.get_xdata()
        np.testing.assert_allclose(line.get_ydata(), constant * h**order, rtol=0.01)


def test_errors_are_the_formulas_and_start_at_one():
    f = lambda x: tg.exp(2 * x)
    hs = np.array([1e-17, 1e-5, 1e-2])
    ax = plot.step_sweep(f, 0.5, steps=hs[::-1])
    exact = 2 * np.exp(1.0)
    one = np.abs((np.exp(2 * (0.5 + hs)) - np.exp(1.0)) / hs - exact) / exact
    central = np.abs((np.exp(2 * (0.5 + hs)) - np.exp(2 * (0.5 - hs))) / (2 * hs) - exact) / exact
    assert [line.get_label() for line in ax.lines] == ["one-sided", "central"]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), one, rtol=1e-3, atol=1e-10)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), central, rtol=1e-3, atol=1e-10)
    assert ax.lines[0].get_ydata()[0] == 1  # x + h is x: the difference is 0, all is lost
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_a_sweep_of_a_loss_inside_no_grad():
    with tg.no_grad():
        best = lowest(plot.step_sweep(lambda x: tg.cross_entropy(x, 1), [2.0, -1.0, 0.1]))
    assert best["central"][0] < 1e-9


@pytest.mark.parametrize(
    ("f", "x", "options", "kind", "message"),
    [
        (lambda x: x.item() ** 2, 1.0, {}, TypeError, "f returned float, expected a Tensor; does it leave the graph"),
        (tg.exp, [1.0, 2.0], {}, ValueError, r"of shape \(2,\), expected a single finite number"),
        (lambda x: x * 0.0, 1.0, {}, ValueError, "the gradient at x is 0.0, .* choose another x"),
        (tg.exp, 1.0, {"steps": [0.1, 0.0]}, ValueError, r"steps\[1\] is 0.0, expected a step above 0"),
        (tg.exp, 1.0, {"steps": []}, ValueError, "steps has dtype float64 and shape"),
        (tg.exp, np.nan, {}, ValueError, "x.* is nan"),
        (lambda x: tg.cross_entropy(x, 0), [1.0, 2.0], {"complex_step": True}, TypeError, "not take complex arrays"),
        (tg.abs, 1.0, {"complex_step": True}, TypeError, r"f made float64 \(\) of complex numbers.* not analytic"),
    ],
)
def test_wrong_sweeps(f, x, options, kind, message):
    with pytest.raises(kind, match=f"plot.step_sweep: .*{message}"):
        plot.step_sweep(f, x, **options)


@pytest.mark.parametrize("name", ["$\\frac{$", "$x$", "a\u202eb", "\\alpha ^_{}"])
def test_names_are_drawn_as_they_are(name):
    shown = name.replace("\u202e", "\\u202e")
    data = tg.data.make_blobs(40, classes=2)._replace(classes=(name, "b"))
    model = nn.Linear(2, 2, rng=0)
    drawn = [
        plot.confusion_matrix([[1, 2], [3, 4]], [name, "b"]).get_xticklabels()[0],
        plot.confusion_matrix([[1, 2], [3, 4]], [name, "b"]).get_yticklabels()[0],
        plot.decision_boundary(model, data, resolution=9).get_legend().get_texts()[0],
        plot.probabilities([1.0, 2.0], names=[name, "b"]).get_xticklabels()[0],
        plot.temperature_sweep([1.0, 2.0], names=[name, "b"]).get_legend().get_texts()[0],
        plot.loss_curves({name: [2.0, 1.0], "b": [3.0, 2.0]}).get_legend().get_texts()[0],
        plot.weights(np.ones((2, 400)), (20, 20), names=[name, "b"]).texts[0],
    ]
    assert [text.get_text() for text in drawn] == [shown] * 7
    assert not any(text.get_parse_math() or text.get_usetex() for text in drawn)


def test_a_measure_with_any_name_can_be_drawn():
    history = tg.History()
    history.add(0, {"$\\frac{$": 1.0})
    assert plot.loss_curves(history, names="$\\frac{$").get_title() == "$\\frac{$"
