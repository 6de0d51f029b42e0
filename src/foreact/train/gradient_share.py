"""Which share of the gradient arrives at each input: whether training makes use of the coordinates at all.

State and coordinates are watched as the robot gives them, before crops, maps and the hand's frame are made of them, so
that every way counts by which they reach the loss, the counterfactual of `contrastive` among them; pictures as the
network takes them, without the map of the cue, which is the coordinates'. What the loss compares with, and what the
CVAE encoder is told, are no inputs and count for nothing (model/losses.py, `ACT.posterior`).

Gradients are multiplied with the standard deviation of what they belong to, so that their L2 norms can be compared: by
how much the loss would change where an input changed as much as it does in the data. A dimension that is constant there
counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from foreact.data.statistics import ROBOT
from foreact.policy.inputs import Inputs
from foreact.records import Batch, Camera, Statistics
from foreact_runtime import keys


class GradientShare:
    """The inputs of one training step; the numbers that the step computes with are the same as without it."""

    def __init__(self, inputs: Inputs, statistics: Statistics) -> None:
        """Watch nothing yet.

        Args:
            inputs: What prepares the batches.
            statistics: Of the training split, the robot's own vectors among them (`robot_statistics`).
        """
        self._cameras = inputs.network_features.cameras
        self._statistics = statistics
        self._vectors: dict[str, Tensor] = {}
        self._pictures: list[Batch] = []

    def vectors(self, raw: Batch) -> Batch:
        """Return a raw batch with state and coordinates at which gradients arrive."""
        inputs = {keys.STATE: raw.state, keys.ENVIRONMENT_STATE: raw.environment_state}
        self._vectors = {key: of.detach().requires_grad_() for key, of in inputs.items() if of is not None}
        state, coordinates = self._vectors.get(keys.STATE), self._vectors.get(keys.ENVIRONMENT_STATE)
        return replace(raw, state=state, environment_state=coordinates)

    def pictures(self, prepare: Callable[[Batch], Batch]) -> Callable[[Batch], Batch]:
        """Return what prepares raw batches so that gradients arrive at the pictures that the network is given."""

        def watched(raw: Batch) -> Batch:
            prepared = prepare(raw)
            for image in prepared.images.values():
                image.requires_grad_().retain_grad()
            self._pictures.append(prepared)
            return prepared

        return watched

    def shares(self) -> dict[str, Tensor]:
        """Return the shares after the backward pass: `state`, `coordinates` and the cameras; their sum is 1."""
        names = {keys.STATE: "state", keys.ENVIRONMENT_STATE: "coordinates"}
        norms = {names[key]: (_gradient(of) * self._unit(key, of)).norm() for key, of in self._vectors.items()}
        norms |= {camera.name: self._at(camera).norm() for camera in self._cameras}
        total = torch.stack(list(norms.values())).sum().clamp_min(1e-30)
        return {name: norm / total for name, norm in norms.items()}

    def _unit(self, key: str, like: Tensor) -> Tensor:
        return torch.from_numpy(self._statistics[f"{ROBOT}{key}"].std).to(like)

    def _at(self, camera: Camera) -> Tensor:
        """The gradient at a camera's colours and depth; none at a picture that is hidden, or a crop that shows nothing.

        A norm over one grey divides by nearly nothing: the gradient there is enormous, and says nothing.
        """
        planes = slice(0, camera.channels - camera.cue_map)
        images = [of.images[camera.name] for of in self._pictures]
        colours = [_gradient(of)[:, planes] * _shows_something(of[:, planes].detach()) for of in images]
        # The counterfactual is shown the same picture, but another crop of it.
        return torch.stack(colours).sum(dim=0) if camera.view_of is None else torch.cat(colours)


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def _shows_something(image: Tensor) -> Tensor:
    """Return which of the pictures (B, C, H, W) are not 0 throughout, (B, 1, 1, 1)."""
    return (image != 0).flatten(1).any(1)[:, None, None, None]
