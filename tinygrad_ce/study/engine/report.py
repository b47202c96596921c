"""check_engine: an engine that somebody has written, held against this one, milestone by milestone."""

from __future__ import annotations

from typing import Any

from tinygrad_ce.common.terminal import say
from tinygrad_ce.study.engine.beside import beside
from tinygrad_ce.study.engine.case import Check, Fault, raised
from tinygrad_ce.study.engine.checks import CHECKS, MILESTONES
from tinygrad_ce.study.engine.limit import TimeUp, within
from tinygrad_ce.study.engine.protocol import SYMBOLS, Engine, Nonsense, NotYet

LIMIT = {7: 60.0}  # seconds that a check may take, by milestone; else:
SECONDS = 5.0


class EngineReport:
    """What a check of an engine found; printed, a line for each milestone, and what is wrong.

    ``findings`` are the things that are wrong, ``missing`` the names that aren't there yet, by milestone, ``standing``
    the numbers of the milestones that stand. It is true if all milestones that were asked for stand.

    Example:
        >>> import tinygrad_ce as tg
        >>> report = tg.study.check_engine(tg, milestone=2)
        ✓ milestone 2, topological order: 8 checks pass
        >>> bool(report), report.standing
        (True, (2,))
    """

    def __init__(self, milestones: tuple[int, ...]) -> None:
        self.milestones = milestones
        self.findings: list[Fault] = []
        self.missing: dict[int, list[str]] = {k: [] for k in milestones}
        self.optional: list[str] = []
        self.passed = dict.fromkeys(milestones, 0)
        self.asked = dict.fromkeys(milestones, 0)
        self.failed: set[int] = set()
        self.waiting: set[int] = set()
        self.table: list[str] = []

    @property
    def standing(self) -> tuple[int, ...]:
        """The milestones of which all is there and right."""
        bad = self.failed | self.waiting | {k for k, names in self.missing.items() if names}
        return tuple(k for k in self.milestones if k not in bad)

    def miss(self, check: Check, name: str) -> None:
        """Note what a check needs, and isn't there."""
        names = self.optional if check.optional else self.missing[check.milestone]
        if name not in [*names, *self.missing[check.milestone]]:
            names.append(name)

    def __bool__(self) -> bool:
        return self.standing == self.milestones

    def __str__(self) -> str:
        if len(self.milestones) == 1:
            lines = [self._state(self.milestones[0], "milestone {k}, {name}: ")]
        else:
            lines = [f"{len(self.standing)} of {len(self.milestones)} milestones stand", ""]
            lines += [f"  {self._state(k, '{k} {name:26}')}" for k in self.milestones]
        lines += [f"\n✗ {finding}" for finding in self.findings]
        if self.optional and len(self.milestones) > 1:
            lines.append(f"\nnot there, and not needed: {', '.join(self.optional)}")
        return "\n".join([*lines, *self.table])

    __repr__ = __str__

    def _ipython_display_(self) -> None:
        """Nothing: ``check_engine`` has printed it."""

    def _state(self, k: int, place: str) -> str:
        where = place.format(k=k, name=MILESTONES[k - 1])
        if k in self.failed:
            return f"✗ {where}{self.passed[k]} of {self.asked[k]} checks pass"
        if self.missing[k]:
            return f"… {where}not answered yet: {', '.join(self.missing[k])}"
        if k in self.waiting:
            return f"… {where}waits for what is wrong above"
        return f"✓ {where}{self.passed[k]} check{'s pass' if self.passed[k] > 1 else ' passes'}"


def check_engine(theirs: Any, *, milestone: int | None = None, seconds: float = SECONDS) -> EngineReport:
    """Hold an engine that you have written against this one; print what is wrong, where, and the likely cause.

    Every operator's value and gradients are compared with this package's, entry by entry; then the reverse pass, on
    values that are used more than once and on random graphs; then confident rows, whose loss is lost easily; last a
    layer, a step, and a training on digits. What isn't there is "not yet", and no fault. What is wrong is told once:
    what needs it waits. What raises, never ends, or gives nonsense is a finding like others.

    An engine needs, by milestone:

    1. a class ``Tensor`` (or ``Value``), made of numbers, with ``.data``, ``.grad``, ``.backward()`` and Python's
       ``+ - * / **``; ``exp``, ``log``, ``tanh``, ``relu``
    2. a reverse pass that is right for every graph
    3. arrays: operators broadcast; ``sum``, ``mean``, with ``axis`` and ``keepdims``
    4. ``@`` of matrices
    5. ``softmax(x)`` of rows, ``cross_entropy(x, labels)``: the mean over rows
    6. ``Linear(inputs, outputs)`` with ``parameters()``; ``SGD(parameters, lr)`` with ``step()`` and ``zero_grad()``
    7. ``train(x, labels)``, which returns a model: called with a Tensor of rows it gives logits

    ``exp`` and the like may be methods or functions. ``log``, ``tanh``, ``relu``, ``mean``, options of sums, and
    numbers as operands (``2 * x``) may be missing. Gradients add up until they are cleared.

    Args:
        theirs: a module, a dict such as ``globals()``, an object with such attributes, or the class alone.
        milestone: which one to check, 1 to 7; all of them unless given.
        seconds: what one check may take, before it counts as endless; a training has 60.

    Returns:
        An EngineReport, as printed; it is true if all stands. Then a table shows both engines' lines, accuracy, time.

    Raises:
        TypeError: theirs is nothing that could hold an engine.
        ValueError: milestone is no number from 1 to 7.

    Example:
        >>> import tinygrad_ce as tg
        >>> report = tg.study.check_engine(tg, milestone=4)
        ✓ milestone 4, matmul: 3 checks pass
        >>> report.findings
        []
    """
    if milestone is not None and milestone not in range(1, len(MILESTONES) + 1):
        raise ValueError(f"check_engine: milestone is {milestone!r}, expected a number from 1 to {len(MILESTONES)}")
    numbers = tuple(range(1, len(MILESTONES) + 1)) if milestone is None else (milestone,)
    engine, report, broken = Engine(theirs), EngineReport(numbers), set[str]()
    for check in CHECKS:
        if check.milestone in numbers:
            _judge(engine, check, report, broken, seconds)
    if report and milestone is None:
        report.table = beside(engine)
    say(str(report))
    return report


def _judge(engine: Engine, check: Check, report: EngineReport, broken: set[str], seconds: float) -> None:
    """Run a check; what is wrong because of something that was told before is not told again."""
    k = check.milestone
    report.asked[k] += 1
    if broken & {"time", "backward"} or (
        broken - {"twice"} and k == len(MILESTONES)
    ):  # a training would not tell what is wrong
        report.waiting.add(k)
        return
    engine.used.clear()
    try:
        found = _findings(engine, check, max(seconds, LIMIT.get(k, 0.0)))
    except NotYet as missing:
        report.miss(check, str(missing))
        return
    except TimeUp as late:
        found = [Fault(check.title, str(late), check.hint or "a loop or a recursion that never ends?")]
        broken.add("time")
    if not found:
        report.passed[k] += 1
    elif broken & {*engine.used, *check.about}:
        report.waiting.add(k)
    else:
        causes: dict[Any, Fault] = {}
        for finding in found:
            causes.setdefault(finding.cause or finding, finding)
        report.findings += causes.values()  # each cause is told once
        report.failed.add(k)
        broken |= {*check.about} or {"backward"}


def _findings(engine: Engine, check: Check, seconds: float) -> list[Fault]:
    """What a check finds; an error in the engine is a finding, too."""
    try:
        return list(within(seconds, lambda: list(check.run(engine))))
    except (KeyboardInterrupt, NotYet):
        raise
    except TimeUp:
        raise TimeUp(f"isn't done after {seconds:g} s") from None
    except Nonsense as nonsense:
        return [Fault(check.title, str(nonsense), check.hint)]
    except BaseException as error:
        if "ellipsis" in str(error):  # an answer is made of one that is still ...
            name = check.about[0] if check.about else check.title
            raise NotYet(SYMBOLS.get(name, name)) from None
        return [raised(check.title, error, check.hint)]
