"""All questions to one data set: episodes are read once, one after the other, and summed up in a few numbers each."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from foreact.console import console, progress_bar
from foreact.data.dimensions import is_gripper, paired_dimensions
from foreact.data.lookup import spread_evenly
from foreact.data.source import EpisodeSource
from foreact.data.statistics import vectors
from foreact.errors import ConfigError, DataError
from foreact.finding import SEVERITIES, Finding, worst_first
from foreact.geometry.jaws import find_misplaced
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
from foreact.inspection.cleanup import clean_up, judge_cleanup, with_command
from foreact.inspection.clock import judge_clocks, measure_clocks
from foreact.inspection.command import Command, judge_command, measure_command
from foreact.inspection.coordinates import judge_coordinates
from foreact.inspection.coverage import PlaceFinder, Places, judge_coverage, place_maps
from foreact.inspection.exhibits import Exhibit, show
from foreact.inspection.gripper import GripperEvents, find_grippers, gripper_values, judge_gripper, measure_gripper
from foreact.inspection.looks import DepthLook, Look, look_at, look_at_depth
from foreact.inspection.numbers import count_missing, judge_missing
from foreact.inspection.plan import Plan, plan_looks, read_window
from foreact.inspection.ranges import (
    Reach,
    Reaches,
    describe_ranges,
    gather,
    judge_constant,
    judge_joint_range,
    judge_jumps,
    judge_saturation,
    measure_reach,
    remarks,
)
from foreact.inspection.recommend import judge_settings, recommend
from foreact.inspection.scale import Scale, usual_scales
from foreact.inspection.stale import hanging, judge_stale, seen_moving
from foreact.inspection.timing import Idle, idle_tolerances, is_moving, judge_idle, judge_lengths, measure_idle
from foreact.inspection.units import judge_units
from foreact.inspection.videos import check_videos
from foreact.inspection.views import judge_same_cameras, judge_swapped, judge_views
from foreact.inspection.words import episodes_text
from foreact.normalizer import NARROWEST
from foreact.records import Episode
from foreact_runtime import keys

SCHEMA_VERSION = 2
_CONTACT = 12
"""Episodes on the contact sheet."""
_DEPTH_FRAMES = 2
_CLEARLY = 3.0
"""Times the least movement: a slower one may be too small for a camera to see."""
_SHORTEST = 5
"""Frames at least in the second in which a camera has to change."""


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
    exhibits: Mapping[str, tuple[Exhibit, ...]] = field(default_factory=dict, repr=False)
    """Pictures of what was found beside what is usual, by question; for the page, not in the JSON."""

    def finding(self, question: str) -> Finding:
        """Return the answer to a question; raises KeyError where it was not asked."""
        return {finding.question: finding for finding in self.findings}[question]

    @property
    def is_clean(self) -> bool:
        """Whether there is neither a fault nor a warning."""
        return all(finding.severity in ("fine", "note") for finding in self.findings)

    @property
    def command(self) -> str:
        """What to type to train on it, cleaned up where it has to be; empty where no episode can be read."""
        return next((of.remedy for of in self.findings if of.question == "recommendation"), "")

    @property
    def counts(self) -> str:
        """How many findings of each severity there are, in words."""
        of = {severity: sum(finding.severity == severity for finding in self.findings) for severity in SEVERITIES}
        return (
            f"{of['fault']} fault{'s' * (of['fault'] != 1)}, {of['warning']} warning{'s' * (of['warning'] != 1)}, "
            f"{of['fine']} fine, {of['note']} note{'s' * (of['note'] != 1)}"
        )


@dataclass
class _Survey:
    """What is kept of the episodes, by index."""

    damaged: dict[int, str] = field(default_factory=dict)
    missing: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)
    reach: dict[int, dict[str, Reach]] = field(default_factory=dict)
    idle: dict[int, Idle] = field(default_factory=dict)
    commands: dict[int, Command] = field(default_factory=dict)
    events: dict[int, GripperEvents] = field(default_factory=dict)
    grips: dict[int, np.ndarray] = field(default_factory=dict)
    places: dict[int, Places] = field(default_factory=dict)
    traces: dict[int, np.ndarray] = field(default_factory=dict)
    looks: dict[int, dict[str, Look]] = field(default_factory=dict)
    depths: dict[int, dict[str, DepthLook]] = field(default_factory=dict)
    stale: dict[int, list[tuple[int, int]]] = field(default_factory=dict)


def inspect(source: EpisodeSource, *, frames: int | None = None) -> Report:
    """Ask a data set all questions. Episodes that cannot be read are a finding; the others are looked at.

    Args:
        source: Any.
        frames: How many frames of each camera and episode to decode; 0 looks at no picture. See `plan_looks`.

    Raises:
        ConfigError: If `frames` is negative.
        DataError: If no episode can be read, and the recorded times do not tell why.
    """
    if frames is not None and frames < 0:
        raise ConfigError(f"--frames is {frames}; it must not be negative")
    if not source.episode_indices:
        raise DataError(f"'{source.root}' has no episodes")
    data, all_indices = str(source.root), source.episode_indices
    timestamps = judge_clocks(source.features.fps, measure_clocks(source))
    plan = plan_looks(source, frames)
    contact: dict[str, dict[int, np.ndarray]] = {}
    exhibits: Mapping[str, tuple[Exhibit, ...]] = {}
    try:
        scales = usual_scales(source)
    except DataError as error:
        if timestamps.severity != "warning":
            raise
        damaged = _judge_damaged(dict.fromkeys(all_indices, str(error)), len(all_indices), plan)
        findings = [damaged, timestamps, judge_lengths(source)]
        looked_at = "the recorded times; no episode can be read"
    else:
        survey = _look_at_all(source, scales, plan)
        reaches = gather(source.features, scales, survey.reach)
        findings = _judge(source, survey, scales, reaches, plan)
        findings.append(timestamps)
        findings.append(describe_ranges(source.features, reaches, remarks(findings)))
        exhibits = show(source, findings, survey.looks)
        cleanup = clean_up(findings, data, all_indices)
        action_kind = next(of for of in findings if of.question == "action_kind")
        is_delta = bool(action_kind.evidence.get("is_delta", False))
        settings = recommend(source, survey.events, reaches, is_delta=is_delta)
        findings = [with_command(finding, data, all_indices) for finding in findings]
        findings += [judge_cleanup(cleanup, len(all_indices)), judge_settings(settings, data, cleanup)]
        looked_at, contact = plan.text(source.lengths), _contact(survey)
    return Report(
        data=data,
        episodes=len(all_indices),
        frames=sum(source.lengths.values()),
        fps=source.features.fps,
        cameras={camera.name: (camera.height, camera.width) for camera in source.features.cameras},
        tasks=tuple(dict.fromkeys(source.tasks.values())),
        looked_at=looked_at,
        findings=worst_first(findings),
        contact=contact,
        exhibits=exhibits,
    )


def _judge(
    source: EpisodeSource, survey: _Survey, scales: Mapping[str, Scale], reaches: tuple[Reaches, ...], plan: Plan
) -> list[Finding]:
    features, fps = source.features, source.features.fps
    near = neighbours(survey.traces)
    groups = [] if near is None else same_groups(source, near, scales)
    stale = {index: survey.stale[index] for index in sorted(survey.stale)}
    misplaced = None
    if features.arm is not None and survey.grips:
        misplaced = find_misplaced(features.arm, np.concatenate(list(survey.grips.values())))
    return [
        _judge_damaged(survey.damaged, len(source.episode_indices), plan),
        judge_missing(features, survey.missing),
        *judge_command(features, paired_dimensions(features), survey.commands),
        judge_stale(fps, stale),
        judge_units(features, reaches),
        judge_joint_range(features, reaches),
        judge_jumps(features, reaches),
        judge_saturation(features, reaches),
        judge_constant(reaches),
        judge_lengths(source),
        judge_idle(str(source.root), fps, survey.idle),
        judge_gripper(fps, find_grippers(features, scales), survey.events, source.tasks, misplaced),
        judge_coordinates(features, survey.places),
        judge_coverage(place_maps(features, survey.places, scales)),
        *_about_pictures(source, survey, plan),
        judge_duplicates(groups, len(survey.traces)),
        judge_leakage(source, groups),
        judge_outliers(near),
    ]


def _about_pictures(source: EpisodeSource, survey: _Survey, plan: Plan) -> list[Finding]:
    looks, fps = survey.looks, source.features.fps
    if not looks:
        return []
    swapped = judge_swapped(looks)
    in_place = {index: of for index, of in looks.items() if index not in swapped.evidence["episodes"]}
    judged = [judge_black(looks), judge_frozen(looks, fps), judge_doubled(looks, fps), judge_brightness(looks)]
    judged = [_in_part(finding, plan) for finding in judged]
    judged += [swapped, judge_views(in_place or looks, source.tasks), judge_same_cameras(looks)]
    depth = judge_depth(source.features.cameras, survey.depths)
    return judged if depth is None else [*judged, depth]


def _in_part(finding: Finding, plan: Plan) -> Finding:
    """Return a finding of pictures that does not call fine what was not looked at."""
    if finding.severity != "fine" or plan.is_all:
        return finding
    return replace(finding, severity="note", verdict=finding.verdict + plan.part)


def _look_at_all(source: EpisodeSource, scales: Mapping[str, Scale], plan: Plan) -> _Survey:
    """Read each episode once."""
    survey = _Survey(damaged=check_videos(source))
    features, fps = source.features, source.features.fps
    grippers = find_grippers(features, scales)
    pairs = paired_dimensions(features)
    tolerances = idle_tolerances(scales)
    finder = PlaceFinder(features)
    contact = spread_evenly(source.episode_indices, _CONTACT)
    state_grippers = [dim for dim, name in enumerate(features.state_names) if is_gripper(features, name)]
    action_grippers = [dim for dim, name in enumerate(features.action_names) if is_gripper(features, name)]
    with _progress(len(source.episode_indices)) as advance:
        for index in source.episode_indices:
            try:
                episode = source.episode(index)
                missing = count_missing(episode)
                commanded = is_moving(episode, scales, keys.ACTION, action_grippers, _CLEARLY)
                if missing:
                    survey.missing[index] = missing
                else:
                    survey.reach[index] = {key: measure_reach(of, scales[key]) for key, of in vectors(episode).items()}
                    survey.idle[index] = measure_idle(episode, tolerances)
                    survey.events[index] = measure_gripper(episode, grippers)
                    survey.grips[index] = gripper_values(episode, features)
                    closings = survey.events[index].closings
                    survey.places[index] = finder.measure(episode, closings[0] if closings else None)
                    survey.traces[index] = trace(episode, scales)
                    if keys.STATE in scales:
                        of = measure_command(episode, pairs, scales[keys.STATE], fps)
                        if of is not None:
                            survey.commands[index] = of
                moving = commanded
                if episode.state is not None:
                    moving = is_moving(episode, scales, keys.STATE, state_grippers, _CLEARLY)
                if plan.n_seen and features.cameras and index not in survey.damaged:
                    way = _way(episode, scales, state_grippers)
                    _look(source, index, survey, moving, way, plan.windows[index], keep_picture=index in contact)
                stretches, acted = hanging(episode, commanded, fps)
                seen = seen_moving(stretches, survey.looks.get(index, {}))
                hung = [of for of, a, s in zip(stretches, acted, seen, strict=True) if a or s]
                if hung:
                    survey.stale[index] = hung
            except DataError as error:
                survey.damaged[index] = str(error)
            advance()
    survey.damaged = dict(sorted(survey.damaged.items()))
    return survey


def _look(
    source: EpisodeSource,
    index: int,
    survey: _Survey,
    moving: np.ndarray,
    way: np.ndarray,
    window: tuple[int, int],
    *,
    keep_picture: bool,
) -> None:
    """Look at one episode's pictures; the cameras before a damaged one count."""
    looks = survey.looks.setdefault(index, {})
    reach = max(_SHORTEST, round(source.features.fps))
    for camera in source.features.cameras:
        first, frames = read_window(source, index, camera.name, window)
        looks[camera.name] = look_at(
            first, frames, window[0], moving=moving, way=way, reach=reach, keep_picture=keep_picture
        )
        if camera.depth_range is not None:
            maps = islice(source.depth(index, camera.name), _DEPTH_FRAMES)
            survey.depths.setdefault(index, {})[camera.name] = look_at_depth(maps, camera.depth_range)


def _way(episode: Episode, scales: Mapping[str, Scale], grippers: list[int]) -> np.ndarray:
    """Return what tells where the arm is, (L, D) as shares of the range: the state, else the action.

    A dimension that hardly moves shows only noise and counts by the vector's middle range; a gripper not at all.
    """
    key, values = (keys.ACTION, episode.action) if episode.state is None else (keys.STATE, episode.state)
    spread = scales[key].spread
    way = np.nan_to_num(values / np.maximum(spread, max(float(np.median(spread)), NARROWEST)))
    way[:, grippers if key == keys.STATE else []] = 0
    return np.asarray(way)


def _contact(survey: _Survey) -> dict[str, dict[int, np.ndarray]]:
    sheet: dict[str, dict[int, np.ndarray]] = {}
    for index, of in survey.looks.items():
        for camera, look in of.items():
            if look.picture is not None:
                sheet.setdefault(camera, {})[index] = look.picture
    return sheet


def _judge_damaged(damaged: Mapping[int, str], n_episodes: int, plan: Plan) -> Finding:
    first = next(iter(damaged.values()), "")
    fine = f"all {n_episodes} episodes can be read"
    if not plan.is_all and plan.n_cameras:
        fine = f"the numbers of all {n_episodes} episodes can be read, and the videos are as long; pictures were not "
        fine += "all decoded" if plan.n_seen else "decoded"
    return Finding(
        question="damaged",
        title="Can every episode be read?",
        verdict=f"{episodes_text(list(damaged))} of {n_episodes} cannot be read: {first}" if damaged else fine,
        severity="fault" if damaged else "fine" if plan.is_all or not plan.n_cameras else "note",
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
    content = asdict(replace(report, contact={}, exhibits={}))
    del content["contact"], content["exhibits"]
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
