"""What a checkpoint of another project does not say of its robot and its network."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from foreact.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Unsaid:
    """Names and rate for every import; the rest for the original ACT, whose files hold weights only."""

    data: Path | None = None
    """The data set that the policy was trained on: names, rate, calibration and arm are taken from it, and limits and
    alarm are learned."""
    fps: float | None = None
    """Control rate [Hz]. None takes that of --data, else LeRobot's usual 30 or the original ACT's 50."""
    action_names: tuple[str, ...] = ()
    """One a dimension, in order; none takes those of --data, else ALOHA's or action_0, action_1, ..."""
    state_names: tuple[str, ...] = ()
    """The same of the state."""
    environment_names: tuple[str, ...] = ()
    """The same of the coordinates."""

    stats: Path | None = None
    """Original ACT: its dataset_stats.pkl; None looks beside the weights."""
    cameras: tuple[str, ...] = ()
    """Original ACT: names of its cameras in the order of its `camera_names`. Its files do not say how many there are:
    none takes `top`, that of its simulated tasks. ACT++ has a backbone for each: none takes ALOHA's cam_high, cam_low,
    cam_left_wrist, cam_right_wrist for four."""
    image_size: tuple[int, int] = (480, 640)
    """Original ACT: height and width of its pictures."""
    n_heads: int = 8
    """Original ACT: heads of its attention, which shapes do not show."""
    dilation: bool = False
    """Original ACT: whether it was trained with --dilation."""
    temporal_ensemble_coeff: float | None = None
    """Original ACT: 0.01 executes it as with its --temporal_agg; None executes whole chunks."""


NAMES_AND_RATE = ("data", "fps", "action_names", "state_names", "environment_names")


def refuse_others(unsaid: Unsaid, wanted: tuple[str, ...], whose: str) -> None:
    """Refuse options that would be ignored.

    Args:
        unsaid: What was given.
        wanted: Options that are needed.
        whose: Checkpoints, for the message.

    Raises:
        ConfigError: Naming the first option that is not wanted.
    """
    for of in fields(Unsaid):
        if of.name not in wanted and getattr(unsaid, of.name) != of.default:
            raise ConfigError(f"--{of.name.replace('_', '-')} is not for {whose}, whose files say it; leave it out")
