"""The frame cache: decoded once, shared, continued, and honest about a full disk."""

import multiprocessing
import pickle
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data.children import EVERY, WatchedSource, cached, fill_and_die, fill_with_a_limit, race
from data.recordings import LENGTHS, record
from foreact.data.frame_cache import cache_frames, default_cache_dir, first_rows
from foreact.data.images import resize_frames
from foreact.data.source import open_source
from foreact.errors import DataError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "data")


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    """New processes, forked from a server that has imported torch once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["foreact.data.frame_cache"])
    return context


@pytest.mark.parametrize(("size", "every"), [((48, 64), 1), ((30, 40), 1), ((30, 40), 3)])
def test_cached_frames_are_those_of_the_source_resized(
    root: Path, tmp_path: Path, size: tuple[int, int], every: int
) -> None:
    source = open_source(root)
    array = cached(source, tmp_path, size=size, every=every).array
    expected = []
    for index in source.episode_indices:
        frames = np.stack(list(source.frames(index, "overhead")))[::every]
        expected.append(resize_frames(torch.from_numpy(frames).permute(0, 3, 1, 2), size).permute(0, 2, 3, 1).numpy())
        row = first_rows(source, every)[index]
        np.testing.assert_array_equal(array[row : row + len(frames)], expected[-1])
    assert len(array) == sum(len(part) for part in expected)
    assert not array.flags.writeable


def test_frames_are_decoded_once(root: Path, tmp_path: Path) -> None:
    source = WatchedSource(root)
    cached(source, tmp_path)
    assert source.n_frames == sum(LENGTHS)
    cached(source, tmp_path)
    assert source.n_frames == sum(LENGTHS)


def test_training_and_validation_share_a_cache(root: Path, tmp_path: Path) -> None:
    source = WatchedSource(root)
    cached(source, tmp_path, (0, 2))
    assert source.n_frames == LENGTHS[0] + LENGTHS[2]
    frames = cached(source, tmp_path, (1, 2, 3))
    assert source.n_frames == sum(LENGTHS)
    np.testing.assert_array_equal(frames.array, cached(source, tmp_path / "other").array)


def test_other_settings_have_another_cache(root: Path, tmp_path: Path) -> None:
    source = open_source(root)
    paths = {
        cached(source, tmp_path).path,
        cached(source, tmp_path, size=(24, 32)).path,
        cached(source, tmp_path, every=2).path,
        cache_frames(source, (0,), camera="wrist", size=(48, 64), cache_dir=tmp_path).path,
    }
    assert len(paths) == 4


def test_an_interrupted_cache_goes_on_where_it_was(root: Path, tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    source = WatchedSource(root, {LENGTHS[0] + 3: interrupt})
    with pytest.raises(KeyboardInterrupt):
        cached(source, tmp_path)
    again = WatchedSource(root)
    frames = cached(again, tmp_path)
    assert again.n_frames == sum(LENGTHS[1:])
    np.testing.assert_array_equal(frames.array, cached(again, tmp_path / "other").array)


def test_a_killed_cache_goes_on_where_it_was(
    root: Path, tmp_path: Path, processes: multiprocessing.context.ForkServerContext
) -> None:
    process = processes.Process(target=fill_and_die, args=(root, tmp_path, LENGTHS[0] + LENGTHS[1] + 2))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    source = WatchedSource(root)
    frames = cached(source, tmp_path)
    assert source.n_frames == LENGTHS[2] + LENGTHS[3]
    np.testing.assert_array_equal(frames.array, cached(source, tmp_path / "other").array)


def test_of_two_processes_one_decodes_and_the_other_waits_for_it(
    root: Path, tmp_path: Path, processes: multiprocessing.context.ForkServerContext
) -> None:
    both = [processes.Process(target=race, args=(root, tmp_path, number)) for number in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    results = [(tmp_path / f"result{number}").read_text().split() for number in range(2)]
    assert sorted(int(n_frames) for n_frames, _ in results) == [0, sum(LENGTHS)]
    assert results[0][1] == results[1][1]


def test_a_cache_of_the_wrong_size_is_made_again(root: Path, tmp_path: Path) -> None:
    source = WatchedSource(root)
    frames = cached(source, tmp_path)
    good = frames.array.copy()
    with frames.path.open("r+b") as file:
        file.truncate(1000)
    np.testing.assert_array_equal(cached(source, tmp_path).array, good)
    assert source.n_frames == 2 * sum(LENGTHS)


def test_depth_is_kept_in_millimetres(root: Path, tmp_path: Path) -> None:
    source = WatchedSource(root)
    frames = cache_frames(source, EVERY, camera="wrist", size=(32, 32), depth=True, cache_dir=tmp_path)
    assert frames.array.dtype == np.uint16
    slope = np.linspace(0, 2, 32)
    np.testing.assert_allclose(frames.array[3, 7] / 1000, slope, atol=0.0005001)  # half a millimetre


def test_cached_frames_travel_as_a_path(root: Path, tmp_path: Path) -> None:
    frames = cached(open_source(root), tmp_path)
    total = frames.array.sum()
    travelled = pickle.dumps(frames)
    assert len(travelled) < 1000
    assert pickle.loads(travelled).array.sum() == total


def test_the_folder_comes_from_the_environment_or_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOREACT_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("FOREACT_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache/foreact/frames"


def test_a_camera_name_cannot_lead_out_of_the_cache(root: Path, tmp_path: Path) -> None:
    """The name comes from info.json, which may have been downloaded."""
    source = open_source(root)
    with pytest.raises(DataError, match="unknown camera"):
        cache_frames(source, EVERY, camera="../../evil", size=(8, 8), cache_dir=tmp_path / "cache")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.fixture
def small_disk(make_disk: Callable[[int], Path]) -> Path:
    """66 MiB: 2 above what the cache leaves free."""
    return make_disk(66 * 1024)


def test_a_cache_that_does_not_fit_on_the_disk_is_not_begun(root: Path, small_disk: Path) -> None:
    source = WatchedSource(root)
    message = (
        r"frame cache of camera 'overhead' needs 37 MB in '.*', where 69 MB are free; free some space, "
        r"train with --stream, lower policy.image_size, "
        r"or choose another disk with --cache-dir or \$FOREACT_CACHE"
    )
    with pytest.raises(DataError, match=message):
        cached(source, small_disk, size=(480, 600))
    assert source.n_frames == 0
    assert not list(small_disk.rglob("*.colour"))


def test_a_disk_that_fills_up_while_decoding_is_named_and_freed(root: Path, small_disk: Path) -> None:
    """Something else takes the room between the check and the writing."""

    def fill() -> None:
        with (small_disk / "other").open("wb", buffering=0) as other:
            while other.write(bytes(2**16)) == 2**16:  # the last write on a full disk is short
                pass

    source = WatchedSource(root, {15: fill})
    with pytest.raises(DataError, match=r"needs 396 kB in '.*', where \d+ kB are free; free some space"):
        cached(source, small_disk)
    assert not [path for path in small_disk.rglob("*") if path.name.endswith((".colour", ".done"))]
    (small_disk / "other").unlink()
    assert len(cached(WatchedSource(root), small_disk).array) == sum(LENGTHS)


def test_a_limit_on_the_size_of_files_is_an_error_too(
    root: Path, tmp_path: Path, processes: multiprocessing.context.ForkServerContext
) -> None:
    """A quota of the shell or the file system, without root."""
    process = processes.Process(target=fill_with_a_limit, args=(root, tmp_path, 100_000))
    process.start()
    process.join(60)
    message = (tmp_path / "error").read_text()
    assert message.startswith("the frame cache of camera 'overhead' needs 396 kB in")
    assert not list(tmp_path.rglob("*.colour"))


def test_a_folder_that_cannot_be_made_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        DataError, match=r"cannot make the frame cache '.*file/.*': Not a directory; choose another disk"
    ):
        cached(open_source(root), tmp_path / "file")
