"""Who is in: what is counted of a client and said when it leaves, and who gives way to whom."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from foreact.policy.policy import Policy
from foreact_runtime.asynchronous import AsynchronousController
from foreact_runtime.controller import Controller
from foreact_runtime.errors import ObservationError, ServingError
from foreact_runtime.serve.asking import NamesClient
from foreact_runtime.serve.client import PolicyClient
from foreact_runtime.serve.observation_names import ObservationNames
from foreact_runtime.serve.server import PolicyServer, ServerOptions, serve_in_background
from foreact_runtime.serve.session import Session
from foreact_runtime.settings import ExecutorSettings
from served_policies import spot_observation, spot_policy

NARROW: dict[str, Any] = {"position_limits": ((-1e-6, 1e-6), (-9.0, 9.0))}
"""Limits the first of the two joints in every tick."""


def session(policy: Policy) -> Session:
    return Session(policy, ObservationNames(policy.features), policy.executor_settings)


def test_what_was_counted_and_measured_outlives_the_episode() -> None:
    policy = spot_policy(asynchronous=True, n_action_steps=3, **NARROW)
    of = session(policy)
    of.answer({"reset": True})
    of.answer(spot_observation(0))
    controller = of._every_tick
    assert isinstance(controller, AsynchronousController)
    latencies = list(controller.latencies)
    assert len(latencies) == 1
    of.answer({"reset": True})
    assert of._every_tick is controller
    assert list(controller.latencies) == latencies
    assert of.counts["limited"] == 1
    of.answer(spot_observation(1))
    assert of.counts["limited"] == 2
    of.close()


def test_the_counts_of_clients_that_take_chunks_of_changing_length_add_up() -> None:
    of = session(spot_policy(**NARROW))
    for size in (2, 5, 2):
        of.answer({**spot_observation(), "__action_chunk_size__": size})
    of.answer(spot_observation())  # a whole chunk of 6
    assert of.counts["limited"] == 2 + 5 + 2 + 6
    assert of.replies == 4


@contextmanager
def served(policy: Policy, **options: Any) -> Iterator[str]:
    with serve_in_background(PolicyServer(policy, options=ServerOptions(port=0, **options))) as url:
        yield url


def test_when_a_client_leaves_the_log_names_it_and_what_was_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    caplog.handler.addFilter(named := NamesClient())
    try:
        with served(spot_policy(**NARROW)) as url, PolicyClient(url) as client:
            host, port = client._connection.local_address[:2]
            client.reset()
            for tick in range(3):
                client.act(spot_observation(tick))
            far = {**spot_observation(), "observation.state": np.array([0, 99], np.float32)}
            client.act(far)
    finally:
        caplog.handler.removeFilter(named)
    who = f"client {host}:{port}"
    [left] = [text for text in caplog.messages if " left " in text]
    assert left.startswith(f"{who} left after 4 replies; ticks: limited 4, in alarm 1, out of reach 0; received 1000")
    about = [text for text in caplog.messages if "limited 'a'" in text or "'b' is 99" in text]
    assert len(about) == 4, "at the 1st, 2nd and 4th limited action, and the alarm"
    assert all(text.startswith(f"{who}: ") for text in about)


def test_a_client_that_was_refused_is_counted_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    refused = pytest.raises(ServingError, match=r"lacks 'observation\.state'")
    with served(spot_policy()) as url, PolicyClient(url) as client, refused:
        client.act({})
    [left] = [text for text in caplog.messages if " left " in text]
    assert " left after 0 replies; ticks: " in left


def test_where_the_house_is_full_the_client_that_asked_nothing_for_longest_gives_way() -> None:
    full = served(spot_policy(), most_clients=2, idle_timeout=2.0)
    with full as url, PolicyClient(url) as silent, PolicyClient(url) as another:
        with pytest.raises(ServingError, match="503, 2 clients are in already"):
            PolicyClient(url)
        threading.Event().wait(2.1)
        another.act(spot_observation())
        with PolicyClient(url) as robot:
            robot.act(spot_observation())
            another.act(spot_observation())
            message = "nothing was asked for 2 seconds, and another client needs the place"
            with pytest.raises(ServingError, match=message):
                silent.act(spot_observation())


def test_silence_alone_ends_nobody() -> None:
    with served(spot_policy(), most_clients=2, idle_timeout=0.05) as url, PolicyClient(url) as silent:
        threading.Event().wait(0.2)
        with PolicyClient(url) as robot:
            robot.act(spot_observation())
            silent.act(spot_observation())


class SlowPolicy(Policy):
    """Computes its chunk until it is let go."""

    def __init__(self, **options: Any) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()
        super().__init__(**options)

    def predict_chunk(self, observation: Any) -> np.ndarray:
        self.asked.set()
        assert self.go_on.wait(60)
        return super().predict_chunk(observation)


def test_a_client_that_waits_for_its_answer_is_not_idle() -> None:
    policy = spot_policy(SlowPolicy)
    assert isinstance(policy, SlowPolicy)
    with served(policy, most_clients=1, idle_timeout=0.05) as url, PolicyClient(url) as client:
        asking = threading.Thread(target=client.act, args=(spot_observation(),))
        asking.start()
        assert policy.asked.wait(60)
        threading.Event().wait(0.2)
        with pytest.raises(ServingError, match="503"):
            PolicyClient(url)
        policy.go_on.set()
        asking.join()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({}, "lacks 'observation.images.wrist'"),
    "of another size and type": (
        {"observation.images.wrist": np.zeros((7, 7))},
        "'observation.images.wrist' has dtype float64, expected uint8",
    ),
    "of another size": (
        {"observation.images.wrist": np.zeros((7, 7, 3), np.uint8)},
        "'observation.images.wrist' is 7x7 pixels, the policy was trained on 32x32",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_picture_is_noticed_in_the_tick_in_which_it_comes(name: str) -> None:
    """The queue has two actions left by then, which need no picture."""
    change, message = WRONG[name]
    seen = spot_observation(1)
    del seen["observation.images.wrist"]
    with served(spot_policy()) as url, PolicyClient(url) as client:
        client.reset()
        client.act(spot_observation(0))
        with pytest.raises(ServingError, match=message):
            client.act({**seen, **change})


def test_a_robot_whose_camera_dies_learns_it_at_once_in_process_too() -> None:
    policy = spot_policy()
    policy.act(spot_observation(0))
    with pytest.raises(ObservationError, match=r"'observation\.images\.wrist' has dtype float64"):
        policy.act({**spot_observation(1), "observation.images.wrist": np.zeros((7, 7))})
    resizing = Policy(config=policy.config, features=policy.features, statistics=policy.statistics, resize_images=True)
    resizing.act(spot_observation(0))
    larger = {**spot_observation(1), "observation.images.wrist": np.zeros((64, 64, 3), np.uint8)}
    assert resizing.act(larger).shape == (2,)


def test_a_controller_by_itself_leaves_pictures_to_whoever_predicts() -> None:
    """Simulations render a picture when it is looked at (`foreact.sim.delayed`)."""

    class Lazy(dict[str, Any]):
        looked_at = 0

        def __getitem__(self, key: str) -> Any:
            self.looked_at += "images" in key
            return super().__getitem__(key)

    policy = spot_policy()
    seen = Lazy(spot_observation())
    of = Controller(lambda _: np.zeros((6, 2)), ExecutorSettings(chunk_size=6, n_action_steps=3), policy.features)
    of.act(seen)
    assert seen.looked_at == 0
