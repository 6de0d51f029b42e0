"""What the site is made of: the API reference of every module, figures, and pages that all can be reached."""

import re
from pathlib import Path

import numpy as np
import pytest

from explain.api import modules_of, to_rst
from explain.drawing import svg_of
from explain.figures import FIGURES, MOST_BYTES, weights_of
from explain.results import cells
from pages import ROOT

DOCS = ROOT / "docs"


def test_every_module_of_both_packages_is_in_the_api_reference() -> None:
    listed = [
        name
        for page in (DOCS / "api").glob("*.md")
        for block in re.findall(r":::\{modules\}\n(.*?):::", page.read_text(), re.DOTALL)
        for of in block.split()
        for name in modules_of(of)
    ]
    assert len(listed) == len(set(listed))
    expected = set()
    for root in (ROOT / "src", ROOT / "runtime/src"):
        for path in root.rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            expected.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    private = {name for name in expected if name.rpartition(".")[2].startswith("__")}
    assert set(listed) == expected - private - {"foreact"}  # its two names are those of other modules


def test_a_docstring_of_ours_becomes_restructured_text() -> None:
    lines = ["Return `x` of `Camera`, not `a*b`: 2*3 and a_ too.", "", "    code: *here*", "", "Args:", "    x: `y`."]
    assert to_rst(lines) == [
        "Return ``x`` of :py:obj:`Camera`, not ``a*b``: 2\\*3 and a\\_ too.",
        "",
        "::",
        "",
        "    code: *here*",
        "",
        "Args:",
        "    x: ``y``.",
    ]


@pytest.mark.parametrize("coeff", [0.01, 0.1, -0.1])
def test_the_weights_in_the_picture_are_the_papers(coeff: float) -> None:
    expected = np.exp(-coeff * np.arange(20))
    np.testing.assert_allclose(weights_of(coeff, 20), expected / expected.sum(), rtol=1e-6)


@pytest.mark.parametrize("name", ["ensemble_weights", "closing_errors"])
def test_a_figure_is_small_the_same_every_time_and_has_the_pages_ink(name: str) -> None:
    svg = svg_of(FIGURES[name](), name, title="a < b")
    assert svg == svg_of(FIGURES[name](), name, title="a < b")
    assert len(svg) < MOST_BYTES
    assert "currentColor" in svg
    assert 'aria-label="a &lt; b"' in svg
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert ids
    assert all(of.startswith(f"{name}-") for of in ids)
    assert set(re.findall(r'xlink:href="#([^"]+)"', svg)) <= set(ids)


def test_the_studys_figures_are_those_of_its_files() -> None:
    shown = {cell.label: (cell.successes, cell.episodes) for cell in cells()}
    assert shown["LeRobot 0.6.1's ACT, ResNet-18"] == (28, 200)  # docs/grounding.md
    assert shown["small network, token + crop + frame"] == (188, 200)
    assert all(0 < len(cell.errors) <= cell.episodes for cell in cells())


def test_every_figure_is_on_a_page() -> None:
    used = re.findall(r"^:::\{made\} (\w+)$", (DOCS / "deep_dive.md").read_text(), re.MULTILINE)
    assert sorted(used) == sorted(FIGURES)


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = set()
    for page in DOCS.rglob("*.md"):
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
            for entry in (line for line in block.splitlines() if line and not line.startswith(":")):
                listed |= {path.resolve() for path in page.parent.glob(f"{entry}.md")}
    pages = {path.resolve() for path in DOCS.rglob("*.md")} - {(DOCS / "index.md").resolve()}
    assert pages == listed
    assert (Path(DOCS) / "faithfulness.md").resolve() in listed
