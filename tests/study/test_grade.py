"""grade: one line for every exercise, whatever the notebooks are like; and answers can't stop it."""

import gc
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from course import COURSE, solutions

from tinygrad_ce.docs import course as copies
from tinygrad_ce.docs import editions
from tinygrad_ce.study import answers
from tinygrad_ce.study.exercises import exercises_of
from tinygrad_ce.study.grade import grade

FIRST, SECOND = COURSE[:2]
OPEN = "… not answered yet: put your answer in the place of ..."


def answered(path, source=FIRST, **code):
    """A notebook with cells added at its end."""
    book = json.loads(source.read_text("utf-8"))
    for text in code.values():
        book["cells"].append({"cell_type": "code", "source": text, "execution_count": 1, "outputs": []})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(book), "utf-8")


def table(folder, *books, **options):
    lines = grade(folder, [book.stem for book in books or (FIRST,)], **{"limit": 30, "seed": 0, **options})
    return {(line.student, line.notebook, line.exercise): line for line in lines}


def test_a_class_and_its_worst_notebooks_give_each_exercise_its_line(tmp_path):
    answered(tmp_path / "anna" / FIRST.name, **solutions(FIRST))
    answered(tmp_path / "ben" / "my softmax.ipynb", my_softmax="def my_softmax(x):\n    return np.exp(x)")
    (tmp_path / "cleo").mkdir()
    (tmp_path / "cleo" / FIRST.name).write_text("{not json")
    (tmp_path / "cleo" / "notes.ipynb").write_text('{"cells": []}')
    (tmp_path / "dan").mkdir()
    found = table(tmp_path)
    anna = [found["anna", FIRST.stem, name] for name in exercises_of(FIRST.stem)]
    assert [(line.points, line.of, line.verdict, line.message) for line in anna] == [(1, 1, "right", "✓ right")] * 5
    assert found["ben", FIRST.stem, ""].message == "found in my softmax.ipynb"
    ben = found["ben", FIRST.stem, "my_softmax"]
    assert (ben.points, ben.verdict) == (0, "wrong")
    assert ben.message.startswith("✗ the exponentials aren't divided by their sum. At x = [")
    assert found["ben", FIRST.stem, "lead"].message == OPEN
    cleo = found["cleo", FIRST.stem, ""]
    assert (cleo.points, cleo.of, cleo.verdict) == (0, 5, "broken")
    assert cleo.message.startswith(f"{FIRST.name} can't be read: it is no notebook (JSONDecodeError: ")
    assert found["cleo", "", ""].message == "notes.ipynb is no notebook of the course"
    assert (found["dan", "", ""].verdict, found["dan", "", ""].of) == ("missing", 5)
    assert len(found) == 5 + 6 + 2 + 1


def test_an_answer_cannot_stop_the_others(tmp_path):
    code = {
        "my_softmax": "def my_softmax(x):\n    while True:\n        pass",
        "batch_softmax": "import os\n\n\ndef batch_softmax(x):\n    os._exit(3)",
        "lead": "def helper(p):\n    return 1 / 0\n\n\ndef lead(p):\n    return helper(p)",
        "safe_softmax": "def safe_softmax(x)\n    return 1",
        "temperature": "import sys\n\n\ndef temperature(p):\n    print('noise')\n    sys.exit('no')",
    }
    answered(tmp_path / FIRST.name, **code)
    found = {key[2]: (line.verdict, line.message) for key, line in table(tmp_path, limit=3).items()}
    assert found == {
        "my_softmax": ("timeout", "it ran for more than 3 seconds, and was ended"),
        "batch_softmax": ("crash", "it ended the process in which it ran"),
        "lead": ("error", "✗ line 2 of helper, `return 1 / 0`: ZeroDivisionError: division by zero"),
        "safe_softmax": ("error", "✗ its cell is no Python: line 1: expected ':'"),
        "temperature": ("error", "✗ line 3 of temperature, `sys.exit('no')`: SystemExit: no"),
    }


def test_a_notebook_that_was_never_run_is_graded_and_said_to_be(tmp_path):
    answered(tmp_path / FIRST.name, **solutions(FIRST))
    book = json.loads((tmp_path / FIRST.name).read_text())
    for cell in book["cells"]:
        cell.update({"execution_count": None, "outputs": []} if cell["cell_type"] == "code" else {})
    book["cells"] = [cell for cell in book["cells"] if "study.check(lead" not in "".join(cell["source"])][:-1]
    (tmp_path / FIRST.name).write_text(json.dumps(book))
    found = {key[2]: line for key, line in table(tmp_path).items()}
    assert found[""].message == "its cells have never been run, or their outputs were cleared"
    assert found["lead"].verdict == "right"  # it is found without its check
    assert found["temperature"].verdict == "open"
    assert sum(line.points for line in found.values()) == 4


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "JSONDecodeError"), (b"[]", "TypeError"),
        (b'{"cells": 3}', "TypeError"), (b'{"cells": [{}]}', "KeyError"),
        (b'{"cells": [{"cell_type": "code"}]}', "KeyError"),
        (b'{"cells": [1]}', "TypeError"), (b"\xff\xfe\x00", "Error"),
        (b'{"cells": [{"cell_type": "code", "source": [1]}]}', "TypeError"), (b"[" * 100_000, "RecursionError"),
    ],
)  # fmt: skip
def test_what_is_no_notebook_is_told(tmp_path, content, said):
    (tmp_path / FIRST.name).write_bytes(content)
    (line,) = table(tmp_path).values()
    assert (line.verdict, line.points, line.of) == ("broken", 0, 5)
    assert f"it is no notebook ({'' if said == 'Error' else said}" in line.message


def test_a_name_that_no_cell_makes_is_missing_and_a_folder_is_no_notebook(tmp_path):
    answered(tmp_path / "a" / FIRST.name, source=SECOND)
    (tmp_path / "b" / FIRST.name).mkdir(parents=True)
    found = table(tmp_path)
    assert found["a", FIRST.stem, "lead"].message == "no cell makes lead"
    assert found["b", FIRST.stem, ""].verdict == "broken"


def test_notebooks_are_read_by_several_threads_while_the_collector_runs_python():
    def work(*_):  # threads take turns here, in the middle of the parser
        return sum(range(50))

    switch, threshold = sys.getswitchinterval(), gc.get_threshold()
    gc.callbacks.append(work)
    try:
        sys.setswitchinterval(1e-6)
        gc.set_threshold(5)
        with ThreadPoolExecutor(4) as pool:
            books = [*pool.map(answers.read, [FIRST, SECOND] * 3)]
    finally:
        gc.callbacks.remove(work)
        gc.set_threshold(*threshold)
        sys.setswitchinterval(switch)
    assert not [why for book in books for _, why in book.broken]


def test_a_class_in_one_folder_is_told_apart_by_the_names_of_the_files(tmp_path):
    for name in ("anna", "ben"):
        answered(tmp_path / f"{name}.ipynb", **(solutions(FIRST) if name == "anna" else {}))
    found = table(tmp_path)
    assert found[f"{tmp_path.name}/anna", FIRST.stem, "lead"].points == 1
    assert found[f"{tmp_path.name}/ben", FIRST.stem, "lead"].points == 0


def test_a_missing_notebook_counts_with_all_its_points_and_a_missing_folder_is_an_error(tmp_path):
    answered(tmp_path / FIRST.name)
    (line,) = [line for line in table(tmp_path, FIRST, SECOND).values() if line.verdict == "missing"]
    assert (line.notebook, line.points, line.of) == (SECOND.stem, 0, 5)
    with pytest.raises(FileNotFoundError):
        grade(tmp_path / "nowhere", [FIRST.stem])


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_the_teachers_edition_has_all_points_and_the_students_none(path, tmp_path):
    for edition, points in (("teacher", 1), ("student", 0)):
        text = editions.of(edition, path.read_bytes())
        (tmp_path / edition).mkdir()
        (tmp_path / edition / path.name).write_bytes(text)
        assert (b"<summary>Solution</summary>" in text) == (edition == "teacher")
        lines = grade(tmp_path / edition, [path.stem], limit=60)
        assert [line.points for line in lines] == [points] * len(exercises_of(path.stem)), lines


def test_editions_are_copied_and_keep_all_else(tmp_path):
    folder = copies.open_course(tmp_path / "s", start=False, edition="student")
    kept = json.loads((folder / FIRST.name).read_bytes())["cells"]
    assert sum("<summary>Answer</summary>" in "".join(cell["source"]) for cell in kept) >= 3
    assert (folder / "README.md").exists()


def test_the_statements_that_an_answer_needs_are_found(tmp_path):
    cells = [
        "%matplotlib inline\nimport numpy as np\nimport plots as plt",
        "x = np.ones(3)\ny = 2\nplt.show(y)",
        "x[0] = 5; unrelated = 3\n!pip install nothing",
        "class Box:\n    pass",
        "Box.size = y",
        "def answer(t):\n    y = 1\n    return [helper(v) for v in t]",
        "def helper(v):\n    return x.sum() + v + Box.size",
    ]
    book = {"cells": [{"cell_type": "code", "source": cell} for cell in cells]}
    (tmp_path / "n.ipynb").write_text(json.dumps(book))
    text = answers.needed(answers.read(tmp_path / "n.ipynb"), "answer")
    assert "plots" not in text
    assert answers.load(text, "answer", tmp_path)([1.0]) == [7 + 1 + 2]
    assert answers.needed(answers.read(tmp_path / "n.ipynb"), "nothing") is None
