"""The site's pages in other languages: which there are, and the line on each that leads to the others."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Container
from pathlib import Path

from tinygrad_ce.docs import editions
from tinygrad_ce.study.language import ENGLISH, languages, translate

_FOREIGN = re.compile(r"^(?:notebooks/|play_)([a-z]{2})(?:/|$)")


def name(page: str, lang: str) -> str:
    """What a page is called in a language: play_es, notebooks/es/01_softmax."""
    folder, slash, file = page.rpartition("/")
    if lang == ENGLISH:
        return page
    return f"{folder}/{lang}/{file}" if slash else f"{page}_{lang}"


def of(page: str) -> str:
    """A page's language."""
    found = _FOREIGN.match(page)
    return found[1] if found else ENGLISH


def others(page: str, lang: str) -> dict[str, str]:
    """A page's other languages, each by its own name, and where they are from here."""
    here = posixpath.dirname(name(page, lang)) or "."
    found = (one for one in languages() if one != lang)
    return {translate("English", one): posixpath.relpath(name(page, one), here) for one in found}


def write(folder: Path) -> None:
    """Write the translations of the notebooks in a folder, and on each a line that leads to the others."""
    books = {path.name: path.read_bytes() for path in (folder / "notebooks").glob("*.ipynb")}
    found = {file: book for file, book in books.items() if editions.in_language(languages()[-1], book)}
    for lang in languages():
        for file, book in found.items():
            text = json.loads(editions.in_language(lang, book) or book)
            for cell in text["cells"] if lang != ENGLISH else ():
                cell["source"] = [_moved("".join(cell["source"]), found)]
            page = f"notebooks/{file}"
            line = " · ".join(f"[{own}]({to})" for own, to in others(page, lang).items())
            title, _, rest = "".join(text["cells"][0]["source"]).partition("\n")
            text["cells"][0]["source"] = [f"{title}\n\n{line}\n{rest}"]
            if lang != ENGLISH:
                text["metadata"]["orphan"] = True  # the line leads there, no list of contents
            target = folder / name(page, lang)
            target.parent.mkdir(exist_ok=True)
            target.write_text(json.dumps(text, ensure_ascii=False), "utf-8")


def _moved(text: str, translated: Container[str]) -> str:
    """Links as they are one folder deeper: but to translated notebooks, which lie beside."""

    def to(found: re.Match[str]) -> str:
        return found[0] if found[1] in translated else f"](../{found[1]}"

    return re.sub(r"\]\(([\w./-]+\.\w+)", to, text)
