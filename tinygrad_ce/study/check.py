"""check: compare an exercise's answer with the truth, and say what is wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.common.terminal import say
from tinygrad_ce.study.difference import difference, plain
from tinygrad_ce.study.exercise import OPEN, Exercise, Result
from tinygrad_ce.study.language import translate


def check(answer: Any, truth: Any, *, rtol: float = 1e-5, atol: float = 1e-9) -> Result:
    """Print whether an answer is right and, if it is wrong, what is wrong: the mistake if it is a usual one, an index.

    Args:
        answer: numbers of any shape, or a Tensor; ``...`` or None is an exercise that nobody has done yet.
        truth: what the answer should be; text and bools are compared as they are. Or an Exercise of the course: then
            the answer is a function, which is asked anew each time, with other inputs.
        rtol: the relative difference that counts as right (an Exercise has its own).
        atol: the absolute difference that counts as right.

    Returns:
        A Result: true if the answer is right, with its ``verdict``, ``message`` and ``points``.

    Example:
        >>> import tinygrad_ce as tg
        >>> result = tg.study.check([0.5, 0.25, 0.5], [0.5, 0.25, 0.25])
        ✗ index [2] is the first that is wrong: 0.5, expected 0.25 (1 of 3 entries are wrong)
        >>> result.verdict, bool(result)
        ('wrong', False)
        >>> result = tg.study.check(tg.softmax([0.0, 0.0]), [0.5, 0.5])
        ✓ right: all 2 entries
        >>> result = tg.study.check(..., 3)
        … not answered yet: put your answer in the place of ...
    """
    result = truth.judge(answer) if isinstance(truth, Exercise) else _compared(answer, truth, rtol, atol)
    say(result.message)
    return result


def _compared(answer: Any, truth: Any, rtol: float, atol: float) -> Result:
    if answer is None or answer is ...:
        return Result("", "open", translate(OPEN), 0, 1)
    if wrong := difference(answer, truth, rtol, atol):
        return Result("", "wrong", f"✗ {wrong}", 0, 1)
    size = np.asarray(plain(answer)).size
    right = translate("✓ right: all {size} entries", size=size) if size > 1 else translate("✓ right")
    return Result("", "right", right, 1, 1)
