"""The hand's frame: a law (a moved scene is the same problem), a round trip, and an arm whose answers are known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from foreact.errors import ConfigError, UnreachableError
from foreact.geometry.object_frame import ObjectFrame, check_gripper, check_joints
from foreact.records import Arm, Batch, Features
from foreact_runtime.executor import ChunkQueue, HandPoses, TemporalEnsemble

IDENTITY = (1.0, 0.0, 0.0, 0.0)
ARM = Arm(
    joints=("base.pos", "elbow.pos"),
    positions=((0.0, 0.0, 0.1), (0.2, 0.0, 0.0)),
    quaternions=(IDENTITY, IDENTITY),
    axes=((0.0, 0.0, 1.0), (0.0, 0.0, 1.0)),
    limits=((-3.0, 3.0), (-2.5, 2.5)),
    hand_position=(0.15, 0.0, 0.0),
    hand_quaternion=IDENTITY,
    gripper="gripper.pos",
    gripper_closed=0.3,
)
"""Two links of 20 and 15 cm that turn about the vertical, 10 cm above the table: school geometry."""
NAMES = ("base.pos", "elbow.pos", "gripper.pos")
FEATURES = Features(action_names=NAMES, state_names=NAMES, environment_names=("x", "y"), arm=ARM)

WITH_GOAL = replace(FEATURES, environment_names=("x", "y", "goal_x", "goal_y"))


def hand_by_hand(base: float, elbow: float) -> list[float]:
    return [
        0.2 * math.cos(base) + 0.15 * math.cos(base + elbow),
        0.2 * math.sin(base) + 0.15 * math.sin(base + elbow),
        0.1,
    ]


def batch(state: list[float], cue: list[float], actions: list[list[float]]) -> Batch:
    return Batch(
        state=torch.tensor([state]),
        environment_state=torch.tensor([cue]),
        action=torch.tensor([actions]),
        action_is_pad=torch.zeros(1, len(actions), dtype=torch.bool),
    )


def named(values: torch.Tensor, names: tuple[str, ...]) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))


def test_an_open_hand_is_told_where_the_cue_is_and_nothing_of_the_goal() -> None:
    frame, seen = ObjectFrame(WITH_GOAL), ObjectFrame.features(WITH_GOAL)
    encoded = frame.encode(batch([0.4, 0.5, 0.6], [0.2, 0.1, 0.0, 0.3], [[0.5, 0.4, 0.1]]))
    x, y, z = hand_by_hand(0.4, 0.5)
    assert encoded.environment_state is not None
    assert encoded.state is not None
    np.testing.assert_allclose(encoded.environment_state[0], [0.2 - x, 0.1 - y], atol=1e-6)
    state = named(encoded.state[0], seen.state_names)
    assert state["hand_z"] == pytest.approx(z)
    assert (state["hand_xx"], state["hand_xy"]) == pytest.approx((math.cos(0.9), math.sin(0.9)))
    assert (state["goal_x"], state["goal_y"], state["gripper.pos"]) == pytest.approx((0.0, 0.0, 0.6))


def test_a_closed_hand_is_told_where_the_goal_is_and_nothing_of_the_cue() -> None:
    frame, seen = ObjectFrame(WITH_GOAL), ObjectFrame.features(WITH_GOAL)
    encoded = frame.encode(batch([0.4, 0.5, 0.2], [0.2, 0.1, 0.0, 0.3], [[0.5, 0.4, 0.1]]))
    x, y, _ = hand_by_hand(0.4, 0.5)
    assert encoded.environment_state is not None
    assert encoded.state is not None
    assert encoded.environment_state[0].tolist() == [0.0, 0.0]
    state = named(encoded.state[0], seen.state_names)
    assert (state["goal_x"], state["goal_y"]) == pytest.approx((-x, 0.3 - y), abs=1e-6)


def test_without_a_told_goal_a_closed_hand_knows_where_it_is_from_the_base() -> None:
    encoded = ObjectFrame(FEATURES).encode(batch([0.4, 0.5, 0.2], [0.2, 0.1], [[0.5, 0.4, 0.1]]))
    assert encoded.state is not None
    x, y, _ = hand_by_hand(0.4, 0.5)
    state = named(encoded.state[0], ObjectFrame.features(FEATURES).state_names)
    assert (state["goal_x"], state["goal_y"]) == pytest.approx((-x, -y), abs=1e-6)


def test_actions_become_displacements_of_the_hand_from_where_it_is() -> None:
    encoded = ObjectFrame(FEATURES).encode(batch([0.4, 0.5, 0.6], [0.2, 0.1], [[0.4, 0.5, 0.6], [0.7, 0.4, 0.1]]))
    assert encoded.action is not None
    here, there = np.array(hand_by_hand(0.4, 0.5)), np.array(hand_by_hand(0.7, 0.4))
    np.testing.assert_allclose(encoded.action[0, 0], [0, 0, 0, 0, 0, 0, 0.6], atol=1e-6)
    np.testing.assert_allclose(encoded.action[0, 1], [*(there - here), 0, 0, 0.2, 0.1], atol=1e-6)


def test_turning_arm_and_cue_about_the_base_turns_inputs_and_outputs_alike() -> None:
    """So what is learned at one place holds at another."""
    frame = ObjectFrame(FEATURES)
    cue = np.array([0.2, 0.1])
    turn = np.array([[math.cos(0.8), -math.sin(0.8)], [math.sin(0.8), math.cos(0.8)]])
    here = frame.encode(batch([0.1, 0.5, 0.6], cue.tolist(), [[0.3, 0.4, 0.6]]))
    there = frame.encode(batch([0.9, 0.5, 0.6], (turn @ cue).tolist(), [[1.1, 0.4, 0.6]]))
    for before, after in ((here.environment_state, there.environment_state), (here.action, there.action)):
        assert before is not None
        assert after is not None
        np.testing.assert_allclose(turn @ before.flatten()[:2].numpy(), after.flatten()[:2], atol=1e-6)


@pytest.mark.parametrize("unit", ["rad", "deg"])
def test_predicted_displacements_come_out_as_the_actions_they_were_made_of(unit: str) -> None:
    scale = 1.0 if unit == "rad" else 180 / math.pi
    features = replace(FEATURES, arm=replace(ARM, unit=unit))  # type: ignore[arg-type]
    frame = ObjectFrame(features)
    generator = torch.Generator().manual_seed(0)
    state = torch.rand((4, 3), generator=generator) + torch.tensor([-0.5, 0.3, 0.0])
    action = state[:, None] + 0.1 * torch.randn((4, 5, 3), generator=generator)
    in_unit = torch.tensor([scale, scale, 1.0])
    raw = Batch(state=state * in_unit, action=action * in_unit, environment_state=torch.zeros(4, 2))
    encoded = frame.encode(raw)
    assert encoded.action is not None
    assert raw.state is not None
    chunks = frame.decode(encoded.action, raw.state).numpy()
    for chunk, wanted in zip(chunks, (action * in_unit).numpy(), strict=True):
        executor = HandPoses(ChunkQueue(5), features)
        executor.add(chunk)
        np.testing.assert_allclose([executor.next_action() for _ in range(5)], wanted, atol=2e-3 * scale)


def test_poses_are_averaged_before_the_inverse_kinematics() -> None:
    frame, executor = ObjectFrame(FEATURES), HandPoses(TemporalEnsemble(1, 0.0), FEATURES)
    state = torch.tensor([[0.4, 0.5, 0.6]])
    target = torch.tensor([[[0.45, 0.55, 0.6]]])
    encoded = frame.encode(Batch(state=state, action=target))
    assert encoded.action is not None
    executor.add(frame.decode(encoded.action, state).numpy()[0])
    np.testing.assert_allclose(executor.next_action(), [0.45, 0.55, 0.6], atol=1e-4)
    executor.reset()
    assert executor.needs_chunk


def test_a_pose_beyond_reach_is_an_error_that_says_how_far() -> None:
    frame = ObjectFrame(FEATURES)
    state = torch.tensor([[0.0, 0.0, 0.6]])  # stretched out along x: the hand is at 0.35 m
    chunk = frame.decode(torch.tensor([[[0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.6], [0.0, 0, 0, 0, 0, 0, 0.6]]]), state)
    executor = HandPoses(ChunkQueue(2), FEATURES)
    executor.add(chunk.numpy()[0])
    with pytest.raises(UnreachableError, match=r"cannot reach \(0.450, 0.000, 0.100\) m: it stays 100 mm away"):
        executor.next_action()
    np.testing.assert_allclose(executor.next_action()[2], 0.6)  # the tick is over, and the next one is fine


def test_an_arm_that_was_pushed_is_solved_for_from_where_it_is() -> None:
    """From the last command, far away, the elbow would bend the other way."""
    frame, executor = ObjectFrame(FEATURES), HandPoses(ChunkQueue(1), FEATURES)
    for base, elbow in ((0.4, 1.2), (0.9, -1.2)):  # the second is no tick away from the first
        state = torch.tensor([[base, elbow, 0.6]])
        executor.add(frame.decode(torch.tensor([[[0.0, 0, 0, 0, 0, 0, 0.6]]]), state).numpy()[0])
        np.testing.assert_allclose(executor.next_action(), [base, elbow, 0.6], atol=1e-3)


def test_joints_in_another_unit_are_noticed() -> None:
    degrees = np.random.default_rng(0).uniform(-90, 90, (100, 3)).astype(np.float32)
    check_joints(replace(FEATURES, arm=replace(ARM, unit="deg")), degrees)
    with pytest.raises(
        ConfigError, match=r"joint '.*.pos' is beyond its limits in 9\d% .* check joint_unit \(now 'rad'\)"
    ):
        check_joints(FEATURES, degrees)
    with pytest.raises(ConfigError, match=r"no joint of the arm moves by a hundredth of its range"):
        check_joints(replace(FEATURES, arm=replace(ARM, unit="deg")), degrees / 90)


@pytest.mark.parametrize(
    ("threshold", "told"),
    [(-0.1, "the jaws never count as closed: .* is never told that it holds"), (1.5, "always .* where the cue is")],
)
def test_a_gripper_that_never_passes_what_counts_as_closed_is_noticed(threshold: float, told: str) -> None:
    """Open at 0.9 and closed at 0.1 in 30 of 100 frames: halfway is 0.5."""
    states = np.tile(np.array([0.4, 0.5, 0.9], np.float32), (100, 1))
    states[50:80, 2] = 0.1
    check_gripper(FEATURES, states)
    with pytest.raises(ConfigError, match=told) as refused:
        check_gripper(replace(FEATURES, arm=replace(ARM, gripper_closed=threshold)), states)
    for part in ("'gripper.pos' is between 0.1 and 0.9", "set gripper_closed to 0.5", "--calibration FILE"):
        assert part in str(refused.value)
    check_gripper(replace(FEATURES, arm=replace(ARM, gripper_closed=-0.1)), states[:50])  # it never closes in the data


def test_an_arm_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs the arm's kinematics .* --calibration FILE"):
        ObjectFrame(replace(FEATURES, arm=None))
    with pytest.raises(ConfigError, match=r"coordinates of 2 dimensions .* not 3: x, y, z"):
        ObjectFrame(replace(FEATURES, environment_names=("x", "y", "z")))
    with pytest.raises(ConfigError, match=r"joint 'elbow.pos' is not in the state, which has: base.pos, gripper.pos"):
        ObjectFrame(replace(FEATURES, state_names=("base.pos", "gripper.pos")))
