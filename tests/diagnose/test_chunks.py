"""What comes out along recorded episodes: made-up chunks whose errors, lags, switches and jerks are known by hand."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from diagnose.replays import CHUNK, FEATURES, demonstration, policy, replay_of, shown, staying
from foreact.diagnose.agreement import judge_agreement, measure_agreement
from foreact.diagnose.gripper_timing import (
    find_grippers,
    judge_gripper_timing,
    match_switches,
    measure_gripper_timing,
    switch_frames,
)
from foreact.diagnose.open_loop import HOLD, MEAN, NEAREST, PHASE, REPEAT, judge_open_loop, measure_open_loop
from foreact.diagnose.replay import Replay, held_still, on_what
from foreact.diagnose.shift import Shift, judge_shift, measure_shift
from foreact.diagnose.smoothness import judge_smoothness, measure_smoothness
from foreact.diagnose.tune_executor import measure
from foreact.records import Episode

EPISODES = [demonstration(index) for index in range(6)]


def test_the_open_loop_error_is_the_distance_in_standard_deviations_over_real_steps() -> None:
    of = policy()
    off = np.array([0.3, 0.0])
    replays = [replay_of(of, episode, shown(episode, off=off)) for episode in EPISODES]
    measured = measure_open_loop(of, replays, EPISODES)
    std = np.concatenate([episode.action for episode in EPISODES]).std(axis=0)
    assert measured.error == pytest.approx(0.5 * 0.3 / std[0], rel=1e-5)  # of two dimensions one is off
    finding = judge_open_loop(measured, FEATURES)
    assert finding.evidence["by_joint_in_its_unit"] == pytest.approx({"a": 0.3, "gripper": 0.0}, abs=1e-6)
    assert finding.evidence["by_step"] == pytest.approx([0.15 / std[0]] * CHUNK, rel=1e-5)
    assert finding.severity == "fine"
    assert "worst: a (0.3," in finding.verdict


def test_baselines_are_what_one_would_do_by_hand() -> None:
    of = policy()
    episode, std = EPISODES[0], np.concatenate([episode.action for episode in EPISODES]).std(axis=0)
    measured = measure_open_loop(of, [replay_of(of, e, shown(e)) for e in EPISODES], EPISODES)
    assert measured.error == 0
    tick = 7
    truth = episode.action[tick : tick + CHUNK]

    def error(chunk: np.ndarray) -> np.ndarray:
        return (np.abs(chunk - truth) / std).mean(axis=1)

    before = episode.action[tick - 1]
    assert measured.baselines[REPEAT][tick] == pytest.approx(error(before), rel=1e-4)
    assert measured.baselines[HOLD][tick] == pytest.approx(error(episode.state[tick]), rel=1e-4)  # type: ignore[index]
    others = EPISODES[1:]
    chunks = [other.action[np.minimum(f + np.arange(CHUNK), 39)] for other in others for f in range(40)]
    assert measured.baselines[MEAN][tick] == pytest.approx(error(np.mean(chunks, axis=0)), rel=1e-4)
    of_part = [other.action[np.minimum(f + np.arange(CHUNK), 39)] for other in others for f in range(5, 10)]
    assert measured.baselines[PHASE][tick] == pytest.approx(error(np.mean(of_part, axis=0)), rel=1e-4)
    spread = np.concatenate([other.state for other in others]).std(axis=0)
    state = episode.state[tick]  # type: ignore[index]
    near = [((other.state[f] - state) / spread) ** 2 for other in others for f in range(40)]  # type: ignore[index]
    assert measured.baselines[NEAREST][tick] == pytest.approx(error(chunks[np.argmin(np.sum(near, axis=1))]), rel=1e-4)


def test_an_error_in_one_part_of_the_episodes_is_found_there_however_long_they_are() -> None:
    of, episodes = policy(), [*EPISODES, demonstration(6, length=24)]

    def wrong_in_the_third_eighth(episode: Episode) -> Callable[[np.ndarray], np.ndarray]:
        wrong = [10, 11, 12, 13, 14] if episode.length == 40 else [6, 7, 8]
        return lambda frames: shown(episode)(frames) + np.isin(frames, wrong)[..., None] * np.array([0.3, 0.0])

    replays = [replay_of(of, e, wrong_in_the_third_eighth(e)) for e in episodes]
    finding = judge_open_loop(measure_open_loop(of, replays, episodes), FEATURES)
    std = np.concatenate([episode.action for episode in episodes]).std(axis=0)
    # Of 40 frames, chunks of 4 steps from frames 5 to 9 reach into it by 0, 0, 1, 2, 3, from 10 to 14 by 4, 4, 3, 2, 1;
    # of 24 frames those from 3 to 5 by 1, 2, 3, from 6 to 8 by 3, 2, 1.
    before, within = (n / (6 * 5 * 4 + 3 * 4) for n in (6 * 6 + 6, 6 * 14 + 6))
    share_wrong = np.array([0, before, within, 0, 0, 0, 0, 0])
    assert finding.evidence["by_phase"] == pytest.approx(share_wrong * 0.15 / std[0], rel=1e-5)
    assert finding.verdict.endswith("25 to 37 % of the way")

    still: list[list[float]] = [[] for _ in range(8)]
    for episode in episodes:
        assert episode.state is not None
        for tick, state in enumerate(episode.state):
            errors = np.abs(episode.action[tick : tick + CHUNK] - state) / std
            still[8 * tick // episode.length] += errors.mean(axis=1).tolist()
    expected = [np.mean(of_part) for of_part in still]
    assert finding.evidence["baselines_by_phase"][HOLD] == pytest.approx(expected, rel=1e-4)


def still_replays() -> list[Replay]:
    """Of a policy whose chunks stay where the arm is measured."""
    of = policy()
    return [replay_of(of, episode, staying(episode, held_still(episode, FEATURES))) for episode in EPISODES]


def test_a_policy_that_holds_still_is_named() -> None:
    of, replays = policy(), still_replays()
    finding = judge_open_loop(measure_open_loop(of, replays, EPISODES), FEATURES)
    assert finding.severity == "fault"
    assert "no better than" in finding.verdict
    assert "hold still" in finding.verdict.split("no better than")[1]
    assert "foreact inspect" in finding.remedy


def test_the_mean_chunk_is_named_and_padding_does_not_count() -> None:
    of = policy()
    mean = np.concatenate([episode.action for episode in EPISODES]).mean(axis=0)
    replays = [replay_of(of, e, lambda frames: np.broadcast_to(mean, (*frames.shape, 2))) for e in EPISODES]
    finding = judge_open_loop(measure_open_loop(of, replays, EPISODES), FEATURES)
    assert finding.severity == "fault"
    assert "the mean chunk" in finding.verdict.split("no better than")[1]

    def wrong_beyond_the_end(frames: np.ndarray) -> np.ndarray:
        return np.where((frames > 39)[..., None], 99.0, shown(EPISODES[0])(frames))

    assert measure_open_loop(of, [replay_of(of, EPISODES[0], wrong_beyond_the_end)], EPISODES).error == 0


def test_steps_that_no_episode_is_long_enough_for_are_left_empty() -> None:
    of, short = policy(n_action_steps=1), [demonstration(index, length=3) for index in range(6)]
    finding = judge_open_loop(measure_open_loop(of, [replay_of(of, e, shown(e)) for e in short], short), FEATURES)
    assert finding.evidence["by_step"] == [0, 0, 0, None]
    assert finding.evidence["baselines_by_step"][HOLD][-1] is None
    json.dumps(finding.evidence, allow_nan=False)


def test_whoever_is_near_is_not_blamed_where_standing_still_is_nearer() -> None:
    of = policy()
    slow = [replace(e, action=np.sin(0.01 * np.arange(40) + e.index)[:, None] * np.ones((1, 2))) for e in EPISODES]
    slow = [replace(e, action=e.action.astype(np.float32), state=e.action.astype(np.float32)) for e in slow]
    replays = [replay_of(of, e, shown(e, off=0.05)) for e in slow]
    finding = judge_open_loop(measure_open_loop(of, replays, ()), FEATURES)
    assert finding.severity == "fine"
    assert "within a chunk the arm hardly moves: hold still and repeat the last action is as near" in finding.verdict


def test_pictures_alone_have_no_nearest_neighbour() -> None:
    of, blind = policy(), [replace(e, state=None) for e in EPISODES]
    measured = measure_open_loop(of, [replay_of(of, e, shown(e)) for e in blind], blind)
    assert set(measured.baselines) == {HOLD, REPEAT, MEAN, PHASE}


def test_episodes_that_may_have_been_trained_on_are_not_called_held_out() -> None:
    of = policy()
    replays = [replace(replay_of(of, e, shown(e)), is_held_out=None) for e in EPISODES]
    assert on_what(replays) == "6 episodes that it may have been trained on"


def test_displacements_stand_still_at_zero() -> None:
    episode = demonstration()
    assert np.array_equal(held_still(episode, FEATURES), episode.state)  # type: ignore[arg-type]
    state = 5 + np.cumsum(episode.action, axis=0)
    moved = replace(episode, state=state.astype(np.float32))
    assert not held_still(moved, FEATURES).any()
    assert np.array_equal(held_still(replace(episode, state=None), FEATURES)[1:], episode.action[:-1])


def shift_of(later: int, noise: float = 0.0) -> Shift:
    of = policy()
    replays = [replay_of(of, episode, shown(episode, later, noise=noise)) for episode in EPISODES]
    measured = measure_shift(of, replays)
    assert measured is not None
    return measured


@pytest.mark.parametrize("later", [-2, -1, 0, 1, 2])
def test_actions_of_other_frames_are_found_whichever_way_they_are_shifted(later: int) -> None:
    assert shift_of(later).shifted == later
    assert shift_of(later, noise=0.3).shifted == later
    finding = judge_shift(shift_of(later))
    assert finding.severity == ("fault" if later else "fine")
    if later:
        assert finding.verdict.startswith("actions shifted: the predictions match the demonstrations best")
        assert f"{abs(later)} frame" in finding.verdict
        assert ("later" if later > 0 else "earlier") in finding.verdict


def test_a_policy_that_only_copies_the_state_is_not_accused_of_a_shift() -> None:
    shift = measure_shift(policy(), still_replays())
    assert shift is not None
    assert shift.shifted is None
    assert judge_shift(shift).severity == "note"


def test_of_chunks_of_one_step_no_shift_can_be_told() -> None:
    of = policy(chunk_size=1, n_action_steps=1)
    replays = [replay_of(of, e, lambda frames: np.zeros((*frames.shape, 2))) for e in EPISODES]
    assert measure_shift(of, replays) is None


def test_switches_are_found_with_hysteresis_and_matched_once_each() -> None:
    values = np.array([1, 1, 0.52, 0.48, 0.55, 0.2, 0.1, 0.45, 0.9, 1.0])
    assert switch_frames(values, 0.5, 0.1) == ([5], [8])
    assert match_switches([10, 30], [12, 13, 60], within=10) == [(10, 12)]
    assert match_switches([10, 14], [12, 13], within=10) == [(10, 12), (14, 13)]


@pytest.mark.parametrize(("later", "words"), [(-3, "0.30 s late"), (3, "0.30 s early"), (0, "on time")])
def test_a_gripper_that_switches_late_or_early_is_told_by_how_much(later: int, words: str) -> None:
    of = policy(n_action_steps=1)
    measured = measure_gripper_timing(of, [replay_of(of, e, shown(e, later)) for e in EPISODES])
    assert measured is not None
    assert measured.closing.offsets == pytest.approx([-0.1 * later] * 6)
    assert measured.opening.offsets == pytest.approx([-0.1 * later] * 6)
    finding = judge_gripper_timing(measured)
    assert finding.severity == ("warning" if later else "fine")
    assert f"gripper, on 6 held-out episodes: closing {words} in the median" in finding.verdict
    assert "0 of 6 missed, 0 spurious" in finding.verdict


def test_an_arm_that_only_waits_does_not_count_though_its_gripper_trembles() -> None:
    both = replace(FEATURES, action_names=("left_gripper", "right_gripper"), state_names=("a", "b"))
    of, rng = policy(features=both), np.random.default_rng(0)
    trembling = [
        replace(e, action=np.stack([e.action[:, 1], 0.01 * rng.normal(size=40)], axis=1).astype(np.float32))
        for e in EPISODES
    ]
    steady = [replay_of(of, e, shown(e, off=np.array([0, 0.02]))) for e in trembling]
    assert [gripper.dim for gripper in find_grippers(of, steady)] == [0]
    assert judge_gripper_timing(measure_gripper_timing(of, steady)).severity == "fine"


def test_a_gripper_that_never_shuts_and_one_that_flutters_are_named() -> None:
    of = policy(n_action_steps=1)

    def half_way(frames: np.ndarray) -> np.ndarray:
        return np.stack([np.zeros(frames.shape), np.full(frames.shape, 0.7)], axis=-1)

    never = judge_gripper_timing(measure_gripper_timing(of, [replay_of(of, e, half_way) for e in EPISODES]))
    assert never.severity == "fault"
    assert "all 6 closings missed" in never.verdict
    assert "--policy.binary-actions" in never.remedy

    def flutter(frames: np.ndarray) -> np.ndarray:
        return np.stack([np.zeros(frames.shape), frames // 3 % 2], axis=-1)

    often = judge_gripper_timing(measure_gripper_timing(of, [replay_of(of, e, flutter) for e in EPISODES]))
    assert often.severity == "warning"
    assert often.evidence["closing"]["spurious"] > 6
    still = replace(FEATURES, action_names=("a", "b"))
    of.features = still
    assert measure_gripper_timing(of, [replay_of(of, e, shown(e)) for e in EPISODES]) is None


def test_executing_the_demonstrations_is_as_smooth_as_they_are_and_jumps_at_seams_are_seen() -> None:
    of = policy()
    perfect = measure_smoothness(of, [replay_of(of, e, shown(e)) for e in EPISODES])
    assert perfect is not None
    assert perfect.names == ("a",)  # the gripper is to snap
    assert perfect.mean == pytest.approx(1.0, rel=1e-5)
    assert perfect.seam == pytest.approx(1.0, rel=1e-5)

    def drifting(episode: object) -> object:
        def chunks(frames: np.ndarray) -> np.ndarray:
            ahead = (frames - frames[:, :1])[..., None]
            return shown(episode)(frames) + 0.4 * ahead  # type: ignore[arg-type]

        return chunks

    replays = [replay_of(of, e, drifting(e)) for e in EPISODES]  # type: ignore[arg-type]
    jumping = measure_smoothness(of, replays)
    assert jumping is not None
    # another route: the sweep of tune-executor executes by itself
    swept = measure(of, [replay.predicted for replay in replays], of.executor_settings)
    assert jumping.mean == pytest.approx(swept.jerk, rel=1e-5)
    assert jumping.jerk_max == pytest.approx(swept.jerk_max, rel=1e-5)
    assert judge_smoothness(jumping).severity in ("warning", "fault")
    assert "foreact tune-executor" in judge_smoothness(jumping).remedy
    # a chunk's second step is 0.4 too far, so the step within is 0.4 more and the one back 0.4 less
    step = np.diff(np.concatenate([replay.executed[:2, 0] - replay.episode.action[:2, 0] for replay in replays]))
    assert step[0] == pytest.approx(0.4, abs=1e-5)


def test_agreement_is_the_difference_of_two_chunks_about_the_same_tick() -> None:
    of = policy()
    same = measure_agreement(of, [replay_of(of, e, shown(e)) for e in EPISODES])
    assert same is not None
    # chunks repeat the last action beyond the end, and so do those asked for there
    assert same.apart == 2
    assert same.by_ahead == pytest.approx([0, 0], abs=1e-6)
    assert judge_agreement(same).severity == "fine"

    def drifting(frames: np.ndarray) -> np.ndarray:
        return np.sin(0.37 * frames)[..., None] + 0.5 * (frames - frames[:, :1])[..., None] * np.ones(2)

    replays = [replay_of(of, e, drifting) for e in EPISODES]
    apart = measure_agreement(of, replays)
    assert apart is not None
    std = np.concatenate([replay.chunks[:, 0] for replay in replays]).std(axis=0)
    assert apart.by_ahead == pytest.approx([np.mean(1.0 / std)] * 2, rel=1e-4)  # 2 ticks of drift at 0.5
    swept = measure(of, [replay.predicted for replay in replays], of.executor_settings)
    assert apart.first == pytest.approx(swept.disagreement, rel=1e-4)
    assert judge_agreement(apart).severity != "fine"


def test_an_ensemble_compares_chunks_of_neighbouring_ticks_and_whole_chunks_half_a_chunk_apart() -> None:
    ensemble = policy(n_action_steps=1, temporal_ensemble_coeff=0.01)
    whole = policy(n_action_steps=CHUNK)
    one, half = (measure_agreement(of, [replay_of(of, e, shown(e)) for e in EPISODES]) for of in (ensemble, whole))
    assert one is not None
    assert half is not None
    assert (one.apart, half.apart) == (1, 2)


def test_demonstrations_drawn_with_a_ruler_do_not_make_everything_infinitely_rough() -> None:
    of = policy()
    straight = [replace(e, action=np.stack([0.1 * np.arange(40), e.action[:, 1]], axis=1)) for e in EPISODES]
    replays = [replay_of(of, episode, shown(episode, noise=1e-4)) for episode in straight]
    measured = measure_smoothness(of, replays)
    assert measured is not None
    assert measured.mean < 1
