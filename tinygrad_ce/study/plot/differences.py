"""Finite differences against the engine's gradient, by their step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ce.engine.node import recording
from tinygrad_ce.study.plot import drawing
from tinygrad_ce.study.plot.arguments import check_entries, numbers
from tinygrad_ce.tensor import Tensor
from tinygrad_ce.transforms import grad


def step_sweep(
    f: Callable[[Any], Any], x: Any, *, steps: Any = None, complex_step: bool = False, ax: Any = None
) -> Any:
    r"""The error of finite differences against the engine's gradient, over the step h: the V.

    One-sided, :math:`(f(x + h) - f(x)) / h`, has a truncation of order h; central, :math:`(f(x + h) - f(x - h)) / 2h`,
    of order h²; both lose eps / h to rounding, so each is best at a step between. The complex step,
    :math:`\mathrm{Im} f(x + ih) / h`, subtracts nothing and loses nothing. A dot marks the best step of each. The
    error is the largest over the entries of x, relative to the largest entry of the gradient; one below eps is drawn
    at eps.

    Args:
        f: a function of x made of tg's operators that returns a single number.
        x: a number or an array, taken as float64.
        steps: the steps h, above 0; 1e-16 to 1, three to a decade, unless given.
        complex_step: whether to draw the complex step; f is then called with complex arrays.

    Raises:
        TypeError: f leaves the graph, or doesn't take complex arrays though complex_step asks for it.
        ValueError: f isn't a single finite number, its gradient is 0 or not finite, or a step isn't above 0.

    Example:
        >>> import matplotlib.pyplot as plt, tinygrad_ce as tg
        >>> from tinygrad_ce.study import plot
        >>> ax = plot.step_sweep(tg.exp, 1.0, complex_step=True)
        >>> [bool(min(line.get_ydata()) < 1e-9) for line in ax.lines]
        [False, True, True]
        >>> plt.close(ax.figure)

    Source:
        Squire, Trapp, Using complex variables to estimate derivatives of real functions, 1998.
    """
    where = "plot.step_sweep"
    point = np.array(numbers(where, "x", x, None))
    hs = np.logspace(-16, 0, 49) if steps is None else numbers(where, "steps", steps, 1)
    check_entries(where, "steps", hs, hs > 0, "a step above 0")
    hs = np.sort(hs)
    exact = _gradient(where, f, point)
    errors = _difference_errors(where, f, point, exact, hs, complex_step)
    ax = drawing.axes_of(where, ax)
    for (name, error), colour, marker in zip(errors.items(), drawing.PALETTE, "os^", strict=False):
        best = int(np.argmin(error))
        ax.plot(hs, error, color=colour, label=name, marker=marker, markevery=[best], markersize=6)
    ax.set(xscale="log", yscale="log")
    drawing.finish(ax, "Finite differences, by step", "step h", "relative error", grid="both")
    ax.legend(loc="upper center", fontsize=drawing.NOTE, **drawing.TIGHT)
    return ax


def _gradient(where: str, f: Callable[[Any], Any], point: np.ndarray) -> np.ndarray:
    """The engine's gradient of f."""
    leaf = Tensor(point, requires_grad=True)
    with recording():
        y = f(leaf)
        if not isinstance(y, Tensor):
            raise TypeError(
                f"{where}: f returned {type(y).__name__}, expected a Tensor; does it leave the graph, by .data, "
                f".numpy(), .item() or float(), or by a function of another library?"
            )
        if y.size != 1 or not np.isfinite(y._value).all():
            raise ValueError(f"{where}: f(x) is {y._value} of shape {y.shape}, expected a single finite number")
        exact = np.asarray(grad(y, leaf, np.ones(y.shape))._value) if y.requires_grad else np.zeros(point.shape)
    if not np.isfinite(exact).all() or not exact.any():
        raise ValueError(
            f"{where}: the gradient at x is {exact}, and there is no error relative to it; choose another x"
        )
    return exact


def _difference_errors(
    where: str, f: Callable[[Any], Any], point: np.ndarray, exact: np.ndarray, hs: np.ndarray, complex_step: bool
) -> dict[str, np.ndarray]:
    """The error of each formula for each step: the largest, relative to the largest entry of the gradient."""
    directions = np.eye(point.size).reshape(-1, *point.shape)

    def value(x: np.ndarray) -> Any:
        return np.asarray(f(Tensor(x))._value, float).item()

    def imaginary(x: np.ndarray) -> float:
        try:
            y = np.asarray(f(x))
        except (TypeError, ValueError) as error:
            raise TypeError(f"{where}: f does not take complex arrays, as complex_step needs: {error}") from None
        if y.dtype.kind != "c" or y.size != 1:
            raise TypeError(
                f"{where}: f made {y.dtype} {y.shape} of complex numbers, and complex_step needs one complex number; "
                f"an operator that is not analytic, such as abs or max?"
            )
        return float(y.item().imag)

    start = value(point)
    formulas: dict[str, Callable[[Any, float], float]] = {
        "one-sided": lambda d, h: (value(point + h * d) - start) / h,
        "central": lambda d, h: (value(point + h * d) - value(point - h * d)) / (2 * h),
    }
    if complex_step:
        formulas["complex step"] = lambda d, h: imaginary(point + 1j * h * d) / h
    found = {name: np.array([[f(d, h) for d in directions] for h in hs]) for name, f in formulas.items()}
    errors = {name: np.abs(rows - exact.ravel()).max(axis=1) / np.abs(exact).max() for name, rows in found.items()}
    return {name: np.maximum(error, np.finfo(float).eps) for name, error in errors.items()}  # the axis is logarithmic
