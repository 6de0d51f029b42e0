"""`foreact serve RUN|BUNDLE`: a policy over a websocket, for robots, BEHAVIOR-1K's evaluators and openpi's clients."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from foreact.cli.executor_options import ExecutorOptions
from foreact.cli.options import parse
from foreact.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ServeOptions(ExecutorOptions):
    """Serve a policy until Ctrl-C. Each client has its own executor; docs/serving.md has the protocol."""

    run: Annotated[Path, tyro.conf.Positional]
    """A run, a checkpoint directory or a bundle."""
    host: str = "127.0.0.1"
    """Where to listen; any other than this machine needs a key, or --insecure."""
    port: int = 8000
    """0 takes a free one."""
    api_key_file: Path | None = None
    """A file whose first line is the key that clients must send."""
    insecure: bool = False
    """Listen beyond this machine without a key."""
    checkpoint: str = "last"
    """Of a run: last, best, or a step's number."""
    device: str = "cpu"
    """Where the network runs."""
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


def run(arguments: list[str]) -> int:
    """Parse, load, serve until Ctrl-C or SIGTERM, and return 0."""
    options = parse(ServeOptions, arguments, command="serve")

    import foreact
    from foreact_runtime.serve.command import read_api_key, serve_policy
    from foreact_runtime.serve.door import check_host
    from foreact_runtime.serve.server import ServerOptions

    check_host(options.host, has_key=options.api_key_file is not None, insecure=options.insecure)
    for flag, number in (("--most-clients", options.most_clients), ("--largest-message", options.largest_message)):
        if number is not None and number < 1:
            raise ConfigError(f"{flag} is {number}; it must be at least 1")
    policy = foreact.load_policy(
        options.run,
        checkpoint=options.checkpoint,
        device=options.device,
        resize_images=options.resize_images,
        overrides=options.overrides(),
    )
    serve_policy(
        policy,
        name=str(options.run),
        options=ServerOptions(
            host=options.host,
            port=options.port,
            api_key=read_api_key(options.api_key_file),
            insecure=options.insecure,
            most_clients=options.most_clients,
            largest_message=None if options.largest_message is None else options.largest_message << 20,
        ),
        rename=options.rename,
        rename_file=options.rename_file,
    )
    return 0
