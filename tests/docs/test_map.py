"""The course's map: it lists every notebook, and each question of learners leads to the section that answers it."""

import json
import pathlib
import re

import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "notebooks"
MAP = (FOLDER / "README.md").read_text("utf-8")
COURSE = sorted(FOLDER.glob("*.ipynb"))
LINK = re.compile(r"\]\((\w+\.ipynb)#([^)\s]+)\)")


def words(path):
    """A text, or all that a notebook says outside code."""
    if path.suffix == ".md":
        return path.read_text("utf-8")
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def anchors(name):
    """What a notebook's sections are linked at: in Jupyter, the heading with hyphens for spaces."""
    return {heading.replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", words(FOLDER / name), re.M)}


def test_every_notebook_has_its_line_and_its_title():
    listed = re.findall(r"^\| (\d\d) \| \[(.+?)\]\((.+?)\) \|", MAP, re.M)
    assert [name for _, _, name in listed] == [path.name for path in COURSE]
    for number, title, name in listed:
        assert words(FOLDER / name).startswith(f"# {number} · {title}\n")


def test_each_question_of_learners_has_its_answer_in_a_section():
    asked = re.findall(r"^\| ([A-Z].+\?) \| (.+) \|$", MAP, re.M)
    assert len(asked) >= 12
    for question, where in asked:
        assert LINK.search(where), question


@pytest.mark.parametrize("path", [FOLDER / "README.md", *COURSE], ids=lambda path: path.stem)
def test_links_to_sections_lead_to_one(path):
    for name, anchor in LINK.findall(words(path)):
        assert anchor in anchors(name), f"{name}#{anchor}"
