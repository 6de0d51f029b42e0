"""A policy on another computer, used like one that is loaded here. Needs NumPy, websockets and msgpack."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import connect

from foreact_runtime.errors import ServingError
from foreact_runtime.observation import Observation
from foreact_runtime.records import Features, features_from_dict
from foreact_runtime.serve.codec import decode, encode
from foreact_runtime.serve.session import CHUNK_SIZE, RESET


class PolicyClient:
    """A connection to a policy server. Not for several threads at once."""

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = 600.0) -> None:
        """Connect.

        Args:
            url: `ws://HOST:PORT`, or `HOST:PORT`.
            api_key: The server's key, where it has one.
            timeout: Seconds to wait for a reply; the first may take long.

        Raises:
            ServingError: If there is no server, or it does not let this client in.
        """
        self.url = url if "://" in url else f"ws://{url}"
        self._timeout = timeout
        headers = {} if api_key is None else {"Authorization": f"Api-Key {api_key}"}
        self._ending = ExitStack()
        try:
            self._connection = self._ending.enter_context(
                connect(
                    self.url,
                    compression=None,
                    max_size=None,
                    proxy=None,  # a robot's policy is not behind one, and a loop of 30 Hz must not be
                    additional_headers=headers,
                    ping_interval=60,
                    ping_timeout=timeout,
                )
            )
        except InvalidStatus as error:
            body = error.response.body.decode(errors="replace").strip()
            raise ServingError(f"'{self.url}' refused: {error.response.status_code}, {body}") from error
        except (ValueError, OverflowError) as error:
            raise ServingError(f"'{self.url}' is no address: {error}; expected ws://HOST:PORT") from error
        except (OSError, InvalidHandshake, InvalidURI, ConnectionClosed) as error:
            raise ServingError(f"no policy server at '{self.url}': {error}; is `foreact serve` running?") from error
        self.metadata: Mapping[str, Any] = self._receive()
        """What the server says of its policy."""

    @property
    def features(self) -> Features:
        """What the policy was trained on.

        Raises:
            ServingError: If the server does not say, for it is not Foreact's.
        """
        if "features" not in self.metadata:
            raise ServingError(f"'{self.url}' does not say what its policy reads; is it a server of Foreact's?")
        return features_from_dict(self.metadata["features"])

    def reset(self) -> None:
        """Begin an episode. From then on the server executes chunks as the policy was trained to: ask every tick."""
        self._send({RESET: True})

    def act(self, observation: Observation) -> np.ndarray:
        """Return the action (A,), float32, for this control tick.

        Raises:
            ServingError: If the server refuses the observation, which ends the connection, or is gone.
        """
        return np.asarray(self.infer(observation)["action"], np.float32)

    def act_ahead(self, observation: Observation, n_actions: int) -> np.ndarray:
        """Return actions (n_actions, A) to execute before the next question, for a robot that executes chunks itself.

        Raises:
            ServingError: Like `act`, or if the policy's chunks are shorter.
        """
        reply = self.infer({**observation, CHUNK_SIZE: n_actions})
        actions: np.ndarray = reply["actions"] if n_actions == 1 else reply.get("action_chunk", reply["actions"])
        if len(actions) < n_actions:
            raise ServingError(f"{n_actions} actions are more than the server's policy plans; ask for fewer")
        return actions[:n_actions]

    def infer(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """Return the whole reply: `action` (A,), before the first reset a list, `actions` (T, A), `server_timing`.

        Raises:
            ServingError: Like `act`.
        """
        self._send(observation)
        return self._receive()

    def close(self) -> None:
        """Leave."""
        self._ending.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        data = encode(message)
        try:
            self._connection.send(data)
        except ConnectionClosed as error:
            raise ServingError(f"'{self.url}' ended the connection: {error}") from error

    def _receive(self) -> dict[str, Any]:
        try:
            reply = self._connection.recv(timeout=self._timeout)
        except TimeoutError as error:
            raise ServingError(f"'{self.url}' did not answer within {self._timeout:g} seconds") from error
        except ConnectionClosed as error:
            raise ServingError(f"'{self.url}' ended the connection: {error}") from error
        if isinstance(reply, str):
            raise ServingError(f"'{self.url}' refused: {reply}")
        return decode(reply)
