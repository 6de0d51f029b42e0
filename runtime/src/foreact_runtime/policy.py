"""An exported policy: raw observation in, raw action out, with the executor that training's simulation uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foreact_runtime.backend import open_network
from foreact_runtime.bundle import read_bundle, read_check
from foreact_runtime.errors import CheckpointError
from foreact_runtime.keys import ENVIRONMENT_STATE, STATE, depth_key, image_key
from foreact_runtime.observation import Observation, read_observation
from foreact_runtime.robot_policy import RobotPolicy


class BundlePolicy(RobotPolicy):
    """What `load_policy` returns for a bundle. It has the methods of `foreact`'s `Policy` and needs no torch."""

    def __init__(
        self,
        path: str | Path,
        *,
        backend: str | None = None,
        threads: int | None = None,
        resize_images: bool = False,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        """Check and open a bundle; see `load_policy`."""
        self._opened_with = (path, backend, threads, resize_images, dict(overrides or {}))
        self.bundle = read_bundle(path)
        settings = self.bundle.settings.changed(overrides or {})
        self._network = open_network(self.bundle, backend, threads)
        super().__init__(self.bundle.features, settings, resize_images=resize_images)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as a call that opens the bundle again, on one core: a simulation has a process a core."""
        path, backend, threads, *rest = self._opened_with
        return _open, (path, backend, threads or 1, *rest)

    def predict_chunk(self, observation: Observation) -> np.ndarray:
        """Return the chunk (T, C) that begins now, float32; changes no state of the executor.

        Actions in the robot's units, or hand poses with the conditioning `frame`, which the executor turns into them.
        """
        return self._network(self._inputs(observation))

    def predict_chunks(self, observations: Sequence[Observation]) -> np.ndarray:
        """Return chunks (B, T, C) of several robots, one after the other: none depends on its neighbours."""
        return np.stack([self.predict_chunk(observation) for observation in observations])

    def self_check(self) -> float:
        """Predict the chunks that were stored at the export, and return the largest difference in normalised units.

        Raises:
            CheckpointError: If it is larger than the bundle allows: the network computes something else here.
        """
        observations, expected = read_check(self.bundle)
        found = np.stack([self._network(observation) for observation in observations])
        error = float((np.abs(found - expected) / np.array(self.bundle.scale)).max())
        if not error <= self.bundle.tolerance:
            raise CheckpointError(
                f"bundle '{self.bundle.path}' predicts other chunks here than where it was exported: they differ by "
                f"{error:.1e} of a normalised unit, {self.bundle.tolerance:.1e} is allowed; try another backend"
            )
        return error

    def _inputs(self, observation: Observation) -> dict[str, np.ndarray]:
        seen = read_observation(observation, self.features, any_size=self._resize_images)
        vectors = {STATE: seen.state, ENVIRONMENT_STATE: seen.environment_state}
        inputs = {key: value for key, value in vectors.items() if value is not None}
        inputs |= {image_key(name): image for name, image in seen.images.items()}
        inputs |= {depth_key(name): depth for name, depth in seen.depth.items()}
        return inputs


def load_policy(
    path: str | Path,
    *,
    backend: str | None = None,
    threads: int | None = None,
    resize_images: bool = False,
    overrides: Mapping[str, Any] | None = None,
    check: bool = False,
) -> BundlePolicy:
    """Load an exported policy from its bundle.

    Args:
        path: What `foreact export` wrote.
        backend: "onnxruntime" or "openvino"; None takes the one that the bundle was exported for.
        threads: Cores to compute on; None for as many as the library thinks good.
        resize_images: Accept pictures of another size than the recorded one and resize them.
        overrides: How chunks are executed and guarded: `n_action_steps`, `temporal_ensemble_coeff`, `asynchronous`,
            `blend_steps`, `limit_margin` (None for none), `position_limits`, `velocity_limits`, `jump_limits`,
            `on_alarm`, `alarm_margin`; what they mean stands in docs/executor.md.
        check: Compare with the chunks that were stored at the export first (`BundlePolicy.self_check`).

    Raises:
        CheckpointError: If it is missing, incomplete, altered or newer than this package, or the check fails.
        ConfigError: If an override or the backend is unknown or contradictory.
        MissingPackageError: If the backend's package is not installed.
    """
    policy = BundlePolicy(path, backend=backend, threads=threads, resize_images=resize_images, overrides=overrides)
    if check:
        policy.self_check()
    return policy


def _open(
    path: Path, backend: str | None, threads: int | None, resize_images: bool, overrides: dict[str, Any]
) -> BundlePolicy:
    return BundlePolicy(path, backend=backend, threads=threads, resize_images=resize_images, overrides=overrides)
