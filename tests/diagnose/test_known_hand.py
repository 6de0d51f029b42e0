"""Policies with `frame` and `crop` whose hand's path is known beforehand, so that the answers are known by value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diagnose import reaching
from diagnose.closed_form import ARM, CONFIG
from diagnose.reaching import CHUNK, CLOSES, DOWN, HIGH, LOW, OVER
from foreact.data.dataset import ChunkDataset
from foreact.data.source import open_source
from foreact.diagnose.other_cues import Kind, OtherCues
from foreact.diagnose.probe import Probe
from foreact.diagnose.response import demonstrated_response
from foreact.diagnose.sensitivity import judge_sensitivity, sensitivity
from foreact.diagnose.swap import SwapTest, judge_swap, swap_test
from foreact.model.act import ACTOutput
from foreact.policy.inputs import Inputs
from foreact.records import Batch, Calibration
from foreact.sim.kinematics import Kinematics
from spots import FEATURES

STEPS = np.arange(1, CHUNK + 1)
ACROSS = np.interp(STEPS, [0, OVER, CLOSES + 3, CHUNK], [0.0, 1.0, 1.0, 0.0])
"""Share of the way to the block, over the table, by step of the chunk; at its end the hand is where it began."""
ABOVE = np.interp(STEPS, [OVER, DOWN, CLOSES, CLOSES + 3], [HIGH, LOW, LOW, HIGH])
"""Height of the hand by step [m]."""


class Reaches(nn.Module):
    """In the hand's frame: goes the coordinate's way times `obeys`, and `offset` beside it, down, up and back again."""

    def __init__(self, *, obeys: float = 1.0, offset: tuple[float, float] = (0.0, 0.0)) -> None:
        super().__init__()
        self.obeys = obeys
        self.offset = torch.tensor(offset)

    def forward(self, batch: Batch, z: object = "zero") -> ACTOutput:
        assert batch.environment_state is not None
        assert batch.state is not None
        goal = self.obeys * batch.environment_state + self.offset
        move = torch.zeros(batch.size, CHUNK, 7)
        move[..., :2] = torch.from_numpy(ACROSS).float()[:, None] * goal[:, None]
        move[..., 2] = torch.from_numpy(ABOVE).float() - batch.state[:, :1]
        return ACTOutput(action_hat=move)


@pytest.fixture(scope="module")
def scenes() -> tuple[np.ndarray, np.ndarray]:
    return reaching.scenes(20)


ProbeOf = Callable[[nn.Module], Probe]


@pytest.fixture(scope="module")
def probe_of(
    scenes: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory, cache_dir: Path
) -> ProbeOf:
    """Puts a network into the hand's frame of the demonstrations' arm."""
    folder = tmp_path_factory.mktemp("reaching")
    arm = reaching.so101(folder)
    features = reaching.features(arm)
    source = open_source(reaching.write(folder / "data", arm, *scenes))
    dataset = ChunkDataset(source, source.episode_indices, features=features, chunk_size=CHUNK, cache_dir=cache_dir)
    config = replace(CONFIG, chunk_size=CHUNK, conditioning=("token", "frame"))
    return lambda network: Probe(network.eval(), Inputs(config, features, {}), features, dataset)


def test_the_path_of_a_policy_in_the_hands_frame_is_that_of_its_displacements(
    probe_of: ProbeOf, scenes: tuple[np.ndarray, np.ndarray]
) -> None:
    probe = probe_of(Reaches())
    first = probe.samples(0.0)
    starts, blocks = scenes
    state = probe.dataset.vectors(first.tolist()).state
    assert state is not None
    mujocos = [Kinematics().forward(joints[:5].numpy().astype(float)).position for joints in state[:3]]
    np.testing.assert_allclose(mujocos, starts[:3], atol=5e-4)

    def path(to: np.ndarray) -> np.ndarray:
        over = starts[:, None, :2] + ACROSS[:, None] * (to - starts[:, :2])[:, None]
        return np.concatenate([over, np.broadcast_to(ABOVE[:, None], (*over.shape[:2], 1))], axis=2)

    # Inverse kinematics put the demonstrations within half a millimetre of where they were to be.
    predicted = probe.predict(first)
    assert predicted.hand is not None
    np.testing.assert_allclose(predicted.hand, path(blocks), atol=5e-4)
    elsewhere = blocks + np.array([0.03, -0.04])
    told = probe.predict_with_cue(first, elsewhere)
    assert told.hand is not None
    np.testing.assert_allclose(told.hand, path(elsewhere), atol=5e-4)

    shown = probe.demonstrated(first)
    assert shown.hand is not None
    by_hand = np.stack([reaching.demonstrated(*scene)[1 : CHUNK + 1] for scene in zip(starts, blocks, strict=True)])
    np.testing.assert_allclose(shown.hand, by_hand, atol=5e-4)
    displaced = by_hand - starts[:, None]
    np.testing.assert_allclose(shown.action[..., :3], displaced, atol=1e-3)  # both ends are off by half a millimetre


APART = (0.02, 0.08)
"""From an episode's own block to the one that is named [m]."""


def swapped(network: nn.Module, probe_of: ProbeOf) -> SwapTest:
    """Each episode is sent `APART` from its own block."""
    probe = probe_of(network)
    response = demonstrated_response(probe)
    assert response is not None
    own = probe.cues(probe.samples(0.0))
    kind: Kind = "confuser"
    trials = OtherCues(episode=np.arange(len(own)), cue=own + APART, kind=(kind,) * len(own))
    return swap_test(probe, response, trials)


def test_a_policy_that_goes_to_the_named_block_ends_there_though_its_chunk_goes_on(
    probe_of: ProbeOf,
) -> None:
    test = swapped(Reaches(), probe_of)
    assert test.ends is not None
    np.testing.assert_allclose(test.ends.after, test.trials.cue, atol=1e-3)
    np.testing.assert_allclose(test.ends.demonstrated, test.own, atol=1e-3)
    assert (test.obeyed, test.nearer_to_named, test.demonstrations_nearer_to_own) == (20, 20, 20)
    finding = judge_swap(test, "more steps")
    assert finding.severity == "fine"
    assert finding.evidence["nearer_to_named_place"] == 20


def test_a_policy_beside_its_place_obeys_every_swap_and_goes_to_the_other_block(probe_of: ProbeOf) -> None:
    """Its offset is the way back: it moves as it should, from beside the own block to exactly there."""
    test = swapped(Reaches(offset=(-APART[0], -APART[1])), probe_of)
    assert test.ends is not None
    np.testing.assert_allclose(test.way, 1, atol=0.05)
    np.testing.assert_allclose(test.ends.after, test.own, atol=1e-3)
    assert (test.obeyed, test.nearer_to_named) == (20, 0)
    finding = judge_swap(test, "more steps")
    assert finding.severity == "fault"
    assert "in 0 of 20: it answers to the coordinate and goes somewhere else" in finding.verdict
    np.testing.assert_allclose(finding.evidence["mean_end_point_from_the_named_place_m"], [-0.02, -0.08], atol=1e-3)


def test_a_policy_that_ignores_the_coordinate_does_not_end_at_the_named_block(probe_of: ProbeOf) -> None:
    test = swapped(Reaches(obeys=0.0), probe_of)
    np.testing.assert_allclose(test.way, 0, atol=1e-6)
    assert test.obeyed == 0
    assert judge_swap(test, "more steps").severity == "fault"


def test_sensitivity_in_the_hands_frame_is_in_centimetres_and_its_actions_are_displacements(
    probe_of: ProbeOf,
) -> None:
    probe = probe_of(Reaches(obeys=0.6))
    measured = sensitivity(probe, demonstrated_response(probe), shares=(0.0, 0.7))
    start, closed = measured.at
    assert start.hand == pytest.approx(0.6, rel=1e-3)
    # The mean over x and y of what the coordinate does to either, a centimetre in metres.
    by_hand = 0.6 * ACROSS.mean() / 2 / 100
    assert start.actions["move_x"] == pytest.approx(by_hand, rel=1e-3)
    assert start.actions["move_y"] == pytest.approx(by_hand, rel=1e-3)
    assert start.actions["move_z"] == pytest.approx(0, abs=1e-6)
    assert closed.hand == pytest.approx(0, abs=1e-6), "once the jaws close, the hand's frame tells the goal instead"
    assert (measured.along, measured.across) == pytest.approx((0.6, 0.0), abs=0.01)
    evidence = judge_sensitivity(measured, "", obeys=True, sees=False).evidence
    assert evidence["actions_are"] == "displacements of the hand [m, rad]"
    assert evidence["along_the_demonstrations"] == measured.along


class LooksInTheCrop(nn.Module):
    """Turns the first joint by half a radian where the middle of the crop is red."""

    def forward(self, batch: Batch, z: object = "zero") -> ACTOutput:
        crop = batch.images["overhead@cue"]
        red, green, _ = crop[:, :, crop.shape[2] // 2, crop.shape[3] // 2].unbind(1)
        turned = torch.where(red - green > 1, 0.5, 0.0)
        return ACTOutput(action_hat=turned[:, None, None] * Tensor([1.0, 0.0]).expand(batch.size, 6, 2))


def test_a_crop_goes_where_the_coordinate_is_put(episodes: Path, cache_dir: Path) -> None:
    """The overhead camera looks straight down from 1 m, rows along x and columns along y: a spot is at 26 x + 2.5."""
    above = Calibration(
        size=(32, 32),
        focal=(26.0, 26.0),
        center=(2.5, 2.5),
        position=(0.0, 0.0, 1.0),
        quaternion=(0.0, 2**-0.5, 2**-0.5, 0.0),
    )
    overhead, wrist = FEATURES.cameras
    features = replace(FEATURES, cameras=(replace(overhead, calibration=above), wrist), arm=ARM)
    source = open_source(episodes)
    dataset = ChunkDataset(source, source.episode_indices, features=features, chunk_size=6, cache_dir=cache_dir)
    inputs = Inputs(replace(CONFIG, conditioning=("token", "crop")), features, {})
    probe = Probe(LooksInTheCrop().eval(), inputs, features, dataset)

    first = probe.samples(0.0)
    own, start = probe.cues(first), probe.other_vectors(first)
    in_view = np.abs(own - start).max(axis=1) > 0.25  # the white spot of where the arm is does not cover the red one
    assert in_view.sum() > 10
    at_the_spot = probe.predict(first[in_view]).hand
    off_it = np.where(own < 0.5, own + 0.3, own - 0.3)  # 8 pixels in both directions; the spot has 6
    beside = probe.predict_with_cue(first, off_it).hand
    assert at_the_spot is not None
    assert beside is not None
    turned = [0.5 * np.cos(0.5), 0.5 * np.sin(0.5), 0.1]  # both links in a line
    np.testing.assert_allclose(at_the_spot, np.broadcast_to(turned, at_the_spot.shape), atol=1e-6)
    np.testing.assert_allclose(beside, np.broadcast_to([0.5, 0.0, 0.1], beside.shape), atol=1e-6)
