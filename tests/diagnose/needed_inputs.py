"""A small data set whose answer needs every input, and policies that are really trained on it in seconds.

Four joints go to four places: two of them the coordinate tells, the third is the height of the red spot in the overhead
picture, the fourth how far right the red spot is in the wrist's. A blue spot beside each is a distraction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreact.config import PolicyConfig, RunConfig, TrainConfig
from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.records import Camera, Features

SIZE, SPOT = 32, 8
LENGTH, CHUNK = 10, 5
JOINTS = ("a", "b", "c", "d")
FEATURES = Features(
    action_names=JOINTS,
    state_names=JOINTS,
    environment_names=("x", "y"),
    cameras=(Camera(name="overhead", height=SIZE, width=SIZE), Camera(name="wrist", height=SIZE, width=SIZE)),
    fps=10.0,
)
RUN = RunConfig(
    policy=PolicyConfig(
        chunk_size=CHUNK,
        n_action_steps=CHUNK,
        vision_backbone="cnn",
        pretrained_backbone_weights=None,
        backbone_norm="group",
        dim_model=32,
        n_heads=2,
        dim_feedforward=64,
        n_encoder_layers=1,
        n_decoder_layers=1,
        n_vae_encoder_layers=1,
        latent_dim=4,
        dropout=0.0,
    ),
    train=TrainConfig(
        steps=250,
        batch_size=64,
        lr=3e-3,
        lr_backbone=3e-3,
        lr_schedule="cosine",
        warmup_steps=20,
        val_fraction=0.1,
        val_every=125,
        save_every=125,
        log_every=5,
        accelerator="cpu",
        devices="1",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What one episode shows and asks for; all numbers in [0, 1]."""

    start: np.ndarray
    """(4,)."""
    goal: np.ndarray
    """(4,): the coordinate's x and y, the height in the overhead picture, the place along the wrist's."""
    overhead: np.ndarray
    """uint8 (L, 32, 32, 3)."""
    wrist: np.ndarray


def scenes(n: int, seed: int = 0, *, untold: bool = False, length: int = LENGTH) -> list[Scene]:
    """Draw scenes; where `untold` the third joint goes all the way up or down, and nothing says which."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(n):
        start, goal = rng.uniform(0, 1, (2, 4))
        shown = goal[2]
        if untold:
            start[2], goal[2] = 0.5, rng.choice([0.0, 1.0])
        distraction = rng.uniform(0, 1, (2, length, 3))  # another one in each frame: few episodes then suffice
        drawn.append(
            Scene(
                start=start,
                goal=goal,
                overhead=np.stack([_picture(90, (shown, across), blue) for across, *blue in distraction[0]]),
                wrist=np.stack([_picture(150, (down, goal[3]), blue) for down, *blue in distraction[1]]),
            )
        )
    return drawn


def _picture(grey: int, red: Sequence[float], blue: Sequence[float]) -> np.ndarray:
    image = np.full((SIZE, SIZE, 3), grey, np.uint8)
    for place, colour in ((blue, (20, 20, 230)), (red, (230, 20, 20))):
        row, column = (np.array(place) * (SIZE - SPOT)).round().astype(int)
        image[row : row + SPOT, column : column + SPOT] = colour
    return image


def _path(scene: Scene, frames: np.ndarray) -> np.ndarray:
    """Where the joints are at some frames (F, 4)."""
    return scene.start + (scene.goal - scene.start) * (frames / len(scene.overhead))[:, None]


def write(root: Path, of: list[Scene], *, seen: list[Scene] | None = None, later: int = 1) -> Path:
    """Write an episode a scene: the joints go to their places in a straight line.

    Args:
        root: The data set's folder.
        of: What the actions do.
        seen: What the observations show instead, as where recordings were put together wrongly.
        later: An action is where the arm is so many frames later.
    """
    writer = DatasetWriter(root, features=FEATURES, robot_type="test")
    for done, scene in zip(of, seen or of, strict=True):
        frames = np.arange(len(scene.overhead))
        staged = stage_episode(
            writer.staging,
            task="go there",
            vectors={
                "observation.state": _path(scene, frames),
                "observation.environment_state": np.tile(scene.goal[:2], (len(frames), 1)),
                "action": _path(done, frames + later),
            },
            frames={"overhead": list(scene.overhead), "wrist": list(scene.wrist)},
            fps=10,
        )
        writer.add(staged)
    writer.finish()
    return root
