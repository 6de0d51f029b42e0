"""Training without damaged episodes, a cut video and a NaN: found, named, counted and left out for good."""

from dataclasses import replace
from pathlib import Path

import pytest

from data.damage import cut_video, record_damaged, write_nan
from data.recordings import length_of, record
from foreact.config import RunConfig
from foreact.data.split import split_episodes
from foreact.errors import DataError
from foreact.policy.checkpoint import find_checkpoint, read_meta
from foreact.train.run import train

GOOD = (0, 2, 3, 5)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record_damaged(tmp_path_factory.mktemp("damaged") / "data")


@pytest.fixture
def short_run(tiny_run: RunConfig) -> RunConfig:
    return replace(tiny_run, train=replace(tiny_run.train, steps=3, val_fraction=0.25))


def test_without_the_option_the_first_damaged_episode_ends_it_and_the_option_is_named(
    damaged: Path, short_run: RunConfig, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"episode \d.*; --skip-bad goes on without such episodes"):
        train(short_run, data=damaged, out=tmp_path / "run", cache_dir=tmp_path)
    assert not (tmp_path / "run").exists()


def test_damaged_episodes_are_named_once_counted_and_the_split_is_that_of_the_good_ones(
    damaged: Path, short_run: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train(short_run, data=damaged, out=tmp_path / "run", cache_dir=tmp_path, skip_bad=True)
    assert result.left_out.keys() == {1, 4}
    said = capsys.readouterr().err
    assert said.count("left out episode 1: video '") == 1
    bad = f"left out episode 4 ('{damaged}/data/chunk-500/file-004.parquet'): 'action' is nan at frame 2, dimension 1"
    assert said.count(bad) == 1
    assert "left out 2 of 6 episodes: 1, 4" in said
    tasks = {index: ("pick", "place")[index % 2] for index in GOOD}
    lengths = {index: length_of(index) for index in GOOD}
    data = read_meta(find_checkpoint(tmp_path / "run")).provenance["data"]
    expected = split_episodes(tasks, lengths, 0.25, short_run.train.seed)
    assert (tuple(data["training"]), tuple(data["validation"])) == expected


def test_a_filled_cache_does_not_change_what_is_left_out(damaged: Path, short_run: RunConfig, tmp_path: Path) -> None:
    """As for a second process, which finds the good frames decoded and the bad ones missing."""
    runs = [train(short_run, data=damaged, out=tmp_path / n, cache_dir=tmp_path, skip_bad=True) for n in "ab"]
    assert runs[0].left_out == runs[1].left_out
    splits = [read_meta(run.checkpoint).provenance["data"] for run in runs]
    assert splits[0] == splits[1]


def test_a_resumed_run_leaves_out_the_same_episodes(damaged: Path, short_run: RunConfig, tmp_path: Path) -> None:
    first = train(short_run, data=damaged, out=tmp_path / "run", cache_dir=tmp_path, skip_bad=True)
    before = read_meta(first.checkpoint).provenance["data"]
    longer = replace(short_run, train=replace(short_run.train, steps=6))
    resumed = train(longer, data=damaged, out=tmp_path / "run", cache_dir=tmp_path, resume=True)
    assert (resumed.step, resumed.left_out) == (6, first.left_out)
    assert read_meta(resumed.checkpoint).provenance["data"] == before


def test_damaged_episodes_of_a_mix_are_left_out_by_their_new_index(
    damaged: Path, short_run: RunConfig, tmp_path: Path
) -> None:
    first = record(tmp_path / "first", 2)
    result = train(short_run, data=[first, damaged], out=tmp_path / "run", cache_dir=tmp_path, skip_bad=True)
    assert result.left_out.keys() == {2 + 1, 2 + 4}
    sources = read_meta(result.checkpoint).provenance["data"]["sources"]
    assert [entry["episode"] for entry in sources[1]["left_out"]] == [1, 4]
    assert sources[0]["left_out"] == []


def test_a_set_without_a_good_episode_and_metadata_that_cannot_be_read_stay_errors(
    short_run: RunConfig, tmp_path: Path
) -> None:
    root = record(tmp_path / "data", 3, finish=False)
    cut_video(root, 0, "overhead")
    cut_video(root, 1)
    write_nan(root, 2)
    with pytest.raises(DataError, match=r"all 3 episodes of '.*data' are damaged, the first: "):
        train(short_run, data=root, out=tmp_path / "run", cache_dir=tmp_path, skip_bad=True)
    (root / "meta/info.json").write_text("{")
    with pytest.raises(DataError, match=r"info.json' cannot be read as JSON"):
        train(short_run, data=root, out=tmp_path / "run", cache_dir=tmp_path, skip_bad=True)
