"""What tests of the course share: its notebooks, and the answer that a notebook would give with other code in it."""

import json
import pathlib
import re

from tinygrad_ce.study import answers

FOLDER = pathlib.Path(__file__).parents[1] / "notebooks"
COURSE = sorted(FOLDER.glob("*.ipynb"))


def cells(path):
    """A notebook's cells: their kind, their text, and all there is of them."""
    return [(c["cell_type"], "".join(c["source"]), c) for c in json.loads(path.read_text("utf-8"))["cells"]]


def solutions(path):
    """The folded solutions of a notebook, by the name that each one's exercise checks."""
    found = {}
    for (kind, code, _), (_, after, _) in zip(cells(path), cells(path)[1:], strict=False):
        names = re.findall(r"^study\.check\((\w+), exercises\.(\w+)\)$", code, re.M) if kind == "code" else []
        for answer, exercise in names:
            assert answer == exercise, f"{path.stem}: {answer} is checked as {exercise}"
            (found[answer],) = re.findall(r"^```python\n(.*?)^```", after, re.S | re.M)
    return found


def answer_of(path, name, code, folder):
    """What a name is in a notebook where somebody has added a cell with this code."""
    book = json.loads(path.read_text("utf-8"))
    book["cells"].append({"cell_type": "code", "source": code, "execution_count": None, "outputs": []})
    (folder / "answered.ipynb").write_text(json.dumps(book), "utf-8")
    text = answers.needed(answers.read(folder / "answered.ipynb"), name)
    return answers.load(text, name, folder)
