"""Any data set, or several as one, written anew as a LeRobotDataset v3.0.

Episodes are converted in their order, in several processes, and an episode is finished when `meta/info.json` counts it.
So a conversion may be killed at any time, the same command goes on, and the result does not depend on interruptions nor
on the number of processes. Beside LeRobot's files stand

    meta/foreact.json       cameras, arm and scenes, as far as the sources tell
    meta/conversion.json    what is converted, and how
    meta/conversion.jsonl   one line an episode: where it comes from, which frames were kept, or why it was left out
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from foreact.config import SourceConfig
from foreact.console import console, frame_progress
from foreact.data.agreement import sampled_ranges
from foreact.data.bad_episodes import (
    BadEpisodeError,
    check_some_left,
    left_out_text,
    naming_skip_bad,
    read_episode,
    reason_of,
)
from foreact.data.files import refuse_inside, write_json
from foreact.data.lerobot_info import INFO, load_json
from foreact.data.lerobot_v3_writer import DatasetWriter, StagedEpisode, stage_episode
from foreact.data.mixed import MixedSource, origin_of, parts_of
from foreact.data.renamed import rename_sources
from foreact.data.sidecar import Sidecar, write_sidecar
from foreact.data.source import EpisodeSource, open_source
from foreact.data.statistics import vectors
from foreact.data.trim import MARGIN_S, moving_part, still_tolerances
from foreact.data.video import whole_fps
from foreact.errors import ConfigError, DataError
from foreact.processes import WorkerPool, results_in_order
from foreact.records import Camera, Features

SETTINGS = "meta/conversion.json"
LOG = "meta/conversion.jsonl"
_UNKNOWN_ROBOT = "unknown"


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """What is converted, and how."""

    episodes: str = ""
    """Indices and half-open ranges, such as `0:50,60`; empty for all. With several sources they count through them."""
    trim_idle: bool = False
    """Leave out the still frames at the start and end of each episode."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """New names by old ones: cameras, and dimensions of state, coordinates and action."""
    depth: bool = True
    """Convert the depth of RGB-D cameras too."""
    source: SourceConfig = field(default_factory=SourceConfig)
    """How the sources are read."""


@dataclass(frozen=True, kw_only=True)
class ConvertResult:
    """What a conversion leaves behind."""

    root: Path
    n_asked: int
    """Episodes that were to be converted."""
    n_converted: int
    """Episodes in the data set."""
    left_out: Mapping[int, str]
    """Damaged episodes and what is wrong with each."""
    n_trimmed: int
    """Still frames that were left out."""
    finished: bool
    """False where Ctrl-C ended it."""


@dataclass(frozen=True, kw_only=True)
class _Job:
    """All that a process needs to convert episodes; small and picklable."""

    paths: tuple[Path, ...]
    config: ConvertConfig
    tolerances: Mapping[str, np.ndarray] | None
    """For trimming; None keeps all frames."""
    staging: Path

    def open(self) -> EpisodeSource:
        sources = rename_sources([open_source(path, self.config.source) for path in self.paths], self.config.rename)
        return sources[0] if len(sources) == 1 else MixedSource(sources)


@dataclass(frozen=True, kw_only=True)
class _Done:
    """An episode that was read: staged, or found damaged."""

    staged: StagedEpisode | None = None
    kept: tuple[int, int] = (0, 0)
    """First frame and one after the last."""
    reason: str = ""
    """What is wrong with a damaged one."""


def convert(
    sources: Sequence[str | Path],
    out: str | Path,
    config: ConvertConfig | None = None,
    *,
    skip_bad: bool = False,
    workers: int | None = None,
) -> ConvertResult:
    """Convert data sets of any format that is read, or go on with a conversion with the same settings.

    Args:
        sources: One data set, or several that agree (`agreement.py`) and become one.
        out: The new data set's folder.
        config: What and how.
        skip_bad: Leave damaged episodes out instead of stopping at the first.
        workers: Converting processes; None for one a core, 1 for none but this one.

    Raises:
        DataError: If a source is damaged, sources do not agree, or the folder is taken, holds a conversion with other
            settings or cannot be written.
        ConfigError: If there is no such episode or name.
    """
    config = config or ConvertConfig()
    root = Path(out)
    job = _Job(paths=tuple(Path(path) for path in sources), config=config, tolerances=None, staging=root / ".staging")
    for path in job.paths:
        refuse_inside(root, path, "source")
    source = job.open()
    features = _features(source.features, config)
    plan = chosen_episodes(config.episodes, source.episode_indices)
    if _prepare(root, source, config):
        return _result(root, plan, _read_log(root), finished=True)
    if config.trim_idle:
        job = replace(job, tolerances=still_tolerances(sampled_ranges(source)))
    writer = DatasetWriter(root, features=features, robot_type=_robot_type(source), resume=True)
    lines = _read_log(root, n_episodes=writer.n_episodes)
    finished = True
    try:
        n_lines = len(lines)
        left = plan[n_lines:]
        with (
            frame_progress() as progress,
            (root / LOG).open("a") as log,
            closing(_converted(job, source, left, workers)) as converted,
        ):
            bar = progress.add_task(
                "converting",
                total=sum(source.lengths[index] for index in plan),
                completed=sum(source.lengths[index] for index in plan[:n_lines]),
            )
            for index, done in zip(left, converted, strict=True):
                if done.staged is None:
                    _refuse(done.reason, skip_bad)
                    console.print(f"left out episode {index}: {done.reason}", highlight=False, soft_wrap=True)
                n_converted = sum(line["episode_index"] is not None for line in lines)
                if done.staged is not None and n_converted == writer.n_episodes:
                    writer.add(done.staged)  # else a run was killed after it had added the episode
                lines.append(_line(source, index, done, n_converted))
                log.write(json.dumps(lines[-1]) + "\n")
                log.flush()
                progress.advance(bar, source.lengths[index])
        result = _result(root, plan, lines, finished=True)
        check_some_left(source, result.left_out, len(plan))
        _write_sidecar(root, source, features, plan, lines)
        writer.finish()
        write_json(root / SETTINGS, {**_settings(source, config), "complete": True})
    except KeyboardInterrupt:
        finished = False
        _write_sidecar(root, source, features, plan, lines)
        console.print(f"stopped with {len(lines)} of {len(plan)} episodes; the same command continues")
    finally:
        writer.close()
    return _result(root, plan, lines, finished=finished)


def chosen_episodes(text: str, available: Sequence[int]) -> tuple[int, ...]:
    """Return the indices that a text such as `0:50,60` names, ascending; empty names all.

    Args:
        text: Indices and half-open ranges `first:after`, either end of which may be left out.
        available: The data set's.

    Raises:
        ConfigError: If the text is of another form, or names an episode or range without one that is there.
    """
    if not text:
        return tuple(available)
    chosen: set[int] = set()
    for part in text.split(","):
        first, colon, after = (word.strip() for word in part.partition(":"))
        if any(word and not word.isdigit() for word in (first, after)) or not (first or colon):
            raise ConfigError(f"--episodes '{text}' is not of the form 0:50,60: indices and ranges first:after")
        start = int(first) if first else 0
        stop = (int(after) if after else max(available) + 1) if colon else start + 1
        found = {index for index in available if start <= index < stop}
        if not found:
            raise ConfigError(
                f"--episodes: there is no episode {part.strip()}; the data have {len(available)}, from {available[0]} "
                f"to {available[-1]}"
            )
        chosen |= found
    return tuple(sorted(chosen))


def _refuse(reason: str, skip_bad: bool) -> None:
    if not skip_bad:
        with naming_skip_bad():
            raise BadEpisodeError(reason)


class _Flag(Protocol):
    """An event of threads or processes."""

    def is_set(self) -> bool: ...


def _converted(
    job: _Job, source: EpisodeSource, indices: Sequence[int], workers: int | None
) -> Generator[_Done, None, None]:
    """Yield episodes in their order, a few ahead in other processes."""
    workers = min(max(1, workers or os.cpu_count() or 1), len(indices))
    if workers <= 1:
        for index in indices:
            yield _read(job, source, index, None)
        return
    stop = get_context("spawn").Event()
    pool = WorkerPool(workers, _begin, (job, stop))
    try:
        yield from results_in_order(pool, _read_in_worker, indices, 2 * workers)
    except BrokenProcessPool as error:
        raise DataError("a converting process was killed, perhaps for memory; try fewer --workers") from error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


_JOB: _Job
_SOURCE: EpisodeSource | None = None
_STOP: _Flag
"""Of a worker process, kept between episodes: files and decoders stay open."""


def _begin(job: _Job, stop: _Flag) -> None:
    global _JOB, _STOP
    _JOB, _STOP = job, stop


def _read_in_worker(index: int) -> _Done:
    global _SOURCE
    if _SOURCE is None:
        _SOURCE = _JOB.open()
    return _read(_JOB, _SOURCE, index, _STOP)


def _read(job: _Job, source: EpisodeSource, index: int, stop: _Flag | None) -> _Done:
    """Read an episode and encode its videos."""
    features = _features(source.features, job.config)
    try:
        episode = read_episode(source, index)
        kept = (0, episode.length)
        if job.tolerances is not None:
            kept = moving_part(episode, job.tolerances, margin=max(1, round(MARGIN_S * features.fps)))

        def pictures(all_of_them: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
            return _kept_pictures(all_of_them, source, index, episode.length, kept, stop)

        staged = stage_episode(
            job.staging,
            task=episode.task,
            vectors={key: values[slice(*kept)] for key, values in vectors(episode).items()},
            frames={camera.name: pictures(source.frames(index, camera.name)) for camera in features.cameras},
            depth={
                camera: _depth_of_size(pictures(source.depth(index, camera.name)), camera)
                for camera in features.cameras
                if camera.depth_range
            },
            fps=features.fps,
        )
    except BadEpisodeError as error:
        return _Done(reason=str(error))
    return _Done(staged=staged, kept=kept)


def _kept_pictures(
    pictures: Iterator[np.ndarray],
    source: EpisodeSource,
    index: int,
    length: int,
    kept: tuple[int, int],
    stop: _Flag | None,
) -> Iterator[np.ndarray]:
    """Yield the pictures that are kept, reading all, so that the source sees the end and checks it."""
    number = -1
    try:
        for number, picture in enumerate(pictures):
            if stop is not None and stop.is_set():
                raise KeyboardInterrupt
            if kept[0] <= number < kept[1]:
                yield picture
    except DataError as error:
        raise BadEpisodeError(reason_of(source, error)) from error
    if number + 1 != length:
        raise BadEpisodeError(f"'{source.root}': episode {index} has {number + 1} pictures for {length} actions")


def _depth_of_size(maps: Iterator[np.ndarray], camera: Camera) -> Iterator[np.ndarray]:
    for metres in maps:
        if metres.shape != (camera.height, camera.width):
            raise DataError(
                f"depth of camera '{camera.name}' is {metres.shape[0]}x{metres.shape[1]}, its pictures are "
                f"{camera.height}x{camera.width}; --no-depth leaves it out"
            )
        yield metres


def _features(features: Features, config: ConvertConfig) -> Features:
    """What the new data set holds, checked before anything is decoded."""
    whole_fps(features.fps)
    for camera in features.cameras:
        if "/" in camera.name:
            raise DataError(f"camera '{camera.name}' has a '/' in its name, which LeRobot forbids; use --rename")
        if camera.height % 2 or camera.width % 2:
            raise DataError(
                f"camera '{camera.name}' has pictures of {camera.height}x{camera.width}; video needs an even height "
                "and width"
            )
    if config.depth:
        return features
    return replace(features, cameras=tuple(replace(camera, depth_range=None) for camera in features.cameras))


def _robot_type(source: EpisodeSource) -> str:
    """What the sources' info.json call the robot, where they have one and agree."""
    names = {
        str(load_json(part.root / INFO).get("robot_type") or _UNKNOWN_ROBOT)
        if (part.root / INFO).is_file()
        else _UNKNOWN_ROBOT
        for part in parts_of(source)
    }
    return names.pop() if len(names) == 1 else _UNKNOWN_ROBOT


def _settings(source: EpisodeSource, config: ConvertConfig) -> dict[str, Any]:
    """As they come back from JSON."""
    parts = [{"path": str(part.root.resolve()), "fingerprint": part.fingerprint()} for part in parts_of(source)]
    plain: dict[str, Any] = json.loads(json.dumps({"sources": parts, **asdict(config)}))
    return plain


def _prepare(root: Path, source: EpisodeSource, config: ConvertConfig) -> bool:
    """Write the settings, or compare with those of the conversion to go on with; return whether it is complete."""
    settings, path = _settings(source, config), root / SETTINGS
    if not path.exists():
        if root.exists() and any(not of.name.startswith(".") for of in root.iterdir()):
            raise DataError(f"'{root}' is not empty and not a conversion; choose another --out")
        write_json(path, {**settings, "complete": False})
        return False
    before = load_json(path)
    prints = [[of["fingerprint"] for of in one["sources"]] for one in (before, settings)]
    if prints[0] != prints[1]:
        places = ", ".join(of["path"] for of in before["sources"])
        raise DataError(
            f"'{root}' was converted from {places}, which are not these or have changed; choose another --out"
        )
    for name, value in settings.items():
        if name != "sources" and before.get(name) != value:
            raise DataError(
                f"'{root}' was begun with {name} {before.get(name)!r}, not {value!r}; "
                "use the same options or another --out"
            )
    return bool(before["complete"])


def _line(source: EpisodeSource, index: int, done: _Done, episode_index: int) -> dict[str, Any]:
    number, own = origin_of(source, index)
    line = {"source": number, "source_episode": own, "frames": source.lengths[index]}
    if done.staged is None:
        return {**line, "episode_index": None, "reason": done.reason}
    return {**line, "episode_index": episode_index, "kept": list(done.kept)}


def _read_log(root: Path, n_episodes: int | None = None) -> list[dict[str, Any]]:
    """Return the log's lines; what a killed run left incomplete is cut off and done again.

    Args:
        root: Of the new data set.
        n_episodes: Of the data set, which after a power cut may lack what the last lines say; None where complete.
    """
    path = root / LOG
    if not path.exists():
        return []
    text = path.read_text()
    lines = text[: text.rfind("\n") + 1].splitlines()
    parsed = [json.loads(line) for line in lines]
    while n_episodes is not None and sum(line["episode_index"] is not None for line in parsed) > n_episodes:
        parsed.pop()
    kept = "".join(f"{line}\n" for line in lines[: len(parsed)])
    if kept != text:
        path.write_text(kept)
    return parsed


def _result(root: Path, plan: Sequence[int], lines: Sequence[Mapping[str, Any]], *, finished: bool) -> ConvertResult:
    good = [line for line in lines if line["episode_index"] is not None]
    return ConvertResult(
        root=root,
        n_asked=len(plan),
        n_converted=len(good),
        left_out={
            index: line["reason"] for index, line in zip(plan, lines, strict=False) if line["episode_index"] is None
        },
        n_trimmed=sum(line["frames"] - (line["kept"][1] - line["kept"][0]) for line in good),
        finished=finished,
    )


def _write_sidecar(
    root: Path,
    source: EpisodeSource,
    features: Features,
    plan: Sequence[int],
    lines: Sequence[Mapping[str, Any]],
) -> None:
    """Keep what the source says of cameras, arm, coordinates and scenes; write nothing where it says nothing."""
    scenes = [
        source.scenes[index] for index, line in zip(plan, lines, strict=False) if line["episode_index"] is not None
    ]
    _, numbers = np.unique(scenes, return_inverse=True)
    sidecar = Sidecar(
        cameras={camera.name: camera.calibration for camera in features.cameras if camera.calibration},
        arm=features.arm,
        environment_height=features.environment_height or None,
        scenes=tuple(numbers.tolist()) if len(set(scenes)) < len(scenes) else None,
    )
    if sidecar != Sidecar():
        write_sidecar(root, sidecar)


def summary(result: ConvertResult) -> str:
    """Return what a conversion did, in a line."""
    text = f"converted {result.n_converted} episodes to {result.root}"
    if result.n_trimmed:
        text += f"; left out {result.n_trimmed} still frames at their ends"
    return text + (f"; {left_out_text(result.left_out, result.n_asked)}" if result.left_out else "")
