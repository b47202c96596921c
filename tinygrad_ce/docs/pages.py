"""What stands on the site, and where: every public name, the command line, the course, the project's own texts."""

from __future__ import annotations

import argparse
import importlib
import inspect
import io
import json
import posixpath
import re
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import tinygrad_ce as tg
from tinygrad_ce.docs import translated
from tinygrad_ce.docs.course import project
from tinygrad_ce.study.language import ENGLISH, languages, translate

OPTIONAL = ("tinygrad_ce.sklearn", "tinygrad_ce.mpi")  # public modules that need an extra
TITLES = {  # of pages with names of tg itself, by where these are made; a public module has a page of its own
    "tensor": "Tensor and engine",  # and all that is made elsewhere
    "ops.elementwise": "Elementwise operators",
    "ops.reduction": "Reductions",
    "ops.shape": "Shapes, axes, pieces",
    "ops.arrange": "Stacking, repeating, sorting",
    "ops.matrix": "Products",
    "ops.convolution": "Convolution and pooling",
    "ops.softmax": "Softmax",
    "losses": "Losses",
    "check": "Checking gradients",
}
FIRST = [  # what a page begins with; the rest follows by name, exceptions last
    "Tensor", "primitive", "no_grad", "grad", "value_and_grad", "softmax", "log_softmax", "cross_entropy", "gradcheck",
    "nn.Module", "nn.Sequential", "nn.Linear", "optim.SGD", "optim.Adam", "optim.AdamW", "optim.CosineAnnealingLR",
    "data.Dataset", "data.split", "data.batches", "data.load_digits", "data.load_csv",
    "fit", "train.Callback", "train.Training", "train.EarlyStopping", "train.Checkpoint",
    "study.explain", "study.Explanation", "study.Entry", "study.graph", "study.Graph", "study.player", "mpi.fit",
]  # fmt: skip
_INSIDE = [  # not public, but what public functions return, or rest on
    "automodule:: tinygrad_ce.engine.primitive", "automodule:: tinygrad_ce.engine.record",
    "automodule:: tinygrad_ce.kernels.softmax", "automodule:: tinygrad_ce.kernels.linear",
    "autoclass:: tinygrad_ce.check.report.Report", "autoclass:: tinygrad_ce.check.entry.Entry",
]  # fmt: skip
TEXTS = "tinygrad_ce/docs/texts"  # the pages that are written by hand; index.md has the contents of the site
_PLACES = {"tinygrad_ce/data/sets/README.md": "DATA.md"}  # of files that stand elsewhere there


def modules(module: ModuleType = tg) -> Iterator[ModuleType]:
    """Every public module: the package, what its ``__all__`` names, and so on; last what needs an extra."""
    yield module
    for value in public(module).values():
        if isinstance(value, ModuleType):
            yield from modules(value)
    for name in OPTIONAL if module is tg else ():
        with suppress(ImportError):
            yield from modules(importlib.import_module(name))


def public(module: ModuleType) -> dict[str, Any]:
    """A module's public names: its ``__all__``, or else what is made in it and has no underscore."""
    made = (k for k, v in vars(module).items() if k[0] != "_" and getattr(v, "__module__", "") == module.__name__)
    return {name: getattr(module, name) for name in getattr(module, "__all__", made)}


def things() -> dict[str, tuple[Any, list[str]]]:
    """Whatever is public but modules, by its first name in full; with it, its other names."""
    found: dict[int, tuple[str, Any, list[str]]] = {}
    for module in modules():
        for name, value in public(module).items():
            if not isinstance(value, ModuleType):
                full = f"{module.__name__}.{name}"
                found.setdefault(id(value), (full, value, []))[2].append(full)
    return {name: (value, names[1:]) for name, value, names in found.values()}


def write_sources(folder: Path, command_line: argparse.ArgumentParser) -> Path:
    """Write all that Sphinx makes the site of into a new folder."""
    root = project()
    shutil.copytree(root / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns("*.py", ".*"))
    (folder / "benchmarks").mkdir()
    (folder / "api").mkdir()
    package = Path(tg.__file__).parents[1]
    texts = [path.relative_to(package).as_posix() for path in sorted((package / TEXTS).glob("*.md"))]
    for text in (*texts, *_PLACES):
        shutil.copy(package / text, folder / _place(text))
    for text in ("SECURITY.md", "benchmarks/RESULTS.md"):
        shutil.copy(root / text, folder / text)
    translated.write(folder)
    origin = {_place(text): text for text in (*texts, *_PLACES)}
    for path in [*folder.rglob("*.md"), *folder.rglob("*.ipynb")]:
        name = path.relative_to(folder).as_posix()
        text = _relinked(path.read_text("utf-8"), origin.get(name, name))
        path.write_text(_described(text) if path.suffix == ".ipynb" else text, "utf-8")
    course = [path.stem for path in sorted((folder / "notebooks").glob("*.ipynb"))]
    with (folder / "notebooks" / "README.md").open("a", encoding="utf-8") as file:
        print("", "```{toctree}", ":hidden:", "", *course, "```", sep="\n", file=file)
    play = {translated.name("play", lang): _play(folder, lang) for lang in languages()}
    for page, lines in {**_reference(), "cli": _command_line(command_line), **play}.items():
        (folder / f"{page}.rst").write_text("\n".join(lines), "utf-8")
    return folder


def _described(notebook: str) -> str:
    """A notebook whose figures have an alternative text: the paragraph above, which says what is drawn."""
    book, words = json.loads(notebook), ""
    for cell in book["cells"]:
        source = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", "".join(cell["source"]))
        if cell["cell_type"] == "markdown":
            paragraphs = [part for part in source.split("\n\n") if part.strip() and not part.startswith("<")]
            words = " ".join(re.sub(r"[*`$#\\]", "", paragraphs[-1]).split()) if paragraphs else words
        elif any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            cell["metadata"]["mystnb"] = {"image": {"alt": f"Figure. {words[:400]}"}}
    return json.dumps(book, ensure_ascii=False)


def _place(path: str) -> str:
    """Where a file of the project stands on the site."""
    return _PLACES.get(path) or path.removeprefix(f"{TEXTS}/")


def _relinked(text: str, source: str) -> str:
    """A file's links into the clone as links into the site: to where the files stand there, to modules, to sections."""
    here = posixpath.dirname(source)
    up = posixpath.dirname(_place(source)) or "."

    def moved(found: re.Match[str]) -> str:
        words, target, section = found.groups(default="")
        path = posixpath.normpath(posixpath.join(here, target))
        if path.startswith("tinygrad_ce/") and path.endswith(".py"):
            return _to_module(words, path.removesuffix(".py"), up)
        return f"[{words}]({posixpath.relpath(_place(path), up)}{section})"

    text = re.sub(r"\[([^]]*)\]\(([\w./-]+\.\w+)(#[^)\s]*)?\)", moved, text)
    # Jupyter writes the spaces of a heading as hyphens in its anchor; MyST also takes off capitals and punctuation.
    return re.sub(r"(?<=\.ipynb#)[^)\s]+", lambda found: re.sub(r"[^\w-]", "", found[0].lower()), text)


def _to_module(words: str, path: str, up: str) -> str:
    """A link to a module: to its code in the course, or where a file is named, or else to what it is for its user."""
    made = [name for name, (value, _) in things().items() if value.__module__ == path.replace("/", ".")]
    if up == "notebooks" or words.endswith(".py") or not made:
        return f"[{words}](at:{posixpath.relpath(f'_modules/{path}.html', up)})"
    return f"[{words}](#{min(made, key=_importance)})"


def _reference() -> dict[str, list[str]]:
    """The pages of the reference, by path; the first lists what is on the others."""
    names = [module.__name__ for module in modules() if module is not tg]
    titles = TITLES | {name.partition(".")[2]: name for name in names}
    found: dict[str, dict[str, tuple[Any, list[str]]]] = {page: {} for page in titles}
    order = sorted(things().items(), key=lambda item: (_kind(item[1][0]) == "exception", _importance(item[0])))
    for name, entry in order:
        # A name of tg itself stands where it is made; any other, in its module.
        page = name.rpartition(".")[0].partition(".")[2] or entry[0].__module__.partition(".")[2]
        while page and page not in titles:
            page = page.rpartition(".")[0]
        found[page or "tensor"][name] = entry
    index = _heading("Reference", "Every public name. ``import tinygrad_ce as tg`` is all that most programs need.")
    written = {"api/index": index, "api/inside": _inside()}
    for page, entries in found.items():
        if entries:
            text = inspect.getdoc(importlib.import_module(f"tinygrad_ce.{page}")) or ""
            written[f"api/{page}"] = _heading(titles[page], text) + _entries(entries)
            links = ", ".join(f":py:obj:`{name.rpartition('.')[2]} <{name}>`" for name in entries)
            index += [f":doc:`{titles[page]} <{page}>`", f"   {links}", ""]
    index += [".. toctree::", "   :hidden:", "", *(f"   {page[4:]}" for page in [*written][2:]), "   inside"]
    return written


def _inside() -> list[str]:
    lines = _heading("Inside", "Not public: what public functions return, or rest on.")
    for directive in _INSIDE:
        lines += [*_heading(directive.split()[1], "", "-"), f".. {directive}", ""]
    return lines


def _importance(name: str) -> tuple[int, str]:
    """Names to sort by: those of FIRST first."""
    short = name.removeprefix("tinygrad_ce.")
    return FIRST.index(short) if short in FIRST else len(FIRST), short.lower()


def _kind(value: Any) -> str:
    if not inspect.isclass(value):
        return "function"
    return "exception" if issubclass(value, BaseException) else "class"


def _entries(entries: dict[str, tuple[Any, list[str]]]) -> list[str]:
    """A table of names, and what autodoc is to write about each."""
    short = "~" if len({name.rpartition(".")[0] for name in entries}) == 1 else ""
    lines = [".. autosummary::", "   :nosignatures:", "", *(f"   {short}{name}" for name in entries), ""]
    also = [f"``{other}``" for _, others in entries.values() for other in others]
    lines += [f"Other names of some of these: {', '.join(also)}.", ""] if also else []
    for name, (value, _) in entries.items():
        lines += [f".. auto{_kind(value)}:: {'::'.join(name.rsplit('.', 1))}", ""]
    return lines


def _heading(title: str, text: str, line: str = "=") -> list[str]:
    return [title, line * len(title), "", text, ""]


def _command_line(parser: argparse.ArgumentParser) -> list[str]:
    """The help of the program and of each of its commands."""
    lines = _heading("The command line", "``tinygrad-ce`` and ``python -m tinygrad_ce`` are the same.")
    for command in ("", *re.findall(r"\n    (\w+) ", _help(parser))):
        said = [f"   {line}" for line in _help(parser, *command.split()).splitlines()]
        lines += [*_heading(f"tinygrad-ce {command}".strip(), "", "-"), ".. code-block:: text", "", *said, ""]
    return lines


def _help(parser: argparse.ArgumentParser, *command: str) -> str:
    said = io.StringIO()
    with mock.patch.dict("os.environ", COLUMNS="92"), redirect_stdout(said), suppress(SystemExit):
        parser.parse_args([*command, "--help"])
    return said.getvalue()


def _play(folder: Path, lang: str) -> list[str]:
    """The player of a small classifier and the page of softmax, as a notebook shows them, in a language."""
    logits = tg.nn.Linear(3, 2, rng=0)(tg.Tensor([[0.5, -1.0, 2.0], [1.5, 0.0, -0.5]], dtype="float32"))
    text = translate("The line above each page writes it for you, to keep and to open anywhere.", lang)
    others = " · ".join(f":doc:`{own} <{page}>`" for own, page in translated.others("play", lang).items())
    lines = [*([] if lang == ENGLISH else [":orphan:", ""]), *_heading(translate("Play", lang), f"{others}\n\n{text}")]
    loss, given = tg.cross_entropy(logits, [0, 1]), "" if lang == ENGLISH else f'lang="{lang}"'
    for code, page in [
        (f'tg.study.player({", ".join(filter(None, ["loss", given]))}).save("backprop.html")',
         tg.study.player(loss, lang=lang)),
        (f'tg.study.softmax_page({given}).save("softmax.html")', tg.study.softmax_page(lang=lang)),
    ]:  # fmt: skip
        file = folder / f"{page.title}.html"
        file.write_text(page._repr_html_(), "utf-8")
        lines += [*_heading(page.title, f"``{code}``", "-"), ".. raw:: html", f"   :file: {file.name}", ""]
    return lines
