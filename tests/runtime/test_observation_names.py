"""What openpi's ALOHA example sends is understood: nested names, and pictures whose channels come first."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from openpi_client.websocket_client_policy import WebsocketClientPolicy

from foreact.policy.policy import Policy
from foreact.records import Camera, Features
from foreact_runtime.serve.observation_names import ObservationNames
from foreact_runtime.serve.server import PolicyServer, ServerOptions, serve_in_background
from served_policies import unit_statistics
from tiny import TINY

pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
"""openpi's client is older than the newest websockets."""

JOINTS = tuple(f"joint_{i}" for i in range(14))
ALOHA = Features(
    action_names=JOINTS, state_names=JOINTS, cameras=(Camera(name="cam_high", height=224, width=224),), fps=50.0
)


@pytest.fixture(scope="module")
def policy() -> Policy:
    torch.manual_seed(0)
    statistics = {key: unit_statistics(14) for key in ("action", "observation.state")}
    return Policy(config=TINY, features=ALOHA, statistics=statistics)


@pytest.fixture(scope="module")
def url(policy: Policy) -> Iterator[str]:
    with serve_in_background(PolicyServer(policy, options=ServerOptions(port=0))) as url:
        yield url


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (224, 224, 3), dtype=np.uint8)


def test_openpis_aloha_example_gets_its_chunk(policy: Policy, url: str) -> None:
    """Its environment sends joints in float64 and pictures (3, 224, 224), which are a view of (224, 224, 3)."""
    client = WebsocketClientPolicy(url)
    for seed in range(2):
        state = np.random.default_rng(seed).normal(size=14)
        sent = {"state": state, "images": {"cam_high": np.transpose(picture(seed), (2, 0, 1))}}
        ours = {"observation.state": state, "observation.images.cam_high": picture(seed)}
        np.testing.assert_array_equal(client.infer(sent)["actions"], policy.predict_chunk(ours))
    client._ws.close()


@pytest.mark.parametrize("turned", [(4, 224, 224), (224, 224, 4)])
def test_of_rgba_the_colours_are_taken_wherever_the_channels_stand(turned: tuple[int, ...]) -> None:
    rgba = np.concatenate([picture(0), np.full((224, 224, 1), 255, np.uint8)], axis=2)
    sent = rgba if turned[2] == 4 else rgba.transpose(2, 0, 1)
    observation = ObservationNames(ALOHA).translate({"images/cam_high": sent})
    np.testing.assert_array_equal(observation["observation.images.cam_high"], picture(0))


@pytest.mark.parametrize(
    "sent",
    [
        np.zeros((3, 8, 3), np.uint8),
        np.zeros((3, 224, 224), np.float32),
        np.zeros((224, 224), np.uint8),
        np.zeros((5, 224, 224), np.uint8),
    ],
    ids=["three rows", "floats", "grey", "five channels"],
)
def test_what_is_no_picture_with_its_channels_first_is_left_as_it_is(sent: Any) -> None:
    observation = ObservationNames(ALOHA).translate({"images/cam_high": sent})
    assert observation["observation.images.cam_high"] is sent
