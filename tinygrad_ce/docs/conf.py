"""Sphinx's configuration, and what it must be told of this project's docstrings."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.pycode import ModuleAnalyzer

import tinygrad_ce
from tinygrad_ce.docs import lite, translated
from tinygrad_ce.docs.pages import things

project = "tinygrad_ce"
release = version = tinygrad_ce.__version__
extensions = [
    "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax", "sphinx.ext.napoleon", "sphinx.ext.viewcode",
    "myst_nb",
]  # fmt: skip

html_theme = "furo"
html_title = "tinygrad_ce"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = html_show_sourcelink = html_show_copyright = False
html_domain_indices = False
html_show_search_summary = False  # a page opened from a file may not fetch others, as summaries would
pygments_dark_style = "github-dark"

# The package brings MathJax; as SVG, one file does it all, and no fonts are fetched.
_mathjax = find_spec("sphinx-mathjax-offline")
if _mathjax is not None and _mathjax.origin is not None:
    html_static_path.append(str(Path(_mathjax.origin).parent / "static" / "mathjax" / "tex-svg-full.js"))
mathjax_path = "tex-svg-full.js"
# What explain shows in a notebook has its formulas between dollars.
mathjax3_config = {"tex": {"inlineMath": [["\\(", "\\)"], ["$", "$"]]}}
myst_mathjax_classes = "math|text_html"

nb_execution_mode = "off"  # the course is kept with its outputs
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
myst_url_schemes = {"http": None, "https": None, "mailto": None, "at": {"url": "{{path}}"}}

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"
default_role = "code"
napoleon_custom_sections = [("Attributes", "params_style"), "Source"]
napoleon_use_rtype = False
nitpick_ignore_regex = [
    (r"py:.*", r"(?!tinygrad_ce).*"),  # NumPy's, Python's, scikit-learn's
    (r"py:class", r"tinygrad_ce\..*"),  # in a signature: a type that isn't public, for those that are have their place
]


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what in ("property", "attribute", "data"):
        lines[:0] = ["..", ""]  # else napoleon takes what stands before a colon for a type


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    ours = (getattr(obj, "__module__", None) or project).startswith(project)
    return None if ours else True  # what scikit-learn adds to an estimator, it documents


def _add_other_names(app: Any, env: Any) -> None:
    objects = env.domains.python_domain.objects
    for name, (_, others) in things().items():
        objects.update({other: objects[name]._replace(aliased=True) for other in others})


def _show_node(app: Any, env: Any) -> None:
    """A page for the code of node.py, where reading begins: it has no public name, and would have none."""
    source = ModuleAnalyzer.for_module("tinygrad_ce.engine.node")
    source.find_tags()
    env._viewcode_modules[source.modname] = source.code, source.tags, {}, source.modname


def _drop_backlinks(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if page.startswith("_modules/"):  # viewcode takes all names of a file for those of one module, and links amiss
        context["body"] = re.sub(r'<a class="viewcode-back".*?</a>', "", context["body"])


def _link_to_lite(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if re.match(r"notebooks/\d", page) and not lite.missing():
        context["body"] = lite.with_link(page.partition("/")[2], context["body"])


def _say_language(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    context["language"] = translated.of(page)


def setup(app: Any) -> None:
    """Tell Sphinx what it must know beyond its settings: see each function."""
    app.connect("autodoc-process-docstring", _process, priority=100)
    app.connect("autodoc-skip-member", _skip)
    app.connect("env-updated", _add_other_names)
    app.connect("env-updated", _show_node)
    app.connect("html-page-context", _drop_backlinks)
    app.connect("html-page-context", _link_to_lite)
    app.connect("html-page-context", _say_language)
