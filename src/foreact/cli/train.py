"""`foreact train PRESET --data DIR --out RUN`: train a policy on a data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from foreact.cli.options import parse, value_of
from foreact.config import PolicyConfig, RunConfig, TrainConfig
from foreact.errors import ConfigError
from foreact.presets import PRESETS, preset

_TO_LIGHTNING = ("--accelerator", "--devices", "--num-nodes", "--strategy")
"""Short for `--train.accelerator` and so on."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Train a policy. The preset comes first and gives every default below.

    Told where to act: so101-grounded, compact-grounded. As published: so101, r1pro, aloha. For a CPU: compact.
    """

    data: Path
    """Folder of the data set."""
    out: Path
    """Folder of the run: checkpoints, logs, configuration."""
    resume: bool = False
    """Continue the run in --out from its newest checkpoint."""
    calibration: Path | None = None
    """Where cameras and arm stand (foreact calibrate); what the data set says itself where it is not given."""
    tripwire: int | None = None
    """Steps between two looks at whether the coordinates are used, on held-out episodes: says so once they are not."""
    cache_dir: Path | None = None
    """Where decoded frames are kept; the user's cache where it is not given."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def run(arguments: list[str]) -> int:
    """Parse, train, and return 0, or 130 where Ctrl-C ended the training."""
    if not arguments or arguments[0].startswith("-"):
        if "--help" not in arguments and "-h" not in arguments:
            choices = ", ".join(PRESETS)
            raise ConfigError(f"no preset: type foreact train PRESET --data DIR --out RUN; choices: {choices}")
        name, rest = "so101", arguments
    else:
        name, *rest = arguments
    # Lightning's own options are known by these names everywhere.
    rest = [f"--train.{word[2:]}" if word.partition("=")[0] in _TO_LIGHTNING else word for word in rest]
    recipe = _recipe(name, rest)
    default = TrainOptions(data=tyro.MISSING, out=tyro.MISSING, policy=recipe.policy, train=recipe.train)
    options = parse(TrainOptions, rest, command=f"train {name}", default=default)

    from foreact.train.run import train

    callbacks = []
    if options.tripwire is not None:
        from foreact.diagnose.tripwire import Tripwire

        callbacks.append(Tripwire(every=options.tripwire, data=options.data))
    result = train(
        RunConfig(policy=options.policy, train=options.train),
        data=options.data,
        out=options.out,
        resume=options.resume,
        calibration=options.calibration,
        cache_dir=options.cache_dir,
        callbacks=callbacks,
    )
    if result.interrupted:
        return 130
    print(f"trained {result.step} steps: {result.checkpoint}")
    return 0


def _recipe(name: str, arguments: list[str]) -> RunConfig:
    """The preset, or with --resume what the run was started with, so that nothing has to be typed again."""
    recipe = preset(name)
    out = value_of(arguments, "--out")
    if "--resume" in arguments and out is not None:
        from foreact.train.run import read_run

        return read_run(out)
    return recipe
