"""Training from a part of the disk: order, content, bound, resume and what is refused."""

import json
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

import behavior_files
from data.damage import cut_video
from data.recordings import record
from foreact.cli.train import run as main
from foreact.config import RunConfig, TrainConfig
from foreact.data.dataset import ChunkDataset
from foreact.data.mixed import open_sources
from foreact.data.source import open_source
from foreact.diagnose.tripwire import Tripwire
from foreact.errors import ConfigError, DataError
from foreact.policy.checkpoint import find_checkpoint, read_meta
from foreact.records import Batch
from foreact.train.loader import Demonstrations
from foreact.train.order import Paired, Uniform, order_of
from foreact.train.run import read_run, train
from foreact.train.samples import Samples, open_samples
from foreact.train.windows import Windowed, fill_windows
from spots import write_dataset
from train.interrupted import train_until_ctrl_c
from train.test_run import assert_same_state, with_train

A_FRAME = 2 * 32 * 32 * 3
"""Bytes of both cameras' pictures of tests/spots.py."""
BOUND = 48 * A_FRAME / 1e9
"""GB: 48 of the 74 frames."""


@pytest.fixture
def streamed_run(tiny_run: RunConfig) -> RunConfig:
    return with_train(tiny_run, stream=BOUND)


# -- the order


@pytest.mark.parametrize("seed", range(20))
def test_windows_are_never_too_full_and_about_equally_full(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(20, 120, 300)
    windows = np.array(fill_windows(sizes, 1000))
    assert np.all(np.diff(windows) >= 0)
    assert set(windows) == set(range(windows[-1] + 1))
    filled = np.bincount(windows, sizes)
    assert filled.max() <= 1000
    assert windows[-1] + 1 <= int(np.ceil(sizes.sum() / 1000)) + 2
    assert filled.min() > filled.mean() - 120, "within the longest episode of the others"


def test_a_window_that_holds_one_episode_holds_one_episode() -> None:
    assert fill_windows(np.array([5, 7, 6]), 7) == [0, 1, 2]
    assert fill_windows(np.array([5]), 7) == [0]
    assert fill_windows(np.array([1, 1, 1, 1]), 2) == [0, 0, 1, 1]
    assert fill_windows(np.array([2, 2, 2]), 5) == [0, 0, 1] or fill_windows(np.array([2, 2, 2]), 5) == [0, 1, 1]


@pytest.fixture(scope="module")
def vectors(dataset: Path) -> ChunkDataset:
    source = open_source(dataset)
    return ChunkDataset(source, source.episode_indices, features=replace(source.features, cameras=()), chunk_size=6)


def test_a_round_has_the_samples_of_its_order_each_in_a_window_with_its_episode(vectors: ChunkDataset) -> None:
    order = Windowed(Uniform(len(vectors)), vectors, capacity=30)
    seen: Counter[int] = Counter()
    first_windows = set()
    for number in range(5):
        samples = order.draw(np.random.default_rng(number))
        windows = order.windows(np.random.default_rng(number))
        assert sorted(samples.tolist()) == list(range(len(vectors)))
        assert sum(window.n_samples for window in windows) == len(vectors)
        assert len(windows) == 3
        rest = samples
        for window in windows:
            part, rest = rest[: window.n_samples], rest[window.n_samples :]
            assert {int(vectors.indices[of]) for of in vectors.places(part)[0]} == set(window.episodes)
            assert part.tolist() != sorted(part.tolist()), "shuffled within the window"
        seen.update(samples.tolist())
        first_windows.add(windows[0].episodes)
    assert len(first_windows) > 1, "each round has other windows"
    assert set(seen.values()) == {5}


def test_windows_go_on_in_the_middle_of_a_round(vectors: ChunkDataset) -> None:
    order = Windowed(Uniform(len(vectors)), vectors, capacity=30)
    whole = list(islice(order.windows_from(0, seed=3), 9))
    assert list(islice(order.windows_from(len(vectors), seed=3), 6)) == whole[3:9]
    passed = whole[0].n_samples + 4
    assert next(order.windows_from(passed, seed=3)) == replace(whole[1], n_samples=whole[1].n_samples - 4)
    assert next(order.windows_from(whole[0].n_samples, seed=3)) == whole[1]


def test_couples_stay_side_by_side_and_their_scenes_in_one_window(vectors: ChunkDataset) -> None:
    scenes = {0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 5: 3}
    config = TrainConfig(sampling="paired", batch_size=4)
    pairs = order_of(vectors, config, scenes)
    assert isinstance(pairs, Paired)
    order = Windowed(pairs, vectors, capacity=30, scenes=scenes)
    samples = order.draw(np.random.default_rng(1))
    episode, frame = vectors.places(samples)
    assert np.array_equal(frame[::2], frame[1::2])
    assert {frozenset(pair) for pair in episode.reshape(-1, 2).tolist()} == {frozenset((0, 1)), frozenset((2, 3))}
    windows = order.windows(np.random.default_rng(1))
    assert sorted(window.episodes for window in windows) == [(0, 1), (2, 3)], "nobody asks for 4 and 5"


def test_a_source_has_its_weight_where_frames_are_streamed(dataset: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", lengths=(9, 9), seed=1)
    source = open_sources([dataset, other])
    mixed = ChunkDataset(source, source.episode_indices, features=replace(source.features, cameras=()), chunk_size=6)
    order = order_of(mixed, TrainConfig(source_weights=(1.0, 3.0)), None)
    drawn = Windowed(order, mixed, capacity=30).draw(np.random.default_rng(0))
    assert np.mean(mixed.source_number[drawn] == 1) == pytest.approx(0.75, abs=1 / len(mixed))


# -- the samples


def samples_of(
    run: RunConfig, paths: Sequence[Path], cache_dir: Path
) -> tuple[ChunkDataset, AbstractContextManager[Samples]]:
    source = open_sources(paths, run.source)
    training, validation = source.episode_indices[1:], source.episode_indices[:1]
    features = replace(source.features, fps=source.features.fps / run.policy.downsample_factor)
    whole = ChunkDataset(
        source,
        training,
        features=features,
        chunk_size=run.policy.chunk_size,
        downsample_factor=run.policy.downsample_factor,
        cache_dir=cache_dir / "whole",
    )
    return whole, open_samples(run, source, features, training, validation, cache_dir / "streamed")


def assert_same_batch(first: Batch, second: Batch) -> None:
    assert first.images.keys() == second.images.keys()
    for name, image in first.images.items():
        assert torch.equal(image, second.images[name])
        assert image.stride() == second.images[name].stride()
    assert first.depth.keys() == second.depth.keys()
    for name, depth in first.depth.items():
        assert torch.equal(depth, second.depth[name])
    for name in ("state", "environment_state", "action", "action_is_pad", "episode_index"):
        one, two = getattr(first, name), getattr(second, name)
        assert (one is None and two is None) or torch.equal(one, two), name


def assert_streams_the_samples_of(whole: ChunkDataset, samples: Samples, config: TrainConfig, n_batches: int) -> None:
    """Each batch of a loader against the same samples from a full cache."""
    loader = Demonstrations(samples.training, samples.validation, config).train_dataloader()
    assert loader.batch_sampler is not None
    expected = list(islice(loader.batch_sampler, n_batches))
    batches = iter(loader)
    for indices in expected:
        assert_same_batch(next(batches), whole.__getitems__(indices))
    batches.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("batch_size", [4, 50])
def test_streamed_batches_hold_what_the_cached_ones_hold(
    streamed_run: RunConfig, dataset: Path, tmp_path: Path, batch_size: int
) -> None:
    """Several rounds, and batches that are larger than a window."""
    run = with_train(streamed_run, batch_size=batch_size, steps=60)
    whole, opened = samples_of(run, [dataset], tmp_path)
    with opened as samples:
        assert samples.training is not samples.vectors
        assert_streams_the_samples_of(whole, samples, run.train, 4 * len(whole) // batch_size)


def test_several_sources_are_streamed_with_downsampling(streamed_run: RunConfig, dataset: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", lengths=(19, 11), seed=1)
    run = with_train(streamed_run, steps=60, stream=30 * A_FRAME / 1e9)
    run = replace(run, policy=replace(run.policy, downsample_factor=2))
    whole, opened = samples_of(run, [dataset, other], tmp_path)
    with opened as samples:
        assert_streams_the_samples_of(whole, samples, run.train, 30)


def test_depth_is_streamed_beside_colour(streamed_run: RunConfig, tmp_path: Path) -> None:
    """Three RGB-D cameras; five episodes of 16 frames, 6 of them after downsampling."""
    root = behavior_files.write_2026(tmp_path / "demos-2026", dict.fromkeys(range(5), 16))
    a_frame = sum(5 * size * size for size in behavior_files.SIZES.values())
    run = with_train(streamed_run, steps=60, stream=20 * a_frame / 1e9)
    run = replace(run, policy=replace(run.policy, downsample_factor=3))
    whole, opened = samples_of(run, [root], tmp_path)
    with opened as samples:
        assert "windows of 609 kB, about 1 of 4 episodes each" in samples.remark  # 7 frames of 87040 bytes
        assert_streams_the_samples_of(whole, samples, run.train, 20)


# -- the bound


def blocks_below(folder: Path) -> int:
    """Bytes that files, also those without names that this process has open, take on the disk."""
    files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    for link in Path("/proc/self/fd").iterdir():
        try:
            if os.readlink(link).startswith(str(folder)) and os.readlink(link).endswith("(deleted)"):
                files.append(link.stat())
        except OSError:
            continue  # closed meanwhile
    return sum({of.st_ino: 512 * of.st_blocks for of in files}.values())


def test_the_disk_is_never_fuller_than_the_bound_and_empty_afterwards(
    tiny_run: RunConfig, dataset: Path, tmp_path: Path
) -> None:
    run = with_train(tiny_run, steps=60, stream=BOUND)
    _, opened = samples_of(run, [dataset], tmp_path)
    folder = tmp_path / "streamed"
    with opened as samples:
        fullest = 0
        for _ in islice(Demonstrations(samples.training, None, run.train).train_dataloader(), 60):
            fullest = max(fullest, blocks_below(folder))
        pages = 4 * 2 * 4096  # files end within a page: two cameras, windows and held-out frames
        assert BOUND * 1e9 / 2 < fullest <= BOUND * 1e9 + pages
        assert not [path for path in folder.rglob("*") if path.is_file()], "files without names"
        del samples
    assert blocks_below(folder) == 0


def test_a_bound_that_holds_everything_needs_no_stream(tiny_run: RunConfig, dataset: Path, tmp_path: Path) -> None:
    _, opened = samples_of(with_train(tiny_run, stream=75 * A_FRAME / 1e9), [dataset], tmp_path)
    with opened as samples:
        assert samples.training is samples.vectors


def test_a_bound_that_is_too_small_says_how_much_is_needed(tiny_run: RunConfig, dataset: Path, tmp_path: Path) -> None:
    """The longest episode of training has 15 frames, the held-out one 12, of 6144 bytes: 258048 in all."""
    run = with_train(tiny_run, stream=41 * A_FRAME / 1e9)
    message = (
        "train.stream is 252 kB, but 2 windows of the longest episode and one held-out episode take 258 kB "
        r"\(42 frames of 6 kB\); give it more, or lower policy.image_size"
    )
    with pytest.raises(ConfigError, match=message):
        samples_of(run, [dataset], tmp_path)[1].__enter__()
    _, opened = samples_of(with_train(tiny_run, stream=42.01 * A_FRAME / 1e9, steps=60), [dataset], tmp_path)
    with opened as samples:
        assert len(list(islice(Demonstrations(samples.training, None, run.train).train_dataloader(), 6))) == 6


def test_held_out_frames_take_a_quarter_at_most_and_the_rest_is_left_out_aloud(
    tiny_run: RunConfig, dataset: Path, tmp_path: Path
) -> None:
    run = with_train(tiny_run, stream=60 * A_FRAME / 1e9)
    source = open_source(dataset)
    with open_samples(run, source, source.features, (0, 2, 4), (1, 3, 5), tmp_path) as samples:
        assert samples.validation is not None
        assert samples.validation.indices.tolist() in ([1], [3], [5])
        assert "validating on 1 of 3 held-out episodes, for which there is room" in samples.remark
        kept = ChunkDataset(
            source, samples.validation.indices.tolist(), features=source.features, chunk_size=6, cache_dir=tmp_path
        )
        assert_same_batch(samples.validation.__getitems__(range(9)), kept.__getitems__(range(9)))


# -- runs


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_stream_equals_an_uninterrupted_one_bit_for_bit(
    streamed_run: RunConfig, dataset: Path, tmp_path: Path, accumulate: int
) -> None:
    """Twelve steps of 4 or 8 samples: through several windows, resumed in the middle of one."""
    before = set(threading.enumerate())
    run = with_train(streamed_run, steps=12, accumulate=accumulate, save_every=5, val_every=6)
    whole = train(run, data=dataset, out=tmp_path / "whole", cache_dir=tmp_path)
    train(run, data=dataset, out=tmp_path / "parts", cache_dir=tmp_path)
    checkpoints = tmp_path / "parts" / "checkpoints"
    for path in checkpoints.glob("step-*"):
        if path.name != "step-000010":
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
    (checkpoints / "best.json").unlink()
    resumed = train(run, data=dataset, out=tmp_path / "parts", cache_dir=tmp_path, resume=True)
    assert (whole.step, resumed.step) == (12, 12)
    assert_same_state(whole.checkpoint, resumed.checkpoint)
    assert not list(tmp_path.glob("*/*.colour"))
    assert set(threading.enumerate()) <= before


@pytest.mark.slow
def test_ctrl_c_saves_ends_the_decoding_and_the_run_goes_on_as_if_nothing_had_happened(
    streamed_run: RunConfig, dataset: Path, tmp_path: Path
) -> None:
    run = with_train(streamed_run, steps=9, val_every=9, save_every=9)
    whole = train(run, data=dataset, out=tmp_path / "whole", cache_dir=tmp_path)
    out = tmp_path / "parts"
    process = multiprocessing.get_context("spawn").Process(
        target=train_until_ctrl_c, args=(run, dataset, out, tmp_path)
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    resumed = train(run, data=dataset, out=out, cache_dir=tmp_path, resume=True)
    assert resumed.step == 9
    assert_same_state(whole.checkpoint, resumed.checkpoint)


def test_the_validation_is_that_of_a_cached_run(streamed_run: RunConfig, dataset: Path, tmp_path: Path) -> None:
    """Of untrained weights: both runs validate after a step whose rate is zero."""
    options: dict[str, object] = {"steps": 2, "warmup_steps": 1, "val_every": 1, "lr": 0.0, "lr_backbone": 0.0}
    errors = []
    for name, stream in (("streamed", streamed_run.train.stream), ("cached", None)):
        run = with_train(streamed_run, **options, stream=stream)
        train(run, data=dataset, out=tmp_path / name, cache_dir=tmp_path / "frames")
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        errors.append([line["val/l1"] for line in lines if "val/l1" in line])
    assert errors[0] == errors[1]


def test_the_command_line_takes_gigabytes(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--policy.dim-model", "16", "--policy.n-heads", "2", "--policy.dim-feedforward", "32"]
    small += ["--train.steps", "3", "--train.warmup-steps", "0", "--train.batch-size", "4"]
    places = ["--data", str(dataset), "--out", str(tmp_path / "run"), "--cache-dir", str(tmp_path)]
    assert main(["compact", *places, *small, "--stream", str(BOUND), "--accelerator", "cpu", "--devices", "1"]) == 0
    assert "streaming: 2 windows of" in " ".join(capsys.readouterr().err.split())
    assert read_run(tmp_path / "run").train.stream == BOUND


def test_another_bound_is_another_order_and_is_not_resumed(
    streamed_run: RunConfig, dataset: Path, tmp_path: Path
) -> None:
    train(streamed_run, data=dataset, out=tmp_path / "run", cache_dir=tmp_path)
    other = with_train(streamed_run, stream=0.5)
    with pytest.raises(ConfigError, match=r"train.stream is 0.5, but the run to resume was started with 0.000294912"):
        train(other, data=dataset, out=tmp_path / "run", cache_dir=tmp_path, resume=True)


def test_a_damaged_episode_ends_a_streamed_run_and_can_be_left_out(
    streamed_run: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(threading.enumerate())
    root = record(tmp_path / "data", 6, finish=False)
    cut_video(root, 1)
    a_frame = (48 * 64 + 32 * 32) * 3
    run = with_train(streamed_run, steps=20, val_every=20, val_fraction=0.0, stream=40 * a_frame / 1e9)
    with pytest.raises(DataError, match=r"episode 1: video '.*; --skip-bad goes on without such episodes"):
        train(run, data=root, out=tmp_path / "broken", cache_dir=tmp_path / "frames")
    result = train(run, data=root, out=tmp_path / "run", cache_dir=tmp_path / "frames", skip_bad=True)
    assert (result.step, set(result.left_out)) == (20, {1})
    assert 1 not in read_meta(find_checkpoint(tmp_path / "run")).provenance["data"]["training"]
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("left out episode 1: video '") == 1
    assert "streaming: 2 windows of 246 kB, about 2 of 5 episodes each, are shuffled one at a time" in said
    assert not list((tmp_path / "frames").iterdir())
    assert set(threading.enumerate()) <= before


def test_what_streaming_cannot_do_is_refused(streamed_run: RunConfig, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"leave train.num_workers at 0, not 2"):
        TrainConfig(stream=1.0, num_workers=2)
    with pytest.raises(ConfigError, match=r"train.stream is 0 GB; it must be positive"):
        TrainConfig(stream=0)
    two = with_train(streamed_run, devices="2")
    with pytest.raises(ConfigError, match=r"train.stream works on one device, not on 2: give --devices 1"):
        train(two, data=dataset, out=tmp_path / "two", cache_dir=tmp_path)
    alone = with_train(streamed_run, val_fraction=0.0)
    with pytest.raises(ConfigError, match="--tripwire with --stream needs held-out episodes"):
        train(alone, data=dataset, out=tmp_path / "wire", cache_dir=tmp_path, callbacks=[Tripwire(every=1)])
