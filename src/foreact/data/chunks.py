"""Chunks of actions with padding, and downsampling (reference: ACT.md 2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foreact.records import Episode


def chunk_frames(frame: np.ndarray, length: np.ndarray | int, chunk_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which frames of their own episode make up the chunks that begin at some frames.

    A chunk that reaches beyond the end repeats the last frame, where LeRobot and the paper's follow-ups agree (the
    original code pads with zeros, il_lib with ones); so it never reads into the next episode.

    Args:
        frame: int (B,), where each chunk begins, counted within its episode.
        length: int (B,) or one number, frames of that episode.
        chunk_size: T.

    Returns:
        int (B, T) frames and bool (B, T), True where the episode had already ended.
    """
    wanted = np.asarray(frame)[:, None] + np.arange(chunk_size)
    last = np.broadcast_to(np.asarray(length) - 1, np.shape(frame))[:, None]
    return np.minimum(wanted, last), wanted > last


def downsample(episode: Episode, factor: int) -> Episode:
    """Return an episode with every n-th frame, for example 10 Hz from 30 Hz with n = 3.

    Observations are taken at 0, n, 2n, ...; of each n actions the last, n - 1, 2n - 1, ..., which is where the arm is
    told to be when the next observation is taken. An incomplete last group takes the last action, as if the episode
    were padded with it (FORMATS.md 5.1).
    """
    if factor == 1:
        return episode
    last_of_group = np.minimum(np.arange(0, episode.length, factor) + factor - 1, episode.length - 1)
    return replace(
        episode,
        action=episode.action[last_of_group],
        state=None if episode.state is None else episode.state[::factor],
        environment_state=None if episode.environment_state is None else episode.environment_state[::factor],
    )


def downsampled_length(length: int, factor: int) -> int:
    """Return how many frames are left of `length`."""
    return -(-length // factor)
