"""The lead of the action over the state: what it is of paths drawn by hand, and what is said of it."""

from dataclasses import replace

import numpy as np
import pytest

from diagnose.replays import FEATURES, demonstration
from foreact.diagnose.lead import Lead, lead_in_words, measure_lead
from foreact.diagnose.shift import judge_shift
from foreact.records import Episode

EPISODES = [demonstration(index, 60) for index in range(6)]


def shifted(by: int) -> list[Episode]:
    """The actions of so many frames later stand where each frame's own should."""
    frames = np.arange(60)
    return [replace(of, action=of.action[np.clip(frames + by, 0, 59)]) for of in EPISODES]


def slow(of: Episode, share: float) -> Episode:
    """An arm that goes a share of the way to its command in each frame."""
    state = np.empty_like(of.action)
    state[0] = of.action[0]
    for t in range(1, len(state)):
        state[t] = state[t - 1] + share * (of.action[t - 1] - state[t - 1])
    return replace(of, state=state)


@pytest.mark.parametrize("by", [-2, -1, 0, 1, 2])
def test_recorded_states_as_actions_lead_by_exactly_a_frame_or_are_shifted(by: int) -> None:
    lead = measure_lead(shifted(by), FEATURES)
    assert lead is not None
    assert lead.frames == pytest.approx(1 + by, abs=0.1)
    assert lead.is_exact
    said, severity = lead_in_words(lead)
    assert severity == ("fault" if by else "fine")
    if by:
        assert f"actions shifted by {abs(by)} frame{'s' * (abs(by) > 1)}: action t is exactly" in said
        assert f"frame t{1 + by:+d}," in said


def test_a_slow_arm_cannot_be_told_from_a_shift_and_nobody_is_accused() -> None:
    arm = [slow(of, 0.35) for of in EPISODES]
    lead = measure_lead(arm, FEATURES)
    assert lead is not None
    assert not lead.is_exact
    assert 1.5 < lead.frames < 3
    said, severity = lead_in_words(lead)
    assert severity == "note"
    assert "a slow arm, or actions shifted; the data cannot tell" in said
    finding = judge_shift(None, lead)
    assert finding.severity == "note"
    assert finding.evidence["state_follows_action_after_frames"] == lead.frames


@pytest.mark.parametrize(
    ("frames", "severity"),
    [(-1.0, "fault"), (0.0, "warning"), (0.3, "note"), (1.3, "fine"), (2.3, "note"), (4.0, "warning")],
)
def test_of_commands_the_lead_is_judged_as_by_inspect_and_what_cannot_be_told_is_a_note(
    frames: float, severity: str
) -> None:
    lead = Lead(frames=frames, is_exact=False, fps=10.0)
    assert lead_in_words(lead)[1] == severity
    finding = judge_shift(None, lead)
    assert ("foreact inspect" in finding.remedy) == ("--source.action-lag" in finding.remedy)
    assert bool(finding.remedy) == (severity in ("fault", "warning"))


def test_another_lead_in_the_training_data_is_a_fault() -> None:
    here, there = (Lead(frames=frames, is_exact=False, fps=10.0) for frames in (1.2, 2.2))
    finding = judge_shift(None, here, there)
    assert finding.severity == "fault"
    assert finding.verdict.startswith("actions shifted: in these data the state follows the action after 1.2 frames")
    assert "in those it was trained on after 2.2 frames" in finding.verdict
    assert judge_shift(None, here, replace(here, frames=1.5)).severity == "note"


def test_what_has_no_state_or_is_too_short_leads_by_nothing() -> None:
    assert measure_lead([replace(of, state=None) for of in EPISODES], FEATURES) is None
    assert measure_lead([demonstration(0, 9)], FEATURES) is None
    assert measure_lead([], FEATURES) is None
