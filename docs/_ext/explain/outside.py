"""Measurements that lie beside their JSON in benchmarks/results/ are pages of the site too: docs/measured/."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_LINK = re.compile(r"\]\(\.\./benchmarks/results/(\w+)\.md")


def _redirect(app: Sphinx, name: str, source: list[str]) -> None:
    """Links that are right in the repository lead to the site's copy."""
    source[0] = _LINK.sub(r"](measured/\1.md", source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("source-read", _redirect)
    return {"version": "1", "parallel_read_safe": True}
