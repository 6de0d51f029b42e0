"""`foreact eval RUN --level L1 --episodes 100`: measure a policy in simulation, beside its controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from foreact.cli.executor_options import ExecutorOptions
from foreact.cli.options import given, parse
from foreact.cli.task_options import level_of
from foreact.config import Latent
from foreact.errors import ConfigError, DataError
from foreact.sim.task import TaskConfig, level

if TYPE_CHECKING:
    from foreact.sim.evaluation import Evaluation
    from foreact.sim.rollout import ActingPolicy


_POLICY, _EXPERT = "policy", "expert"
"""Names in the table that no control may take."""


@dataclass(frozen=True, kw_only=True)
class EvalOptions(ExecutorOptions):
    """Measure a policy in simulation: success with its 95 % Wilson interval, outcomes, wrong blocks apart.

    The scripted expert runs on the same seeds. Policies trained blind (no images) or uncued (no coordinates) join
    the table with --controls blind RUN uncued RUN.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A run, a checkpoint directory or a bundle (`foreact export`)."""
    level: str = "L1"
    """Difficulty: L0, L1, L2 or L3; its parts can be changed one by one with --task options."""
    episodes: int = 50
    """One seed each."""
    seed: int = 10000
    """Seed of the first episode; each further one takes the next."""
    positions: Literal["uniform", "clusters", "target_clusters", "held-out"] | None = None
    """Where targets stand instead of the level's choice; `held-out` keeps away from every position in the training
    data. --task.positions takes a list."""
    held_out_distance: float = 0.005
    """How far [m] held-out targets keep away."""
    controls: dict[str, Path] = field(default_factory=dict)
    """Other runs for the table, as NAME RUN pairs, with the same settings of the executor."""
    expert: bool = True
    """Run the scripted expert on the same seeds."""
    checkpoint: str = "last"
    """Of a run: last, best, or a step's number."""
    latent: Latent = "zero"
    """`prior` samples the latent instead of taking its mode."""
    envs: int | None = None
    """Processes, each with a copy of the policy, one thread and four episodes at a time; one a core where it is not
    given."""
    device: str = "cpu"
    """Where the network runs."""
    json: Path | None = None
    """Write everything that was measured here."""
    video: Path | None = None
    """Write an MP4 of the first episodes here: both cameras, the cue drawn in."""
    video_episodes: int = 6
    """How many episodes the video shows."""
    map: Path | None = None
    """Write a PNG of success over the workspace here."""
    task: TaskConfig = field(default_factory=TaskConfig)


def run(arguments: list[str]) -> int:
    """Parse, measure, print and return 0."""
    name, task = level_of(arguments, "L1")
    default = EvalOptions(run=tyro.MISSING, level=name, task=task)
    options = parse(EvalOptions, arguments, command="eval", default=default)

    from foreact.console import console
    from foreact.deploy.load import load_policy
    from foreact.policy.checkpoint import find_checkpoint
    from foreact.sim.evaluation import Evaluation
    from foreact.sim.expert_rollout import rollout_expert
    from foreact.sim.rollout import rollout, task_for_policy

    for flag, number in (("--episodes", options.episodes), ("--video-episodes", options.video_episodes)):
        if number < 1:
            raise ConfigError(f"{flag} is {number}; it must be at least 1")
    for taken in {_POLICY, _EXPERT} & set(options.controls):
        raise ConfigError(f"--controls has the name '{taken}', which another column of the table has; choose another")
    overrides = {**given(latent=options.latent), **options.overrides()}
    runs = {_POLICY: options.run, **options.controls}
    checkpoints = {_POLICY: find_checkpoint(options.run, options.checkpoint)}
    checkpoints |= {name: find_checkpoint(of) for name, of in options.controls.items()}
    policy = load_policy(checkpoints[_POLICY], device=options.device, overrides=overrides)
    executor = policy.executor_settings
    if executor.asynchronous:
        console.print(
            "asynchronous: in an evaluation chunks come at once; foreact serve and drive play them in real time"
        )
    if executor.alarm.action in ("hold", "stop"):
        console.print(f"on_alarm: in an evaluation no alarm is raised that would {executor.alarm.action} the arm")
    task = _task_for(policy, options)
    seeds = range(options.seed, options.seed + options.episodes)
    _check_fresh(options.run, options.checkpoint, seeds)

    evaluations = [Evaluation(name=_POLICY, episodes=rollout(policy, task, seeds, n_envs=options.envs))]
    for name in options.controls:
        control = load_policy(checkpoints[name], device=options.device, overrides=overrides)
        episodes = rollout(control, task_for_policy(task, control), seeds, n_envs=options.envs, name=name)
        evaluations.append(Evaluation(name=name, episodes=episodes))
    if options.expert:
        evaluations.append(Evaluation(name=_EXPERT, episodes=rollout_expert(task, seeds, n_processes=options.envs)))

    changed = changed_options(task, level(options.level, **same_pictures(task)))
    title = f"{options.run}, {options.level}{changed}, seeds {seeds[0]} to {seeds[-1]}"
    print_table(evaluations, title)
    missing = [name for name in ("blind", "uncued", _EXPERT) if name not in {e.name for e in evaluations}]
    if missing:
        print(f"not run: {', '.join(missing)}; add --controls blind RUN uncued RUN (docs/walkthrough.md trains them)")
    if options.json is not None:
        from foreact.studio.evaluation_file import evaluation_entry, write_evaluations

        entries = [
            evaluation_entry(
                evaluation,
                level=options.level,
                task=task,
                seed=options.seed,
                run=runs.get(evaluation.name),
                checkpoint=checkpoints.get(evaluation.name),
                overrides=overrides,
            )
            for evaluation in evaluations
        ]
        write_evaluations(options.json, entries)
    if options.video is not None:
        from foreact.sim.video import write_video

        write_video(options.video, evaluations[0].episodes[: options.video_episodes], task)
    if options.map is not None:
        from foreact.studio.success_map import draw_success_map

        options.map.parent.mkdir(parents=True, exist_ok=True)
        draw_success_map(evaluations[0], options.map)
    return 0


def _task_for(policy: ActingPolicy, options: EvalOptions) -> TaskConfig:
    from foreact.sim.rollout import task_for_policy

    task = task_for_policy(options.task, policy)
    if options.positions is None:
        return task
    if options.positions != "held-out":
        return replace(task, positions=options.positions)
    from foreact.sim.record import recorded_scenes

    scenes = [scene for path in _data_of(options.run, options.checkpoint) for scene in recorded_scenes(path)]
    targets = tuple((scene["target"][0], scene["target"][1]) for scene in scenes)
    return replace(task, exclude=targets, exclude_radius=options.held_out_distance)


def _data_of(run: Path, checkpoint: str) -> tuple[Path, ...]:
    from foreact.deploy.load import trained_on

    paths = trained_on(run, checkpoint)
    if not paths:
        raise DataError(f"'{run}' does not say what it was trained on, so nothing can be held out of it")
    return paths


def _check_fresh(run: Path, checkpoint: str, seeds: Sequence[int]) -> None:
    """A seed that was recorded gives the very scene that the policy was trained on."""
    from foreact.sim.record import recorded_scenes

    try:
        scenes = [scene for path in _data_of(run, checkpoint) for scene in recorded_scenes(path)]
    except DataError:  # not recorded in simulation, or the data are elsewhere: nothing to compare with
        return
    seen = sorted({scene["seed"] for scene in scenes} & set(seeds))
    if seen:
        raise ConfigError(
            f"seeds {seen[0]} to {seen[-1]} were recorded in the training data, so the policy has seen these scenes; "
            "choose another --seed"
        )


def same_pictures(task: TaskConfig) -> dict[str, Any]:
    """Return the options of a task that a policy decides: cameras, their sizes and the rate."""
    names = ("cameras", "overhead_size", "wrist_size", "fps")
    return {name: getattr(task, name) for name in names}


def changed_options(task: TaskConfig, level_task: TaskConfig) -> str:
    """Return `, cue_sigma 0.03` and so on for what differs from the level, so that a title does not claim it."""
    differing = [
        f for f in fields(task) if getattr(task, f.name) != getattr(level_task, f.name) and f.name != "exclude"
    ]
    return "".join(f", {field.name} {getattr(task, field.name)}" for field in differing)


def print_table(evaluations: Sequence[Evaluation], title: str) -> None:
    """Print outcomes a row, policies a column."""
    from rich.table import Table

    from foreact.console import out
    from foreact.sim.outcome import OUTCOMES

    table = Table(title=title, title_justify="left")
    table.add_column("outcome")
    for evaluation in evaluations:
        table.add_column(evaluation.name, justify="right")
    for name in OUTCOMES:
        table.add_row(name, *(str(evaluation.outcomes[name]) for evaluation in evaluations))
    table.add_section()
    table.add_row("success", *(evaluation.rate_text() for evaluation in evaluations))
    table.add_row("wrong block", *(str(evaluation.confusions) for evaluation in evaluations))
    table.add_row("limited actions", *(str(evaluation.limited) for evaluation in evaluations))
    errors = (evaluation.closing_error_mm for evaluation in evaluations)
    table.add_row("median closing error [mm]", *("-" if error is None else f"{error:.1f}" for error in errors))
    table.add_row("mean steps of a success", *(f"{evaluation.mean_steps:.1f}" for evaluation in evaluations))
    table.add_row("mean seconds of a success", *(f"{evaluation.mean_seconds:.1f}" for evaluation in evaluations))
    out.print(table)
