"""`foreact record OUT --level L1 --episodes N`: write demonstrations of the scripted expert."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from foreact.cli.options import parse
from foreact.cli.task_options import level_of, with_size
from foreact.sim.task import TaskConfig


@dataclass(frozen=True, kw_only=True)
class RecordOptions:
    """Record demonstrations of the scripted expert in simulation as a LeRobotDataset v3.0.

    The same command continues an interrupted recording.
    """

    out: Annotated[Path, tyro.conf.Positional]
    """Folder of the data set."""
    level: str = "L1"
    """Difficulty: L0, L1, L2 or L3; its parts can be changed one by one with --task options."""
    episodes: int = 50
    """Successful episodes; failed ones are left out and counted."""
    seed: int = 0
    """Seed of the first episode; each further one takes the next."""
    cameras: str | None = None
    """Size of both cameras, HEIGHTxWIDTH; --task.overhead-size and --task.wrist-size set them one by one."""
    action_noise: float = 0.02
    """Noise on the executed joint targets [rad]; the clean action is recorded."""
    noisy_share: float = 0.6
    """Share of the episodes with action noise."""
    paired: bool = False
    """Record each scene once for each of its blocks as target; --episodes is rounded up to whole scenes."""
    tell_bowl: bool = False
    """Coordinates of four dimensions: the block's x and y and the bowl's (--task.tell-bowl)."""
    workers: int | None = None
    """Simulating processes; one a core where it is not given."""
    task: TaskConfig = field(default_factory=TaskConfig)


def run(arguments: list[str]) -> int:
    """Parse, record, and return 0, or 130 where Ctrl-C ended it."""
    _, task = level_of(arguments, "L1")
    default = RecordOptions(out=tyro.MISSING, task=task)
    options = parse(RecordOptions, arguments, command="record", default=default)
    task = options.task if options.cameras is None else with_size(options.task, options.cameras)
    task = replace(task, tell_bowl=True) if options.tell_bowl else task

    from foreact.sim.record import RecordConfig, record

    config = RecordConfig(
        task=task,
        episodes=options.episodes,
        seed=options.seed,
        action_noise=options.action_noise,
        noisy_share=options.noisy_share,
        paired=options.paired,
    )
    result = record(config, options.out, workers=options.workers)
    if not result.finished:
        return 130
    whole = (
        f" (whole scenes, {options.episodes} asked for)" if options.paired and result.recorded > config.episodes else ""
    )
    print(f"recorded {result.recorded} episodes{whole} in {result.root}; {result.failed} failed and were left out")
    return 0
