import math

import numpy as np
import pytest

from foreact.errors import SimulationError
from foreact.sim.layout import CLUSTER_RADIUS, CLUSTERS, WORKSPACE, Layout, sample_layout
from foreact.sim.task import TaskConfig, level


def draw(task: TaskConfig, n: int = 300) -> list[Layout]:
    rng = np.random.default_rng(0)
    return [sample_layout(task, rng) for _ in range(n)]


@pytest.mark.parametrize("name", ["L0", "L1", "L2", "L3"])
def test_every_layout_keeps_what_its_level_promises(name: str) -> None:
    task = level(name)
    for layout in draw(task):
        blocks = np.concatenate([layout.target[None], layout.confusers])
        assert task.confusers[0] <= len(layout.confusers) <= task.confusers[1]
        assert np.all(blocks >= WORKSPACE[0])
        assert np.all(blocks <= WORKSPACE[1])
        assert np.all(np.linalg.norm(layout.confusers - layout.target, axis=1) >= task.min_separation)
        assert np.all(np.linalg.norm(blocks - layout.bowl, axis=1) > 0.055 + 0.0177)  # rim and half a diagonal
        assert np.all(np.abs(layout.yaws) <= task.yaw)
        assert np.linalg.norm(layout.cue - layout.target) <= (task.cue_cut or math.inf)


def test_the_cue_noise_has_the_sigma_asked_for() -> None:
    errors = np.array([layout.cue - layout.target for layout in draw(level("L1"), 2000)])
    # The standard error of a standard deviation over 4000 numbers is sigma / sqrt(8000), 1.1 % of sigma.
    assert errors.std() == pytest.approx(0.01, rel=0.05)
    assert np.abs(errors.mean(axis=0)).max() < 0.001
    assert np.all([layout.cue == layout.target for layout in draw(level("L0"))])


def test_positions_can_be_a_list() -> None:
    positions = ((0.2, 0.1), (0.18, -0.02))
    targets = {tuple(layout.target) for layout in draw(level("L1", positions=positions))}
    assert targets == set(positions)


def test_clustered_blocks_stand_in_different_clusters() -> None:
    for layout in draw(level("L2", positions="clusters")):
        blocks = np.stack([layout.target, layout.confusers[0]])
        distance = np.linalg.norm(blocks[:, None] - np.array(CLUSTERS), axis=-1)
        assert sorted(distance.argmin(axis=1)) == [0, 1]
        assert distance.min(axis=1).max() <= CLUSTER_RADIUS


def test_with_the_target_alone_in_clusters_the_confuser_stands_anywhere() -> None:
    """A cluster has less than a tenth of the workspace, so of uniform confusers most are outside of both."""
    layouts = list(draw(level("L1", positions="target_clusters")))
    targets, confusers = (
        np.linalg.norm(np.stack(blocks)[:, None] - np.array(CLUSTERS), axis=-1)
        for blocks in ([of.target for of in layouts], [of.confusers[0] for of in layouts])
    )
    assert targets.min(axis=1).max() <= CLUSTER_RADIUS
    assert set(targets.argmin(axis=1)) == {0, 1}
    assert (confusers.min(axis=1) > CLUSTER_RADIUS).mean() > 0.7
    assert (confusers.argmin(axis=1) == targets.argmin(axis=1)).any(), "also near the target's own cluster"


def test_targets_keep_away_from_excluded_positions_and_confusers_need_not() -> None:
    held_out = np.array([0.2, 0.05])
    layouts = draw(level("L1", exclude=(tuple(held_out),), exclude_radius=0.05))
    assert min(np.linalg.norm(layout.target - held_out) for layout in layouts) >= 0.05
    assert min(np.linalg.norm(layout.confusers[0] - held_out) for layout in layouts) < 0.05


def test_one_block_alone_is_a_task_too() -> None:
    assert all(layout.confusers.shape == (0, 2) for layout in draw(level("L1", confusers=(0, 0)), 10))


def test_a_bowl_anywhere_goes_everywhere() -> None:
    bowls = np.array([layout.bowl for layout in draw(level("L1", bowl="random"), 1000)])
    histogram, _, _ = np.histogram2d(bowls[:, 0], bowls[:, 1], bins=[2, 5], range=[[0.12, 0.23], [-0.172, 0.12]])
    assert histogram.min() > 10


def test_a_task_without_room_says_which_options_to_ease() -> None:
    with pytest.raises(SimulationError, match="no place found for the target and 1 confusers; lower task"):
        draw(level("L1", min_separation=0.5), 1)
    with pytest.raises(SimulationError, match=r"task.exclude_radius \(0.5 m\)"):
        draw(level("L1", exclude=((0.2, 0.05),), exclude_radius=0.5), 1)
