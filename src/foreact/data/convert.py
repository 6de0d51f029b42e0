"""Any data set, or several as one, written anew as a LeRobotDataset v3.0.

Episodes are converted in their order, in several processes, and an episode is finished when `meta/info.json` counts it.
So a conversion may be killed at any time and the same command goes on. The number of processes makes no difference to
the result, and interruptions make none to rows and pictures; only the videos' file numbers may go on from those of
files that a later merging has replaced (`file-002.mp4` instead of `file-000.mp4`). Beside LeRobot's files stand
`meta/foreact.json`, what the sources tell of cameras, arm and scenes, and the two of `conversion_log.py`.
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
    left_out_line,
    left_out_text,
    naming_skip_bad,
    read_episode,
)
from foreact.data.calibration import read_calibration
from foreact.data.conversion_log import LOG, LogLine, is_complete, n_converted, read_log, write_settings
from foreact.data.coordinates import Coordinates, check_coordinates, read_coordinates
from foreact.data.depth import resize_depth
from foreact.data.files import refuse_inside
from foreact.data.lerobot_info import INFO, load_json
from foreact.data.lerobot_v3 import LeRobotV3Source
from foreact.data.lerobot_v3_schema import depth_name
from foreact.data.lerobot_v3_writer import DatasetWriter, StagedEpisode, stage_episode
from foreact.data.mixed import mix, origin_of, parts_of
from foreact.data.renamed import rename_sources
from foreact.data.sidecar import Sidecar, apply_calibration, write_sidecar
from foreact.data.source import EpisodeSource, open_source
from foreact.data.statistics import vectors
from foreact.data.trim import MARGIN_S, moving_part, still_tolerances
from foreact.data.video import whole_fps
from foreact.errors import ConfigError, DataError
from foreact.processes import WorkerPool, results_in_order
from foreact.records import Features

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
    calibration: Path | None = None
    """Calibration file (`calibration.py`): what it says of cameras and arm, by their new names, goes before what the
    sources say."""
    coordinates: Path | None = None
    """File of coordinates (`coordinates.py`) for sources that have none."""
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
    features: Features
    """Of the new data set."""
    tolerances: Mapping[str, np.ndarray] | None
    """For trimming; None keeps all frames."""
    coordinates: Mapping[tuple[int, int], tuple[float, ...]]
    """By source and its episode, where the sources have none."""
    staging: Path


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
        out: The new data set's folder, outside of the sources.
        config: What and how.
        skip_bad: Leave damaged episodes out instead of stopping at the first.
        workers: Converting processes; None for one a core, 1 for none but this one.

    Raises:
        DataError: If a source is damaged, sources do not agree, the calibration or the coordinates are not for them,
            or the folder is taken, holds a conversion with other settings or cannot be written.
        ConfigError: If there is no such episode or name, names are not free, or `workers` is not positive.
    """
    config = config or ConvertConfig()
    root, paths = Path(out), tuple(Path(path) for path in sources)
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers is {workers}; it must be at least 1")
    for path in paths:
        refuse_inside(root, path, "source", "the new data set")
    source = mix(_open(paths, config))
    calibration = None if config.calibration is None else read_calibration(config.calibration)
    plan = chosen_episodes(config.episodes, source.episode_indices)
    coordinates = _coordinates(source, config, plan)
    features = _features(source.features, config, calibration, coordinates)
    settings = _settings(source, config, calibration, coordinates)
    if is_complete(root, settings):
        written = read_log(root)
        _check_written(root, features, plan, written)
        return _result(root, plan, written, finished=True)
    job = _Job(
        paths=paths,
        config=config,
        features=features,
        tolerances=still_tolerances(sampled_ranges(source)) if config.trim_idle else None,
        coordinates={origin_of(source, index): coordinates.rows[index] for index in plan} if coordinates else {},
        staging=root / ".staging",
    )
    writer = DatasetWriter(root, features=features, robot_type=_robot_type(source), resume=True)
    lines: list[LogLine] = []
    finished = True
    try:
        write_settings(root, settings, complete=False)
        lines = read_log(root, n_episodes=writer.n_episodes)
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
                    line = left_out_line(index, done.reason)
                    console.print(line, highlight=False, markup=False, soft_wrap=True)
                position = n_converted(lines)
                if done.staged is not None and position == writer.n_episodes:
                    writer.add(done.staged)  # else a run was killed after it had added the episode
                lines.append(_line(source, index, done, position))
                log.write(lines[-1].text)
                log.flush()
                progress.advance(bar, source.lengths[index])
        result = _result(root, plan, lines, finished=True)
        check_some_left(source, result.left_out, len(plan))
        _write_sidecar(root, source, features, plan, lines)
        writer.finish()
        _check_written(root, features, plan, lines)
        write_settings(root, settings, complete=True)
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
        if any(word and not word.isdecimal() for word in (first, after)) or not (first or colon):
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
    workers = min(workers or os.cpu_count() or 1, len(indices))
    origins = [origin_of(source, index) for index in indices]
    if workers <= 1:
        parts = parts_of(source)
        for number, own in origins:
            yield _read(job, parts[number], (number, own), None)
        return
    stop = get_context("spawn").Event()
    pool = WorkerPool(workers, _begin, (job, stop))
    try:
        yield from results_in_order(pool, _read_in_worker, origins, 2 * workers)
    except BrokenProcessPool as error:
        raise DataError("a converting process was killed, perhaps for memory; try fewer --workers") from error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


_JOB: _Job
_PARTS: list[EpisodeSource] = []
_STOP: _Flag
"""Of a worker process, kept between episodes: files and decoders stay open."""


def _begin(job: _Job, stop: _Flag) -> None:
    global _JOB, _STOP
    _JOB, _STOP = job, stop
    console.quiet = True  # what there is to say of the sources has been said


def _read_in_worker(origin: tuple[int, int]) -> _Done:
    if not _PARTS:
        _PARTS.extend(_open(_JOB.paths, _JOB.config))
    return _read(_JOB, _PARTS[origin[0]], origin, _STOP)


def _open(paths: Sequence[Path], config: ConvertConfig) -> list[EpisodeSource]:
    return rename_sources([open_source(path, config.source) for path in paths], config.rename)


def _read(job: _Job, source: EpisodeSource, origin: tuple[int, int], stop: _Flag | None) -> _Done:
    """Read an episode and encode its videos."""
    features, index = job.features, origin[1]
    try:
        episode = read_episode(source, index)
        if job.coordinates:
            place = np.array(job.coordinates[origin], np.float32)
            episode = replace(episode, environment_state=np.tile(place, (episode.length, 1)))
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
                camera: _resized(pictures(source.depth(index, camera.name)), camera.height, camera.width)
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
        raise BadEpisodeError(str(error)) from error
    if number + 1 != length:
        place = f"episode {index} ('{source.file_of(index)}')"
        raise BadEpisodeError(f"{place} has {number + 1} pictures for {length} actions; record it again")


def _resized(maps: Iterator[np.ndarray], height: int, width: int) -> Iterator[np.ndarray]:
    return (resize_depth(metres, height, width) for metres in maps)


def _coordinates(source: EpisodeSource, config: ConvertConfig, plan: Sequence[int]) -> Coordinates | None:
    """Those of the file, checked to be for these episodes."""
    if config.coordinates is None:
        return None
    if names := source.features.environment_names:
        raise DataError(
            f"'{source.root}' has coordinates already ({', '.join(names)}), which --coordinates does not replace"
        )
    coordinates = read_coordinates(config.coordinates)
    check_coordinates(coordinates.rows, config.coordinates, asked=plan, known=source.episode_indices)
    return coordinates


def _features(
    features: Features, config: ConvertConfig, calibration: Sidecar | None, coordinates: Coordinates | None
) -> Features:
    """What the new data set holds, checked before anything is decoded."""
    whole_fps(features.fps)
    if calibration is not None:
        features = apply_calibration(features, calibration, f"'{config.calibration}'")
    if coordinates is not None:
        features = replace(features, environment_names=coordinates.names)
    if not config.depth:
        features = replace(features, cameras=tuple(replace(of, depth_range=None) for of in features.cameras))
    depth = {depth_name(camera.name): camera.name for camera in features.cameras if camera.depth_range}
    for camera in features.cameras:
        if "/" in camera.name:
            raise DataError(f"camera '{camera.name}' has a '/' in its name, which LeRobot forbids; use --rename")
        if camera.name in depth:
            raise ConfigError(
                f"camera '{camera.name}' is called like the depth of camera '{depth[camera.name]}' in the new data "
                "set; give it another name with --rename, or leave out depth with --no-depth"
            )
        if camera.height % 2 or camera.width % 2:
            raise DataError(
                f"camera '{camera.name}' has pictures of {camera.height}x{camera.width}; video needs an even height "
                "and width: resize or crop them (foreact train takes them as they are)"
            )
    return features


def _robot_type(source: EpisodeSource) -> str:
    """What the sources' info.json call the robot, where they have one and agree."""
    names = {
        str(load_json(part.root / INFO).get("robot_type") or _UNKNOWN_ROBOT)
        if (part.root / INFO).is_file()
        else _UNKNOWN_ROBOT
        for part in parts_of(source)
    }
    return names.pop() if len(names) == 1 else _UNKNOWN_ROBOT


def _settings(
    source: EpisodeSource, config: ConvertConfig, calibration: Sidecar | None, coordinates: Coordinates | None
) -> dict[str, Any]:
    """As they come back from JSON; of files what they say, for they may change."""
    parts = [{"path": str(part.root.resolve()), "fingerprint": part.fingerprint()} for part in parts_of(source)]
    said = {
        "calibration": None if calibration is None else asdict(calibration),
        "coordinates": None if coordinates is None else asdict(coordinates),
    }
    plain: dict[str, Any] = json.loads(json.dumps({"sources": parts, **asdict(config), **said}))
    return plain


def _line(source: EpisodeSource, index: int, done: _Done, episode_index: int) -> LogLine:
    number, own = origin_of(source, index)
    line = LogLine(source=number, source_episode=own, frames=source.lengths[index], episode_index=None)
    if done.staged is None:
        return replace(line, reason=done.reason)
    return replace(line, episode_index=episode_index, kept=done.kept)


def _check_written(root: Path, features: Features, plan: Sequence[int], lines: Sequence[LogLine]) -> None:
    """Refuse to call a conversion complete that is not, or no longer, as its log says; raises DataError."""
    again = f"remove '{root}' and convert again"
    if len(lines) != len(plan):
        raise DataError(f"'{root / LOG}' lists {len(lines)} of {len(plan)} episodes; {again}")
    try:
        written = LeRobotV3Source(root)
    except DataError as error:
        raise DataError(f"'{root}' was converted but cannot be read: {error}; {again}") from error
    if len(written.episode_indices) != n_converted(lines):
        raise DataError(f"'{root}' has {len(written.episode_indices)} of {n_converted(lines)} episodes; {again}")
    if written.missing:
        raise DataError(f"'{root}' was converted but lacks '{next(iter(written.missing.values()))}'; {again}")
    there = {(camera.name, camera.depth_range is None) for camera in written.features.cameras}
    for camera in features.cameras:
        if (camera.name, camera.depth_range is None) not in there:
            raise DataError(f"'{root}' was converted but lacks the videos of camera '{camera.name}'; {again}")


def _result(root: Path, plan: Sequence[int], lines: Sequence[LogLine], *, finished: bool) -> ConvertResult:
    return ConvertResult(
        root=root,
        n_asked=len(plan),
        n_converted=n_converted(lines),
        left_out={index: line.reason for index, line in zip(plan, lines, strict=False) if not line.is_converted},
        n_trimmed=sum(line.n_trimmed for line in lines),
        finished=finished,
    )


def _write_sidecar(
    root: Path,
    source: EpisodeSource,
    features: Features,
    plan: Sequence[int],
    lines: Sequence[LogLine],
) -> None:
    """Keep what the source says of cameras, arm, coordinates and scenes; write nothing where it says nothing."""
    scenes = [source.scenes[index] for index, line in zip(plan, lines, strict=False) if line.is_converted]
    _, numbers = np.unique(scenes, return_inverse=True)
    sidecar = Sidecar(
        cameras={camera.name: camera.calibration for camera in features.cameras if camera.calibration},
        arm=features.arm,
        recorded_pose=features.recorded_pose,
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
