"""Which inputs the policy answers to: each is exchanged among the samples and blanked; two cameras change places.

The change of the chunk is given in units of how much the exchanged samples' own demonstrations differ: 0 says that
the input is ignored, 1 that the chunk becomes another demonstration's. Whether the input helps is another matter: that
is what the error without it says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch

from foreact.data.images import resize_frames
from foreact.diagnose.probe import Change, Probe, raw_like
from foreact.finding import Finding
from foreact.policy.inputs import with_cue
from foreact.records import Batch, Features

SHARES = (0.0, 0.3, 0.6)
"""Points of the episode; samples are exchanged within one, so that the phase of the motion stays."""
IGNORED = 0.02
"""Change below which an input counts as ignored."""
HARDLY = 0.15
"""Change of the exchanged coordinate below which a policy hardly answers to it. Runs of the study that ignore theirs
without being deaf to it have 0.04 to 0.14, those that go where they are told 0.20 to 0.5, one between 0.12."""
ONE_FOR_ALL = 0.25
"""Change with all inputs exchanged below which the policy has one chunk for all."""
EVERYTHING = "everything exchanged"


@dataclass(frozen=True, kw_only=True)
class InputChange:
    """What an intervention on one input does."""

    intervention: str
    """`pictures exchanged`, `overhead blanked`, `state exchanged`, ..."""
    change: float
    """Mean change of the chunk, in units of the exchanged demonstrations' difference."""
    error: float
    """Distance from the demonstrations after it, as a multiple of that before."""


@dataclass(frozen=True, kw_only=True)
class InputsUsed:
    """What was measured."""

    changes: tuple[InputChange, ...]
    cameras: tuple[str, ...]
    episodes: int

    def change(self, intervention: str) -> float | None:
        """Return the change by its name; None where that input is not there."""
        return next((of.change for of in self.changes if of.intervention == intervention), None)

    def is_ignored(self, name: str) -> bool:
        """Whether neither another sample's input nor an empty one changes the chunk."""
        changes = [self.change(f"{name} {what}") for what in ("exchanged", "blanked")]
        return all(change < IGNORED for change in changes if change is not None)

    def cannot_tell_apart(self) -> tuple[tuple[str, str], ...]:
        """Return pairs of cameras that are both looked at and may change places unnoticed."""
        return tuple(
            (one, other)
            for one, other in combinations(self.cameras, 2)
            if (change := self.change(places_changed(one, other))) is not None
            and change < IGNORED
            and not self.is_ignored(one)
            and not self.is_ignored(other)
        )


def inputs_used(probe: Probe, *, shares: Sequence[float] = SHARES, episodes: int | None = None) -> InputsUsed | None:
    """Measure.

    Args:
        probe: The network and its episodes.
        shares: Points of the episode.
        episodes: How many of the probe's; None takes all.

    Returns:
        None where there are not two episodes, or they all do the same.
    """
    difference = error = 0.0
    changes: dict[str, float] = {}
    errors: dict[str, float] = {}

    def note(name: str, before: np.ndarray, after: np.ndarray) -> None:
        changes[name] = changes.get(name, 0.0) + _distance(before, after, is_real)
        errors[name] = errors.get(name, 0.0) + _distance(after, demonstrated, is_real)

    for share in shares:
        samples = probe.samples(share, episodes)
        if len(samples) < 2:
            return None
        half = len(samples) // 2
        others = np.roll(samples, half)
        is_real = ~(probe.is_pad(samples) | probe.is_pad(others))
        demonstrated = probe.demonstrated(samples).action
        difference += _distance(demonstrated, probe.demonstrated(others).action, is_real)
        before = probe.predict(samples).action
        error += _distance(before, demonstrated, is_real)
        note(EVERYTHING, before, np.roll(before, half, axis=0))
        for name, change in _interventions(probe, samples, others).items():
            note(name, before, probe.predict(samples, change).action)
    if difference == 0:
        return None
    return InputsUsed(
        changes=tuple(
            InputChange(intervention=name, change=of / difference, error=errors[name] / max(error, 1e-12))
            for name, of in changes.items()
        ),
        cameras=tuple(camera.name for camera in probe.features.cameras),
        episodes=len(samples),
    )


def _distance(one: np.ndarray, other: np.ndarray, is_real: np.ndarray) -> float:
    """Mean absolute difference of chunks (N, T, A) over all real steps."""
    return float(np.abs(one - other).mean(axis=-1)[is_real].mean()) if is_real.any() else 0.0


def _interventions(probe: Probe, samples: np.ndarray, others: np.ndarray) -> dict[str, Change]:
    exchanged: Batch = probe.raw(others)
    cameras = tuple(camera.name for camera in probe.features.cameras)
    found: dict[str, Change] = {}
    if cameras:
        found["pictures exchanged"] = _exchange_pictures(exchanged, cameras)
        found["pictures blanked"] = _blank_pictures(cameras)
    if len(cameras) > 1:
        for name in cameras:
            found[f"{name} exchanged"] = _exchange_pictures(exchanged, (name,))
            found[f"{name} blanked"] = _blank_pictures((name,))
        for one, other in alike_cameras(probe.features):
            found[places_changed(one, other)] = change_places(one, other)
    if probe.features.state_dim:
        state = exchanged.state
        assert state is not None
        found["state exchanged"] = lambda raw, here: replace(raw, state=state[here].to(raw_state(raw)))
        found["state blanked"] = lambda raw, here: replace(raw, state=_everywhere(state, raw_state(raw)))
    if probe.has_cue:
        cue = torch.from_numpy(probe.cues(others))
        found["coordinate exchanged"] = lambda raw, here: with_cue(raw, cue[here].to(raw_like(raw)))
        found["coordinate blanked"] = lambda raw, here: with_cue(raw, _everywhere(cue, raw_like(raw)))
    return found


def _everywhere(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return the mean of all samples' vectors (N, D) for each of a batch, as the type of `like`."""
    return values.mean(dim=0).expand(len(like), -1).to(like)


def alike_cameras(features: Features) -> list[tuple[str, str]]:
    """Return the pairs of cameras of one kind, with depth or without, so that they can change places."""
    pairs = combinations(features.cameras, 2)
    return [(one.name, other.name) for one, other in pairs if (one.depth_range is None) == (other.depth_range is None)]


def places_changed(one: str, other: str) -> str:
    """Return what the intervention is called that lets two cameras change places."""
    return f"{one} and {other} in each other's place"


def change_places(one: str, other: str) -> Change:
    """Return an intervention after which each of two cameras shows what the other sees.

    Pictures of another size are resized, as a recorder does that gives each name its size: they are blurred a little,
    so of the fault less is undone, but a policy that gets its pictures rightly gains nothing.
    """

    def change(raw: Batch, here: slice) -> Batch:
        def swapped(of: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {**of, one: _sized(of[other], of[one]), other: _sized(of[one], of[other])} if one in of else {**of}

        return replace(raw, images=swapped(raw.images), depth=swapped(raw.depth))

    return change


def _sized(picture: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    height, width = like.shape[-2:]
    return resize_frames(picture, (height, width))


def raw_state(raw: Batch) -> torch.Tensor:
    """Return the tensor whose type and device another state takes."""
    assert raw.state is not None
    return raw.state


def _exchange_pictures(other: Batch, cameras: Sequence[str]) -> Change:
    def change(raw: Batch, here: slice) -> Batch:
        images = {name: other.images[name][here].to(raw.images[name].device) for name in cameras}
        depth = {name: other.depth[name][here].to(raw.depth[name].device) for name in cameras if name in raw.depth}
        return replace(raw, images={**raw.images, **images}, depth={**raw.depth, **depth})

    return change


def _blank_pictures(cameras: Sequence[str]) -> Change:
    """Each picture becomes its own mean colour and mean depth, so that only what it shows is lost."""

    def change(raw: Batch, here: slice) -> Batch:
        images = {name: _flat(raw.images[name]) for name in cameras}
        depth = {name: _flat(raw.depth[name]) for name in cameras if name in raw.depth}
        return replace(raw, images={**raw.images, **images}, depth={**raw.depth, **depth})

    return change


def _flat(picture: torch.Tensor) -> torch.Tensor:
    return picture.float().mean(dim=(2, 3), keepdim=True).expand(picture.shape).to(picture.dtype)


def judge_inputs_used(measured: InputsUsed) -> Finding:
    """Put the changes into words."""
    ignored = [name for name in _INPUTS if _is_ignored(measured, name)]
    obeys = measured.change("coordinate exchanged") is not None and "coordinate" not in ignored
    of_several = [name for name in measured.cameras if len(measured.cameras) > 1]
    blind_eyes = [name for name in of_several if measured.is_ignored(name) and "pictures" not in ignored]
    pairs = measured.cannot_tell_apart()
    said = [_said(measured, name, of_several if name == "pictures" else ()) for name in _INPUTS]
    verdict = f"uses its inputs: {', '.join(said)}; 1 = as much as the exchanged demonstrations differ"
    everything = measured.change(EVERYTHING) or 0.0
    one_for_all = everything < ONE_FOR_ALL
    remedies = []
    if one_for_all:
        verdict = f"collapsed: one chunk for all: with every input exchanged it changes by {everything:.2f}; {verdict}"
        remedies.append(
            "check that actions and observations of an episode belong together (foreact inspect), then that the loss "
            "falls below the mean chunk's (below); if it does, train longer"
        )
    for name in blind_eyes:
        verdict += f"; ignores camera {name}"
    for one, other in pairs:
        verdict += f"; cannot tell {one} from {other}"
    if "pictures" in ignored and not obeys:
        remedies.append(
            "look whether the pictures show the task and belong to the actions (foreact inspect), and whether the "
            "backbone learns (below); then train longer"
        )
    elif "pictures" in ignored:
        remedies.append(
            "pictures are not needed where the coordinate is exact; to make the policy look, train with an inexact "
            "one: --train.cue-noise 0.02, or demonstrations from foreact record --level L2"
        )
    if "state" in ignored:
        remedies.append(
            "a policy that ignores its state knows from pictures alone where its arm is, if at all: check the order "
            "and units of the state"
        )
    if blind_eyes:
        left = [name for name in measured.cameras if name not in blind_eyes] or [measured.cameras[0]]
        remedies.append(
            f"look whether {' and '.join(blind_eyes)} shows anything of the task (foreact inspect); a camera that does "
            f"not, or shows what another one does, is better left out: --policy.cameras {' '.join(left)}"
        )
    if pairs:
        remedies.append(
            "look whether these two are one camera recorded twice, or exchanged in a part of the episodes (foreact "
            "inspect); --policy.camera-embedding tells the network which is which"
        )
    is_bad = bool(set(ignored) & {"pictures", "state"} or blind_eyes or pairs)
    return Finding(
        question="inputs",
        title="Which inputs does it answer to?",
        verdict=verdict,
        severity="fault" if one_for_all else "warning" if is_bad else "fine",
        remedy="; ".join(remedies),
        evidence={
            "unit": "mean difference of the exchanged demonstrations",
            "episodes": measured.episodes,
            "changes": {of.intervention: of.change for of in measured.changes},
            "error_after_as_multiple_of_before": {of.intervention: of.error for of in measured.changes},
            "table": [
                {
                    "intervention": of.intervention,
                    "change of the chunk": of.change,
                    "error, times that before": of.error,
                }
                for of in measured.changes
            ],
        },
    )


_INPUTS = ("pictures", "state", "coordinate")


def _is_ignored(measured: InputsUsed, name: str) -> bool:
    return measured.change(f"{name} exchanged") is not None and measured.is_ignored(name)


def _said(measured: InputsUsed, name: str, parts: Sequence[str]) -> str:
    """What one input does, its parts in brackets."""
    change, blanked = measured.change(f"{name} exchanged"), measured.change(f"{name} blanked")
    if change is None:
        return f"{name}: none"
    if measured.is_ignored(name):
        return f"{name}: no ({change:.2f})"
    answer = "hardly" if name == "coordinate" and change < HARDLY else "yes"
    of_parts = "".join(f", {part} {measured.change(f'{part} exchanged'):.2f}" for part in parts)
    return f"{name}: {answer} ({change:.2f}" + ("" if blanked is None else f", blanked {blanked:.2f}") + f"{of_parts})"
