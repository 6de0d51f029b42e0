"""What helps against a coordinate that is ignored, in the order in which to try it."""

from __future__ import annotations

from foreact.config import PolicyConfig, TrainConfig

WEAK = 0.5
"""Share of the demonstrations' variance below which the coordinates are suspected first: true ones explained 0.74 to
0.95 of it in simulation, and 0.02 to 0.4 where half of them were drawn at random (16 and 50 episodes)."""
CHECK_THE_COORDINATES = (
    "check that the coordinates are the target's in every episode, in metres in the frame of the arm's base (foreact "
    "inspect maps them): no conditioning makes up for false ones"
)


def for_an_ignored_coordinate(
    policy: PolicyConfig, train: TrainConfig | None, *, is_paired: bool, explained: float | None
) -> str:
    """Return the settings and commands that a run has not used yet, measured cures first.

    Args:
        policy: The run's.
        train: The run's; None where it is not known.
        is_paired: Whether the data show scenes with each of their blocks as target.
        explained: Share of the demonstrations' variance that the coordinate explains; None where it is not known.
    """
    tries = []
    if explained is not None and explained < WEAK:
        tries.append(f"{CHECK_THE_COORDINATES} (these explain {100 * max(0.0, explained):.0f} % of where chunks go)")
    if policy.environment_normalization == "identity":
        tries.append(
            "--policy.environment-normalization mean_std: a coordinate in metres is small beside all other inputs"
        )
    if not {"crop", "frame"} <= set(policy.conditioning):
        tries.append(
            "the preset so101-grounded, compact-grounded for small pictures (it crops around the coordinate and acts "
            "relative to it: needs a calibrated camera and the arm, --calibration)"
        )
    if "strong" not in policy.conditioning:
        ways = " ".join((*policy.conditioning, "strong"))
        tries.append(f"--policy.conditioning {ways}: strong was heard where the token was not (docs/grounding.md)")
    tries.append("more steps" if train is None else f"more steps than {train.steps} (--train.steps)")
    if not is_paired:
        tries.append("demonstrations of each scene with every block as target (in simulation foreact record --paired)")
    if train is None or train.sampling != "paired":
        tries.append("--train.sampling paired, which is not measured against a collapse")
    return "; then ".join(tries)
