"""What a server is told on the command line: the one list of `foreact serve` and `python -m foreact_runtime.serve`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from foreact_runtime.backend import Backend

Clock = Literal["wall", "calls"]
"""What goes by between two ticks of an asynchronous policy: time, or one action that a client asks for."""


@dataclass(frozen=True, kw_only=True)
class ServingOptions:
    """Where to listen, who may come in, what it is called and how it is computed."""

    host: str = "127.0.0.1"
    """Where to listen; any other than this machine needs a key, or --insecure."""
    port: int = 8000
    """0 takes a free one."""
    api_key_file: Path | None = None
    """A file whose first line is the key that clients must send."""
    insecure: bool = False
    """Listen beyond this machine without a key."""
    clock: Clock = "wall"
    """Of an asynchronous policy: `wall` for robots, which do not wait; `calls` for simulations that wait for each
    answer: an action asked for is a tick, and every chunk is there in time."""
    backend: Backend | None = None
    """What runs a bundle's network, where it is another than it was exported for."""
    threads: int | None = None
    """Cores to compute on; as many as the library thinks good unless said otherwise."""
    resize_images: bool = False
    """Accept pictures of another size than the recorded one and resize them."""
    rename: dict[str, str] = field(default_factory=dict)
    """What clients call an observation, and what the policy calls it, as pairs: observation/image
    observation.images.overhead. BEHAVIOR-1K's names and openpi's spelling are known."""
    rename_file: Path | None = None
    """The same as a JSON file: {"observation/image": "observation.images.overhead"}."""
    most_clients: int = 16
    """At once."""
    largest_message: int | None = None
    """MiB that a message may have; by default twice an observation's, at least 16."""
