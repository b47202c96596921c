"""The course: each notebook runs as it stands, every exercise's solution passes its check, and the form is kept."""

import ast
import itertools
import json
import pathlib
import re

import pytest
from jupyter_client.manager import start_new_kernel

FOLDER = pathlib.Path(__file__).parents[2] / "notebooks"
COURSE = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(params=COURSE, ids=lambda path: path.stem)
def cells(request):
    return [(c["cell_type"], "".join(c["source"]), c) for c in json.loads(request.param.read_text("utf-8"))["cells"]]


def solution(text):
    """The code in a folded solution."""
    if not text.startswith("<details><summary>Solution</summary>"):
        return None
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    return code


def checks(code):
    """The statements of a cell that check an answer."""
    for statement in ast.parse(code).body:
        if isinstance(statement, ast.Expr) and ast.unparse(statement).startswith("study.check("):
            yield ast.unparse(statement)


def test_the_course_has_twelve_numbered_parts():
    assert [path.name[:2] for path in COURSE] == [f"{k:02}" for k in range(1, 13)]


# Stands in a kernel before all else. A solution is run with its checks, and leaves all names as they were.
BEFORE = """
import warnings
warnings.simplefilter("error")

def run_solution(code):
    names = dict(globals())
    exec(code, globals())
    globals().clear()
    globals().update(names)
"""


def with_solutions(cells):
    """A notebook's code cells; right after an exercise stands what solves and checks it, and how many checks it has."""
    yield BEFORE, 0
    for (kind, code, _), (_, after, _) in zip(cells, [*cells[1:], ("", "", {})], strict=True):
        if kind == "code":
            yield code, 0
            answer = solution(after)
            if answer is not None:
                asked = list(checks(code))
                yield f"run_solution({chr(10).join([answer, *asked])!r})", len(asked)


def test_it_runs_as_it_stands_and_every_solution_passes_its_check(cells, tmp_path):
    manager, kernel = start_new_kernel(cwd=str(tmp_path))
    solved = 0
    try:
        for code, count in with_solutions(cells):
            said = {"stdout": "", "stderr": ""}

            def listen(message, said=said):
                if message["msg_type"] == "stream":
                    said[message["content"]["name"]] += message["content"]["text"]

            reply = kernel.execute_interactive(code, timeout=600, allow_stdin=False, output_hook=listen)["content"]
            assert reply["status"] == "ok", "\n".join([code, *reply["traceback"]])
            assert not said["stderr"], (code, said)
            if count:
                assert said["stdout"].count("✓") == said["stdout"].count("\n") == count, (code, said)
            solved += count
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
    assert solved >= 3


def test_exercises_are_left_open_and_each_has_a_solution(cells):
    for (kind, code, cell), (_, after, _) in itertools.pairwise(cells):
        if kind == "code" and list(checks(code)):
            assert solution(after), f"no solution after\n{code}"
            printed = "".join("".join(o.get("text", "")) for o in cell["outputs"])
            assert "… not answered yet" in printed


def test_outputs_are_kept_and_hold_no_errors_or_warnings(cells):
    code = [cell for kind, _, cell in cells if kind == "code"]
    assert all(cell["execution_count"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert any("image/png" in o.get("data", {}) for o in outputs)


def test_cells_are_short_and_questions_are_answered(cells):
    for kind, text, _ in cells:
        assert kind != "code" or text.count("\n") < 25, text
        assert text.count("<details>") == text.count("</details>")
    words = "\n".join(text for kind, text, _ in cells if kind == "markdown")
    assert len(re.findall(r"\*\*Q\d", words)) >= 3
    assert len(re.findall(r"<summary>Answer</summary>", words)) >= 3


def test_links_lead_somewhere(cells):
    for kind, text, _ in cells:
        for target in re.findall(r"\]\(([^)#]+)\)", text) if kind == "markdown" else ():
            assert target.startswith("http") or (FOLDER / target).exists(), target
