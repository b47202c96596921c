"""The package that is released: a wheel with what it needs and no more, which brings the same course; one version."""

import base64
import pathlib
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest

import tinygrad_ce
from tinygrad_ce.docs import course

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "tinygrad_ce"
KINDS = {".py", ".md", ".csv", ".npz", ".css", ".js", ".html", ".toml", ".po"}  # of files; py.typed is the only other


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling", reason="what builds the package, of the extra test")
    folder = tmp_path_factory.mktemp("wheel")
    code = f"import hatchling.build; print(hatchling.build.build_wheel({str(folder)!r}))"
    built = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    return folder / built.stdout.split()[-1]


def test_the_wheel_holds_what_it_needs_and_no_more(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {name for name in names if not re.match(r"tinygrad_ce-[\d.]+\.dist-info/", name)}
    package = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.suffix in KINDS or path.name == "py.typed"
    }
    beside = {
        f"tinygrad_ce/project/{path.relative_to(ROOT).as_posix()}"
        for pattern in ("notebooks/*.ipynb", "notebooks/README.md", "notebooks/pictures/*.[ps][nv]g")
        for path in ROOT.glob(pattern)
    }
    texts = {"tinygrad_ce/project/SECURITY.md", "tinygrad_ce/project/benchmarks/RESULTS.md"}
    assert inside == package | beside | texts


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size <= 2_000_000


def test_figures_of_the_course_are_stored_in_256_colours():
    """Else they are three times as large; notebooks/pictures/shrink.py makes them so."""
    pictures = {"player.png": (ROOT / "notebooks/pictures/player.png").read_bytes()}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for k, text in enumerate(re.findall(r'"image/png": "([^"]+)"', path.read_text("utf-8"))):
            pictures[f"{path.name}, figure {k}"] = base64.b64decode(text.replace("\\n", ""))
    assert len(pictures) > 70
    assert [name for name, png in pictures.items() if png[25] != 3] == []  # its kind of colours: a palette


def test_the_wheel_brings_the_same_course(wheel, tmp_path, monkeypatch):
    expected = files(course.open_course(tmp_path / "of a clone", start=False))
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "installed")
    monkeypatch.setattr(course, "_PACKAGE", tmp_path / "installed" / "tinygrad_ce")
    assert course.project() == tmp_path / "installed" / "tinygrad_ce" / "project"
    assert files(course.open_course(tmp_path / "of a wheel", start=False)) == expected


def test_the_version_is_the_same_everywhere():
    version = tinygrad_ce.__version__
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"] == version
    assert re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.M)[1] == version
    assert re.search(r"^## ([\d.]+)", (ROOT / ".github/CHANGELOG.md").read_text("utf-8"), re.M)[1] == version
