"""What a training could be told better, at its start: a better way that the data allow, coordinates that get lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreact.config import PolicyConfig
from foreact.policy.inputs import CUE_DIM, IN_PICTURES, why_not
from foreact.policy.sight import CueSight, seldom_in_view
from foreact.presets import preset
from foreact.records import Episode, Features

_NEED_PICTURES = IN_PICTURES | {"film"}
_CARRY = frozenset({"token", "strong", "frame", "film", "crop", "heatmap"})
"""Ways of conditioning with which the network gets the coordinates, or pictures that depend on them."""


def better_conditioning(config: PolicyConfig, features: Features) -> str | None:
    """Return a sentence where coordinates are a token alone and the data allow what was measured to be best.

    Args:
        config: The policy's.
        features: As selected from the data.
    """
    grounded = "so101-grounded"
    is_token_alone = config.use_environment_state and set(config.conditioning) == {"token"}
    has_both = bool(features.cameras) and features.environment_dim >= CUE_DIM
    if not (is_token_alone and has_both) or why_not(preset(grounded).policy, features) is not None:
        return None
    return (
        "the coordinates are one token, which a policy may follow only roughly; a camera and the arm are calibrated, "
        f"so the preset {grounded}, or compact-grounded for small pictures, is possible and goes nearer "
        "(docs/grounding.md)"
    )


def coordinates_unheard(config: PolicyConfig, features: Features) -> str | None:
    """Return a warning where no way of conditioning brings the coordinates to the network.

    Args:
        config: The policy's.
        features: As selected from the data.
    """
    carry = _CARRY if features.cameras else _CARRY - _NEED_PICTURES
    if not features.environment_dim or not config.use_environment_state or carry & set(config.conditioning):
        return None
    ways = ", ".join(config.conditioning) or "nothing"
    return (
        f"the policy is told no coordinates: policy.conditioning is {ways}, which brings none to the network"
        f"{'' if features.cameras else ' without pictures'}; add token or another of docs/conditioning.md"
    )


def cues_out_of_view(config: PolicyConfig, features: Features, episodes: Sequence[Episode]) -> str | None:
    """Return a warning where coordinates lie outside of a camera's picture, in which the policy looks for them.

    Args:
        config: The policy's.
        features: As selected from the data.
        episodes: Without pictures; their states and coordinates are what is looked at.
    """
    if not (config.use_environment_state and IN_PICTURES & set(config.conditioning)):
        return None
    sight = CueSight(features)
    seen = [sight.frames(episode) for episode in episodes]
    shares = {camera: float(np.concatenate([of[camera] for of in seen]).mean()) for camera in seen[0]}
    seldom = [f"camera {name} in {100 * shares[name]:.0f} %" for name in seldom_in_view(features, shares)]
    if not seldom:
        return None
    return (
        f"coordinates are seldom in the picture ({', '.join(seldom)} of the frames), and conditioning on pictures has "
        "nothing to look at in the others: `foreact inspect` says whether coordinates or calibration are wrong"
    )
