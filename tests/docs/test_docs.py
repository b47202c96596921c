"""The documentation: nothing public is without words and an example, and the site shows it, whole and by itself."""

import contextlib
import functools
import hashlib
import html.parser
import http.server
import importlib
import inspect
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import types
import urllib.parse
import zipfile
import zlib

import pytest
from browser import chromium, violations

from tinygrad_ce import docs
from tinygrad_ce.cli import arguments
from tinygrad_ce.docs import build
from tinygrad_ce.docs.pages import FIRST as BEGINNING

ROOT = pathlib.Path(__file__).parents[2]


def public_names():
    """Every public name in full with what it stands for: by ``__all__``, from the package into its modules."""
    found, waiting = {}, ["tinygrad_ce", "tinygrad_ce.sklearn", "tinygrad_ce.mpi"]
    for module in waiting:
        module = importlib.import_module(module)
        made = [k for k, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__ and k[0] != "_"]
        for name in getattr(module, "__all__", made):
            value = getattr(module, name)
            if isinstance(value, types.ModuleType):
                waiting.append(value.__name__)
            else:
                found[f"{module.__name__}.{name}"] = value
    return found


NAMES = public_names()
FIRST = {id(value): name for name, value in reversed(NAMES.items())}
MEMBERS = {
    f"{name}.{member}": getattr(value, member)
    for name, value in NAMES.items()
    if inspect.isclass(value) and FIRST[id(value)] == name
    for member, raw in vars(value).items()
    if member[0] != "_" and isinstance(raw, types.FunctionType | property | classmethod | staticmethod)
}


def words(value):
    """A docstring of its own, not one that a class inherits."""
    return (vars(value).get("__doc__") if inspect.isclass(value) else inspect.getdoc(value)) or ""


def test_the_walk_finds_names_of_every_kind():
    names = ("softmax", "fit", "train.fit", "nn.Linear", "nn.init.uniform", "study.plot.loss_curves", "mpi.fit")
    assert {f"tinygrad_ce.{name}" for name in names} <= NAMES.keys()
    assert {"tinygrad_ce.Tensor.T", "tinygrad_ce.Tensor.reshape", "tinygrad_ce.nn.Module.eval"} <= MEMBERS.keys()


@pytest.mark.parametrize("name", [*NAMES, *MEMBERS])
def test_every_public_name_says_in_a_line_what_it_is(name):
    first = words({**NAMES, **MEMBERS}[name]).strip().partition("\n")[0]
    assert first.rstrip(")").endswith((".", ":"))


@pytest.mark.parametrize("name", [n for n, v in NAMES.items() if not (inspect.isclass(v) and issubclass(v, Exception))])
def test_every_public_function_and_class_has_an_example(name):
    assert ">>> " in words(NAMES[name])


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "tinygrad_ce.docs", str(folder)]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    assert made.stdout == f"{folder / 'index.html'}\n"
    assert os.listdir(folder.parent) == ["site"]  # nothing lies beside it
    return folder


class Anchors(html.parser.HTMLParser):
    """What a page can be linked at, what it links to, and its words."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.text = set(), [], []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids.update(given[key] for key in ("id", "name") if given.get(key))
        self.links += [given[key] for key in ("href", "src") if given.get(key)]

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="session")
def pages(site):
    found = (path for path in site.rglob("*.html") if path.relative_to(site).parts[0] not in {"_static", "lite"})
    return {path: Anchors(path) for path in found}


def test_no_link_of_the_site_is_broken(site, pages):
    followed = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme in {"http", "https", "mailto", "data"}:
                continue
            target = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path.relative_to(site)} links to {link}"
            assert target.is_relative_to(site.resolve()), f"{path.relative_to(site)} links to {link}"
            if parts.fragment and target in pages:
                assert urllib.parse.unquote(parts.fragment) in pages[target].ids, f"{path.relative_to(site)}: {link}"
            followed += 1
    assert followed > 5000


def test_every_public_name_has_its_place_on_the_site(site, pages):
    *_, packed = (site / "objects.inv").read_bytes().split(b"\n", 4)
    found = {}
    for line in zlib.decompress(packed).decode().splitlines():
        name, _, _, address, _ = line.split(None, 4)
        found[name] = address.removesuffix("$") + (name if address.endswith("$") else "")
    for name in [*NAMES, *MEMBERS]:
        page, _, anchor = found[name].partition("#")
        assert anchor in pages[site / page].ids, name


def test_a_page_begins_with_what_matters_most(site):
    assert {f"tinygrad_ce.{name}" for name in BEGINNING} <= NAMES.keys()
    for page, first in {
        "train": ["fit", "train.Callback", "train.Training", "train.EarlyStopping", "train.Checkpoint"],
        "data": ["data.Dataset", "data.split", "data.batches", "data.load_digits"],
        "optim": ["optim.SGD", "optim.Adam", "optim.AdamW", "optim.CosineAnnealingLR"],
        "study": ["study.explain", "study.Explanation", "study.Entry", "study.graph", "study.Graph", "study.player"],
    }.items():
        shown = re.findall(r'<dt class="sig [^>]*id="tinygrad_ce\.([\w.]+)"', (site / f"api/{page}.html").read_text())
        assert [name for name in shown if f"tinygrad_ce.{name}" in NAMES][: len(first)] == first


def test_words_that_are_no_types_and_no_errors_are_not_shown_as_such(pages, site):
    for name in ("api/train.html", "api/mpi.html"):
        page = " ".join("".join(pages[site / name].text).split())
        assert "Type: Whether" not in page
    assert "of more, an error on any ends all processes. Raises: ValueError" in page


def test_a_link_to_a_module_leads_to_its_use_or_where_a_file_is_named_to_its_code(site, pages):
    links = pages[site / "training.html"].links
    assert "api/train.html#tinygrad_ce.train.Callback" in links
    assert "_modules/tinygrad_ce/train/callback.html" not in links
    assert "_modules/tinygrad_ce/ops/softmax.html" in pages[site / "map.html"].links
    assert (
        "../_modules/tinygrad_ce/losses/cross_entropy.html"
        in pages[site / "notebooks/12_write_your_own_primitive.html"].links
    )


def test_the_site_holds_the_course_and_the_projects_own_texts(site, pages):
    course = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert sorted(path.stem for path in site.glob("notebooks/[0-9]*.html")) == course
    text = {path.relative_to(site).as_posix(): " ".join("".join(page.text).split()) for path, page in pages.items()}
    assert "for two kinds of people" in text["index.html"]
    assert "Nothing in it is executed" in text["SECURITY.html"]
    assert "Written by python -m benchmarks" in text["benchmarks/RESULTS.html"]
    assert {"train", "predict", "docs"} <= {*re.findall(r"usage: tinygrad-ce (\w+)", text["cli.html"])}
    assert "p_i = e^{x_i} / \\sum_j e^{x_j}" in text["api/ops.softmax.html"]
    for name, words in text.items():
        if name.startswith("api/"):
            assert ":math:" not in words, name
            assert "``" not in words, name


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("index.html", "img[src*=player]"),
        ("api/ops.softmax.html", "mjx-container svg"),
        ("notebooks/04_backprop_by_hand.html", "img[src$=svg]"),
        ("notebooks/04_backprop_by_hand.html", ".tg-explain mjx-container svg"),
        ("notebooks/06_a_linear_classifier_on_digits.html", "mjx-container svg"),
        ("play.html", "iframe"),
        ("search.html?q=cross_entropy", "#search-results li a"),
    ],
)
def test_a_page_asks_nobody_and_complains_of_nothing(site, browser, page, shown):
    view = browser.new_page()
    said, asked = [], []
    view.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.on("request", lambda request: asked.append(request.url))
    view.goto(f"{site.resolve().as_uri()}/{page}")
    view.locator(shown).first.wait_for()
    if page == "play.html":
        view.frame_locator("iframe").first.get_by_role("button").first.wait_for()
    view.wait_for_load_state("networkidle")
    view.close()
    assert said == []
    assert [url for url in asked if not url.startswith((f"{site.resolve().as_uri()}/", "data:", "about:"))] == []
    assert len(asked) > 1


KINDS = [  # of pages
    "index.html",
    "DATA.html",
    "benchmarks/RESULTS.html",
    "cli.html",
    "play.html",
    "api/ops.softmax.html",
    "pytorch.html",
    "notebooks/README.html",
    "notebooks/04_backprop_by_hand.html",
    "notebooks/de/02_cross_entropy.html",
    "play_es.html",
    "genindex.html",
    "search.html?q=cross_entropy",
    "_modules/tinygrad_ce/ops/softmax.html",
]


@pytest.mark.parametrize("page", KINDS)
def test_axe_finds_nothing(site, browser, page):
    with contextlib.closing(browser.new_page(viewport={"width": 390, "height": 900}, color_scheme="light")) as view:
        view.goto(f"{site.resolve().as_uri()}/{page}")  # once: the formulas of a page take longer than the check
        view.wait_for_load_state("networkidle")
        if page == "benchmarks/RESULTS.html":  # a section for each benchmark, and one is like the other
            view.evaluate("document.querySelectorAll('section section:nth-of-type(n+4)').forEach((n) => n.remove())")
            assert view.locator("section table").count() >= 2
        assert violations(view) == []
        view.set_viewport_size({"width": 1400, "height": 900})
        view.emulate_media(color_scheme="dark")  # colours are the same at any width
        assert violations(view) == []


def test_figures_of_notebooks_say_what_is_drawn(site):
    page = (site / "notebooks" / "01_softmax.html").read_text()
    texts = re.findall(r'<img alt="([^"]*)"[^>]*_images/', page)
    assert len(texts) >= 3
    assert all(text.startswith("Figure. ") and len(text) > 30 for text in texts), texts


def test_a_site_packed_into_one_file_is_the_same_and_replaces_an_earlier_one_alone(site, tmp_path):
    path = tmp_path / "book.zip"
    docs._pack(site, path)
    with zipfile.ZipFile(path) as packed:
        names = {name for name in packed.namelist() if not name.endswith("/")}
        assert names == {f"book/{page.relative_to(site).as_posix()}" for page in site.rglob("*") if page.is_file()}
        assert packed.read("book/index.html") == (site / "index.html").read_bytes()
    assert docs._is_site(path)
    with zipfile.ZipFile(path, "w") as other:
        other.writestr("letter.txt", "Dear")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="no earlier site; name a new folder"):
        build(tmp_path / "book", arguments.parser(), pack=True)
    assert path.read_bytes() == before


# To run in the browser


def test_each_notebook_page_leads_to_its_notebook_to_run(site, pages):
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        links = pages[site / "notebooks" / f"{path.stem}.html"].links
        assert links.count(f"../lite/notebooks/index.html?path={path.name}") == 1
        cells = json.loads((site / "lite" / "files" / path.name).read_text())["cells"]
        assert [cell["cell_type"] for cell in cells] == [
            cell["cell_type"] for cell in json.loads(path.read_text())["cells"]
        ]
        assert not any("%pip" in "".join(cell["source"]) for cell in cells)
    assert "cdn.jsdelivr.net" in "".join(pages[site / "notebooks" / "01_softmax.html"].text)


def test_the_wheel_is_in_the_index_and_holds_what_is_imported(site, tmp_path):
    (wheel,) = (site / "lite" / "pypi").glob("*.whl")
    ((release,),) = json.loads((wheel.parent / "all.json").read_text())["tinygrad-ce"]["releases"].values()
    assert release["digests"]["sha256"] == hashlib.sha256(wheel.read_bytes()).hexdigest()
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path)
    code = "import tinygrad_ce as tg; tg.study.softmax_page(); print(tg.__file__, len(tg.data.load_digits().x))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == f"{tmp_path / 'tinygrad_ce' / '__init__.py'} 1797\n", done.stderr


PYODIDE = """export const loadPyodide = async ({ packages }) => {  // as far as the wheel
  await fetch(new URL(packages.at(-1), location));
  throw new Error("the test has no Python");
}"""


def test_a_notebook_opens_to_run_and_asks_for_pyodide_alone(site, browser):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    handler.func.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, browser.new_context() as context:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home, asked = f"http://127.0.0.1:{server.server_port}/", []
        context.on("request", lambda request: asked.append(request.url))
        given = {"body": PYODIDE, "content_type": "text/javascript", "headers": {"access-control-allow-origin": "*"}}
        context.route("https://cdn.jsdelivr.net/pyodide/**", lambda route: route.fulfill(**given))
        view = context.new_page()
        view.goto(f"{home}notebooks/01_softmax.html")
        with context.expect_event("response", lambda response: response.url.endswith(".whl"), timeout=60_000) as wheel:
            view.get_by_role("link", name="Run it in your browser").click()
            view.locator(".jp-Notebook .jp-Cell").get_by_text("import tinygrad_ce as tg").first.wait_for()
        assert wheel.value.ok
        assert wheel.value.url.startswith(f"{home}lite/pypi/tinygrad_ce-")
        server.shutdown()
    outside = [url for url in asked if not url.startswith((home, "data:", "blob:"))]
    assert outside
    assert all(url.startswith("https://cdn.jsdelivr.net/pyodide/") for url in outside), outside


def test_without_jupyterlite_the_site_is_built_and_the_extra_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("tinygrad_ce.docs.write_sources", lambda folder, command_line: folder)
    monkeypatch.setattr("sphinx.cmd.build.build_main", lambda arguments: pathlib.Path(arguments[-1]).mkdir())
    monkeypatch.setitem(sys.modules, "jupyterlite_pyodide_kernel", None)
    build(tmp_path / "site", arguments.parser())
    assert not (tmp_path / "site" / "lite").exists()
    said = capsys.readouterr().err
    assert "without jupyterlite_pyodide_kernel: pip install 'tinygrad-ce[docs]'" in said


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear")
    for folder in (tmp_path, tmp_path / "letter.txt"):
        with pytest.raises(ValueError, match="no earlier site; name a new folder"):
            build(folder, arguments.parser())
    assert os.listdir(tmp_path) == ["letter.txt"]


def test_without_sphinx_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "furo", None)
    with pytest.raises(ImportError, match=r"tinygrad-ce\[docs\]"):
        build(tmp_path / "site", arguments.parser())
    assert not (tmp_path / "site").exists()


def test_translated_pages_say_their_language_and_lead_to_the_others(site, pages):
    for name, lang, links in [
        ("notebooks/01_softmax", "en", ["es/01_softmax.html", "de/01_softmax.html"]),
        ("notebooks/es/03_why_fuse", "es", ["../03_why_fuse.html", "../de/03_why_fuse.html"]),
        ("play_de", "de", ["play.html", "play_es.html"]),
    ]:
        path = site / f"{name}.html"
        assert f'lang="{lang}"' in path.read_text("utf-8")[:200]
        assert set(links) <= set(pages[path].links)
