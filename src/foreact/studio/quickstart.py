"""The main job end to end: demonstrations in, a policy out that picks the block it is told, and a report.

Every step continues where it was interrupted, so the same command can always be typed again.
"""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from foreact.config import RunConfig
from foreact.console import console
from foreact.policy.checkpoint import CHECKPOINTS, load_policy
from foreact.presets import preset
from foreact.sim.episode import EpisodeResult
from foreact.sim.evaluation import Evaluation
from foreact.sim.expert_rollout import rollout_expert
from foreact.sim.record import RecordConfig, record
from foreact.sim.rollout import rollout, task_for_policy
from foreact.sim.task import TaskConfig, level
from foreact.sim.video import write_video
from foreact.studio.report import write_report
from foreact.studio.success_map import draw_success_map
from foreact.train.run import train

MISSING_CONTROLS = (
    "Not run: the controls blind (no images) and uncued (no coordinates); "
    "foreact quickstart --controls trains them on the same budget and adds them."
)

EVAL_SEED = 10_000
"""Far from the recorded seeds, which begin at 0."""


@dataclass(frozen=True, kw_only=True)
class QuickstartPlan:
    """How much of everything."""

    level: str = "L1"
    demonstrations: int = 400
    run: RunConfig
    episodes: int = 50
    """Unseen ones to evaluate."""
    video_episodes: int = 6


@dataclass(frozen=True, kw_only=True)
class QuickstartResult:
    """What the quickstart leaves behind; `finished` is False where Ctrl-C ended a step."""

    finished: bool
    report: Path | None = None
    video: Path | None = None
    evaluations: tuple[Evaluation, ...] = ()


def plan(*, smoke: bool = False) -> QuickstartPlan:
    """Return the real plan, or a smoke test of every step with no claim on success."""
    recipe = preset("compact")
    if not smoke:
        return QuickstartPlan(run=recipe)
    few = replace(recipe.train, steps=30, warmup_steps=5, val_every=15, save_every=15, log_every=10)
    return QuickstartPlan(run=replace(recipe, train=few), demonstrations=10, episodes=4, video_episodes=2)


def quickstart(plan: QuickstartPlan, out: Path, *, controls: bool = False) -> QuickstartResult:
    """Record, train, evaluate and report.

    Args:
        plan: How much.
        out: Folder for data, runs and report.
        controls: Also train the blind control (no images) and the uncued one (no coordinates) on the same budget.

    Raises:
        ForeactError: From any step, with its own message.
    """
    started = time.perf_counter()
    facts: dict[str, str] = {}
    task = level(plan.level)
    _say(f"1/3 recording {plan.demonstrations} demonstrations at level {plan.level}")
    recorded = record(RecordConfig(task=task, episodes=plan.demonstrations), out / "data")
    if not recorded.finished:
        return QuickstartResult(finished=False)
    facts["demonstrations"] = f"{recorded.recorded} recorded, {recorded.failed} failed tries of the expert left out"
    facts["recording"] = _minutes(started)

    variants = {"policy": plan.run}
    if controls:
        policy = plan.run.policy
        variants["blind"] = replace(plan.run, policy=replace(policy, cameras=()))
        variants["uncued"] = replace(plan.run, policy=replace(policy, use_environment_state=False))
    evaluations = []
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
        _say(f"3/3 evaluating the {name} on {plan.episodes} unseen episodes")
        begun = time.perf_counter()
        evaluations.append(Evaluation(name=name, episodes=_evaluate(out / name, task, seeds, name)))
        facts[f"evaluation ({name})"] = _minutes(begun)
    evaluations.append(Evaluation(name="expert", episodes=rollout_expert(task, seeds)))

    facts["machine"] = f"{platform.machine()}, Python {platform.python_version()}"
    report, video = out / "report.html", out / "video.mp4"
    write_video(video, evaluations[0].episodes[: plan.video_episodes], task)
    draw_success_map(evaluations[0], out / "map.png")
    facts["this call"] = _minutes(started)
    settings = {"level": plan.level, "task": asdict(task), "seed": EVAL_SEED, **facts}
    (out / "eval.json").write_text(json.dumps([e.to_dict(settings) for e in evaluations], indent=2) + "\n")
    write_report(
        report,
        title=f"Foreact quickstart: level {plan.level}, {plan.episodes} unseen episodes",
        evaluations=evaluations,
        facts=facts,
        commands=next_steps(out),
        missing_controls="" if controls else MISSING_CONTROLS,
        video=video,
        pictures={"Success over the workspace": out / "map.png"},
    )
    return QuickstartResult(finished=True, report=report, video=video, evaluations=tuple(evaluations))


def next_steps(out: Path) -> tuple[tuple[str, str], ...]:
    """Return what to try next, as command and reason."""
    return (
        (f"foreact eval {out}/policy --level L0 --episodes 50", "the same policy with an exact cue"),
        (
            f"foreact eval {out}/policy --level L2 --episodes 50",
            "turned blocks, a worse cue: harder than trained for",
        ),
        (f"foreact eval {out}/policy --temporal-ensemble-coeff 0.01 --n-action-steps 1", "the paper's ensemble"),
        ("foreact record demos --level L2 --episodes 200 --cameras 128x128", "demonstrations of your own"),
        ("foreact train compact --data demos --out runs/mine", "a policy of your own"),
    )


def _evaluate(run: Path, task: TaskConfig, seeds: range, name: str) -> list[EpisodeResult]:
    policy = load_policy(run)
    return rollout(policy, task_for_policy(task, policy), seeds, name=name)


def _say(text: str) -> None:
    console.print(f"[bold]{text}[/]")


def _minutes(since: float) -> str:
    return f"{(time.perf_counter() - since) / 60:.1f} min"
