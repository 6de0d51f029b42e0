"""What a training could be told better: a hint at its start, where the data allow more than the configuration takes."""

from __future__ import annotations

from foreact.config import PolicyConfig
from foreact.presets import preset
from foreact.records import Features


def better_conditioning(config: PolicyConfig, features: Features) -> str | None:
    """Return a sentence where coordinates are a token alone and the data allow what was measured to be best.

    Args:
        config: The policy's.
        features: As selected from the data.
    """
    best = preset("so101-grounded").policy.conditioning
    is_token_alone = config.use_environment_state and set(config.conditioning) == {"token"}
    is_place = features.environment_dim >= 2
    arm_is_known = features.arm is not None and set(features.arm.joints) <= set(features.state_names)
    calibrated = [
        camera.name
        for camera in features.cameras
        if camera.calibration is not None and camera.calibration.mounted_on == "base"
    ]
    if not (is_token_alone and is_place and arm_is_known and calibrated):
        return None
    return (
        f"the coordinates are one token, which a policy may follow only roughly; camera {', '.join(calibrated)} and "
        f"the arm are calibrated, so --policy.conditioning {' '.join(best)} is possible and goes nearer "
        "(docs/grounding.md)"
    )
