"""What a remedy names exists: options of `foreact train` and commands."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

import foreact.diagnose
from foreact.cli import main
from foreact.config import PolicyConfig, SourceConfig, TrainConfig

FILES = sorted(Path(foreact.diagnose.__file__).parent.glob("*.py"))
CONFIGS = {"policy": PolicyConfig, "train": TrainConfig, "source": SourceConfig}


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_every_option_and_command_that_is_named_exists(file: Path) -> None:
    text = file.read_text()
    assert not re.findall(r"--no-\w+\.", text), "it is --policy.no-use-vae"
    for group, option in re.findall(r"--(policy|train|source)\.([a-z-]+)", text):
        known = {field.name: field.type for field in fields(CONFIGS[group])}
        name = option.removeprefix("no-").replace("-", "_")
        assert name in known, f"--{group}.{option}"
        assert known[name] == "bool" or not option.startswith("no-"), f"--{group}.{option}"
    for command in re.findall(r"foreact ((?:record|inspect|tune-executor|diagnose|compare|train)\b)", text):
        assert command in main.COMMANDS
