"""`foreact train PRESET --data DIR --out RUN`: train a policy on a data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from foreact.cli.options import parse, value_of
from foreact.config import PolicyConfig, RunConfig, SourceConfig, TrainConfig
from foreact.errors import ConfigError
from foreact.presets import PRESETS, preset

_SHORT = ("--accelerator", "--devices", "--num-nodes", "--strategy", "--stream")
"""Short for `--train.accelerator` and so on; the first four are Lightning's, which are known by these names."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Train a policy. The preset comes first and gives every default below.

    Told where to act: so101-grounded, compact-grounded. As published: so101, r1pro, aloha. For a CPU: compact.
    Where the decoded frames do not fit on the disk, --stream 20 makes do with 20 GB of it.
    """

    data: tuple[Path, ...]
    """Folder of the data set, or of several that are mixed; --train.source-weights gives each its share."""
    out: Path
    """Folder of the run: checkpoints, logs, configuration."""
    resume: bool = False
    """Continue the run in --out from its newest checkpoint."""
    skip_bad: bool = False
    """Go on without damaged episodes; each is named with what is wrong."""
    calibration: Path | None = None
    """Where cameras and arm stand (foreact calibrate); what the data set says itself where it is not given."""
    tripwire: int | None = None
    """Steps between two looks at whether the coordinates are used, on held-out episodes: says so once they are not."""
    cache_dir: Path | None = None
    """Where decoded frames are kept; the user's cache where it is not given."""
    threads: int | None = None
    """To compute with on a CPU; where it is not given $OMP_NUM_THREADS, or with --resume as many as before, or as many
    as there are free cores."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    source: SourceConfig = field(default_factory=SourceConfig)


def run(arguments: list[str]) -> int:
    """Parse, train, and return 0, or 130 where Ctrl-C ended the training."""
    if not arguments or arguments[0].startswith("-"):
        if "--help" not in arguments and "-h" not in arguments:
            choices = ", ".join(PRESETS)
            raise ConfigError(f"no preset: type foreact train PRESET --data DIR --out RUN; choices: {choices}")
        name, rest = "so101", arguments
    else:
        name, *rest = arguments
    rest = [f"--train.{word[2:]}" if word.partition("=")[0] in _SHORT else word for word in rest]
    if sum(word.partition("=")[0] == "--data" for word in rest) > 1:  # the parser would take the last
        raise ConfigError("--data was given twice; name all data sets behind one: --data A B")
    recipe = _recipe(name, rest)
    default = TrainOptions(
        data=tyro.MISSING, out=tyro.MISSING, policy=recipe.policy, train=recipe.train, source=recipe.source
    )
    options = parse(TrainOptions, rest, command=f"train {name}", default=default)

    from foreact.data.bad_episodes import left_out_text
    from foreact.memory import keep_freed_memory
    from foreact.train.run import train

    keep_freed_memory()
    callbacks = []
    if options.tripwire is not None:
        from foreact.diagnose.tripwire import Tripwire

        callbacks.append(Tripwire(every=options.tripwire, data=options.data, source=options.source))
    result = train(
        RunConfig(policy=options.policy, train=options.train, source=options.source),
        data=options.data,
        out=options.out,
        resume=options.resume,
        skip_bad=options.skip_bad,
        calibration=options.calibration,
        cache_dir=options.cache_dir,
        callbacks=callbacks,
        threads=options.threads or "free",
    )
    if result.interrupted:
        return 130
    without = f"; {left_out_text(result.left_out, result.n_episodes)}" if result.left_out else ""
    print(f"trained {result.step} steps: {result.checkpoint}{without}")
    return 0


def _recipe(name: str, arguments: list[str]) -> RunConfig:
    """The preset, or with --resume what the run was started with, so that nothing has to be typed again."""
    recipe = preset(name)
    out = value_of(arguments, "--out")
    if "--resume" in arguments and out is not None:
        from foreact.train.run import read_run

        return read_run(out)
    return recipe
