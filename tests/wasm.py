"""A plugin of pytest for WebAssembly: a line of JSON for each test as it begins and ends, and folders without users."""

import json
import pathlib
import tempfile

import pytest


def tell(name, outcome, why=""):
    """One line; those before an end of the interpreter count."""
    print("\n" + json.dumps([name, outcome, why]), flush=True)


def pytest_runtest_logstart(nodeid):
    """A test begins, which need not end."""
    tell(nodeid, "ended the interpreter")


def pytest_runtest_logreport(report):
    """A test, or what goes before or after it, has ended."""
    if report.when == "call" or not report.passed:
        crash = getattr(report.longrepr, "reprcrash", None)
        tell(report.nodeid, report.outcome, crash.message.split("\n")[0] if crash else "")


@pytest.fixture
def tmp_path():
    """In the place of pytest's own, which asks for the user."""
    with tempfile.TemporaryDirectory() as folder:
        yield pathlib.Path(folder).resolve()
