"""The course: each notebook runs as it stands, every exercise's solution passes its check, and the form is kept."""

import itertools
import re

import pytest
from course import COURSE, FOLDER, cells, solutions
from jupyter_client.manager import start_new_kernel

from tinygrad_ce.study.exercises import exercises_of


@pytest.fixture(params=COURSE, ids=lambda path: path.stem)
def book(request):
    return request.param


def checks(code):
    """The names of the answers that a cell checks."""
    return re.findall(r"^study\.check\((\w+), exercises\.\w+\)$", code, re.M)


def test_the_parts_of_the_course_are_numbered():
    assert [path.name[:2] for path in COURSE] == [f"{k:02}" for k in range(1, len(COURSE) + 1)]
    assert len(COURSE) >= 15


def test_it_runs_as_it_stands_and_so_do_its_solutions(book, tmp_path):
    manager, kernel = start_new_kernel(cwd=str(tmp_path))
    answers, solved = solutions(book), []
    try:
        for code in ['import warnings; warnings.simplefilter("error")', *with_solutions(cells(book), answers)]:
            said = {"stdout": "", "stderr": ""}

            def listen(message, said=said):
                if message["msg_type"] == "stream":
                    said[message["content"]["name"]] += message["content"]["text"]

            reply = kernel.execute_interactive(code, timeout=600, allow_stdin=False, output_hook=listen)["content"]
            assert reply["status"] == "ok", "\n".join([code, *reply["traceback"]])
            assert not said["stderr"], (code, said)
            if code.startswith(SOLVED):
                assert said["stdout"] == "✓ right\n", (code, said)
                solved += checks(code)
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
    assert solved == list(answers) == list(exercises_of(book.stem))


SOLVED = "# solved\n"


def with_solutions(all_cells, answers):
    """A notebook's code; after each exercise what solves and checks it, and the exercise again, as if unanswered."""
    for code in (code for kind, code, _ in all_cells if kind == "code"):
        yield code
        for name in checks(code):
            yield f"{SOLVED}{answers[name]}\nstudy.check({name}, exercises.{name})"
            yield code


def test_exercises_are_left_open_in_order_and_each_has_a_solution(book):
    asked = []
    for (kind, code, cell), (_, after, _) in itertools.pairwise(cells(book)):
        if kind == "code" and checks(code):
            assert after.startswith("<details><summary>Solution</summary>"), f"no solution after\n{code}"
            printed = "".join("".join(o.get("text", "")) for o in cell["outputs"])
            assert printed == "… not answered yet: put your answer in the place of ...\n"
            asked += checks(code)
        elif kind == "code":
            assert "study.check(" not in code, code
    assert asked == list(exercises_of(book.stem))


def test_no_plumbing_of_the_checks_is_left(book):
    code = "\n".join(text for kind, text, _ in cells(book) if kind == "code")
    assert "is ..." not in code
    assert not re.search(r"def (count|account|said|ask)\(", code)


def test_outputs_are_kept_and_hold_no_errors_or_warnings(book):
    code = [cell for kind, _, cell in cells(book) if kind == "code"]
    assert all(cell["execution_count"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert any("image/png" in o.get("data", {}) for o in outputs)


def test_cells_are_short_and_questions_are_answered(book):
    for kind, text, _ in cells(book):
        assert kind != "code" or text.count("\n") < 25, text
        assert text.count("<details>") == text.count("</details>")
    words = "\n".join(text for kind, text, _ in cells(book) if kind == "markdown")
    assert len(re.findall(r"\*\*Q\d", words)) >= 3
    assert len(re.findall(r"<summary>Answer</summary>", words)) >= 3


def test_links_lead_somewhere(book):
    for kind, text, _ in cells(book):
        for target in re.findall(r"\]\(([^)#]+)\)", text) if kind == "markdown" else ():
            assert target.startswith("http") or (FOLDER / target).exists(), target


def minutes(kind, text):
    """What a newcomer needs: 180 words or 12 lines of code a minute, 6 an exercise, 8 a milestone, 1½ a question."""
    if kind == "markdown":
        return len(text.split()) / 180 + 1.5 * len(re.findall(r"\*\*Q\d", text))
    asked = 6 * len(checks(text)) + 8 * text.count("study.check_engine(globals(), milestone")
    return sum(map(bool, map(str.strip, text.splitlines()))) / 12 + asked


def test_it_states_the_time_that_a_newcomer_needs_and_where_to_stop(book):
    passed, stops = 0.0, [0]
    for kind, text, _ in cells(book):
        for stop in re.finditer(r"^\*A place to stop, after about (\d+) minutes\.", text, re.M):
            assert abs(int(stop[1]) - passed - minutes(kind, text[: stop.start()])) <= 4
            stops.append(int(stop[1]))
        passed += minutes(kind, text)
    (stated,) = map(
        int, re.findall(r"It takes a newcomer about (\d+) minutes, with two places to stop", cells(book)[0][1])
    )
    assert abs(stated - passed) <= 4
    assert all(later - earlier <= 35 for earlier, later in itertools.pairwise([*stops, stated]))
    assert len(stops) == 3
