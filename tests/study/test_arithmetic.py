"""The arithmetic of entries: what each number is said to be made of makes it, of every operator's examples."""

import functools
import importlib
import re

import numpy as np
import pytest
from browser import CONTRASTS, chromium, visit

import tinygrad_ce as tg
from tinygrad_ce.check.operators import example_calls
from tinygrad_ce.engine.primitive import registry
from tinygrad_ce.study.arithmetic import said, strided, terms
from tinygrad_ce.study.player import player

player_module = importlib.import_module("tinygrad_ce.study.player")  # the package has a function of this name

# What the words of softmax and cross-entropy mean.
WORDS = {
    ("", " − ", ""): lambda a, b: a - b,
    ("exp(", ")"): np.exp,
    ("", " / ", ""): lambda a, b: a / b,
    ("−log ", ""): lambda p: -np.log(p),
    ("−", " · log ", ""): lambda y, p: -y * np.log(p),
    ("", " − log ", ""): lambda x, s: x - np.log(s),
    ("", " + log ", ""): lambda m, s: m + np.log(s),
    ("", " · ", " − ", ""): lambda p, total, y: p * total - y,
    ("", " · (", " − ", ")"): lambda p, g, s: p * (g - s),
    ("", " − ", " · ", ""): lambda g, p, s: g - p * s,
}


def example_losses(name):
    """For each example of an operator a loss, a sum in which every entry counts differently, and its inputs."""
    for f, inputs in example_calls(registry[name], np.float64, seed=0):
        leaves = [tg.Tensor(x, requires_grad=True) for x in inputs]
        results = f(*leaves)
        parts = results if isinstance(results, list | tuple) else [results]
        rng = np.random.default_rng(1)
        loss = sum((part * rng.uniform(0.5, 1.5, part.shape)).sum() for part in parts)
        yield loss, {f"x{i}": leaf for i, leaf in enumerate(leaves)}


@functools.cache
def accounts(name):
    """An operator's examples, explained."""
    return [tg.study.explain(loss, names=names) for loss, names in example_losses(name)]


def evaluated(found):
    """The sum of terms, by what their words mean."""
    total = 0.0
    for part, places in found:
        values = [float(factor.array.flat[i]) for factor, i in zip(part.factors, places, strict=True)]
        is_product = set(part.words) <= {"", " · "}
        total += np.prod(values) if is_product else WORDS[part.words](*values)
    return total


def entrywise(row, step, place):
    """What the operator itself makes of an entry's numbers: its value, or the derivative dy/dx."""
    call = step.call
    made = call.node._primitive
    one = [
        np.broadcast_to(a, row.array.shape).flat[place] if isinstance(a, np.ndarray) else a
        for a in call.node._arguments[: len(made.signature.parameters)]
    ]
    given = dict(zip(made.arguments, one, strict=False))
    given |= {name: tg.Tensor(float(given[name]), requires_grad=True) for name in call.operands}
    y = registry[call.operator](**given)
    return y.item() if step.share is None else tg.grad(y, given[step.share.argument]).item()


def rows_with_origins(explained):
    """Every entry of which an account says where it comes from."""
    for step in explained.steps:
        for row in step.rows:
            for place in range(row.array.size if row.origin else 0):
                yield step, row, place


@pytest.mark.parametrize("name", sorted(registry))
def test_every_entry_is_what_its_terms_make(name):
    made, shown, where = [], [], []
    for explained in accounts(name):
        for step, row, place in rows_with_origins(explained):
            found = terms(row.origin, place)
            text, entries = said(row.origin, place)
            assert bool(entries) == bool(found)
            if row.origin.by:
                assert text.startswith(f"by {row.origin.by}")
                continue
            known = all(set(part.words) <= {"", " · "} or part.words in WORDS for part, _ in found)
            with np.errstate(all="ignore"):
                made.append(evaluated(found) if known else entrywise(row, step, place))
            shown.append(row.array.flat[place])
            where.append(f"{step.title}: {row.label} [{place}]")
    assert made
    close = np.isclose(made, shown, rtol=1e-9, atol=1e-12, equal_nan=True)
    assert [at for at, right in zip(where, close, strict=True) if not right] == []


@pytest.mark.parametrize("name", sorted(registry))
def test_every_gradient_that_arrives_says_where_it_comes_from(name):
    for explained in accounts(name):
        for step in explained.steps:
            assert step.rows[-1].origin, step.title
            if step.share and step.share.upstream.size:
                found = [place for place in range(step.rows[-1].array.size) if terms(step.rows[-1].origin, place)]
                assert set(np.flatnonzero(step.rows[-1].array)) <= set(found), step.title


@pytest.mark.parametrize("name", sorted(n for n, operator in registry.items() if operator.primitive))
def test_nothing_that_a_value_depends_on_is_left_out(name):
    for f, inputs in example_calls(registry[name], np.float64, seed=0):
        leaves = [tg.Tensor(x, requires_grad=True) for x in inputs]
        y = f(*leaves)
        step = tg.study.explain(y, np.ones(y.shape)).steps[0]
        if step.rows[-1].label != "y" or len(step.rows) > 1:
            continue  # what softmax is made of are its inner steps
        for place in range(y.size):
            one = np.zeros(y.shape)
            one.flat[place] = 1.0
            found = terms(step.rows[-1].origin, place)
            for leaf, gradient in zip(leaves, tg.grad(y, leaves, one), strict=True):
                taken = {i for part, places in found for f, i in zip(part.factors, places, strict=True)
                         if f.array is leaf._value}  # fmt: skip
                assert set(np.flatnonzero(gradient.data)) <= taken


# explain(loss, entry=…)


def classifier():
    rng = np.random.default_rng(0)
    names = {
        "x": tg.Tensor(rng.integers(-3, 4, (3, 2)) / 4.0),
        "W": tg.Tensor(rng.integers(-3, 4, (2, 3)) / 4.0, requires_grad=True),
        "b": tg.Tensor(rng.integers(-3, 4, 3) / 4.0, requires_grad=True),
        "t": np.array([0, 2, 1]),
    }
    names["h"] = names["x"] @ names["W"] + names["b"]
    names["p"] = tg.relu(names["h"])
    names["error"] = tg.cross_entropy(names["p"], names["t"])
    names["loss"] = names["error"] + 0.5 * (names["W"] ** 2).sum()
    return names


def told(names, *entry):
    return str(tg.study.explain(names["loss"], names=names, entry=entry))


def text_of(value):
    return f"({value:.6g})" if value < 0 else f"{value:.6g}"


def test_the_entry_of_a_weight_is_the_sum_of_its_shares():
    names = classifier()
    loss, x, w = names["loss"], names["x"].data, names["W"].data
    gradient, g = (t.data for t in tg.grad(loss, [names["W"], names["h"]]))
    lines = [line.strip() for line in told(names, "W", (1, 2)).split("\n")]
    assert lines[0] == f"W[1, 2] = {w[1, 2]:.6g}, given"
    assert lines[1] == f"∂loss/∂W[1, 2] = {gradient[1, 2]:.6g}"
    assert f"gradient so far[1, 2] = {w[1, 2]:.6g} = 0.5 · {text_of(2 * w[1, 2])}" in lines
    share = x[:, 1] @ g[:, 2]
    assert f"∂loss/∂W[1, 2] = {gradient[1, 2]:.6g} = {text_of(w[1, 2])} + {text_of(share)}" in lines
    terms = " + ".join(f"{text_of(g[k, 2])} · {text_of(x[k, 1])}" for k in range(3))
    assert lines[-2:] == [f"by the rule[1, 2] = {share:.6g} = {terms}", "from g[:, 2], x[:, 1]"]


def test_the_entry_of_a_bias_is_the_sum_over_what_was_repeated():
    names = classifier()
    gradient, g = (t.data for t in tg.grad(names["loss"], [names["b"], names["h"]]))
    terms = " + ".join(text_of(v) for v in g[:, 1])
    assert f"∂loss/∂b[1] = {gradient[1]:.6g} = {terms}\n        from g · local[:, 1]" in told(names, "b", 1)


def test_the_entry_of_logits_is_p_minus_onehot_times_one_over_n():
    names = classifier()
    p = tg.softmax(names["p"].data)
    text = told(names, "p", (1, -1))
    assert f"p[1, 2] = {names['p'].data[1, 2]:.6g} = max({names['h'].data[1, 2]:.6g}, 0)" in text
    assert f"local[1, 2] = {(p[1, 2] - 1) / 3:.6g} = ({p[1, 2] - 1:.6g}) · 0.333333" in text
    assert f"p − onehot[1, 2] = {p[1, 2] - 1:.6g} = {p[1, 2]:.6g} − 1" in text
    e = np.exp(names["p"].data[1] - names["p"].data[1].max())
    assert f"p[1, 2] = {p[1, 2]:.6g} = {e[2]:.6g} / {e.sum():.6g}" in text


@pytest.mark.parametrize("rows", [2, 3])
def test_a_matrix_that_happens_to_be_diagonal_is_a_matrix(rows):
    """Its rule gives g times a number, entry by entry; the formula is that of a matrix product all the same."""
    h, w = tg.Tensor(np.ones((rows, 3)), requires_grad=True), tg.Tensor(np.diag([2.0, 3.0, 4.0]))
    loss = (h @ w).sum()
    text = str(tg.study.explain(loss, names={"h": h, "w": w, "loss": loss}, entry=("h", (0, 1))))
    assert "local[0, 1] = 3" in text
    assert "from w" in text


def test_an_entry_of_many_terms_leaves_out_zeros_and_counts_the_rest():
    x = tg.Tensor(np.where(np.arange(100) < 40, np.arange(100.0), 0), requires_grad=True)
    total = x.sum()
    text = str(tg.study.explain(total, entry=("total", ())))
    assert "total = 780 = 1 + 2 + 3" in text
    assert "+ 32 + 7 more + 61 that are 0\n        from x[:]" in text


def test_the_start_of_the_pass_and_scalars_have_their_entry():
    names = classifier()
    assert told(names, "loss", ()).endswith("∂loss/∂loss = 1, from which the pass starts")
    page = tg.study.explain(names["loss"], names=names, entry=("loss", []))._repr_html_()
    assert page.startswith("<pre>loss = ")
    assert "&gt;" not in page
    assert "\n" in page


@pytest.mark.parametrize(
    ("entry", "error", "words"),
    [
        (("q", 0), ValueError, r"entry names 'q'.*they are x, W, "),
        (("W", 0), IndexError, r"W\[0\] are 3 entries, expected one; W has shape \(2, 3\)"),
        (("W", (2, 0)), IndexError, r"W has shape \(2, 3\), and no entry \(2, 0\)"),
        (("W", "a"), IndexError, "no entry 'a'"),
        ("W", TypeError, r"entry is 'W', expected a name and an index"),
        ((0, 1), TypeError, "expected a name and an index"),
    ],
)  # fmt: skip
def test_an_entry_that_is_none_is_refused(entry, error, words):
    names = classifier()
    with pytest.raises(error, match=words):
        tg.study.explain(names["loss"], names=names, entry=entry)


@pytest.mark.parametrize("name", sorted(registry))
def test_backward_steps_show_every_array_that_their_rule_names(name):
    for explained in accounts(name):
        for step in explained.steps:
            if step.share:
                rule = step.formula.text.split("= ", 1)[1]
                arrays = {value.name for value in step.call.operands.values() if value.kind != "number"}
                assert set(re.findall(r"(?<!\w)[xv]\d+(?!\w)", rule)) & arrays <= {row.label for row in step.rows}


def test_the_operands_of_a_rule_in_words_are_shown():
    rng = np.random.default_rng(0)
    image, kernel, b = (tg.Tensor(rng.normal(size=s), requires_grad=True) for s in ((1, 1, 3, 3), (1, 1, 2, 2), (2, 2)))
    steps = tg.study.explain((tg.conv2d(image, kernel)[0, 0] * tg.einsum("ij,kj->ik", b, b)).sum()).steps
    labels = {(s.call.operator, s.share.argument): [row.label for row in s.rows] for s in steps if s.share}
    assert "kernel" in labels["conv2d", "x"]
    assert "image" in labels["conv2d", "weight"]
    assert "b" in labels["einsum", "operands[0]"]


# The page: what it computes in the browser from places and numbers.

PAGES = 8
EVERY_TERM = """(shown) => origins.map((origin, k) => Array.from({ length: shown[k] }, (_, entry) =>
  termsOf(origin, entry).map(({ factors }) => factors.map(({ place, value }) => [place, String(value)]))))"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("page", range(PAGES))
def test_the_page_finds_the_same_terms_and_numbers_for_every_operators_examples(browser, tmp_path, monkeypatch, page):
    monkeypatch.setattr(player_module, "LISTED", 10**6)
    monkeypatch.setattr(player_module, "CORNERS", ((10**6, 10**6),))
    losses = [loss for name in sorted(registry)[page::PAGES] for loss, _ in example_losses(name)]
    scripts, init = [], player_module.Script.__init__
    monkeypatch.setattr(player_module.Script, "__init__", lambda self, *a: (scripts.append(self), init(self, *a))[1])
    player(sum(losses), names={}).save(tmp_path / "page.html")
    expected = scripts[0].origins
    with visit(browser, tmp_path / "page.html") as view:
        found = view.evaluate(EVERY_TERM, [array.size for _, array in expected])
    compared = 0
    for (origin, array), entries in zip(expected, found, strict=True):
        for place in range(array.size):
            mine = terms(origin, place)
            assert [[i for i, _ in term] for term in entries[place]] == [list(places) for _, places in mine]
            for term, (part, places) in zip(entries[place], mine, strict=True):
                truth = [float(f.array.flat[i]) for f, i in zip(part.factors, places, strict=True)]
                shown = [
                    float(v.replace("Infinity", "inf").replace("true", "1").replace("false", "0")) for _, v in term
                ]
                np.testing.assert_allclose(shown, truth, rtol=5e-6)
                compared += len(shown)
    assert compared > 1000


def made(view):
    """What the page says of the chosen entry, with lines as ASCII has them."""
    return "\n".join(view.locator("#made p").all_text_contents()).replace("−", "-")


def cell(view, label, row, column):
    return view.locator(f'[data-label="{label}"] [data-row="{row}"][data-column="{column}"]')


def taken(view):
    """The entries that are lit, by figure."""
    return view.evaluate("""() => Object.fromEntries([...document.querySelectorAll(".array")]
      .map((figure) => [figure.dataset.label, [...figure.querySelectorAll(".taken")]
        .map((cell) => [Number(cell.dataset.row), Number(cell.dataset.column)])]).filter(([, all]) => all.length))""")


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1400, "dark")])
def test_a_clicked_entry_tells_its_arithmetic_and_lights_what_it_is_made_of(browser, tmp_path, width, scheme):
    names = classifier()
    player(names["loss"], names=names).save(tmp_path / "page.html")
    g, x, h = tg.grad(names["loss"], names["h"]).data, names["x"].data, names["h"].data
    with visit(browser, tmp_path / "page.html", width=width, height=844, scheme=scheme) as view:
        view.locator("#scrubber").fill("1")
        cell(view, "v1", 1, 2).click()
        values = " + ".join(f"{text_of(x[1, k])} · {text_of(names['W'].data[k, 2])}" for k in range(2))
        assert made(view) == f"v1[1, 2] = {x[1] @ names['W'].data[:, 2]:.6g} = {values}\nfrom x[1, :], W[:, 2]"
        assert taken(view) == {"in: x": [[1, 0], [1, 1]], "in: W": [[0, 2], [1, 2]]}
        steps = view.evaluate("steps.map((step) => step.title)")
        view.locator("#scrubber").fill(str(next(k for k, t in enumerate(steps) if t.endswith("(matmul, argument b)"))))
        assert taken(view) == {}
        cell(view, "by the rule", 1, 0).click()
        values = " + ".join(f"{text_of(g[k, 0])} · {text_of(x[k, 1])}" for k in range(3))
        assert made(view) == f"by the rule[1, 0] = {g[:, 0] @ x[:, 1]:.6g} = {values}\nfrom g[:, 0], x[:, 1]"
        assert taken(view) == {"upstream g": [[0, 0], [1, 0], [2, 0]], "x": [[0, 1], [1, 1], [2, 1]]}
        cell(view, "x", 0, 0).click()
        assert made(view) == f"x[0, 0] = {x[0, 0]:.6g}, given"
        view.locator("#scrubber").fill("2")
        cell(view, "h", 2, 1).click()
        assert made(view).startswith(f"h[2, 1] = {h[2, 1]:.6g} = ")
        panel = view.locator("#made").bounding_box()
        assert panel["y"] >= 0
        assert panel["y"] + panel["height"] <= 844
        view.evaluate("document.querySelector('.tg-graph').remove()")
        assert min(view.evaluate(CONTRASTS))[0] >= 4.5
        assert view.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_the_keyboard_goes_through_entries(browser, tmp_path):
    names = classifier()
    player(names["loss"], names=names).save(tmp_path / "page.html")
    with visit(browser, tmp_path / "page.html", fragment="#step=1") as view:
        press = view.keyboard.press
        cell(view, "in: x", 0, 0).focus()
        press("Tab")
        assert made(view).startswith("W[0, 0] = ")
        for key, place in [("ArrowRight", "0, 1"), ("ArrowDown", "1, 1"), ("End", "1, 2"), ("ArrowRight", "1, 2"),
                           ("Home", "1, 0"), ("ArrowUp", "0, 0"), ("ArrowUp", "0, 0")]:  # fmt: skip
            press(key)
            assert made(view).startswith(f"W[{place}] = ")
            assert view.evaluate("document.activeElement.matches('.chosen')")
        assert view.locator("#where").text_content().startswith("step 1 of")
        press("Tab")
        assert made(view).startswith("v1[0, 0] = ")
        view.get_by_role("status").and_(view.get_by_text("v1[0, 0] = ")).wait_for(state="attached")
        press("Shift+Tab")
        assert made(view).startswith("W[0, 0] = ")
        press("Escape")
        assert not view.locator("#made").is_visible()
        press("ArrowRight")
        assert view.locator("#where").text_content().startswith("step 2 of")


def test_a_heat_map_has_entries_to_choose_too(browser, tmp_path):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(8, 6)), tg.Tensor(rng.normal(size=(6, 7)), requires_grad=True)
    y = tg.Tensor(x) @ w
    loss = (y * y).mean()
    player(loss, names={"x": x, "w": w, "y": y, "loss": loss}).save(tmp_path / "page.html")
    with visit(browser, tmp_path / "page.html", fragment="#step=1", width=390, height=844) as view:
        map_of_y = view.locator('[data-label="y"] .heat')
        area = map_of_y.bounding_box()
        map_of_y.click(position={"x": area["width"] * 2.5 / 7, "y": area["height"] * 3.5 / 8})
        assert made(view).startswith(f"y[3, 2] = {y.data[3, 2]:.6g} = {text_of(x[3, 0])} · {text_of(w.data[0, 2])} + ")
        assert made(view).endswith("\nfrom x[3, :], w[:, 2]")
        lit = view.locator('[data-label="in: w"] .heat .taken').get_attribute("d")
        assert lit == "".join(f"M2 {k}h1v1h-1z" for k in range(6))
        view.keyboard.press("ArrowLeft")
        assert made(view).startswith(f"y[3, 1] = {y.data[3, 1]:.6g} = ")
        assert map_of_y.locator(".chosen").get_attribute("d") == "M1 3h1v1h-1z"
        view.keyboard.press("Escape")
        assert view.locator(".heat .chosen").count() == 0


def test_what_a_corner_does_not_hold_is_counted(browser, tmp_path):
    x = tg.Tensor(np.arange(1.0, 101.0), requires_grad=True)
    total = x.sum()
    player(total, names={"x": x, "total": total}).save(tmp_path / "page.html")
    with visit(browser, tmp_path / "page.html", fragment="#step=1") as view:
        view.locator('[data-label="total"] [data-row]').click()
        text = made(view)
        assert text.startswith("total = 5050 = 1 + 2 + 3 + ")
        assert "24 + 40 more + 36 that this page doesn't hold" in text


def test_a_page_with_too_much_to_list_says_what_took_part(monkeypatch):
    monkeypatch.setattr(player_module, "LISTED", 3)
    x = tg.Tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    y = x[np.array([3, 1, 1, 0])].sum()
    assert '{"by":"the rule","parts":[' in player(y, names={"x": x, "y": y}).html


def test_a_page_of_351_operators_is_below_2_megabytes():
    rng = np.random.default_rng(0)
    h = tg.Tensor(rng.normal(size=(8, 16)), requires_grad=True)
    w = [tg.Tensor(rng.normal(size=(16, 16)) / 4, requires_grad=True) for _ in range(117)]
    loss = h
    for weight in w:
        loss = tg.tanh(loss @ weight + 0.1)
    assert len(player(loss.sum(), names={"h": h, "w": w}).html) < 2_000_000


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (2, 1, 4)])
def test_places_are_strides_where_they_can_be(shape):
    places = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    for made_of in (places, places[..., None], np.broadcast_to(places, (3, *shape)), places.T):
        (offset, *steps), listed = strided(made_of, made_of.shape)
        assert listed == []
        index = np.indices(made_of.shape)
        np.testing.assert_array_equal(offset + np.tensordot(steps, index, 1) if steps else offset, made_of)
    order = np.array([4, 0, 0, 2])
    assert strided(order[:, None], (4, 3)) == ([0, 1, 0], [4, 0, 0, 2])
