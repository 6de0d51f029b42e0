"""Blocks of code are found by their symbols, and their absence is noticed."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from explain.source import BlockError, find_block, wrapped
from foreact.model import latent, losses
from foreact.model.transformer import DecoderLayer
from pages import ROOT

MODULE = '''"""A module."""

LIMIT = 3


class Arm:
    """An arm."""

    reach: float = 0.4
    """In metres."""

    def move(self, far: int) -> int:
        """Move.

        Args:
            far: How far.
        """
        # No further than it can.
        steps = min(far, LIMIT)
        if steps > 1:
            steps = steps - 1

            steps = steps * 2
        return steps
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of one module, to be changed."""
    folder = tmp_path / "made_for_blocks"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "arm.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def without_docstring(function: Callable[..., object]) -> str:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    (definition,) = tree.body
    assert isinstance(definition, ast.FunctionDef)
    if ast.get_docstring(definition) is not None:
        definition.body = definition.body[1:]
    return ast.dump(tree)


@pytest.mark.parametrize("function", [losses.kl_divergence, latent.sample_latent, DecoderLayer.forward])
def test_a_block_is_its_symbols_source_without_the_docstring(function: Callable[..., object]) -> None:
    block = find_block(f"{function.__module__}.{function.__qualname__}")
    assert ast.dump(ast.parse(block.code)) == without_docstring(function)
    assert ast.dump(ast.parse(wrapped(block.code))) == without_docstring(function)


def test_a_part_of_a_symbol_goes_from_statement_to_statement_with_the_comment_before(package: Path) -> None:
    block = find_block("made_for_blocks.arm.Arm.move[steps = min .. return]")
    assert (block.module, block.qualname) == ("made_for_blocks.arm", "Arm.move")
    lines = ["# No further than it can.", "steps = min(far, LIMIT)", "if steps > 1:", "    steps = steps - 1", ""]
    assert block.code.splitlines() == [*lines, "    steps = steps * 2", "return steps"]


def test_constants_fields_and_methods_are_symbols(package: Path) -> None:
    assert find_block("made_for_blocks.arm.LIMIT").code == "LIMIT = 3"
    assert find_block("made_for_blocks.arm.Arm[reach]").code == "reach: float = 0.4"
    whole = find_block("made_for_blocks.arm.Arm.move").code.splitlines()
    assert whole[:2] == ["def move(self, far: int) -> int:", "    # No further than it can."]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("arm.Arm.lift", "'made_for_blocks.arm.Arm.lift' is gone: 'made_for_blocks.arm.Arm' has no 'lift'"),
        ("arm.Leg", "'made_for_blocks.arm.Leg' is gone: 'made_for_blocks.arm' has no 'Leg'"),
        ("leg.Leg", "'made_for_blocks.leg.Leg': there is no module 'made_for_blocks.leg'"),
        ("arm", "a module is no block"),
        ("arm.LIMIT.real", "'LIMIT' is no class"),
        ("arm.Arm.move[ste]", "is gone: no statement begins with 'ste'"),
        ("arm.Arm.move[steps]", "3 statements begin with 'steps'"),
        ("arm.Arm.move[return .. steps = min]", "'steps = min' stands before 'return'"),
    ],
)
def test_what_is_gone_or_not_clear_is_said_with_the_blocks_name(package: Path, name: str, message: str) -> None:
    with pytest.raises(BlockError, match=re.escape(message)) as caught:
        find_block(f"made_for_blocks.{name}")
    assert "made_for_blocks" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_renamed_symbol_is_noticed(package: Path) -> None:
    name = "made_for_blocks.arm.Arm.move"
    find_block(name)
    (package / "arm.py").write_text(MODULE.replace("def move", "def go"))
    with pytest.raises(BlockError, match=re.escape(f"'{name}' is gone")):
        find_block(name)


def test_every_block_of_the_walkthrough_is_there() -> None:
    names = re.findall(r"^:::\{block\} (.+)$", (ROOT / "docs/walkthrough_code.md").read_text(), re.MULTILINE)
    assert len(names) > 30
    for name in names:
        assert ast.parse(find_block(name).code).body, name  # whole statements, which can be wrapped


def test_every_symbol_of_the_walkthrough_is_part_of_a_shape_that_is_checked() -> None:
    text = (ROOT / "docs/walkthrough_code.md").read_text()
    (table,) = re.findall(r"^:::\{symbols\}\n(.*?)\n:::", text, re.MULTILINE | re.DOTALL)
    symbols = {line.partition(" =")[0] for line in table.splitlines()}
    shapes = re.findall(r"^  \S.* \(([^()]+)\)$", text, re.MULTILINE)
    assert symbols == set(re.findall(r"[A-Za-z]+", " ".join(shapes)))


def test_the_walkthrough_goes_from_configuration_to_action() -> None:
    text = (ROOT / "docs/walkthrough_code.md").read_text()
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    order = ["Configuration", "Data", "Normalisation", "Backbone", "Positions", "CVAE", "Encoder", "Decoder", "Losses"]
    headings = [heading.partition(":")[0] for heading in parts[::2]]
    assert headings == [*order, "Gradient flow", "Optimiser", "Action"]
    assert all(":::{block}" in body for body in parts[1::2])


def test_the_walkthrough_explains_the_temporal_ensemble_with_the_shapes_of_the_preset_that_has_it() -> None:
    action = (ROOT / "docs/walkthrough_code.md").read_text().split("\n## Action\n")[1].split("\n## ")[0]
    for method, shape in (("__init__", "self._share (T)"), ("add", "chunk (T, A)")):
        block = f":::{{block}} foreact_runtime.temporal_ensemble.TemporalEnsemble.{method}\n"
        assert block in action
        assert f"  r1pro: {shape}\n" in action.split(block)[1].split("\n:::\n")[0]
