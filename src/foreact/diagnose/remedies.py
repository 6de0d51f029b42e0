"""What helps against a coordinate that is ignored, in the order in which to try it."""

from __future__ import annotations

from foreact.config import PolicyConfig, TrainConfig


def for_an_ignored_coordinate(policy: PolicyConfig, train: TrainConfig | None, *, is_paired: bool) -> str:
    """Return the settings and commands that a run has not used yet.

    Args:
        policy: The run's.
        train: The run's; None where it is not known.
        is_paired: Whether the data show scenes with each of their blocks as target.
    """
    tries = []
    if not {"crop", "frame"} <= set(policy.conditioning):
        tries.append(
            "--policy.conditioning token crop frame (calibrated camera and arm; with neither: token strong contrastive)"
        )
    if not is_paired:
        tries.append("demonstrations of each scene with every block as target (foreact record --paired)")
    if train is None or train.sampling != "paired":
        tries.append("--train.sampling paired")
    steps = "more steps" if train is None else f"more steps than {train.steps} (--train.steps)"
    return "; then ".join([*tries, steps])
