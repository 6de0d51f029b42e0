"""Limits and alarm ranges against the data that they are learned from, by hand."""

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from foreact.config import PolicyConfig
from foreact.data.statistics import robot_statistics
from foreact.errors import ConfigError
from foreact.normalizer import statistics_from_dict, statistics_to_dict
from foreact.policy.settings import _say_once, executor_settings
from foreact.records import Episode, Features, VectorStatistics
from foreact_runtime.executor import make_executor
from foreact_runtime.settings import ExecutorSettings, settings_from_dict

NAMES = ("pan", "lift", "gripper")
FEATURES = Features(action_names=NAMES, state_names=("lift", "pan"), environment_names=("x",), fps=10)


def config(**options: Any) -> PolicyConfig:
    return PolicyConfig(chunk_size=4, n_action_steps=2, **options)


def episode(index: int, rng: np.random.Generator) -> Episode:
    """Pan goes to and fro by 0.1 a tick, lift is constant, the gripper snaps from 0 to 1 in one tick."""
    t = np.arange(21)
    pan = 0.1 * np.abs(10 - t)
    action = np.stack([pan, np.full(21, 0.3), (t > 5).astype(float)], axis=1).astype(np.float32)
    state = np.stack([action[:, 1], action[:, 0] - 0.05], axis=1)
    x = np.full((21, 1), rng.uniform(0, 1), np.float32)
    return Episode(index=index, task="", action=action, state=state, environment_state=x)


@pytest.fixture(scope="module")
def statistics() -> dict[str, VectorStatistics]:
    rng = np.random.default_rng(0)
    return dict(robot_statistics([episode(i, rng) for i in range(200)], FEATURES))


def settings(statistics: dict[str, VectorStatistics], **options: Any) -> ExecutorSettings:
    return executor_settings(config(**options), FEATURES, statistics)


def test_positions_velocities_and_jumps_of_the_data_are_widened_by_the_margin(
    statistics: dict[str, VectorStatistics],
) -> None:
    of = settings(statistics, limit_margin=0.25).limits
    assert of.lower == pytest.approx((-0.25, 0.3, -0.25), abs=1e-3)
    assert of.upper == pytest.approx((1.25, 0.3, 1.25), abs=1e-3)
    # 0.1 a tick, ten ticks a second, in both directions: the range -1 to 1, widened by a quarter of its 2 on each side
    assert of.velocity == pytest.approx((1.5, 0.0, 15.0), abs=1e-3)
    # a start from rest at full speed is the largest growth
    assert of.jump == pytest.approx((1.5, 0.0, 15.0), abs=1e-3)


def test_the_first_command_may_lead_as_in_the_data_where_the_state_has_the_dimension(
    statistics: dict[str, VectorStatistics],
) -> None:
    lead = settings(statistics).limits.lead
    assert lead[:2] == pytest.approx((0.1, 0.0), abs=1e-6)  # twice 0.05; the state's order is another
    assert lead[2] is None


def test_the_data_themselves_are_not_limited(statistics: dict[str, VectorStatistics]) -> None:
    of = episode(0, np.random.default_rng(0))
    executor = make_executor(settings(statistics, limit_margin=0.01), FEATURES)
    for action in of.action:
        executor.add(np.tile(action, (4, 1)))
        np.testing.assert_array_equal(executor.next_action(), action)
    assert executor.limiter.ticks == 0


def test_a_glitch_in_one_of_many_episodes_widens_no_velocity_but_a_rare_movement_stays_possible() -> None:
    rng = np.random.default_rng(0)
    episodes = [episode(i, rng) for i in range(200)]
    glitch, rare = episodes[3].action.copy(), episodes[7].action.copy()
    glitch[10, 0] = 50.0
    rare[10:, 1] = 0.5
    episodes[3], episodes[7] = replace(episodes[3], action=glitch), replace(episodes[7], action=rare)
    of = executor_settings(config(), FEATURES, robot_statistics(episodes, FEATURES)).limits
    assert of.velocity[0] == pytest.approx(2.0, abs=1e-3)
    assert of.velocity[1] == pytest.approx(4.0, abs=1e-3)


def test_the_alarm_knows_the_ranges_of_state_and_coordinates_and_spares_a_constant_one(
    statistics: dict[str, VectorStatistics],
) -> None:
    alarm = settings(statistics, alarm_margin=0.5, on_alarm="stop").alarm
    assert alarm.action == "stop"
    assert alarm.state[0] == pytest.approx((-0.7, 1.3), abs=1e-3)  # constant at 0.3: off by 1
    assert alarm.state[1] == pytest.approx((-0.55, 1.45), abs=1e-3)
    low, high = alarm.environment_state[0]  # type: ignore[misc]
    assert low < -0.4
    assert high > 1.4


def test_declared_limits_take_the_place_of_the_data_s(statistics: dict[str, VectorStatistics]) -> None:
    of = settings(
        statistics,
        position_limits=[[-1, 1]] * 3,
        velocity_limits=[1.0, 2.0, float("inf")],
        jump_limits=[0.5] * 3,
        limit_margin=None,
    ).limits
    assert of.upper == (1.0, 1.0, 1.0)
    assert of.velocity == (1.0, 2.0, None)
    assert of.jump == (0.5, 0.5, 0.5)
    assert of.lead == (None, None, None)
    with pytest.raises(
        ConfigError, match=r"policy.velocity_limits has 2 entries, the action has 3 .*: pan, lift, grip"
    ):
        settings(statistics, velocity_limits=[1.0, 2.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"position_limits": [[1, 0]] * 3}, "policy.position_limits has .* the lower limit is the higher one"),
        ({"jump_limits": [0.0] * 3}, "policy.jump_limits has a 0; they must be positive"),
        ({"limit_margin": -0.1}, "policy.limit_margin is -0.1; it must not be negative"),
        ({"blend_steps": -1}, "policy.blend_steps is -1; it must not be negative"),
        ({"blend_steps": 100}, r"policy.blend_steps is 100; it must be at most \d+, one less than policy.chunk_size"),
        ({"on_alarm": "scream"}, "unknown value of on_alarm 'scream'"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**options)


def test_older_statistics_limit_positions_only_and_say_so(
    statistics: dict[str, VectorStatistics], caplog: pytest.LogCaptureFixture
) -> None:
    old = {key.removeprefix("robot."): of for key, of in statistics.items() if not key.startswith("robot.action.")}
    _say_once.cache_clear()
    of = settings(old)
    settings(old)
    assert len(caplog.messages) == 1
    assert "nothing limits the action's velocity and jump" in caplog.text
    assert "declare velocity_limits, jump_limits" in caplog.text
    new = settings(statistics)
    assert (of.limits.lower, of.limits.upper, of.alarm) == (new.limits.lower, new.limits.upper, new.alarm)
    assert of.limits.velocity == of.limits.jump == of.limits.lead == (None, None, None)


def test_what_is_declared_or_switched_off_is_not_warned_of(
    statistics: dict[str, VectorStatistics], caplog: pytest.LogCaptureFixture
) -> None:
    old = {key.removeprefix("robot."): of for key, of in statistics.items() if not key.startswith("robot.action.")}
    _say_once.cache_clear()
    settings(old, limit_margin=None)
    settings(old, velocity_limits=[1.0] * 3, jump_limits=[float("inf")] * 3)
    settings(statistics)
    assert not caplog.messages
    settings(old, velocity_limits=[1.0] * 3)
    assert "nothing limits the action's jump:" in caplog.text


def test_what_nobody_knows_of_imported_data_is_not_limited() -> None:
    nothing = np.full(3, np.inf)
    imported = VectorStatistics(
        mean=np.zeros(3), std=np.ones(3), min=-nothing, max=nothing, q01=-nothing, q99=nothing, count=0
    )
    with np.errstate(all="raise"):
        of = settings({"action": imported}).limits
    assert of.lower == of.upper == (None, None, None)


def test_asynchronous_execution_blends_over_half_a_chunk_unless_told_otherwise() -> None:

    def seam(**options: Any) -> list[float]:
        """Of a joint, from a chunk of zeros to one of threes."""
        executor = make_executor(settings({}, **options), FEATURES)
        executor.add(np.zeros((4, 3)))
        executor.next_action()
        executor.add(np.full((4, 3), 3.0))
        return [float(executor.next_action()[0]) for _ in range(3)]

    assert seam() == seam(asynchronous=True, blend_steps=0) == [3, 3, 3]
    assert seam(asynchronous=True) == seam(blend_steps=2) == [1, 2, 3]


def test_settings_and_statistics_survive_json(statistics: dict[str, VectorStatistics]) -> None:
    of = settings(statistics, asynchronous=True, binary_actions=("gripper",), on_alarm="hold")
    assert settings_from_dict(json.loads(json.dumps(asdict(of), allow_nan=False))) == of
    again = statistics_from_dict(json.loads(json.dumps(statistics_to_dict(statistics))))
    assert settings(again) == settings(statistics)


def test_one_episode_with_a_glitch_widens_no_limit_and_no_alarm() -> None:
    rng = np.random.default_rng(0)
    clean = [episode(i, rng) for i in range(20)]
    action, state = clean[3].action.copy(), clean[3].state.copy()  # type: ignore[union-attr]
    action[10, 0], state[4, 1] = 50.0, -50.0
    glitched = [*clean[:3], replace(clean[3], action=action, state=state), *clean[4:]]
    expected, found = (
        executor_settings(config(), FEATURES, robot_statistics(of, FEATURES)) for of in (clean, glitched)
    )
    for kind in ("lower", "upper", "velocity", "jump", "lead"):
        assert getattr(found.limits, kind)[0] == pytest.approx(getattr(expected.limits, kind)[0], abs=0.02)
    assert found.alarm.state[1] == pytest.approx(expected.alarm.state[1], abs=0.02)


def test_a_dimension_that_hardly_moves_is_pinned_too(statistics: dict[str, VectorStatistics]) -> None:
    """The network knows it only to about a whole unit's thousandth, and would be limited in every tick."""
    rng = np.random.default_rng(0)
    episodes = [episode(i, rng) for i in range(20)]
    noise = [rng.uniform(0, 5e-5, 21).astype(np.float32) for _ in episodes]
    episodes = [
        replace(of, action=of.action + extra[:, None] * np.array([0, 1, 0], np.float32))
        for of, extra in zip(episodes, noise, strict=True)
    ]
    executor = make_executor(executor_settings(config(), FEATURES, robot_statistics(episodes, FEATURES)), FEATURES)
    executor.add(np.array([[0.5, 0.304, 0.5]]))
    assert executor.next_action()[1] == pytest.approx(0.3, abs=1e-4)
    assert executor.limiter.ticks == 0


def test_no_margin_around_unknown_ranges_is_no_limit_either() -> None:
    nothing = np.full(3, np.inf)
    unknown = VectorStatistics(
        mean=np.zeros(3), std=np.ones(3), min=-nothing, max=nothing, q01=nothing, q99=nothing, count=0
    )
    with np.errstate(all="raise"):
        of = settings({"action": unknown}, limit_margin=0.0).limits
    assert of.lower == of.upper == (None, None, None)
