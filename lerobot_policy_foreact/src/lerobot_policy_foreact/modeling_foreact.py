"""Foreact's policy behind LeRobot's methods: raw batches in, actions in the robot's units out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from foreact.data.images import resize_frames
from foreact.deploy.lerobot_names import camera_key
from foreact.errors import ConfigError, ObservationError
from foreact.model.act import ACT
from foreact.model.losses import act_loss
from foreact.normalizer import statistics_from_dict, statistics_to_dict
from foreact.policy.inputs import Inputs, cue_noise
from foreact.policy.settings import executor_settings
from foreact.records import Batch, Camera, Features, features_from_dict
from foreact.train.objective import training_loss
from foreact.train.optimizer import parameter_groups
from foreact_runtime import keys
from foreact_runtime.controller import Controller
from lerobot_policy_foreact.configuration_foreact import ForeactConfig
from lerobot_policy_foreact.robot_data import read_dataset


class ForeactPolicy(PreTrainedPolicy):
    """LeRobot's commands train, evaluate and drive it; Foreact's network, normalisation, losses and executor work.

    What is saved in LeRobot's checkpoint is complete: features and statistics stand in `config.json`.
    """

    config_class = ForeactConfig
    name = "foreact"

    def __init__(self, config: ForeactConfig, *, dataset_meta: Any = None, **_: Any) -> None:
        """Build for a data set, or for what a checkpoint's configuration says.

        Args:
            config: Changed where it is new: `robot` and `input_features` become what the policy uses.
            dataset_meta: LeRobot's metadata of the data set; only its folder is used.

        Raises:
            ConfigError: If neither says what the robot's features are, or the options do not fit them.
        """
        super().__init__(config)
        config.validate_features()
        options = config.policy_config()
        if config.robot:
            options = replace(options, pretrained_backbone_weights=None)  # a checkpoint's follow
        elif dataset_meta is None:
            raise ConfigError(
                "a new foreact policy needs a data set for its features and statistics, an environment does not do; "
                "give --policy.path of a trained one"
            )
        else:
            features, known = read_dataset(dataset_meta.root, options, config.calibration)
            config.robot = {"features": asdict(features), "statistics": statistics_to_dict(known)}
        self.options = options
        self.features = features_from_dict(config.robot["features"])
        statistics = statistics_from_dict(config.robot["statistics"])
        self.inputs = Inputs(options, self.features, statistics)
        self.executor_settings = executor_settings(options, self.features, statistics)
        self.model = ACT(options, self.inputs.network_features)
        used = _keys(self.features)
        config.input_features = {key: of for key, of in (config.input_features or {}).items() if key in used}
        self.reset()

    def get_optim_params(self) -> list[dict[str, object]]:
        """Return AdamW's groups: backbones with their own rate, no decay on what has one dimension."""
        return parameter_groups(self.model, self.config.train_config())

    def reset(self) -> None:
        """Begin an episode: forget chunks."""
        self._controllers: list[Controller] = []

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a raw batch and its terms; in evaluation mode the L1 with z = 0, as inference predicts."""
        raw = self._raw(batch)
        if not self.training:
            prepared = self.inputs.prepare(raw, cells=self.model.cell_middles)
            loss = act_loss(self.model(prepared, z="zero"), prepared, self.options)
        else:
            seed = int(torch.randint(2**62, ()))
            raw = cue_noise(raw, self.config.cue_noise, torch.Generator().manual_seed(seed))
            prepare = partial(self.inputs.prepare, crop_seed=seed, cells=self.model.cell_middles)
            loss = training_loss(self.model, self.options, raw, prepare, seed=seed)
        return loss.loss, {name: value.item() for name, value in loss.terms().items()}

    def predict_action_chunk(self, batch: Mapping[str, Tensor], **_: Any) -> Tensor:
        """Return chunks of actions (B, T, A) in the robot's units, for whoever executes them itself.

        Limits and alarm apply as in `select_action`; the first action is limited relative to where the arm is, for how
        much of the last chunk was executed is not known.

        Raises:
            UnreachableError: With the conditioning `frame`, if the arm cannot bring its hand there and its state does
                not say where it is.
            OutOfRangeError: If the alarm is to stop the robot (`--policy.on_alarm`).
        """
        n_actions = self.options.chunk_size
        settings = self.executor_settings.ahead(n_actions)
        chunks, seen = self._chunks(batch), self._vectors(batch)
        return self._tensor(
            np.stack(
                [
                    Controller(lambda _, chunk=chunk: chunk, settings, self.features).act_ahead(of, n_actions)
                    for chunk, of in zip(chunks, seen, strict=True)
                ]
            )
        )

    def select_action(self, batch: Mapping[str, Tensor], **_: Any) -> Tensor:
        """Return this tick's actions (B, A) in the robot's units, by Foreact's executor, one a robot.

        With the conditioning `frame` an arm that cannot bring its hand there stays where it is.

        Raises:
            UnreachableError: If the state does not say where that is, and it was never told anything.
            OutOfRangeError: If the alarm is to stop the robot (`--policy.on_alarm`).
        """
        if not self._controllers:
            self._controllers = [self._controller(robot) for robot in range(_size(batch))]
        if any(controller.executor.needs_chunk for controller in self._controllers):
            self._predicted = self._chunks(batch)
        seen = self._vectors(batch)
        return self._tensor(
            np.stack([controller.act(of) for controller, of in zip(self._controllers, seen, strict=True)])
        )

    def _controller(self, robot: int) -> Controller:
        """One robot's executor, limits and alarm; its chunk is predicted with all the others'."""
        return Controller(lambda _: self._predicted[robot], self.executor_settings, self.features)

    def _vectors(self, batch: Mapping[str, Tensor]) -> list[dict[str, np.ndarray]]:
        """State and coordinates, a robot each."""
        raw = self._raw_inputs(batch)
        vectors = {keys.STATE: raw.state, keys.ENVIRONMENT_STATE: raw.environment_state}
        known = {key: of.cpu().numpy() for key, of in vectors.items() if of is not None}
        return [{key: of[robot] for key, of in known.items()} for robot in range(_size(batch))]

    @torch.no_grad()
    def _chunks(self, batch: Mapping[str, Tensor]) -> np.ndarray:
        """What the executor takes, (B, T, C)."""
        self.eval()
        raw = self._raw_inputs(batch)
        prepared = self.inputs.prepare(raw, cells=self.model.cell_middles)
        z: Any = "zero"
        if self.options.latent == "prior" and self.options.use_vae:
            z = torch.randn(raw.size, self.options.latent_dim, device=self._device)
        return self.inputs.read_chunk(self.model(prepared, z=z).action_hat, raw).cpu().numpy()

    def _raw_inputs(self, batch: Mapping[str, Tensor]) -> Batch:
        """Without actions, which LeRobot hands on at inference too."""
        return self._raw({key: value for key, value in batch.items() if not key.startswith(keys.ACTION)})

    @property
    def _device(self) -> torch.device:
        return self.model.queries.device

    def _tensor(self, actions: np.ndarray) -> Tensor:
        return torch.from_numpy(actions).to(self._device)

    def _raw(self, batch: Mapping[str, Tensor]) -> Batch:
        """Return LeRobot's batch as a raw one of ours, on the policy's device."""
        features = self.features
        coordinates = batch.get(keys.ENVIRONMENT_STATE)
        if coordinates is None and features.environment_dim and self.config.coordinates is not None:
            coordinates = torch.tensor([self.config.coordinates]).expand(_size(batch), -1)
        raw = Batch(
            images={camera.name: _pictures(batch, camera) for camera in features.cameras},
            state=_vector(batch, keys.STATE, batch.get(keys.STATE), features.state_dim),
            environment_state=_vector(batch, keys.ENVIRONMENT_STATE, coordinates, features.environment_dim),
            action=batch.get(keys.ACTION),
            action_is_pad=batch.get(keys.ACTION_IS_PAD),
            episode_index=batch.get(keys.EPISODE_INDEX),
        )
        return raw.to(self._device)


def _keys(features: Features) -> set[str]:
    """The observations that are used, under LeRobot's names."""
    vectors = {keys.STATE: features.state_dim, keys.ENVIRONMENT_STATE: features.environment_dim}
    return {key for key, dim in vectors.items() if dim} | {camera_key(camera.name) for camera in features.cameras}


def _size(batch: Mapping[str, Any]) -> int:
    return next(len(value) for key, value in batch.items() if key.startswith("observation.") and len(value))


def _vector(batch: Mapping[str, Any], key: str, value: Tensor | None, dim: int) -> Tensor | None:
    if not dim:
        return None
    if value is None:
        hint = "; give --policy.coordinates" if key == keys.ENVIRONMENT_STATE else ""
        raise ObservationError(f"the observation lacks '{key}', {dim} numbers; it has: {', '.join(batch)}{hint}")
    if value.shape[-1] != dim:
        raise ObservationError(f"'{key}' has {value.shape[-1]} numbers, the policy was trained on {dim}")
    return value.float()


def _pictures(batch: Mapping[str, Any], camera: Camera) -> Tensor:
    """Return uint8 pictures (B, 3, H, W) of the size of training, of LeRobot's, which are floats in 0..1."""
    key = camera_key(camera.name)
    if key not in batch:
        raise ObservationError(f"the observation lacks '{key}'; it has: {', '.join(batch)}")
    pictures: Tensor = batch[key]
    recorded = camera.recorded_size or (camera.height, camera.width)
    if tuple(pictures.shape[-3:]) != (3, *recorded):
        height, width = recorded
        raise ObservationError(f"'{key}' has shape {tuple(pictures.shape)}, expected (batch, 3, {height}, {width})")
    if pictures.dtype != torch.uint8:
        pictures = (pictures * 255).round().to(torch.uint8)
    return resize_frames(pictures, (camera.height, camera.width))
