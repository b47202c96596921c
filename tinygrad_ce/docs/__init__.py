"""The documentation as a static site, made of docstrings, the course and the pages in texts."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from tinygrad_ce.common.files import replacing
from tinygrad_ce.docs import lite
from tinygrad_ce.docs.pages import write_sources

_MARK = ".buildinfo"  # Sphinx leaves it in every site


def build(folder: str | os.PathLike[str], command_line: argparse.ArgumentParser, *, pack: bool = False) -> Path:
    """Build the documentation: the API's reference, the course with its outputs, and the project's own pages.

    Args:
        folder: where the site goes; a new folder, an empty one, or an earlier site's.
        command_line: the program's parser, whose help is a page.
        pack: whether it goes into one file instead, FOLDER.zip, to read offline.

    Returns:
        The front page, ``index.html`` in the folder, or the file. It opens in a browser as it is and needs no network.
        Where JupyterLite is installed, the folder ``lite`` in it holds the course to run in the browser: for that it
        needs a web server and, for Python itself, the network.

    Raises:
        ImportError: the extra ``docs`` isn't installed.
        ValueError: the folder or the file holds something else.
        RuntimeError: a page has a fault (each is printed), such as a link that leads nowhere; an earlier site stays.
    """
    folder = Path(folder)
    out = folder.with_name(f"{folder.name}.zip") if pack else folder
    if out.exists() and not _is_site(out):
        raise ValueError(f"build: {str(out)!r} exists and is no earlier site; name a new folder")
    for needed in ("sphinx", "furo", "myst_nb", "sphinx-mathjax-offline"):
        if find_spec(needed) is None:
            raise ImportError(f"the documentation needs {needed}: pip install 'tinygrad-ce[docs]'")
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory() as scratch:  # MyST-NB leaves a folder beside the site
        sources, site = write_sources(Path(scratch) / "sources", command_line), Path(scratch) / "site"
        strict = ["--quiet", "--nitpicky", "--fail-on-warning", "--jobs=auto"]
        conf, doctrees = f"--conf-dir={Path(__file__).parent}", f"--doctree-dir={scratch}/doctrees"
        if build_main([*strict, "--builder=html", conf, doctrees, str(sources), str(site)]):
            raise RuntimeError(f"build: the site for {str(out)!r} has the faults printed above")
        lacking = ", ".join(lite.missing())
        if lacking:
            print(
                f"no notebook runs in the browser without {lacking}: pip install 'tinygrad-ce[docs]'", file=sys.stderr
            )
        else:
            lite.build(site)
        if pack:
            _pack(site, out)
        else:
            shutil.rmtree(out / lite.FOLDER, ignore_errors=True)  # its files have other names in each version
            shutil.copytree(site, out, dirs_exist_ok=True)
    return out if pack else out / "index.html"


def _is_site(path: Path) -> bool:
    """Whether an earlier site is in a folder or a .zip, or there is room for one."""
    if path.is_dir():
        return (path / _MARK).exists() or not any(path.iterdir())
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as packed:
        return f"{path.stem}/{_MARK}" in packed.namelist()


def _pack(site: Path, path: Path) -> None:
    """Write a site as one .zip, which unpacks into a folder of its name."""
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for page in sorted(site.rglob("*")):
            packed.write(page, f"{path.stem}/{page.relative_to(site).as_posix()}")
