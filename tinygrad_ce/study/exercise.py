"""An exercise: what is asked, what is right, what is no answer, and the usual mistakes. From it comes every verdict."""

from __future__ import annotations

import copy
import functools
import inspect
import linecache
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ce.study.difference import difference, plain
from tinygrad_ce.study.language import translate
from tinygrad_ce.study.numbers import number

OPEN = "… not answered yet: put your answer in the place of ..."
_WORST_FIRST = ("shortcut", "error", "wrong", "half", "open", "right")
LINE = 100  # letters of inputs that are printed
_HIDING = "sys.setprofile"
DRAWS = 3  # of each case's inputs; so a constant can't be right by chance

Draw = Callable[[np.random.Generator], tuple[Any, ...]]


@dataclass(frozen=True)
class Result:
    """What a check has found.

    ``verdict`` is "right", "half", "wrong", "error", "shortcut" or "open"; ``message`` is the line that says why;
    ``points`` of ``of`` are earned. It is true if the answer is right.
    """

    exercise: str
    verdict: str
    message: str
    points: float
    of: float

    def __bool__(self) -> bool:
        return self.verdict == "right"

    def _ipython_display_(self) -> None:
        """Nothing: ``check`` has printed the message."""


class Found(NamedTuple):
    """What one part of an answer was, for one draw of inputs."""

    verdict: str
    words: str = ""


def exercise(cases: Draw | Mapping[str, Draw], **options: Any) -> Callable[[Callable[..., Any]], Exercise]:
    """Make an Exercise of the function that knows the truth; the options are the fields of Exercise.

    Example:
        >>> import numpy as np
        >>> import tinygrad_ce as tg
        >>> @exercise(
        ...     lambda rng: (rng.normal(size=4),),
        ...     forbidden="softmax log_softmax",
        ...     mistakes={"the exponentials aren't divided by their sum": np.exp},
        ... )
        ... def my_softmax(x):
        ...     return tg.softmax(x)
        >>> my_softmax.judge(lambda x: np.exp(x) / np.exp(x).sum()).message
        '✓ right'
        >>> my_softmax.judge(np.exp, seed=0).message.partition(". ")[0]
        "✗ the exponentials aren't divided by their sum"
        >>> my_softmax.judge(tg.softmax).verdict
        'shortcut'
    """

    def make(truth: Callable[..., Any]) -> Exercise:
        return Exercise(truth, cases if isinstance(cases, Mapping) else {"": cases}, **options)

    return make


@dataclass(frozen=True)
class Exercise:
    """An exercise: ``judge`` gives the verdict on an answer.

    Args:
        truth: gives what is right, from the inputs. Its name is that of the answer.
        cases: draws the inputs, from a generator of random numbers: one function for each kind of inputs that an
            answer can be right for, by a name that completes "right for ...".
        mistakes: wrong answers, by the sentence that says what is wrong with each.
        forbidden: names of functions, separated by spaces, that the answer may not call, from whatever library.
        parts: what each part of an answer is that consists of more than one, as "the gradient in W".
        use: how an answer is asked, if not as ``answer(*inputs)``. The truth and the mistakes are asked likewise.
        points: what a right answer earns; half of it, half an answer.
        rtol: the relative difference that counts as right.
        atol: the absolute difference that counts as right.
    """

    truth: Callable[..., Any]
    cases: Mapping[str, Draw]
    mistakes: Mapping[str, Callable[..., Any]]
    forbidden: str = ""
    parts: tuple[str, ...] = ()
    use: Callable[..., Any] = lambda answer, *inputs: answer(*inputs)
    points: float = 1
    rtol: float = 1e-6
    atol: float = 1e-9

    @property
    def name(self) -> str:
        """The name of the answer."""
        return self.truth.__name__

    def judge(self, answer: Any, seed: int | None = None) -> Result:
        """The verdict on an answer, for inputs that are drawn from a seed, or anew."""
        if blank(answer):
            return self._result("open", translate(OPEN))
        if not callable(answer):
            said = translate("{name} is of type {kind}, expected a function: its inputs are drawn anew",
                             name=self.name, kind=type(answer).__name__)  # fmt: skip
            return self._result("wrong", f"✗ {said}")
        rng = np.random.default_rng(seed)
        found: dict[str, list[Found]] = {}  # of each part in each case
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            for case, draw in self.cases.items():
                kind = translate("for {case}", case=translate(case)) if case else ""
                for inputs in (draw(rng) for _ in range(DRAWS)):
                    for part, one in self._ask(answer, inputs).items():
                        found.setdefault(" ".join(filter(None, [translate(part), kind])), []).append(one)
        return self._summary(found)

    def _summary(self, found: Mapping[str, list[Found]]) -> Result:
        every = sorted(
            (one for draws in found.values() for one in draws), key=lambda one: _WORST_FIRST.index(one.verdict)
        )
        worst, best = every[0], every[-1]
        if worst.verdict == best.verdict == "right":
            return self._result("right", translate("✓ right"))
        if worst.verdict == best.verdict == "open":
            return self._result("open", translate(OPEN))
        good = [label for label, draws in found.items() if all(one.verdict == "right" for one in draws)]
        if worst.verdict != "shortcut" and (good or worst.verdict in ("half", "open")):
            right = translate("right: {parts}; but ", parts=", ".join(good)) if good else ""
            return self._result("half", translate("… half of it is done: {words}", words=right + worst.words))
        return self._result(worst.verdict, f"✗ {worst.words}")

    def _result(self, verdict: str, message: str) -> Result:
        earned = {"right": self.points, "half": self.points / 2}.get(verdict, 0)
        return Result(self.name, verdict, message, earned, self.points)

    def _ask(self, answer: Any, inputs: tuple[Any, ...]) -> dict[str, Found]:
        """What each part of an answer is for these inputs."""
        with _calls(self, answer) as called:
            try:
                output = self.use(answer, *copy.deepcopy(inputs))
            except (Exception, SystemExit) as error:
                return self._whole(_stopped(error, answer))
        if called:
            if called[-1] == _HIDING:
                words = translate(
                    "{name} calls {called}, which hides what you are to write", name=self.name, called=_HIDING
                )
            else:
                words = translate(
                    "{name} calls {called}, which is what you are to write", name=self.name, called=called[0]
                )
            return self._whole(Found("shortcut", words))
        if blank(output):
            return self._whole(Found("open", translate("nothing is returned" if output is None else "a ... is left")))
        truth = self.use(self.truth, *copy.deepcopy(inputs))
        if not self.parts:
            return {"": self._compare(output, truth, inputs)}
        wanted = translate("expected {n}: {parts}", n=len(self.parts), parts=", ".join(map(translate, self.parts)))
        if not isinstance(output, list | tuple):
            if any(not difference(output, one, self.rtol, self.atol) for one in truth):
                return self._whole(
                    Found("half", translate("{name} returns one of the parts alone", name=self.name) + f", {wanted}")
                )
            if np.ndim(plain(output)) == 0:
                return self._whole(
                    Found("wrong", translate("{name} returns one value", name=self.name) + f", {wanted}")
                )
        if len(output) != len(self.parts):
            return self._whole(
                Found("wrong", translate("{name} returns {n} values", name=self.name, n=len(output)) + f", {wanted}")
            )
        parts = enumerate(self.parts)
        return {part: self._compare(output[k], truth[k], inputs, part, k) for k, part in parts}

    def _whole(self, found: Found) -> dict[str, Found]:
        """The same of every part."""
        return dict.fromkeys(self.parts or ("",), found)

    def _compare(self, output: Any, truth: Any, inputs: tuple[Any, ...], part: str = "", k: int | None = None) -> Found:
        part = f"{translate(part)}: " if part else ""
        if blank(output):
            return Found("open", part + translate("a ... is left"))
        if isinstance(output, list | tuple) and any(map(blank, output)):
            return Found("half", part + translate("a ... is left in what {name} returns", name=self.name))
        wrong = difference(output, truth, self.rtol, self.atol)
        if not wrong:
            return Found("right")
        for said, mistake in self.mistakes.items():
            other = self.use(mistake, *copy.deepcopy(inputs))
            if not difference(output, other if k is None else other[k], self.rtol, self.atol):
                return Found("wrong", f"{part}{translate(said)}. {self._at(inputs)}{wrong}")
        return Found("wrong", f"{part}{self._at(inputs)}{wrong}")

    def _at(self, inputs: tuple[Any, ...]) -> str:
        """The inputs, as far as they are few numbers, to begin a sentence with."""
        names = inspect.signature(self.truth).parameters
        said = [f"{n} = {_short(plain(v))}" for n, v in zip(names, inputs, strict=False) if not callable(v)]
        line = ", ".join(said)
        return translate("At {inputs}: ", inputs=line) if said and len(line) < LINE else ""


def blank(output: Any) -> bool:
    """Whether nothing was answered yet."""
    if isinstance(output, list | tuple) and len(output):
        return all(map(blank, output))
    return output is None or output is ...


def _short(value: Any) -> str:
    """Numbers on one line."""
    many = isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim)
    return f"[{', '.join(map(_short, value))}]" if many else number(value)


@contextmanager
def _calls(asked: Exercise, answer: Any) -> Iterator[list[str]]:
    """Note which functions are called that may not be: the truth, and those of forbidden names but an answer's own."""
    called: list[str] = []
    forbidden, truth = asked.forbidden.lower().split(), getattr(asked.truth, "__code__", None)
    while isinstance(answer, functools.partial):
        answer = answer.func
    function = inspect.unwrap(answer)
    own = getattr(function, "__globals__", None) or getattr(type(function).__call__, "__globals__", {})
    if own.get("__package__"):  # the answer is a library's function itself
        own = None

    def note(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call":
            if code is truth or (frame.f_globals is not own and code.co_name.lower() in forbidden):
                called.append(code.co_name)
        elif event == "c_call" and argument.__name__.lower() in forbidden:
            called.append(argument.__name__)

    before = sys.getprofile()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield called
    finally:
        if sys.getprofile() is not note:
            called.append(_HIDING)
        sys.setprofile(before)
        threading.setprofile(None)


def _stopped(error: BaseException, answer: Any) -> Found:
    return stopped(error, getattr(getattr(inspect.unwrap(answer), "__code__", None), "co_filename", ""))


def stopped(error: BaseException, file: str) -> Found:
    """An exception, with the last line of a file through which it went, counted from its function's first."""
    where, name, first = "", "", 0
    for frame, line in _frames(error.__traceback__):
        code = frame.f_code
        if code.co_filename == file and (text := linecache.getline(file, line, frame.f_globals).strip()):
            if not code.co_name.startswith("<"):  # no lambda or comprehension, which belong to what is around them
                name, first = code.co_name, code.co_firstlineno
            of = translate("line {line} of {name}, ", line=line - first + 1, name=name) if name else ""
            where = f"{of}`{text}`: "
    if "ellipsis" in str(error):
        return Found("half", where + translate("a ... is left"))
    return Found("error", f"{where}{type(error).__name__}: {' '.join(str(error).split())}")


def _frames(traceback: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next
