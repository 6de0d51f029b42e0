"""Pictures that a video codec has some work with: a textured ground that pans, a thing that moves, a camera's noise.

Needs numpy alone, for LeRobot's environment draws them, too.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_WAVES = 24
_NOISE = 4.0
"""Grey levels, one standard deviation."""


def moving_pictures(n_frames: int, height: int, width: int, seed: int) -> Iterator[np.ndarray]:
    """Yield pictures, uint8 (H, W, 3); equal arguments give equal ones."""
    rng = np.random.default_rng(seed)
    ground = _ground(2 * height, 2 * width, rng)
    noise = rng.normal(0, _NOISE, (4, height, width, 3)).astype(np.float32)
    side = max(4, height // 5)
    thing = rng.uniform(0, 255, (side, side, 3)).astype(np.float32)
    phase = rng.uniform(0, 2 * np.pi, 4)
    for number in range(n_frames):
        share = 0.5 + 0.5 * np.sin(number / np.array([40, 55, 17, 23]) + phase)
        row, column = int(share[0] * height), int(share[1] * width)
        picture = ground[row : row + height, column : column + width] + noise[number % len(noise)]
        row, column = int(share[2] * (height - side)), int(share[3] * (width - side))
        picture[row : row + side, column : column + side] = thing
        yield np.clip(picture, 0, 255).astype(np.uint8)


def _ground(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A sum of plane waves, long and short."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    ground = np.full((height, width, 3), 120, np.float32)
    for _ in range(_WAVES):
        direction, length = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(np.log(4), np.log(height)))
        wave = np.sin((np.cos(direction) * x + np.sin(direction) * y) * 2 * np.pi / length + rng.uniform(0, 6))
        ground += wave[..., None] * rng.uniform(0, 20, 3).astype(np.float32)
    return ground
