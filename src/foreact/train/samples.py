"""The samples of a run: their frames all in the cache, or streamed through a part of the disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from foreact.config import RunConfig
from foreact.data.dataset import ChunkDataset
from foreact.data.files import size_text
from foreact.data.frame_cache import default_cache_dir
from foreact.data.frame_windows import N_WINDOWS, FrameWindows, frame_bytes
from foreact.data.source import EpisodeSource
from foreact.data.stream_plan import StreamPlan, plan_stream
from foreact.data.streamed import StreamedDataset
from foreact.records import Features


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What a run trains on and what it is validated on."""

    vectors: ChunkDataset
    """The training samples, perhaps without pictures: what statistics are made of."""
    training: ChunkDataset | StreamedDataset
    validation: ChunkDataset | None
    """Of all held-out episodes, or of those whose frames are kept; None without any."""
    remark: str = ""
    """What to tell people of streaming."""


@contextmanager
def open_samples(
    run: RunConfig,
    source: EpisodeSource,
    features: Features,
    training: Sequence[int],
    validation: Sequence[int],
    cache_dir: Path | None,
) -> Iterator[Samples]:
    """Yield the samples of a split; afterwards nothing of what was streamed is left on the disk.

    Args:
        run: The recipe; `train.stream` says how the frames are kept.
        source: Where the episodes come from; nobody else may read it while training.
        features: What the policy takes, from `select_features`.
        training: Episodes to train on.
        validation: Held-out episodes.
        cache_dir: Where decoded frames are kept; None for the user's cache.

    Raises:
        BadEpisodeError: If an episode is damaged.
        ConfigError: If `train.stream` is too small.
        DataError: If the disk is full.
    """

    def dataset(episodes: Sequence[int], features: Features, cache_dir: Path | None) -> ChunkDataset:
        return ChunkDataset(
            source,
            episodes,
            features=features,
            chunk_size=run.policy.chunk_size,
            downsample_factor=run.policy.downsample_factor,
            cache_dir=cache_dir,
        )

    plan = _plan(run, source, features, training, validation)
    if plan is None:
        cached = dataset(training, features, cache_dir)
        held_out = dataset(validation, features, cache_dir) if validation else None
        yield Samples(vectors=cached, training=cached, validation=held_out)
        return
    vectors = dataset(training, replace(features, cameras=()), cache_dir)
    held_out = None
    if validation:
        folder = cache_dir or default_cache_dir()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            held_out = dataset(plan.validation, features, Path(temporary))
            held_out.hold_frames()
    frames = FrameWindows(
        source,
        features,
        capacity=plan.capacity,
        downsample_factor=run.policy.downsample_factor,
        cache_dir=cache_dir,
    )
    streamed = StreamedDataset(vectors, frames)
    try:
        remark = _remark(plan, vectors, len(validation), frame_bytes(features))
        yield Samples(vectors=vectors, training=streamed, validation=held_out, remark=remark)
    finally:
        streamed.close()


def _plan(
    run: RunConfig, source: EpisodeSource, features: Features, training: Sequence[int], validation: Sequence[int]
) -> StreamPlan | None:
    """None where everything goes into the frame cache."""
    if run.train.stream is None:
        return None
    return plan_stream(
        source,
        training,
        validation,
        features=features,
        bound=round(run.train.stream * 10**9),
        downsample_factor=run.policy.downsample_factor,
        scenes=source.scenes if run.train.sampling == "paired" else None,
        seed=run.train.seed,
    )


def _remark(plan: StreamPlan, vectors: ChunkDataset, n_held_out: int, a_frame: int) -> str:
    n_episodes = len(vectors.indices)
    at_a_time = max(1, round(plan.capacity * n_episodes / len(vectors)))
    text = (
        f"streaming: {N_WINDOWS} windows of {size_text(plan.capacity * a_frame)}, about {at_a_time} of {n_episodes} "
        "episodes each, are shuffled one at a time"
    )
    if len(plan.validation) < n_held_out:
        text += f"; validating on {len(plan.validation)} of {n_held_out} held-out episodes, for which there is room"
    return text
