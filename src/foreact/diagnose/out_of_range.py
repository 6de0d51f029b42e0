"""Does the policy see here what it was trained on? Inputs outside the training range, by dimension.

A network says something for any input; far from its training data that means nothing. What counts as inside comes from
the checkpoint's statistics, so the training data are not needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foreact.data.dataset import ChunkDataset
from foreact.data.lookup import spread_evenly
from foreact.data.statistics import ROBOT, names_of, vectors
from foreact.finding import Finding, Severity
from foreact.policy.policy import Policy
from foreact.records import Episode, Statistics, VectorStatistics
from foreact_runtime import keys

MARGIN = 0.25
"""Share of the range from the 1 % to the 99 % quantile by which a value may lie beyond it, or beyond the extremes."""
SOME, MANY = 0.02, 0.2
"""Share of the frames outside, in the worst dimension, from which it is told, and from which it is a fault."""
PICTURES = 64
"""Frames whose brightness is looked at."""
DIFFERENT = 1.0
"""Standard deviations of the training pictures' pixels by which the mean colour may differ."""


@dataclass(frozen=True, kw_only=True)
class Outside:
    """One dimension of one input."""

    key: str
    name: str
    share: float
    """Of the frames that lie outside."""
    low: float
    high: float
    """The bounds, from the training data with the margin."""
    seen_low: float
    seen_high: float
    """What the examined episodes reach."""


@dataclass(frozen=True, kw_only=True)
class Colours:
    """One camera's mean colours (red, green, blue) in 0..1."""

    camera: str
    seen: tuple[float, float, float]
    trained: tuple[float, float, float] | None
    """Of the training pictures; None where the checkpoint does not know."""
    off: float | None
    """Distance of the two in standard deviations of the training pictures, largest of the three colours."""


@dataclass(frozen=True, kw_only=True)
class OutOfRange:
    """What was measured."""

    outside: tuple[Outside, ...]
    """Of every dimension, the worst first."""
    colours: tuple[Colours, ...]
    unknown: tuple[str, ...]
    """Inputs of which the checkpoint has no statistics in the robot's units."""
    episodes: int


def known_statistics(policy: Policy) -> dict[str, VectorStatistics]:
    """Return statistics by key in the robot's units, as far as the checkpoint has them.

    Of a policy in the hand's frame the plain ones are of what its network sees; where the checkpoint is too old to
    hold the robot's own beside them, nothing is known.
    """
    of: Statistics = policy.statistics
    wanted = [key for key, dim in ((keys.STATE, policy.features.state_dim), (keys.ENVIRONMENT_STATE, 1)) if dim]
    found = {key: of[f"{ROBOT}{key}"] for key in wanted if f"{ROBOT}{key}" in of}
    if "frame" not in policy.config.conditioning:
        found |= {key: of[key] for key in wanted if key in of and key not in found}
    return found


def measure_out_of_range(policy: Policy, dataset: ChunkDataset) -> OutOfRange:
    """Compare what some episodes hold with what the policy was trained on."""
    known = known_statistics(policy)
    episodes = dataset.episodes
    names = names_of(policy.features)
    inputs = [key for key in (keys.STATE, keys.ENVIRONMENT_STATE) if names[key]]
    outside = [
        of
        for key in inputs
        if key in known
        for of in outside_of(key, names[key], known[key], episodes, policy.config.narrowest)
    ]
    return OutOfRange(
        outside=tuple(sorted(outside, key=lambda of: -of.share)),
        colours=_colours(policy.statistics, dataset),
        unknown=tuple(key for key in inputs if key not in known),
        episodes=len(episodes),
    )


def outside_of(
    key: str, names: Sequence[str], of: VectorStatistics, episodes: Sequence[Episode], narrowest: float
) -> list[Outside]:
    """Return for each dimension of a vector how many frames are outside of what the statistics say."""
    values = np.concatenate([vectors(episode)[key] for episode in episodes]).astype(np.float64)
    margin = MARGIN * np.maximum(of.q99 - of.q01, narrowest)
    low, high = np.minimum(of.q01 - margin, of.min), np.maximum(of.q99 + margin, of.max)
    share = ((values < low - 1e-6) | (values > high + 1e-6)).mean(axis=0)
    return [
        Outside(
            key=key,
            name=name,
            share=float(share[dim]),
            low=float(low[dim]),
            high=float(high[dim]),
            seen_low=float(values[:, dim].min()),
            seen_high=float(values[:, dim].max()),
        )
        for dim, name in enumerate(names)
        if np.isfinite(low[dim]) and np.isfinite(high[dim])  # an imported policy's may be unknown
    ]


def _colours(statistics: Mapping[str, VectorStatistics], dataset: ChunkDataset) -> tuple[Colours, ...]:
    found = []
    for name, image in dataset.__getitems__(spread_evenly(range(len(dataset)), PICTURES)).images.items():
        seen = (image.float().mean(dim=(0, 2, 3)) / 255).tolist()
        of = statistics.get(keys.image_key(name))
        off = None if of is None else float((np.abs(np.array(seen) - of.mean) / np.maximum(of.std, 1e-3)).max())
        red, green, blue = seen
        trained = None if of is None else (float(of.mean[0]), float(of.mean[1]), float(of.mean[2]))
        found.append(Colours(camera=name, seen=(red, green, blue), trained=trained, off=off))
    return tuple(found)


def judge_out_of_range(measured: OutOfRange) -> Finding:
    """Put it into words."""
    worst = measured.outside[0] if measured.outside else None
    share = 0.0 if worst is None else worst.share
    other = [of for of in measured.colours if of.off is not None and of.off > DIFFERENT]
    severity: Severity = "fault" if share >= MANY else "warning" if share >= SOME or other else "fine"
    said, remedies = [], []
    if worst is not None and share >= SOME:
        named = [of for of in measured.outside if of.share >= SOME]
        said.append(
            f"{worst.name} ({_short(worst.key)}) is outside the training range in {100 * share:.0f} % of the frames: "
            f"{worst.seen_low:.3g} to {worst.seen_high:.3g} here, {worst.low:.3g} to {worst.high:.3g} trained on"
        )
        if len(named) > 1:
            said.append(f"so are {', '.join(of.name for of in named[1:5])}{' and more' * (len(named) > 5)}")
        remedies.append(
            "look at units and calibration first (degrees or radians, the arm's zero, metres of the coordinate), then "
            "demonstrate there too"
        )
    elif worst is not None:
        said.append(
            f"state and coordinates lie in the training range ({100 * share:.1f} % of the frames outside at most)"
        )
    for of in other:
        brightness = 100 * (np.mean(of.seen) / max(float(np.mean(of.trained or (1,))), 1e-6) - 1)
        said.append(f"camera '{of.camera}' is {abs(brightness):.0f} % {'brighter' if brightness > 0 else 'darker'}")
        remedies.append(f"give camera '{of.camera}' its light and exposure of the demonstrations")
    if measured.unknown:
        said.append(f"not known of {', '.join(map(_short, measured.unknown))}: the checkpoint has no statistics of it")
    if worst is None and not other:
        severity = "note"
    return Finding(
        question="out_of_range",
        title="Are the inputs such as it was trained on?",
        verdict="; ".join(said) or "cannot tell: the policy takes neither state nor coordinates",
        severity=severity,
        remedy="; ".join(remedies),
        evidence={
            "episodes": measured.episodes,
            "by_dimension": [
                {
                    "key": of.key,
                    "name": of.name,
                    "share_outside": of.share,
                    "training_range": [of.low, of.high],
                    "seen": [of.seen_low, of.seen_high],
                }
                for of in measured.outside
            ],
            "mean_colour_by_camera": {
                of.camera: {
                    "seen": list(of.seen),
                    "trained_on": None if of.trained is None else list(of.trained),
                    "standard_deviations_off": of.off,
                }
                for of in measured.colours
            },
        },
    )


def _short(key: str) -> str:
    return {keys.STATE: "state", keys.ENVIRONMENT_STATE: "coordinates"}[key]
