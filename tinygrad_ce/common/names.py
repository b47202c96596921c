"""Names that are still free."""

from __future__ import annotations


def free(name: str, used: set[str], joint: str = "") -> str:
    """A name that nothing else has: the one given, with a number if it is taken. From then on it is used.

    Example:
        >>> used = {"x"}
        >>> free("x", used), free("x", used)
        ('x2', 'x3')
    """
    found, k = name, 2
    while found in used:
        found, k = f"{name}{joint}{k}", k + 1
    used.add(found)
    return found
