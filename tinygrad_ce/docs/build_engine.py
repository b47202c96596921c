"""Your own engine in plain files: the course's skeleton in one, and a test for each milestone."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path
from types import ModuleType

from tinygrad_ce.common.files import write
from tinygrad_ce.common.terminal import say
from tinygrad_ce.docs.course import project
from tinygrad_ce.study.engine.case import Fault, raised
from tinygrad_ce.study.engine.checks import MILESTONES
from tinygrad_ce.study.engine.limit import TimeUp, within
from tinygrad_ce.study.engine.report import check_engine

NOTEBOOK = "16_your_own_engine.ipynb"
ENGINE = "my_engine.py"
IMPORT = 30.0  # seconds that reading it may take

_HEAD = '''\
"""My own engine, in {count} milestones. tinygrad-ce build {folder} --check says which of them stand."""

import numpy as np
'''

_TEST = '''\
"""Milestone {k}, {name}. To run it: pytest {file}"""

import my_engine
import pytest

from tinygrad_ce.study import check_engine


def test_{word}():
    report = check_engine(my_engine, milestone={k})
    assert not report.findings, report
    if not report:
        pytest.skip(str(report))
'''


def build_engine(folder: str | os.PathLike[str]) -> Path:
    """Write a skeleton of an engine into a folder, ``my_engine.py``, and a test for each milestone.

    The skeleton is that of notebook 16. A file that is there already stays as it is.

    Returns:
        The skeleton's path.

    Example:
        >>> import tempfile
        >>> skeleton = build_engine(tempfile.mkdtemp())
        >>> sorted(path.name for path in skeleton.parent.iterdir())[:2]
        ['my_engine.py', 'test_1_scalars.py']
    """
    folder = Path(folder)
    files = {ENGINE: _HEAD.format(count=len(MILESTONES), folder=folder.name) + "".join(_cells())}
    for k, name in enumerate(MILESTONES, 1):
        word = re.sub(r"\W+", "_", name)
        file = f"test_{k}_{word}.py"
        files[file] = _TEST.format(k=k, name=name, file=file, word=word)
    for name, text in files.items():
        if not (folder / name).exists():
            folder.mkdir(parents=True, exist_ok=True)
            write(folder / name, text)
    return folder / ENGINE


def _cells() -> list[str]:
    """The notebook's cells that an engine is made of, without its checks."""
    cells = json.loads((project() / "notebooks" / NOTEBOOK).read_text("utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    kept = [re.sub(r"^study\.check_engine\(.*\n?", "", text, flags=re.M) for text in texts]
    parts = [text.rstrip().replace("# your answer", "# TODO") for text in kept if text.startswith("# Milestone")]
    return [f"\n\n{part}\n" for part in parts]


def check_build(folder: str | os.PathLike[str]) -> list[Fault]:
    """Hold the engine in a folder against this one; print which milestones stand, and what is wrong.

    Raises:
        FileNotFoundError: there is no ``my_engine.py``.
    """
    path = Path(folder) / ENGINE
    path.stat()
    try:
        engine = within(IMPORT, lambda: _load(path))
    except KeyboardInterrupt:
        raise
    except TimeUp:
        found = Fault(ENGINE, f"isn't read after {IMPORT:g} s", "a loop outside of all functions, that never ends?")
    except BaseException as error:
        found = raised(ENGINE, error, "")
    else:
        return check_engine(engine).findings
    say(f"✗ {found}")
    return [found]


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
