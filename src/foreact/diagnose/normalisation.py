"""Whether the policy's normalisation fits the data: there and back, and what the network's inputs look like.

A policy normalises with the statistics in its checkpoint. Examined on data that they do not fit (degrees for radians,
another arm's zero, pictures in 0..1), the network gets numbers that it has never seen, and nothing complains.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foreact.config import Normalization, PolicyConfig
from foreact.diagnose.probe import Probe
from foreact.finding import Finding, Severity
from foreact.records import Batch
from foreact_runtime import keys

FRAMES = 4096
"""Frames that are looked at, spread over the episodes."""
WITH_PICTURES = 40
"""Of these, so many with their pictures."""
FAR = 4.0
"""Deviations by which a dimension's mean may lie from where training had it, and the factor by which its spread may
have grown, before the statistics are said not to fit."""
SURELY = 2.5
"""Times that, from which on it is a fault: degrees for radians make 57."""
ROUNDING = 1e-4
"""Of a round trip, in normalised units: float32 keeps 1e-6 of values that lie within some hundred deviations."""
FLAT = 0.05
"""Deviation of normalised pictures below which they show nothing; a picture in 0..255 has about 1."""
BEYOND = 4.0
"""Normalised colours lie within -2.2 and 2.7, with ImageNet's numbers."""
_UNITS = {
    math.degrees(1): "degrees, where it was trained in radians",
    math.radians(1): "radians, where it was trained in degrees",
    1000.0: "millimetres, where it was trained in metres",
    0.001: "metres, where it was trained in millimetres",
    100.0: "percent or centimetres, where it was trained with shares or metres",
    0.01: "shares or metres, where it was trained with percent or centimetres",
}
"""By the factor on the spread."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One dimension of a vector as the network sees it."""

    key: str
    name: str
    method: Normalization
    mean: float
    std: float
    low: float
    high: float

    @property
    def fits(self) -> bool:
        """Whether these are numbers as the method makes them of the data that it was fitted to."""
        if self.method == "identity":
            return True
        return abs(self.mean) <= FAR and self.std <= FAR and max(-self.low, self.high) <= 100 * FAR

    @property
    def unit_hint(self) -> str:
        """What the factor on the spread looks like; empty where it looks like nothing."""
        for factor, words in _UNITS.items():
            if 0.6 < self.std / factor < 1.6:
                return words
        return ""


@dataclass(frozen=True, kw_only=True)
class Colours:
    """A camera's pictures as the network sees them, before crops; by channel red, green, blue."""

    camera: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    raw_high: float
    """Largest raw value."""

    @property
    def wrong(self) -> str:
        """What is wrong with them, in words; empty where nothing is."""
        if max(self.std) < FLAT and self.raw_high <= 1:
            return f"black to the network: no value is above {self.raw_high:g}, and 0..255 is expected"
        if max(abs(mean) for mean in self.mean) > BEYOND or max(self.std) > BEYOND:
            return "far outside of what colours become by their normalisation: the mean and deviation are wrong"
        if max(self.std) < FLAT:
            return "nearly even: blank pictures, or a mean and deviation for values in 0..255"
        return ""


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """What was measured."""

    dimensions: tuple[Dimension, ...]
    colours: tuple[Colours, ...]
    round_trip: float
    """Largest difference of an action that was normalised and back, in normalised units; with `frame` of the hand's
    place [m]."""
    in_frame: bool
    frames: int


@torch.no_grad()
def normalisation(probe: Probe, config: PolicyConfig) -> Normalisation:
    """Measure on frames of all episodes.

    Args:
        probe: The network's inputs, and the episodes.
        config: The policy's.
    """
    n = len(probe.dataset)
    rows = np.unique(np.linspace(0, n - 1, min(n, FRAMES)).astype(int))
    inputs = probe.inputs
    raw = probe.dataset.vectors(rows.tolist()).to(probe.device)
    seen = inputs.normalizer.normalize(raw if inputs.frame is None else inputs.frame.encode(raw))
    pictures = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), WITH_PICTURES)).astype(int))]
    return Normalisation(
        dimensions=tuple(_dimensions(probe, config, seen)),
        colours=tuple(_colours(probe, pictures)),
        round_trip=_round_trip(probe, raw, seen),
        in_frame=inputs.frame is not None,
        frames=len(rows),
    )


def _dimensions(probe: Probe, config: PolicyConfig, seen: Batch) -> Iterator[Dimension]:
    """Each dimension that is scaled; binary ones are thresholded instead."""
    assert seen.action is not None
    assert seen.action_is_pad is not None
    features = probe.inputs.network_features
    binary = set()
    if seen.state is not None:
        binary = {int(i) for i in probe.inputs.normalizer.get_buffer("state_is_binary").nonzero()}
    vectors = (
        (keys.STATE, config.state_normalization, features.state_names, seen.state),
        (keys.ENVIRONMENT_STATE, config.environment_normalization, features.environment_names, seen.environment_state),
        (keys.ACTION, config.action_normalization, features.action_names, seen.action[~seen.action_is_pad]),
    )
    for key, method, names, values in vectors:
        if values is None:
            continue
        for i, name in enumerate(names):
            if key == keys.STATE and i in binary:
                continue
            of = values[:, i].double()
            yield Dimension(
                key=key,
                name=name,
                method=method,
                mean=of.mean().item(),
                std=of.std(correction=0).item(),
                low=of.min().item(),
                high=of.max().item(),
            )


def _colours(probe: Probe, rows: np.ndarray) -> Iterator[Colours]:
    images = probe.raw(rows).to(probe.device).images
    for camera in probe.features.cameras:
        mean, std = colours_of(probe, camera.name)
        seen = (images[camera.name].double() / 255 - mean) / std
        yield Colours(
            camera=camera.name,
            mean=tuple(seen.mean(dim=(0, 2, 3)).tolist()),
            std=tuple(seen.std(dim=(0, 2, 3), correction=0).tolist()),
            raw_high=float(images[camera.name].max()),
        )


def colours_of(probe: Probe, camera: str) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation (3, 1, 1) with which a recorded camera's colours are standardised."""
    seen_as = next(of.name for of in probe.inputs.network_features.cameras if camera in (of.name, of.view_of))
    return probe.inputs.normalizer.colours(seen_as)


def _round_trip(probe: Probe, raw: Batch, seen: Batch) -> float:
    assert raw.action is not None
    assert seen.action is not None
    if probe.inputs.frame is not None:
        there_and_back = probe.inputs.read_chunk(seen.action, raw)[..., :3]
        return _largest(there_and_back - probe.hand_of(raw.action))
    scale = probe.inputs.normalizer.get_buffer("action_scale")
    return _largest((probe.inputs.normalizer.unnormalize_action(seen.action) - raw.action) / scale)


def _largest(difference: Tensor) -> float:
    largest = difference.abs().max().item()
    return largest if math.isfinite(largest) else sys.float_info.max


def judge_normalisation(measured: Normalisation) -> Finding:
    """Put it into words."""
    strange = sorted((of for of in measured.dimensions if not of.fits), key=lambda of: -_size(of))
    dark = [of for of in measured.colours if of.wrong]
    breaks = measured.round_trip > ROUNDING
    severity: Severity = "fine"
    said, remedies = [], []
    if breaks:
        severity = "fault"
        unit = "m of the hand" if measured.in_frame else "normalised units"
        said.append(f"there and back changes an action by {measured.round_trip:.2g} {unit}")
        remedies.append("the statistics in the checkpoint are damaged: take another one")
    if dark:
        severity = "fault"
        said += [f"image normalisation is wrong: the pictures of {of.camera} are {of.wrong}" for of in dark]
        remedies.append("give uint8 pictures in 0..255; mean and deviation in a checkpoint are of colours in 0..1")
    if strange:
        severity = "fault" if dark or breaks or any(_size(of) > SURELY * FAR for of in strange) else "warning"
        said.append(f"the statistics do not fit the data in {len(strange)} dimensions: {_listed(strange)}")
        remedies.append(
            "examine on data of the same robot in the same units and with the same zero (foreact inspect shows both), "
            "or train on these"
        )
    if not said:
        said.append(_all_fits(measured))
    return Finding(
        question="normalisation",
        title="Does the normalisation fit the data?",
        verdict="; ".join(said),
        severity=severity,
        remedy="; ".join(remedies),
        evidence={
            "frames": measured.frames,
            "round_trip": measured.round_trip,
            "round_trip_unit": "m of the hand" if measured.in_frame else "normalised action",
            "colours": [
                {
                    "camera": of.camera,
                    "mean": list(of.mean),
                    "std": list(of.std),
                    "raw_high": of.raw_high,
                    "wrong": of.wrong,
                }
                for of in measured.colours
            ],
            "table": [
                {
                    "vector": short(of.key),
                    "dimension": of.name,
                    "method": of.method,
                    "mean": of.mean,
                    "sd": of.std,
                    "lowest": of.low,
                    "highest": of.high,
                    "fits": "yes" if of.fits else "no",
                }
                for of in measured.dimensions
            ],
        },
    )


def short(key: str) -> str:
    """Return a key's last word."""
    return key.rpartition(".")[2]


def _size(of: Dimension) -> float:
    return max(abs(of.mean), of.std, max(-of.low, of.high) / 100)


def _listed(strange: list[Dimension]) -> str:
    parts = []
    for of in strange[:3]:
        hint = f", as if in {of.unit_hint}" if of.unit_hint else ""
        parts.append(f"{short(of.key)} '{of.name}' has mean {of.mean:.3g} and sd {of.std:.3g} once normalised{hint}")
    return "; ".join(parts) + (" ..." if len(strange) > 3 else "")


def _all_fits(measured: Normalisation) -> str:
    means = [abs(of.mean) for of in measured.dimensions if of.method == "mean_std"]
    spreads = [of.std for of in measured.dimensions if of.method == "mean_std"]
    text = f"it fits: actions come back within {measured.round_trip:.1g}"
    if means:
        text += f", means at most {max(means):.2f} from 0 and sd {min(spreads):.2f} to {max(spreads):.2f} of 1"
    if measured.colours:
        text += ", pictures " + " and ".join(
            f"{np.mean(of.mean):.1f} with sd {np.mean(of.std):.1f}" for of in measured.colours
        )
    return text
