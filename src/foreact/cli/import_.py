"""`foreact import CKPT OUT`: a policy of LeRobot or of the original ACT as a checkpoint of ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from foreact.cli.options import parse
from foreact.deploy.unsaid import Unsaid


@dataclass(frozen=True, kw_only=True)
class ImportOptions(Unsaid):
    """Write a policy of LeRobot's ACT (all releases) or of the original ACT as a checkpoint of ours.

    It then acts, is diagnosed, exported and served like any other. No code of the files is run.
    """

    checkpoint: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CKPT")]
    """LeRobot: a pretrained_model folder, a checkpoint's or a training's, or user/name of the Hugging Face hub.
    Original ACT: a .ckpt, or its folder."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """The checkpoint directory to write."""
    revision: str | None = None
    """Of a repository of the hub: branch, tag or commit."""


def run(arguments: list[str]) -> int:
    """Parse, import, say what it is, and return 0."""
    options = parse(ImportOptions, arguments, command="import")

    from foreact.data.statistics import STEP
    from foreact.deploy.import_checkpoint import import_checkpoint

    foreign = import_checkpoint(options.checkpoint, options.out, options, revision=options.revision)
    policy, features = foreign.policy, foreign.features
    cameras = ", ".join(f"{of.name} {of.height}x{of.width}" for of in features.cameras) or "none"
    print(
        f"{options.out}: {foreign.project}'s ACT, chunks of {policy.chunk_size} x {features.action_dim}, state "
        f"{features.state_dim}, coordinates {features.environment_dim}, cameras: {cameras}, {features.fps:g} Hz"
    )
    if STEP in foreign.statistics:
        print("limits and alarm are learned from its training data")
    else:
        print(
            "its files do not say how fast its robot was moved: give --data, and limits and alarm are learned, or "
            "declare --velocity-limits and --jump-limits wherever it runs"
        )
    return 0
