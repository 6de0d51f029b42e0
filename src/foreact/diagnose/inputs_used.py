"""Which inputs the policy answers to: each is exchanged among the samples, pictures are also blanked.

The change of the chunk is given in units of how much the exchanged samples' own demonstrations differ: 0 says that
the input is ignored, 1 that the chunk becomes another demonstration's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from foreact.diagnose.probe import Change, Probe, raw_like
from foreact.finding import Finding
from foreact.policy.inputs import with_cue
from foreact.records import Batch

SHARES = (0.0, 0.3, 0.6)
"""Points of the episode; samples are exchanged within one, so that the phase of the motion stays."""
IGNORED = 0.02
"""Change below which an input counts as ignored."""


@dataclass(frozen=True, kw_only=True)
class InputChange:
    """What an intervention on one input does."""

    intervention: str
    """`pictures exchanged`, `overhead blanked`, `state exchanged`, ..."""
    change: float
    """Mean change of the chunk, in units of the exchanged demonstrations' difference."""


@dataclass(frozen=True, kw_only=True)
class InputsUsed:
    """What was measured."""

    changes: tuple[InputChange, ...]
    episodes: int

    def change(self, intervention: str) -> float | None:
        """Return the change by its name; None where that input is not there."""
        return next((of.change for of in self.changes if of.intervention == intervention), None)


def inputs_used(probe: Probe, *, shares: Sequence[float] = SHARES, episodes: int | None = None) -> InputsUsed | None:
    """Measure.

    Args:
        probe: The network and its episodes.
        shares: Points of the episode.
        episodes: How many of the probe's; None takes all.

    Returns:
        None where there are not two episodes, or they all do the same.
    """
    difference = 0.0
    changes: dict[str, float] = {}
    for share in shares:
        samples = probe.samples(share, episodes)
        if len(samples) < 2:
            return None
        others = np.roll(samples, len(samples) // 2)
        is_real = ~(probe.is_pad(samples) | probe.is_pad(others))
        difference += _distance(probe.demonstrated(samples).action, probe.demonstrated(others).action, is_real)
        before = probe.predict(samples).action
        for name, change in _interventions(probe, samples, others).items():
            after = probe.predict(samples, change).action
            changes[name] = changes.get(name, 0.0) + _distance(before, after, is_real)
    if difference == 0:
        return None
    return InputsUsed(
        changes=tuple(InputChange(intervention=name, change=of / difference) for name, of in changes.items()),
        episodes=len(samples),
    )


def _distance(one: np.ndarray, other: np.ndarray, is_real: np.ndarray) -> float:
    """Mean absolute difference of chunks (N, T, A) over real steps; each sample counts alike, as far as it has any."""
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
    if probe.features.state_dim:
        state = exchanged.state
        assert state is not None
        found["state exchanged"] = lambda raw, here: replace(raw, state=state[here].to(raw_state(raw)))
    if probe.has_cue:
        cue = torch.from_numpy(probe.cues(others))
        found["coordinate exchanged"] = lambda raw, here: with_cue(raw, cue[here].to(raw_like(raw)))
    return found


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
    said = []
    ignored = []
    for name in ("pictures", "state", "coordinate"):
        change = measured.change(f"{name} exchanged")
        if change is None:
            said.append(f"{name}: none")
            continue
        blanked = measured.change(f"{name} blanked")
        if change < IGNORED and (blanked is None or blanked < IGNORED):
            ignored.append(name)
            said.append(f"{name}: no ({change:.2f})")
        else:
            said.append(f"{name}: yes ({change:.2f}" + (")" if blanked is None else f", blanked {blanked:.2f})"))
    remedies = []
    if "pictures" in ignored:
        remedies.append(
            "pictures are not needed where the coordinate is exact; to make the policy look, train with an inexact "
            "one: --train.cue-noise 0.02, or demonstrations from foreact record --level L2"
        )
    if "state" in ignored:
        remedies.append("a policy that ignores its state cannot close the loop: check the order and units of the state")
    return Finding(
        question="inputs",
        title="Which inputs does it answer to?",
        verdict=f"uses its inputs: {', '.join(said)}; 1 = as much as the exchanged demonstrations differ",
        severity="warning" if set(ignored) & {"pictures", "state"} else "fine",
        remedy="; ".join(remedies),
        evidence={
            "unit": "mean difference of the exchanged demonstrations",
            "episodes": measured.episodes,
            "changes": {of.intervention: of.change for of in measured.changes},
        },
    )
