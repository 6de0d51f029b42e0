"""All that is asked about the coordinate, or why it cannot be asked."""

from __future__ import annotations

from collections.abc import Mapping

from foreact.data.source import EpisodeSource
from foreact.diagnose.collapse import collapse, judge_collapse
from foreact.diagnose.examined import train_config
from foreact.diagnose.explained import judge_explained, untold
from foreact.diagnose.inputs_used import HARDLY, IGNORED, InputsUsed
from foreact.diagnose.other_cues import Place, known_places, other_cues
from foreact.diagnose.probe import FEWER, Probe
from foreact.diagnose.remedies import for_an_ignored_coordinate
from foreact.diagnose.response import clear, fitted_response
from foreact.diagnose.sensitivity import judge_sensitivity, sensitivity
from foreact.diagnose.swap import judge_swap, swap_test
from foreact.finding import Finding
from foreact.policy.checkpoint import CheckpointMeta


def about_the_coordinate(
    probe: Probe,
    source: EpisodeSource,
    meta: CheckpointMeta,
    used: InputsUsed | None,
    others: Mapping[int, tuple[Place, ...]] | None = None,
) -> list[Finding]:
    """Return what coordinates explain, swap test, sensitivity and collapse index, or that there is no coordinate.

    Args:
        probe: The network and its episodes.
        source: Their data.
        meta: Of the policy.
        used: Which inputs it answers to.
        others: Where other blocks stood, by episode, as far as somebody says.
    """
    if not probe.has_cue:
        return [untold(probe.features.environment_dim)]
    fitted = fitted_response(probe)
    response = clear(fitted)
    remedy = for_an_ignored_coordinate(
        meta.policy,
        train_config(meta),
        is_paired=len(set(source.scenes.values())) < len(source.scenes),
        explained=fitted.explained if fitted is not None and (fitted.is_clear or fitted.is_refuted) else None,
    )
    findings = [judge_explained(fitted, episodes=len(probe.episodes), knows_hand=probe.knows_hand)]
    trials = other_cues(probe.episodes, probe.cues(probe.samples(0.0)), known_places(source, others))
    obeys = False
    unmoved = HARDLY if fitted is not None and fitted.is_refuted else IGNORED  # few episodes may be alike
    if response is not None and len(trials.episode):
        swapped = swap_test(probe, response, trials)
        obeys = swapped.is_passed
        findings.append(judge_swap(swapped, remedy))
    elif (change := None if used is None else used.change("coordinate exchanged")) is not None and change < unmoved:
        findings.append(_unmoved(change, remedy))
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


_NO_RESPONSE = "the demonstrations do not say how to answer to the coordinate (above)"


def _unmoved(change: float, remedy: str) -> Finding:
    """What is certain where no response of the demonstrations is known: the chunk stays nearly the same."""
    is_ignored = change < IGNORED
    return Finding(
        question="swap",
        title="Does it go to the block that is named?",
        verdict=f"uses the coordinate: {'no' if is_ignored else 'hardly'}: another one changes the chunk by "
        f"{change:.2f} (1 = as much as the demonstrations for the two differ); more cannot be told, for "
        "these do not say how to answer to it",
        severity="fault" if is_ignored else "warning",
        remedy=remedy,
    )


def _unknown(question: str, verdict: str) -> Finding:
    return Finding(
        question=question,
        title="Does it go to the block that is named?" if question == "swap" else "Is it one trajectory for all?",
        verdict=verdict,
        severity="note",
        remedy="examine on more episodes (--episodes) whose targets stand further apart, or train longer chunks",
    )
