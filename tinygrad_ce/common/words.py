"""Names from anyone, as they can be compared, shown, and put into a table that a spreadsheet opens."""

from __future__ import annotations

import re
import unicodedata

# Characters that show nothing, or turn others around: controls, halves of surrogate pairs, formats such as the
# bidirectional ones and those of no width (Unicode's category Cf), and other fillers that are ignored where shown.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
_SPACES = re.compile("[^\\S ]")  # such as one that does not break; they look like the plain one
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four are wide ones


def normal(name: str) -> str:
    """A name in Unicode's composed form: é in one character, or e with an accent after it, are one name.

    Source:
        Unicode Standard Annex 15, Unicode normalization forms: NFC.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def visible(text: str) -> str:
    r"""A text with every character escaped that would not show, or would change how others show.

    Example:
        >>> visible("cat\u202e"), visible("é")
        ('cat\\u202e', 'é')
    """
    return _SPACES.sub(_escape, _UNSEEN.sub(_escape, text))


def _escape(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def cell(text: str) -> str:
    """A cell of a table. One that a spreadsheet would take for a formula gets the ' that it takes for text.

    Example:
        >>> cell("=1+2"), cell("-1"), cell("cat")
        ("'=1+2", '-1', 'cat')
    """
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
