"""How Sphinx builds the site: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))

from foreact import __version__  # noqa: E402

project = "Foreact"
author = "the authors of Foreact"
copyright = "the authors of Foreact; Apache-2.0"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "explain.api",
    "explain.walkthrough",
    "explain.figures",
    "explain.outside",
]
exclude_patterns = ["_ext"]
# Names in annotations are looked up without their module; where two modules have one, Sphinx takes the first.
suppress_warnings = ["ref.python"]

myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 4

viewcode_follow_imported_members = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
toc_object_entries = False
autodoc_mock_imports = ["rerun"]  # half a gigabyte, which no other page needs
autodoc_default_options = {"members": True, "show-inheritance": True, "ignore-module-all": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = "Foreact"
html_static_path = ["_static"]
html_css_files = ["walkthrough.css"]
html_js_files = ["walkthrough.js"]
html_copy_source = False
html_show_search_summary = False  # fetched from the pages, which a browser refuses for file:
html_theme_options = {"navigation_with_keys": True}
html_show_sourcelink = False
