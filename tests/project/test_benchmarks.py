"""Every benchmark runs; nothing here looks at a time."""

import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks import turns
from benchmarks.__main__ import FAULTS, ORDER

ROOT = pathlib.Path(__file__).parents[2]


def run(*arguments):
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True)


WRITTEN = ("tape", "accuracy")  # those of the test that writes a report


@pytest.mark.parametrize("name", sorted({*ORDER} - {*WRITTEN}))
def test_a_benchmark_runs(name):
    done = run(f"benchmarks.{name}", "--quick")
    assert done.returncode == 0, done.stderr
    assert "tinygrad_ce" in done.stdout


def test_all_of_them_are_run_by_one_command_but_those_that_count_faults():
    assert sorted(ORDER + FAULTS) == sorted(
        p.stem for p in (ROOT / "benchmarks").glob("*.py") if p.stem not in {"__init__", "__main__", "turns"}
    )


OUTCOMES = """
import os, pytest
def test_right(tmp_path): (tmp_path / "file").write_text("x")
def test_wrong(): assert 1 == 2
def test_left_out(): pytest.skip("no need")
def test_last(): os._exit(3)
"""


def test_what_tests_on_webassembly_tell_counts_even_where_the_interpreter_ends(tmp_path):
    (tmp_path / "test_it.py").write_text(OUTCOMES)
    options = ["-p", "no:tmpdir", "-p", "wasm", "-o", "addopts=", "-c", str(ROOT / "pyproject.toml")]
    done = run("pytest", *options, str(tmp_path / "test_it.py"))
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    outcome = {name.rpartition("::")[2]: (how, why) for name, how, why in told}
    assert done.returncode == 3
    assert outcome == {
        "test_right": ("passed", ""),
        "test_wrong": ("failed", "assert 1 == 2"),
        "test_left_out": ("skipped", ""),
        "test_last": ("ended the interpreter", ""),
    }


def test_what_is_printed_is_written_down(tmp_path):
    done = run("benchmarks", "--quick", *WRITTEN, "--output", str(tmp_path / "RESULTS.md"))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "RESULTS.md").read_text()
    assert "## tape" in text
    assert "| 50 operators" in text
    assert "## accuracy" in text
    wrong = run("benchmarks", "tapes", "--output", str(tmp_path / "other.md"))
    assert wrong.returncode == 2
    assert "no benchmark 'tapes'" in wrong.stderr


TORCH = "torch, an optional peer, isn't installed"


def test_random_programs_and_losses_agree_with_pytorch_or_are_a_named_case():
    pytest.importorskip("torch", reason=TORCH)
    done = run("benchmarks.torch_fuzz", "--quick")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "300 random programs and 150 random losses" in done.stdout


def test_a_wrong_operator_is_reported_by_the_smallest_program_that_shows_it(monkeypatch, capsys):
    torch = pytest.importorskip("torch", reason=TORCH)
    from benchmarks import torch_fuzz

    wrong = torch_fuzz.ALL["tanh"]._replace(theirs=lambda x: 1.00001 * torch.tanh(x))
    monkeypatch.setitem(torch_fuzz.ALL, "tanh", wrong)
    counts, unexplained = torch_fuzz.agreement(range(100), range(0))
    assert {d.name for _, d in unexplained} == {"tanh"}
    assert counts["program", "unexplained"] == len({label for label, _ in unexplained})
    label, _ = unexplained[0]
    monkeypatch.setattr("sys.argv", ["torch_fuzz", "--only", label])
    assert torch_fuzz.main() == 1
    assert f"{label}: it differs in" in capsys.readouterr().out


PEER = """
from benchmarks import turns
def ours(n): return lambda: sum(range(n))
def absent(n): import a_peer_nobody_has
def huge(n): raise turns.TooMuch("left out: too large")
def fails(n): raise SystemExit(3)
"""


def test_a_peer_that_cannot_take_part_is_named(tmp_path, monkeypatch, capsys):
    names = ["ours", "absent", "huge", "fails"]
    serve = "import sys\nturns.serve(globals()[sys.argv[sys.argv.index('--peer') + 1]], [(10,)], 0.001)\n"
    (tmp_path / "a_module_of_peers.py").write_text(PEER + serve)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    times, missing = turns.measure("a_module_of_peers", ["ten"], names, rounds=3, quick=False)
    assert [len(v) for v in times["ten"].values()] == [3]
    assert sorted(missing) == [
        "absent: a_peer_nobody_has is not installed", "fails: its process ended", "huge: left out: too large"
    ]  # fmt: skip


def test_a_ratio_is_the_median_over_rounds():
    assert turns.ratio({"a": [1.0, 4.0, 9.0], "b": [1.0, 2.0, 3.0]}, "a", "b") == 2.0
    assert turns.ratio({"a": [1.0]}, "a", "b") != turns.ratio({"a": [1.0]}, "a", "b")  # nan
    lines = turns.table(["", "x"], [["one", "1"], ["three", "12"]]).splitlines()
    assert lines == ["|       |  x |", "|-------|---:|", "| one   |  1 |", "| three | 12 |"]
    rows = [["one", "2.00 ×"], ["two", "0.50 ×"], ["three", "–"]]
    assert turns.table(["", "PyTorch over ours"], rows).startswith("The worst, PyTorch over ours: two, 0.50 ×\n\n|")
