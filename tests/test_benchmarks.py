"""Every benchmark runs; nothing here looks at a time."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
NAMES = sorted(p.stem for p in (ROOT / "benchmarks").glob("*.py") if p.stem not in ("__init__", "turns"))


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs(name):
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--quick"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "tinygrad_ce" in done.stdout


def test_a_peer_that_is_not_installed_is_named():
    code = "from benchmarks import turns\ndef peer():\n import a_peer_nobody_has\nturns.serve(peer, 0.1)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "missing a_peer_nobody_has"
