"""The only spelling of the feature keys: LeRobot's vocabulary."""

STATE = "observation.state"
"""Proprioception, shape (S,)."""
ENVIRONMENT_STATE = "observation.environment_state"
"""Coordinates that tell the policy where to act, shape (E,)."""
IMAGES = "observation.images"
"""Prefix of the colour images, `observation.images.<camera>`, uint8 (H, W, 3)."""
DEPTH = "observation.depth"
"""Prefix of the depth maps, `observation.depth.<camera>`, float32 (H, W) in metres."""
ACTION = "action"
"""What the arm is told, shape (A,), or a chunk of it, (T, A)."""
ACTION_IS_PAD = "action_is_pad"
"""True where a chunk reaches beyond its episode, shape (T,)."""

TIMESTAMP = "timestamp"
FRAME_INDEX = "frame_index"
EPISODE_INDEX = "episode_index"
INDEX = "index"
TASK_INDEX = "task_index"


def image_key(camera: str) -> str:
    """Return the key of a camera's colour image: `overhead` gives `observation.images.overhead`."""
    return f"{IMAGES}.{camera}"


def depth_key(camera: str) -> str:
    """Return the key of a camera's depth map: `head` gives `observation.depth.head`."""
    return f"{DEPTH}.{camera}"


def camera_of(key: str) -> str | None:
    """Return the camera that a colour image's key names, or None where it is not such a key."""
    return key[len(IMAGES) + 1 :] if key.startswith(f"{IMAGES}.") else None
