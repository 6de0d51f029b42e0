"""Demonstrations of the scripted expert, recorded in several processes as a LeRobotDataset v3.0.

Scenes are tried seed by seed from `seed` on and added in that order, so the data set depends on the settings
alone, not on the number of processes nor on interruptions. Beside LeRobot's files stand

    meta/foreact.json      cameras, arm, and of paired demonstrations which episodes show the same scene
    meta/recording.json    the settings
    meta/recording.jsonl   one line an episode that was tried: outcome, true positions, episode index or null
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from foreact.console import console, progress_bar
from foreact.data.files import write_json
from foreact.data.lerobot_info import load_json
from foreact.data.lerobot_v3_writer import DatasetWriter, StagedEpisode, stage_episode
from foreact.data.sidecar import SIDECAR, Sidecar, write_sidecar
from foreact.errors import ConfigError, DataError, SimulationError
from foreact.processes import WorkerPool, results_in_order
from foreact.records import Camera, Features
from foreact.sim.task import TaskConfig
from foreact_runtime import keys

ROBOT_TYPE = "so101_follower"
TASK_TEXT = "Pick the block at the given position and place it in the bowl."
SETTINGS = "meta/recording.json"
TRIED = "meta/recording.jsonl"


@dataclass(frozen=True, kw_only=True)
class RecordConfig:
    """What is recorded."""

    task: TaskConfig
    episodes: int
    """Successful episodes to record."""
    seed: int = 0
    """Seed of the first try; each further try takes the next."""
    action_noise: float = 0.02
    """Standard deviation [rad] of noise on the executed joint targets; the clean action is recorded, so the data
    show how to get back on course (DART, Laskey et al. 2017). The gripper gets none."""
    noisy_share: float = 0.6
    """Share of the episodes with action noise."""
    paired: bool = False
    """Record each scene once for each of its blocks as target, one episode after the other; only scenes in which all
    of them succeed are kept, and `episodes` is rounded up to whole scenes."""

    def __post_init__(self) -> None:
        for name, least in (("episodes", 1), ("seed", 0), ("action_noise", 0), ("noisy_share", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if self.paired and self.task.confusers[0] < 1:
            raise ConfigError(
                f"paired demonstrations need two blocks or more in every scene, but task.confusers is "
                f"{self.task.confusers}; its first number must be at least 1"
            )
        if self.paired and not self._any_block_may_be_target():
            raise ConfigError(
                "paired demonstrations need every block to stand where a target may; choose task.positions uniform, "
                "or clusters with task.confusers (1, 1)"
            )

    def _any_block_may_be_target(self) -> bool:
        positions = self.task.positions
        return positions == "uniform" or (positions == "clusters" and self.task.confusers == (1, 1))


@dataclass(frozen=True, kw_only=True)
class RecordResult:
    """What a recording leaves behind."""

    root: Path
    recorded: int
    """Episodes in the data set."""
    failed: int
    """Episodes that were tried and left out: the expert failed, or failed for another block of a paired scene."""
    finished: bool
    """False where Ctrl-C ended it."""


@dataclass(frozen=True, kw_only=True)
class _Try:
    """One episode that was tried: staged where it is to be kept."""

    seed: int
    block: int | None
    """Which block of a paired scene was the target."""
    outcome: str
    target: tuple[float, float]
    confusers: tuple[tuple[float, float], ...]
    staged: StagedEpisode | None


def record(config: RecordConfig, out: str | Path, *, workers: int | None = None) -> RecordResult:
    """Record demonstrations, or continue a recording with the same settings.

    Args:
        config: What to record.
        out: The data set's folder.
        workers: Simulating processes; None for one a core.

    Raises:
        DataError: If the folder holds something else, other settings, or cannot be written.
        SimulationError: If rendering is not possible, or the expert hardly ever succeeds.
    """
    from foreact.sim.calibration import calibration_of_task

    root = Path(out)
    complete = _prepare(root, config)
    if complete:
        tried = _read_tried(root)
        logged = _successes(tried)
        if not (root / SIDECAR).exists():  # recorded by a version that did not write it
            write_sidecar(root, calibration_of_task(config.task))
        return RecordResult(root=root, recorded=logged, failed=len(tried) - logged, finished=True)
    writer = DatasetWriter(root, features=_features(config.task), robot_type=ROBOT_TYPE, resume=True)
    tried = _read_tried(root, n_episodes=writer.n_episodes)
    logged = _successes(tried)
    failed = len(tried) - logged
    first = config.seed + len({line["seed"] for line in tried})
    finished = True
    try:
        sidecar = calibration_of_task(config.task)
        write_sidecar(root, _with_scenes(sidecar, config, tried))
        with (
            _bar(config.episodes, logged, failed) as progress,
            (root / TRIED).open("a") as log,
            closing(_scenes(config, writer.staging, first=first, workers=workers)) as scenes,
        ):
            while logged < config.episodes:
                for attempt in next(scenes):
                    index = None
                    if attempt.staged is not None:
                        # A run killed while it added a scene has episodes without lines, or lines that were cut off.
                        index = writer.add(attempt.staged) if logged == writer.n_episodes else logged
                        logged += 1
                    else:
                        failed += 1
                    tried.append({**_line(attempt), "episode_index": index})
                    log.write(json.dumps(tried[-1]) + "\n")
                    log.flush()
                    progress.update(progress.task_ids[0], completed=logged, failed=failed)
                if config.paired:
                    write_sidecar(root, _with_scenes(sidecar, config, tried))
                if failed > 50 and failed > 4 * logged:
                    raise SimulationError(f"the expert failed in {failed} of {failed + logged} episodes; ease the task")
        writer.finish()
        _write_settings(root, config, complete=True)
    except KeyboardInterrupt:
        finished = False
        console.print(f"stopped with {logged} of {config.episodes} episodes; the same command continues")
    finally:
        writer.close()
    return RecordResult(root=root, recorded=logged, failed=failed, finished=finished)


def _scenes(
    config: RecordConfig, staging: Path, *, first: int, workers: int | None
) -> Generator[list[_Try], None, None]:
    """Yield scenes in the order of their seeds, a few ahead in other processes."""
    workers = max(1, workers or os.cpu_count() or 1)
    pool = WorkerPool(workers)
    scene = partial(_scene, config, staging=staging)
    try:
        yield from results_in_order(pool, scene, count(first), 3 * workers)
    except BrokenProcessPool as error:
        raise SimulationError("a simulating process was killed, perhaps for memory; try fewer --workers") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_ENV: Any = None
"""The environment of this worker process, kept between episodes: making one costs a second."""


def _scene(config: RecordConfig, seed: int, staging: Path) -> list[_Try]:
    """Run the episodes of one seed in a worker process: one, or one a block until one fails."""
    if not config.paired:
        return [_try(config, seed, None, staging)]
    tries = [_try(config, seed, 0, staging)]
    while tries[-1].outcome == "success" and not _is_whole(len(tries), len(tries[0].confusers)):
        tries.append(_try(config, seed, len(tries), staging))
    if tries[-1].outcome == "success":
        return tries
    for attempt in tries[:-1]:  # they succeeded, but without the others they are no scene
        assert attempt.staged is not None
        for video in attempt.staged.videos.values():
            video.unlink()
    return [replace(attempt, staged=None) for attempt in tries]


def _try(config: RecordConfig, seed: int, target: int | None, staging: Path) -> _Try:
    """Run one episode in a worker process.

    Args:
        config: What is recorded.
        seed: Of the scene.
        target: Which of its blocks is the target in a paired recording.
        staging: Where its videos wait.
    """
    global _ENV
    from foreact.sim.env import PickPlaceEnv
    from foreact.sim.expert import Expert

    if _ENV is None:
        _ENV = PickPlaceEnv(config.task)
    env = _ENV
    observation, info = env.reset(seed=seed, options={"target": target})
    expert = Expert(env)
    expert.reset()
    noise = np.random.default_rng([seed, 1, target or 0])  # a last 0 changes nothing
    sigma = config.action_noise if noise.random() < config.noisy_share else 0.0
    steps: dict[str, list[np.ndarray]] = {key: [] for key in (*observation, keys.ACTION)}
    scene = info
    ended = False
    while not ended:
        action = expert.act()
        for key, value in observation.items():
            steps[key].append(value)
        steps[keys.ACTION].append(action)
        executed = action.copy()
        executed[:5] += noise.normal(0, sigma, 5) if sigma else 0
        executed = np.clip(executed, env.action_space.low, env.action_space.high).astype(np.float32)
        observation, _, terminated, truncated, info = env.step(executed)
        ended = terminated or truncated
    staged = None
    if info["outcome"] == "success":
        images = {key: frames for key, frames in steps.items() if keys.camera_of(key)}
        staged = stage_episode(
            staging,
            task=TASK_TEXT,
            vectors={key: np.stack(values) for key, values in steps.items() if key not in images},
            frames={str(keys.camera_of(key)): frames for key, frames in images.items()},
            fps=config.task.fps,
        )
    return _Try(
        seed=seed,
        block=target,
        outcome=str(info["outcome"]),
        target=scene["target"],
        confusers=scene["confusers"],
        staged=staged,
    )


def _features(task: TaskConfig) -> Features:
    from foreact.sim.scene import ACTION_NAMES

    return Features(
        action_names=ACTION_NAMES,
        state_names=ACTION_NAMES,
        environment_names=task.environment_names,
        cameras=tuple(Camera(name=name, height=task.size(name)[0], width=task.size(name)[1]) for name in task.cameras),
        fps=task.fps,
    )


def _prepare(root: Path, config: RecordConfig) -> bool:
    """Write the settings, or compare with those of the recording that is continued; return whether it is complete."""
    settings = json.loads(json.dumps(asdict(config)))
    path = root / SETTINGS
    if path.exists():
        before = load_json(path)
        for name, value in {**settings, **settings["task"]}.items():
            old = {"paired": False, "tell_bowl": False, **before, **before["task"]}.get(name)  # older ones do not say
            if name not in ("task", "episodes") and old != value:
                raise DataError(f"'{root}' was recorded with {name} {old}, not {value}; choose another folder")
        return bool(before["complete"] and before["episodes"] >= config.episodes)
    if root.exists() and any(root.iterdir()):
        raise DataError(f"'{root}' is not empty and not a recording; choose another folder")
    _write_settings(root, config, complete=False)
    return False


def _write_settings(root: Path, config: RecordConfig, *, complete: bool) -> None:
    write_json(root / SETTINGS, {**asdict(config), "complete": complete})


def _read_tried(root: Path, n_episodes: int | None = None) -> list[dict[str, Any]]:
    """Return the log's lines; what a killed run left incomplete is cut off and tried again.

    Args:
        root: Of the recording.
        n_episodes: Of the data set, which may lack what the last lines say; None where it is complete.
    """
    path = root / TRIED
    if not path.exists():
        return []
    text = path.read_text()
    lines = text[: text.rfind("\n") + 1].splitlines()
    tried = [json.loads(line) for line in lines]
    while n_episodes is not None and _successes(tried) > n_episodes:
        tried.pop()
    while tried and not _ends_a_scene(tried):
        tried.pop()
    kept = "".join(f"{line}\n" for line in lines[: len(tried)])
    if kept != text:
        path.write_text(kept)
    return tried


def _ends_a_scene(tried: list[dict[str, Any]]) -> bool:
    """Return whether the last line is not one of a paired scene of which other lines are missing."""
    last = tried[-1]
    if last["outcome"] != "success" or "block" not in last:
        return True
    return _is_whole(last["block"] + 1, len(last["confusers"]))


def _is_whole(n_tried: int, n_confusers: int) -> bool:
    """Return whether each block of a scene has been the target."""
    return n_tried == 1 + n_confusers


def _with_scenes(sidecar: Sidecar, config: RecordConfig, tried: list[dict[str, Any]]) -> Sidecar:
    """Return the sidecar with the scene of each episode of a paired recording, numbered from 0."""
    if not config.paired:
        return sidecar
    seeds = [line["seed"] for line in tried if line["episode_index"] is not None]
    _, scenes = np.unique(seeds, return_inverse=True)
    return replace(sidecar, scenes=tuple(scenes.tolist()))


def _successes(tried: list[dict[str, Any]]) -> int:
    return sum(line["episode_index"] is not None for line in tried)


def recorded_scenes(root: str | Path) -> list[dict[str, Any]]:
    """Return one entry a recorded episode: `seed`, `target` (x, y) [m], `confusers`, `episode_index`.

    Of paired demonstrations also `block`: which block of the seed's scene was the target.

    Raises:
        DataError: If the data set was not written by `foreact record`.
    """
    path = Path(root) / TRIED
    if not path.exists():
        raise DataError(f"'{root}' has no {TRIED}: where its episodes began is only known of foreact's recordings")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["episode_index"] is not None]


def _line(attempt: _Try) -> dict[str, Any]:
    return {
        "seed": attempt.seed,
        **({} if attempt.block is None else {"block": attempt.block}),
        "outcome": attempt.outcome,
        "target": list(attempt.target),
        "confusers": [list(position) for position in attempt.confusers],
    }


def _bar(total: int, done: int, failed: int) -> Progress:
    progress = progress_bar("recording", "episodes, {task.fields[failed]} failed and left out")
    progress.add_task("", total=total, completed=done, failed=failed)
    return progress
