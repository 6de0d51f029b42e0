"""Which preset and settings fit the data: a command to type."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from foreact.data.source import EpisodeSource
from foreact.finding import Finding
from foreact.inspection.cleanup import Cleanup
from foreact.inspection.gripper import GripperEvents
from foreact.inspection.ranges import Reaches
from foreact.policy.inputs import CUE_DIM, why_not
from foreact.presets import R1PRO_ACTION, R1PRO_STATE, preset

_PIXELS = 480 * 640
"""Pictures with more are resized: a ResNet's cells are then as large as in the published recipes."""
_COMPACT = 128
"""Pictures up to this height are for the small recipe."""
_CHUNK_S = (1.0, 3.0)
"""A chunk's shortest and longest time; the paper's 100 steps at 50 Hz are 2 s."""
_NEAR = 1.75
"""A published chunk stays where it is up to so many times longer or shorter than wanted."""
_LOOKS = 4
"""Queries a chunk: a quarter of it is executed, as in the compact recipe."""
_TAILS = 3.0
"""The range is so many times that of 98 % of the frames: a few frames would set the scale."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is proposed, and the reason for each."""

    name: str
    """The preset."""
    options: Mapping[str, str]
    """Beyond the preset."""
    reasons: tuple[str, ...]


def recommend(
    source: EpisodeSource, events: Mapping[int, GripperEvents], all_of: tuple[Reaches, ...], *, is_delta: bool
) -> Settings:
    """Choose a preset and the settings that the data ask for."""
    features = source.features
    name, reason = _preset(source)
    recipe = preset(name).policy
    reasons = [reason]
    options: dict[str, str] = {}
    if name != "r1pro":
        chunk, why = _chunk(source, events, recipe.chunk_size)
        reasons.append(why)
        options["--policy.chunk-size"] = str(chunk)
        if recipe.temporal_ensemble_coeff is None:
            options["--policy.n-action-steps"] = str(max(1, chunk // (2 * _LOOKS if is_delta else _LOOKS)))
            reasons.append(
                f"executed steps: {'an eighth' if is_delta else 'a quarter'} of the chunk, then it looks again"
            )
    largest = max(features.cameras, key=lambda camera: camera.height * camera.width, default=None)
    if largest is not None and recipe.image_size is None and largest.height * largest.width > _PIXELS:
        shrink = np.sqrt(_PIXELS / (largest.height * largest.width))
        height, width = (2 * round(side * shrink / 2) for side in (largest.height, largest.width))
        options["--policy.image-size"] = f"{height} {width}"
        reasons.append(f"image size: {largest.height}x{largest.width} is more than a recipe needs, and slow")
    for of in all_of:
        short = {"action": "action", "observation.state": "state"}.get(of.key)
        if short is None or name == "r1pro":
            continue
        full = of.max.max(axis=0) - of.min.min(axis=0)
        tails = [n for n, span, usual in zip(of.names, full, of.scale.spread, strict=True) if span > _TAILS * usual > 0]
        if tails:
            options[f"--policy.{short}-normalization"] = "quantile"
            reasons.append(f"{short} normalised by quantiles: a few frames of {', '.join(tails[:3])} lie far out")
    return Settings(name=name, options=options, reasons=tuple(reasons))


def _preset(source: EpisodeSource) -> tuple[str, str]:
    features = source.features
    state_dim, action_dim = (sum(group.dim for group in groups) for groups in (R1PRO_STATE, R1PRO_ACTION))
    if (features.state_dim, features.action_dim) == (state_dim, action_dim):
        return "r1pro", f"r1pro: {state_dim} dimensions of state and {action_dim} of action"
    if features.action_dim == 14 and features.state_dim == 14:
        return "aloha", "aloha: two arms of 7 dimensions"
    tallest = max((camera.height for camera in features.cameras), default=0)
    small = tallest <= _COMPACT
    name = "compact" if small else "so101"
    why = f"pictures of {tallest} pixels height" if features.cameras else "no pictures"
    if features.environment_dim >= CUE_DIM and features.cameras:
        grounded = f"{name}-grounded"
        lacking = why_not(preset(grounded).policy, features)
        if lacking is None:
            name = grounded
            why += ", coordinates, a calibrated camera and the arm's kinematics"
        else:
            why += f"; {grounded} is not possible: {lacking}"
    return name, f"{name}: {why}"


def _chunk(source: EpisodeSource, events: Mapping[int, GripperEvents], published: int) -> tuple[int, str]:
    """Half a phase (the time between two gripper events) or a third of the episode, within 1 to 3 s.

    The recipe's own chunk stays where it is about that long, for it is what was measured.
    """
    fps = source.features.fps
    lengths = np.array(list(source.lengths.values()))
    gaps = [
        float(gap)
        for of in events.values()
        if of.closings or of.openings
        for gap in np.diff(sorted({0, *of.closings, *of.openings, of.length}))
    ]
    wanted, why = (
        (0.5 * float(np.median(gaps)), "half the usual time between gripper events")
        if gaps
        else (float(np.median(lengths)) / 3, "a third of the usual episode")
    )
    seconds = float(np.clip(wanted / fps, *_CHUNK_S))
    longest = max(2, 2 * int(np.quantile(lengths, 0.1)) // 3)
    if published <= longest and 1 / _NEAR <= published / (seconds * fps) <= _NEAR:
        return published, f"the recipe's chunk of {published / fps:.1f} s is about {why}"
    chunk = int(np.clip(round(seconds * fps), 2, longest))
    limits = f"within {_CHUNK_S[0]:g} and {_CHUNK_S[1]:g} s and two thirds of a short episode"
    return chunk, f"chunk of {chunk / fps:.1f} s: {why}, {limits}"


def judge_settings(settings: Settings, data: str, cleanup: Cleanup) -> Finding:
    """Return the command to type; what all findings ask for comes before it."""
    options = " ".join(f"{flag} {value}" for flag, value in settings.options.items())
    trained_on = str(cleanup.out) if cleanup.command else data
    command = (
        f"foreact train {settings.name} --data {shlex.quote(trained_on)} --out runs/{settings.name} {options}".rstrip()
    )
    return Finding(
        question="recommendation",
        title="How to train on it",
        verdict="; ".join(settings.reasons),
        severity="note",
        remedy=f"{cleanup.command} && {command}" if cleanup.command else command,
        evidence={"command": command, "preset": settings.name, "options": dict(settings.options)},
    )
