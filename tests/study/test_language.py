"""The study in other languages: whatever it says is translated, and formulas, code, numbers and links stay."""

import ast
import importlib
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from browser import chromium, visit

import tinygrad_ce as tg
from tinygrad_ce import study
from tinygrad_ce.cli import main
from tinygrad_ce.docs import editions
from tinygrad_ce.docs.course import open_course, project
from tinygrad_ce.study.exercise import OPEN
from tinygrad_ce.study.exercises import exercises_of
from tinygrad_ce.study.page import page_texts

LANGUAGES = ["es", "de"]
NOTEBOOKS = ["01_softmax", "02_cross_entropy", "03_why_fuse"]
PACKAGE = Path(tg.__file__).parent
languages_of = importlib.import_module("tinygrad_ce.study.language")  # study.language is its function


@pytest.fixture(autouse=True)
def _english_again():
    yield
    study.language("en")


def cells(name):
    return json.loads((project() / f"notebooks/{name}.ipynb").read_text("utf-8"))["cells"]


def said():
    """All texts that are looked up: of pages, of calls of translate, of the exercises' mistakes, of cells."""
    yield OPEN
    for page in ("page", "softmax", "player"):
        yield from page_texts(page, "en").values()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "translate":
                first = node.args[0]
                for one in (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,):
                    yield from [one.value] if isinstance(one, ast.Constant) else []
    for name in NOTEBOOKS:
        for exercise in exercises_of(name).values():
            yield from [*exercise.mistakes, *filter(None, exercise.cases)]
        yield from ("".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "markdown")


def untouched(text):
    """What a translation keeps: code, formulas, links, holes, elements, and the numbers in between."""
    kept = Counter()
    text = re.sub(r"</?summary>|Q\d", "", text)
    for pattern in (r"```.*?```", r"`[^`]+`", r"\$\$.*?\$\$", r"\$[^$]+\$", r"\]\([^)]*\)", r"\{[\w-]+\}", r"<[^>]*>"):
        kept.update(re.findall(pattern, text, re.S))
        text = re.sub(pattern, "", text, flags=re.S)
    kept.update(re.findall(r"[−-]?[\d.]*\d(?:e[−-]?\d+)?", re.sub(r"(?<=\d),(?=\d{3})", "", text)))
    return kept


@pytest.mark.parametrize("lang", LANGUAGES)
def test_everything_is_translated_and_nothing_else_is_in_the_catalogue(lang):
    texts, found = set(said()), languages_of.catalogue(lang)
    lost = sorted(texts - set(found))
    assert not lost, f"{lang}.po lacks, or was made of an older text of:\n\n" + "\n\n".join(lost)
    assert set(found) <= texts, f"{lang}.po has what nothing says any more"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_formulas_code_numbers_and_links_are_the_sources(lang):
    for text, translation in languages_of.catalogue(lang).items():
        if text != "en-GB":
            assert untouched(translation) == untouched(text), f"{lang}: {text}\n\n{translation}"


def test_what_a_translation_keeps_is_noticed_when_it_changes():
    text = "At $x^2$ the loss is 0.5, see [03](03_why_fuse.ipynb), `tg.exp` and {name}."
    for old, new in [("x^2", "x^3"), ("0.5", "0,5"), ("03_why", "04_why"), ("exp`", "log`"), ("{name}", "{nombre}")]:
        assert untouched(text.replace(old, new)) != untouched(text)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_catalogue_is_as_gettexts_tools_read_it(lang):
    pofile = pytest.importorskip("babel.messages.pofile")
    with (PACKAGE / f"study/locale/{lang}.po").open("rb") as file:
        read = {message.id: message.string for message in pofile.read_po(file, locale=lang) if message.id}
    assert languages_of.catalogue(lang) == read


def test_fuzzy_and_empty_entries_are_left_english(tmp_path, monkeypatch):
    entries = ['msgid "a"\nmsgstr "A"', '#, fuzzy\nmsgid "b"\nmsgstr "B"', 'msgid "c"\nmsgstr ""']
    (tmp_path / "xx.po").write_text('msgid ""\nmsgstr "Language: xx\\n"\n\n' + "\n\n".join(entries), "utf-8")
    monkeypatch.setattr(languages_of, "_LOCALE", tmp_path)
    assert languages_of.catalogue("xx") == {"a": "A"}


def test_checks_speak_the_chosen_language(capsys):
    exercise = exercises_of("softmax")["my_softmax"]
    study.language("es")
    assert study.check(..., exercise).message == "… sin responder todavía: pon tu respuesta en lugar de ..."
    wrong = study.check(np.exp, exercise).message
    assert re.match(r"✗ las exponenciales no se dividen entre su suma\. Con x = \[.*\]: el índice \[0\] es", wrong)
    study.language("de")
    assert (
        study.check(tg.softmax, exercise).message == "✗ my_softmax ruft softmax auf, und genau das sollst du schreiben"
    )
    assert study.check([1.0, 3.0], [1.0, 2.0]).message == (
        "✗ Index [1] ist der erste falsche: 3, erwartet 2 (1 von 2 Einträgen sind falsch)"
    )
    assert capsys.readouterr().out.count("✗") == 3


@pytest.mark.parametrize(
    ("call", "where"),
    [
        (lambda: study.language("fr"), "language"),
        (lambda: study.softmax_page(lang="fr"), "softmax_page"),
        (lambda: study.player(tg.Tensor(3.0, requires_grad=True) * 2, lang="fr"), "player"),
        (lambda: open_course("nowhere", start=False, lang="fr"), "open_course"),
    ],
)
def test_an_unknown_language_is_an_error_that_lists_those_that_exist(call, where):
    with pytest.raises(ValueError, match=f"^{where}: no language 'fr'; there are en, de, es$"):
        call()
    assert study.language() == "en"
    assert not Path("nowhere").exists()


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_course_in_another_language(lang, tmp_path):
    folder = open_course(tmp_path, start=False, lang=lang, edition="teacher")
    for name in NOTEBOOKS:
        translated = json.loads((folder / f"{name}.ipynb").read_text("utf-8"))["cells"]
        assert "".join(translated[1]["source"]).endswith(f'study.language("{lang}");')
        code = [
            c["source"] for c in translated if c["cell_type"] == "code" and "study.check" not in "".join(c["source"])
        ]
        assert [c for c in code if "study.language" not in "".join(c)] == [
            c["source"] for c in cells(name) if c["cell_type"] == "code" and "study.check" not in "".join(c["source"])
        ]
        assert "return ...  #" not in str(translated)  # the teacher's has the solutions in place
    assert (folder / "04_backprop_by_hand.ipynb").read_bytes().count(b"study.language") == 0


def test_the_students_edition_of_a_translation_has_no_solutions():
    book = editions.in_language("de", (project() / "notebooks/01_softmax.ipynb").read_bytes())
    assert b"<summary>L\xc3\xb6sung" in book
    assert b"<summary>L\xc3\xb6sung" not in editions.of("student", book)
    assert editions.in_language("de", (project() / "notebooks/04_backprop_by_hand.ipynb").read_bytes()) is None


def test_the_command_line_writes_the_page_in_a_language(tmp_path, capsys):
    path = tmp_path / "softmax.html"
    assert main(["softmax", str(path), "--lang", "de"]) == 0
    assert '<html lang="de">' in path.read_text("utf-8")
    assert main(["softmax", str(path), "--lang", "fr"]) == 2
    assert "there are en, de, es" in capsys.readouterr().err


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("lang", LANGUAGES)
def test_translated_pages_fit_a_phone(lang, browser, tmp_path):
    w, x = tg.Tensor(np.ones((2, 3)), requires_grad=True), tg.Tensor(np.arange(3.0))
    study.player(tg.sum(tg.relu(w * x)), lang=lang).save(tmp_path / "player.html")
    study.softmax_page(lang=lang).save(tmp_path / "softmax.html")
    assert study.language() == "en"
    for page in ("softmax.html", "softmax.html#train", "player.html", "player.html#step=4"):
        file, _, place = page.partition("#")
        with visit(browser, tmp_path / file) as view:
            view.set_viewport_size({"width": 390, "height": 844})
            view.evaluate("place => { location.hash = place; }", place)
            assert view.evaluate("document.documentElement.lang") == lang
            assert view.evaluate("document.documentElement.scrollWidth") <= 390
            assert "undefined" not in view.locator("body").inner_text()
