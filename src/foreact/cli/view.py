"""`foreact view DATA|RUN|EVAL`: an episode with what a policy predicts, as a recording of Rerun, as MP4 or as PNG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from foreact.cli.options import parse
from foreact.config import SourceConfig
from foreact.errors import ConfigError

if TYPE_CHECKING:
    from foreact.studio.view import View

_RECORDING = ".rrd"

Kind = Literal["a data set", "a policy on data", "a policy in simulation", "an evaluation"]
_CONCERN: dict[str, tuple[Kind, ...]] = {
    "episode": ("a data set", "a policy on data", "an evaluation"),
    "data": ("a policy on data",),
    "level": ("a policy in simulation", "an evaluation"),
    "seed": ("a policy in simulation",),
    "policy": ("an evaluation",),
    "checkpoint": ("a policy on data", "a policy in simulation"),
    "device": ("a policy on data", "a policy in simulation", "an evaluation"),
    "source": ("a data set",),
}
"""What each option is for; the others are for all."""


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """Look at an episode: cameras, curves, and in 3-D where the hand goes and where each predicted chunk would have it.

    A data set shows what was recorded; a run what it predicts along an episode of its data, or with --level an episode
    of its own in simulation; what `foreact eval --json` wrote the episode of that evaluation, played again.
    """

    what: Annotated[Path, tyro.conf.Positional]
    """A data set of any format that is read, a run, a checkpoint directory, a bundle, or a file of `eval --json`."""
    episode: tuple[int, ...] = ()
    """Which: a data set's own indices, or an evaluation's from 0 on; the first, of a run the first that it was not
    trained on, where none is given."""
    out: Path = Path("view")
    """A folder, or for one recording of Rerun a FILE.rrd."""
    mp4: bool = False
    """Write a video: cameras side by side, curves below. Needs no Rerun."""
    png: bool = False
    """Write figures: curves, the hand's path from above and from the side, a strip of pictures. Needs no Rerun."""
    data: Path | None = None
    """For a run: another data set than it was trained on."""
    level: str | None = None
    """For a run or a bundle: play in simulation, at L0, L1, L2 or L3. Of an evaluation at several: at which."""
    seed: tuple[int, ...] = (0,)
    """Of the episodes that a run or a bundle plays with --level."""
    policy: str = "policy"
    """Of an evaluation: whose episode, `policy` or a control's name."""
    checkpoint: str = "last"
    """Of a run: last, best, or a step's number."""
    device: str = "cpu"
    """Where the network runs."""
    source: SourceConfig = field(default_factory=SourceConfig)
    """For a data set. A run's data are read as they were for its training."""


def run(arguments: list[str]) -> int:
    """Parse, write, print where, and return 0."""
    options = parse(ViewOptions, arguments, command="view")
    kind = _kind_of(options)
    for option, kinds in _CONCERN.items():
        if kind not in kinds and getattr(options, option) != getattr(_DEFAULTS, option):
            raise ConfigError(f"--{option} is not for {kind}, which '{options.what}' is shown as; leave it out")
    is_file = options.out.suffix == _RECORDING
    as_recording = not (options.mp4 or options.png)
    if is_file and not as_recording:
        raise ConfigError(f"--out is '{options.out}', a recording of Rerun; give a folder for --mp4 and --png")
    n_episodes = len(options.seed) if kind == "a policy in simulation" else max(1, len(options.episode))
    if is_file and n_episodes != 1:
        raise ConfigError(f"--out is one file, '{options.out}', for {n_episodes} episodes; give a folder")
    if as_recording:  # where Rerun is missing, that is said before anything is computed
        import foreact.studio.view_rerun
    if options.mp4 or options.png:
        import matplotlib  # noqa: F401

    import logging

    from foreact.console import out

    logging.getLogger("foreact_runtime.limits").setLevel(logging.ERROR)  # the view shows what was limited
    for view in _views(options, kind):
        written = []
        if as_recording:
            written = [options.out if is_file else options.out / f"{view.name}{_RECORDING}"]
            foreact.studio.view_rerun.write_recording(view, written[0])
        if options.mp4:
            from foreact.studio.view_video import write_view_video

            written.append(options.out / f"{view.name}.mp4")
            write_view_video(view, written[0])
        if options.png:
            from foreact.studio.view_figures import write_figures

            written += write_figures(view, options.out)
        limited = "" if view.limited is None else f", {int(view.limited.any(axis=1).sum())} of them limited"
        out.print(f"{view.title}: {view.length} ticks{limited}", highlight=False, markup=False, soft_wrap=True)
        for path in written:
            out.print(f"  {path}", highlight=False, markup=False, soft_wrap=True)
    if as_recording:
        out.print("look at a recording with: rerun FILE.rrd", highlight=False)
    return 0


_DEFAULTS = ViewOptions(what=Path())


def _kind_of(options: ViewOptions) -> Kind:
    """Say what is to be shown."""
    if not options.what.exists():
        raise ConfigError(f"nothing is at '{options.what}'; give a data set, a run, a bundle or a file of eval --json")
    if options.what.suffix == ".json":
        return "an evaluation"
    if not _is_policy(options.what):
        return "a data set"
    return "a policy on data" if options.level is None else "a policy in simulation"


def _views(options: ViewOptions, kind: Kind) -> Iterator[View]:
    from foreact.data.source import open_source
    from foreact.studio.view import view_episode, view_policy_on_data

    if kind == "an evaluation":
        yield from _evaluated(options)
    elif kind == "a policy in simulation":
        assert options.level is not None
        yield from _played(options, options.level)
    elif kind == "a policy on data":
        chosen: tuple[int | None, ...] = options.episode or (None,)
        for episode in chosen:
            yield view_policy_on_data(
                options.what, episode, data=options.data, checkpoint=options.checkpoint, device=options.device
            )
    else:
        source = open_source(options.what, options.source)
        for index in options.episode or source.episode_indices[:1]:
            yield view_episode(source, index)


def _played(options: ViewOptions, name: str) -> Iterator[View]:
    from foreact.deploy.load import load_policy
    from foreact.sim.task import level
    from foreact.studio.view import checkpoint_part, name_of, view_rollout

    policy = load_policy(options.what, checkpoint=options.checkpoint, device=options.device)
    file = name_of(options.what, *checkpoint_part(options.checkpoint), name)
    for seed in options.seed:
        yield view_rollout(policy, level(name), seed, name=file, called=f"{options.what.name}, {name}")[0]


def _evaluated(options: ViewOptions) -> Iterator[View]:
    from foreact.console import warn
    from foreact.deploy.load import load_policy
    from foreact.studio.evaluation_file import evaluated_episode
    from foreact.studio.view import name_of, view_rollout

    for number in options.episode or (0,):
        of = evaluated_episode(options.what, number, name=options.policy, level=options.level)
        policy = load_policy(of.checkpoint, device=options.device, overrides=of.overrides)
        file = name_of(options.what.with_suffix(""), options.policy, of.level)
        view, outcome = view_rollout(policy, of.task, of.seed, name=file, called=f"{of.run.name}, {of.level}")
        if outcome != of.outcome:
            warn(
                f"seed {of.seed} ended as {of.outcome} in '{options.what}' and as {outcome} here: contacts carry on "
                "the last bits of sums, which depend on what is computed beside them; or the run has changed"
            )
        yield view


def _is_policy(path: Path) -> bool:
    from foreact.policy.checkpoint import CHECKPOINTS, CONFIG, RUN_FILE
    from foreact_runtime.bundle import is_bundle
    from foreact_runtime.manifest import MANIFEST

    return is_bundle(path) or any((path / of).exists() for of in (CHECKPOINTS, RUN_FILE, MANIFEST, CONFIG))
