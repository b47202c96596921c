"""What the README says is so: its example prints what it shows, its map names what is there."""

import contextlib
import io
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_examples_print_what_the_readme_shows():
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
