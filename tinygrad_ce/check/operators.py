"""The check of a registered operator over its own examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.check.gradcheck import gradcheck
from tinygrad_ce.check.report import Report
from tinygrad_ce.engine.primitive import Operator, registry
from tinygrad_ce.ops.example import realise


class Check(NamedTuple):
    """An operator's check: the larger relative error over its examples, by order, and the first report that fails."""

    name: str
    examples: int
    first: float
    second: float
    failed: Report | None


def check_operator(name: str, dtype: Any = np.float64, seed: int = 0) -> Check:
    """Check every example of a registered operator at order 1 and 2."""
    operator = registry[name]
    calls = example_calls(operator, dtype, seed)
    reports = [gradcheck(f, inputs, order=order, raises=False) for f, inputs in calls for order in (1, 2)]
    failed = next((report for report in reports if not report), None)
    return Check(name, len(operator.examples), _largest(reports, 1), _largest(reports, 2), failed)


def _largest(reports: list[Report], order: int) -> float:
    return max((report.error for report in reports if report.order == order), default=0.0)


def example_calls(operator: Operator, dtype: Any, seed: int) -> Iterator[tuple[Callable[..., Any], list[np.ndarray]]]:
    """Each example of an operator as a function of its drawn inputs, and those inputs in a dtype."""
    for k, example in enumerate(operator.examples):
        inputs, build = realise(example, np.random.default_rng([seed, k]))

        def call(*values: Any, build: Callable[[list[Any]], Any] = build) -> Any:
            args, kwargs = build(list(values))
            return operator(*args, **kwargs)

        yield call, [x.astype(dtype) for x in inputs]
