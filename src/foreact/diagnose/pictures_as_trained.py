"""Whether the policy gets its pictures as it learned to read them: nobody has to know what is wrong with them.

Each way in which pictures go wrong between two programs is undone on purpose: red and blue exchanged (OpenCV's order),
cameras in each other's place, a camera upside down or mirrored, values in 0..1 instead of 0..255, colours standardised
with other numbers. Where the policy predicts the demonstrations clearly better with one of them undone, that is what
is wrong. A policy that looks at nothing predicts alike whatever it is shown, so nothing can be said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from foreact.diagnose.inputs_used import alike_cameras, change_places, places_changed
from foreact.diagnose.normalisation import colours_of
from foreact.diagnose.probe import Change, Probe
from foreact.diagnose.resampling import ratio_interval
from foreact.finding import Finding, Severity
from foreact.normalizer import IMAGENET_MEAN, IMAGENET_STD
from foreact.records import Batch

SHARES = (0.0, 0.4)
"""Points of the episode."""
ENOUGH = 5
"""Episodes below which nothing is said: so many ways are tried that one suits two or three by luck."""
BETTER = 0.8
"""Share of the error as it is, below which another way of showing the pictures is taken for the right one."""
MUCH_BETTER, STANDS_OUT = 0.5, 1.5
"""The same for single episodes, whose error must also be so many times that of the median episode."""
LEVEL = 0.99
"""Of the interval that must lie below 1 too: many ways are tried, and one of them may be lucky."""
ALIKE = 0.02
"""Difference of the errors below which all ways are one to the policy."""

REMEDIES = {
    "red and blue exchanged": "convert the pictures from BGR to RGB where they are recorded or sent (OpenCV reads "
    "BGR); for ALOHA files see --source.jpeg-colours",
    "in each other's place": "give each camera its own name again: in the recording, or in the robot's configuration; "
    "then examine again",
    "upside down": "turn the camera's picture as it was in training",
    "mirrored": "mirror the camera's picture as it was in training",
    "times 255": "give pictures as uint8 in 0..255; these are in 0..1",
    "standardised as ImageNet's": "remove the pictures' own mean and deviation from the checkpoint's statistics: the "
    "network was trained with ImageNet's",
}
"""By the last words of a way's name."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """Another way of showing the pictures."""

    name: str
    error: float
    """Share of the error as it is."""
    interval: tuple[float, float]
    """Of that, by resampling episodes."""
    better_in: tuple[int, ...]
    """Episodes that stand out and are not half as wrong like this: a fault of some episodes may hide in the mean."""

    @property
    def is_better(self) -> bool:
        """Whether the policy must have been trained like this."""
        return self.error < BETTER and self.interval[1] < 1


@dataclass(frozen=True, kw_only=True)
class PicturesAsTrained:
    """What was measured."""

    error: float
    """Mean absolute error of the chunks with the pictures as they are, normalised actions."""
    ways: tuple[Way, ...]
    episodes: int

    @property
    def best(self) -> Way:
        """The way with the least error."""
        return min(self.ways, key=lambda way: way.error)

    @property
    def best_for_some(self) -> Way:
        """The way that most single episodes ask for."""
        return max(self.ways, key=lambda way: len(way.better_in))


def pictures_as_trained(
    probe: Probe, *, shares: Sequence[float] = SHARES, episodes: int | None = None
) -> PicturesAsTrained | None:
    """Measure; None where the policy takes no pictures, or there are too few episodes.

    Args:
        probe: The network and its episodes.
        shares: Points of the episode.
        episodes: How many of the probe's; None takes all.
    """
    samples, episode = probe.moments(shares, episodes)
    n_episodes = len(samples) // len(shares)
    if not probe.features.cameras or n_episodes < ENOUGH:
        return None

    def by_episode(change: Change | None) -> np.ndarray:
        errors = probe.errors(samples, probe.predict(samples, change).action)
        return np.bincount(episode, weights=errors) / len(shares)

    as_it_is = by_episode(None)
    stands_out = as_it_is > STANDS_OUT * np.median(as_it_is)

    def way(name: str, errors: np.ndarray) -> Way:
        better_in = np.flatnonzero(stands_out & (errors < MUCH_BETTER * as_it_is))
        return Way(
            name=name,
            error=float(errors.mean() / max(as_it_is.mean(), 1e-12)),
            interval=ratio_interval(errors, as_it_is, paired=True, level=LEVEL),
            better_in=tuple(probe.episodes[i] for i in better_in),
        )

    return PicturesAsTrained(
        error=float(as_it_is.mean()),
        ways=tuple(way(name, by_episode(change)) for name, change in _ways(probe, samples).items()),
        episodes=n_episodes,
    )


def _ways(probe: Probe, samples: np.ndarray) -> dict[str, Change]:
    """What is tried, by name; of several cameras each alone and all together."""
    cameras = [camera.name for camera in probe.features.cameras]
    groups: dict[str, tuple[str, ...]] = {name: (name,) for name in cameras} if len(cameras) > 1 else {}
    groups["pictures" if len(cameras) > 1 else cameras[0]] = tuple(cameras)
    ways: dict[str, Change] = {}
    for group, names in groups.items():
        ways[f"{group}: red and blue exchanged"] = _on(names, lambda image: image.flip(1))
        ways[f"{group}: upside down"] = _on(names, lambda image: image.flip(2, 3))
        ways[f"{group}: mirrored"] = _on(names, lambda image: image.flip(3))
    for one, other in alike_cameras(probe.features):
        ways[places_changed(one, other)] = change_places(one, other)
    few = probe.raw(samples[:8])
    dark = tuple(name for name in cameras if few.images[name].max() <= 1)
    if dark:
        ways[f"{' and '.join(dark)}: times 255"] = _on(dark, lambda image: 255.0 * image)
    for name in cameras:
        mean, std = colours_of(probe, name)
        if not torch.equal(mean, probe.inputs.normalizer.get_buffer("image_mean")):
            ways[f"{name}: standardised as ImageNet's"] = _on((name,), _as_imagenet(mean, std))
    return ways


def _as_imagenet(mean: Tensor, std: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what makes of a picture one that own colours standardise as ImageNet's would have the first."""

    def change(image: Tensor) -> Tensor:
        usual_mean, usual_std = (torch.tensor(of).view(3, 1, 1).to(mean) for of in (IMAGENET_MEAN, IMAGENET_STD))
        return 255 * (mean + std * (image.float() / 255 - usual_mean) / usual_std)

    return change


def _on(names: Sequence[str], function: Callable[[Tensor], Tensor]) -> Change:
    def change(raw: Batch, here: slice) -> Batch:
        return replace(raw, images={**raw.images, **{name: function(raw.images[name]) for name in names}})

    return change


def judge_pictures_as_trained(measured: PicturesAsTrained) -> Finding:
    """Put it into words."""
    found, of_some = measured.best, measured.best_for_some
    severity: Severity = "fine"
    if found.is_better:
        severity = "fault"
        verdict = (
            f"the pictures are not as in training: {found.name}, the error is {found.error:.2f} times that as they are "
            f"({100 * LEVEL:.0f} % interval {found.interval[0]:.2f} to {found.interval[1]:.2f})"
        )
    elif len(of_some.better_in) >= max(2, measured.episodes // 10):
        severity, found = "warning", of_some
        verdict = (
            f"the pictures of some episodes are not as in the others: {found.name}, the error is less than half in "
            f"episodes {', '.join(map(str, found.better_in))}"
        )
    elif all(abs(way.error - 1) < ALIKE for way in measured.ways):
        severity = "note"
        verdict = "cannot tell whether the pictures are as in training: however they are shown, the error stays"
    else:
        verdict = (
            "the pictures are as in training: no other way to show them suits the policy better (least error "
            f"{found.name}: {found.error:.2f} times)"
        )
    remedy = next((text for words, text in REMEDIES.items() if found.name.endswith(words)), "")
    return Finding(
        question="pictures",
        title="Does it get its pictures as in training?",
        verdict=verdict,
        severity=severity,
        remedy=remedy if severity in ("fault", "warning") else "",
        evidence={
            "episodes": measured.episodes,
            "error_as_they_are": measured.error,
            "error_as_share_of_that": {way.name: way.error for way in measured.ways},
            "interval_of_the_share": {way.name: list(way.interval) for way in measured.ways},
            "interval_level": LEVEL,
            "better_in_episodes": {way.name: list(way.better_in) for way in measured.ways if way.better_in},
        },
    )
