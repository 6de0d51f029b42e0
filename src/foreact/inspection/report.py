"""All questions to one data set: episodes are read once, one after the other, and summed up in a few numbers each."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from foreact import keys
from foreact.console import console, progress_bar
from foreact.data.source import EpisodeSource
from foreact.data.statistics import vectors
from foreact.errors import ConfigError, DataError
from foreact.finding import Finding, worst_first
from foreact.inspection.alike import (
    judge_duplicates,
    judge_leakage,
    judge_outliers,
    neighbours,
    same_groups,
    trace,
)
from foreact.inspection.cameras import (
    judge_black,
    judge_brightness,
    judge_depth,
    judge_doubled,
    judge_frozen,
)
from foreact.inspection.command import Command, judge_command, measure_command, paired_dimensions
from foreact.inspection.coverage import PlaceFinder, Places, judge_coverage, place_maps
from foreact.inspection.gripper import GripperEvents, find_grippers, judge_gripper, measure_gripper
from foreact.inspection.looks import DepthLook, Look, look_at, look_at_depth
from foreact.inspection.numbers import count_missing, judge_missing
from foreact.inspection.ranges import (
    Reach,
    describe_ranges,
    gather,
    judge_constant,
    judge_joint_range,
    judge_jumps,
    judge_saturation,
    measure_reach,
)
from foreact.inspection.recommend import judge_settings, recommend
from foreact.inspection.scale import Scale, spread_evenly, usual_scales
from foreact.inspection.timing import Idle, idle_tolerances, is_moving, judge_idle, judge_lengths, measure_idle
from foreact.inspection.views import judge_same_cameras, judge_swapped
from foreact.inspection.words import episodes_text

SCHEMA_VERSION = 1
_BUDGET = 2e9
"""Pixels that are decoded where nobody says how many frames: about a minute of one core."""
_FEW = 5
"""Frames of each camera and episode that are looked at however large the set is."""
_CONTACT = 12
"""Episodes on the contact sheet."""
_DEPTH_FRAMES = 2
_CLEARLY = 3.0
"""Times the least movement: a slower one may be too small for a camera to see."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `foreact inspect` found out."""

    data: str
    episodes: int
    frames: int
    fps: float
    cameras: Mapping[str, tuple[int, int]]
    """Height and width by name."""
    tasks: tuple[str, ...]
    looked_at: str
    """Which frames were decoded, in words."""
    findings: tuple[Finding, ...]
    """Worst first."""
    contact: Mapping[str, Mapping[int, np.ndarray]] = field(default_factory=dict, repr=False)
    """First frames of some episodes, uint8 (H, W, 3), by camera and episode; for the page, not in the JSON."""

    def finding(self, question: str) -> Finding:
        """Return the answer to a question; raises KeyError where it was not asked."""
        return {finding.question: finding for finding in self.findings}[question]

    @property
    def is_clean(self) -> bool:
        """Whether there is neither a fault nor a warning."""
        return all(finding.severity in ("fine", "note") for finding in self.findings)


@dataclass
class _Survey:
    """What is kept of the episodes, by index."""

    damaged: dict[int, str] = field(default_factory=dict)
    missing: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)
    reach: dict[int, dict[str, Reach]] = field(default_factory=dict)
    idle: dict[int, Idle] = field(default_factory=dict)
    commands: dict[int, Command] = field(default_factory=dict)
    events: dict[int, GripperEvents] = field(default_factory=dict)
    places: dict[int, Places] = field(default_factory=dict)
    traces: dict[int, np.ndarray] = field(default_factory=dict)
    looks: dict[int, dict[str, Look]] = field(default_factory=dict)
    depths: dict[int, dict[str, DepthLook]] = field(default_factory=dict)


def inspect(source: EpisodeSource, *, frames: int | None = None) -> Report:
    """Ask a data set all questions. Episodes that cannot be read are a finding; the others are looked at.

    Args:
        source: Any.
        frames: How many frames of each camera and episode to decode, from the first on; 0 looks at no picture. None
            takes all where that is cheap, otherwise what is decoded in about a minute, at least `_FEW`.

    Raises:
        ConfigError: If `frames` is negative.
        DataError: If no episode can be read.
    """
    if frames is not None and frames < 0:
        raise ConfigError(f"--frames is {frames}; it must not be negative")
    if not source.episode_indices:
        raise DataError(f"'{source.root}' has no episodes")
    limit = _affordable(source) if frames is None else frames
    features = source.features
    scales = usual_scales(source)
    survey = _look_at_all(source, scales, limit)
    reaches = gather(features, scales, survey.reach)
    data = str(source.root)
    action, action_kind = judge_command(features.fps, survey.commands)
    idle = judge_idle(data, features.fps, survey.idle)
    near = neighbours(survey.traces)
    groups = [] if near is None else same_groups(near, source.lengths)
    settings = recommend(source, survey.events, reaches, is_delta=bool(action_kind.evidence.get("is_delta", False)))
    findings = [
        judge_settings(settings, data, idle.remedy),
        _judge_damaged(survey.damaged, len(source.episode_indices)),
        judge_missing(features, survey.missing),
        action,
        action_kind,
        judge_joint_range(features, reaches),
        judge_jumps(features, reaches),
        judge_saturation(features, reaches),
        judge_constant(reaches),
        judge_lengths(source),
        idle,
        judge_gripper(features.fps, find_grippers(features, scales), survey.events),
        judge_coverage(place_maps(features, survey.places, scales)),
        *_about_pictures(source, survey, limit),
        judge_duplicates(data, groups, tuple(survey.traces)),
        judge_leakage(source, groups),
        judge_outliers(near),
        describe_ranges(features, reaches),
    ]
    return Report(
        data=data,
        episodes=len(source.episode_indices),
        frames=sum(source.lengths.values()),
        fps=features.fps,
        cameras={camera.name: (camera.height, camera.width) for camera in features.cameras},
        tasks=tuple(dict.fromkeys(source.tasks.values())),
        looked_at=_looked_at(source, limit),
        findings=worst_first(findings),
        contact=_contact(survey),
    )


def _about_pictures(source: EpisodeSource, survey: _Survey, limit: int) -> list[Finding]:
    if not limit or not survey.looks:
        return []
    looks, fps = survey.looks, source.features.fps
    judged = [
        judge_black(looks),
        judge_frozen(looks, fps),
        judge_doubled(looks, fps),
        judge_brightness(looks),
        judge_swapped(looks),
        judge_same_cameras(looks),
    ]
    depth = judge_depth(source.features.cameras, survey.depths)
    return judged if depth is None else [*judged, depth]


def _affordable(source: EpisodeSource) -> int:
    """How many frames a camera and episode can be decoded within the budget."""
    pixels = sum(camera.height * camera.width for camera in source.features.cameras)
    if not pixels:
        return 0
    longest = max(source.lengths.values())
    if sum(source.lengths.values()) * pixels <= _BUDGET:
        return longest
    return min(longest, max(_FEW, int(_BUDGET / pixels / len(source.lengths))))


def _looked_at(source: EpisodeSource, limit: int) -> str:
    if not limit or not source.features.cameras:
        return "all numbers; no pictures"
    if limit >= max(source.lengths.values()):
        return "all numbers and all pictures"
    return (
        f"all numbers; the first {limit} pictures of each camera and episode: what happens in later ones is not seen "
        "(--frames)"
    )


def _look_at_all(source: EpisodeSource, scales: Mapping[str, Scale], limit: int) -> _Survey:
    """Read each episode once."""
    survey = _Survey()
    features = source.features
    grippers = find_grippers(features, scales)
    pairs = paired_dimensions(features)
    tolerances = idle_tolerances(scales)
    finder = PlaceFinder(features)
    contact = spread_evenly(source.episode_indices, _CONTACT)
    with _progress(len(source.episode_indices)) as advance:
        for index in source.episode_indices:
            try:
                episode = source.episode(index)
                missing = count_missing(episode)
                if missing:
                    survey.missing[index] = missing
                else:
                    survey.reach[index] = {key: measure_reach(of, scales[key]) for key, of in vectors(episode).items()}
                    survey.idle[index] = measure_idle(episode, tolerances)
                    survey.events[index] = measure_gripper(episode, grippers)
                    closings = survey.events[index].closings
                    survey.places[index] = finder.measure(episode, closings[0] if closings else None)
                    survey.traces[index] = trace(episode, scales)
                    if keys.STATE in scales and (of := measure_command(episode, pairs, scales[keys.STATE])) is not None:
                        survey.commands[index] = of
                if limit:
                    moves_by = (keys.STATE,) if episode.state is not None else (keys.ACTION,)
                    moving = is_moving(episode, scales, moves_by, times=_CLEARLY)
                    _look(source, index, survey, moving, limit, keep_picture=index in contact)
            except DataError as error:
                survey.damaged[index] = str(error)
            advance()
    return survey


def _look(
    source: EpisodeSource, index: int, survey: _Survey, moving: np.ndarray, limit: int, *, keep_picture: bool
) -> None:
    """Look at one episode's pictures; the cameras before a damaged one count."""
    looks = survey.looks.setdefault(index, {})
    for camera in source.features.cameras:
        # A video that is read to its end is checked to have as many frames as the table has rows.
        whole = limit >= source.lengths[index]
        looks[camera.name] = look_at(
            source.frames(index, camera.name), moving, None if whole else limit, keep_picture=keep_picture
        )
        if camera.depth_range is not None:
            survey.depths.setdefault(index, {})[camera.name] = look_at_depth(
                source.depth(index, camera.name), camera.depth_range, min(limit, _DEPTH_FRAMES)
            )


def _contact(survey: _Survey) -> dict[str, dict[int, np.ndarray]]:
    sheet: dict[str, dict[int, np.ndarray]] = {}
    for index, of in survey.looks.items():
        for camera, look in of.items():
            if look.picture is not None:
                sheet.setdefault(camera, {})[index] = look.picture
    return sheet


def _judge_damaged(damaged: Mapping[int, str], n_episodes: int) -> Finding:
    first = next(iter(damaged.values()), "")
    return Finding(
        question="damaged",
        title="Can every episode be read?",
        verdict=f"{episodes_text(list(damaged))} of {n_episodes} cannot be read: {first}"
        if damaged
        else f"all {n_episodes} episodes can be read",
        severity="fault" if damaged else "fine",
        remedy="copy or record them again; --skip-bad trains without them" if damaged else "",
        evidence={"episodes": list(damaged), "reasons": {str(index): reason for index, reason in damaged.items()}},
    )


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """Show episodes done, their rate and the time left."""
    began = time.monotonic()
    with progress_bar("inspecting", "{task.fields[rate]:.1f} episodes/s", disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total, rate=0.0)
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            bar.update(task, advance=1, rate=done / max(time.monotonic() - began, 1e-9))

        yield advance


def to_json(report: Report) -> str:
    """Return a report as JSON, without its pictures."""
    content = asdict(report)
    del content["contact"]
    return json.dumps({"schema_version": SCHEMA_VERSION, **_plain(content)}, indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """NumPy's numbers to Python's, and what JSON has no number for to null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(of) for of in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
