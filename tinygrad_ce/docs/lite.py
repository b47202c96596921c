"""The course to run in a browser: JupyterLite beside the pages, with the notebooks and a wheel of this package."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tinygrad_ce
from tinygrad_ce.docs.course import open_course

FOLDER = "lite"  # in the site
_PACKAGE = Path(tinygrad_ce.__file__).parent
_KERNEL = "@jupyterlite/pyodide-kernel-extension"
_APPS = ("notebooks", "tree", "edit")  # a notebook, the folder, other files
_OPEN = f"../{FOLDER}/notebooks/index.html?path={{page}}.ipynb"

# HTML, for what it leads to is made when Sphinx has looked for it.
_LINK = f"""</h1>
<p class="run"><a href="{_OPEN}">Run it in your browser</a>, with nothing to install. Python itself, Pyodide, comes from
cdn.jsdelivr.net at the start; what you write stays in your browser. A copy of this site on your own disk must be
served for it: <code>python3 -m http.server</code> in its folder.</p>"""


def missing() -> list[str]:
    """What isn't installed of all that it takes."""
    return [
        name for name in ("jupyterlite_core", "jupyterlite_pyodide_kernel", "jupyter_server") if not find_spec(name)
    ]


def with_link(page: str, body: str) -> str:
    """A notebook's page with a link to where it can be run."""
    return re.sub("</h1>", lambda _: _LINK.format(page=page), body, count=1)


def wheel(folder: Path) -> Path:
    """Write a wheel of the package as it is imported here, without the texts of its project."""
    name, version = "tinygrad_ce", tinygrad_ce.__version__
    path, about = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    files = {
        file.relative_to(_PACKAGE.parent).as_posix(): file.read_bytes()
        for file in sorted(_PACKAGE.rglob("*"))
        if file.is_file() and not {"__pycache__", "project"} & {*file.relative_to(_PACKAGE).parts}
    }
    said = {
        "METADATA": ["Metadata-Version: 2.1", "Name: tinygrad-ce", f"Version: {version}", "Requires-Dist: numpy"],
        "WHEEL": ["Wheel-Version: 1.0", f"Generator: {name}", "Root-Is-Purelib: true", "Tag: py3-none-any"],
        "RECORD": [f"{file},," for file in [*files, *(f"{about}/{each}" for each in ("METADATA", "WHEEL", "RECORD"))]],
    }
    files |= {f"{about}/{each}": "".join(f"{line}\n" for line in lines).encode() for each, lines in said.items()}
    with zipfile.ZipFile(path, "w") as packed:
        for file, content in files.items():  # with no time, so that the same files make the same wheel
            packed.writestr(zipfile.ZipInfo(file), content, zipfile.ZIP_DEFLATED)
    return path


def build(site: Path) -> None:
    """Put JupyterLite with the course into a folder of the site. Nothing is fetched.

    Raises:
        RuntimeError: JupyterLite says that something is wrong; its words are the error's.
    """
    from jupyter_core.paths import jupyter_path

    with tempfile.TemporaryDirectory() as scratch:
        contents, packed = open_course(Path(scratch, "contents"), start=False), wheel(Path(scratch))
        (Path(scratch) / "jupyter-lite.json").write_text(json.dumps(_settings(packed.name)), "utf-8")
        options = {
            "lite-dir": scratch,
            "contents": contents,
            "piplite-wheels": packed,
            "output-dir": (site / FOLDER).resolve(),
            # This one alone, whatever else is installed here for JupyterLab.
            "LiteBuildConfig.federated_extensions": next(filter(os.path.isdir, jupyter_path("labextensions", _KERNEL))),
        }
        command = [sys.executable, "-m", "jupyterlite_core", "build", *(f"--{k}={v}" for k, v in options.items())]
        command += [f"--apps={app}" for app in _APPS]
        command += ["--ignore-sys-prefix", "--no-sourcemaps", "--no-unused-shared-packages", "--no-libarchive"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"build: JupyterLite ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _settings(wheel: str) -> dict[str, Any]:
    """What JupyterLite is told: the kernel loads the wheel when it starts, and asks no other index of packages."""
    # A wheel's address is taken from that of the kernel's own file, four folders down.
    packages = ["numpy", "matplotlib", f"../../../../pypi/{wheel}"]
    kernel = {"disablePyPIFallback": True, "loadPyodideOptions": {"packages": packages}}
    settings = {"appUrl": f"./{_APPS[1]}", "litePluginSettings": {f"{_KERNEL}:kernel": kernel}}
    return {"jupyter-lite-schema-version": 0, "jupyter-config-data": settings}
