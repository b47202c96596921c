"""Numeric derivatives: central differences and their best step, one-sided slopes, the complex step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

# All outputs of a function, flat, where some of its inputs are moved by t along a direction.
Line = Callable[[float], np.ndarray]

COARSEST = 9  # the sweep tries steps up to 2**COARSEST of the usual one
ROUNDING = 16.0  # by how many eps of its size an output may be off;
SHARED = 0.01  # as its size counts at least this part of the largest output's, which may have cancelled within it


class Derivative(NamedTuple):
    """A derivative of every output, and how far off it may be."""

    value: np.ndarray
    uncertainty: np.ndarray
    rough: Any = False  # whether f is no line here: it bends, or differs at every step


def power_of_two(step: float) -> float:
    """The power of 2 next to a step: adding it to a number rounds nothing away."""
    return float(2.0 ** round(math.log2(step)))


def central(line: Line, h: float, eps: float) -> Derivative:
    r""":math:`(8 (f_{+h} - f_{-h}) - (f_{+2h} - f_{-2h})) / 12 h`; its uncertainty is that of rounding alone.

    It is rough where the slopes on the two sides differ by a tenth, as at a kink.

    Source:
        Fornberg, Generation of finite difference formulas on arbitrarily spaced grids, 1988.
    """
    one, minus_one, two, minus_two = (line(t) for t in (h, -h, 2 * h, -2 * h))
    with np.errstate(all="ignore"):
        size = _size(one, minus_one, two, minus_two)
        value = (8 * (one - minus_one) - (two - minus_two)) / (12 * h)
        uncertainty = ROUNDING * eps * size / h
        bend = np.abs(one - 2 * line(0.0) + minus_one) / h
        return Derivative(value, uncertainty, bend > 0.1 * np.abs(value) + 2 * uncertainty)


def _size(*outputs: np.ndarray) -> np.ndarray:
    """The size of the numbers whose rounding an output carries."""
    each = np.max(np.abs(outputs), axis=0)
    return np.asarray(np.maximum(each, SHARED * np.max(np.where(np.isfinite(each), each, 0), initial=0.0)))


def finest(eps: float) -> int:
    """The sweep's smallest step, 2**-24 of the usual one in double precision; it must still move the input."""
    return max(-24, round(0.6 * math.log2(eps)))


def swept(line: Line, h: float, eps: float) -> Derivative:
    """The derivative by the step at which it changes least from step to step: the bottom of the V."""
    return _steadiest([central(line, h * 2.0**k, eps) for k in range(finest(eps), COARSEST + 1)])


def one_sided(line: Line, h: float, eps: float, side: int) -> Derivative:
    r"""The slope on one side, :math:`(-3 f_0 + 4 f_{h} - f_{2h}) / 2h` with h of that sign, by the steadiest step."""
    here = line(0.0)
    ladder = []
    for k in range(finest(eps), 1):
        t = side * h * 2.0**k
        near, far = line(t), line(2 * t)
        with np.errstate(all="ignore"):
            value = (-3 * here + 4 * near - far) / (2 * t)
            ladder.append(Derivative(value, ROUNDING * eps * _size(here, near, far) / abs(t)))
    return _steadiest(ladder)


def jump(line: Line, h: float, eps: float) -> np.ndarray:
    """Which outputs aren't continuous here: a tiny step changes them about as much as a large one."""
    here = line(0.0)
    with np.errstate(all="ignore"):
        t = h * 2.0 ** finest(eps)
        tiny, large = (np.maximum(np.abs(line(u) - here), np.abs(line(-u) - here)) for u in (t, h))
        return np.asarray((tiny > 0.1 * large) & (tiny > 1e-9 * np.abs(here)))


class Closer(NamedTuple):
    """What a close look at f shows: by the best step, from the left, from the right, and where it jumps."""

    best: Derivative
    left: Derivative
    right: Derivative
    jumps: np.ndarray


def look_closer(line: Line, h: float, eps: float) -> Closer:
    """Try many steps, both sides, and a tiny step against a large one."""
    return Closer(swept(line, h, eps), one_sided(line, h, eps, -1), one_sided(line, h, eps, 1), jump(line, h, eps))


def _steadiest(ladder: list[Derivative]) -> Derivative:
    """For each output the derivative whose step's neighbours differ least from it, rounding included."""
    values, rounding = (np.array([getattr(d, name) for d in ladder]) for name in ("value", "uncertainty"))
    with np.errstate(all="ignore"):
        changes = np.abs(np.diff(values, axis=0))
        # Rounding is a bound, seldom reached: where neighbours agree closely it is far smaller than it might be.
        doubt = np.maximum(np.maximum(changes[1:], changes[:-1]), rounding[1:-1] / 8)
    doubt = np.where(np.isnan(doubt), np.inf, doubt)
    best = doubt.argmin(axis=0)[None]
    value, uncertainty, bound = (np.take_along_axis(a, best, 0)[0] for a in (values[1:-1], doubt, rounding[1:-1]))
    return Derivative(value, 4 * uncertainty, uncertainty > 8 * bound)


def complex_step(line: Callable[[complex], np.ndarray], size: float) -> Derivative:
    r""":math:`\mathrm{Im}\, f(x + ih) / h` with a tiny h: no difference, no lost digits; for analytic functions alone.

    Source:
        Squire, Trapp, Using complex variables to estimate derivatives of real functions, 1998.
    """
    h = 1e-20 * size
    y = line(1j * h)
    return Derivative(y.imag / h, 16 * np.finfo(float).eps * np.abs(y.imag / h))
