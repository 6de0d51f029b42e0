"""All questions to one policy, worst answer first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from foreact.console import console, progress_bar
from foreact.data.coordinates import read_other_places
from foreact.diagnose.about_chunks import about_the_chunks
from foreact.diagnose.about_coordinate import about_the_coordinate
from foreact.diagnose.attention import attention_paid, judge_attention
from foreact.diagnose.examined import (
    Examined,
    earlier_checkpoint,
    open_examined,
    train_config,
    training_samples,
    whole_network,
)
from foreact.diagnose.gradient import judge_gradient, read_gradient_shares
from foreact.diagnose.gradient_flow import gradient_flow, judge_gradient_flow
from foreact.diagnose.inputs_used import inputs_used, judge_inputs_used
from foreact.diagnose.latent_used import judge_latent_used, latent_used
from foreact.diagnose.normalisation import judge_normalisation, normalisation
from foreact.diagnose.other_cues import Place
from foreact.diagnose.out_of_range import judge_out_of_range, measure_out_of_range
from foreact.diagnose.overfitting import FEW_EPISODES, judge_overfitting, overfitting
from foreact.diagnose.pictures_as_trained import judge_pictures_as_trained, pictures_as_trained
from foreact.diagnose.probe import FEWER, Probe
from foreact.diagnose.run_log import METRICS, read_log
from foreact.diagnose.training_curve import constant_error, judge_training_curve, training_curve
from foreact.errors import ConfigError, DataError
from foreact.finding import Finding, worst_first
from foreact.policy.checkpoint import read_meta, read_weights

EPISODES = 50
"""Episodes that the swap test and the collapse index are measured on."""
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `foreact diagnose` found out."""

    run: str
    data: str
    step: int
    """Optimiser steps of the checkpoint."""
    episodes: int
    held_out: int | None
    """How many of the episodes the policy was not trained on; None where the checkpoint does not say."""
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
    others: str | Path | None = None,
) -> Report:
    """Ask a policy all questions.

    Args:
        run: A run or a checkpoint directory.
        data: A data set; None takes what the run was trained on.
        checkpoint: Of a run: "last", "best", or a step's number.
        episodes: How many to examine on; held-out ones first, then training episodes.
        cache_dir: Where decoded frames are kept; None for the user's cache.
        device: Where to compute.
        others: File of where other blocks stood (`read_other_places`), for the swap test of data that do not say it.

    Raises:
        CheckpointError: If there is no policy, or it is damaged.
        ConfigError: If there are no episodes to examine on, or the run does not say what it was trained on.
        DataError: If the data set is missing, damaged or not what the policy takes.
    """
    if episodes < 1:
        raise ConfigError(f"--episodes is {episodes}; it must be at least 1")
    places = None if others is None else read_other_places(Path(others))
    examined = open_examined(
        run, data=data, checkpoint=checkpoint, episodes=episodes, cache_dir=cache_dir, device=device
    )
    policy = examined.policy
    with _progress() as advance:
        probe = Probe(policy.model, policy.inputs, policy.features, examined.dataset, advance=advance)
        findings = worst_first(list(_answers(examined, probe, advance, places)))
    return Report(
        run=str(run),
        data=examined.data,
        step=examined.meta.step,
        episodes=len(examined.dataset.episodes),
        held_out=examined.held_out,
        conditioning=policy.config.conditioning,
        findings=findings,
    )


def _answers(
    examined: Examined,
    probe: Probe,
    advance: Callable[[int], None],
    others: Mapping[int, tuple[Place, ...]] | None,
) -> Iterator[Finding]:
    """Ask one question after the other. Among equally bad answers the order here is that of the page.

    A question is a file: what it measures, and a `judge_` that puts it into words. Its picture is registered in
    `pictures.py`; rows under `table` in its evidence become a table.
    """
    # What goes in.
    used = inputs_used(probe, episodes=FEWER)
    yield from about_the_coordinate(probe, examined.source, examined.meta, used, others)
    if used is not None:
        yield judge_inputs_used(used)
    pictures = pictures_as_trained(probe, episodes=FEWER)
    if pictures is not None:
        yield judge_pictures_as_trained(pictures)
    yield judge_normalisation(normalisation(probe, examined.policy.config))
    yield judge_out_of_range(measure_out_of_range(examined.policy, examined.dataset))
    # What comes out: the chunks.
    yield from about_the_chunks(examined, advance)
    # What the network is and how it was trained.
    yield from _about_the_network(examined, probe)
    yield judge_attention(attention_paid(probe, examined.policy.model))


def _about_the_network(examined: Examined, probe: Probe) -> Iterator[Finding]:
    config, train = examined.policy.config, train_config(examined.meta)
    path = examined.run_folder / METRICS
    log = read_log(path)
    yield judge_training_curve(training_curve(log, constant_error(probe), train), train)
    seen = training_samples(examined, FEWER)
    n_seen = 0 if seen is None else len(seen.indices)
    overfits = None
    n_fresh = examined.held_out or 0
    if seen is not None and min(n_seen, n_fresh) >= FEW_EPISODES:
        overfits = overfitting(probe, n_fresh, probe.of(seen))
    why_not = f"{n_seen} training and {n_fresh} held-out episodes are known, {FEW_EPISODES} of each are needed"
    yield judge_overfitting(overfits, log, examined.meta.step, why_not)
    network = whole_network(examined)
    yield judge_latent_used(latent_used(probe, network) if config.use_vae else None, config)
    before = earlier_checkpoint(examined)
    flow = gradient_flow(
        probe,
        network,
        train,
        earlier=None if before is None else read_weights(before),
        earlier_step=None if before is None else read_meta(before).step,
    )
    yield judge_gradient_flow(flow, config, train)
    yield judge_gradient(read_gradient_shares(path))


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
