"""Unrolled loops in a pass: their states, the names that were written over in them, and the turn that made a call."""

from __future__ import annotations

import dis
import types
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tinygrad_ce.common.names import free

Value: TypeAlias = Any  # those of a Trace, which is made with this file's help
Call: TypeAlias = Any

LARGEST = 500  # calls among which an earlier state is looked for
TRIES = 8  # of them that could be one
_INDICES = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

Pairs = dict[Value, Value]  # what took part in one turn, and its counterpart in the turn before


@dataclass(eq=False)
class Loop:
    """The states of a loop, oldest first, and the pairs of each turn from the second on."""

    states: list[Value]
    pairs: list[Pairs]


def written_over(code: types.CodeType) -> set[str]:
    """The names that code assigns in a loop, or more than once.

    Example:
        >>> sorted(written_over(compile("a = b = c = 0; b = 1\\nwhile a: c += 1", "", "exec")))
        ['b', 'c']
    """
    stores: dict[str, list[int]] = {}
    loops: list[tuple[int, int]] = []
    for step in dis.get_instructions(code):
        if step.opname.startswith("STORE_"):
            for name in step.argval if isinstance(step.argval, tuple) else [step.argval]:
                stores.setdefault(str(name), []).append(step.offset)
        elif "JUMP_BACKWARD" in step.opname:
            loops.append((step.argval, step.offset))
    inside = {name for name, places in stores.items() if any(a <= places[0] <= b for a, b in loops)}
    return inside | {name for name, places in stores.items() if len(places) > 1}


def loops(values: Sequence[Value], rewritten: Collection[str]) -> list[Loop]:
    """The loops whose last state has a name.

    A loop is told by what it leaves: a state is made of the one before by the same operators, at least two, and from
    the same weights, as that one was of the one before it. Where a name is known to be written over, one operator will
    do, and each turn may have weights of its own.
    """
    found = (_loop(value, value.name in rewritten) for value in values if value.named and value.made_by)
    return [loop for loop in found if loop]


def _loop(last: Value, rewritten: bool) -> Loop | None:
    for before in _candidates(last):
        pairs = _pairs(last, before, not rewritten)
        if pairs is None or (not rewritten and sum(bool(value.made_by) for value in pairs) <= 2):
            continue
        loop = Loop([before, last], [])
        while pairs is not None:
            loop.pairs.insert(0, pairs)
            older = pairs[loop.states[0]]
            pairs = None
            if _alike(older, last) and not older.named:
                pairs = _pairs(loop.states[0], older, not rewritten)
                loop.states.insert(0, older)
        return loop
    return None


def _alike(value: Value, other: Value) -> bool:
    made, wanted = value.made_by, other.made_by
    return bool(made and wanted and made.operator == wanted.operator and value.array.shape == other.array.shape)


def _candidates(last: Value) -> Iterator[Value]:
    """The nearest values without a name that a value is made of, made by the same operator, of the same shape."""
    waiting, seen, tried = deque([last]), {last}, 0
    while waiting and len(seen) < LARGEST and tried < TRIES:
        value = waiting.popleft()
        if value is not last and not value.named and _alike(value, last):
            tried += 1
            yield value
        for operand in value.made_by.operands.values() if value.made_by else ():
            if operand not in seen:
                seen.add(operand)
                waiting.append(operand)


def _pairs(late: Value, early: Value, strict: bool) -> Pairs | None:
    """The counterparts of all that made a state since the one before; none if that one was not made alike.

    What is strict asks for a parameter of both turns, and for none that differs.
    """
    pairs: Pairs = {}
    waiting = [(late, early)]
    while waiting and len(pairs) <= LARGEST:
        a, b = waiting.pop()
        if a in pairs:
            continue
        pairs[a] = b
        if a is early or a is b or a.made_by is None or a.made_by.number < early.made_by.number:
            continue  # the turn begins here
        if not _alike(b, a):
            return None
        waiting += zip(a.made_by.operands.values(), b.made_by.operands.values(), strict=False)
    shared = {a is b for a, b in pairs.items() if a.kind == "parameter"}
    return pairs if early in pairs and not waiting and (not strict or shared == {True}) else None


def name_states(found: Sequence[Loop], output: Value, used: set[str]) -> None:
    """Give what a loop wrote over its name again, with the turn's number: h₁, h₂, …; h₀ is what it began with.

    A loss that was added up in a loop keeps its own name.
    """
    for loop in found:
        for last in [value for value in loop.pairs[-1] if value.named and value.kind != "number"]:
            history, name = _history(last, loop), last.name
            for back, value in enumerate(history if len(history) > 1 else ()):
                value.named = True
                if value is not output or value.array.size > 1:
                    value.name = free(name + str(len(loop.states) - back).translate(_INDICES), used)


def _history(last: Value, loop: Loop) -> list[Value]:
    """A value of the last turn and its counterparts in earlier ones, newest first."""
    history = [last]
    for pairs in [*reversed(loop.pairs), loop.pairs[0]]:
        older = pairs.get(history[-1])
        if older is None or older.named or older.array.shape != last.array.shape:
            break
        history.append(older)
    return history


def turns(found: Sequence[Loop], calls: Sequence[Call]) -> dict[int, int]:
    """Which turn of a loop each call belongs to, by its number; those of one loop after those of another."""
    ends = [state for loop in _apart(found) for state in loop.states]
    turn: dict[int, int] = {}
    for k, end in enumerate(ends, 1):
        waiting = [end]
        while waiting:
            made = waiting.pop().made_by
            if made and made.number not in turn:
                turn[made.number] = k
                waiting += made.operands.values()
    after = [call for call in calls if call.number not in turn]  # what no state is made of follows its latest operand
    for call in after:
        made_of = (turn[o.made_by.number] for o in call.operands.values() if o.made_by)
        turn[call.number] = max(made_of, default=1)
    if all(turn[call.number] == len(ends) for call in after):
        turn.update({call.number: len(ends) + 1 for call in after})
    return turn


def _apart(found: Sequence[Loop]) -> list[Loop]:
    """The longest loops, of which none overlap: where one has several states, that which is made last."""
    chosen: list[tuple[int, int, Loop]] = []
    for loop in sorted(found, key=lambda loop: (len(loop.states), _number_of(loop.states[-1])), reverse=True):
        first, last = _number_of(loop.states[0]), _number_of(loop.states[-1])
        if all(last < a or b < first for a, b, _ in chosen):
            chosen.append((first, last, loop))
    return [loop for _, _, loop in sorted(chosen, key=lambda place: place[0])]


def _number_of(state: Value) -> int:
    return state.made_by.number if state.made_by else 0
