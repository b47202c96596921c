"""The study pages in a real browser: their figures are the engine's, they load nothing, and everyone can use them."""

import html
import math
import re

import numpy as np
import pytest
from browser import CONTRASTS, chromium, violations, visit
from playwright.sync_api import expect

import tinygrad_ce as tg
from tinygrad_ce.study.page import Page, asset, frame, page_texts, to_json
from tinygrad_ce.study.softmax_page import softmax_page, with_texts

PRESETS = {
    "Example": ([1.5, 0.8, -0.2], 0, 1),
    "A miss": ([2, -1, 0.1], 1, 1),
    "Confident": ([0, -20], 0, 1),
    "Huge": ([1000, 990, 0], 0, 1),
    "Equal": ([1, 1, 1, 1], 0, 1),
    "Raise T to 20": ([1.5, 0.8, -0.2], 0, 20),
    "Lower T to 0.05": ([1.5, 0.8, -0.2], 0, 0.05),
    "Add 100 to each": ([101.5, 100.8, 99.8], 0, 1),
    "Be sure and right": ([0, -20], 0, 1),
}
ROWS = [
    *(row for name, row in PRESETS.items() if name != "Confident"),
    ([1000, 990, 0], 2, 1),
    ([0, -40], 0, 1),
    ([0, -110], 0, 1),
    ([0, -800], 1, 1),
    ([0, -1000], 0, 1),
    ([0, -80], 1, 1),
    ([3.25, -10, 0.5, 9.75, 9.75, -0.125], 4, 0.3),
    ([-1e6, 1e6], 0, 0.05),
    ([1e-6, -1e-6], 1, 20),
    ([-150, -151], 1, 1),
]


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "softmax.html"
    softmax_page().save(path)
    return path


@pytest.fixture
def view(browser, path):
    with visit(browser, path) as view:
        yield view


def fragment(logits, target, temperature):
    return f"#x={','.join(map(str, logits))}&t={target}&T={temperature}"


def go(view, row):
    """Set everything by the page's address."""
    view.evaluate(
        "f => new Promise(done => { addEventListener('hashchange', done, {once: true}); location.hash = f; })",
        fragment(*row),
    )


def control(view, label):
    return view.get_by_label(label, exact=True)


def settings(view):
    """What the controls are set to: logits, target, temperature."""
    logits = [float(v) for v in view.locator("#logits input[type=number]").evaluate_all("all => all.map(n => n.value)")]
    target = int(view.locator("#logits input:checked").get_attribute("value"))
    return logits, target, float(control(view, "Temperature, number").input_value())


def number(text):
    return float(text.replace("−", "-"))


def figures(view, name):
    """The numbers of one name in full precision, from data-value; the text shows the same."""
    found = view.locator(f'[data-figure="{name}"]').evaluate_all(
        "all => all.map(n => [n.dataset.value, n.textContent])"
    )
    for value, text in found:
        assert number(text) == pytest.approx(float(value), rel=5e-6, nan_ok=True)
    return np.array([float(value) for value, _ in found])


def assert_engine_agrees(view):
    """Every figure of the page, whatever it is set to, against softmax, cross_entropy and its backward."""
    logits, target, temperature = settings(view)
    z = tg.Tensor(np.array(logits) / temperature, requires_grad=True)
    p, surprise, loss = tg.softmax(z).data, -tg.log_softmax(z).data, tg.cross_entropy(z, target)
    loss.backward()
    expected = {
        "x": logits, "z": z.data, "p": p, "surprise": surprise, "gradient": z.grad, "loss": [loss.item()],
        "target-p": [p[target]], "entropy": [np.sum(p * surprise)], "most-entropy": [np.log(len(logits))],
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_allclose(figures(view, name), values, rtol=1e-12, err_msg=f"{name} of {logits}, {target}")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_everything_and_its_figures_are_the_engines(view, name):
    view.get_by_role("button", name=name, exact=True).click()
    assert settings(view) == PRESETS[name]
    assert_engine_agrees(view)


def test_figures_are_the_engines_for_any_row(view):
    rng = np.random.default_rng(0)
    drawn = [
        (rng.normal(0, scale, classes).tolist(), int(rng.integers(classes)), float(rng.uniform(0.05, 20)))
        for classes, scale in [(2, 30), (3, 1), (4, 30), (5, 1), (6, 30)]
    ]
    for row in [*ROWS, *drawn]:
        go(view, row)
        assert settings(view) == row
        assert_engine_agrees(view)


def test_figures_of_an_article_and_a_confident_row(view):
    np.testing.assert_allclose(figures(view, "p"), [0.596, 0.296, 0.109], atol=6e-4)
    np.testing.assert_allclose(ways(view)["naive"]["e"], [4.482, 2.225, 0.819], atol=1e-3)
    assert ways(view)["naive"]["sum"] == pytest.approx(7.526, abs=1e-3)
    view.get_by_role("button", name="Confident").click()
    assert figures(view, "loss") == pytest.approx(2.0611536181902037e-09, rel=1e-15)
    assert view.locator('[data-figure="loss"]').text_content() == "2.06115e−9"


def ways(view):
    """Of each of the three ways, each step's numbers: an array for one number a class, else a float32."""
    found = {}
    cells = view.locator("[data-way]").evaluate_all(
        "all => all.map(n => [n.dataset.way, n.dataset.step, 'class' in n.dataset, n.dataset.value])"
    )
    for way, step, of_class, value in cells:
        steps = found.setdefault(way, {})
        if of_class:
            steps.setdefault(step, []).append(np.float32(value))
        else:
            steps[step] = np.float32(value)
    return {way: {k: np.array(v, np.float32) for k, v in steps.items()} for way, steps in found.items()}


def assert_close(found, expected):
    """Equal to 2 ulp; inf, nan and 0 exactly."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype == np.float32
    special = ~np.isfinite(expected) | (expected == 0)
    np.testing.assert_array_equal(found[special], expected[special])
    assert np.all(np.abs(found - expected)[~special] <= 2 * np.spacing(np.abs(expected))[~special]), (found, expected)


def total(terms):
    result = np.float32(0)
    for term in terms:
        result = result + term
    return result


def test_32_bits_are_numpys_step_by_step(view):
    """Each step is NumPy's, from the numbers of the page's step before."""
    for logits, target, temperature in ROWS:
        go(view, (logits, target, temperature))
        found = ways(view)
        z = np.array(logits, np.float32) / np.float32(temperature)
        naive, shifted, left_out = found["naive"], found["shifted"], found["left-out"]
        with np.errstate(all="ignore"):
            assert_close(naive["exponents"], z)
            for way in (shifted, left_out):
                assert_close(way["exponents"], z - z.max())
            for way in (naive, shifted, left_out):
                assert_close(way["e"], np.exp(way["exponents"]))
            for way in (naive, shifted):
                assert_close(way["sum"], total(way["e"]))
                assert_close(way["p"], way["e"] / way["sum"])
                assert_close(way["loss"], -np.log(way["p"][target]))
                assert_close(way["slope"], way["p"][target] - np.float32(1))
            s, own = left_out["sum"], left_out["e"][target]
            assert_close(s, total(np.delete(left_out["e"], target)))
            assert_close(left_out["p"], left_out["e"] / (s + own))
            assert_close(left_out["slope"], -s / (s + own))
            loss = np.log1p(s / own) if own >= 0.5 else np.log(s + own) + (z.max() - z[target])
            assert_close(left_out["loss"], loss)


def test_32_bits_leave_what_they_are_known_to_leave(browser, path):
    """The loss of each way: naive, shifted, target left out; and the last is the engine's in float32."""
    nan = pytest.approx(math.nan, nan_ok=True)
    known = {
        "Example": [pytest.approx(0.51835834, rel=1e-6)] * 3,
        "Confident": [0, 0, pytest.approx(2.0611536e-9, rel=1e-6)],
        "Huge": [nan, pytest.approx(4.54e-5, rel=2e-3), pytest.approx(4.5398899e-5, rel=1e-6)],
        "Add 100 to each": [nan, pytest.approx(0.51836, rel=1e-5), pytest.approx(0.51836, rel=1e-5)],
    }
    with visit(browser, path) as view:
        for name, losses in known.items():
            view.get_by_role("button", name=name, exact=True).click()
            found = ways(view)
            assert [float(found[way]["loss"]) for way in ("naive", "shifted", "left-out")] == losses
            logits, target, _ = settings(view)
            engine = tg.cross_entropy(np.array(logits, np.float32), target)
            np.testing.assert_allclose(found["left-out"]["loss"], engine, rtol=1e-6)


def verdict(view, way, step):
    return view.locator(f'[data-way="{way}"][data-step="{step}"] span').all_text_contents()


def test_what_32_bits_break_is_said_in_words(browser, path):
    with visit(browser, path, fragment="#x=1000,990,0&t=2&T=1") as view:
        assert verdict(view, "naive", "e") == ["overflow", "overflow"]
        assert verdict(view, "naive", "sum") == ["overflow"]
        assert verdict(view, "naive", "p") == ["inf ÷ inf", "inf ÷ inf", "÷ inf"]
        assert verdict(view, "shifted", "e") == ["underflow"]
        assert verdict(view, "shifted", "loss") == ["✗ log of 0"]
        assert verdict(view, "left-out", "loss") == ["✓ right"]
        view.get_by_role("button", name="Confident").click()
        for way in ("naive", "shifted"):
            assert verdict(view, way, "sum") == ["a term is lost"]
            assert verdict(view, way, "loss") == ["✗ all digits lost"]
            assert verdict(view, way, "slope") == ["✗ nothing to learn"]
        assert verdict(view, "left-out", "loss") == ["✓ right"]
        assert verdict(view, "left-out", "slope") == verdict(view, "left-out", "sum") == []
        view.get_by_role("button", name="Huge").click()
        assert verdict(view, "naive", "loss") == verdict(view, "naive", "slope") == ["✗ not a number"]
        assert re.fullmatch("[1-3] of 7 digits", *verdict(view, "shifted", "loss"))
    with visit(browser, path, fragment="#x=0,-110&t=0&T=1") as view:
        for way in ("naive", "shifted", "left-out"):
            assert verdict(view, way, "loss") == ["too small for 32 bits"]


def test_the_keyboard_moves_everything(view):
    control(view, "logit of class 1, slider").focus()
    view.keyboard.press("ArrowRight")
    assert settings(view) == ([1.5, 0.9, -0.2], 0, 1)
    assert_engine_agrees(view)
    control(view, "class 0 is the target").focus()
    view.keyboard.press("ArrowDown")
    assert settings(view) == ([1.5, 0.9, -0.2], 1, 1)
    assert_engine_agrees(view)
    control(view, "Temperature, slider").focus()
    view.keyboard.press("End")
    assert settings(view) == ([1.5, 0.9, -0.2], 1, 20)
    view.keyboard.press("Home")
    assert settings(view) == ([1.5, 0.9, -0.2], 1, 0.05)
    assert_engine_agrees(view)
    view.get_by_role("button", name="Add a class").focus()
    view.keyboard.press("Enter")
    assert settings(view) == ([1.5, 0.9, -0.2, 0], 1, 0.05)
    assert_engine_agrees(view)


def test_the_tab_key_reaches_every_control_and_shows_where_it_is(view):
    reached = []
    while view.evaluate("document.activeElement") is None or len(reached) < 40:
        view.keyboard.press("Tab")
        outline = view.evaluate("getComputedStyle(document.activeElement).outline")
        name = view.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent.trim()")
        if view.evaluate("document.activeElement === document.body") or name in reached:
            break
        assert "3px" in outline, name
        reached.append(name)
    for name in ["Dark theme", *PRESETS, "logit of class 2, slider", "logit of class 2, number", "Add a class",
                 "class 0 is the target", "Temperature, slider", "Temperature, number", "Next target"]:  # fmt: skip
        assert name in reached


def test_the_mouse_moves_a_slider(view):
    box = control(view, "logit of class 2, slider").bounding_box()
    view.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    view.mouse.down()
    view.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2, steps=5)
    view.mouse.up()
    assert settings(view)[0][2] == pytest.approx(5, abs=1)
    assert_engine_agrees(view)


def test_a_typed_number_counts_at_once_and_half_a_number_not_at_all(view):
    field = control(view, "logit of class 0, number")
    field.fill("")
    field.press_sequentially("-1.")
    assert figures(view, "x")[0] in (-1, 1.5)
    field.press_sequentially("2345")
    assert figures(view, "x")[0] == -1.2345
    assert_engine_agrees(view)
    field.fill("123")
    assert float(control(view, "logit of class 0, slider").get_attribute("max")) == 200
    field.fill("")
    assert figures(view, "x")[0] == 123
    view.keyboard.press("Tab")
    assert field.input_value() == "123"
    field.fill("1e7")
    assert figures(view, "x")[0] == 123
    assert view.get_by_role("alert").text_content() == "logit of class 0: expected a number from −1000000 to 1000000"
    view.keyboard.press("Tab")
    assert field.input_value() == "123"
    assert not view.get_by_role("alert").is_visible()
    control(view, "Temperature, number").fill("0")
    assert view.get_by_role("alert").text_content() == "Temperature: expected a number from 0.0500000 to 20"
    assert figures(view, "z")[0] == 123


def test_classes_come_and_go(view):
    add, remove = (view.get_by_role("button", name=name) for name in ("Add a class", "Remove the last"))
    for _ in range(3):
        add.click()
    assert add.is_disabled()
    assert settings(view) == ([1.5, 0.8, -0.2, 0, 0, 0], 0, 1)
    control(view, "class 5 is the target").check()
    assert_engine_agrees(view)
    for _ in range(4):
        remove.click()
        assert_engine_agrees(view)
    assert remove.is_disabled()
    assert settings(view) == ([1.5, 0.8], 1, 1)
    view.get_by_role("button", name="Next target").click()
    assert settings(view) == ([1.5, 0.8], 0, 1)


def test_the_address_carries_the_settings(browser, path):
    with visit(browser, path) as view:
        control(view, "class 2 is the target").check()
        view.wait_for_url("**#x=1.5,0.8,-0.2&t=2&T=1")
        view.evaluate("location.hash = 'x=1,2&t=1&T=3'")
        expect(view.locator("#logits .row")).to_have_count(2)
        assert settings(view) == ([1, 2], 1, 3)
    for nonsense in (
        "#x=1",
        "#x=1,nan",
        "#x=1,2,3,4,5,6,7",
        "#t=3",
        "#T=0",
        "#x=1,<b>&t=0",
        "#x=1e9,0",
        "#%",
        "#t=0.5",
    ):
        with visit(browser, path, fragment=nonsense) as view:
            assert settings(view) == PRESETS["Example"]


def test_a_screen_reader_is_told(view):
    view.get_by_role("button", name="A miss").click()
    status = view.get_by_role("status").and_(view.locator(":not(:empty)"))
    status.wait_for(state="attached")
    assert status.text_content() == "Loss 3.182. The target, class 1, has the probability 0.04151. Entropy 0.5433."
    pictures = view.get_by_role("img").evaluate_all("all => all.map(n => n.ariaLabel)")
    assert len(pictures) == 4
    assert pictures[1] == "Probabilities: class 0 0.833781; class 1, the target, 0.0415115; class 2 0.124707"
    assert pictures[3].endswith("the target has p = 0.0415115 and the loss 3.18178")
    for tag in ("input", "button"):
        for name in view.locator(tag).evaluate_all("all => all.map(n => n.ariaLabel ?? n.textContent.trim())"):
            assert name


def test_bars_are_as_long_as_their_numbers(view):
    """In one chart, every bar has the same ratio of length to number."""
    for chart in ("logits", "p", "gradient"):
        widths = view.locator(f"#chart-{chart} rect.bar").evaluate_all("all => all.map(n => n.width.baseVal.value)")
        values = np.abs(figures(view, "z" if chart == "logits" else chart))
        ratios = np.array(widths) / values
        np.testing.assert_allclose(ratios, ratios[0], rtol=1e-3)
        assert ratios[0] > 20


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (768, "dark"), (1280, "light")])
@pytest.mark.parametrize("row", [PRESETS["Confident"], ([1000, 990, 0, -12.25, 3, -1e6], 2, 0.05)])
def test_texts_stand_out_and_nothing_sticks_out(browser, path, scheme, row, width):
    with visit(browser, path, fragment=fragment(*row), width=width, scheme=scheme) as view:
        view.get_by_text("The same as a table").click()
        view.get_by_label("Temperature, number").fill("99")
        assert view.get_by_role("alert").is_visible()
        assert view.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        contrasts = view.evaluate(CONTRASTS)
        assert len(contrasts) > 100
        assert min(contrasts)[0] >= 4.5
        outside = view.locator("svg text").evaluate_all(
            "all => all.filter(t => { const [a, b] = [t, t.ownerSVGElement].map(n => n.getBoundingClientRect());"
            " return a.left < b.left - 1 || a.right > b.right + 1; }).map(t => t.textContent)"
        )
        assert outside == []


def test_the_table_of_the_three_ways_fits_a_phone(browser, path):
    with visit(browser, path, width=360) as view:
        region = view.get_by_role("region", name="The same loss in 32 bits, three ways").and_(view.locator(".scroll"))
        assert region.evaluate("n => n.scrollWidth <= n.clientWidth")


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1400, "dark")])  # colours are the same at any width
def test_axe_finds_nothing(browser, path, scheme, width):
    with visit(browser, path, width=width, scheme=scheme, fragment=fragment([1, 2, 3, 4, 5, -1e6], 2, 0.05)) as view:
        view.get_by_text("The same as a table").click()
        view.get_by_label("Temperature, number").fill("99")
        assert violations(view) == []
        view.locator("#theme").evaluate("n => n.removeAttribute('type') ?? n.setAttribute('aria-label', 'Off')")
        assert len(violations(view)) == 1


@pytest.fixture
def train(browser, path):
    with visit(browser, path, fragment="#train") as view:
        yield view


def choose(view, **choices):
    for name, value in choices.items():
        view.locator(f"#train-{name}").select_option(value)


def press(view, name, times=1):
    for _ in range(times):
        view.get_by_role("button", name=name, exact=True).click()


def points(view):
    """The points on the plane, as the page's labels of them tell: inputs and classes."""
    labels = view.locator("[data-point]").evaluate_all("all => all.map(n => n.ariaLabel)")
    found = [re.fullmatch(r"point \d+, class (\d), at (\S+), (\S+)", label).groups() for label in labels]
    return np.array([[number(a), number(b)] for _, a, b in found]).reshape(-1, 2), np.array([int(k) for k, *_ in found])


def numbers(view, selector):
    return np.array(view.locator(selector).evaluate_all("all => all.map(n => Number(n.dataset.value))"))


def engine(model, units=4):
    """The engine's own model, with the weights that the page begins with."""
    rng = np.random.default_rng(0)
    if model == "softmax":
        return tg.nn.Linear(2, 3, rng=rng, dtype=np.float64)
    middle = tg.nn.Tanh() if model == "tanh" else tg.nn.ReLU()
    first = tg.nn.Linear(2, units, rng=rng, dtype=np.float64)
    return tg.nn.Sequential(first, middle, tg.nn.Linear(units, 3, rng=rng, dtype=np.float64))


def by_rows(model, of):
    """Weights or gradients in the order in which the page shows them: row by row, with the bias at the end of each."""
    arrays = [of(p) for p in model.parameters()]
    pairs = zip(arrays[::2], arrays[1::2], strict=True)
    return np.concatenate([np.column_stack([w, b]).ravel() for w, b in pairs])


TRAININGS = [("softmax", 0, "groups", ""), ("softmax", 0, "corners", "4"), ("tanh", 3, "ring", ""),
             ("tanh", 6, "groups", "8"), ("relu", 4, "ring", ""), ("relu", 2, "corners", "1")]  # fmt: skip


@pytest.mark.parametrize(("kind", "units", "place", "size"), TRAININGS)
def test_ten_steps_are_the_engines(train, kind, units, place, size):
    """Weights, gradients and losses, in float64, to 1e-13 of their size: a few hundred roundings, of 2e-16 each."""
    press(train, place.title())
    choose(train, model=kind, batch=size, rate="0.3", **({"units": str(units)} if units else {}))
    model, (x, y), at = engine(kind, units), points(train), 0
    optimizer = tg.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(10):
        part = slice(at, at + int(size or len(x)))
        model.zero_grad()
        tg.cross_entropy(model(x[part]), y[part]).backward()
        shown, weights = numbers(train, "[data-entry]"), numbers(train, "[data-entry] + span")
        np.testing.assert_allclose(shown, by_rows(model, lambda p: p.grad), rtol=0, atol=1e-13)
        np.testing.assert_allclose(weights, by_rows(model, lambda p: p.data), rtol=0, atol=1e-13)
        loss = tg.cross_entropy(model(x), y).item()
        np.testing.assert_allclose(numbers(train, "#train-now"), loss, rtol=1e-13)
        optimizer.step()
        press(train, "Step")
        at = part.stop if part.stop < len(x) else 0


def test_an_epoch_is_a_step_for_every_batch_and_reset_begins_again(train):
    first = numbers(train, "[data-entry] + span")
    choose(train, batch="8")
    press(train, "Epoch")
    assert train.locator("#train-now").text_content().startswith("Step 2: loss ")
    after = numbers(train, "[data-entry] + span")
    press(train, "Reset")
    np.testing.assert_array_equal(numbers(train, "[data-entry] + span"), first)
    press(train, "Step", 2)
    np.testing.assert_array_equal(numbers(train, "[data-entry] + span"), after)
    press(train, "Run")
    expect(train.locator("#train-now")).to_contain_text(re.compile("Step ([6-9]|[1-9][0-9])"))
    press(train, "Pause")
    said = train.locator("#train-now").text_content()
    train.wait_for_timeout(150)
    assert train.locator("#train-now").text_content() == said


@pytest.mark.parametrize(
    ("kind", "entry"), [("softmax", "0,1,0"), ("tanh", "0,2,1"), ("relu", "1,0,3"), ("tanh", "0,0,2")]
)
def test_the_arithmetic_of_an_entry_adds_up_to_it(train, kind, entry):
    choose(train, model=kind)
    button = train.locator(f'[data-entry="{entry}"]')
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    rows = [list(map(float, row)) for row in train.locator("#train-terms tbody tr").evaluate_all(
        "all => all.map(r => [...r.querySelectorAll('td')].map(n => n.dataset.value))")]  # fmt: skip
    assert len(rows) == 12
    for *factors, term in rows:
        if kind != "softmax" and entry[0] == "0":  # the chain through the hidden layer: a share for each class
            np.testing.assert_allclose(factors[3], sum(factors[:3]), rtol=1e-15)
            factors = factors[3:]
        np.testing.assert_allclose(np.prod(factors), term, rtol=1e-14)
    total, gradient = numbers(train, "#train-terms tfoot td")
    np.testing.assert_allclose([total, total / 12], [sum(row[-1] for row in rows), gradient], rtol=1e-14)
    assert gradient == numbers(train, f'[data-entry="{entry}"]')[0]
    assert f" · ({button.text_content()}) = " in train.locator("#train-next").text_content()


def test_points_come_move_and_go_by_mouse_and_keyboard(train):
    press(train, "None")
    assert train.get_by_role("button", name="Step", exact=True).is_disabled()
    assert train.locator("#train-now").text_content() == "No points: there is nothing to learn from."

    def spot(x, y):
        box = train.locator("#train-plane").bounding_box()
        return box["x"] + box["width"] * (x + 2) / 4, box["y"] + box["height"] * (2 - y) / 4

    train.mouse.click(*spot(1, 1))
    train.get_by_label("class 2", exact=True).check()
    train.mouse.click(*spot(-1.5, -0.5))
    x, y = points(train)
    np.testing.assert_allclose(x, [[1, 1], [-1.5, -0.5]], atol=0.011)
    np.testing.assert_array_equal(y, [0, 2])
    train.mouse.move(*spot(1, 1))
    train.mouse.down()
    train.mouse.move(*spot(0, 1.5), steps=3)
    train.mouse.move(*spot(0.5, -3), steps=3)
    train.mouse.up()
    np.testing.assert_allclose(points(train)[0], [[0.5, -2], [-1.5, -0.5]], atol=0.011)  # the plane ends at -2
    press(train, "Add in the middle")
    for key in ["ArrowRight", "ArrowUp", "ArrowUp", "1"]:
        train.keyboard.press(key)
    assert train.locator(":focus").get_attribute("aria-label") == "point 2, class 1, at 0.0500, 0.100"
    train.keyboard.press("PageUp")
    train.keyboard.press("Delete")
    assert len(points(train)[0]) == 2
    assert train.locator(":focus").get_attribute("aria-label").startswith("point 1, class 1, at 0.05")
    press(train, "Remove the chosen")
    assert points(train)[1].tolist() == [0]
    train.locator("[data-point]").focus()
    train.keyboard.press("Backspace")
    assert train.get_by_role("button", name="Remove the chosen").is_disabled()


def test_steps_that_are_too_large_are_said_to_be(train):
    press(train, "Ring")
    choose(train, model="relu", rate="10", units="6")
    train.evaluate("lesson.layers = mapLayers(() => 1e200); lesson.losses = [lossNow()]; drawTraining()")
    assert "take a smaller learning rate" in train.get_by_role("alert").text_content()
    assert train.get_by_role("button", name="Run").is_disabled()
    press(train, "Reset")
    assert not train.get_by_role("alert").is_visible()


def test_tabs_go_by_keyboard_and_address(browser, path):
    with visit(browser, path) as view:
        view.get_by_role("tab", name="One row of logits").focus()
        view.keyboard.press("ArrowRight")
        assert view.get_by_role("tab", selected=True).text_content() == "Train"
        assert view.evaluate("location.hash") == "#train"
        assert view.locator("#train-plane").is_visible()
        view.evaluate("location.hash = 'x=1,2&t=1&T=3'")
        expect(view.locator("#logits .row")).to_have_count(2)
        assert view.locator("#logits").is_visible()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1400, "light")])
def test_the_training_can_be_used_by_everyone(browser, path, width, scheme):
    with visit(browser, path, width=width, scheme=scheme, fragment="#train") as view:
        for kind, place in (("softmax", "Groups"), ("tanh", "None")):
            choose(view, model=kind)
            press(view, place)
            assert violations(view) == []
            assert min(view.evaluate(CONTRASTS))[0] >= 4.5
            assert view.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_every_text_can_be_translated(browser, tmp_path):
    """With each word of the texts replaced, none is read or heard any more, but names in formulas."""
    texts = {**page_texts("page"), **page_texts("softmax")}
    words = re.compile(r"(<[^>]*>|\{[^}]*\})|[A-Za-z]{2,}")
    with_texts({k: words.sub(lambda m: m[1] or "¤", text) for k, text in texts.items()}).save(tmp_path / "page.html")
    said = """() => [...document.querySelectorAll("body *")].filter((n) => !n.closest("script, noscript, math"))
      .flatMap((n) => [n.ariaLabel, ...[...n.childNodes].filter((c) => c.nodeType === 3).map((c) => c.data)])
      .filter(Boolean).join(" ")"""
    with visit(browser, tmp_path / "page.html", fragment="#train") as view:
        choose(view, model="tanh")
        view.evaluate("location.hash = 'x=1000,990,0&t=2&T=1'")
        expect(view.locator("#logits")).to_be_visible()
        view.locator("#temperature").fill("99")
        left = set(re.findall("[A-Za-z]{2,}", view.evaluate(said)))
        assert left <= {"softmax", "onehot", "log", "inf", "nan", "tanh"}


def test_no_text_is_left_unsaid():
    script = asset("page.js") + asset("softmax.js") + asset("train.js")
    used = set(re.findall(r"\{\{([\w-]+)\}\}", asset("softmax.html"))) | set(re.findall(r'"([a-z][\w-]*)"', script))
    assert set(page_texts("softmax")) - {"title"} <= used


@pytest.mark.parametrize("height", [664, 844])
@pytest.mark.parametrize("logits", [[1.5, 0.8, -0.2], [1, 2, 3, 4, 5, 6]])
def test_on_a_phone_the_bars_are_on_screen_with_whichever_slider_one_moves(browser, path, logits, height):
    with visit(browser, path, fragment=fragment(logits, 0, 1), width=390, height=height) as view:
        sliders = view.locator("input[type=range]")
        for k in range(len(logits) + 1):
            view.evaluate("scrollTo(0, 0)")
            sliders.nth(k).focus()
            bars, slider = (part.bounding_box() for part in (view.locator("#chart-p"), sliders.nth(k)))
            assert bars["y"] >= 0
            assert bars["y"] + bars["height"] <= slider["y"]
            assert slider["y"] + slider["height"] <= height + 1
            before = figures(view, "p")
            view.keyboard.press("ArrowRight")
            assert (figures(view, "p") != before).any()
        assert_engine_agrees(view)
        view.set_viewport_size({"width": 1280, "height": 900})
        expect(view.locator(".charts svg")).to_have_count(4)
        ids = view.locator(".charts svg").evaluate_all("all => all.map(n => n.id)")
        assert ids == ["chart-logits", "chart-p", "chart-gradient", "chart-loss"]


def test_the_most_entropy_is_told_for_the_classes_there_are(view):
    entropy = view.get_by_text("draw near to each other")
    assert " ".join(entropy.text_content().split()).endswith("to log 3, the most that three classes can have.")
    for _ in range(3):
        view.get_by_role("button", name="Add a class").click()
    assert " ".join(entropy.text_content().split()).endswith("to log 6, the most that six classes can have.")
    view.get_by_role("button", name="Confident").click()
    assert " ".join(entropy.text_content().split()).endswith("to log 2, the most that two classes can have.")


def test_the_button_changes_the_theme(browser, path):
    for scheme, other in (("light", "dark"), ("dark", "light")):
        with visit(browser, path, scheme=scheme) as view:
            paper = view.evaluate("getComputedStyle(document.body).backgroundColor")
            view.get_by_role("button", name=f"{other} theme").click()
            assert view.evaluate("getComputedStyle(document.body).backgroundColor") != paper
            assert min(view.evaluate(CONTRASTS))[0] >= 4.5
            view.get_by_role("button", name=f"{scheme} theme").click()
            assert view.evaluate("getComputedStyle(document.body).backgroundColor") == paper


def test_a_page_is_small_and_of_one_file(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < 80_000
    assert set(re.findall(r'(?:src|href)="([^"]*)"', text)) == {"data:,"}
    assert set(re.findall(r"https?://[^\"' ]*", text)) == {"http://www.w3.org/2000/svg"}  # a name, never loaded


NASTY = "</script><!--<script>alert(1)</script ><!-- <script <img src=x onerror=alert(2)>\u2028\u2029&amp;'\"`${1}\\ é"


def test_names_from_outside_cannot_break_out(browser, tmp_path):
    script = "who.textContent = pageData.name; byId('keys').append(Object.keys(pageData)[1])"
    page = frame(NASTY, '<p id="who"></p><p id="keys"></p>', script=script, data={"name": NASTY, NASTY: [1.5, NASTY]})
    page.save(tmp_path / "nasty.html")
    with visit(browser, tmp_path / "nasty.html") as view:
        assert view.locator("#who").evaluate("n => n.textContent") == NASTY
        assert view.locator("#keys").evaluate("n => n.textContent") == NASTY
        assert view.locator("h1").evaluate("n => n.textContent") == view.title() == NASTY
        assert view.locator("img").count() == 0
        assert view.evaluate("pageData[Object.keys(pageData)[1]][1]") == NASTY


def test_markup_that_gets_in_all_the_same_cannot_run_or_load(browser, tmp_path):
    """The policy is the second lock: a body that was put together carelessly."""
    body = (
        '<script>document.title = "run"</script><img src="https://example.invalid/x.png" onerror="document.title = 1">'
    )
    frame("Careless", body).save(tmp_path / "careless.html")
    view = browser.new_page()
    asked = []
    view.on("requestfinished", lambda request: asked.append(request.url))
    view.goto((tmp_path / "careless.html").as_uri())
    assert view.title() == "Careless"
    assert asked == [(tmp_path / "careless.html").as_uri()]
    view.close()


def test_numbers_reach_the_script_exactly(browser, tmp_path):
    values = [0.1, 5e-324, 1.7976931348623157e308, -0.0, 2.0**53, math.nan, math.inf, -math.inf]
    page = frame(
        "Numbers", "", data={"list": values, "array": np.array([values]), "one": np.float32(0.1), "n": np.int64(3)}
    )
    page.save(tmp_path / "numbers.html")
    with visit(browser, tmp_path / "numbers.html") as view:
        for name in ("list", "array"):
            found = view.evaluate(f"pageData.{name}.flat().map(Number).map(v => Object.is(v, -0) ? '-0' : String(v))")
            np.testing.assert_array_equal([float(v) for v in found], values)
            assert found[3] == "-0"
        assert view.evaluate("[pageData.one, pageData.n]") == [float(np.float32(0.1)), 3]


def test_json_refuses_what_it_cannot_write():
    with pytest.raises(TypeError):
        to_json({"a": object()})


@pytest.mark.parametrize("end", ["</script >", "</SCRIPT>", "<!-- a"])
def test_a_script_that_ends_its_element_is_refused(end):
    with pytest.raises(ValueError, match="script contains"):
        frame("Ends", "", script=f"'{end}'")


def test_a_style_that_ends_its_element_is_refused():
    with pytest.raises(ValueError, match="style contains"):
        frame("Ends", "", style="</style>")


def test_a_page_in_a_notebook_shows_itself_and_cannot_reach_out(browser, tmp_path):
    page = softmax_page()
    page.title = 'A "title" <b>'
    document = tmp_path / "notebook.html"
    document.write_text(f"<!doctype html><title>n</title><body>{page._repr_html_()}", encoding="utf-8")
    with visit(browser, document) as view:
        inside = view.frame_locator("iframe")
        assert view.locator("iframe").get_attribute("title") == 'A "title" <b>'
        assert inside.locator('[data-figure="loss"]').text_content() == "0.518358"
        inside.get_by_role("button", name="Confident").click()
        assert inside.locator('[data-figure="loss"]').text_content() == "2.06115e−9"
        inside.get_by_role("status").and_(inside.locator(":not(:empty)")).wait_for(state="attached")
        assert view.frames[1].evaluate(
            "(() => { try { return parent.document.title; } catch { return 'locked'; } })()"
        ) == ("locked")


def test_a_page_without_a_browser():
    page = Page("T<b>", "<p>hé</p>", height=300)
    assert repr(page) == '<a page, "T<b>": .save("page.html") writes it, a browser shows it>'
    assert 'height="300"' in page._repr_html_()
    assert html.escape("<p>hé</p>") in page._repr_html_()
    assert asset("page.css") in softmax_page().html


def test_without_chromium_a_test_is_skipped_but_fails_in_ci(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"), chromium():
        pass
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"), chromium():
        pass
