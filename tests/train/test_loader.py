"""The order of the training samples: uniform, balanced over the coordinates, and in couples of a scene."""

import shutil
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foreact.config import TrainConfig
from foreact.data.dataset import ChunkDataset
from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.data.source import open_source
from foreact.errors import ConfigError
from foreact.records import Features
from foreact.train.loader import Demonstrations, StepLoader, StepSampler
from foreact.train.order import Balanced, Order, Paired, Uniform, order_of
from spots import write_dataset

LENGTHS = (4, 6, 5, 3, 4)
CUES = ((0.20, 0.00), (0.21, 0.00), (0.20, 0.01), (0.30, 0.10), (0.30, 0.20))
"""Three within two centimetres of each other, two alone."""
SCENES = {0: 7, 1: 7, 2: 9, 3: 11, 4: 9}
"""Episodes 0 and 1 are a pair, 2 and 4 another; 3 has no partner."""
UNIFORM, BALANCED, PAIRED = (
    TrainConfig(sampling=sampling, steps=10, batch_size=4, seed=5) for sampling in ("uniform", "balanced", "paired")
)


def write(root: Path, *, cues: bool = True) -> ChunkDataset:
    """Episodes whose actions say which episode and frame they are."""
    features = Features(action_names=("episode", "frame"), environment_names=("x", "y") if cues else (), fps=10.0)
    writer = DatasetWriter(root, features=features, robot_type="test")
    for index, (length, cue) in enumerate(zip(LENGTHS, CUES, strict=True)):
        action = np.stack([np.full(length, index), np.arange(length)], axis=1).astype(np.float32)
        coordinates = {"observation.environment_state": np.tile(cue, (length, 1))} if cues else {}
        vectors = {"action": action, **coordinates}
        writer.add(stage_episode(writer.staging, task="go", vectors=vectors, frames={}, fps=10))
    writer.finish()
    return ChunkDataset(open_source(root), range(len(LENGTHS)), features=features, chunk_size=2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ChunkDataset:
    return write(tmp_path_factory.mktemp("order") / "data")


def stream(order: Order, *, batch_size: int = 4, n_batches: int, **place: int) -> list[list[int]]:
    return list(StepSampler(order, batch_size=batch_size, n_batches=n_batches, seed=5, **place))


def moments(dataset: ChunkDataset, indices: list[int]) -> list[tuple[int, int]]:
    """Episode and frame of samples, as their actions say."""
    action = dataset.__getitems__(indices).action
    assert action is not None
    return [(int(episode), int(frame)) for episode, frame in action[:, 0].tolist()]


def test_the_uniform_stream_is_one_permutation_after_the_other(dataset: ChunkDataset) -> None:
    """The stream of the first version, bit for bit: runs that were begun with it go on."""
    n = sum(LENGTHS)
    expected = np.concatenate([np.random.default_rng([5, number]).permutation(n) for number in range(4)])
    batches = stream(order_of(dataset, UNIFORM, SCENES), n_batches=20)
    assert [i for batch in batches for i in batch] == expected[:80].tolist()


def test_balanced_shows_crowded_places_no_more_often_than_lonely_ones(dataset: ChunkDataset) -> None:
    order = order_of(dataset, BALANCED, None)
    rounds = 300
    indices = np.concatenate([order.draw(np.random.default_rng([0, number])) for number in range(rounds)]).tolist()
    seen = Counter(episode for episode, _ in moments(dataset, indices))
    n = sum(LENGTHS)
    # Three places with a third of all samples each; one of them is shared by three episodes.
    for episode, share in {0: 1 / 9, 1: 1 / 9, 2: 1 / 9, 3: 1 / 3, 4: 1 / 3}.items():
        # Each frame is seen its share rounded up or down, so the mean of 300 rounds is near.
        assert seen[episode] / (n * rounds) == pytest.approx(share, abs=0.005)
    per_frame = Counter(indices)
    assert {per_frame[i] for i in range(LENGTHS[0])} <= set(range(150, 250)), "its frames share alike: 22 / 36 a round"


def test_balanced_shows_each_sample_its_share_of_a_round_up_or_down() -> None:
    weights = np.array([1.0, 1.0, 2.0, 4.0, 0.5, 1.5])
    order = Balanced(weights)
    for number in range(50):
        drawn = np.bincount(order.draw(np.random.default_rng(number)), minlength=6)
        assert drawn.sum() == 6
        assert np.all(np.abs(drawn - 6 * weights / weights.sum()) < 1)


def test_balanced_with_equal_weights_is_a_permutation() -> None:
    order = Balanced(np.full(11, 0.3))
    first, second = (order.draw(np.random.default_rng(number)).tolist() for number in (0, 1))
    assert sorted(first) == sorted(second) == list(range(11))
    assert first != second


def test_paired_puts_the_same_frame_of_a_scenes_episodes_side_by_side(dataset: ChunkDataset) -> None:
    order = order_of(dataset, PAIRED, SCENES)
    couples = set()
    for batch in stream(order, n_batches=len(order) // 4):
        for first, second in zip(*[iter(moments(dataset, batch))] * 2, strict=True):
            assert first[1] == second[1]
            couples.add((*sorted((first[0], second[0])), first[1]))
    # A round: every frame up to the shorter episode's end (4 of 4 and 6, 4 of 5 and 4), and nothing of episode 3.
    assert couples == {(0, 1, frame) for frame in range(4)} | {(2, 4, frame) for frame in range(4)}
    assert len(order) == 16


def test_either_episode_of_a_pair_comes_first(dataset: ChunkDataset) -> None:
    indices = order_of(dataset, PAIRED, SCENES).draw(np.random.default_rng(0)).tolist()
    leading = {episode for episode, _ in moments(dataset, indices[::2])}
    assert leading == {0, 1, 2, 4}


def test_scenes_of_three_and_four_blocks_make_couples_of_their_own() -> None:
    order = Paired([np.array([[0, 10, 20], [1, 11, 21]]), np.array([[30, 40, 50, 60]])])
    assert len(order) == 8
    together = set()
    for number in range(50):
        drawn = order.draw(np.random.default_rng(number)).reshape(-1, 2)
        assert len({int(i) for i in drawn.ravel()}) == 8, "nobody twice in a round"
        together |= {tuple(sorted(couple)) for couple in drawn.tolist()}
    of_three = {(a + f, b + f) for f in (0, 1) for a, b in ((0, 10), (0, 20), (10, 20))}
    of_four = {(30, 40), (30, 50), (30, 60), (40, 50), (40, 60), (50, 60)}
    assert together == of_three | of_four


@pytest.mark.parametrize("config", [UNIFORM, BALANCED, PAIRED], ids=lambda config: config.sampling)
def test_every_order_resumes_and_is_shared_by_devices(dataset: ChunkDataset, config: TrainConfig) -> None:
    order = order_of(dataset, config, SCENES)
    whole = stream(order, n_batches=30)
    later = StepSampler(order, batch_size=4, n_batches=30, seed=5)
    later.start = 13
    assert list(later) == whole[13:]
    ranks = [stream(order, batch_size=2, n_batches=30, rank=rank, world_size=2) for rank in (0, 1)]
    assert [first + second for first, second in zip(*ranks, strict=True)] == whole


def test_a_loader_continues_with_the_couples_that_come_next(dataset: ChunkDataset) -> None:
    def loader() -> StepLoader:
        sampler = StepSampler(order_of(dataset, PAIRED, SCENES), batch_size=4, n_batches=6, seed=5)
        return StepLoader(dataset, sampler, num_workers=0, pin_memory=False)

    whole = [batch.episode_index for batch in loader()]
    first, second = loader(), loader()
    batches = iter(first)
    begun = [next(batches).episode_index for _ in range(4)]
    second.load_state_dict(first.state_dict())
    for ours, expected in zip([*begun, *(batch.episode_index for batch in second)], whole, strict=True):
        assert ours is not None
        assert expected is not None
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_threads_read_the_same_batches_in_the_same_order(dataset: ChunkDataset, n_threads: int) -> None:
    before = set(threading.enumerate())

    def loader(num_workers: int) -> StepLoader:
        sampler = StepSampler(Uniform(len(dataset)), batch_size=4, n_batches=20, seed=5)
        return StepLoader(dataset, sampler, num_workers=num_workers, pin_memory=False)

    expected = [batch.action for batch in loader(0)]
    ahead = loader(n_threads)
    begun = iter(ahead)
    read = [next(begun).action for _ in range(7)]
    begun.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) <= before
    later = loader(n_threads)
    later.load_state_dict(ahead.state_dict())
    for ours, other in zip([*read, *(batch.action for batch in later)], expected, strict=True):
        assert ours is not None
        assert other is not None
        assert torch.equal(ours, other)


def test_what_goes_wrong_in_a_thread_arrives_as_it_is(tmp_path: Path) -> None:
    source = open_source(write_dataset(tmp_path / "data", lengths=(9, 9)))
    pictures = ChunkDataset(source, (0, 1), features=source.features, chunk_size=2, cache_dir=tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    sampler = StepSampler(Uniform(len(pictures)), batch_size=4, n_batches=20, seed=5)
    with pytest.raises(FileNotFoundError, match=r"overhead-32x32-every1\.colour"):
        next(iter(StepLoader(pictures, sampler, num_workers=2, pin_memory=False)))


def test_what_the_data_do_not_have_is_refused(dataset: ChunkDataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"paired needs scenes .* record with foreact record --paired"):
        Demonstrations(dataset, None, PAIRED)
    with pytest.raises(ConfigError, match="paired needs scenes"):
        Demonstrations(dataset, None, PAIRED, {index: index for index in range(5)})
    with pytest.raises(ConfigError, match=r"train\.batch_size is 5; paired sampling needs an even number"):
        Demonstrations(dataset, None, replace(PAIRED, batch_size=5), SCENES)
    with pytest.raises(ConfigError, match=r"balanced needs coordinates, but the data have no observation\.environment"):
        Demonstrations(write(tmp_path / "blind", cues=False), None, BALANCED)


def test_uniform_needs_neither_coordinates_nor_scenes(tmp_path: Path) -> None:
    blind = write(tmp_path / "blind", cues=False)
    assert len(order_of(blind, UNIFORM, None)) == len(blind) == len(Uniform(22))
