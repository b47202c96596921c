"""The likely cause of a failed check, read off the pattern of the wrong entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinygrad_ce.check.entry import Entry


class Pattern:
    """The entries that failed, among all."""

    def __init__(self, failed: Sequence[Entry], entries: Sequence[Entry]) -> None:
        self.failed, self.entries = failed, entries
        self.analytic, self.numeric = _columns(failed)
        self.notes = {entry.note for entry in failed}

    @property
    def factor(self) -> float:
        """How many times too large every wrong entry is; 1 where they differ in it."""
        with np.errstate(all="ignore"):
            ratio = self.analytic / self.numeric
        same = np.isfinite(ratio).all() and np.ptp(ratio) <= 1e-2 * abs(ratio.mean() - 1)
        return float(ratio.mean()) if same else 1.0

    @property
    def shuffled(self) -> bool:
        """Whether the inputs' gradients hold the right numbers, but elsewhere."""
        inputs = {entry.input for entry in self.failed}
        whole = [entry for entry in self.entries if entry.input in inputs and entry.note != "direction"]
        analytic, numeric = (np.sort(column) for column in _columns(whole))
        several = len(whole) > 1 and len(self.failed) > 1
        return several and np.allclose(analytic, numeric, rtol=1e-3, atol=1e-6 * np.abs(numeric).max())


def _columns(entries: Sequence[Entry]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([e.analytic for e in entries]), np.array([e.numeric for e in entries])


# The first that holds is the one told.
CAUSES: list[tuple[Callable[[Pattern], object], str]] = [
    (lambda p: not np.isfinite(p.analytic).all(), "the rule gives nan or inf"),
    (lambda p: not np.isfinite(p.numeric).all(),
     "f itself gives nan or inf close by, so there is no difference to take"),
    (lambda p: "jump" in p.notes, "f jumps there, or is noisy: it isn't continuous, and has no derivative"),
    (lambda p: p.notes == {"rough"},
     "f is rough or noisy: its differences don't settle at any step, and say nothing about the rule"),
    (lambda p: "together" in p.notes, "a tie, whose shares don't add up to the slope of all moving together"),
    (lambda p: p.notes == {"kink"}, "a kink, and the rule lies outside of the slopes on its two sides"),
    (lambda p: p.analytic.all() and not p.numeric.any(),
     "f doesn't move: it is flat there, or what should move it is rounded away inside; or a wrong rule"),
    (lambda p: not p.analytic.any(),
     "the rule gives 0: is a part of f cut off from the graph (detach, .data, no_grad, a cast)?"),
    (lambda p: abs(p.factor + 1) < 1e-3, "the sign is wrong"),
    (lambda p: p.factor != 1, "the rule is {factor:.6g} times too large everywhere"),
    (lambda p: p.shuffled, "right numbers in wrong places: a transpose, or another axis?"),
    (lambda p: not p.analytic.all() and len(p.failed) < len(p.entries),
     "some entries are 0: is a term missing, or part of f cut off from the graph?"),
    (lambda p: True, "a wrong rule: the differences agree with each other over many steps, and not with it"),
]  # fmt: skip


def likely_cause(failed: Sequence[Entry], entries: Sequence[Entry]) -> str:
    """What the wrong entries have in common, in words; nothing if there are none."""
    if not failed:
        return ""
    pattern = Pattern(failed, entries)
    words = next(words for holds, words in CAUSES if holds(pattern))
    return words.format(factor=pattern.factor)
