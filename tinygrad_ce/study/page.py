"""What the study pages share: a frame with one look, which takes text and numbers from anywhere safely."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import os
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce.common.files import write
from tinygrad_ce.study.language import translate

_FRAME = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<button type="button" id="theme" hidden></button>
</header>
<noscript><p class="notice">{no-script}</p></noscript>
<main>
{body}
</main>
<footer><p>{footer}</p></footer>
<p id="announcer" class="hidden" role="status"></p>
<script type="application/json" id="data">{data}</script>
<script type="application/json" id="texts">{texts}</script>
<script>{script}</script>
</body>
</html>
"""


class Page:
    """A web page in one string. It loads nothing: it works from a file, by mail and without a network.

    As the last line of a notebook's cell it shows itself; :meth:`save` writes it for a browser.

    Args:
        title: its name.
        html: the whole document.
        height: how many pixels it takes in a notebook.

    Example:
        >>> import os, tempfile
        >>> page = frame("A page", "<p>Hello</p>")
        >>> page.save(os.path.join(tempfile.mkdtemp(), "page.html"))
        >>> page
        <a page, "A page": .save("page.html") writes it, a browser shows it>
    """

    def __init__(self, title: str, html: str, height: int = 800) -> None:
        self.title = title
        self.html = html
        self.height = height

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to an ``.html`` file, in UTF-8."""
        save("page.save", path, self.html, ".html", ".htm")

    def __repr__(self) -> str:
        return f'<a page, "{self.title}": .save("page.html") writes it, a browser shows it>'

    def _repr_html_(self) -> str:
        # The sandbox keeps the page's script away from the notebook, whose cells could otherwise be read and run.
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" title="{html.escape(self.title)}" sandbox="allow-scripts" '
            f'width="100%" height="{self.height}" style="border: 0"></iframe>'
        )


def save(where: str, file: Any, text: str, *endings: str) -> None:
    """Write a text to a file whose name says what is in it."""
    path = Path(file)
    if path.suffix.lower() not in endings:
        raise ValueError(f"{where}: the file is {str(path)!r}, expected a name that ends in {' or '.join(endings)}")
    write(path, text)


def frame(
    title: str,
    body: str,
    *,
    style: str = "",
    script: str = "",
    data: Any = None,
    texts: Mapping[str, str] | None = None,
    height: int = 800,
) -> Page:
    """Put a page together: title, theme button and the shared style around a body.

    Args:
        title: plain text.
        body: HTML, written into the page as it is: text from elsewhere belongs into data.
        style: CSS, after the shared one in ``assets/page.css``.
        script: JavaScript, after the shared functions of ``assets/page.js``.
        data: what the script finds as ``pageData``: anything :func:`to_json` takes, names from anywhere included.
        texts: what the script says by name, with ``say``; names of ``assets/page.toml`` translate the frame.
        height: how many pixels the page takes in a notebook.

    Raises:
        ValueError: style or script holds what would end its element.

    Example:
        >>> page = frame("Names", '<p id="who"></p>', script="who.textContent = pageData", data="</script>")
        >>> "</script>" in page.html.split('id="data">')[1].split("</script>")[0]
        False
    """
    style = _inline("style", asset("page.css") + style)
    script = _inline("script", asset("page.js") + script)
    # Only this style and this script may run, and nothing may be loaded, whatever a name manages to smuggle in.
    policy = f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}"
    texts = {**page_texts("page"), **(texts or {})}
    parts = {"policy": policy, "title": html.escape(title), "style": style, "body": body, "data": to_json(data),
             "texts": to_json(texts), "script": script}  # fmt: skip
    whole = _FRAME.format_map({**texts, **parts})
    return Page(title, whole, height)


def asset(name: str) -> str:
    """The text of a file in ``assets/``."""
    return (resources.files("tinygrad_ce.study") / "assets" / name).read_text(encoding="utf-8")


def page_texts(page: str, lang: str | None = None) -> dict[str, str]:
    """All that a page says, by name: the texts of ``assets/<page>.toml``, in a language.

    Texts may hold markup where a template takes them; where the script says them, they are plain.
    """
    return {name: translate(text.strip(), lang) for name, text in tomllib.loads(asset(f"{page}.toml")).items()}


def fill(template: str, texts: Mapping[str, str]) -> str:
    """HTML with ``{{name}}`` replaced by the text of that name.

    A hole ``{figure}`` in the text becomes an element with ``data-figure="figure"``, for a script to write into.

    Example:
        >>> fill('<p title="{{who}}">{{sum}}</p>', {"who": 'the "sum"', "sum": "<b>It is {total}.</b>"})
        '<p title="the &quot;sum&quot;"><b>It is <span data-figure="total"></span>.</b></p>'
    """

    def text(found: re.Match[str]) -> str:
        if found[1]:  # the value of an attribute
            return f"{found[1]}{html.escape(texts[found[2]])}"
        return re.sub(r"\{([\w-]+)\}", r'<span data-figure="\1"></span>', texts[found[2]])

    return re.sub(r'(=")?\{\{([\w-]+)\}\}', text, template)


def to_json(data: Any) -> str:
    r"""JSON that can stand inside a ``<script>`` element.

    NumPy arrays become lists. JSON has no nan and no infinity: they become the strings that JavaScript's ``Number``
    reads, "NaN", "Infinity" and "-Infinity".

    Example:
        >>> print(to_json({"</script>": np.array([0.1, np.inf])}))
        {"\u003c/script\u003e":[0.1,"Infinity"]}
    """
    text = json.dumps(_plain(data), allow_nan=False, separators=(",", ":"))  # ASCII: U+2028 is escaped as well
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _plain(value: Any) -> Any:
    """A value of nothing but dicts, lists, strings, numbers, bools and None."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _inline(element: str, text: str) -> str:
    """Text for inside a style or script element, which knows no escapes."""
    for end in (f"</{element}", "<!--"):
        if end in text.lower():
            raise ValueError(f"frame: {element} contains {end!r}, which ends the element or starts a comment in it")
    return text


def _hash(text: str) -> str:
    """A source expression of Content Security Policy that allows exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
