"""Exercises: every one of the course gets its solution, its usual mistakes, and what is no answer; and the verdicts."""

import functools
import itertools
import pathlib
import sys
import tempfile
import threading

import numpy as np
import pytest
from course import COURSE, answer_of, solutions

import tinygrad_ce as tg
from tinygrad_ce import study
from tinygrad_ce.study.exercises import exercises_of, has_exercises

BOOKS = {path.stem: path for path in COURSE if has_exercises(path.stem)}
EVERY = [(stem, name) for stem in BOOKS for name in exercises_of(stem)]


@functools.cache
def solution_of(stem, name):
    with tempfile.TemporaryDirectory() as folder:
        return answer_of(BOOKS[stem], name, solutions(BOOKS[stem])[name], pathlib.Path(folder))


@pytest.fixture(params=EVERY, ids="-".join)
def one(request):
    """An exercise, and the answer that its notebook's solution is."""
    stem, name = request.param
    return exercises_of(stem)[name], solution_of(stem, name)


def test_the_solution_is_right(one):
    exercise, solution = one
    for seed in range(3):
        assert exercise.judge(solution, seed).message == "✓ right"


def test_every_mistake_is_known_by_its_sentence(one):
    exercise, _ = one
    assert len(exercise.mistakes) >= 4
    for seed, (said, wrong) in itertools.product(range(3), exercise.mistakes.items()):
        result = exercise.judge(wrong, seed)
        assert result.verdict in ("wrong", "half"), (said, result)
        assert said in result.message, (said, result)
        assert result.points < result.of


def test_a_constant_is_wrong(one):
    exercise, _ = one
    for constant in (3.7, 0.0, 1, np.zeros(3), (1.0, 2.0), "text", True, [], {}):
        assert exercise.judge(constant).verdict == "wrong"
        result = exercise.judge(lambda *inputs, constant=constant: constant, 0)
        assert (result.verdict, result.points) in (("wrong", 0), ("error", 0)), result


def test_what_was_right_for_other_inputs_is_wrong(one):
    exercise, solution = one
    first = []

    def remembers(*inputs):
        first.append(first[0] if first else solution(*inputs))
        return first[0]

    assert not exercise.judge(remembers)


def test_an_exception_is_a_hint_with_its_line(one):
    exercise, _ = one

    def answer(*inputs):
        return 1 / (len(inputs) * 0)

    result = exercise.judge(answer)
    assert (result.verdict, result.points) == ("error", 0)
    assert result.message.startswith("✗ line 2 of answer, `return 1 / (len(inputs) * 0)`: ZeroDivisionError: ")


def test_no_answer_is_open(one):
    for nothing in (..., None, lambda *inputs: ..., lambda *inputs: None, lambda *inputs: (..., ...)):
        result = one[0].judge(nothing)
        assert (result.verdict, result.points) == ("open", 0), result


def test_half_an_answer_is_told_as_half(one):
    exercise, solution = one
    calls = []

    def at_times(*inputs):
        calls.append(inputs)
        return solution(*inputs) if len(calls) % 2 else None

    halves = [at_times]
    if exercise.use is type(exercise).use:  # what is returned are the parts
        halves += [lambda *i, k=k: [*solution(*i)[:k], ..., *solution(*i)[k + 1 :]] for k in range(len(exercise.parts))]
    for half in halves:
        result = exercise.judge(half)
        assert (result.verdict, result.points) == ("half", exercise.points / 2), result
        assert result.message.startswith("… half of it is done: ")


def with_helper(x):
    return softmax(x)


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def swallows(x):
    try:
        return tg.softmax(x)
    except Exception:
        return softmax(x)


def hidden(x):
    sys.setprofile(None)
    return tg.softmax(x)


def in_a_thread(x):
    found = []
    thread = threading.Thread(target=lambda: found.append(tg.softmax(x)))
    thread.start()
    thread.join()
    return found[0]


def by_its_gradient(x):
    logits = tg.Tensor(x, requires_grad=True)
    tg.cross_entropy(logits, 0).backward()
    return logits.grad + np.eye(len(x))[0]


SHORTCUTS = {
    "hidden": hidden,
    "in a thread": in_a_thread,
    "by its gradient": by_its_gradient,
    "called": lambda x: tg.softmax(x),
    "the engine's function itself": tg.softmax,
    "under another name": functools.partial(tg.softmax, axis=-1),
    "found by its name": lambda x: getattr(tg, "soft" + "max")(x),
    "by its logarithm": lambda x: np.exp(tg.log_softmax(x)),
    "on a Tensor": lambda x: tg.softmax(tg.Tensor(x)),
    "as a default": lambda x, f=tg.softmax: f(x),
    "of another library": lambda x: __import__("scipy.special").special.softmax(x),
    "in a try": swallows,
    "what the check knows": lambda x: exercises_of("01_softmax")["my_softmax"].truth(x),
}


@pytest.mark.parametrize("way", SHORTCUTS)
def test_a_shortcut_is_refused_whichever_way_it_is_called(way):
    result = exercises_of("01_softmax")["my_softmax"].judge(SHORTCUTS[way])
    assert (result.verdict, result.points) == ("shortcut", 0), result
    assert "what you are to write" in result.message


def test_the_truth_is_a_shortcut_too_and_a_helper_of_ones_own_is_none():
    lead, my_softmax = exercises_of("01_softmax")["lead"], exercises_of("01_softmax")["my_softmax"]
    assert lead.judge(lead.truth).verdict == "shortcut"
    assert lead.judge(lambda p: lead.truth(p)).verdict == "shortcut"
    assert my_softmax.judge(with_helper)
    assert my_softmax.judge(functools.partial(with_helper))


def test_inputs_are_drawn_anew_and_an_answer_may_change_them():
    seen = []

    def answer(x):
        seen.append(x.tolist())
        x -= x.max()
        return np.exp(x) / np.exp(x).sum()

    my_softmax = exercises_of("01_softmax")["my_softmax"]
    assert my_softmax.judge(answer)
    assert my_softmax.judge(answer)
    assert len({tuple(x) for x in seen}) == len(seen) == 6
    seen.clear()
    my_softmax.judge(answer, 1)
    my_softmax.judge(answer, 1)
    assert seen[:3] == seen[3:]


def test_a_place_that_was_left_open_is_told_with_its_line():
    def my_softmax(x):
        e = np.exp(x)
        return e / ...

    result = exercises_of("01_softmax")["my_softmax"].judge(my_softmax)
    assert (result.verdict, result.points) == ("half", 0.5)
    assert result.message == "… half of it is done: line 3 of my_softmax, `return e / ...`: a ... is left"


def test_one_part_alone_and_too_many_are_told(capsys):
    matmul_rules = exercises_of("04_backprop_by_hand")["matmul_rules"]
    assert study.check(lambda G, X, W: X.T @ G, matmul_rules).verdict == "half"
    assert not study.check(lambda G, X, W: (G, X, W), matmul_rules)
    assert capsys.readouterr().out == (
        "… half of it is done: matmul_rules returns one of the parts alone, expected 2: "
        "the gradient in X, the gradient in W\n"
        "✗ matmul_rules returns 3 values, expected 2: the gradient in X, the gradient in W\n"
    )


def test_what_is_no_function_is_told():
    result = exercises_of("01_softmax")["lead"].judge(3.7)
    assert result.message == "✗ lead is of type float, expected a function: its inputs are drawn anew"
