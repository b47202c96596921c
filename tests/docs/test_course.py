"""The course in a folder of one's own: all of it, with links that lead somewhere, and no answer is ever lost."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

from tinygrad_ce.docs import course

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def calls(monkeypatch):
    """What JupyterLab would have been started with."""
    calls = []
    monkeypatch.setattr(course, "_jupyterlab", lambda: calls.append)
    return calls


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_whole_course_is_copied_and_opened_at_its_first_notebook(tmp_path, calls, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert course.open_course() == pathlib.Path("tinygrad_ce_course")
    assert calls == [[str(pathlib.Path("tinygrad_ce_course", NOTEBOOKS[0]))]]
    found = files(tmp_path / "tinygrad_ce_course")
    assert {*NOTEBOOKS, "README.md", "pictures/graph.svg", "pictures/player.png"} <= found.keys()
    assert not [name for name in found if name.endswith(".part")]


@pytest.mark.parametrize(("options", "expected"), [({"browser": False}, ["--no-browser"]), ({"start": False}, None)])
def test_without_a_browser_and_without_jupyterlab(tmp_path, calls, options, expected):
    course.open_course(tmp_path / "c", **options)
    assert calls == ([] if expected is None else [[str(tmp_path / "c" / NOTEBOOKS[0]), *expected]])
    assert (tmp_path / "c" / NOTEBOOKS[-1]).exists()


def test_links_of_the_copy_lead_somewhere_within_it(tmp_path):
    folder = course.open_course(tmp_path / "c", start=False)
    followed = 0
    for name, content in files(folder).items():
        if name.endswith((".ipynb", ".md")) and "/data/" not in name:
            text = content.decode()
            if name.endswith(".ipynb"):  # in code, brackets and parentheses are no link
                cells = json.loads(text)["cells"]
                text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
            for target in re.findall(r"\]\(([\w./]+)(?:#[^)\s]+)?\)", text):
                if target == "test.x":  # code
                    continue
                place = (folder / name).parent / target
                assert place.resolve().is_relative_to(folder.resolve()), (name, target)
                assert place.exists(), (name, target)
                followed += 1
    assert followed > 50


def test_what_is_there_stays_and_what_is_missing_comes_back(tmp_path):
    folder = course.open_course(tmp_path / "c", start=False)
    before = files(folder)
    (folder / NOTEBOOKS[0]).write_text("my answers")
    (folder / NOTEBOOKS[1]).unlink()
    (folder / "notes.txt").write_text("mine")
    course.open_course(folder, start=False)
    assert files(folder) == {**before, NOTEBOOKS[0]: b"my answers", "notes.txt": b"mine"}


@pytest.mark.parametrize("missing", ["jupyterlab", "jupyterlab.labapp"])
def test_without_jupyterlab_the_error_names_the_extra_and_nothing_is_copied(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"JupyterLab and matplotlib: pip install 'tinygrad-ce\[notebooks\]'"):
        course.open_course(tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path):
    (tmp_path / "c").write_text("mine")
    with pytest.raises(OSError, match="c"):
        course.open_course(tmp_path / "c", start=False)
    assert (tmp_path / "c").read_text() == "mine"


def test_jupyterlab_starts_where_it_is_installed():
    version = pytest.importorskip("jupyterlab", reason="needs JupyterLab, of the extra notebooks").__version__
    code = "from tinygrad_ce.docs.course import _jupyterlab; _jupyterlab()(['--version'])"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert said.stdout.strip() == version
