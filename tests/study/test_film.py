"""The film of a training in a real browser: every epoch's numbers are the engine's, and everyone can use it."""

import base64
import json
import re

import numpy as np
import pytest
from browser import CONTRASTS, chromium, visit

import tinygrad_ce as tg
from tinygrad_ce.study import Recording, film
from tinygrad_ce.study.film import _image

DIGITS = tg.data.load_digits()


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def net(*widths):
    return tg.nn.Sequential(tg.nn.Linear(*widths[:2], rng=0), tg.nn.Tanh(), tg.nn.Linear(*widths[1:], rng=1))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A training of 70 epochs, of which every second is kept: its recording, model, rows held out and page."""
    train, test = tg.data.split(DIGITS, 0.2)
    model, recording = net(64, 32, 10), Recording()
    tg.fit(model, train, epochs=70, batch_size=256, validation=test, callbacks=recording, progress=False)
    path = tmp_path_factory.mktemp("film") / "training.html"
    film(recording).save(path)
    return recording, model, test, path


@pytest.fixture(scope="module")
def spirals(tmp_path_factory):
    data, model, recording = tg.data.make_spirals(), net(2, 8, 3), Recording()
    tg.fit(model, data, epochs=4, callbacks=recording, progress=False)
    path = tmp_path_factory.mktemp("film") / "training.html"
    film(recording).save(path)
    return recording, model, data, path


def held(path):
    """What a page's script is given."""
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text("utf-8"), re.S)[1])


def where(view):
    return view.locator("#where").text_content()


def test_of_a_long_training_evenly_chosen_epochs_and_the_last_are_kept(digits):
    recording, model, _, _ = digits
    assert [epoch for epoch, _ in recording.frames] == [*range(0, 71, 2)]
    assert all((array == model.state_dict()[name]).all() for name, array in recording.frames[-1][1].items())
    for epochs in (61, 125):
        recording = Recording()
        tg.fit(net(4, 3, 3), tg.data.load_iris(), epochs=epochs, batch_size=150, callbacks=recording, progress=False)
        kept = [epoch for epoch, _ in recording.frames]
        assert kept[-1] == epochs
        assert len(kept) <= 61
        assert len(set(np.diff(kept[:-1]))) == 1


def test_a_film_of_digits_is_small(digits):
    assert digits[-1].stat().st_size < 2_000_000 / 8


def test_every_epochs_numbers_are_the_engines(browser, digits):
    recording, model, test, path = digits
    with visit(browser, path) as view:
        view.keyboard.press("Home")
        for epoch, state in recording.frames[::7]:
            model.load_state_dict(state)
            logits = tg.train.logits(model, test.x)
            loss, p = tg.cross_entropy(logits, test.y, reduction="none"), tg.softmax(logits)
            right = int(np.sum(logits.argmax(1) == test.y))
            view.locator("#scrubber").fill(str(epoch // 2))
            number = re.fullmatch(rf"After {epoch} epochs: loss ([\d.]+), {right} of 359 right", where(view))[1]
            assert float(number) == pytest.approx(float(tg.cross_entropy(logits, test.y)), rel=1e-5)
            cells = [
                [int(text.replace("·", "0")) for text in row.locator("td").all_text_contents()]
                for row in view.locator("#confusion tbody tr").all()
            ]
            assert (np.array(cells) == tg.train.confusion_matrix(test.y, logits.argmax(1), 10)).all()
            words = view.locator("#worst figcaption").all_text_contents()
            assert len(words) == 8
            assert view.locator("#measured").text_content().startswith("Measured are 359 of the rows held out. ")
            for k, i in enumerate(np.argsort(-loss, kind="stable")[:8]):
                place, label, called, chance, own = re.fullmatch(
                    r"row (\d+): is (\d), called (\d)p = (\S+), loss (\S+)", words[k].replace("−", "-")
                ).groups()
                assert (int(place), int(label), int(called)) == (i, test.y[i], logits[i].argmax())
                assert float(chance) == pytest.approx(p[i, test.y[i]], rel=1e-3)
                assert float(own) == pytest.approx(loss[i], rel=1e-3)


def test_weights_are_stored_to_half_a_step_in_255(digits):
    recording, _, _, path = digits
    weights = held(path)["weights"]
    assert (weights["size"], weights["units"], weights["all"]) == ([8, 8], 32, 32)
    stored = np.frombuffer(base64.b64decode(weights["bytes"]), np.uint8).reshape(len(recording.frames), 32, 64)
    for (_, state), frame, most in zip(recording.frames, stored, weights["most"], strict=True):
        assert np.abs((frame - 128.0) / 127 * most - state["0.weight"]).max() <= most / 254 * 1.001


def test_decision_regions_are_what_the_model_says(browser, spirals):
    recording, model, _, path = spirals
    plane = held(path)["plane"]
    n, low, high = plane["cells"], np.array(plane["low"]), np.array(plane["high"])
    classes = np.frombuffer(base64.b64decode(plane["classes"]), np.uint8).reshape(len(recording.frames), n, n)
    for (_, state), cells in zip(recording.frames, classes, strict=True):
        model.load_state_dict(state)
        for row, column in ((0, 0), (5, 40), (30, 12), (47, 47)):
            place = low + (high - low) * (np.array([column, n - 1 - row]) + 0.5) / n
            assert cells[row, column] == tg.predict(model, place[None].astype(np.float32))[0]
    with visit(browser, path) as view:
        assert view.locator("#plane").is_visible()
        painted = "c => new Set(c.getContext('2d').getImageData(0, 0, 640, 640).data).size"
        assert view.locator("#regions").evaluate(painted) > 10
        assert len(view.locator("#worst .numbers").first.text_content().split()) == 2


def test_it_is_played_and_scrubbed_by_keyboard(browser, spirals):
    with visit(browser, spirals[-1]) as view:
        assert where(view).startswith("After 4 epochs")
        for key, begin in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 4)):
            view.keyboard.press(key)
            assert where(view).startswith(f"After {begin} epoch")
        view.locator("#scrubber").focus()
        view.keyboard.press("ArrowLeft")
        assert where(view).startswith("After 3 epochs")
        view.keyboard.press("Home")
        view.keyboard.press("Space")
        assert view.locator("#play").text_content() == "Pause"
        view.locator("#where", has_text="After 4 epochs").wait_for()
        view.locator("#play", has_text="Play").wait_for()
        assert view.locator("#play").text_content() == "Play"
        assert view.locator("#scrubber").get_attribute("aria-valuetext") == where(view)


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1400, "dark")])
def test_it_fits_every_screen_and_is_read_in_both_themes(browser, digits, spirals, width, scheme):
    for path in (digits[-1], spirals[-1]):
        with visit(browser, path, width=width, scheme=scheme) as view:
            assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert min(view.evaluate(CONTRASTS))[0] >= 4.5


def test_one_logit_is_two_classes(tmp_path):
    data = tg.data.make_moons()
    model, recording = net(2, 4, 1), Recording()
    loss = tg.binary_cross_entropy_with_logits
    tg.fit(model, data, epochs=2, loss=loss, callbacks=recording, progress=False)
    film(recording).save(tmp_path / "film.html")
    z = tg.train.logits(model, data.x)
    expected = float(loss(z, data.y.reshape(z.shape)))
    assert held(tmp_path / "film.html")["frames"][-1]["loss"] == pytest.approx(expected, rel=1e-6)


def test_bad_input_is_an_error_of_one_line():
    with pytest.raises(TypeError, match=r"^film: run is 'digits-run', expected a Recording: fit\(callbacks="):
        film("digits-run")
    with pytest.raises(ValueError, match=r"^film: the recording took part in no training; give it to fit"):
        film(Recording())


def test_a_square_number_of_features_is_an_image_only_if_they_look_like_pixels():
    assert _image(DIGITS.x) == [8, 8]
    assert _image(np.zeros((3, 5, 7))) == [5, 7]
    assert _image(np.random.default_rng(0).normal(size=(50, 16))) is None
