import math
import subprocess
import sys

import pytest
import tyro

from foreact.errors import ConfigError
from foreact.sim.task import LEVELS, TaskConfig, level


def test_the_levels_have_the_values_of_the_reference() -> None:
    assert list(LEVELS) == ["L0", "L1", "L2", "L3"]
    assert [task.cue_sigma for task in LEVELS.values()] == [0.0, 0.01, 0.02, 0.02]
    assert [task.cue_cut for task in LEVELS.values()] == [None, None, 0.03, 0.03]
    assert [task.yaw for task in LEVELS.values()] == [0.0, 0.0, math.radians(45), math.radians(45)]
    assert [task.min_separation for task in LEVELS.values()] == [0.06, 0.06, 0.08, 0.08]
    assert [task.confusers for task in LEVELS.values()] == [(1, 1), (1, 1), (1, 1), (1, 3)]
    assert [task.bowl for task in LEVELS.values()] == ["fixed", "fixed", "fixed", "random"]
    assert [task.looks for task in LEVELS.values()] == ["fixed", "fixed", "fixed", "vary"]
    assert all(task.fps == 10.0 and task.positions == "uniform" for task in LEVELS.values())


def test_a_level_takes_overrides() -> None:
    task = level("L2", fps=20.0, overhead_size=(48, 64))
    assert (task.fps, task.size("overhead"), task.size("wrist")) == (20.0, (48, 64), (96, 96))
    assert task.cue_sigma == LEVELS["L2"].cue_sigma
    assert task.max_steps == 160


def test_a_misspelt_level_or_option_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown level 'L-1'; did you mean 'L1'"):
        level("L-1")
    with pytest.raises(ConfigError, match="unknown task option 'cue_sigm'; did you mean 'cue_sigma'"):
        level("L1", cue_sigm=0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cue_sigma": -0.01}, "task.cue_sigma is -0.01"),
        ({"cue_sigma": math.nan}, "task.cue_sigma is nan"),
        ({"cue_cut": 0.0}, "task.cue_cut is 0.0"),
        ({"confusers": (2, 1)}, r"task.confusers is \(2, 1\)"),
        ({"confusers": (0, 4)}, "room for 3"),
        ({"fps": 0.0}, "task.fps is 0.0"),
        ({"positions": "clustered"}, "unknown task.positions 'clustered'; did you mean 'clusters'"),
        ({"positions": ()}, "task.positions is empty"),
        ({"bowl": "fix"}, "unknown task.bowl 'fix'; did you mean 'fixed'"),
        ({"cameras": ("top",)}, "unknown camera 'top'"),
        ({"wrist_size": (0, 96)}, r"task.wrist_size is \(0, 96\)"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TaskConfig(**options)  # type: ignore[arg-type]


def test_the_command_line_can_set_every_kind_of_option() -> None:
    arguments = "--positions 0.2 0.1 0.2 -0.05 --cue-cut None --cameras wrist --confusers 0 2 --exclude 0.2 0.0"
    task = tyro.cli(TaskConfig, args=arguments.split())
    assert task.positions == ((0.2, 0.1), (0.2, -0.05))
    assert (task.cue_cut, task.cameras, task.confusers, task.exclude) == (None, ("wrist",), (0, 2), ((0.2, 0.0),))
    assert tyro.cli(TaskConfig, args=["--positions", "clusters"]).positions == "clusters"


def test_importing_the_task_imports_nothing_heavy() -> None:
    code = "import sys, foreact.sim.task\nprint(sorted({'mujoco', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
