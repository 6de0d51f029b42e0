"""What the study of coordinate conditioning has measured, for the deep dive's picture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "grounding"
_SHOWN = (
    ("uniform-L2_lerobot_s0", "LeRobot 0.6.1's ACT, ResNet-18", False),
    ("uniform-L2_resnet-raw_s0", "ours, the same size, coordinate in metres", False),
    ("uniform-L2_resnet-baseline_s0", "ours, coordinate normalised, a token", False),
    ("uniform-L2_resnet-best_s0", "token + crop + frame, ResNet-18", True),
    ("uniform-L2_baseline_s0", "small network, a token", False),
    ("uniform-L2_best_s0", "small network, token + crop + frame", True),
    ("untold-L1_crop_s0", "the same without frame, told at random", False),
)
"""File, words, and whether it is told where to act, truly and in a way that is hard to ignore."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One policy of the study at level L1."""

    label: str
    is_cured: bool
    successes: int
    episodes: int
    errors: np.ndarray
    """Distance [mm] of the first closing from the told block, of the episodes in which the jaws closed."""
    median: float


def cells() -> list[Cell]:
    """Read the chosen files."""
    read = []
    for name, label, is_cured in _SHOWN:
        condition = json.loads((RESULTS / f"{name}.json").read_text())["conditions"]["L1"]
        last = [line.split()[-1] for line in condition["per_episode"]]
        errors = np.array([float(word) for word in last if word != "-"])
        read.append(
            Cell(
                label=label,
                is_cured=is_cured,
                successes=condition["successes"],
                episodes=condition["episodes"],
                errors=errors,
                median=condition["median_closing_error_mm"],
            )
        )
    return read
