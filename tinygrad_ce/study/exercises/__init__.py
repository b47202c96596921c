"""The course's exercises: one module for each notebook, in the order in which the notebook sets them.

The module has the notebook's name without the number. In it, each exercise is one declaration: a function that has the
answer's name and arguments and gives what is right, below ``@exercise`` with the inputs, what may not be called, and
the usual mistakes (see ``study/exercise.py``, and ``softmax.py`` for examples). The notebook holds what is asked, a
cell with ``...`` that ends in ``study.check(name, exercises.name)``, and below that cell the solution, folded.
"""

from __future__ import annotations

import importlib
import pkgutil

from tinygrad_ce.study.exercise import Exercise


def exercises_of(notebook: str) -> dict[str, Exercise]:
    """A notebook's exercises by their names, in order; its name is as ``01_softmax`` or ``softmax``.

    Example:
        >>> list(exercises_of("01_softmax"))[:2]
        ['my_softmax', 'batch_softmax']
    """
    module = importlib.import_module(f"{__name__}.{notebook.lstrip('0123456789_')}")
    return {made.name: made for made in vars(module).values() if isinstance(made, Exercise)}


def has_exercises(notebook: str) -> bool:
    """Whether there is a module of a notebook's exercises."""
    return notebook.lstrip("0123456789_") in {module.name for module in pkgutil.iter_modules(__path__)}
