"""What the README and the documentation's pages say is so: examples print what is shown, links lead somewhere."""

import contextlib
import csv
import io
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from tinygrad_ce.cli import main

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
TEXTS = {path.stem: path.read_text("utf-8") for path in sorted((ROOT / "tinygrad_ce/docs/texts").glob("*.md"))}
EXAMPLE = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.S)
IMPORT = re.compile(r"^(?:import|from) (\w+)", re.M)
MPIEXEC = pathlib.Path(sys.executable).with_name("mpiexec")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder where an example may write, and in which the clone's files are found."""
    (tmp_path / "tinygrad_ce").symlink_to(ROOT / "tinygrad_ce")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries among each other
@pytest.mark.parametrize(
    "text", [pytest.param(text, id=name) for name, text in {"README": README, **TEXTS}.items() if EXAMPLE.search(text)]
)
def test_examples_print_what_is_shown(text, elsewhere):
    examples, there = EXAMPLE.findall(text), {}
    assert any(shown for _, shown in examples)
    for code, shown in examples:
        for library in IMPORT.findall(code):
            pytest.importorskip(library)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, there)
        same(printed.getvalue(), shown)


def same(printed, shown):
    """The same words, and numbers that differ by no more than another machine's rounding may make of a training."""
    number = r"-?\d+\.?\d*(?:e-?\d+)?"
    assert re.sub(number, "#", printed) == re.sub(number, "#", shown)
    for a, b in zip(re.findall(number, printed), re.findall(number, shown), strict=True):
        assert abs(float(a) - float(b)) <= 0.01 * abs(float(b)), (a, b)


def test_a_table_of_ones_own_is_trained_on_as_its_page_shows(elsewhere, capsys):
    train, predict = re.findall(r"```sh\n(.*?)```", TEXTS["table"], re.S)
    plan, answers, _ = re.findall(r"```text\n(.*?)```", TEXTS["table"], re.S)
    assert main(shlex.split(train)[1:]) == 0
    assert plan in capsys.readouterr().out
    write, ask = predict.splitlines()
    subprocess.run(["sh", "-c", write], check=True)
    assert main(shlex.split(ask)[1:]) == 0
    (head, row), (names, shown) = (list(csv.reader(text.splitlines())) for text in (capsys.readouterr().out, answers))
    assert head == names
    assert row[0] == shown[0]
    assert max(abs(float(a) - float(b)) for a, b in zip(row[1:], shown[1:], strict=True)) < 0.01


def test_many_processes_train_as_their_page_shows(tmp_path):
    pytest.importorskip("mpi4py")
    (code,) = re.findall(r"```py\n(.*?)```", TEXTS["processes"], re.S)
    *_, shown = re.findall(r"```text\n(.*?)```", TEXTS["processes"], re.S)
    (tmp_path / "many.py").write_text(code)
    command = [MPIEXEC, "-n", "2", sys.executable, "many.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    same(done.stdout, shown)


def test_the_two_commands_come_first_and_install_what_they_need():
    first, second = re.findall(r"```sh\n(.*?)```", README, re.S)[:2]
    assert "train digits" in first
    assert "pytest" in second
    for block in (first, second):
        assert block.startswith("python3 -m venv")
        assert "pip install" in block


def test_the_readme_is_one_screen():
    assert len(README.splitlines()) <= 72
    assert README.count("](") - README.count("![") >= 15


def test_the_map_names_files_that_exist():
    tree = re.search(r"```text\n(tinygrad_ce/.*?)```", TEXTS["map"], re.S).group(1)
    folders = [ROOT]
    for line in tree.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders[depth + 1 :] = [folders[depth] / name]
        assert folders[-1].exists(), name


@pytest.mark.parametrize("path", ["README.md", *(f"tinygrad_ce/docs/texts/{name}.md" for name in TEXTS)])
def test_links_lead_somewhere(path):
    text = (ROOT / path).read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", re.sub(r"```\w+\n.*?```", "", text, flags=re.S)):
        assert target.startswith("http") or (ROOT / path).parent.joinpath(target).exists(), target
