"""The language in which the study speaks: catalogues of gettext, ``locale/<name>.po``, from English."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from typing import Any

ENGLISH = "en"
_LOCALE = resources.files("tinygrad_ce.study") / "locale"
_STRINGS = r'((?:"(?:[^"\\]|\\.)*"\s*)+)'
_ENTRY = re.compile(rf"^msgid {_STRINGS}^msgstr {_STRINGS}", re.M)
_chosen = [ENGLISH]


def language(name: str | None = None) -> str:
    """Choose the language of :func:`check`, and of the pages that are not told theirs; or ask which it is.

    A translated notebook calls it in its first cell. What has no translation stays English.

    Args:
        name: "en", "es" or "de"; None leaves the language as it is.

    Returns:
        The language from now on.

    Raises:
        ValueError: there is no such language.

    Example:
        >>> import tinygrad_ce as tg
        >>> tg.study.language("es")
        'es'
        >>> result = tg.study.check(0.5, 0.25)
        ✗ 0.5, se esperaba 0.25; es 2 veces lo que debería ser
        >>> tg.study.language("en")
        'en'
    """
    if name is not None:
        _chosen[0] = known("language", name)
    return _chosen[0]


@contextmanager
def speaking(lang: str) -> Iterator[None]:
    """Within it, a language is the chosen one."""
    before, _chosen[0] = _chosen[0], lang
    try:
        yield
    finally:
        _chosen[0] = before


def languages() -> list[str]:
    """The languages that there are, English first."""
    return [ENGLISH, *sorted(file.name[:-3] for file in _LOCALE.iterdir() if file.name.endswith(".po"))]


def known(where: str, name: str) -> str:
    """A language that there is.

    Raises:
        ValueError: there is no such language.
    """
    if name not in languages():
        raise ValueError(f"{where}: no language {name!r}; there are {', '.join(languages())}")
    return name


def translate(text: str, lang: str | None = None, /, **values: Any) -> str:
    """A text in a language, the chosen one unless given, with values in its holes; English if no catalogue has it."""
    found = catalogue(lang or _chosen[0]).get(text, text)
    return found.format(**values) if values else found


@functools.cache
def catalogue(lang: str) -> Mapping[str, str]:
    """A language's translations by their English texts. What is marked fuzzy was made of another text: left out."""
    if lang == ENGLISH:
        return {}
    blocks = (_LOCALE / f"{lang}.po").read_text(encoding="utf-8").split("\n\n")
    found = [_ENTRY.search(block + "\n") for block in blocks if "\n#, fuzzy" not in f"\n{block}"]
    pairs = [(_unquoted(entry[1]), _unquoted(entry[2])) for entry in found if entry]
    return {text: translation for text, translation in pairs if text and translation}


def _unquoted(strings: str) -> str:
    """Strings of a catalogue, one after the other, as the text that they are: their escapes are JSON's."""
    return "".join(json.loads(string) for string in re.findall(r'"(?:[^"\\]|\\.)*"', strings))
