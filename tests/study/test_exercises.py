"""Exercises: every one of the course gets its solution, its usual mistakes, and what is no answer; and the verdicts."""

import numpy as np
import pytest
from course import COURSE, answer_of, solutions

from tinygrad_ce.study.exercises import exercises_of, has_exercises

BOOKS = {path.stem: path for path in COURSE if has_exercises(path.stem)}
EVERY = [(stem, name) for stem in BOOKS for name in exercises_of(stem)]


@pytest.fixture(params=EVERY, ids="-".join)
def one(request, tmp_path):
    """An exercise, and the answer that its notebook's solution is."""
    stem, name = request.param
    code = solutions(BOOKS[stem])[name]
    return exercises_of(stem)[name], answer_of(BOOKS[stem], name, code, tmp_path)


@pytest.mark.parametrize("seed", range(3))
def test_the_solution_is_right(one, seed):
    exercise, solution = one
    assert exercise.judge(solution, seed).message == "✓ right"


@pytest.mark.parametrize("seed", range(3))
def test_every_mistake_is_known_by_its_sentence(one, seed):
    exercise, _ = one
    assert len(exercise.mistakes) >= 2
    for said, wrong in exercise.mistakes.items():
        result = exercise.judge(wrong, seed)
        assert result.verdict in ("wrong", "half"), (said, result)
        assert said in result.message, (said, result)
        assert result.points < result.of


@pytest.mark.parametrize("constant", [3.7, 0.0, 1, np.zeros(3), (1.0, 2.0), "text", True, [], {}])
def test_a_constant_is_wrong(one, constant):
    exercise, _ = one
    assert exercise.judge(constant).verdict == "wrong"
    result = exercise.judge(lambda *inputs: constant, 0)
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


@pytest.mark.parametrize("nothing", [..., None, lambda *inputs: ..., lambda *inputs: None, lambda *inputs: (..., ...)])
def test_no_answer_is_open(one, nothing):
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
