"""What a visitor of the studio may set, and what there is to see: plain frozen data between page and simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from foreact.config import Latent
from foreact.errors import ConfigError, unknown_name
from foreact.records import Calibration
from foreact.sim.task import LEVELS
from foreact.studio.shelf import EXPERT, MODES, Mode

MOST_SEED = 2**31 - 1
LARGEST_DELAY = 2.0
"""Of a chunk [s]."""
LARGEST_NOISE = 0.05
"""Standard deviation of the cue's error [m]."""
DARKEST, BRIGHTEST = 0.1, 3.0
"""Times the light as built or drawn."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One scene as it is set."""

    policy: str = EXPERT
    level: str = "L1"
    seed: int = 0
    mode: Mode = "as trained"
    latent: Latent = "zero"
    brightness: float = 1.0
    """Times the light as built or drawn."""
    cue_noise: float | None = None
    """Standard deviation [m] of the error that the coordinate gets on its way to the policy; None takes the level's."""
    delay: float = 0.0
    """How long after its observation a chunk is there [s]."""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ConfigError(unknown_name("level", self.level, LEVELS))
        if self.mode not in MODES:
            raise ConfigError(unknown_name("way of executing chunks", self.mode, MODES))
        bounds = {
            "seed": (self.seed, 0, MOST_SEED),
            "brightness": (self.brightness, DARKEST, BRIGHTEST),
            "cue_noise": (self.cue_noise or 0.0, 0.0, LARGEST_NOISE),
            "delay": (self.delay, 0.0, LARGEST_DELAY),
        }
        for name, (value, low, high) in bounds.items():
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value}; it must be {low:g} to {high:g}")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block on the table."""

    now: np.ndarray
    """Where its centre is (3,) [m]."""
    placed: np.ndarray
    """Where it began, and begins again (2,) [m]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """A chunk, and when it was asked for."""

    tick: int
    """Of its observation, from the begin of the episode."""
    actions: np.ndarray
    """(t, A) in the robot's units; fewer than the chunk has where the arm cannot reach all hand poses."""
    path: np.ndarray | None
    """Where it would have the hand (T, 3) [m]; None where that is not known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Limited:
    """What the executor's limits have changed since the episode began."""

    ticks: int
    """In which anything was limited."""
    counts: np.ndarray
    """By kind, in the order of `foreact_runtime.limits.KINDS`, and dimension (4, A)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """A scene at one moment; nothing in it changes any more."""

    number: int
    """Grows with every snapshot of a scene."""
    setup: Setup
    tick: int
    seconds: float
    """Simulated."""
    rate: float
    """Ticks a second, by the clock on the wall."""
    is_paused: bool
    outcome: str | None
    """One of `foreact.sim.outcome.OUTCOMES` once the episode is over."""
    error: str
    """What went wrong, in one line; empty where nothing did."""
    pictures: Mapping[str, np.ndarray]
    """By camera, uint8 (H, W, 3), larger than the policy sees them."""
    overhead: Calibration
    """Of the overhead camera as it stands in this episode."""
    blocks: Sequence[Block]
    """The one that is judged first."""
    cue: np.ndarray
    """What the policy is told (2,) [m]."""
    clicked: np.ndarray | None
    """The point of the table that was clicked (2,) [m]; None where the seed has chosen."""
    poses: Mapping[str, np.ndarray]
    """By body of the arm and `bowl`: position, then orientation by rows (12,)."""
    names: tuple[str, ...]
    """Of the action's dimensions."""
    states: np.ndarray
    """Joint positions since the episode began (t + 1, A)."""
    sent: np.ndarray
    """Actions since the episode began (t, A)."""
    predictions: Sequence[Prediction] = ()
    """The latest chunks, oldest first."""
    plan: Prediction | None = None
    """What would be sent if no further chunk came: queue or ensemble, with limits; None where nobody looks at it."""
    limited: Limited | None = None
    """None for the expert, which has no limits."""
    stalls: int = 0
    """Ticks in which the arm was held because no chunk was there."""
    unreachable: int = 0
    """Ticks in which the policy asked for what the arm cannot do."""
    observation: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What the policy saw when it was last asked, its pictures included; empty until then."""
    first_observation: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What it saw when it was first asked in this episode."""
