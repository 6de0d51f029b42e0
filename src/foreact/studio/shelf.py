"""The policies that the studio was given, and the scripted expert: each opened when it is first asked for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from foreact.config import Latent
from foreact.deploy.load import load_policy
from foreact.errors import ConfigError, unknown_name
from foreact.policy.policy import Policy
from foreact.sim.delayed import OuterPolicy, PredictingPolicy
from foreact_runtime.observation import Observation
from foreact_runtime.settings import ExecutorSettings

EXPERT = "expert"
"""The scripted expert's name among the policies; it reads the true positions and predicts no chunks."""

Mode = Literal["as trained", "queue", "ensemble", "asynchronous"]
MODES: tuple[Mode, ...] = ("as trained", "queue", "ensemble", "asynchronous")
"""Ways of executing chunks."""

_COEFF = 0.01
"""The paper's, for policies that were not trained with one."""
_AT_ONCE = 8
"""Observations between two of which another scene may ask."""


class OpenedPolicy(PredictingPolicy, Protocol):
    """What is asked of a policy; a checkpoint's and a bundle's are ones."""

    def predict_chunks(self, observations: Sequence[Observation]) -> np.ndarray:
        """Return chunks (B, T, C), each from its own observation."""
        ...


class SharedPolicy(OuterPolicy):
    """A policy that several scenes ask, one at a time."""

    def __init__(self, policy: OpenedPolicy, asking: threading.Lock | None = None) -> None:
        """Take it, and the lock of those that it shares its network with."""
        super().__init__(policy)
        self._policy: OpenedPolicy = policy
        self._lock = threading.Lock() if asking is None else asking

    @property
    def policy(self) -> OpenedPolicy:
        """The policy itself; nothing but `asking` keeps others from asking it at the same time."""
        return self._policy

    @property
    def asking(self) -> threading.Lock:
        """Held by whoever asks."""
        return self._lock

    def of_scene(self, seed: int) -> SharedPolicy:
        """Return the same policy for one scene, whose samples of the latent no other scene draws from.

        Args:
            seed: Of the samples, which begin anew with each `reset`.
        """
        of = self._policy
        if not isinstance(of, Policy):  # a bundle takes the latent's mode
            return self
        return SharedPolicy(of.reseeded(seed), self._lock)

    def reset(self) -> None:
        """Begin an episode."""
        with self._lock:
            super().reset()

    def predict_chunk(self, observation: Observation) -> np.ndarray:
        """Return the chunk (T, C) that begins with an observation."""
        with self._lock:
            return self._policy.predict_chunk(observation)

    def predict_chunks(self, observations: Sequence[Observation]) -> np.ndarray:
        """Return chunks (B, T, C), a few at a time, so that a scene that goes on does not wait for all of them."""
        chunks = []
        for start in range(0, len(observations), _AT_ONCE):
            with self._lock:
                chunks.append(self._policy.predict_chunks(observations[start : start + _AT_ONCE]))
        return np.concatenate(chunks)


class Shelf:
    """Policies by name."""

    def __init__(self, paths: Sequence[Path], *, checkpoint: str = "last", device: str = "cpu") -> None:
        """Take where they are.

        Args:
            paths: Runs, checkpoint directories or bundles.
            checkpoint: Of runs: "last", "best" or a step's number.
            device: Where runs compute.
        """
        self.paths = dict(zip(map(_distinct, short_names(paths)), paths, strict=True))
        """By name."""
        self._checkpoint = checkpoint
        self._device = device
        self._opened: dict[tuple[str, Latent], SharedPolicy] = {}
        self._opening = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """In the order given, the expert last."""
        return (*self.paths, EXPERT)

    def open(self, name: str, latent: Latent = "zero") -> SharedPolicy:
        """Return a policy, which is read the first time.

        Raises:
            ConfigError: If there is none of that name, or it cannot sample its latent.
            CheckpointError: If it is damaged.
        """
        if name not in self.paths:
            raise ConfigError(unknown_name("policy", name, self.names))
        with self._opening:
            key = (name, latent)
            if key not in self._opened:
                path = self.paths[name]
                policy = load_policy(
                    path, checkpoint=self._checkpoint, device=self._device, overrides={"latent": latent}
                )
                self._opened[key] = SharedPolicy(policy)
            return self._opened[key]


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return a name a path: what tells it from the others, without what all of them begin and end with.

    Raises:
        ConfigError: If two paths are the same.
    """
    parts = [list(path.resolve().parts) for path in paths]
    if len({tuple(of) for of in parts}) < len(parts):
        raise ConfigError(f"the same path is given twice: {', '.join(str(path) for path in paths)}")
    if len(parts) == 1:
        return ["/".join(parts[0][-2:])]
    for end in (-1, 0):
        while len({of[end] for of in parts}) == 1 and min(len(of) for of in parts) > 1:
            for of in parts:
                del of[end]
    return ["/".join(of) for of in parts]


def executed(settings: ExecutorSettings, mode: Mode) -> ExecutorSettings:
    """Return a policy's settings with its chunks executed in another way."""
    if mode == "as trained":
        return settings
    if mode == "ensemble":
        coeff = settings.temporal_ensemble_coeff
        return replace(
            settings,
            n_action_steps=1,
            temporal_ensemble_coeff=_COEFF if coeff is None else coeff,
            asynchronous=False,
        )
    n_action_steps = settings.n_action_steps
    if settings.temporal_ensemble_coeff is not None:  # trained to be asked every tick
        n_action_steps = max(1, settings.chunk_size // 2)
    return replace(
        settings, n_action_steps=n_action_steps, temporal_ensemble_coeff=None, asynchronous=mode == "asynchronous"
    )


def _distinct(name: str) -> str:
    return f"{name} (policy)" if name == EXPERT else name
