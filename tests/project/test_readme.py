"""What the README says is so: its example prints what it shows, its map names what is there."""

import contextlib
import csv
import io
import pathlib
import re
import shlex
import subprocess
import warnings

import pytest

from tinygrad_ce.cli import main

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_examples_print_what_the_readme_shows(monkeypatch):
    monkeypatch.chdir(ROOT)
    shown = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.S)
    assert shown
    for code, output in shown:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, {})
        same(printed.getvalue(), output)


def same(printed, shown):
    """The same words, and numbers that differ by no more than another machine's rounding may make of a training."""
    number = r"-?\d+\.?\d*(?:e-?\d+)?"
    assert re.sub(number, "#", printed) == re.sub(number, "#", shown)
    for a, b in zip(re.findall(number, printed), re.findall(number, shown), strict=True):
        assert abs(float(a) - float(b)) <= 0.01 * abs(float(b)), (a, b)


def test_a_table_of_ones_own_is_trained_on_as_the_readme_shows(tmp_path, monkeypatch, capsys):
    section = re.search(r"## Your own table\n(.*?)\n## ", README, re.S).group(1)
    train, predict = re.findall(r"```sh\n(.*?)```", section, re.S)
    plan, answers, _ = re.findall(r"```text\n(.*?)```", section, re.S)
    (tmp_path / "tinygrad_ce").symlink_to(ROOT / "tinygrad_ce")
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(train)[1:]) == 0
    assert plan in capsys.readouterr().out
    write, ask = predict.splitlines()
    subprocess.run(["sh", "-c", write], check=True)
    assert main(shlex.split(ask)[1:]) == 0
    (head, row), (names, shown) = (list(csv.reader(text.splitlines())) for text in (capsys.readouterr().out, answers))
    assert head == names
    assert row[0] == shown[0]
    assert max(abs(float(a) - float(b)) for a, b in zip(row[1:], shown[1:], strict=True)) < 0.01


def test_a_pipeline_of_skrub_takes_the_table_as_it_is(monkeypatch):
    for name in ("pandas", "skrub"):
        pytest.importorskip(name)
    monkeypatch.chdir(ROOT)
    code = re.search(r"```py\n(.*?)```", README, re.S).group(1)
    there = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries among each other
        exec(code, there)
    birds = there["birds"]
    assert there["model"].score(birds.drop(columns="species"), birds["species"]) > 0.95


def test_the_two_commands_come_first_and_install_what_they_need():
    first, second = re.findall(r"```sh\n(.*?)```", README, re.S)[:2]
    assert "train digits" in first
    assert "pytest" in second
    for block in (first, second):
        assert block.startswith("python3 -m venv")
        assert "pip install" in block


def test_the_map_names_files_that_exist():
    tree = re.search(r"```text\n(tinygrad_ce/.*?)```", README, re.S).group(1)
    folders = [ROOT]
    for line in tree.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders[depth + 1 :] = [folders[depth] / name]
        assert folders[-1].exists(), name


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
