"""What a gradient check found, as a table to print, and the error that carries it."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from tinygrad_ce.check.causes import likely_cause
from tinygrad_ce.check.entry import Entry


class Report:
    """What a gradient check found: true if everything agrees, printed as a table of the worst entries.

    ``entries`` are all that were compared, ``failed`` those that disagree, ``kinks`` those where f has two slopes,
    ``unresolved`` those too small for differences to tell, ``broken`` what else is wrong, ``cause`` the likely reason.
    """

    def __init__(self, order: int, dtypes: Sequence[np.dtype], what: str) -> None:
        self.order = order
        self.dtypes = dtypes
        self.what = what
        self.entries: list[Entry] = []
        self.broken: list[str] = []

    @property
    def worst(self) -> Entry | None:
        """The entry with the largest difference, by what is allowed; None if there was nothing to check."""
        return max(self.entries, key=lambda entry: entry.excess, default=None)

    @property
    def failed(self) -> list[Entry]:
        """The entries that disagree, the worst first."""
        wrong = [entry for entry in self.entries if not entry.excess <= 1]
        return sorted(wrong, key=lambda entry: (entry.relative, entry.difference), reverse=True)

    @property
    def kinks(self) -> list[Entry]:
        """The entries at which f has one slope on the left and another on the right."""
        return [entry for entry in self.entries if entry.note == "kink"]

    @property
    def unresolved(self) -> list[Entry]:
        """The entries too small for a difference, whose rounding exceeds them: neither right nor wrong."""
        return [entry for entry in self.entries if entry.unresolved]

    @property
    def error(self) -> float:
        """The largest difference, relative to the largest gradient entry of its input; kinks left out."""
        sizes: dict[int, float] = {}
        smooth = [e for e in self.entries if e.note not in ("kink", "jump") or not e.excess <= 1]
        for e in smooth:
            sizes[e.input] = max(sizes.get(e.input, 0.0), abs(e.numeric))
        return max((e.difference / (sizes[e.input] or 1.0) for e in smooth), default=0.0)

    @property
    def cause(self) -> str:
        """The likely reason of a failure, or nothing."""
        return "; ".join(self.broken) or likely_cause(self.failed, self.entries)

    def __bool__(self) -> bool:
        return not self.failed and not self.broken

    def __str__(self) -> str:
        head, *rows = self._table()
        several = any(row[2] != "[]" for row in rows)
        lines = [self._title()]
        for number, index, output, *numbers, remark in [head, *rows] if rows else []:
            place = f"{number:>5}  {index:<10} {output:<10} " if several else f"{number:>5}  {index:<10} "
            lines.append("{}{:>15} {:>15} {:>14}  {}".format(place, *numbers, remark).rstrip())
        return "\n".join(lines + self._notes())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in self._table())
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self._notes())
        return f"<div><p><b>{html.escape(self._title())}</b></p><table>{rows}</table>{notes}</div>"

    def _title(self) -> str:
        count, failed = len(self.entries), len(self.failed)
        words = [f"{failed} of {count} entries DISAGREE" if failed else f"all {count} entries agree"]
        faults = "other fault" + "s" * (len(self.broken) > 1)
        for found, what in (
            (self.kinks, "at a kink"), (self.unresolved, "too small to tell"), (self.broken, faults)
        ):  # fmt: skip
            words += [f"{len(found)} {what}"] if found else []
        kinds = ", ".join(sorted({str(dtype) for dtype in self.dtypes}))
        return f"gradcheck: order {self.order}, {kinds}: {', '.join(words)}"

    def _notes(self) -> list[str]:
        return [f"broken: {what}" for what in self.broken] + ([] if self else [f"likely cause: {self.cause}"])

    def _table(self) -> list[tuple[str, ...]]:
        """Head and rows."""
        numbers = ((e, f"{e.analytic + 0.0:.8g}", f"{e.numeric + 0.0:.8g}") for e in self._shown())
        rows = [(str(e.input), *e.indices, a, n, f"{e.relative:.2e}", _remark(e)) for e, a, n in numbers]
        return [("input", "index", "output", "analytic", "numeric", "relative error", ""), *rows]

    def _shown(self) -> list[Entry]:
        """The worst entries, then kinks."""
        agree = (e for e in self.entries if e.note != "kink" and e.excess <= 1)
        rest = sorted(agree, key=lambda e: (e.excess, abs(e.numeric)), reverse=True)
        failed, kinks = self.failed, [e for e in self.kinks if e.excess <= 1]
        return [*failed, *kinks[:3], *rest][: max(5, min(len(failed), 5) + min(len(kinks), 3))]


class GradientError(AssertionError):
    """A derivative rule disagrees with finite differences; ``report`` tells where."""

    def __init__(self, report: Report) -> None:
        self.report = report
        if report.failed and not report.broken:
            worst = report.failed[0]
            first = (
                f"{worst.place}: the rule gives {worst.analytic:.8g}, finite differences give {worst.numeric:.8g}; "
                f"likely cause: {report.cause}"
            )
        else:
            first = report.cause
        super().__init__(f"{first}\n{report}")


def _remark(entry: Entry) -> str:
    if entry.slopes is not None:
        words = f"kink: slope {entry.slopes[0]:.4g} from the left, {entry.slopes[1]:.4g} from the right"
        return words if entry.excess <= 1 else f"{words}  <- the rule is outside"
    if entry.note == "jump":
        return "a jump: no derivative" + ("" if entry.excess <= 1 else ", and f should have one")
    if entry.note == "rough":
        return "differences never settle"
    if not entry.excess <= 1:
        return "<- wrong" + (", of all entries in the tie together" if entry.note == "together" else "")
    return "too small to tell" if entry.unresolved else "by another step" if entry.note == "step" else ""
