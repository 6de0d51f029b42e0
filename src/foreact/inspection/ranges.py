"""What is each dimension: its name, unit and range; does it move, does it hit an end, does it jump?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from foreact.data.dimensions import is_gripper
from foreact.data.statistics import names_of
from foreact.finding import Finding
from foreact.inspection.scale import Scale
from foreact.inspection.words import all_episodes, episodes_text, unit_of
from foreact.normalizer import NARROWEST
from foreact.records import Features
from foreact_runtime import keys

_CLIPPED_S = 0.3
"""A run at the extreme that takes at least as long, entered or left at speed, is a signal that was cut off."""
_RUN = 4
_ROUND = (1.0, 100.0, 180.0, 0.5 * np.pi, np.pi)
"""Values at which commands are cut off in published formats, of either sign."""
_NOW_AND_THEN = 0.1
"""Share of the episodes up to which commands at a limit are only noted."""
_EPISODES = 3
"""Fewer episodes are chance, and do not show what coordinates do."""
_REMARKS = {"saturation": "cut off", "joint_range": "out of range", "jumps": "jumps", "units": "two units"}
"""By question."""
_ALMOST = 0.01
"""Nearly constant: 98 % of the frames lie within this share of the range."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far one episode's vector goes, each (D,)."""

    min: np.ndarray
    max: np.ndarray
    total: np.ndarray
    """Sum over the frames, float64."""
    step: np.ndarray
    """Largest change from one frame to the next."""
    step_at: np.ndarray
    """Frame after that change."""
    clipped_low: np.ndarray
    """Frames of the longest run at the smallest value that was entered or left at speed."""
    clipped_high: np.ndarray
    n_clipped_low: np.ndarray
    """Such runs, of at least `_RUN` frames."""
    n_clipped_high: np.ndarray
    length: int
    squares: np.ndarray
    """Sum of the squares over the frames, float64."""


def measure_reach(values: np.ndarray, scale: Scale) -> Reach:
    """Return how far an episode's vector (L, D) goes."""
    values = values.astype(np.float64)
    steps = np.abs(np.diff(values, axis=0)) if len(values) > 1 else np.zeros((1, values.shape[1]))
    low, high = values.min(axis=0), values.max(axis=0)
    touch = 1e-4 * np.maximum(scale.spread, NARROWEST)
    fast = 0.25 * scale.step
    clipped_low, n_clipped_low = _clipped(values <= low + touch, steps, fast)
    clipped_high, n_clipped_high = _clipped(values >= high - touch, steps, fast)
    return Reach(
        min=low,
        max=high,
        total=values.sum(axis=0),
        squares=(values**2).sum(axis=0),
        step=steps.max(axis=0),
        step_at=steps.argmax(axis=0) + 1,
        clipped_low=clipped_low,
        clipped_high=clipped_high,
        n_clipped_low=n_clipped_low,
        n_clipped_high=n_clipped_high,
        length=len(values),
    )


def _clipped(at_end: np.ndarray, steps: np.ndarray, fast: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the longest run (D,) at an end that is entered or left with more than a speed (D,), and how many (D,)."""
    longest, count = np.zeros((2, at_end.shape[1]), int)
    for dim in np.flatnonzero(fast > 0):
        for start, stop in runs(at_end[:, dim]):
            # The step that ends at the extreme is cut off itself, so the one beside it counts too.
            beside = np.concatenate([steps[max(start - 2, 0) : start, dim], steps[stop - 1 : stop + 1, dim]])
            if beside.max(initial=0) > fast[dim]:
                longest[dim] = max(longest[dim], stop - start)
                count[dim] += stop - start >= _RUN
    return longest, count


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return start and end (exclusive) of each stretch of True in flags (L,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


@dataclass(frozen=True, kw_only=True)
class Reaches:
    """One vector over all episodes: `Reach` side by side, each array (N, D)."""

    key: str
    names: tuple[str, ...]
    scale: Scale
    episodes: np.ndarray
    """(N,)."""
    min: np.ndarray
    max: np.ndarray
    step: np.ndarray
    step_at: np.ndarray
    clipped_low: np.ndarray
    clipped_high: np.ndarray
    n_clipped_low: np.ndarray
    n_clipped_high: np.ndarray
    mean: np.ndarray
    """(D,)."""
    std: np.ndarray
    """(D,)."""


def gather(
    features: Features, scales: Mapping[str, Scale], reach: Mapping[int, Mapping[str, Reach]]
) -> tuple[Reaches, ...]:
    """Put the episodes' reaches (by index, by key) side by side."""
    gathered = []
    for key, names in names_of(features).items():
        of = {index: by_key[key] for index, by_key in reach.items() if key in by_key}
        if not of:
            continue
        columns = {
            item.name: np.stack([getattr(reach, item.name) for reach in of.values()])
            for item in fields(Reach)
            if item.name != "length"
        }
        frames = sum(item.length for item in of.values())
        mean = columns.pop("total").sum(axis=0) / frames
        std = np.sqrt(np.maximum(columns.pop("squares").sum(axis=0) / frames - mean**2, 0))
        gathered.append(
            Reaches(key=key, names=names, scale=scales[key], episodes=np.array(list(of)), mean=mean, std=std, **columns)
        )
    return tuple(gathered)


def remarks(findings: Sequence[Finding]) -> dict[str, str]:
    """Return what findings say of dimensions, in a word or two, by `key: name`."""
    said: dict[str, list[str]] = {}
    for finding in findings:
        evidence = finding.evidence
        for word, labels in (
            ("constant", evidence.get("constant", ())),
            ("hardly moves", evidence.get("nearly_constant", ())),
            ("not finite", evidence.get("dimensions", ()) if finding.question == "numbers" else ()),
            (_REMARKS.get(finding.question, ""), evidence.get("episodes_by_dimension", ())),
        ):
            for label in labels:
                # A label is the dimension and, in brackets or after `at` or `by`, what is said of it.
                said.setdefault(re.split(r" \(| at -?[\d.]| by -?[\d.]", label)[0], []).append(word)
    return {label: ", ".join(dict.fromkeys(words)) for label, words in said.items()}


def describe_ranges(features: Features, all_of: tuple[Reaches, ...], said: Mapping[str, str]) -> Finding:
    """Return a table of every dimension: key, name, unit, range, mean, spread, steps, and `remarks`."""
    rows = [
        {
            "key": of.key,
            "name": name,
            "unit": unit_of(features, of.key, name),
            "min": float(of.min[:, dim].min()),
            "mean": float(of.mean[dim]),
            "max": float(of.max[:, dim].max()),
            "std": float(of.std[dim]),
            "q01": float(of.scale.low[dim]),
            "q99": float(of.scale.high[dim]),
            "usual_step": float(of.scale.step[dim]),
            "largest_step": float(of.step[:, dim].max()),
            "remark": said.get(f"{of.key}: {name}", ""),
        }
        for of in all_of
        for dim, name in enumerate(of.names)
    ]
    unknown = sum(not row["unit"] for row in rows)
    return Finding(
        question="dimensions",
        title="What is each dimension?",
        verdict=f"{len(rows)} dimensions, of {unknown} of them the data do not say the unit",
        severity="note",
        evidence={"dimensions": rows},
    )


def judge_constant(all_of: tuple[Reaches, ...]) -> Finding:
    """Say which dimensions never move, or hardly ever."""
    constant, nearly = [], []
    for of in all_of:
        span = of.max.max(axis=0) - of.min.min(axis=0)
        for dim, name in enumerate(of.names):
            if span[dim] < NARROWEST and of.key == keys.ENVIRONMENT_STATE and len(of.episodes) < _EPISODES:
                continue  # a place is the same throughout an episode
            if span[dim] < NARROWEST:
                constant.append(f"{of.key}: {name} ({of.mean[dim]:.4g})")
            elif of.scale.spread[dim] < _ALMOST * span[dim]:
                nearly.append(f"{of.key}: {name} ({of.scale.low[dim]:.4g})")
    said = [f"never move: {', '.join(constant)}"] * bool(constant) + [f"hardly ever move: {', '.join(nearly)}"] * bool(
        nearly
    )
    return Finding(
        question="constant",
        title="Does every dimension move?",
        verdict="; ".join(said) + ": nothing can be learned from or about them" if said else "every dimension moves",
        severity="warning" if said else "fine",
        remedy="check the cable or the driver of that joint; if it is meant to stand still nothing has to be done, "
        "it is shifted and not scaled"
        if said
        else "",
        evidence={"constant": constant, "nearly_constant": nearly},
    )


def judge_saturation(features: Features, all_of: tuple[Reaches, ...]) -> Finding:
    """Say which dimensions are cut off at an end: at the set's extreme for long, entered or left at speed.

    A command also stays at a place that it is sent to at speed, for example above a bowl. So a dimension of the action
    counts only where it does so several times an episode, or where the extreme is a limit of the arm or a value at
    which published formats cut off.
    """
    least = max(_RUN, round(_CLIPPED_S * features.fps))
    found: dict[str, list[int]] = {}
    for of in all_of:
        if of.key == keys.ENVIRONMENT_STATE:
            continue
        touch = 1e-3 * np.maximum(of.scale.spread, NARROWEST)
        for dim, name in enumerate(of.names):
            if is_gripper(features, name):
                continue  # open and closed are its ends
            low, high = of.min[:, dim].min(), of.max[:, dim].max()
            for end, run, count, at in (
                (low, of.clipped_low[:, dim], of.n_clipped_low[:, dim], of.min[:, dim] <= low + touch[dim]),
                (high, of.clipped_high[:, dim], of.n_clipped_high[:, dim], of.max[:, dim] >= high - touch[dim]),
            ):
                hit = at & (run >= least)
                if hit.sum() < _EPISODES and not (hit & (run >= 3 * least)).any():
                    continue
                if of.key == keys.ACTION and np.median(count[hit]) < 2 and not _is_limit(features, name, float(end)):
                    continue
                found[f"{of.key}: {name} at {end:.4g}"] = of.episodes[hit].tolist()
    concerned = all_episodes(found)
    # A demonstrator who now and then asks for more than the arm can do has made no mistake.
    usual = _NOW_AND_THEN * sum(len(of.episodes) for of in all_of if of.key == keys.ACTION)
    few = usual + 2 * np.sqrt(usual) + 1  # as chance gives them
    harmless = all(name.startswith(f"{keys.ACTION}: ") and len(of_dim) <= few for name, of_dim in found.items())
    return Finding(
        question="saturation",
        title="Is a signal cut off?",
        verdict=f"{', '.join(found)} in {episodes_text(concerned)}: stays at the extreme although it came there at "
        "speed, so what was meant beyond it is lost"
        if found
        else "no dimension stays at its extreme after coming there at speed",
        severity=("note" if harmless else "warning") if found else "fine",
        remedy=(
            "nothing, if these commands were meant to go as far as the arm can"
            if harmless
            else "calibrate that joint again, or widen the limit of its driver, and record these episodes again"
        )
        if found
        else "",
        evidence={"episodes": concerned, "episodes_by_dimension": found},
    )


def _is_limit(features: Features, name: str, value: float) -> bool:
    limits = list(_ROUND)
    if features.arm is not None and name in features.arm.joints:
        of_joint = features.arm.limits[features.arm.joints.index(name)]
        limits += [abs(float(np.degrees(end) if features.arm.unit == "deg" else end)) for end in of_joint]
    return any(abs(abs(value) - limit) <= 0.005 * limit for limit in limits)


def judge_joint_range(features: Features, all_of: tuple[Reaches, ...]) -> Finding:
    """Say which joints are where the arm cannot be."""
    question, title = "joint_range", "Are the joints where the arm can be?"
    if features.arm is None:
        return Finding(
            question=question,
            title=title,
            verdict="cannot tell: the data set does not say the arm's joint limits",
            severity="note",
            remedy="give the arm with foreact calibrate" if features.cameras else "",
        )
    arm, found = features.arm, {}
    for of in all_of:
        for joint, limits in zip(arm.joints, arm.limits, strict=True):
            if of.key == keys.ENVIRONMENT_STATE or joint not in of.names:
                continue
            dim = of.names.index(joint)
            lower, upper = np.degrees(limits) if arm.unit == "deg" else np.array(limits)
            slack = 0.02 * (upper - lower)
            outside = (of.min[:, dim] < lower - slack) | (of.max[:, dim] > upper + slack)
            if outside.any():
                span = f"{of.min[:, dim].min():.3g} to {of.max[:, dim].max():.3g}"
                found[f"{of.key}: {joint} ({span}, limits {lower:.3g} to {upper:.3g} {arm.unit})"] = of.episodes[
                    outside
                ].tolist()
    concerned = all_episodes(found)
    return Finding(
        question=question,
        title=title,
        verdict=f"beyond the joint's limits: {'; '.join(found)} in {episodes_text(concerned)}: the unit, the sign or "
        "the zero is another one than the arm's"
        if found
        else f"all {len(arm.joints)} joints stay within their limits",
        severity="fault" if found else "fine",
        remedy="check the arm's unit (rad or deg) and zero in meta/foreact.json, or calibrate the arm again"
        if found
        else "",
        evidence={"episodes": concerned, "episodes_by_dimension": found},
    )


def judge_jumps(features: Features, all_of: tuple[Reaches, ...]) -> Finding:
    """Say where a dimension makes a step far beyond its usual ones.

    A step is a jump where it is a fifth of the range, five times the usual large step, and 2.5 times what three of
    four episodes have at most; or, in whatever number of episodes, 20 times the usual and 40 % of the range.
    """
    found: dict[str, list[int]] = {}
    frames = {}
    for of in all_of:
        if of.key == keys.ENVIRONMENT_STATE:
            continue
        usual, spread = of.scale.step, np.maximum(of.scale.spread, NARROWEST)
        rare = (of.step > 5 * usual) & (of.step > 0.2 * spread)
        rare &= of.step > 2.5 * np.quantile(of.step, 0.75, axis=0)
        huge = (of.step > 20 * usual) & (of.step > 0.4 * spread) & (usual > 0)
        for dim, name in enumerate(of.names):
            hit = np.flatnonzero(rare[:, dim] | (huge[:, dim] & (not is_gripper(features, name))))
            if len(hit):
                worst = hit[of.step[hit, dim].argmax()]
                label = f"{of.key}: {name} by {of.step[worst, dim]:.3g} (usually up to {usual[dim]:.3g})"
                found[label] = of.episodes[hit].tolist()
                frames[label] = {int(of.episodes[i]): int(of.step_at[i, dim]) for i in hit}
    concerned = all_episodes(found)
    first = next(iter(frames.items()), None)
    return Finding(
        question="jumps",
        title="Does a signal jump?",
        verdict=f"{'; '.join(found)} in {episodes_text(concerned)}"
        + (f", first at frame {next(iter(first[1].values()))} of episode {next(iter(first[1]))}" if first else "")
        + ": a lost packet, a wrapped angle or two recordings in one; the policy learns to jerk"
        if found
        else "no step is far beyond a dimension's usual ones",
        severity="warning" if found else "fine",
        remedy="look at these frames; unwrap the angle, or leave the episodes out" if found else "",
        evidence={"episodes": concerned, "episodes_by_dimension": found, "frame_by_episode": frames},
    )
