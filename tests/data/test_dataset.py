"""Training samples against what was recorded, by hand."""

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from data.recordings import LENGTHS, frames_of, record, vectors_of
from foreact.config import PolicyConfig
from foreact.data.chunks import downsample
from foreact.data.dataset import ChunkDataset, collate
from foreact.data.selection import select_features
from foreact.data.source import open_source
from foreact.errors import DataError
from foreact.records import Batch


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "data")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def open_dataset(
    root: Path, cache: Path, config: PolicyConfig | None = None, episodes: tuple[int, ...] = (0, 1, 2, 3)
) -> ChunkDataset:
    config = config or PolicyConfig(chunk_size=5, n_action_steps=1)
    source = open_source(root)
    return ChunkDataset(
        source,
        episodes,
        features=select_features(source.features, config),
        chunk_size=config.chunk_size,
        downsample_factor=config.downsample_factor,
        image_size=config.image_size,
        cache_dir=cache,
    )


def test_a_sample_is_the_observation_and_the_chunk_that_begins_with_it(root: Path, cache: Path) -> None:
    dataset = open_dataset(root, cache)
    assert len(dataset) == sum(LENGTHS)
    batch = dataset.__getitems__(list(range(len(dataset))))
    row = 0
    for number, length in enumerate(LENGTHS):
        vectors, frames = vectors_of(number), frames_of(number)
        for step in range(length):
            assert batch.state is not None
            assert batch.environment_state is not None
            assert batch.action is not None
            assert batch.action_is_pad is not None
            assert batch.episode_index is not None
            np.testing.assert_array_equal(batch.state[row], vectors["observation.state"][step])
            np.testing.assert_array_equal(batch.environment_state[row], vectors["observation.environment_state"][step])
            expected = [vectors["action"][min(step + t, length - 1)].tolist() for t in range(5)]
            assert batch.action[row].tolist() == expected
            assert batch.action_is_pad[row].tolist() == [step + t >= length for t in range(5)]
            assert batch.episode_index[row] == number
            for camera, pictures in frames.items():
                difference = batch.images[camera][row].permute(1, 2, 0).numpy().astype(int) - pictures[step]
                assert np.abs(difference).mean() < 4  # codec error; frames differ by 10
            row += 1


def test_a_batch_is_its_samples_side_by_side(root: Path, cache: Path) -> None:
    dataset = open_dataset(root, cache)
    chosen = [30, 2, 2, 17]
    batch = dataset.__getitems__(chosen)
    for position, index in enumerate(chosen):
        alone = dataset[index]
        assert torch.equal(alone.images["wrist"][0], batch.images["wrist"][position])
        assert torch.equal(alone.action[0], batch.action[position])  # type: ignore[index]
    assert batch.images["overhead"].shape == (4, 3, 48, 64)
    assert batch.images["overhead"].dtype == torch.uint8
    assert batch.action is not None
    assert batch.action.dtype == torch.float32
    assert batch.depth == {}


def test_only_the_chosen_episodes_are_sampled(root: Path, cache: Path) -> None:
    dataset = open_dataset(root, cache, episodes=(3, 1))
    assert [episode.index for episode in dataset.episodes] == [3, 1]
    batch = dataset.__getitems__(list(range(len(dataset))))
    assert batch.episode_index is not None
    assert batch.episode_index.tolist() == [3] * LENGTHS[3] + [1] * LENGTHS[1]


def test_downsampled_samples_are_those_of_downsampled_episodes(root: Path, cache: Path) -> None:
    config = PolicyConfig(chunk_size=3, n_action_steps=1, downsample_factor=4, image_size=(24, 32))
    dataset = open_dataset(root, cache, config)
    source = open_source(root)
    batch = dataset.__getitems__(list(range(len(dataset))))
    assert batch.state is not None
    assert batch.action is not None
    states = [downsample(source.episode(index), 4).state for index in source.episode_indices]
    np.testing.assert_array_equal(batch.state, np.concatenate([state for state in states if state is not None]))
    assert batch.action[:, 0, 1].tolist()[:3] == [3.0, 7.0, 11.0]  # the last of each four
    # brightness tells the steps 0, 4, 8 of the first episode apart: 40 a picture
    grey = batch.images["overhead"][:3, 0, -1, -1].tolist()
    assert grey == pytest.approx([40, 80, 120], abs=4)
    assert batch.images["overhead"].shape[-2:] == (24, 32)


def test_what_was_not_selected_is_not_there(root: Path, cache: Path) -> None:
    config = PolicyConfig(use_state=False, use_environment_state=False, cameras=())
    batch = open_dataset(root, cache / "unused", config)[0]
    assert (batch.state, batch.environment_state, batch.images) == (None, None, {})
    assert not (cache / "unused").exists()


def test_loaders_return_the_same_batches_with_and_without_processes(root: Path, cache: Path) -> None:
    dataset = open_dataset(root, cache)
    batches: list[list[Batch]] = []
    for workers in (0, 1):
        context = "spawn" if workers else None
        loader: DataLoader[Batch] = DataLoader(
            dataset,
            batch_size=8,
            collate_fn=collate,  # type: ignore[arg-type]
            num_workers=workers,
            multiprocessing_context=context,
        )
        batches.append(list(loader))
    assert sum(batch.size for batch in batches[0]) == sum(LENGTHS)
    for alone, spawned in zip(*batches, strict=True):
        assert torch.equal(alone.images["overhead"], spawned.images["overhead"])
        assert torch.equal(alone.episode_index, spawned.episode_index)


def test_a_pickled_dataset_holds_no_frames(root: Path, cache: Path) -> None:
    dataset = open_dataset(root, cache)
    before = dataset[5]
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 20_000
    assert torch.equal(pickle.loads(pickled)[5].images["wrist"], before.images["wrist"])


@pytest.mark.parametrize("key", ["action", "observation.state"])
def test_a_number_that_is_not_finite_stops_before_training(key: str, tmp_path: Path) -> None:
    root = record(tmp_path / "data", 2)
    path = root / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    values = table[key].to_pylist()
    values[LENGTHS[0] + 2][1] = float("nan")
    column = pa.array(values, table.schema.field(key).type)
    pq.write_table(table.set_column(table.column_names.index(key), key, column), path)
    message = rf"^episode 1 \('{path}'\): '{key}' is nan at frame 2, dimension 1; leave the episode out"
    with pytest.raises(DataError, match=message):
        open_dataset(root, tmp_path, episodes=(0, 1))
    open_dataset(root, tmp_path, episodes=(0,))


def test_an_empty_choice_is_refused(root: Path, cache: Path) -> None:
    with pytest.raises(DataError, match=r"no episodes of '.*data' were chosen"):
        open_dataset(root, cache, episodes=())


def test_depth_comes_in_metres(root: Path, tmp_path: Path) -> None:
    """A depth video made here with PyAV from the documented quantiser, read through the whole path."""
    import av

    root = record(tmp_path / "data", 1)
    length = LENGTHS[0]
    slope = np.linspace(0.2, 3.0, 64) * np.ones((48, 1))
    span = np.log(13.5) - np.log(3.51)
    codes = [np.rint(4095 * (np.log(slope + 0.1 * k + 3.5) - np.log(3.51)) / span) for k in range(length)]
    path = root / "videos/observation.images.overhead_depth/chunk-000/file-000.mp4"
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        options = {"x265-params": "lossless=1:log-level=none:keyint=2:bframes=0"}
        stream = container.add_stream("libx265", rate=10, options=options)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "gray12le"
        for picture in codes:
            frame = av.VideoFrame.from_ndarray(picture.astype(np.uint16), format="gray12le")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    info = json.loads((root / "meta/info.json").read_text())
    axes = ["height", "width", "channels"]
    info["features"]["observation.images.overhead_depth"] = {
        "dtype": "video",
        "shape": [48, 64, 1],
        "names": axes,
        "info": {"is_depth_map": True, "video.depth_min": 0.01, "video.depth_max": 10.0, "video.shift": 3.5},
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    rows = root / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(rows)
    for name in ("chunk_index", "file_index", "from_timestamp", "to_timestamp"):
        column = table[f"videos/observation.images.overhead/{name}"]
        table = table.append_column(f"videos/observation.images.overhead_depth/{name}", column)
    pq.write_table(table, rows)

    source = open_source(root)
    overhead = source.features.cameras[0]
    assert (overhead.name, overhead.channels, overhead.depth_range) == ("overhead", 4, (0.01, 10.0))
    batch = open_dataset(root, tmp_path / "cache", episodes=(0,)).__getitems__([0, 5])
    assert batch.depth["overhead"].shape == (2, 1, 48, 64)
    for position, step in enumerate((0, 5)):
        # half a code, (d + 3.5) * 0.000329 / 2, and half a millimetre
        np.testing.assert_allclose(batch.depth["overhead"][position, 0], slope + 0.1 * step, atol=0.0018)
    colour_only = open_dataset(root, tmp_path / "cache", PolicyConfig(use_depth=False), (0,))
    assert colour_only[0].depth == {}
