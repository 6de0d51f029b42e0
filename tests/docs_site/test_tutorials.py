"""The tutorials run: every command and code block of each, in order, with fewer demonstrations and steps."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

import behavior_files
from data import aloha_files
from foreact.cli.main import run
from pages import ROOT, page_blocks, run_block, run_line

SMALL = (
    "--train.steps 2 --train.warmup-steps 1 --train.batch-size 4 --policy.vision-backbone cnn "
    "--policy.pretrained-backbone-weights None --policy.backbone-norm group --policy.dim-model 16 --policy.n-heads 2 "
    "--policy.dim-feedforward 32 --policy.n-encoder-layers 1 --policy.n-decoder-layers 1 "
    "--policy.n-vae-encoder-layers 1"
)
"""Training's cost taken away; what is trained on and for stays the page's."""


def record(*options: str) -> Callable[[Path], object]:
    return lambda folder: run(["record", str(folder), "--episodes", "4", "--cameras", "48x64", *options])


DATA: dict[str, dict[str, Callable[[Path], object]]] = {
    "so101_data": {"my_dataset": record("--level", "L1")},
    "aloha_data": {"my_aloha": aloha_files.write},
    "behavior": {"behavior_demos": lambda folder: behavior_files.write_2026(folder, dict.fromkeys(range(4), 24))},
    "click": {},
    "deploying": {},
    "python_api": {},
}
"""By tutorial, what its reader already has."""


def small(line: str) -> str:
    """A page's command as the test runs it."""
    line = line.replace("128x128", "48x64")
    line = re.sub(r"--episodes \d+", "--episodes 2" if " eval " in line else "--episodes 4", line)
    words = shlex.split(line)
    shorter = ["--policy.chunk-size", "8", "--policy.n-action-steps", "4"] if words[1:3] == ["train", "so101"] else []
    return shlex.join([*words, *(SMALL.split() if words[1] == "train" else []), *shorter])


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA)
def test_every_block_of_a_tutorial_runs(name: str, page_folder: Path) -> None:
    for folder, write in DATA[name].items():
        write(page_folder / folder)
    blocks = page_blocks(f"tutorials/{name}.md")
    assert blocks
    for language, body in blocks:
        assert language in ("python", "sh", "text")
        run_block(language, body, lambda line: run_line(small(line)))


def test_every_tutorial_is_listed_and_run() -> None:
    pages = {path.stem for path in (ROOT / "docs/tutorials").glob("*.md")} - {"index"}
    assert pages == set(DATA)
    listed = (ROOT / "docs/tutorials/index.md").read_text().split()
    assert pages < set(listed)
    assert {"../walkthrough", "../compare"} < set(listed)  # run by tests/test_docs.py
