"""The documentation as a static site, made of docstrings and the course."""

from __future__ import annotations

import argparse
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

from tinygrad_ce.docs.pages import write_sources


def build(folder: str | os.PathLike[str], command_line: argparse.ArgumentParser) -> Path:
    """Build the documentation: the API's reference, the course with its outputs, and the project's own pages.

    Args:
        folder: where the site goes; a new folder, an empty one, or an earlier site's.
        command_line: the program's parser, whose help is a page.

    Returns:
        The front page, ``index.html`` in the folder. It opens in a browser as it is and needs no network.

    Raises:
        ImportError: the extra ``docs`` isn't installed.
        ValueError: the folder holds something else.
        RuntimeError: a page has a fault (each is printed), such as a link that leads nowhere.
    """
    out = Path(folder)
    if out.exists() and not (out.is_dir() and ((out / ".buildinfo").exists() or not any(out.iterdir()))):
        raise ValueError(f"build: {str(out)!r} exists and is no earlier site; name a new folder")
    for needed in ("sphinx", "furo", "myst_nb", "sphinx-mathjax-offline"):
        if find_spec(needed) is None:
            raise ImportError(f"the documentation needs {needed}: pip install 'tinygrad-ce[docs]'")
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory() as scratch:
        sources = write_sources(Path(scratch) / "sources", command_line)
        strict = ["--quiet", "--nitpicky", "--fail-on-warning", "--jobs=auto"]
        conf, doctrees = f"--conf-dir={Path(__file__).parent}", f"--doctree-dir={scratch}/doctrees"
        if build_main([*strict, "--builder=html", conf, doctrees, str(sources), str(out)]):
            raise RuntimeError(f"build: the site in {str(out)!r} has the faults printed above")
    return out / "index.html"
