"""All that is asked about what comes out: the chunks along recorded episodes, as predicted and as executed."""

from __future__ import annotations

from collections.abc import Callable

from foreact.diagnose.agreement import judge_agreement, measure_agreement
from foreact.diagnose.examined import Examined
from foreact.diagnose.gripper_timing import judge_gripper_timing, measure_gripper_timing
from foreact.diagnose.lead import lead_in_data, lead_in_training
from foreact.diagnose.open_loop import judge_open_loop, measure_open_loop, reference_episodes
from foreact.diagnose.replay import replay
from foreact.diagnose.shift import judge_shift, measure_shift
from foreact.diagnose.smoothness import judge_smoothness, measure_smoothness
from foreact.finding import Finding


def about_the_chunks(examined: Examined, advance: Callable[[int], None] = lambda n: None) -> list[Finding]:
    """Return open-loop error, shift, gripper timing, smoothness and agreement of successive chunks."""
    policy = examined.policy
    replays = replay(policy, examined.dataset, held_out=examined.held_out, advance=advance)
    return [
        judge_shift(measure_shift(policy, replays), lead_in_data(examined), lead_in_training(examined)),
        judge_open_loop(measure_open_loop(policy, replays, reference_episodes(examined)), policy.features),
        judge_gripper_timing(measure_gripper_timing(policy, replays)),
        judge_smoothness(measure_smoothness(policy, replays)),
        judge_agreement(measure_agreement(policy, replays)),
    ]
