"""What a training could be told better, at its start: a better way that the data allow, coordinates out of view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from foreact.config import PolicyConfig
from foreact.geometry.projection import are_in_view
from foreact.policy.inputs import IN_PICTURES, why_not
from foreact.presets import preset
from foreact.records import Episode, Features

_USUAL = 0.9
"""The least share of frames whose coordinates a fixed camera has in view."""


def better_conditioning(config: PolicyConfig, features: Features) -> str | None:
    """Return a sentence where coordinates are a token alone and the data allow what was measured to be best.

    Args:
        config: The policy's.
        features: As selected from the data.
    """
    grounded = "so101-grounded"
    is_token_alone = config.use_environment_state and set(config.conditioning) == {"token"}
    if not is_token_alone or why_not(preset(grounded).policy, features) is not None:
        return None
    return (
        "the coordinates are one token, which a policy may follow only roughly; a camera and the arm are calibrated, "
        f"so the preset {grounded}, or compact-grounded for small pictures, is possible and goes nearer "
        "(docs/grounding.md)"
    )


def cues_out_of_view(config: PolicyConfig, features: Features, episodes: Sequence[Episode]) -> str | None:
    """Return a warning where coordinates lie outside of a fixed camera's picture, in which the policy looks for them.

    Args:
        config: The policy's.
        features: As selected from the data.
        episodes: Without pictures; their coordinates are what is looked at.
    """
    if not (config.use_environment_state and IN_PICTURES & set(config.conditioning)):
        return None
    told = [of.environment_state[:, :2] for of in episodes if of.environment_state is not None]
    places = np.concatenate(told)
    height = np.full((len(places), 1), features.environment_height)
    points = torch.from_numpy(np.hstack([places, height]))
    for camera in features.cameras:
        if camera.calibration is None or camera.calibration.mounted_on == "hand":
            continue
        share = float(are_in_view(camera.calibration, points, (camera.height, camera.width)).double().mean())
        if share < _USUAL:
            return (
                f"camera {camera.name} has the coordinates of {100 * share:.0f} % of the frames in its picture, and "
                "conditioning on pictures has nothing to look at in the others: `foreact inspect` says whether "
                "coordinates or calibration are wrong"
            )
    return None
