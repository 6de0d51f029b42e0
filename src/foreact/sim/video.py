"""Episodes side by side as one MP4: both cameras, the cue drawn in, the outcome underneath."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from foreact.data.video import encode_video
from foreact.sim.env import PickPlaceEnv
from foreact.sim.episode import EpisodeResult
from foreact.sim.scene import BLOCK_SIZE
from foreact.sim.task import CAMERAS, TaskConfig

_SIZE = 208
"""Pixels of each picture's side."""
_CAPTION = 24
"""Pixels of the line under a pair of pictures."""
_GAP = 8
_HOLD_S = 1.5
"""How long the last pictures stay [s]."""
_CUE = (255, 64, 160)
_SUCCESS, _FAILURE, _RUNNING = (42, 157, 74), (192, 57, 43), (90, 90, 90)


def write_video(path: Path, episodes: Sequence[EpisodeResult], task: TaskConfig) -> None:
    """Replay episodes from their actions, larger than the policy saw them, and write them as tiles.

    Args:
        path: The MP4 file.
        episodes: Results of `rollout` on this task.
        task: The task they ran on.

    Raises:
        DataError: If the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    clips = [_replay(episode, task) for episode in episodes]
    length = max(len(clip) for clip in clips) + round(_HOLD_S * task.fps)
    columns = min(2, len(clips))
    rows = math.ceil(len(clips) / columns)
    height, width = clips[0][0].shape[:2]
    frames = []
    for t in range(length):
        canvas = np.full((rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), 24, np.uint8)
        for i, clip in enumerate(clips):
            top, left = _GAP + (i // columns) * (height + _GAP), _GAP + (i % columns) * (width + _GAP)
            canvas[top : top + height, left : left + width] = clip[min(t, len(clip) - 1)]
        frames.append(canvas)
    encode_video(path, frames, task.fps)


def _replay(episode: EpisodeResult, task: TaskConfig) -> list[np.ndarray]:
    """Return an episode's tiles, uint8 (H, W, 3); the simulation is deterministic, so its actions suffice."""
    env = PickPlaceEnv(replace(task, cameras=()), render_size=(_SIZE, _SIZE))
    try:
        env.reset(seed=episode.seed)
        tiles = [_tile(env, episode, "")]
        for t, action in enumerate(episode.actions):
            env.step(action)
            tiles.append(_tile(env, episode, episode.outcome if t == len(episode.actions) - 1 else ""))
        return tiles
    finally:
        env.close()


def _tile(env: PickPlaceEnv, episode: EpisodeResult, outcome: str) -> np.ndarray:
    cue = np.array([*episode.cue, BLOCK_SIZE / 2])
    tile = Image.new("RGB", (len(CAMERAS) * _SIZE, _SIZE + _CAPTION), (24, 24, 24))
    for i, camera in enumerate(CAMERAS):
        picture = Image.fromarray(env.picture(camera, (_SIZE, _SIZE)))
        pixel = env.project(cue, camera, (_SIZE, _SIZE))
        if pixel is not None:
            _draw_cue(ImageDraw.Draw(picture), *pixel)
        tile.paste(picture, (i * _SIZE, 0))
    draw = ImageDraw.Draw(tile)
    colour = _RUNNING if not outcome else _SUCCESS if outcome == "success" else _FAILURE
    draw.rectangle((0, _SIZE, tile.width, tile.height), fill=colour)
    text = f"seed {episode.seed}   {outcome.replace('_', ' ')}"
    draw.text((6, _SIZE + 5), text, fill=(255, 255, 255), font=ImageFont.load_default(13))
    return np.asarray(tile)


def _draw_cue(draw: ImageDraw.ImageDraw, column: float, row: float) -> None:
    """A cross with an open middle, so that the block under it stays in sight."""
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        draw.line((column + 3 * dx, row + 3 * dy, column + 9 * dx, row + 9 * dy), fill=_CUE, width=2)
