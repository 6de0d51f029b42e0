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
_BLOCK_CLEARANCE = 0.05
_BOWLS = 500
_ARRANGEMENTS = 500


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


def sample_layout(task: TaskConfig, rng: np.random.Generator, target: int | None = None) -> Layout:
    """Draw an episode.

    Blocks that do not fit together are drawn again, all of them, so that no arrangement is favoured; a bowl that
    leaves them no room is drawn again too.

    Args:
        task: What may be drawn.
        rng: The same generator draws the same episode.
        target: Draw a scene in which each block could be the target, and take this one; the scenes of one generator
            differ in nothing but the order of the blocks and the cue. None takes the first, the others are only
            kept apart as confusers are.

    Raises:
        SimulationError: If nothing fits in a reasonable number of tries, or there is no such block.
    """
    n_confusers = int(rng.integers(task.confusers[0], task.confusers[1], endpoint=True))
    chosen = target or 0
    if not 0 <= chosen <= n_confusers:
        raise SimulationError(f"block {chosen} cannot be the target: this scene has blocks 0 to {n_confusers}")
    for _ in range(_BOWLS):
        bowl = _sample_bowl(rng) if task.bowl == "random" else np.array(FIXED_BOWL)
        arrangements = _sample_blocks(task, n_confusers, rng)
        fitting = np.flatnonzero(_fits(task, bowl, arrangements, any_target=target is not None))
        if len(fitting):
            blocks = arrangements[fitting[0]]
            yaws = rng.uniform(-task.yaw, task.yaw, size=len(blocks))
            noise = sample_noise(task, rng)
            if chosen:  # a child of the generator, so that what is drawn next is the same for every target
                noise = sample_noise(task, rng.spawn(chosen)[-1])
            drawn = Layout(target=blocks[0], confusers=blocks[1:], yaws=yaws, bowl=bowl, cue=blocks[0])
            return retargeted(drawn, chosen, blocks[chosen] + noise)
    raise SimulationError(
        f"no place found for the target and {n_confusers} confusers; lower task.min_separation "
        f"({task.min_separation} m), task.confusers or task.exclude_radius ({task.exclude_radius} m), or list other "
        "task.positions"
    )


def coordinates(task: TaskConfig, layout: Layout) -> np.ndarray:
    """Return what a policy is told [m], float32: the cue (2,), or with `tell_bowl` the cue and the bowl (4,)."""
    told = [layout.cue, layout.bowl] if task.tell_bowl else [layout.cue]
    return np.concatenate(told).astype(np.float32)


def retargeted(layout: Layout, block: int, cue: np.ndarray) -> Layout:
    """Return a layout in which another block is the target.

    Args:
        layout: As it is.
        block: 0 is the target, the confusers follow; the two change places in the order.
        cue: What the policy is told (2,) [m].

    Raises:
        SimulationError: If there is no such block.
    """
    blocks = np.array([layout.target, *layout.confusers])
    if not 0 <= block < len(blocks):
        raise SimulationError(f"block {block} cannot be the target: this scene has blocks 0 to {len(blocks) - 1}")
    order = np.arange(len(blocks))
    order[[0, block]] = block, 0
    blocks = blocks[order]
    return Layout(target=blocks[0], confusers=blocks[1:], yaws=layout.yaws[order], bowl=layout.bowl, cue=np.array(cue))


def _sample_bowl(rng: np.random.Generator) -> np.ndarray:
    while True:
        bowl = rng.uniform(*BOWL_AREA)
        if BOWL_REACH[0] <= np.linalg.norm(bowl - PAN_AXIS) <= BOWL_REACH[1]:
            return bowl


def _sample_blocks(task: TaskConfig, n_confusers: int, rng: np.random.Generator) -> np.ndarray:
    """Return arrangements of the target and the confusers (N, 1 + n, 2) [m], not checked."""
    blocks = rng.uniform(*WORKSPACE, size=(_ARRANGEMENTS, 1 + n_confusers, 2))
    if task.positions in ("clusters", "target_clusters"):
        n_clustered = min(2, 1 + n_confusers) if task.positions == "clusters" else 1
        centres = np.array(CLUSTERS)[rng.permuted(np.tile([0, 1], (_ARRANGEMENTS, 1)), axis=1)][:, :n_clustered]
        radius = CLUSTER_RADIUS * np.sqrt(rng.uniform(size=(_ARRANGEMENTS, n_clustered)))
        angle = rng.uniform(0, 2 * math.pi, size=(_ARRANGEMENTS, n_clustered))
        blocks[:, :n_clustered] = centres + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    elif task.positions != "uniform":
        blocks[:, 0] = rng.choice(np.array(task.positions), size=_ARRANGEMENTS)
    return blocks


def _fits(task: TaskConfig, bowl: np.ndarray, blocks: np.ndarray, *, any_target: bool) -> np.ndarray:
    """Return which arrangements (N, 1 + n, 2) are allowed (N,), with the first block or any of them as target."""
    targets = blocks if any_target else blocks[:, :1]
    first, second = np.triu_indices(blocks.shape[1], k=1)
    of_confusers = min(_BLOCK_CLEARANCE, task.min_separation)
    apart = np.where(first < targets.shape[1], task.min_separation, of_confusers)
    held_out = np.reshape(task.exclude, (-1, 2))
    return np.asarray(
        (_distance(blocks, bowl) >= _BOWL_CLEARANCE).all(axis=1)
        & (_distance(blocks[:, first], blocks[:, second]) >= apart).all(axis=1)
        & (_distance(targets[:, :, None], held_out) >= task.exclude_radius).all(axis=(1, 2))
    )


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a - b, axis=-1)


def sample_noise(task: TaskConfig, rng: np.random.Generator) -> np.ndarray:
    """Return the cue's error (2,) [m]."""
    while True:
        noise = rng.normal(0.0, task.cue_sigma, size=2)
        if task.cue_cut is None or np.linalg.norm(noise) <= task.cue_cut:
            return noise
