"""A simulated robot over the socket: the same actions as in process, and a clock that waits for nobody."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from foreact.policy.policy import Policy
from foreact.records import Camera, Features, VectorStatistics
from foreact.sim.drive import _Asking, drive
from foreact.sim.scene import ACTION_NAMES
from foreact.sim.task import TaskConfig, level, task_for_features
from foreact_runtime.controller import Controller
from foreact_runtime.observation import Observation
from foreact_runtime.serve.client import PolicyClient
from foreact_runtime.serve.server import PolicyServer, ServerOptions, serve_in_background
from tiny import TINY

FEATURES = Features(
    action_names=ACTION_NAMES,
    state_names=ACTION_NAMES,
    environment_names=("x", "y"),
    cameras=(Camera(name="overhead", height=32, width=48), Camera(name="wrist", height=32, width=48)),
    fps=10.0,
)
CONFIG = replace(TINY, chunk_size=8)


def arm_policy(**options: Any) -> Policy:
    """Untrained: it waves about."""

    def statistics(dim: int) -> VectorStatistics:
        one = np.ones(dim)
        return VectorStatistics(mean=0 * one, std=0.3 * one, min=-one, max=one, q01=-one, q99=one, count=100)

    torch.manual_seed(0)
    dims = {"action": 6, "observation.state": 6, "observation.environment_state": 2}
    of = {key: statistics(dim) for key, dim in dims.items()}
    return Policy(config=replace(CONFIG, **options), features=FEATURES, statistics=of)


def short_task(policy: Policy) -> TaskConfig:
    return replace(task_for_features(level("L2"), policy.features), max_seconds=1.5)


@pytest.mark.parametrize("options", [{}, {"n_action_steps": 1, "temporal_ensemble_coeff": 0.05}], ids=["queue", "mean"])
def test_the_same_seeds_in_process_and_over_the_socket_give_bit_equal_actions(options: dict[str, Any]) -> None:
    policy = arm_policy(**options)
    task, seeds = short_task(policy), (3, 4)
    inside = drive(lambda seen: policy.act(seen)[None], task, seeds, begin=policy.reset, real_time=False)
    with serve_in_background(PolicyServer(policy, options=ServerOptions(port=0))) as url, PolicyClient(url) as client:
        assert client.features == policy.features
        over = drive(lambda seen: client.act(seen)[None], task, seeds, begin=client.reset, real_time=False)
    for one, other in zip(inside.episodes, over.episodes, strict=True):
        assert one.actions.tobytes() == other.actions.tobytes()
        assert (one.outcome, one.target, one.cue) == (other.outcome, other.target, other.cue)
    assert (over.late, over.overrun, over.ticks) == (0, 0, 30)
    assert over.latencies_ms.shape == (30,)
    assert np.unique(inside.episodes[0].actions, axis=0).shape[0] > 10, "the arm moves"


def test_an_asynchronous_policy_gives_the_same_over_the_socket_where_calls_are_the_clock() -> None:
    """It waits for each chunk then, and blends them as on the robot: the executor that `foreact eval` uses."""
    policy = arm_policy(asynchronous=True, n_action_steps=4)
    task, seeds = short_task(policy), (3, 4)
    of = Controller(policy.predict_chunk, policy.executor_settings, policy.features)
    inside = drive(lambda seen: of.act(seen)[None], task, seeds, begin=of.reset, real_time=False)
    server = PolicyServer(policy, options=ServerOptions(port=0, clock="calls"))
    with serve_in_background(server) as url, PolicyClient(url) as client:
        over = drive(lambda seen: client.act(seen)[None], task, seeds, begin=client.reset, real_time=False)
    for one, other in zip(inside.episodes, over.episodes, strict=True):
        assert one.actions.tobytes() == other.actions.tobytes()
    assert np.unique(inside.episodes[0].actions, axis=0).shape[0] > 10, "the arm moves"


def test_as_fast_as_possible_does_not_go_with_the_clock_on_the_wall(capsys: pytest.CaptureFixture[str]) -> None:
    from foreact.cli.main import run

    policy = arm_policy(asynchronous=True, n_action_steps=4)
    with serve_in_background(PolicyServer(policy, options=ServerOptions(port=0))) as url:
        assert run(["drive", "L2", "--server", url, "--as-fast-as-possible"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert f"the policy at '{url}' is asynchronous, by the clock on the wall" in line
    assert "start its server with --clock calls, or leave the option out" in line


def test_chunks_that_are_executed_here_are_those_of_the_observations_at_which_it_asked() -> None:
    policy = arm_policy()
    seen: list[Observation] = []

    def ask(observation: Observation) -> np.ndarray:
        seen.append(observation)
        return client.act_ahead(observation, 5)

    with serve_in_background(PolicyServer(policy, options=ServerOptions(port=0))) as url, PolicyClient(url) as client:
        driven = drive(ask, short_task(policy), (0,), real_time=False)
    executed = driven.episodes[0].actions
    assert len(seen) == 3
    np.testing.assert_array_equal(executed, np.concatenate([policy.predict_chunk(of)[:5] for of in seen]))


def test_the_clock_does_not_wait_and_every_late_tick_repeats_the_action_before() -> None:
    """Every answer is a new one, so an action that equals the one before was held."""
    policy = arm_policy()
    numbers = iter(range(1000))
    never = threading.Event()

    def slow(observation: Observation) -> np.ndarray:
        never.wait(0.4)
        return np.full((1, 6), 1e-3 * next(numbers), np.float32)

    driven = drive(slow, short_task(policy), (0,))
    actions = driven.episodes[0].actions
    answered = len(driven.latencies_ms)
    assert driven.late >= 15 - answered > 0
    changes = int((np.diff(actions[:, 0]) != 0).sum())
    assert changes <= 15 - driven.late
    assert driven.ticks == 15


def test_of_a_late_chunk_the_actions_whose_tick_is_over_are_dropped() -> None:
    gate = threading.Event()

    def ask(observation: Observation) -> np.ndarray:
        assert gate.wait(60)
        return np.arange(4.0)[:, None]

    with ThreadPoolExecutor(1) as pool:
        asking = _Asking(ask, pool)
        assert asking.action({}, 0.0) is None
        assert asking.action({}, 0.0) is None
        gate.set()
        assert [asking.action({}, None) for _ in range(2)] == [2.0, 3.0]
        gate.clear()
        for _ in range(6):
            assert asking.action({}, 0.0) is None
        gate.set()
        assert asking.action({}, None) == 3.0, "of a chunk that is over, the last"


def test_drive_says_what_is_wrong_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from foreact.cli.main import run

    wrong: dict[str, list[str]] = {
        "unknown level 'L9'; choices: L0, L1, L2, L3": ["L9"],
        "--executor is 'fast'; it must be server, or a number": ["L1", "--executor", "fast"],
        "--episodes is 0": ["L1", "--episodes", "0"],
        "no policy server at 'ws://127.0.0.1:1'": ["L1", "--server", "127.0.0.1:1"],
        "'ws://127.0.0.1:99999' is no address: Port out of range": ["L1", "--server", "127.0.0.1:99999"],
        "'ws://[::1:80' is no address: Invalid IPv6 URL": ["L1", "--server", "ws://[::1:80"],
        "cannot read 'nowhere'": ["L1", "--api-key-file", "nowhere"],
    }
    for message, arguments in wrong.items():
        assert run(["drive", *arguments]) == 1
        printed = capsys.readouterr().err
        assert message in printed
        assert len(printed.splitlines()) == 1
