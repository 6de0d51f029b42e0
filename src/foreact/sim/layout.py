"""Where things stand in one episode: drawn from a task and a seeded generator, before MuJoCo comes in."""

import math
from dataclasses import dataclass

import numpy as np

from foreact.errors import SimulationError
from foreact.sim.task import TaskConfig

WORKSPACE = ((0.155, -0.07), (0.245, 0.16))
"""Lower and upper corner (x, y) [m] of where blocks stand: where the scripted expert handles every yaw."""
CLUSTERS = ((0.18, -0.03), (0.22, 0.12))
"""Centres [m] of the two clusters of clustered tasks."""
CLUSTER_RADIUS = 0.02
"""Radius [m] of a cluster, filled uniformly."""
FIXED_BOWL = (0.135, -0.172)
"""Where the bowl stands [m] unless a task has it vary."""
BOWL_AREA = ((0.12, -0.172), (0.23, 0.12))
"""Lower and upper corner (x, y) [m] of where a random bowl stands."""
BOWL_REACH = (0.13, 0.23)
"""Nearest and farthest distance [m] of a random bowl's centre from the arm's vertical axis."""
PAN_AXIS = (0.0388, 0.0)
"""Where the arm's first, vertical axis meets the table [m]."""

_BOWL_CLEARANCE = 0.10
_CONFUSER_CLEARANCE = 0.05
_TRIES = 2000


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One episode's table."""

    target: np.ndarray
    """(2,) [m]."""
    confusers: np.ndarray
    """(n, 2) [m]."""
    yaws: np.ndarray
    """Of the target, then of the confusers (1 + n,) [rad]."""
    bowl: np.ndarray
    """(2,) [m]."""
    cue: np.ndarray
    """What the policy is told of the target's position (2,) [m]."""


def sample_layout(task: TaskConfig, rng: np.random.Generator) -> Layout:
    """Draw an episode.

    Positions that do not fit together are drawn again, all of them, so that none is favoured.

    Raises:
        SimulationError: If nothing fits in a reasonable number of tries.
    """
    n_confusers = int(rng.integers(task.confusers[0], task.confusers[1], endpoint=True))
    for _ in range(_TRIES):
        bowl = _sample_bowl(rng) if task.bowl == "random" else np.array(FIXED_BOWL)
        blocks = _sample_blocks(task, n_confusers, rng)
        if _fits(task, bowl, blocks):
            target = blocks[0]
            return Layout(
                target=target,
                confusers=blocks[1:],
                yaws=rng.uniform(-task.yaw, task.yaw, size=len(blocks)),
                bowl=bowl,
                cue=target + _sample_noise(task, rng),
            )
    raise SimulationError(
        f"no place found for the target and {n_confusers} confusers in {_TRIES} tries; lower task.min_separation "
        f"({task.min_separation} m), task.confusers or task.exclude_radius ({task.exclude_radius} m)"
    )


def _sample_bowl(rng: np.random.Generator) -> np.ndarray:
    while True:
        bowl = rng.uniform(*BOWL_AREA)
        if BOWL_REACH[0] <= np.linalg.norm(bowl - PAN_AXIS) <= BOWL_REACH[1]:
            return bowl


def _sample_blocks(task: TaskConfig, n_confusers: int, rng: np.random.Generator) -> np.ndarray:
    """Return the target's and the confusers' positions (1 + n, 2), not checked."""
    blocks = rng.uniform(*WORKSPACE, size=(1 + n_confusers, 2))
    if task.positions == "clusters":
        centres = rng.permutation(np.array(CLUSTERS))
        for index in range(min(2, len(blocks))):
            radius, angle = CLUSTER_RADIUS * math.sqrt(rng.uniform()), rng.uniform(0, 2 * math.pi)
            blocks[index] = centres[index] + radius * np.array([math.cos(angle), math.sin(angle)])
    elif task.positions != "uniform":
        blocks[0] = task.positions[int(rng.integers(len(task.positions)))]
    return blocks


def _fits(task: TaskConfig, bowl: np.ndarray, blocks: np.ndarray) -> bool:
    target, confusers = blocks[0], blocks[1:]
    apart = np.linalg.norm(blocks[:, None] - blocks[None], axis=-1)[np.triu_indices(len(blocks), k=1)]
    return bool(
        np.all(np.linalg.norm(blocks - bowl, axis=1) >= _BOWL_CLEARANCE)
        and np.all(np.linalg.norm(confusers - target, axis=1) >= task.min_separation)
        and np.all(apart >= min(_CONFUSER_CLEARANCE, task.min_separation))
        and all(np.linalg.norm(target - held_out) >= task.exclude_radius for held_out in task.exclude)
    )


def _sample_noise(task: TaskConfig, rng: np.random.Generator) -> np.ndarray:
    """Return the cue's error (2,) [m]."""
    while True:
        noise = rng.normal(0.0, task.cue_sigma, size=2)
        if task.cue_cut is None or np.linalg.norm(noise) <= task.cue_cut:
            return noise
