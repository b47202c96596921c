"""explain, graph and check: what they tell is what the engine computes, and what they draw is what was recorded."""

import html
import itertools
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import tinygrad_ce as tg
from tinygrad_ce.check.operators import example_calls
from tinygrad_ce.engine.primitive import registry
from tinygrad_ce.study.layout import REACH, Box, Edge, place
from tinygrad_ce.study.numbers import numbers

PRIMITIVES = sorted(name for name, operator in registry.items() if operator.primitive)


def classifier():
    """A small classifier whose parts all have names, and its loss."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 3))
    W1 = tg.Tensor(rng.normal(size=(5, 3)), requires_grad=True)
    b1 = tg.Tensor(rng.normal(size=5), requires_grad=True)
    W2 = tg.Tensor(rng.normal(size=(3, 5)), requires_grad=True)
    t = np.array([0, 2, 1, 2])
    h = tg.tanh(tg.linear(x, W1, b1))
    z = tg.linear(h, W2)
    loss = tg.cross_entropy(z, t)
    return {"x": x, "W1": W1, "b1": b1, "W2": W2, "t": t, "h": h, "z": z, "loss": loss}


def block(text, title):
    """The numbers printed below a line of a text, up to the next empty line."""
    lines = text[text.index(title) :].split("\n")[1:]
    return "\n".join(itertools.takewhile(str.strip, lines))


def printed(text):
    """The numbers in a text."""
    return np.array([float(n) for n in re.findall(r"(?<![\w.])-?(?:\d+\.?\d*(?:e[-+]\d+)?|inf|nan)(?![\w.])", text)])


# explain


def test_explain_prints_the_engines_gradients_to_the_printed_digits():
    parts = classifier()
    text = block(str(tg.study.explain(parts["loss"], names=parts)), "Gradients of loss")
    parts["loss"].backward()
    for name in ("W1", "b1", "W2"):
        start = text.index(f" {name} ")
        size = parts[name].size
        found = printed(text[start + len(name) + 1 :])[:size]
        np.testing.assert_allclose(found, parts[name].grad.ravel(), rtol=5e-6)


def test_explain_prints_the_engines_values_and_upstream_gradients():
    parts = classifier()
    explained = tg.study.explain(parts["loss"], names=parts)
    text = str(explained)
    for name, value in (("h", parts["h"]), ("z", parts["z"])):
        step = block(text, f"{name} = ")
        found = printed(step[step.rindex(f" {name} ") :])
        np.testing.assert_allclose(found, value.data.ravel(), rtol=5e-6)
        gradient = tg.grad(parts["loss"], value).data
        share = next(s.share for s in explained.steps if s.share and s.share.operand.name == name)
        np.testing.assert_array_equal(share.total, gradient)


def test_explain_shows_the_inner_steps_of_cross_entropy_as_the_book_has_them():
    rows = np.array([[2.0, -1.0, 0.1], [3.0, -1.0, 1.0]])
    x = tg.Tensor(rows, requires_grad=True)
    explained = tg.study.explain(tg.cross_entropy(x, [1, 2]))
    forward = {row.label.split(",")[0]: row.array for row in explained.steps[0].rows}
    e = np.exp(rows - rows.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(forward["m"], [2, 3])
    np.testing.assert_allclose(forward["x − m"], rows - [[2], [3]], rtol=1e-15)
    np.testing.assert_allclose(forward["e = exp(x − m)"], e, rtol=1e-15)
    np.testing.assert_allclose(forward["S = Σ e"], e.sum(axis=1), rtol=1e-15)
    np.testing.assert_allclose(forward["p = e / S"], p, rtol=1e-14)
    np.testing.assert_allclose(forward["loss of each row"], [3.1818, 2.1429], atol=5e-5)
    backward = {row.label: row.array for row in explained.steps[1].rows}
    np.testing.assert_allclose(backward["p − onehot"], p - np.eye(3)[[1, 2]], rtol=1e-13)
    assert backward["times, for the reduction"] == 0.5
    np.testing.assert_allclose(backward["g · local"], (p - np.eye(3)[[1, 2]]) / 2, rtol=1e-13)


def test_explain_of_soft_weighted_and_ignored_targets_has_inner_steps_too():
    x = tg.Tensor(np.random.default_rng(0).normal(size=(3, 4)), requires_grad=True)
    for target, options in [
        (np.full((3, 4), 0.25), {}),
        ([0, -100, 3], {"weight": [1.0, 2.0, 3.0, 4.0]}),
        ([0, 1, 3], {"label_smoothing": 0.1, "reduction": "sum"}),
    ]:
        explained = tg.study.explain(tg.cross_entropy(x, target, **options))
        assert "p = e / S" in str(explained)
        np.testing.assert_array_equal(
            explained.trace.shares[-1].total, tg.grad(tg.cross_entropy(x, target, **options), x).data
        )


def test_explain_tells_where_gradients_add_and_broadcasting_is_undone():
    a = tg.Tensor(2.0, requires_grad=True)
    b = tg.Tensor([1.0, -3.0], requires_grad=True)
    y = (a * b + b).sum()
    text = str(tg.study.explain(y))
    assert "broadcasting undone: summed over axis 0  -2" in text
    assert re.search(r"∂y/∂b \+= g · a", text)
    assert re.search(r"added to the gradient so far +\[3, 3\]", text)


def test_explain_names_what_the_caller_has_names_for():
    model = tg.nn.Sequential(tg.nn.Linear(2, 3, rng=0))
    rows = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    labels = [2, 0]
    loss = tg.cross_entropy(model(rows), labels)
    explained = tg.study.explain(loss)
    assert [c.text for c in explained.trace.calls] == [
        "linear(rows, model.0.weight, model.0.bias)", "cross_entropy(v1, labels)",
    ]  # fmt: skip
    assert explained.trace.output.name == "loss"


def test_explain_invents_no_name_that_means_something_else():
    x = "a word"  # noqa: F841
    loss = tg.Tensor(1.0, requires_grad=True) * 2  # noqa: F841
    labels, mask = np.zeros(3), np.zeros(3)  # noqa: F841
    w = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    total = tg.exp(tg.Tensor([0.0, 1.0], requires_grad=True)).sum() + (w * np.zeros(3)).sum()
    names = {value.name for value in tg.study.explain(total).trace.values}
    assert not names & {"x", "loss", "labels", "mask"}


def test_explain_shows_a_tensor_updated_in_between_as_it_was():
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = w * 3.0
    w.data = np.array([10.0, 20.0])
    assert "w, as it was here  [10, 20]" in str(tg.study.explain((y * w).sum()))


def test_an_operator_of_the_same_name_as_a_known_one_is_explained_by_its_own_source():
    @tg.primitive
    def softmax(x):
        return x * 2

    softmax.vjp(x=lambda g, y, x: 2 * g)
    t = tg.Tensor([1.0, 2.0], requires_grad=True)
    steps = tg.study.explain(softmax(t).sum()).steps
    texts = [step.formula.text for step in steps if step.call.operator == "softmax"]
    assert texts == ["v1 = softmax(t)", "∂loss/∂t = 2 · g"]


def test_a_rule_that_writes_to_what_it_is_given_is_refused_here_too():
    @tg.primitive
    def twice(x):
        return 2 * x

    def rule(g, y, x):
        g *= 2.0
        return g

    twice.vjp(x=rule)
    t = tg.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ValueError, match="read-only"):
        tg.study.explain((twice(t) ** 2).sum())


@pytest.mark.parametrize(
    ("options", "forward", "rule"),
    [
        ({}, "mean −log softmax(x)[t]", "g · 1/2 · (softmax(x) − onehot(t))"),
        ({"reduction": "sum"}, "Σ −log softmax(x)[t]", "g · (softmax(x) − onehot(t))"),
        (
            {"weight": [1, 2, 3]}, "weighted mean −w[t] log softmax(x)[t]",
            "g · 1/Σ w[t] · w[t] (softmax(x) − onehot(t))",
        ),
        ({"label_smoothing": 0.1}, "mean −Σ y log softmax(x)", "g · 1/2 · (softmax(x) Σy − y), y smoothed"),
    ],
)  # fmt: skip
def test_the_formula_of_cross_entropy_tells_its_options(options, forward, rule):
    x = tg.Tensor([[2.0, -1.0, 0.1], [0.0, 1.0, 2.0]], requires_grad=True)
    t = [1, 2]
    steps = tg.study.explain(tg.cross_entropy(x, t, **options)).steps
    assert [step.formula.text for step in steps] == [f"loss = {forward}", f"∂loss/∂x = {rule}"]


def test_local_derivatives_are_shown_only_of_what_works_entry_by_entry():
    a, b = (tg.Tensor(np.arange(4.0).reshape(2, 2) + k, requires_grad=True) for k in (1, 2))
    shares = {(s.call.operator, s.argument): s.local for s in tg.study.explain((tg.softmax(a @ b)).sum()).trace.shares}
    assert shares["matmul", "a"] is None
    assert shares["softmax", "x"] is None
    assert shares["sum", "x"].tolist() == [[1, 1], [1, 1]]


def test_latex_keeps_the_brackets_that_count():
    @tg.primitive
    def odd(a, b):
        return a * b

    odd.vjp(a=lambda g, y, a, b: g - (a - b), b=lambda g, y, a, b: (-a) ** 2 * (a / b) ** 2)
    s, t = (tg.Tensor(v, requires_grad=True) for v in (1.0, 2.0))
    latex = [step.formula.latex.split(" = ")[1] for step in tg.study.explain(odd(s, t)).steps[1:]]
    assert latex == [
        r"g - \left(s - t\right)", r"{\left(-s\right)}^{2} \cdot {\left(\frac{s}{t}\right)}^{2}",
    ]  # fmt: skip


def test_explain_changes_nothing():
    parts = classifier()
    before = [parts[name].grad for name in ("W1", "b1", "W2")]
    tg.study.explain(parts["loss"])
    assert before == [None, None, None]
    parts["loss"].backward()
    first = parts["W1"].grad.copy()
    tg.study.explain(parts["loss"])
    np.testing.assert_array_equal(parts["W1"].grad, first)


def test_explain_refuses_what_it_cannot_explain():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"explain: got float, expected a Tensor"):
        tg.study.explain(1.0)
    with pytest.raises(ValueError, match=r"explain: this Tensor was made by no operator"):
        tg.study.explain(tg.Tensor(1.0, requires_grad=True))
    with pytest.raises(RuntimeError, match=r"explain: this Tensor requires no grad"):
        tg.study.explain(tg.exp(tg.Tensor(1.0)))
    with pytest.raises(ValueError, match=r"explain: the output has shape \(2,\)"):
        tg.study.explain(x * x)
    np.testing.assert_array_equal(tg.study.explain(x * x, [1.0, 10.0]).trace.leaves[0].gradient, [2, 40])
    loss = (x * x).sum()
    loss.backward(retain_graph=False)
    with pytest.raises(RuntimeError, match="used up"):
        tg.study.explain(loss)


def has_rule(made, argument):
    """Whether an operator has a gradient in one of its arguments."""
    return made.differentiable(made.arguments.index(argument))


@pytest.mark.parametrize("name", PRIMITIVES)
def test_every_operator_has_its_formula_and_one_for_each_gradient(name):
    made, formulas = registry[name].primitive, set()
    assert made.formulas.keys() <= {"", *made.arguments}
    assert made.formulas.get("")
    for f, inputs in example_calls(registry[name], np.float64, seed=0):
        for step in tg.study.explain((f(*(tg.Tensor(x, requires_grad=True) for x in inputs)) * 0.7).sum()).steps:
            if step.call.node._primitive is made and step.share:
                formulas.add(step.share.argument.partition("[")[0])
                # A rule that is read off its source is one expression, of functions that a reader knows.
                assert "the rule of" not in step.formula.text
                assert r"\mathtt" not in step.formula.latex
                assert not re.search(r"(?<!\w)_[a-z]", step.formula.text)
    assert formulas == {argument for argument in made.arguments if has_rule(made, argument)}


@pytest.mark.parametrize("part", ["", "x"])
def test_an_operator_without_a_formula_is_noticed(part, monkeypatch):
    made = registry["softmax"].primitive
    monkeypatch.setattr(made, "formulas", {k: v for k, v in made.formulas.items() if k != part})
    with pytest.raises(AssertionError):
        test_every_operator_has_its_formula_and_one_for_each_gradient("softmax")


@pytest.mark.parametrize("name", PRIMITIVES)
def test_every_operator_is_explained_with_the_engines_numbers(name):
    for f, inputs in example_calls(registry[name], np.float64, seed=0):
        leaves = [tg.Tensor(x, requires_grad=True) for x in inputs]
        y = f(*leaves)
        loss = (y * 0.7).sum()
        explained = tg.study.explain(loss, names={f"x{i}": leaf for i, leaf in enumerate(leaves)})
        text = str(explained)
        assert "⟨" not in text + explained.latex()
        assert "np." not in text
        found = {value.name: value.gradient for value in explained.trace.leaves}
        for i, g in enumerate(tg.grad(loss, leaves)):
            np.testing.assert_array_equal(found[f"x{i}"], g.data)


def test_the_rule_of_ones_own_primitive_is_read_off_its_source():
    @tg.primitive
    def arctan(x):
        return np.arctan(x)

    arctan.vjp(x=lambda g, y, x: g / (1 + x * x))
    t = tg.Tensor(0.5, requires_grad=True)
    step = tg.study.explain(arctan(t)).steps[1]
    assert step.formula.text == "∂loss/∂t = g / (1 + t · t)"
    assert step.formula.latex == r"\frac{\partial \mathrm{loss}}{\partial t} = \frac{g}{1 + t \cdot t}"


def test_ones_own_primitive_may_be_given_its_formula():
    @tg.primitive
    def arctan(x, scale=1.0):
        return np.arctan(scale * x)

    arctan.vjp(x=lambda g, y, x, scale: g * scale / (1 + (scale * x) ** 2))
    arctan.formula(
        lambda x, scale: r"\arctan x" if scale == 1 else r"\arctan(scale \cdot x)",
        x=r"\frac{g \cdot scale}{1 + (scale \cdot x)^2} \text{ where the text y is no name}",
    )
    t = tg.Tensor(0.5, requires_grad=True)
    plain, scaled = (tg.study.explain(y, names={"t": t}).steps for y in (arctan(t), arctan(t, 2.0)))
    assert plain[0].formula.text == "loss = arctan t"
    assert [step.formula.text for step in scaled] == [
        "loss = arctan(2.0 · t)", "∂loss/∂t = g · 2.0 / (1 + (2.0 · t)²) where the text y is no name",
    ]  # fmt: skip


def test_latex_has_as_many_braces_open_as_closed():
    parts = classifier()
    latex = tg.study.explain(parts["loss"], names=parts).latex()
    assert latex.startswith(r"\begin{aligned}")
    assert latex.count("{") == latex.count("}")
    assert r"\frac{\partial \mathrm{loss}}{\partial W_{1}}" in latex
    assert latex.count(r"\left") == latex.count(r"\right")


def test_html_is_well_formed_and_escapes_names():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    page = tg.study.explain((x * x).sum(), names={"<b>&": x})._repr_html_()
    ET.fromstring("<r>" + page.replace("&ensp;", " ").replace("&emsp;", " ") + "</r>")
    assert "&lt;b&gt;&amp;" in page
    assert "<b>&" not in page


def test_numbers_small_ones_whole_large_ones_summarised():
    assert numbers(np.float32(1 / 3)) == "0.333333"
    assert numbers(np.array([1, 2, 3])) == "[1, 2, 3]"
    assert numbers(np.array([np.nan, np.inf])) == "[nan, inf]"
    large = np.array([[np.nan, *range(99)]], float)
    assert numbers(large) == "(1, 100) from 0 to 98, mean 49; 1 not finite: nan, 0, 1, 2, 3, …"
    assert numbers(np.zeros((0, 3))) == "[]"


# graph


def svg(drawing):
    return ET.fromstring(drawing._repr_svg_())


def groups(root, kind):
    return [g for g in root.iter("{http://www.w3.org/2000/svg}g") if kind in g.attrib]


def texts(root):
    return ["".join(t.itertext()) for t in root.iter("{http://www.w3.org/2000/svg}text")]


def test_graph_draws_both_edges_of_w_times_w():
    w = tg.Tensor(3.0, requires_grad=True)
    y = w * w
    drawing = tg.study.graph(y)
    root = svg(drawing)
    assert len(groups(root, "data-edge")) == 2
    paths = [p.attrib["d"] for p in root.iter("{http://www.w3.org/2000/svg}path") if p.attrib["class"] == "edge"]
    assert len(set(paths)) == 2
    assert texts(root) == ["w", "3", "grad 6", "multiply", "y", "9", "grad 1"]


def test_graph_shows_every_name_shape_value_and_gradient():
    parts = classifier()
    words = texts(svg(tg.study.graph(parts["loss"], names=parts)))
    for name in ("x (4, 3)", "W1 (5, 3)", "b1 (5,)", "W2 (3, 5)", "t (4,)", "h (4, 5)", "z (4, 3)", "loss"):
        assert name in words
    gradient = tg.grad(parts["loss"], parts["W2"]).data
    assert f"grad {gradient.min():.4g} … {gradient.max():.4g}" in words
    assert f"{parts['loss'].item():.4g}" in words
    assert not [w for w in texts(svg(tg.study.graph(parts["loss"], values=False))) if w.startswith("grad")]


def overlapping(drawing):
    """Pairs of boxes that share a point."""
    items = [*drawing.items, *drawing.references]
    spans = [(i.x, i.x + i.width, i.y - i.height / 2, i.y + i.height / 2) for i in items]
    return [
        (a, b)
        for a, b in itertools.combinations(spans, 2)
        if a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
    ]


def random_graph(n, seed):
    rng = np.random.default_rng(seed)
    pool = [tg.Tensor(rng.normal(size=2), requires_grad=True) for _ in range(4)]
    for k in range(n):
        i, j = rng.integers(max(0, len(pool) - 8), len(pool), 2)
        pool.append([tg.add, tg.subtract, tg.maximum][k % 3](pool[i], pool[j]))
    return sum(p.sum() for p in pool[-3:])


@pytest.mark.parametrize("seed", range(5))
def test_boxes_never_overlap_and_arrows_point_to_the_right(seed):
    drawing = tg.study.graph(random_graph(60, seed), fold=False)
    assert overlapping(drawing) == []
    assert_arrows_are_short(drawing)


def assert_arrows_are_short(drawing):
    """To the right, within a band, over a few columns, and no point outside what the boxes take."""
    for arrow in drawing.arrows:
        assert 0 < arrow.target.layer - arrow.source.layer <= REACH
        assert arrow.target.band == arrow.source.band
        assert all(0 <= x <= drawing.frame.width and 0 <= y <= drawing.frame.height for x, y in arrow.points)


def test_long_chains_are_wrapped_to_the_width_asked_for():
    x = tg.Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(30):
        y = tg.sin(y * 1.5)
    drawing = tg.study.graph(y, fold=False, width=600)
    assert drawing.frame.width <= 600
    assert len(drawing.frame.floors) > 5
    assert overlapping(drawing) == []
    assert_arrows_are_short(drawing)
    assert len(drawing.references) == len(drawing.frame.floors) - 1


def recurrent(turns, *, transposed=True):
    """An unrolled network, its loss added up in the loop, drawn by whoever has its names."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(turns, 2, 3))
    W, U, V = (tg.Tensor(rng.normal(size=shape), requires_grad=True) for shape in [(5, 3), (5, 5), (2, 5)])
    if not transposed:
        W, U, V = (tg.Tensor(w.data.T, requires_grad=True) for w in (W, U, V))
    h, loss = np.zeros((2, 5)), 0
    for t in range(turns):
        weights = (W.T, U.T, V.T) if transposed else (W, U, V)
        h = tg.tanh(x[t] @ weights[0] + h @ weights[1])
        z = h @ weights[2]
        loss = loss + tg.cross_entropy(z, [0, 1])
    return loss, {"W": W, "U": U, "V": V, "h": h, "z": z, "loss": loss}


def bands(drawing):
    """The names in each band of a drawing, and those that stand there for what is drawn elsewhere."""
    found = {}
    for item in [*drawing.items, *drawing.references]:
        name = item.origin.name if item.origin else item.name
        found.setdefault(item.band, (set(), set()))[item.origin is not None].add(name)
    return [found[band] for band in sorted(found)]


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("turns", [2, 4, 11])
def test_a_loop_has_a_band_for_each_turn_and_names_its_states(turns, transposed):
    loss, names = recurrent(turns, transposed=transposed)
    drawing = tg.study.graph(loss, names=names)
    found = bands(drawing)
    assert len(found) == turns
    index = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
    states = [f"h{k}".translate(index) for k in range(turns + 1)]
    for k, (drawn, referred) in enumerate(found, 1):
        assert {states[k], states[k].replace("h", "z")} <= drawn
        assert ("loss" if k == turns else states[k].replace("h", "loss")) in drawn
        assert {"W", "U", "V"} <= (drawn if k == 1 else referred)
        assert k == 1 or states[k - 1] in referred
    assert states[0] in found[0][0]
    assert overlapping(drawing) == []
    assert_arrows_are_short(drawing)


def test_leaves_and_transposes_stand_beside_their_consumer():
    drawing = tg.study.graph(*recurrent(3)[:1], names=recurrent(3)[1])
    users = {id(arrow.source): arrow.target for arrow in reversed(drawing.arrows)}
    for item in [*drawing.items, *drawing.references]:
        if not item.calls or item.title == "transpose":
            assert users[id(item)].layer == item.layer + 1


def test_a_name_that_is_written_over_keeps_its_history_also_with_weights_of_its_own_in_each_turn():
    h = tg.Tensor(np.ones((2, 3)))
    layers = [tg.Tensor(np.eye(3) * k, requires_grad=True) for k in (1, 2, 3)]
    for w in layers:
        h = tg.relu(h @ w)
    loss = h.sum()
    assert [c.result.name for c in tg.study.explain(loss).trace.calls] == ["v1", "h₁", "v3", "h₂", "v5", "h₃", "loss"]
    assert r"h_{3} = \max(v_{5}, 0)" in tg.study.explain(loss).latex().replace("&", "")
    # Nobody is known to have written over a name: a network of like layers has no states.
    model = tg.nn.Sequential(*(layer for k in range(3) for layer in (tg.nn.Linear(3, 3, rng=k), tg.nn.Tanh())))
    y = model(np.ones((2, 3)))
    assert [c.result.name for c in tg.study.explain(y.sum(), names={"y": y}).trace.calls][-2:] == ["y", "loss"]
    cube = y * y * y
    assert tg.study.explain(cube.sum()).trace.calls[-3].result.name == "v7"


def test_gates_of_a_longer_loop_are_told_apart():
    rng = np.random.default_rng(0)
    W = [tg.Tensor(rng.normal(size=(7, 4)), requires_grad=True) for _ in range(4)]
    c = h = np.zeros((2, 4))
    for t in range(3):
        xh = tg.concatenate([np.full((2, 3), t / 3), h], axis=1)
        i, f, o = (tg.sigmoid(xh @ W[k]) for k in range(3))
        c = f * c + i * tg.tanh(xh @ W[3])
        h = o * tg.tanh(c)
    given = {"W": W, "i": i, "f": f, "o": o, "c": c, "h": h}
    names = {call.result.name for call in tg.study.explain((h * h).sum(), names=given).trace.calls}
    assert {f"{gate}{k}" for gate in "ifoch" for k in "₁₂₃"} <= names


def test_repeated_blocks_are_folded_but_for_the_first_and_last():
    layers = [layer for k in range(12) for layer in (tg.nn.Linear(4, 4, rng=k), tg.nn.Tanh())]
    model = tg.nn.Sequential(tg.nn.Linear(3, 4, rng=0), *layers)
    loss = tg.cross_entropy(model(np.ones((2, 3))), [0, 1])
    folded, whole = tg.study.graph(loss), tg.study.graph(loss, fold=False)
    (fold,) = [item for item in folded.items if item.kind == "fold"]
    assert fold.title == "× 10"
    assert [text for _, text in fold.lines] == ["linear → tanh", "20 operators folded", "200 parameters"]
    assert len(whole.items) == 26 + 28
    assert len(folded.items) == len(whole.items) - 20 - 20 + 1
    assert overlapping(folded) == []


def test_blocks_that_differ_in_dtype_or_constants_are_not_folded():
    for change in (lambda h, i: h * (1.0 + i * 1e-8), lambda h, i: h * np.array([1.0, i])):
        h = tg.Tensor([1.0, 2.0], requires_grad=True)
        for i in range(6):
            h = tg.tanh(change(h, i))
        drawing = tg.study.graph(h)
        assert not [item for item in drawing.items if item.kind == "fold"]


def test_the_same_bytes_twice_also_of_operators_with_objects_in_their_calls():
    def drawn():
        w = tg.Tensor(np.eye(3), requires_grad=True)
        return tg.study.graph(tg.linear_cross_entropy(tg.Tensor(np.eye(3)), w, [0, 1, 2])).svg

    assert drawn() == drawn()
    assert "object at" not in drawn()


def test_five_hundred_nodes_are_drawn():
    drawing = tg.study.graph(random_graph(496, 0), fold=False)
    assert len(drawing.trace.calls) > 100
    assert overlapping(drawing) == []
    svg(drawing)


def test_a_weight_shared_by_repeated_blocks_has_one_arrow_into_their_fold():
    w, z = tg.Tensor(0.5, requires_grad=True), tg.Tensor(1.0, requires_grad=True)
    for _ in range(20):
        z = tg.tanh(z * w)
    drawing = tg.study.graph(z)
    (fold,) = [item for item in drawing.items if item.kind == "fold"]
    assert sum(arrow.target is fold and arrow.source.value.name == "w" for arrow in drawing.arrows) == 1
    lowest = max(y for arrow in drawing.arrows for _, y in arrow.points)
    assert lowest <= drawing.frame.height


def test_files_must_be_named_for_what_they_are(tmp_path):
    w = tg.Tensor(3.0, requires_grad=True)
    with pytest.raises(ValueError, match=r"expected a name that ends in \.svg"):
        tg.study.graph(w * w).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"expected a name that ends in \.html"):
        tg.study.player(w * w).save(tmp_path / "a.txt")


def test_dot_has_every_node_and_edge():
    parts = classifier()
    dot = tg.study.graph(parts["loss"], names=parts).to_dot()
    assert dot.startswith("digraph {")
    assert dot.count("[label=") - dot.count("->") == 5 + 4
    assert dot.count("->") == 3 + 1 + 2 + 2


def test_graph_is_saved_and_loads_nothing(tmp_path):
    parts = classifier()
    tg.study.graph(parts["loss"]).save(tmp_path / "graph.svg")
    text = (tmp_path / "graph.svg").read_text(encoding="utf-8")
    ET.fromstring(text)
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]
    assert "href" not in text


def test_a_drawing_says_what_is_seen_in_it():
    parts = classifier()
    assert svg(tg.study.graph(parts["loss"], names=parts)).attrib["aria-label"] == (
        "The graph of loss: 4 operators. v1 = linear(x, W1, b1); h = tanh(v1); z = linear(h, W2); "
        "loss = cross_entropy(z, t)"
    )  # fmt: skip
    many = svg(tg.study.graph(random_graph(30, 0))).attrib["aria-label"]
    assert re.search(r"; \d+ more; loss = add\(", many)


def test_html_says_each_formula_once():
    parts = classifier()
    explained = tg.study.explain(parts["loss"], names=parts)
    page = explained._repr_html_()
    for step in explained.steps:
        assert html.escape(step.formula.text) not in page
    assert page.count('class="tg-formula"') == len(explained.steps)
    assert "flex-wrap: wrap" in page


def test_a_batch_of_three_rows_of_ten_is_shown_whole():
    x = np.arange(30.0).reshape(3, 10) / 7
    assert numbers(x).count("\n") == 2
    np.testing.assert_allclose(printed(numbers(x)), x.ravel(), rtol=1e-5)


def test_names_in_a_graph_are_escaped():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    drawing = tg.study.graph(tg.exp(x), names={'<script>"&': x})
    assert '<script>"& (2,)' in texts(svg(drawing))
    assert "<script>" not in drawing.svg
    assert '\\"' in drawing.to_dot()


def test_layout_of_a_box_alone_and_of_a_long_edge():
    one = Box(width=10, height=10)
    assert place([one], [], 100, Box).width == 10
    a, b, c = (Box(width=10, height=10) for _ in range(3))
    long = Edge(a, c, 1, 2)
    place([a, b, c], [Edge(a, b), Edge(b, c, 0, 2), long], 1000, Box)
    assert (a.layer, b.layer, c.layer) == (0, 1, 2)
    (bend,) = long.bends
    assert abs(bend.y - b.y) >= b.height / 2


# Tensors in a notebook, and check


def test_a_tensor_shows_value_gradient_and_shape_in_a_notebook():
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    loss = (w * w).sum()
    assert "made by sum" in loss._repr_html_()
    assert "grad" not in loss._repr_html_().replace("requires_grad", "")
    loss.backward()
    page = w._repr_html_()
    ET.fromstring(f"<r>{page}</r>")
    for word in ("shape (2,)", "float64", "[1., 2.]", "grad", "[2., 4.]"):
        assert word in page
    assert "http" not in page


@pytest.mark.parametrize(
    ("answer", "truth", "verdict"),
    [
        ([1.0, 2.0], [1.0, 2.0], "✓ right: all 2 entries"),
        (np.float32(0.1), 0.1, "✓ right"),
        (..., 1.0, "… not answered yet: put your answer in the place of ..."),
        (None, 1.0, "… not answered yet: put your answer in the place of ..."),
        (
            [[1, 2], [3, 5]], [[1, 2], [4, 4]],
            "✗ index [1, 0] is the first that is wrong: 3, expected 4 (2 of 4 entries are wrong)",
        ),
        ([np.nan], [1.0], "✗ index [0] is the first that is wrong: nan, expected 1 (1 of 1 entries are wrong)"),
        ([1.0], [[1.0]], "✗ the answer has shape (1,), expected (1, 1)"),
        ([[1.0], [1.0, 2.0]], 1.0, "✗ the answer is no array of numbers: rows of different lengths?"),
        (0.0, 4.248e-18, "✗ 0, expected 4.248e-18"),
        (1.0, True, "✗ the answer is of type float, expected something like True"),
        ([tg.Tensor(1.0, requires_grad=True)], [1.0], "✓ right"),
        (-0.5, 0.5, "✗ -0.5, expected 0.5; it is the other sign"),
        (1.0, 3.0, "✗ 1, expected 3; it is 0.3333 times what it should be"),
        (
            [1.0, 2.0, 3.0], [1.0, 3.0, 2.0],
            "✗ index [1] is the first that is wrong: 2, expected 3 (2 of 3 entries are wrong; "
            "the right numbers, in other places)",
        ),
        ("a", 1.0, "✗ the answer is of type str, expected something like 1.0"),
        (True, False, "✗ True, expected False"),
        (
            [0.0, 2.0, 4.0], [0.0, 1.0, 2.0],
            "✗ index [1] is the first that is wrong: 2, expected 1 (2 of 3 entries are wrong; "
            "it is 2 times what it should be)",
        ),
        (
            [1.0, 2.0, 4.0], [0.0, 1.0, 2.0],
            "✗ index [0] is the first that is wrong: 1, expected 0 (3 of 3 entries are wrong)",
        ),
        (1.00002, 1.0, "✗ 1.00002, expected 1; close, but more digits are asked for"),
        (
            [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]],
            "✗ the answer has shape (2, 3), expected (3, 2); it is transposed",
        ),
        ({1.0, 2.0}, [1.0, 2.0], "✗ the answer is of type set, expected numbers of shape (2,)"),
    ],
)  # fmt: skip
def test_check(answer, truth, verdict, capsys):
    result = tg.study.check(answer, truth)
    assert capsys.readouterr().out == result.message + "\n" == verdict + "\n"
    assert bool(result) == (result.verdict == "right") == (result.points == 1) == verdict.startswith("✓")
