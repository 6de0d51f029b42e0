"""Training with conditioning `frame` where the arm's `gripper_closed` is wrong: refused before the first step."""

from dataclasses import replace
from pathlib import Path

import pytest

from foreact.config import RunConfig
from foreact.data.sidecar import read_sidecar, write_sidecar
from foreact.errors import ConfigError
from foreact.sim.record import RecordConfig, record
from foreact.sim.task import level
from foreact.train.run import train


@pytest.fixture
def demos(tmp_path: Path) -> Path:
    """Two demonstrations whose gripper goes from 0.5 rad to what it holds and back."""
    task = level("L1", cameras=("overhead",), overhead_size=(32, 32))
    return record(RecordConfig(task=task, episodes=2), tmp_path / "demos", workers=1).root


@pytest.mark.parametrize(("wrong", "verdict"), [(-2.0, "never"), (20.0, "always")])
def test_a_gripper_closed_that_is_never_passed_is_refused_with_the_value_to_take(
    tiny_run: RunConfig, demos: Path, cache_dir: Path, tmp_path: Path, wrong: float, verdict: str
) -> None:
    right = read_sidecar(demos)
    assert right.arm is not None
    run = replace(tiny_run, policy=replace(tiny_run.policy, cameras=()), train=replace(tiny_run.train, steps=3))
    framed = replace(run, policy=replace(run.policy, conditioning=("token", "frame")))
    write_sidecar(demos, replace(right, arm=replace(right.arm, gripper_closed=wrong)))
    with pytest.raises(ConfigError, match=f"the jaws {verdict} count as closed.*set gripper_closed to ") as refused:
        train(framed, data=demos, out=tmp_path / "framed", cache_dir=cache_dir)
    train(run, data=demos, out=tmp_path / "token", cache_dir=cache_dir)  # nothing hangs on it there

    proposed = float(str(refused.value).split("set gripper_closed to ")[1].split(",")[0])
    assert 0 < proposed < 0.5
    write_sidecar(demos, replace(right, arm=replace(right.arm, gripper_closed=proposed)))
    train(framed, data=demos, out=tmp_path / "mended", cache_dir=cache_dir)
