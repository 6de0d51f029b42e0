"""`foreact serve RUN|BUNDLE`: a policy over a websocket, for robots, BEHAVIOR-1K's evaluators and openpi's clients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from foreact.cli.executor_options import ExecutorOptions
from foreact.cli.options import parse
from foreact_runtime.serve.options import ServingOptions

if TYPE_CHECKING:
    from foreact_runtime.robot_policy import RobotPolicy


@dataclass(frozen=True, kw_only=True)
class ServeOptions(ServingOptions, ExecutorOptions):
    """Serve a policy until Ctrl-C. Each client has its own executor; docs/serving.md has the protocol."""

    run: Annotated[Path, tyro.conf.Positional]
    """A run, a checkpoint directory or a bundle."""
    checkpoint: str = "last"
    """Of a run: last, best, or a step's number."""
    device: str = "cpu"
    """Where the network runs."""


def run(arguments: list[str]) -> int:
    """Parse, load, serve until Ctrl-C or SIGTERM, and return 0."""
    options = parse(ServeOptions, arguments, command="serve")
    overrides = options.overrides()

    import foreact
    from foreact_runtime.serve.command import serve_policy

    def load() -> RobotPolicy:
        return foreact.load_policy(
            options.run,
            checkpoint=options.checkpoint,
            device=options.device,
            backend=options.backend,
            threads=options.threads,
            resize_images=options.resize_images,
            overrides=overrides,
        )

    serve_policy(load, name=str(options.run), options=options)
    return 0
