"""One comparison of a rule with a numeric derivative."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Entry(NamedTuple):
    """One entry of a Jacobian, or a derivative along a direction: by the rule and by differences."""

    input: int
    at: tuple[int, ...]
    analytic: float
    numeric: float
    allowed: float
    output: tuple[int, tuple[int, ...]] = (0, ())  # which output, and where in it
    note: str = ""  # "step": found by another step; "kink", "jump", "rough"; "direction", or "together": a tie
    slopes: tuple[float, float] | None = None  # at a kink: from the left, from the right

    @property
    def difference(self) -> float:
        """The absolute difference of analytic and numeric; infinite where one is nan."""
        difference = abs(self.analytic - self.numeric)
        return difference if difference == difference else np.inf

    @property
    def relative(self) -> float:
        """The difference over the larger of the two."""
        return self.difference / (max(abs(self.analytic), abs(self.numeric)) or 1.0)

    @property
    def excess(self) -> float:
        """The difference in units of what is allowed: above 1 it fails."""
        if self.note in ("kink", "jump", "rough"):
            return 0.0 if self.allowed else np.inf
        if not 0 < self.allowed < np.inf:
            return np.inf if self.difference else 0.0
        return self.difference / self.allowed

    @property
    def unresolved(self) -> bool:
        """Whether rounding may account for the difference, which then says neither right nor wrong."""
        size = max(abs(self.analytic), abs(self.numeric))
        return self.note not in ("kink", "jump", "rough") and 0.5 * size < self.allowed and size > 0

    @property
    def indices(self) -> tuple[str, str]:
        """Where it is, in its input and in the outputs: f's second output is called 1, and so on."""
        k, at = self.output
        return "direction" if self.note == "direction" else str(list(self.at)), f"{k or ''}{list(at)}"

    @property
    def place(self) -> str:
        """Where it is, in words."""
        index, output = self.indices
        if index == "direction":
            return f"input {self.input}, along a random direction"
        words = f"input {self.input}, index {index}" + (f", of output {output}" if output != "[]" else "")
        return f"{words}, and what ties with it" if self.note == "together" else words
