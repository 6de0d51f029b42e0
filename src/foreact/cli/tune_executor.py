"""`foreact tune-executor RUN --data D`: which way of executing chunks suits a policy, without a robot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from foreact.cli.options import parse
from foreact.errors import ConfigError
from foreact.sim.task import TaskConfig, level

if TYPE_CHECKING:
    from foreact.diagnose.tune_executor import Measured


@dataclass(frozen=True, kw_only=True)
class TuneExecutorOptions:
    """Sweep executed steps and ensemble coefficient on recorded episodes, held-out ones first, and recommend one.

    Each chunk is predicted once. With --task, each setting is also tried in simulation.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A run or a checkpoint directory."""
    data: Path | None = None
    """A data set; what the run was trained on where it is not given."""
    data_episodes: int = 20
    """How many of its episodes to look at."""
    task: str | None = None
    """A level of the simulation, L0 to L3, for its verdict beside the offline figures."""
    episodes: int = 20
    """How many to simulate a setting, all with the same seeds."""
    seed: int = 10000
    """Of the first of those."""
    checkpoint: str = "last"
    """Of a run: last, best, or a step's number."""
    device: str = "cpu"
    """Where the network runs."""
    json: Path | None = None
    """Write all figures and the recommendation here."""
    cache_dir: Path | None = None
    """Where decoded frames are kept; the user's cache where it is not given."""


def run(arguments: list[str]) -> int:
    """Parse, sweep, print, write and return 0."""
    options = parse(TuneExecutorOptions, arguments, command="tune-executor")
    for flag, number in (("--data-episodes", options.data_episodes), ("--episodes", options.episodes)):
        if number < 1:
            raise ConfigError(f"{flag} is {number}; it must be at least 1")
    task_level = None if options.task is None else level(options.task)

    from foreact.console import console, progress_bar
    from foreact.diagnose.examined import open_examined, seen_in_words
    from foreact.diagnose.tune_executor import candidates, measure, predict_episodes, recommend

    examined = open_examined(
        options.run,
        data=options.data,
        checkpoint=options.checkpoint,
        episodes=options.data_episodes,
        cache_dir=options.cache_dir,
        device=options.device,
    )
    policy = examined.policy
    with progress_bar("predicting", "chunks", disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(examined.dataset))
        episodes = predict_episodes(policy, examined.dataset, lambda n: bar.advance(task, n))
    measured = [measure(policy, episodes, settings) for settings in candidates(policy.executor_settings)]
    recommended = recommend(measured)
    if task_level is not None:
        measured = [_simulated(of, options, task_level) for of in measured]
        recommended = next(of for of in measured if of.name == recommended.name)

    title = f"{options.run} on {len(episodes)} episodes of {examined.data}, {seen_in_words(examined.held_out)}"
    print_table(measured, recommended, title, options.task)
    flags = f"--n-action-steps {recommended.n_action_steps}"
    if recommended.temporal_ensemble_coeff is not None:
        flags += f" --temporal-ensemble-coeff {recommended.temporal_ensemble_coeff:g}"
    elif policy.config.temporal_ensemble_coeff is not None:
        flags += " --no-ensemble"
    print(f"recommended: {recommended.name} ({flags}): near the least error, smooth, and asking no more than needed")
    best = max(
        (of for of in measured if of.success_rate is not None), key=lambda of: of.success_rate or 0, default=None
    )
    if best is not None and best.success_rate != recommended.success_rate:
        print(f"in simulation {best.name} succeeds most often: {best.success}, this one {recommended.success}")
    if options.json is not None:
        content = {
            "run": str(options.run),
            "data": examined.data,
            "episodes": len(episodes),
            "held_out": examined.held_out,
            "task": options.task,
            "settings": [{"name": of.name, **asdict(of)} for of in measured],
            "recommended": recommended.name,
            "own": {
                "n_action_steps": policy.config.n_action_steps,
                "temporal_ensemble_coeff": policy.config.temporal_ensemble_coeff,
            },
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    return 0


def _simulated(measured: Measured, options: TuneExecutorOptions, task: TaskConfig) -> Measured:
    """The same with the simulation's verdict."""
    from foreact.policy.checkpoint import load_policy
    from foreact.sim.evaluation import Evaluation
    from foreact.sim.rollout import rollout, task_for_policy

    overrides = {
        "n_action_steps": measured.n_action_steps,
        "temporal_ensemble_coeff": measured.temporal_ensemble_coeff,
        "asynchronous": False,
        "blend_steps": 0,
    }
    policy = load_policy(options.run, checkpoint=options.checkpoint, device=options.device, overrides=overrides)
    seeds = range(options.seed, options.seed + options.episodes)
    episodes = rollout(policy, task_for_policy(task, policy), seeds, name=measured.name)
    evaluation = Evaluation(name=measured.name, episodes=episodes)
    rate = evaluation.successes / len(evaluation.episodes)
    return replace(measured, success=evaluation.rate_text(), success_rate=rate)


def print_table(measured: Sequence[Measured], recommended: Measured, title: str, task: str | None) -> None:
    """Print a setting a row, the recommended one marked."""
    from rich.table import Table

    from foreact.console import out

    table = Table(title=title, title_justify="left")
    table.add_column("execution", no_wrap=True)
    for column in ("error", "disagreement", "jerk", "max jerk", "queries"):
        table.add_column(column, justify="right")
    if task is not None:
        table.add_column(f"success, {task}", justify="right")
    for of in measured:
        gap = "-" if of.disagreement is None else f"{of.disagreement:.3f}"
        figures = [f"{of.error:.3f}", gap, f"{of.jerk:.2f}", f"{of.jerk_max:.2f}", f"{of.queries:.2f}"]
        row = [f"{of.name} *" if of is recommended else of.name, *figures]
        success = "-" if of.success is None else of.success.partition(" = ")[0]  # its interval would not fit in
        table.add_row(*row, *([success] if task is not None else []))
    out.print(table)
    print(
        "error, disagreement: in standard deviations of the actions; jerk: 1 is the demonstrations' own, mean and max;"
    )
    print("queries: chunks asked for a tick; *: recommended")
