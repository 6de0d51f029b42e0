"""All questions to one policy, worst answer first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from foreact.config import TrainConfig, train_config_from_dict
from foreact.console import console, progress_bar
from foreact.data.source import EpisodeSource
from foreact.diagnose.attention import attention_paid, judge_attention
from foreact.diagnose.collapse import collapse, judge_collapse
from foreact.diagnose.examined import open_examined
from foreact.diagnose.gradient import METRICS, judge_gradient, read_gradient_shares
from foreact.diagnose.inputs_used import IGNORED, InputsUsed, inputs_used, judge_inputs_used
from foreact.diagnose.other_cues import known_places, other_cues
from foreact.diagnose.probe import Probe
from foreact.diagnose.remedies import for_an_ignored_coordinate
from foreact.diagnose.response import demonstrated_response
from foreact.diagnose.sensitivity import judge_sensitivity, sensitivity
from foreact.diagnose.swap import USED, judge_swap, swap_test
from foreact.errors import ConfigError, DataError
from foreact.finding import Finding, worst_first
from foreact.policy.checkpoint import CHECKPOINTS, CheckpointMeta

EPISODES = 50
"""Episodes that the swap test and the collapse index are measured on."""
FEWER = 16
"""Episodes for what needs many predictions of each."""
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `foreact diagnose` found out."""

    run: str
    data: str
    step: int
    """Optimiser steps of the checkpoint."""
    episodes: int
    held_out: int
    """How many of the episodes the policy was not trained on."""
    conditioning: tuple[str, ...]
    findings: tuple[Finding, ...]
    """Worst first."""

    def finding(self, question: str) -> Finding | None:
        """Return the answer to a question; None where it was not asked."""
        return next((finding for finding in self.findings if finding.question == question), None)


def diagnose(
    run: str | Path,
    *,
    data: str | Path | None = None,
    checkpoint: str = "last",
    episodes: int = EPISODES,
    cache_dir: Path | None = None,
    device: str = "cpu",
) -> Report:
    """Ask a policy all questions.

    Args:
        run: A run or a checkpoint directory.
        data: A data set; None takes what the run was trained on.
        checkpoint: Of a run: "last", "best", or a step's number.
        episodes: How many to examine on; held-out ones first, then training episodes.
        cache_dir: Where decoded frames are kept; None for the user's cache.
        device: Where to compute.

    Raises:
        CheckpointError: If there is no policy, or it is damaged.
        ConfigError: If there are no episodes to examine on, or the run does not say what it was trained on.
        DataError: If the data set is missing, damaged or not what the policy takes.
    """
    if episodes < 1:
        raise ConfigError(f"--episodes is {episodes}; it must be at least 1")
    examined = open_examined(
        run, data=data, checkpoint=checkpoint, episodes=episodes, cache_dir=cache_dir, device=device
    )
    meta, policy, source, dataset = examined.meta, examined.policy, examined.source, examined.dataset
    log = _run_folder(examined.checkpoint) / METRICS
    with _progress() as advance:
        probe = Probe(policy.model, policy.inputs, policy.features, dataset, advance=advance)
        used = inputs_used(probe, episodes=FEWER)
        findings = _about_the_coordinate(probe, source, meta, used)
        if used is not None:
            findings.append(judge_inputs_used(used))
        findings.append(judge_gradient(read_gradient_shares(log)))
        findings.append(judge_attention(attention_paid(probe, policy.model)))
    return Report(
        run=str(run),
        data=examined.data,
        step=meta.step,
        episodes=len(dataset.episodes),
        held_out=examined.held_out,
        conditioning=policy.config.conditioning,
        findings=worst_first(findings),
    )


def _about_the_coordinate(
    probe: Probe, source: EpisodeSource, meta: CheckpointMeta, used: InputsUsed | None
) -> list[Finding]:
    if not probe.has_cue:
        n = probe.features.environment_dim
        return [
            Finding(
                question="coordinate",
                title="Is it told where to act?",
                verdict="uses the coordinate: there is no coordinate: "
                + (f"{n} dimension, x and y are needed" if n else "the policy was trained without (uncued)"),
                severity="note",
                remedy="train with --policy.use-environment-state on data with observation.environment_state (x, y)",
            )
        ]
    paired = len(set(source.scenes.values())) < len(source.scenes)
    remedy = for_an_ignored_coordinate(meta.policy, _train_config(meta), is_paired=paired)
    findings = []
    response = demonstrated_response(probe)
    trials = other_cues(probe.episodes, probe.cues(probe.samples(0.0)), known_places(source))
    obeys = False
    if response is not None and len(trials.episode):
        swapped = swap_test(probe, response, trials)
        obeys = swapped.rate >= USED
        findings.append(judge_swap(swapped, remedy))
    elif (change := None if used is None else used.change("coordinate exchanged")) is not None and change < IGNORED:
        findings.append(_untold(change))
    else:
        reason = "no other place is known" if response is not None else _NO_RESPONSE
        findings.append(_unknown("swap", f"uses the coordinate: cannot tell: {reason}"))
    sees = bool(probe.features.cameras)
    measured = sensitivity(probe, response, episodes=FEWER)
    findings.append(judge_sensitivity(measured, remedy, obeys=obeys, sees=sees))
    if response is not None:
        findings.append(judge_collapse(collapse(probe, response), remedy))
    else:
        findings.append(_unknown("collapse", f"collapse index: cannot tell: {_NO_RESPONSE}"))
    return findings


_NO_RESPONSE = "the demonstrations' first chunks hardly depend on the coordinate, or there are fewer than 5 episodes"


def _untold(change: float) -> Finding:
    return Finding(
        question="swap",
        title="Does it go to the block that is named?",
        verdict=f"uses the coordinate: no: another one changes the chunk by {change:.2f} (1 = as demonstrated)",
        severity="fault",
        remedy="the demonstrations hardly depend on their coordinates: check that these are the target's, in metres in "
        "the frame of the arm's base",
    )


def _unknown(question: str, verdict: str) -> Finding:
    return Finding(
        question=question,
        title="Does it go to the block that is named?" if question == "swap" else "Is it one trajectory for all?",
        verdict=verdict,
        severity="note",
        remedy="examine on more episodes (--episodes) whose targets stand further apart, or train longer chunks",
    )


def _train_config(meta: CheckpointMeta) -> TrainConfig | None:
    return train_config_from_dict(meta.provenance["train"]) if "train" in meta.provenance else None


def _run_folder(checkpoint: Path) -> Path:
    return checkpoint.parent.parent if checkpoint.parent.name == CHECKPOINTS else checkpoint


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """Show how many predictions were made; how many it will be depends on the answers."""
    with progress_bar("diagnosing", "predictions", disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda n: bar.advance(task, n)


def to_json(report: Report) -> str:
    """Return a report as JSON."""
    return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(report)}, indent=2, allow_nan=False) + "\n"


def read_report(path: str | Path) -> Report:
    """Return the report that `write_report` has left.

    Raises:
        DataError: If the file is not a report of this version.
    """
    try:
        content = json.loads(Path(path).read_text())
        if content.pop("schema_version") != SCHEMA_VERSION:
            raise ValueError("another schema version")
        findings = tuple(Finding(**finding) for finding in content.pop("findings"))
        return Report(**{**content, "conditioning": tuple(content["conditioning"]), "findings": findings})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{path}' is not a report of foreact diagnose: {error}") from error
