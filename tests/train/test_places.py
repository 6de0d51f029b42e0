"""Where a run writes: never into its data; and that it says what it sees."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from foreact.config import RunConfig
from foreact.diagnose.report import diagnose
from foreact.errors import DataError
from foreact.train.run import train
from spots import write_dataset


def content(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def short_run(tiny_run: RunConfig) -> RunConfig:
    return replace(tiny_run, train=replace(tiny_run.train, steps=1, warmup_steps=0, val_every=1, save_every=1))


@pytest.mark.parametrize("option", ["--out", "--cache-dir"])
@pytest.mark.parametrize("stream", [None, 1.0])
def test_a_run_does_not_write_into_its_data(
    short_run: RunConfig, tmp_path: Path, option: str, stream: float | None
) -> None:
    root, first = write_dataset(tmp_path / "data"), write_dataset(tmp_path / "first", lengths=(9, 8), seed=1)
    before = content(root)
    run = replace(short_run, train=replace(short_run.train, stream=stream))
    message = rf"^{option} '{root}/(run|cache)' lies in the data set '{root}', which is never changed; choose another"
    out = (root if option == "--out" else tmp_path) / "run"
    cache_dir = (root if option == "--cache-dir" else tmp_path) / "cache"
    with pytest.raises(DataError, match=message):
        train(run, data=[first, root], out=out, cache_dir=cache_dir)
    assert content(root) == before
    assert not (tmp_path / "run").exists()


def test_the_users_cache_is_not_made_in_the_data_either(
    short_run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_dataset(tmp_path / "data")
    monkeypatch.setenv("FOREACT_CACHE", str(root / "frames"))
    with pytest.raises(DataError, match=r"--cache-dir '.*data/frames' lies in the data set"):
        train(short_run, data=root, out=tmp_path / "run")
    assert not (root / "frames").exists()


def test_a_diagnosis_does_not_cache_into_the_data(dataset: Path, short_run: RunConfig, tmp_path: Path) -> None:
    train(short_run, data=dataset, out=tmp_path / "run", cache_dir=tmp_path / "cache")
    with pytest.raises(DataError, match=r"--cache-dir '.*/cache' lies in the data set"):
        diagnose(tmp_path / "run", episodes=1, cache_dir=dataset / "cache")
    assert not (dataset / "cache").exists()


def show(run: RunConfig) -> RunConfig:
    return replace(run, policy=replace(run.policy, image_size=(24, 24)))


def hide(run: RunConfig) -> RunConfig:
    return replace(run, policy=replace(run.policy, cameras=()))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (show, "cameras: overhead 32x32 as 24x24, wrist 32x32 as 24x24"),
        (hide, "no cameras: the policy will be blind"),
    ],
)
def test_a_run_says_what_it_sees(
    change: Callable[[RunConfig], RunConfig],
    line: str,
    dataset: Path,
    short_run: RunConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train(change(short_run), data=dataset, out=tmp_path / "run", cache_dir=tmp_path / "cache")
    assert line in capsys.readouterr().err.splitlines()
