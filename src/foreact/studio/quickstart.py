"""The main job end to end: demonstrations in, a policy out that picks the block it is told, and a report.

Every step continues where it was interrupted, so the same command can always be typed again.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from foreact.config import RunConfig
from foreact.console import console
from foreact.policy.checkpoint import CHECKPOINTS, find_checkpoint, load_policy
from foreact.presets import preset
from foreact.sim.episode import EpisodeResult
from foreact.sim.evaluation import Evaluation
from foreact.sim.expert_rollout import rollout_expert
from foreact.sim.record import RecordConfig, record
from foreact.sim.rollout import rollout, task_for_policy
from foreact.sim.task import TaskConfig, level
from foreact.sim.video import write_video
from foreact.studio.evaluation_file import evaluation_entry, write_evaluations
from foreact.studio.report import write_report
from foreact.studio.success_map import draw_success_map
from foreact.train.run import train

MISSING_CONTROLS = (
    "Not run: the control uncued (no coordinates) and the baseline (coordinates as a token, as other implementations "
    "have them); foreact quickstart --controls trains them on the same budget and adds them."
)

EVAL_SEED = 10_000
"""Far from the recorded seeds, which begin at 0."""


@dataclass(frozen=True, kw_only=True)
class QuickstartPlan:
    """How much of everything."""

    task: TaskConfig
    """What is demonstrated."""
    demonstrations: int = 500
    run: RunConfig
    levels: tuple[str, ...] = ("L1", "L2")
    """Where the policy is evaluated."""
    episodes: int = 50
    """Unseen ones a level."""
    video_episodes: int = 6


@dataclass(frozen=True, kw_only=True)
class QuickstartResult:
    """What the quickstart leaves behind; `finished` is False where Ctrl-C ended a step."""

    finished: bool
    report: Path | None = None
    video: Path | None = None
    evaluations: Mapping[str, tuple[Evaluation, ...]] = field(default_factory=dict)
    """By level; the policy's first, the expert's last."""


def plan(*, smoke: bool = False) -> QuickstartPlan:
    """Return the real plan, or a smoke test of every step with no claim on success."""
    # Other blocks as near as they ever stand: a policy learns to tell apart what it has seen side by side.
    task = level("L2", min_separation=0.06, overhead_size=(128, 128))
    recipe = preset("compact-grounded")
    if not smoke:  # the preset's 4000 gain little here, and 25 minutes are to be enough
        fewer = replace(recipe.train, steps=2500, val_every=500, save_every=500)
        return QuickstartPlan(task=task, run=replace(recipe, train=fewer))
    few = replace(recipe.train, steps=30, warmup_steps=5, val_every=15, save_every=15, log_every=10)
    return QuickstartPlan(task=task, run=replace(recipe, train=few), demonstrations=10, episodes=4, video_episodes=2)


def quickstart(plan: QuickstartPlan, out: Path, *, controls: bool = False) -> QuickstartResult:
    """Record, train, evaluate and report.

    Args:
        plan: How much.
        out: Folder for data, runs and report.
        controls: Also train the control without coordinates and the baseline that has them as a token, on the same
            budget. The control without pictures is always there.

    Raises:
        ForeactError: From any step, with its own message.
    """
    started = time.perf_counter()
    facts: dict[str, str] = {}
    _say(f"1/3 recording {plan.demonstrations} demonstrations")
    recorded = record(RecordConfig(task=plan.task, episodes=plan.demonstrations), out / "data")
    if not recorded.finished:
        return QuickstartResult(finished=False)
    facts["demonstrations"] = f"{recorded.recorded} recorded, {recorded.failed} failed tries of the expert left out"
    facts["recording"] = _minutes(started)

    policy = plan.run.policy
    variants = {"policy": plan.run, "blind": replace(plan.run, policy=replace(policy, cameras=()))}
    if controls:
        variants["uncued"] = replace(plan.run, policy=replace(policy, use_environment_state=False))
        variants["baseline"] = replace(plan.run, policy=replace(policy, conditioning=("token",)))
    evaluations: dict[str, list[Evaluation]] = {name: [] for name in plan.levels}
    seeds = range(EVAL_SEED, EVAL_SEED + plan.episodes)
    for name, run in variants.items():
        _say(f"2/3 training the {name} on {run.train.steps * run.train.batch_size} samples")
        begun = time.perf_counter()
        resume = any((out / name / CHECKPOINTS).glob("step-*"))
        result = train(run, data=out / "data", out=out / name, resume=resume)
        if result.interrupted:
            return QuickstartResult(finished=False)
        speed = f"{result.samples_per_s:.0f} samples/s, {result.data_wait:.1%} waiting for data"
        trained = f"{_minutes(begun)}; {speed}" if result.samples_per_s else "by an earlier call"
        facts[f"training ({name})"] = trained
        begun = time.perf_counter()
        for of_level, done in evaluations.items():
            _say(f"3/3 evaluating the {name} on {plan.episodes} unseen episodes at level {of_level}")
            done.append(Evaluation(name=name, episodes=_evaluate(out / name, level(of_level), seeds, name)))
        facts[f"evaluation ({name})"] = _minutes(begun)
    for of_level, done in evaluations.items():
        done.append(Evaluation(name="expert", episodes=rollout_expert(level(of_level), seeds)))

    facts["machine"] = f"{platform.machine()}, Python {platform.python_version()}"
    report, video = out / "report.html", out / "video.mp4"
    first = plan.levels[0]
    write_video(video, evaluations[first][0].episodes[: plan.video_episodes], level(first))
    draw_success_map(evaluations[first][0], out / "map.png")
    facts["this call"] = _minutes(started)
    checkpoints = {name: find_checkpoint(out / name) for name in variants}
    entries = [
        evaluation_entry(
            evaluation,
            level=of_level,
            task=level(of_level),
            seed=EVAL_SEED,
            run=out / evaluation.name if evaluation.name in variants else None,
            checkpoint=checkpoints.get(evaluation.name),
            facts=facts,
        )
        for of_level, done in evaluations.items()
        for evaluation in done
    ]
    write_evaluations(out / "eval.json", entries)
    write_report(
        report,
        title=f"Foreact quickstart: {plan.episodes} unseen episodes a level",
        evaluations={f"level {of_level}": done for of_level, done in evaluations.items()},
        facts=facts,
        commands=next_steps(out),
        missing_controls="" if controls else MISSING_CONTROLS,
        video=video,
        pictures={f"Success over the workspace, level {first}": out / "map.png"},
    )
    by_level = {of_level: tuple(done) for of_level, done in evaluations.items()}
    return QuickstartResult(finished=True, report=report, video=video, evaluations=by_level)


def next_steps(out: Path) -> tuple[tuple[str, str], ...]:
    """Return what to try next, as command and reason."""
    return (
        (f"foreact studio {out}/policy --data {out}/data", "in the browser: click a block and watch"),
        (f"foreact diagnose {out}/policy", "does it use what it is told, and what of it?"),
        (
            f"foreact eval {out}/policy --level L2 --task.confusers 3 3 --episodes 50",
            "three other blocks: more than it was trained with",
        ),
        (f"foreact eval {out}/policy --temporal-ensemble-coeff 0.01 --n-action-steps 1", "the paper's ensemble"),
        ("foreact record demos --level L2 --episodes 200 --cameras 128x128", "demonstrations of your own"),
        ("foreact train compact-grounded --data demos --out runs/mine", "a policy of your own"),
    )


def _evaluate(run: Path, task: TaskConfig, seeds: range, name: str) -> list[EpisodeResult]:
    policy = load_policy(run)
    return rollout(policy, task_for_policy(task, policy), seeds, name=name)


def _say(text: str) -> None:
    console.print(f"[bold]{text}[/]")


def _minutes(since: float) -> str:
    return f"{(time.perf_counter() - since) / 60:.1f} min"
