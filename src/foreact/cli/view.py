"""`foreact view DATA|RUN|EVAL`: an episode with what a policy predicts, as a recording of Rerun, as MP4 or as PNG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from foreact.cli.options import parse
from foreact.errors import ConfigError

if TYPE_CHECKING:
    from foreact.studio.view import View

_RECORDING = ".rrd"


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
    """For a run or a bundle: play in simulation, at L0, L1, L2 or L3."""
    seed: tuple[int, ...] = (0,)
    """Of the episodes that are played with --level."""
    policy: str = "policy"
    """Of an evaluation: whose episode, `policy` or a control's name."""
    checkpoint: str = "last"
    """Of a run: last, best, or a step's number."""
    device: str = "cpu"
    """Where the network runs."""


def run(arguments: list[str]) -> int:
    """Parse, write, print where, and return 0."""
    options = parse(ViewOptions, arguments, command="view")
    is_file = options.out.suffix == _RECORDING
    as_recording = not (options.mp4 or options.png)
    if is_file and not as_recording:
        raise ConfigError(f"--out is '{options.out}', a recording of Rerun; give a folder for --mp4 and --png")
    n_episodes = len(options.seed) if options.level is not None else max(1, len(options.episode))
    if is_file and n_episodes != 1:
        raise ConfigError(f"--out is one file, '{options.out}', for {n_episodes} episodes; give a folder")
    if as_recording:  # where Rerun is missing, that is said before anything is computed
        import foreact.studio.view_rerun
    if options.mp4 or options.png:
        import matplotlib  # noqa: F401

    import logging

    from foreact.console import out

    logging.getLogger("foreact_runtime.limits").setLevel(logging.ERROR)  # the view shows what was limited
    for view in _views(options):
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


def _views(options: ViewOptions) -> Iterator[View]:
    from foreact.data.source import open_source
    from foreact.studio.view import view_episode, view_policy_on_data

    if not options.what.exists():
        raise ConfigError(f"nothing is at '{options.what}'; give a data set, a run, a bundle or a file of eval --json")
    if options.what.suffix == ".json":
        yield from _evaluated(options)
    elif not _is_policy(options.what):
        if options.level is not None or options.data is not None:
            raise ConfigError(f"'{options.what}' is no run or bundle; --level and --data are for those")
        source = open_source(options.what)
        for index in options.episode or source.episode_indices[:1]:
            yield view_episode(source, index)
    elif options.level is not None:
        if options.episode or options.data is not None:
            raise ConfigError("--level plays new episodes, by --seed; --episode and --data are for recorded ones")
        yield from _played(options, options.level)
    else:
        chosen: tuple[int | None, ...] = options.episode or (None,)
        for episode in chosen:
            yield view_policy_on_data(
                options.what, episode, data=options.data, checkpoint=options.checkpoint, device=options.device
            )


def _played(options: ViewOptions, name: str) -> Iterator[View]:
    from foreact.policy.load import load_policy
    from foreact.sim.task import level
    from foreact.studio.view import view_rollout

    policy = load_policy(options.what, checkpoint=options.checkpoint, device=options.device)
    for seed in options.seed:
        yield view_rollout(policy, level(name), seed, called=f"{options.what.name}, {name}")[0]


def _evaluated(options: ViewOptions) -> Iterator[View]:
    from foreact.console import warn
    from foreact.policy.load import load_policy
    from foreact.studio.view import evaluated_episode, view_rollout

    for number in options.episode or (0,):
        of = evaluated_episode(options.what, number, name=options.policy)
        policy = load_policy(of.run, checkpoint=options.checkpoint, device=options.device, overrides=of.overrides)
        view, outcome = view_rollout(policy, of.task, of.seed, called=f"{of.run.name}, {of.level}")
        if outcome != of.outcome:
            warn(
                f"seed {of.seed} ended as {of.outcome} in '{options.what}' and as {outcome} here: contacts carry on "
                "the last bits of sums, which depend on what is computed beside them; or the run has changed"
            )
        yield view


def _is_policy(path: Path) -> bool:
    from foreact.policy.checkpoint import CHECKPOINTS, CONFIG
    from foreact_runtime.bundle import is_bundle
    from foreact_runtime.manifest import MANIFEST

    return is_bundle(path) or (path / CHECKPOINTS).is_dir() or any((path / of).is_file() for of in (MANIFEST, CONFIG))
