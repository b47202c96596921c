"""The backprop player in a real browser: every figure of every step is the engine's, and everyone can use it."""

import re

import numpy as np
import pytest
from browser import CONTRASTS, chromium, violations, visit

import tinygrad_ce as tg
from tinygrad_ce.study.player import player

# The lines of each box, and what a step shows of each array: label, shape and type, numbers or None, the line below.
BOXES = """() => [...document.querySelectorAll("[data-box]:not(.reference)")].map((box) => Object.fromEntries(
  ["title", "name", "value", "grad"].map((line) => [line, box.querySelector(`text.${line}`)?.textContent ?? null])))"""
CARDS = """() => [...document.querySelectorAll(".array")].map((card) => ({
  label: card.dataset.label,
  about: card.querySelector("figcaption span").textContent,
  result: card.classList.contains("result"),
  rows: card.querySelector(".heat") ? null : card.querySelector(".scalar")
    ? [[card.querySelector(".scalar").textContent]]
    : [...card.querySelectorAll("tr")].map((row) => [...row.querySelectorAll("td")].map((n) => n.textContent.trim())),
  line: card.querySelector("p.quiet")?.textContent ?? "",
}))"""
# The least contrast of a text in the graph with what is drawn right behind it.
GRAPH_CONTRAST = """() => {
  const luminance = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [...document.querySelectorAll(".tg-graph text")].filter((text) => text.textContent).map((text) => {
    const head = text.classList.contains("title") && text.parentNode.querySelector(".head");
    const behind = head || text.parentNode.querySelector("rect");
    const [high, low] = [text, behind].map((n) => luminance(getComputedStyle(n).fill)).sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  });
  return Math.min(...found);
}"""

# Whether texts of the graph are no wider than their boxes.
INSIDE = "all => all.every(t => t.getBBox().width <= t.parentNode.querySelector('.box').getBBox().width - 8)"


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def save(tmp_path):
    def save(names):
        """The page of the last of some named things."""
        player(list(names.values())[-1], names=names).save(tmp_path / "player.html")
        return tmp_path / "player.html"

    return save


def classifier():
    """A network of two layers with weight decay: its weights get two shares each. The loss, and what has a name."""
    rng = np.random.default_rng(0)
    names = {
        "x": tg.Tensor(rng.normal(size=(4, 2))),
        "W1": tg.Tensor(rng.normal(size=(2, 3)), requires_grad=True),
        "b1": tg.Tensor(rng.normal(size=3), requires_grad=True),
        "W2": tg.Tensor(rng.normal(size=(3, 3)), requires_grad=True),
        "y": np.array([0, 2, 1, 2]),
    }
    names["h"] = tg.tanh(names["x"] @ names["W1"] + names["b1"])
    names["logits"] = names["h"] @ names["W2"]
    names["error"] = tg.cross_entropy(names["logits"], names["y"])
    names["decay"] = 0.01 * ((names["W1"] ** 2).sum() + (names["W2"] ** 2).sum())
    names["loss"] = names["error"] + names["decay"]
    return names


def square():
    w = tg.Tensor(3.0, requires_grad=True)
    return {"w": w, "y": w * w}


def digits():
    data = tg.data.load_digits()
    model = tg.nn.Linear(64, 10, rng=np.random.default_rng(0))
    x, t = tg.Tensor(data.x[:32]), data.y[:32]
    logits = model(x)
    return {"model": model, "x": x, "t": t, "logits": logits, "loss": tg.cross_entropy(logits, t)}


def deep():
    rng = np.random.default_rng(0)
    model = tg.nn.Sequential(*[layer for _ in range(20) for layer in (tg.nn.Linear(8, 8, rng=rng), tg.nn.Tanh())])
    return {"model": model, "loss": (model(tg.Tensor(rng.normal(size=(4, 8)))) ** 2).mean()}


def number(text):
    return float(text.replace("−", "-"))


def numbers(card):
    return np.array([[number(text) for text in row] for row in card["rows"]])


def assert_shows(card, array):
    """Shape, type, and every number to the six digits that are printed."""
    array = np.asarray(array)
    assert card["about"] == f"{array.shape} {array.dtype}"
    np.testing.assert_allclose(numbers(card).ravel(), array.ravel(), rtol=5e-6, err_msg=card["label"])
    for row in card["rows"]:
        assert all(len(text.split("e")[0].lstrip("−0.").replace(".", "")) <= 6 for text in row)


def box(view, name):
    return next(b for b in view.evaluate(BOXES) if b["name"] and b["name"].split(" (")[0] == name)


def box_node(view, name):
    return view.locator("[data-box]:not(.reference)", has=view.locator("text.name", has_text=re.compile(rf"^{name}\b")))


def place(view):
    """The number of the step that is shown, and of the last."""
    number, last = re.match(r"step (\d+) of (\d+) · ", view.locator("#where").text_content()).groups()
    return int(number), int(last)


def walk(view):
    """Every step from the first to the last: phase, title, cards and boxes."""
    view.keyboard.press("Home")
    while True:
        number, last = place(view)
        phase = view.locator("#where").text_content().split(" · ")[1]
        yield phase, view.locator("#title").text_content(), view.evaluate(CARDS), view.evaluate(BOXES)
        if number == last:
            return
        view.keyboard.press("ArrowRight")


def go(view, number):
    view.locator("#scrubber").fill(str(number))


def test_every_figure_of_every_step_is_the_engines(browser, save):
    names = classifier()
    tensors = {name: value for name, value in names.items() if isinstance(value, tg.Tensor)}
    inputs = [tensor for name, tensor in tensors.items() if name not in ("x", "loss")]
    engine = dict(zip(map(id, inputs), tg.grad(names["loss"], inputs), strict=True))
    gradients = {name: engine[id(t)].data for name, t in tensors.items() if id(t) in engine}
    gradients["loss"] = np.array(1.0)
    with visit(browser, save(names)) as view:
        made, arrived = set(), {}
        for phase, title, cards, boxes in walk(view):
            shown = {card["label"].removeprefix("in: "): card for card in cards}
            if phase in ("start", "forward", "the turn"):
                for name in shown.keys() & names.keys():
                    assert_shows(shown[name], getattr(names[name], "data", names[name]))
                    made.add(name)
            if phase == "backward":
                receiver = re.match(r"gradient of (\w+), through", title)[1]
                arrived[receiver] = next(card for card in cards if card["result"])
                if "+ gradient so far" in shown:
                    share = shown["g · local" if "g · local" in shown else "by the rule"]
                    total = numbers(share) + numbers(shown["+ gradient so far"])
                    np.testing.assert_allclose(numbers(arrived[receiver]), total, rtol=1e-4, atol=1e-6)
            assert [b["title"] for b in boxes].count("cross_entropy") == 1
        assert made == names.keys()
        assert sorted(set(arrived) & set(gradients)) == sorted(set(gradients) - {"loss"})
        for name, card in arrived.items():
            if name in gradients:
                assert_shows(card, gradients[name])
        names["loss"].backward()
        end = {card["label"]: card for card in view.evaluate(CARDS)}
        assert end.keys() == {"∂loss/∂W1", "∂loss/∂b1", "∂loss/∂W2"}
        for name in ("W1", "b1", "W2"):
            assert_shows(end[f"∂loss/∂{name}"], names[name].grad)


def test_boxes_fill_on_the_way_forward_and_get_gradients_on_the_way_back(browser, save):
    names = classifier()
    with visit(browser, save(names)) as view:
        seen = [(phase, boxes) for phase, _, _, boxes in walk(view)]
        forward = [boxes for phase, boxes in seen if phase == "forward"]
        assert [sum(b["value"] == "" for b in boxes) for boxes in forward] == list(range(len(forward)))[::-1]
        for phase, boxes in seen:
            if phase in ("start", "forward"):
                assert not any(b["grad"] for b in boxes)
        final = seen[-1][1]
        assert all(b["value"] for b in final)
        assert [b["name"] for b in final if b["grad"] is None] == ["x (4, 2)", "y (4,)"]
        assert all(b["grad"] for b in final if b["grad"] is not None)
        names["loss"].backward()
        for name in ("W1", "W2"):
            low, high = names[name].grad.min(), names[name].grad.max()
            assert box(view, name)["grad"] == f"grad {low:.4g} … {high:.4g}".replace("-", "−")
        assert box(view, "loss")["value"] == f"{names['loss'].item():.4g}"


def test_a_gradient_with_two_consumers_is_a_share_and_then_the_sum(browser, save):
    with visit(browser, save(square())) as view:
        assert place(view) == (0, 5)
        told = []
        for phase, _, cards, _ in walk(view):
            flag = view.locator(".flag")
            told.append((phase, box(view, "w")["grad"], flag.text_content() if flag.is_visible() else None))
            if place(view)[0] == 4:
                assert all(card["line"] == "" for card in cards)
                assert [(card["label"], card["rows"]) for card in cards] == [
                    ("upstream g", [["1"]]), ("w", [["3"]]), ("local", [["3"]]), ("g · local", [["3"]]),
                    ("+ gradient so far", [["3"]]), ("= gradient now", [["6"]]),
                ]  # fmt: skip
        assert told == [
            ("start", "", None), ("forward", "", None), ("the turn", "", None),
            ("backward", "grad 3", "share 1 of 2"), ("backward", "grad 6", "+= 3, share 2 of 2"),
            ("end", "grad 6", None),
        ]  # fmt: skip


def test_an_operand_comes_in_once_and_a_number_in_the_formula_alone(browser, save):
    w = tg.Tensor(3.0, requires_grad=True)
    with visit(browser, save({"w": w, "y": w * w * 2})) as view:
        steps = {title: [card["label"] for card in cards] for _, title, cards, _ in walk(view)}
        assert steps["v1 = multiply(w, w)"] == ["in: w", "v1"]
        assert steps["y = multiply(v1, 2)"] == ["in: v1", "y"]


def test_a_share_that_is_longer_than_the_sum_stays_in_its_box(browser, save):
    w = tg.Tensor(0.5, requires_grad=True)
    with visit(browser, save({"w": w, "y": w * (1 / 3) + w * (2 / 3)})) as view:
        seen = []
        for _ in walk(view):
            seen.append(box(view, "w")["grad"])
            assert view.locator("[data-box] text").evaluate_all(INSIDE)
        assert list(dict.fromkeys(seen)) == ["", "grad 0.6667", "grad 1"]


def test_the_operator_is_lit_and_arrows_run_forward_and_then_back(browser, save):
    with visit(browser, save(classifier())) as view:
        arrows = "(name) => [...document.querySelectorAll(`.arrow.${name} title`)].map((n) => n.textContent)"
        go(view, 1)
        lit = view.locator(".lit")
        assert lit.count() == 1
        assert lit.locator(".title").text_content() == "matmul"
        assert view.evaluate(arrows, "flows") == ["argument a of matmul", "argument b of matmul"]
        assert view.evaluate(arrows, "went") == view.evaluate(arrows, "flows")
        edge = view.locator(".arrow.flows .edge").first
        assert edge.evaluate("n => getComputedStyle(n).animationDirection") == "normal"
        assert edge.evaluate("n => getComputedStyle(n).animationName") == "flow"
        go(view, place(view)[1] - 1)
        assert view.locator(".receives").count() == 1
        assert view.locator(".lit").count() == 1
        assert view.evaluate(arrows, "flows") == ["argument b of matmul"]
        edge = view.locator(".arrow.flows .edge")
        assert edge.evaluate("n => getComputedStyle(n).animationDirection") == "reverse"
        assert view.locator(".arrow.flows .tip.turned").is_visible()
        assert not view.locator(".arrow.flows .tip:not(.turned)").is_visible()
        unused = ["argument a of matmul", "argument target of cross_entropy"]  # nobody asked for a gradient there
        assert sorted(set(view.evaluate(arrows, "went")) - set(view.evaluate(arrows, "returned"))) == unused[1:]
        view.emulate_media(reduced_motion="reduce")
        assert edge.evaluate("n => getComputedStyle(n).animationName") == "none"
        assert edge.evaluate("n => getComputedStyle(n).strokeWidth") == "3px"


def test_the_keyboard_steps(browser, save):
    with visit(browser, save(classifier())) as view:
        last = place(view)[1]
        press = view.keyboard.press
        for key, number in [("ArrowLeft", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", last),
                            ("ArrowRight", last), ("ArrowLeft", last - 1), ("Home", 0)]:  # fmt: skip
            press(key)
            assert place(view) == (number, last)
        view.locator("#forward").focus()
        press(" ")
        assert place(view)[0] == 1
        assert view.locator("#play").get_attribute("aria-label") == "Play"
        press("ArrowRight")
        assert place(view)[0] == 2
        view.locator("#scrubber").focus()
        press("ArrowRight")
        press("End")
        press("ArrowLeft")
        assert place(view)[0] == last - 1
        view.locator("#speed").focus()
        press("Home")
        assert place(view)[0] == last - 1
        assert view.locator("#speed").input_value() == "3000"
        view.locator("#play").focus()
        press("Control+ArrowLeft")
        assert place(view)[0] == last - 1


def test_scrubbing_to_any_step_is_the_same_as_walking_there(browser, save):
    with visit(browser, save(classifier())) as view:
        walked = [(title, cards, boxes) for _, title, cards, boxes in walk(view)]
        middle = next(k for k, step in enumerate(walked) if step[0].startswith("From here on backward"))
        for number in [len(walked) - 1, 3, middle - 1, middle, middle + 4, 0, len(walked) - 2]:
            go(view, number)
            assert (view.locator("#title").text_content(), view.evaluate(CARDS), view.evaluate(BOXES)) == walked[number]
            assert view.locator("#scrubber").get_attribute("aria-valuetext").endswith(walked[number][0])
        go(view, middle - 1)
        assert not any(b["grad"] for b in view.evaluate(BOXES))
        go(view, middle)
        assert [b["name"] for b in view.evaluate(BOXES) if b["grad"]] == ["loss"]
        turn = view.locator("#scrubber").evaluate("n => n.style.getPropertyValue('--turn')")
        assert float(turn.rstrip("%")) == pytest.approx(100 * middle / (len(walked) - 1))


def test_play_reaches_the_end_and_starts_again(browser, save):
    with visit(browser, save(classifier())) as view:
        last = place(view)[1]
        view.locator("#speed").select_option("90")
        view.locator("body").press(" ")
        assert view.locator("#play").get_attribute("aria-label") == "Pause"
        assert [view.locator(f"#play .{icon}").is_visible() for icon in ("play", "pause")] == [False, True]
        view.locator("#where", has_text=f"step {last} of {last}").wait_for()
        assert view.locator("#play").get_attribute("aria-label") == "Play"
        assert [view.locator(f"#play .{icon}").is_visible() for icon in ("play", "pause")] == [True, False]
        view.locator("#speed").select_option("3000")
        view.locator("#play").click()
        assert place(view)[0] == 0
        assert view.locator("#play").get_attribute("aria-label") == "Pause"
        view.keyboard.press("ArrowRight")
        assert place(view)[0] == 1
        assert view.locator("#play").get_attribute("aria-label") == "Play"


def test_a_box_leads_to_the_step_that_made_it_and_then_to_its_gradient(browser, save):
    with visit(browser, save(classifier())) as view:
        go(view, 5)
        box_node(view, "h").click()
        assert view.locator("#title").text_content() == "h = tanh(v2)"
        box_node(view, "h").click()
        assert view.locator("#title").text_content().startswith("gradient of h, through")
        box_node(view, "W1").focus()
        view.keyboard.press("Enter")
        assert place(view)[0] == 0
        view.keyboard.press(" ")
        assert view.locator("#title").text_content().startswith("gradient of W1, through step 1 ")
        box_node(view, "y").click()
        assert place(view)[0] == 0
        box_node(view, "y").click()
        assert place(view)[0] == 0
        assert view.get_by_role("button", name=re.compile(r"^W1 \(2, 3\) −.* … .*")).count() == 1
        assert "grad" not in box_node(view, "W1").locator("xpath=..").locator("title").text_content()


def test_the_step_is_in_the_address(browser, save):
    path = save(classifier())
    with visit(browser, path, fragment="#step=7") as view:
        assert place(view)[0] == 7
        view.keyboard.press("ArrowRight")
        view.wait_for_url("**#step=8")
        view.evaluate("location.hash = 'step=2'")
        view.locator("#where", has_text="step 2 of").wait_for()
    for nonsense, number in (("#step=-1", 0), ("#step=x", 0), ("#step=1.5", 0), ("#<b>", 0), ("#step=999", None)):
        with visit(browser, path, fragment=nonsense) as view:
            assert place(view)[0] == (place(view)[1] if number is None else number)


def test_a_screen_reader_is_told_once_the_player_rests(browser, save):
    with visit(browser, save(square())) as view:
        status = view.get_by_role("status").and_(view.locator(":not(:empty)"))
        view.keyboard.press("ArrowRight")
        status.wait_for(state="attached")
        assert status.text_content() == "step 1 of 5 · forward: y = multiply(w, w)"
        view.evaluate("told = []; new MutationObserver(() => told.push(byId('announcer').textContent))"
                      ".observe(byId('announcer'), { childList: true })")  # fmt: skip
        view.locator("#speed").select_option("90")
        view.locator("#play").click()
        view.get_by_role("status").and_(view.get_by_text("step 5 of 5")).wait_for(state="attached")
        assert view.evaluate("told") == ["step 5 of 5 · end: What it comes to: the gradients of y"]
        for tag in ("button", "input", "select"):
            for name in view.locator(tag).evaluate_all(
                "all => all.map(n => n.ariaLabel ?? n.labels?.[0]?.textContent.trim() ?? n.textContent)"
            ):
                assert name


def test_large_arrays_are_colours_and_numbers_on_demand(browser, save):
    names = digits()
    names["loss"].backward()
    gradient = names["model"].weight.grad
    path = save(names)
    with visit(browser, path) as view:
        view.keyboard.press("End")
        cards = {card["label"]: card for card in view.evaluate(CARDS)}
        assert cards["∂loss/∂model.weight"]["rows"] is None
        assert cards["∂loss/∂model.weight"]["about"] == "(10, 64) float32"
        assert_shows(cards["∂loss/∂model.bias"], names["model"].bias.grad)
        most = np.abs(gradient).max()
        drawn = np.zeros_like(gradient)
        for name, opacity, d in view.locator(".heat path").evaluate_all(
            "all => all.map(n => ['class', 'fill-opacity', 'd'].map(name => n.getAttribute(name)))"
        ):
            for c, r in re.findall(r"M(\d+) (\d+)h1v1h-1z", d):
                drawn[int(r), int(c)] = {"positive": 1, "negative": -1}[name] * float(opacity)
        np.testing.assert_allclose(drawn, gradient / most, atol=1 / 32 + 1e-4)
        heat = view.locator(".heat")
        area = heat.bounding_box()
        heat.hover(position={"x": area["width"] * 50.5 / 64, "y": area["height"] * 3.5 / 10})
        read = view.locator(".array p.quiet").first.text_content()
        assert read.startswith("[3, 50] ")
        assert number(read.removeprefix("[3, 50] ")) == pytest.approx(gradient[3, 50], rel=5e-6)
        ends = view.locator(".legend").inner_text().split()
        assert [number(text) for text in ends] == pytest.approx([-most, most], rel=5e-3)
        view.get_by_label("Numbers instead of colours").check()
        assert_shows({c["label"]: c for c in view.evaluate(CARDS)}["∂loss/∂model.weight"], gradient)
        go(view, 1)
        assert_shows(view.evaluate(CARDS)[0], names["x"].data)
    assert path.stat().st_size < 200_000


def test_of_a_very_large_array_a_corner_is_held_and_said_to_be(browser, save):
    x = tg.Tensor(np.arange(3 * 30 * 100.0).reshape(3, 30, 100), requires_grad=True)
    v = tg.Tensor(np.linspace(0, 1, 1000), requires_grad=True)
    with visit(browser, save({"x": x, "v": v, "loss": (x * x).sum() + v.sum()})) as view:
        lines = {card["label"]: card["line"] for card in view.evaluate(CARDS)}
        assert lines["x"] == "from 0 to 8999, mean 4499.5; shown: the first 32 of 90 rows and 64 of 100 columns"
        assert lines["v"] == "from 0 to 1, mean 0.5; shown: the first 64 of 1000 numbers"
        view.get_by_label("Numbers instead of colours").check()
        cards = {card["label"]: card for card in view.evaluate(CARDS)}
        np.testing.assert_array_equal(numbers(cards["x"]), x.data.reshape(90, 100)[:32, :64])
        headers = view.locator('[data-label="x"] th').evaluate_all("all => all.map(n => n.textContent)")
        assert [headers[0], headers[29], headers[30]] == ["0, 0", "0, 29", "1, 0"]


def test_what_is_not_finite_is_a_word(browser, save):
    values = [np.nan, np.inf, -np.inf, 1.5, -1e-7, 123456.78]
    c = np.array(values)
    with np.errstate(all="ignore"):
        w = tg.Tensor(np.ones(6), requires_grad=True)
        path = save({"w": w, "c": c, "loss": (w * c * tg.Tensor(np.ones((6, 1)))).sum()})
    with visit(browser, path) as view:
        card = view.evaluate(CARDS)[1]
        assert card["rows"] == [["nan", "inf", "−inf", "1.5", "−1e−7", "123457"]]
        assert box(view, "c")["value"] == "nan … nan"
        view.keyboard.press("End")
        assert view.evaluate(CARDS)[0]["rows"] == [["nan", "inf", "−inf", "9", "−6e−7", "740741"]]
        go(view, 2)
        assert view.locator(".heat").count() == 1
        assert view.evaluate(CARDS)[-1]["line"] == "from −1e−07 to 123457, mean 41152.8; 18 not finite"
        assert view.locator(".heat .lost").get_attribute("d").count("M") == 18
        assert "not finite" in view.locator(".legend").inner_text()
        view.locator(".heat").hover(position={"x": 8, "y": 8})
        assert view.locator(".array:has(.heat) p.quiet").text_content() == "[0, 0] nan"


def test_integers_and_bools_are_shown_as_they_are(browser, save):
    w = tg.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    mask, index, big = np.array([[True, False], [False, True]]), np.arange(40) % 2, np.array([123456789, -5])
    loss = (w * mask * big).sum() + tg.cross_entropy(tg.concatenate([w] * 20), index)
    with visit(browser, save({"w": w, "mask": mask, "index": index, "big": big, "loss": loss})) as view:
        shown = {card["label"]: card for card in view.evaluate(CARDS)}
        assert shown["index"]["rows"] == [[str(v) for v in index]]
        assert shown["index"]["about"] == "(40,) int64"
        assert shown["big"]["rows"] == [["123456789", "−5"]]
        assert shown["mask"]["rows"] == [["True", "False"], ["False", "True"]]


NASTY = "</script><!--<script>alert(1)</script><img src=x onerror=alert(2)>&amp;'\"`${1}\\ é ∂"


def test_names_cannot_break_out(browser, save):
    tensors = {NASTY: tg.Tensor([1.0, 2.0], requires_grad=True), "</title>": tg.Tensor(2.0, requires_grad=True)}
    loss = (tensors[NASTY] * tensors["</title>"]).sum()
    with visit(browser, save({"d": tensors, "<b>loss</b>": loss})) as view:
        for _, title, cards, _ in walk(view):
            last = title, [card["label"] for card in cards]
        assert last[0] == "What it comes to: the gradients of <b>loss</b>"
        assert set(last[1]) == {f"∂<b>loss</b>/∂d[{key!r}]" for key in tensors}
        assert view.locator("img, b").count() == 0
        assert view.title() == "Backprop, step by step"


def test_a_deep_folded_model_plays_and_what_is_lit_stays_in_view(browser, save):
    names = deep()
    path = save(names)
    for width in (360, 1280):
        with visit(browser, path, width=width) as view:
            view.emulate_media(reduced_motion="reduce")
            flags = set()
            for _ in range(place(view)[1]):  # walk, which reads every number at every step, would take a minute
                view.keyboard.press("ArrowRight")
                inside, flag = view.evaluate("""() => {
                  const outer = document.getElementById("stage").getBoundingClientRect();
                  const inner = [...document.querySelectorAll(".receives, .lit")].map((n) => n.getBoundingClientRect());
                  return [inner.some((r) => r.left >= outer.left && r.right <= outer.right
                    && r.top >= outer.top && r.bottom <= outer.bottom), document.querySelector(".flag").textContent];
                }""")
                assert inside
                flags.add(flag)
            assert {"v20 = tanh", "v21 = linear", "∂loss/∂v20", "∂loss/∂model.20.weight"} <= flags
            assert len(view.evaluate(BOXES)) < 20
            names["model"].zero_grad()
            names["loss"].backward()
            view.get_by_label("Numbers instead of colours").check()
            cards = {card["label"]: card for card in view.evaluate(CARDS)}
            assert len(cards) == 40
            for name, parameter in names["model"].named_parameters():
                assert_shows(cards[f"∂loss/∂model.{name}"], parameter.grad)


def test_a_loss_of_several_numbers_is_played_as_its_sum(browser, save):
    w = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = w * w
    with visit(browser, save({"w": w, "y": y})) as view:
        go(view, 2)
        assert view.locator("#formula").text_content() == "∂y/∂y = 1 for every entry, as for their sum"
        view.keyboard.press("End")
        assert view.evaluate(CARDS)[0]["rows"] == [["2", "4"]]


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (768, "dark"), (1280, "light")])
def test_texts_stand_out_and_nothing_sticks_out(browser, save, scheme, width):
    made = {"two": classifier(), "digits": digits()}
    for names in made.values():
        with visit(browser, save(names), width=width, scheme=scheme) as view:
            view.emulate_media(reduced_motion="reduce")
            last = place(view)[1]
            for step in sorted({0, 1, last // 2, last // 2 + 1, last - 1, last}):
                go(view, step)
                assert view.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
                assert view.evaluate(GRAPH_CONTRAST) >= 4.5
                assert view.locator("[data-box] text").evaluate_all(INSIDE)
            view.evaluate("document.querySelector('.tg-graph').remove()")
            assert min(view.evaluate(CONTRASTS))[0] >= 4.5


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1400, "dark")])  # colours are the same at any width
@pytest.mark.parametrize("made", [classifier, digits])
def test_axe_finds_nothing(browser, save, made, scheme, width):
    # Text that fades in has less contrast.
    with visit(browser, save(made()), width=width, scheme=scheme, motion="reduce") as view:
        for step in (1, place(view)[1] - 1):
            go(view, step)
            if view.locator("#digits").is_visible():
                view.locator("#digits").set_checked(step % 2 == 0)
            assert violations(view) == []


def test_what_stands_for_a_box_elsewhere_leads_where_that_leads(browser, save):
    with visit(browser, save(deep())) as view:
        other = view.locator(".reference").first
        assert "waiting" in other.get_attribute("class")
        other.click()
        here = view.locator("#title").text_content()
        assert here.startswith(f"{other.text_content().strip()} = ")
        assert "waiting" not in other.get_attribute("class")
        view.keyboard.press("Home")
        view.locator(f"[data-box='{other.get_attribute('data-origin')}']").click()
        assert view.locator("#title").text_content() == here


def test_the_tab_key_reaches_every_control_and_box(browser, save):
    with visit(browser, save(square())) as view:
        reached = []
        for _ in range(10):
            view.keyboard.press("Tab")
            name, outline, ring = view.evaluate("""() => {
              const [node, style] = [document.activeElement, getComputedStyle(document.activeElement)];
              const box = node.querySelector("rect.box");
              return [node.ariaLabel ?? node.textContent.trim().replace(/ +/g, " "),
                `${style.outlineStyle} ${style.outlineWidth}`, box && getComputedStyle(box).strokeWidth];
            }""")
            assert ring == "4px" or outline == "solid 3px", name
            reached.append(name)
        assert reached == [
            "Dark theme", "First step", "One step back", "Play", "One step forward", "Last step", "Speed", "Step",
            "w 3", "multiply y",
        ]  # fmt: skip


def test_in_a_notebook_it_plays_too(browser, tmp_path):
    document = tmp_path / "notebook.html"
    names = square()
    page = player(names["y"], names=names)
    document.write_text(f"<!doctype html><title>n</title><body>{page._repr_html_()}", encoding="utf-8")
    with visit(browser, document) as view:
        inside = view.frame_locator("iframe")
        inside.get_by_role("button", name="Last step").click()
        inside.get_by_role("status").and_(inside.locator(":not(:empty)")).wait_for(state="attached")
        assert inside.locator('[data-label="∂y/∂w"] .scalar').text_content() == "6"
        assert inside.locator("#where").text_content() == "step 5 of 5 · end"


def test_names_are_the_callers_own():
    w = tg.Tensor(3.0, requires_grad=True)
    cube = w * w * w
    assert '"label":"\\u2202cube/\\u2202w"' in player(cube).html


@pytest.mark.parametrize(("shape", "dtype"), [((0,), float), ((0, 2), float), ((3, 0), float), ((2, 0, 3), np.float32)])
def test_empty_arrays_can_be_played(browser, save, shape, dtype):
    w = tg.Tensor(np.zeros(shape, dtype), requires_grad=True)
    with visit(browser, save({"w": w, "y": (w * 2).sum()})) as view:
        assert box(view, "w")["value"] == "empty"
        view.keyboard.press("End")
        cards = view.evaluate(CARDS)
        assert [(card["about"], card["line"]) for card in cards] == [(f"{shape} {w.dtype}", "empty")]


def test_a_page_stays_small_by_holding_smaller_corners():
    h = tg.Tensor(np.linspace(-1, 1, 100 * 100).reshape(100, 100), requires_grad=True)
    loss = h
    for _ in range(60):
        loss = tg.tanh(loss)
    page = player(loss.sum(), fold=False, names={"h": h})
    assert len(page.html) < 1_000_000


def test_what_cannot_be_played_is_refused():
    with pytest.raises(TypeError, match="player: got float"):
        player(1.0)
    with pytest.raises(RuntimeError, match="player"):
        player(tg.Tensor(1.0))
    with pytest.raises((RuntimeError, ValueError), match="player"):
        player(tg.Tensor(1.0, requires_grad=True))
