"""One sample's whole way through a preset, recorded: data, training step, and the robot's tick."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from explain.demonstrations import Demonstrations, waving
from explain.recording import Recording
from foreact.config import RunConfig
from foreact.data.dataset import ChunkDataset
from foreact.data.selection import select_features
from foreact.data.statistics import compute_statistics, robot_statistics
from foreact.diagnose.network_parts import parts_of
from foreact.model.act import ACT
from foreact.model.losses import act_loss
from foreact.policy.policy import Policy
from foreact.presets import preset
from foreact.records import Batch, Features
from foreact.train.cost import QuietModule
from foreact.train.stand_in import ROBOTS, stand_in_features
from foreact_runtime import keys

PRESETS = ("so101", "r1pro")
BATCH = 2
_LENGTH = 9
"""Frames of an episode after downsampling: fewer than a chunk has, so that there is padding."""
_TICKS = 3


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What came of it."""

    run: RunConfig
    features: Features
    """As the policy takes them."""
    recording: Recording
    l1_gradients: Mapping[str, float]
    """Norm of the L1's gradient by part of the network, before the first step."""
    kl_gradients: Mapping[str, float]
    """The same of the weighted KL term."""
    token_gradients: np.ndarray
    """Norm of the L1's gradient at each of the encoder's tokens (L,)."""


@cache
def record_pass(name: str) -> Pass:
    """Return the recorded pass of a preset, with random weights and made-up data of its robot's sizes."""
    run = preset(name)
    run = replace(run, policy=replace(run.policy, pretrained_backbone_weights=None))
    recorded = stand_in_features(ROBOTS[name])
    features = select_features(recorded, run.policy)
    source = waving(recorded, episodes=2, length=_LENGTH * run.policy.downsample_factor)
    recording = Recording()
    with tempfile.TemporaryDirectory() as folder:
        dataset = recording.of(
            lambda: ChunkDataset(
                source,
                source.episode_indices,
                features=features,
                chunk_size=run.policy.chunk_size,
                downsample_factor=run.policy.downsample_factor,
                image_size=run.policy.image_size,
                cache_dir=Path(folder),
            )
        )
        statistics = recording.of(
            lambda: {**compute_statistics(dataset.episodes), **robot_statistics(dataset.episodes, features)}
        )
        batch = recording.of(lambda: dataset.__getitems__([_LENGTH - 3, _LENGTH]), batch=BATCH)
    module = recording.of(lambda: QuietModule(run, features, statistics))
    recording.network = module.model
    optimizer = recording.of(module.configure_optimizers)["optimizer"]
    l1_gradients, kl_gradients, token_gradients = _first_gradients(module, batch)
    recording.of(lambda: module.make_step(optimizer, batch), batch=BATCH)

    network = module.model
    policy = recording.of(lambda: Policy(config=run.policy, features=features, statistics=statistics, model=network))
    recording.network = policy.predictor.network
    observation = _observation(source, features)
    for _ in range(_TICKS):
        recording.of(lambda: policy.act(observation))
    return Pass(
        run=run,
        features=features,
        recording=recording,
        l1_gradients=l1_gradients,
        kl_gradients=kl_gradients,
        token_gradients=token_gradients,
    )


def _first_gradients(module: QuietModule, batch: Batch) -> tuple[dict[str, float], dict[str, float], np.ndarray]:
    """Return the norms of the gradients of L1 and of weighted KL by part, and of L1 at each of the encoder's tokens."""
    network, config = module.model, module.run.policy
    at_tokens: list[torch.Tensor] = []

    def keep(encoder: torch.nn.Module, of_inputs: Any, of_outputs: Any) -> None:
        at_tokens.append(of_inputs[0])

    hook = network.encoder.register_full_backward_hook(keep)
    torch.manual_seed(0)
    prepared = module.inputs.prepare(batch, crop_seed=0, cells=network.cell_middles)
    loss = act_loss(network(prepared, z="posterior"), prepared, config)
    assert loss.kl is not None
    norms = []
    for term in (loss.l1, config.kl_weight * loss.kl):
        network.zero_grad()
        term.backward(retain_graph=True)
        norms.append(_norms(network))
    hook.remove()
    return norms[0], norms[1], at_tokens[0].norm(dim=(0, 2)).numpy()


def _norms(network: ACT) -> dict[str, float]:
    squares: dict[str, float] = {}
    for part, parameters in parts_of(network).items():
        given = [float(of.grad.norm()) ** 2 for of in parameters.values() if of.grad is not None]
        squares[part.box] = squares.get(part.box, 0.0) + sum(given)
    return {box: square**0.5 for box, square in squares.items()}


def _observation(source: Demonstrations, features: Features) -> dict[str, np.ndarray]:
    """What a robot would have seen at the first frame, in LeRobot's keys."""
    episode = source.episode(0)
    observation: dict[str, np.ndarray] = {}
    if features.state_dim and episode.state is not None:
        observation[keys.STATE] = episode.state[0]
    if features.environment_dim and episode.environment_state is not None:
        observation[keys.ENVIRONMENT_STATE] = episode.environment_state[0]
    for camera in features.cameras:
        observation[keys.image_key(camera.name)] = next(source.frames(0, camera.name))
        if camera.depth_range is not None:
            observation[keys.depth_key(camera.name)] = next(source.depth(0, camera.name))
    return observation
