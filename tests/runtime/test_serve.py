"""The policy server's protocol: openpi's own client, a scripted BEHAVIOR-1K evaluator, our client; keys and errors."""

import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from foreact.errors import ConfigError
from foreact.policy.policy import Policy
from foreact_runtime.errors import ServingError
from foreact_runtime.observation import Observation
from foreact_runtime.serve.client import PolicyClient
from foreact_runtime.serve.server import PolicyServer, ServerOptions, serve_in_background
from served_policies import R1PRO_SIZES, packed, r1pro_policy, spot_observation, spot_policy, unpacked

pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
"""openpi's client is older than the newest websockets."""

FREE = ServerOptions(port=0)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return spot_policy()


@pytest.fixture(scope="module")
def url(policy: Policy) -> Iterator[str]:
    with serve_in_background(PolicyServer(policy, name="spots", options=FREE)) as url:
        yield url


@pytest.fixture(scope="module")
def r1pro() -> Policy:
    return r1pro_policy()


@pytest.fixture(scope="module")
def r1pro_url(r1pro: Policy) -> Iterator[str]:
    with serve_in_background(PolicyServer(r1pro, options=FREE)) as url:
        yield url


def health(url: str) -> int:
    with urllib.request.urlopen(f"{url.replace('ws://', 'http://')}/healthz", timeout=10) as response:
        return int(response.status)


# openpi -------------------------------------------------------------------------------------------------------------


def test_openpis_client_reads_the_metadata_and_gets_the_chunk_of_each_observation(url: str, policy: Policy) -> None:
    client = WebsocketClientPolicy(url)
    metadata = client.get_server_metadata()
    assert metadata["policy"] == "spots"
    assert metadata["action_names"] == ["a", "b"]
    assert metadata["cameras"] == {"overhead": [32, 32], "wrist": [32, 32]}
    assert (metadata["fps"], metadata["chunk_size"]) == (10.0, 6)
    for tick in range(3):
        reply = client.infer(spot_observation(tick))
        np.testing.assert_array_equal(reply["actions"], policy.predict_chunk(spot_observation(tick)))
        np.testing.assert_array_equal(reply["action"], reply["actions"][0])
        assert reply["actions"].dtype == np.float32
        assert set(reply["server_timing"]) == ({"infer_ms"} if tick == 0 else {"infer_ms", "prev_total_ms"})
        assert all(value > 0 for value in reply["server_timing"].values())
    client._ws.close()


@pytest.mark.parametrize("horizon", [2, 6])
def test_openpis_broker_executes_our_actions(url: str, policy: Policy, horizon: int) -> None:
    """It slices each array of a reply by its step: one of (A,) would fail beyond an action's two dimensions."""
    client = WebsocketClientPolicy(url)
    broker = ActionChunkBroker(client, action_horizon=horizon)
    executed = [broker.infer(spot_observation(tick))["actions"] for tick in range(2 * horizon)]
    chunks = [policy.predict_chunk(spot_observation(tick)) for tick in (0, horizon)]
    np.testing.assert_array_equal(executed, np.concatenate([chunk[:horizon] for chunk in chunks]))
    client._ws.close()


def test_openpis_spelling_of_our_keys_is_understood(url: str, policy: Policy) -> None:
    ours = spot_observation()
    theirs = {key.replace("observation.", "observation/", 1): value for key, value in ours.items()}
    theirs = {key.replace("images.", "images/"): value for key, value in theirs.items()}
    client = WebsocketClientPolicy(url)
    reply = client.infer({**theirs, "prompt": "go to the cue"})
    np.testing.assert_array_equal(reply["actions"], policy.predict_chunk(ours))
    client._ws.close()


# BEHAVIOR-1K --------------------------------------------------------------------------------------------------------

LINKS = {"left_wrist": "left_realsense_link", "right_wrist": "right_realsense_link", "head": "zed_link"}


def evaluators_observation(seed: int, dim: int, robot: str = "robot_r1") -> dict[str, Any]:
    """What the evaluators send, full-resolution RGB-D (FORMATS.md 4.7, 5.4)."""
    rng = np.random.default_rng(seed)
    sent: dict[str, Any] = {f"{robot}::proprio": rng.uniform(-0.5, 0.5, dim).astype(np.float32)}
    for camera, size in R1PRO_SIZES.items():
        key = f"{robot}::{robot}:{LINKS[camera]}:Camera:0"
        sent[f"{key}::rgb"] = rng.integers(0, 255, (size, size, 4), dtype=np.uint8)
        sent[f"{key}::depth_linear"] = rng.uniform(0.1, 9, (size, size)).astype(np.float32)
    sent[f"{robot}::cam_rel_poses"] = rng.normal(size=21).astype(np.float32)
    sent["task_id"] = np.array([3], np.int64)
    return sent


def in_our_words(sent: dict[str, Any], robot: str = "robot_r1") -> dict[str, Any]:
    """The same by hand: places of FORMATS.md 4.1 and 4.2, written once more."""
    proprio = sent[f"{robot}::proprio"]
    of_256 = [253, 254, 255, *range(236, 240), *range(158, 165), (193, 195), *range(197, 204), (232, 234)]
    of_256 += [*range(186, 193), *range(225, 232)]
    of_61 = [0, 1, 2, *range(53, 57), *range(3, 10), (24, 26), *range(28, 35), (49, 51), *range(17, 24), *range(42, 49)]
    state = [
        proprio[place] if isinstance(place, int) else proprio[slice(*place)].mean()
        for place in {256: of_256, 61: of_61}[len(proprio)]
    ]
    observation: dict[str, Any] = {"observation.state": np.array(state, np.float32)}
    for camera, link in LINKS.items():
        observation[f"observation.images.{camera}"] = sent[f"{robot}::{robot}:{link}:Camera:0::rgb"][..., :3].copy()
        observation[f"observation.depth.{camera}"] = sent[f"{robot}::{robot}:{link}:Camera:0::depth_linear"]
    return observation


@pytest.mark.parametrize("dim", [256, 61], ids=["2025", "2026"])
def test_a_behavior_evaluator_gets_the_actions_of_the_policys_own_ensemble(
    r1pro: Policy, r1pro_url: str, dim: int
) -> None:
    """Health, metadata, reset, then one observation a tick; a reset begins anew."""
    assert health(r1pro_url) == 200
    with connect(r1pro_url, compression=None, max_size=None) as socket:
        metadata = unpacked(socket.recv())
        assert metadata["cameras"] == {name: [size, size] for name, size in R1PRO_SIZES.items()}
        for episode in range(2):
            socket.send(packed({"reset": True}))
            r1pro.reset()
            for tick in range(2):
                sent = evaluators_observation(10 * episode + tick, dim)
                message = packed(sent)
                assert len(message) > 7_800_000
                socket.send(message)
                reply = unpacked(socket.recv())
                assert reply["action"].shape == (23,)
                assert reply["action"].dtype == np.float32
                np.testing.assert_array_equal(reply["action"], r1pro.act(in_our_words(sent)))
                np.testing.assert_array_equal(reply["actions"], reply["action"][None])


def test_an_evaluator_of_2026_gets_as_many_actions_as_it_asks_for(r1pro: Policy, r1pro_url: str) -> None:
    sent = evaluators_observation(0, 61, robot="robot_x")
    chunk = r1pro.predict_chunk(in_our_words(sent, robot="robot_x"))
    grippers = [14, 22]
    with connect(r1pro_url, compression=None, max_size=None) as socket:
        socket.recv()
        socket.send(packed({"reset": True}))
        socket.send(packed({**sent, "__action_chunk_size__": 5}))
        reply = unpacked(socket.recv())
        assert reply["action_chunk"].shape == (5, 23)
        assert reply["action"].tobytes() == reply["action_chunk"][..., 0, :].tobytes()
        np.testing.assert_array_equal(np.delete(reply["action_chunk"], grippers, 1), np.delete(chunk[:5], grippers, 1))
        assert set(np.unique(reply["action_chunk"][:, grippers])) <= {-1.0, 1.0}
        socket.send(packed({**sent, "__action_chunk_size__": 21}))
        assert "action_chunk" not in unpacked(socket.recv()), "more than a chunk: it then asks every tick"


def test_another_robots_proprioception_is_refused(url: str, r1pro_url: str) -> None:
    for server, dim, message in (
        (r1pro_url, 258, "'robot_r1::proprio' has shape (258,), dtype float32; expected 256 or 61 floats"),
        (url, 256, "'robot_r1::proprio' is an R1Pro's proprioception, but the policy's state has 2 numbers"),
    ):
        with connect(server) as socket:
            socket.recv()
            socket.send(packed({"robot_r1::proprio": np.zeros(dim, np.float32)}))
            assert message in str(socket.recv())


# Each client its own executor -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"n_action_steps": 1, "temporal_ensemble_coeff": 0.1}])
def test_clients_that_take_turns_get_what_each_would_get_alone(options: dict[str, Any]) -> None:
    policy = spot_policy(**options)
    alone = [policy.make_controller(), policy.make_controller()]
    with serve_in_background(PolicyServer(policy, options=FREE)) as url, PolicyClient(url) as a, PolicyClient(url) as b:
        a.reset()
        b.reset()
        for tick in range(10):
            for place, client in enumerate((a, b)):
                if tick == 5 and place == 1:
                    client.reset()
                    alone[place].reset()
                observation = spot_observation(100 * place + tick)
                np.testing.assert_array_equal(client.act(observation), alone[place].act(observation))


def test_our_client_executes_chunks_itself_where_it_wants_to(url: str, policy: Policy) -> None:
    with PolicyClient(url) as client:
        assert client.features == policy.features
        ahead = client.act_ahead(spot_observation(1), 4)
        np.testing.assert_array_equal(ahead, policy.predict_chunk(spot_observation(1))[:4])
        with pytest.raises(ServingError, match="7 actions are more than the server's policy plans"):
            client.act_ahead(spot_observation(1), 7)


# The door -------------------------------------------------------------------------------------------------------------


def test_the_network_needs_a_key_or_an_explicit_word(policy: Policy) -> None:
    with pytest.raises(ConfigError, match=r"on '0\.0\.0\.0' the whole network .* --api-key-file FILE, or --insecure"):
        PolicyServer(policy, options=ServerOptions(host="0.0.0.0"))
    PolicyServer(policy, options=ServerOptions(host="0.0.0.0", insecure=True))
    PolicyServer(policy, options=ServerOptions(host="0.0.0.0", api_key="k"))
    for host in ("127.0.0.1", "::1", "localhost", "127.1.2.3"):
        PolicyServer(policy, options=ServerOptions(host=host))
    with pytest.raises(ConfigError, match="the key is empty"):
        PolicyServer(policy, options=ServerOptions(api_key=""))


def test_a_wrong_key_is_refused_before_the_upgrade_and_the_right_one_is_let_in(policy: Policy) -> None:
    options = ServerOptions(port=0, api_key="right")
    with serve_in_background(PolicyServer(policy, options=options)) as url:
        assert health(url) == 200
        wrong: list[dict[str, str]] = [{}, {"Authorization": "Api-Key wrong"}, {"Authorization": "right"}]
        for headers in wrong:
            with pytest.raises(InvalidStatus, match="401"), connect(url, additional_headers=headers):
                pass
        with pytest.raises(ServingError, match="401, wrong or missing key: send the header Authorization"):
            PolicyClient(url, api_key="wronger")
        client = WebsocketClientPolicy(url, api_key="right")
        assert client.infer(spot_observation())["actions"].shape == (6, 2)
        client._ws.close()


def test_a_web_page_is_refused_without_a_key(url: str) -> None:
    with pytest.raises(InvalidStatus, match="403"), connect(url, origin=Origin("http://evil.example")):
        pass


def test_more_clients_than_allowed_wait_outside(policy: Policy) -> None:
    with serve_in_background(PolicyServer(policy, options=ServerOptions(port=0, most_clients=1))) as url:
        with PolicyClient(url):
            with pytest.raises(ServingError, match="503, 1 clients are in already"):
                PolicyClient(url)
            assert health(url) == 200
        for _ in range(100):  # the server notices a moment later
            try:
                PolicyClient(url).close()
                return
            except ServingError:
                threading.Event().wait(0.05)
        pytest.fail("nobody was let in after the only client had left")


def test_an_address_in_use_and_a_server_that_is_not_there_are_one_clear_line(url: str, policy: Policy) -> None:
    port = int(url.rpartition(":")[2])
    again = PolicyServer(policy, options=ServerOptions(port=port))
    message = rf"cannot listen on 127\.0\.0\.1:{port}: .*; choose another --host or --port"
    with pytest.raises(ServingError, match=message), serve_in_background(again):
        pass
    with pytest.raises(ServingError, match=r"no policy server at 'ws://127\.0\.0\.1:1'"):
        PolicyClient("127.0.0.1:1")


@pytest.mark.parametrize(
    "address", ["127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:abc", "ws://[::1:80", f"{'a' * 64}.example:80"]
)
def test_what_is_no_address_is_one_clear_line(address: str) -> None:
    with pytest.raises(ServingError, match=r"is no address: .*; expected ws://HOST:PORT") as refused:
        PolicyClient(address)
    assert address in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("address", ["ws://", "http://127.0.0.1:80", "ws://127.0.0.1:1/#part", "", ":1", ":abc"])
def test_what_leads_to_no_server_is_one_clear_line(address: str) -> None:
    with pytest.raises(ServingError, match="no policy server at") as refused:
        PolicyClient(address)
    assert "\n" not in str(refused.value)


def test_nothing_but_the_protocol_is_served(url: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="426"):
        urllib.request.urlopen(url.replace("ws://", "http://") + "/", timeout=10)


# Errors and slowness --------------------------------------------------------------------------------------------------


class BrokenPolicy(Policy):
    def predict_chunk(self, observation: Observation) -> np.ndarray:
        raise RuntimeError("a secret of the server")


def test_a_bug_ends_one_connection_and_only_the_log_says_where(caplog: pytest.LogCaptureFixture) -> None:
    with serve_in_background(PolicyServer(spot_policy(BrokenPolicy), options=FREE)) as url, connect(url) as socket:
        socket.recv()
        socket.send(packed(spot_observation()))
        assert socket.recv() == "the server failed to answer; its log says why"
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert errors[0].exc_info is not None
    assert "a secret of the server" in str(errors[0].exc_info[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observation.images.wrist": np.zeros((48, 64, 3), np.uint8)}, "'observation.images.wrist' is 48x64 pixels"),
        ({"observation.state": np.zeros(3, np.float32)}, "'observation.state' has shape (3,), expected (2,)"),
        ({"observation.state": np.array(["a", "b"])}, "'observation.state' has dtype <U1, expected a float vector"),
        ({"__action_chunk_size__": "many"}, "'__action_chunk_size__' must be a whole number from 1 on"),
        ({"__action_chunk_size__": 0}, "'__action_chunk_size__' must be a whole number from 1 on"),
    ],
)
def test_a_wrong_observation_is_a_text_of_one_line_and_the_code_1011(
    url: str, change: dict[str, Any], message: str
) -> None:
    with connect(url) as socket:
        socket.recv()
        socket.send(packed({**spot_observation(), **change}))
        text = socket.recv()
        assert isinstance(text, str)
        assert message in text
        assert "\n" not in text
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011


class SlowPolicy(Policy):
    def __init__(self, **options: Any) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()
        super().__init__(**options)

    def predict_chunk(self, observation: Observation) -> np.ndarray:
        self.asked.set()
        assert self.go_on.wait(60)
        return super().predict_chunk(observation)


def test_while_a_slow_network_computes_the_server_answers_the_health_check_and_lets_clients_in() -> None:
    policy = spot_policy(SlowPolicy)
    assert isinstance(policy, SlowPolicy)
    with serve_in_background(PolicyServer(policy, options=FREE)) as url, PolicyClient(url) as client:
        asking = threading.Thread(target=client.act, args=(spot_observation(),))
        asking.start()
        assert policy.asked.wait(60)
        assert health(url) == 200
        with PolicyClient(url) as other:
            assert other.metadata["policy"] == "policy"
        assert asking.is_alive()
        policy.go_on.set()
        asking.join()
