"""Episode results to a success rate with its interval, an outcomes table and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from foreact.intervals import wilson
from foreact.sim.episode import EpisodeResult
from foreact.sim.outcome import OUTCOMES

CONFUSIONS = ("confuser_in_bowl", "picked_confuser")
"""Outcomes in which the wrong block was taken."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One policy on one task and one list of seeds."""

    name: str
    """Whose episodes these are: "policy", "expert", "blind", "uncued" or what the caller says."""
    episodes: Sequence[EpisodeResult]

    @property
    def successes(self) -> int:
        """Episodes that end with the target in the bowl."""
        return sum(episode.success for episode in self.episodes)

    @property
    def confusions(self) -> int:
        """Episodes in which the wrong block was taken."""
        return sum(episode.outcome in CONFUSIONS for episode in self.episodes)

    @property
    def limited(self) -> int:
        """Control ticks in which an action was limited."""
        return sum(episode.limited for episode in self.episodes)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the success rate."""
        return wilson(self.successes, len(self.episodes))

    @property
    def outcomes(self) -> dict[str, int]:
        """How often each outcome came, in the order of `OUTCOMES`, zeros included."""
        counts = Counter(episode.outcome for episode in self.episodes)
        return {name: counts[name] for name in OUTCOMES}

    @property
    def closing_error_mm(self) -> float | None:
        """Median distance from the target at which the gripper first closed [mm]; None where it never did."""
        known = [e.closed_to_target_mm for e in self.episodes if e.closed_to_target_mm is not None]
        return float(np.median(known)) if known else None

    @property
    def mean_steps(self) -> float:
        """Mean control ticks of the successful episodes; nan where there is none."""
        steps = [episode.steps for episode in self.episodes if episode.success]
        return float(np.mean(steps)) if steps else float("nan")

    @property
    def mean_seconds(self) -> float:
        """Mean simulated time of the successful episodes [s]; nan where there is none."""
        seconds = [episode.seconds for episode in self.episodes if episode.success]
        return float(np.mean(seconds)) if seconds else float("nan")

    def rate_text(self) -> str:
        """Return `43/50 = 86% (74% to 93%)`: successes, rate and interval."""
        low, high = self.interval
        n = len(self.episodes)
        return f"{self.successes}/{n} = {self.successes / n:.0%} ({low:.0%} to {high:.0%})"

    def to_dict(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything but the actions as plain values, with the settings that produced it."""
        low, high = self.interval
        return {
            "name": self.name,
            "settings": dict(settings),
            "episodes": len(self.episodes),
            "successes": self.successes,
            "success_rate": self.successes / len(self.episodes),
            "wilson_95": [low, high],
            "confusions": self.confusions,
            "outcomes": self.outcomes,
            "median_closing_error_mm": self.closing_error_mm,
            "per_episode": [
                {key: value for key, value in asdict(episode).items() if key != "actions"} for episode in self.episodes
            ],
        }
