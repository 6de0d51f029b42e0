"""An asynchronous policy over a socket: by the clock on the wall for robots, by the calls for those that wait."""

from typing import Any

import numpy as np
import pytest

from foreact_runtime.serve.client import PolicyClient
from foreact_runtime.serve.options import Clock
from foreact_runtime.serve.server import PolicyServer, ServerOptions, serve_in_background
from foreact_runtime.settings import ExecutorSettings
from served_policies import spot_observation, spot_policy

ASYNCHRONOUS: dict[str, Any] = {"asynchronous": True, "n_action_steps": 3, "blend_steps": 0}


def asked_at_once(clock: Clock, questions: int, **options: Any) -> np.ndarray:
    """Actions (questions, A) for a client that asks as fast as it can."""
    server = PolicyServer(spot_policy(**options), options=ServerOptions(port=0, clock=clock))
    with serve_in_background(server) as url, PolicyClient(url) as client:
        assert client.metadata["asynchronous"] is True
        assert client.metadata["clock"] == clock
        client.reset()
        return np.stack([client.act(spot_observation(tick)) for tick in range(questions)])


def test_by_the_calls_a_client_that_does_not_keep_the_rate_gets_every_action_of_its_chunks() -> None:
    """By hand: without blending, three actions of the chunk that begins with each third observation."""
    policy = spot_policy()
    chunks = [policy.predict_chunk(spot_observation(tick))[:3] for tick in range(0, 30, 3)]
    np.testing.assert_array_equal(asked_at_once("calls", 30, **ASYNCHRONOUS), np.concatenate(chunks))


def test_by_the_calls_seams_are_blended_as_on_the_robot() -> None:
    """Half of what is left of the chunk before is mixed in at the first tick of a new one, by hand."""
    before, after = (spot_policy().predict_chunk(spot_observation(tick)) for tick in (0, 3))
    actions = asked_at_once("calls", 5, **{**ASYNCHRONOUS, "blend_steps": 1})
    expected = [*before[:3], (before[3] + after[0]) / 2, after[1]]
    np.testing.assert_allclose(actions, np.stack(expected), rtol=0, atol=1e-6)
    default = ExecutorSettings(chunk_size=6, n_action_steps=3, asynchronous=True)
    assert (default.waiting().asynchronous, default.waiting().blending, default.blending) == (False, 3, 3)


def test_by_the_clock_on_the_wall_a_client_that_asks_at_once_gets_what_it_got_before() -> None:
    """A tick of 10 seconds: all questions fall into the first."""
    policy = spot_policy(**ASYNCHRONOUS)
    policy.features = type(policy.features)(**{**vars(policy.features), "fps": 0.1})
    with serve_in_background(PolicyServer(policy, options=ServerOptions(port=0))) as url, PolicyClient(url) as client:
        client.reset()
        actions = [client.act(spot_observation(tick)) for tick in range(5)]
    assert len(np.unique(actions, axis=0)) == 1


@pytest.mark.parametrize("clock", ["wall", "calls"])
def test_a_client_that_executes_chunks_itself_gets_them_as_they_are_whatever_the_clock(clock: Clock) -> None:
    policy = spot_policy(asynchronous=True, n_action_steps=3)
    server = PolicyServer(policy, options=ServerOptions(port=0, clock=clock))
    with serve_in_background(server) as url, PolicyClient(url) as client:
        for tick in range(3):
            ahead = client.act_ahead(spot_observation(tick), 2)
            np.testing.assert_array_equal(ahead, policy.predict_chunk(spot_observation(tick))[:2])


def test_a_policy_that_is_waited_for_counts_calls_whatever_the_option_says() -> None:
    server = PolicyServer(spot_policy(), options=ServerOptions(port=0, clock="wall"))
    with serve_in_background(server) as url, PolicyClient(url) as client:
        assert (client.metadata["asynchronous"], client.metadata["clock"]) == (False, "calls")


def test_a_loop_that_does_not_keep_the_rate_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    from foreact_runtime.asynchronous import AsynchronousController

    now = [0.0]
    policy = spot_policy(**ASYNCHRONOUS)
    of = AsynchronousController(policy.predict_chunk, policy.executor_settings, policy.features, clock=lambda: now[0])
    for seconds in (0.0, 0.0, 0.0, 0.7):  # ten ticks a second
        now[0] = seconds
        of.act(spot_observation())
    of.close()
    assert (of.repeated, of.dropped) == (2, 6)
    assert of.counts["asked for twice"] == 2
    assert of.counts["not asked for"] == 6
    warnings = [text for text in caplog.messages if text.startswith("asked")]
    advice = "ask 10 times a second, or have each chunk waited for (synchronous; a server: --clock calls)"
    assert warnings == [
        f"asked again within one tick: the action before is repeated (1 ticks so far); {advice}",
        f"asked again within one tick: the action before is repeated (2 ticks so far); {advice}",
    ], "6 is no power of two"
