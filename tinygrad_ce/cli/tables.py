"""Tables as CSV, for people with a spreadsheet and for programs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import IO

from tinygrad_ce.common.terminal import is_terminal
from tinygrad_ce.common.words import cell, visible


def write_rows(file: IO[str], head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write names of columns and rows. No cell is a formula, and a terminal is shown what it would obey or hide."""
    written = (lambda text: visible(cell(text))) if is_terminal(file) else cell
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(written, head))
    writer.writerows(map(written, row) for row in rows)
