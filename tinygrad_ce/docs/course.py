"""The course in a folder of one's own: its notebooks, to read, to run and to answer."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tinygrad_ce.common.files import write
from tinygrad_ce.docs import editions
from tinygrad_ce.study.language import ENGLISH, known

_PACKAGE = Path(__file__).parents[1]
_FIRST = "01_softmax.ipynb"


def project() -> Path:
    """The folder with notebooks, SECURITY.md and benchmarks/RESULTS.md: the clone's, or the copy in a wheel."""
    brought = _PACKAGE / "project"
    return brought if brought.is_dir() else _PACKAGE.parent


def names() -> list[str]:
    """The names of the course's notebooks, as "01_softmax"."""
    return sorted(path.stem for path in (project() / "notebooks").glob("*.ipynb"))


def open_course(
    folder: str | os.PathLike[str] | None = None,
    *,
    browser: bool = True,
    start: bool = True,
    edition: str | None = None,
    lang: str = ENGLISH,
) -> Path:
    """Copy the course into a folder and open it there in JupyterLab, until that is stopped (Ctrl-C).

    A file that is there already stays as it is, and with it every answer; only what is missing is copied. Beside the
    notebooks a folder ``source`` holds the code that they refer to.

    Args:
        folder: where the course goes: ``tinygrad_ce_course`` here unless given (``tinygrad_ce_course_es`` in Spanish).
        browser: whether JupyterLab opens a browser; without, it prints its address.
        start: whether JupyterLab is started at all, or the course only copied.
        edition: "teacher", with the solutions in the exercises' cells; "student", without solutions; or, as they are
            meant for studying alone, with the solutions folded below the exercises.
        lang: the language of the notebooks, "en", "es" or "de"; those that aren't translated are in English.

    Returns:
        The folder.

    Raises:
        ImportError: JupyterLab or matplotlib isn't installed (and start is True); nothing has been copied then.
        FileExistsError, NotADirectoryError: the folder is a file, or lies in one.
        ValueError: there is no such language.

    Example:
        >>> import os, tempfile
        >>> folder = open_course(os.path.join(tempfile.mkdtemp(), "course"), start=False)
        >>> sorted(os.listdir(folder))[:2]
        ['01_softmax.ipynb', '02_cross_entropy.ipynb']
    """
    usual = "tinygrad_ce_course" if known("open_course", lang) == ENGLISH else f"tinygrad_ce_course_{lang}"
    target = Path(usual if folder is None else folder)
    launch = _jupyterlab() if start else None
    for name, content in _files(lang):
        path = target / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, editions.of(edition, content) if edition and path.suffix == ".ipynb" else content)
    if launch is not None:
        launch([str(target / _FIRST), *([] if browser else ["--no-browser"])])
    return target


def _jupyterlab() -> Callable[[list[str]], Any]:
    try:
        from jupyterlab.labapp import main
    except ImportError:
        main = None
    if main is None or importlib.util.find_spec("matplotlib") is None:
        raise ImportError("the course needs JupyterLab and matplotlib: pip install 'tinygrad-ce[notebooks]'")
    return main  # type: ignore[no-any-return]


def _files(lang: str) -> Iterator[tuple[Path, bytes]]:
    """The course's files by where they go. Links into the project lead to ``source``, which holds what they need."""
    root = project()
    for path in sorted((root / "notebooks").rglob("*")):
        if path.suffix in {".ipynb", ".md", ".png", ".svg"} and ".ipynb_checkpoints" not in path.parts:
            content = path.read_bytes()
            if path.suffix == ".ipynb":
                content = editions.in_language(lang, content) or content
            if path.suffix in {".ipynb", ".md"}:
                content = content.replace(b"](../", b"](source/")
            yield path.relative_to(root / "notebooks"), content
    for name in ("SECURITY.md", "benchmarks/RESULTS.md"):
        yield Path("source", name), (root / name).read_bytes()
    for path in sorted([*_PACKAGE.rglob("*.py"), *_PACKAGE.rglob("*.md")]):
        if not path.is_relative_to(_PACKAGE / "project"):
            content = path.read_bytes().replace(b"](../../../notebooks/", b"](../../../../")
            yield "source" / path.relative_to(_PACKAGE.parent), content
