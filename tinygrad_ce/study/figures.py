"""Small figures as SVG, drawn without a library: bars and curves for the pages."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np

from tinygrad_ce.study.numbers import number, shortened

WIDTH, HEIGHT, LEFT = 320, 180, 120
SHOWN = 12  # bars


def bars(title: str, values: Mapping[str, float]) -> str:
    """A horizontal bar for each of the first values, with its name and number.

    Example:
        >>> bars("Rows", {"a": 1, "b": 2}).count("<rect")
        2
    """
    finite = [value for value in values.values() if np.isfinite(value)]
    most = max(finite, default=0) or 1
    parts = []
    for i, (name, value) in enumerate([*values.items()][:SHOWN]):
        length = (WIDTH - LEFT - 70) * min(value / most, 1) if np.isfinite(value) else 0
        parts.append(
            f'<text x="0" y="{18 * i + 12}">{html.escape(shortened(name, 16))}</text>'
            f'<rect class="bar" x="{LEFT}" y="{18 * i + 2}" width="{length:.1f}" height="12"/>'
            f'<text class="number" x="{LEFT + length + 5:.1f}" y="{18 * i + 12}">{number(float(value), 3)}</text>'
        )
    more = f" (the first {SHOWN} of {len(values)})" if len(values) > SHOWN else ""
    return _figure(title + more, 18 * len(parts), parts)


def curve(title: str, lines: Mapping[str, Sequence[tuple[float, float]]], along: str) -> str:
    """Lines through points (x, y), with the ends of both axes in numbers.

    Example:
        >>> "polyline" in curve("Loss", {"loss": [(0, 1.0), (1, 0.5)]}, "step")
        True
    """
    points = np.array([p for line in lines.values() for p in line if np.isfinite(p).all()] or [(0.0, 0.0)], float)
    (left, low), (right, high) = points.min(axis=0), points.max(axis=0)
    wide, tall = (right - left) or 1, (high - low) or 1

    def place(p: tuple[float, float]) -> str:
        return f"{70 + (WIDTH - 80) * (p[0] - left) / wide:.1f},{150 - 130 * (p[1] - low) / tall:.1f}"

    parts = []
    for k, (name, line) in enumerate(lines.items()):
        path = " ".join(place(p) for p in line if np.isfinite(p).all())
        dash = ' stroke-dasharray="5 4"' if k else ""
        parts.append(f'<polyline class="curve" points="{path}"{dash}/>')
        mark = "– – " if k else "— "
        parts.append(f'<text x="{WIDTH - 10}" y="{16 + 16 * k}" text-anchor="end">{mark if name else ""}{name}</text>')
    parts += [
        f'<text class="quiet" x="64" y="24" text-anchor="end">{number(float(high), 3)}</text>',
        f'<text class="quiet" x="64" y="152" text-anchor="end">{number(float(low), 3)}</text>',
        f'<text class="quiet" x="70" y="172">{number(float(left), 3)}</text>',
        f'<text class="quiet" x="{WIDTH - 10}" y="172" text-anchor="end">{along} {number(float(right), 3)}</text>',
    ]
    return _figure(title, HEIGHT, parts)


def _figure(title: str, height: int, parts: Sequence[str]) -> str:
    name = html.escape(title)
    svg = f'<svg viewBox="0 0 {WIDTH} {max(height, 1)}" role="img" aria-label="{name}">{"".join(parts)}</svg>'
    return f'<figure class="panel"><figcaption>{name}</figcaption>{svg}</figure>'
