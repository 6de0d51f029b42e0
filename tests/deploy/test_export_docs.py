"""The page about bundles runs: every command and code block, on a policy of two training steps."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pages import page_blocks, run_block, run_line

SMALL = "--train.steps 2 --train.warmup-steps 1 --train.batch-size 2 --policy.dim-model 32 --policy.n-encoder-layers 1"
BEFORE = (
    "foreact record demos --episodes 4 --cameras 96x96",
    f"foreact train compact-grounded --data demos --out runs/quickstart {SMALL}",
)
AFTER = "foreact eval int8 --level L1 --episodes 2 --envs 1 --no-expert"
OBSERVED = """
from foreact.sim.env import PickPlaceEnv
from foreact.sim.task import level
observation, _ = PickPlaceEnv(level("L1", overhead_size=(96, 96), wrist_size=(96, 96))).reset(seed=0)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("page_folder")
def test_every_block_runs_and_a_bundle_is_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    for line in BEFORE:
        run_line(line)
    capsys.readouterr()
    for language, body in page_blocks("deploy.md"):
        if language == "python":
            body = OBSERVED + body + "\nassert action.shape == (6,)\n"
        run_block(language, body)
    printed = capsys.readouterr().out
    rates = dict(re.findall(r"^(original|openvino int8) +(\d/2) ", printed, re.MULTILINE))
    measured = json.loads(Path("int8.json").read_text())
    assert {name: f"{of['successes']}/{of['episodes']}" for name, of in measured["success"].items()} == rates
    assert set(rates) == {"original", "openvino int8"}
    assert 0 < measured["error"]["mean"] < measured["error"]["largest"]
    assert printed.count("differs from the original by") == 4
    run_line(AFTER)
    assert "success" in capsys.readouterr().out
    call = [sys.executable, "-m", "foreact_runtime", "bundle", "--runs", "2"]
    assert "self-check" in subprocess.run(call, capture_output=True, text=True, timeout=600, check=True).stdout
