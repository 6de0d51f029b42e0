"""`foreact studio [RUN|BUNDLE ...]`: a page in the browser on which one clicks a block and watches."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from foreact.cli.options import parse
from foreact.config import SourceConfig
from foreact.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class StudioOptions:
    """Serve a page with a live simulation, policies to choose from, and data sets to look at, until Ctrl-C."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Runs, checkpoint directories or bundles. The scripted expert is always there."""
    data: tuple[Path, ...] = ()
    """Data sets of any format that is read; nothing else on this machine can be opened from the page."""
    host: str = "127.0.0.1"
    """Where to listen; any other than this machine needs a key, or --insecure."""
    port: int = 8080
    """0 takes a free one."""
    api_key_file: Path | None = None
    """A file whose first line is the key that the page asks for."""
    insecure: bool = False
    """Listen beyond this machine without a key."""
    max_sessions: int = 4
    """Pages with a simulation at once, and as many with data sets."""
    level: str = "L1"
    """Difficulty that a new page begins with: L0, L1, L2 or L3."""
    seed: int = 0
    """Of the scene that a new page begins with."""
    checkpoint: str = "last"
    """Of runs: last, best, or a step's number."""
    device: str = "cpu"
    """Where networks run."""
    source: SourceConfig = field(default_factory=SourceConfig)


def run(arguments: list[str]) -> int:
    """Parse, serve until Ctrl-C or SIGTERM, and return 0."""
    options = parse(StudioOptions, arguments, command="studio")

    import logging

    from foreact.studio.recordings import Recordings
    from foreact.studio.server import Studio, serve
    from foreact.studio.server import StudioOptions as ServerOptions
    from foreact.studio.setup import Setup
    from foreact.studio.shelf import Shelf
    from foreact_runtime.serve.command import read_api_key
    from foreact_runtime.serve.door import check_host

    check_host(options.host, has_key=options.api_key_file is not None, insecure=options.insecure)
    if options.max_sessions < 1:
        raise ConfigError(f"--max-sessions is {options.max_sessions}; it must be at least 1")
    shelf = Shelf(options.runs, checkpoint=options.checkpoint, device=options.device)
    first = Setup(policy=shelf.names[0], level=options.level, seed=options.seed)
    if first.policy in shelf.paths:
        shelf.open(first.policy)  # a wrong path is said here, and not on a page
    recordings = Recordings(options.data, options.source)
    for name in recordings.names:
        _ = recordings[name].source
    server = ServerOptions(
        host=options.host,
        port=options.port,
        api_key=read_api_key(options.api_key_file),
        most_sessions=options.max_sessions,
    )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("foreact_runtime.limits").setLevel(logging.ERROR)  # the page counts what was limited
    serve(Studio(shelf, recordings, server, first))
    return 0
