"""Lists, tuples and dicts, nested in any way: what they hold, and the same containers around something else."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What a container holds that is no container itself, each with its path.

    Example:
        >>> [*leaves({"w": [1, 2], "b": 3})]
        [("['w'][0]", 1), ("['w'][1]", 2), ("['b']", 3)]
    """
    if not isinstance(tree, dict | list | tuple):
        yield path, tree
        return
    for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield from leaves(part, f"{path}[{key!r}]")


def rebuilt(tree: Any, values: Iterator[Any]) -> Any:
    """The same containers around the next values, in the order of ``leaves``; those that are given stay as they are.

    Example:
        >>> rebuilt({"w": [1, 2], "b": 3}, iter("xyz"))
        {'w': ['x', 'y'], 'b': 'z'}
    """
    if isinstance(tree, dict):
        made = copy.copy(tree)  # of the same kind, such as OrderedDict
        made.update((key, rebuilt(part, values)) for key, part in tree.items())
        return made
    if isinstance(tree, list | tuple):
        parts = [rebuilt(part, values) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)  # a NamedTuple takes them singly
    return next(values)
