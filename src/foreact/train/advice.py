"""What a training could be told better: a hint at its start, where the data allow more than the configuration takes."""

from __future__ import annotations

from foreact.config import PolicyConfig
from foreact.policy.inputs import why_not
from foreact.presets import preset
from foreact.records import Features


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
