"""Several data sets as one: what must agree, how episodes are renumbered, and how often each source is drawn."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from data.children import WatchedSource
from data.recordings import FEATURES, FPS, LENGTHS, frames_of, record, vectors_of
from foreact.cli.main import run as main
from foreact.config import RunConfig, TrainConfig
from foreact.data.dataset import ChunkDataset
from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.data.mixed import MixedSource, open_sources
from foreact.data.sidecar import Sidecar, write_sidecar
from foreact.data.source import open_source
from foreact.errors import ConfigError, DataError
from foreact.policy.checkpoint import data_paths, find_checkpoint, read_meta
from foreact.records import Calibration, Features
from foreact.train.order import order_of
from foreact.train.run import train
from spots import write_dataset

N_FIRST = len(LENGTHS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`first` with four episodes, `second` with the first two of the same."""
    folder = tmp_path_factory.mktemp("mixed")
    record(folder / "first")
    record(folder / "second", 2)
    return folder


def write_vectors(root: Path, features: Features, scale: np.ndarray | float = 1.0, n_episodes: int = 3) -> Path:
    """Episodes without pictures, their state and action a random walk times a scale."""
    writer = DatasetWriter(root, features=features, robot_type="test")
    for number in range(n_episodes):
        walk = np.random.default_rng(number).normal(size=(40, features.state_dim)).cumsum(axis=0)
        vectors = {"observation.state": walk * scale, "action": walk * scale}
        writer.add(stage_episode(writer.staging, task="go", vectors=vectors, frames={}, fps=features.fps))
    writer.finish()
    return root


ARM = Features(action_names=tuple("abcd"), state_names=tuple("abcd"), fps=float(FPS))


def test_episodes_are_renumbered_and_are_those_of_their_sources(folder: Path) -> None:
    mixed = open_sources([folder / "first", folder / "second"])
    assert mixed.episode_indices == tuple(range(N_FIRST + 2))
    for index in mixed.episode_indices:
        number = index if index < N_FIRST else index - N_FIRST
        episode = mixed.episode(index)
        assert (episode.index, mixed.lengths[index]) == (index, LENGTHS[number])
        assert episode.task == mixed.tasks[index] == ("pick", "place")[number % 2]
        np.testing.assert_array_equal(episode.action, vectors_of(number)["action"])
        grey = [frame[-1, -1, 0] for frame in mixed.frames(index, "overhead")]
        expected = [picture[-1, -1, 0] for picture in frames_of(number)["overhead"]]
        assert np.abs(np.array(grey, int) - np.array(expected, int)).max() <= 4


def test_indices_with_gaps_are_counted_through(folder: Path) -> None:
    class Gaps(WatchedSource):
        """The same episodes, numbered 5, 6, 7, 8."""

        def __init__(self, root: Path) -> None:
            super().__init__(root)
            self.episode_indices = tuple(index + 5 for index in self._of.episode_indices)
            self.lengths = {index: self._of.lengths[index - 5] for index in self.episode_indices}
            self.tasks = {index: self._of.tasks[index - 5] for index in self.episode_indices}
            self.scenes = {index: index for index in self.episode_indices}

        def episode(self, index: int):  # type: ignore[no-untyped-def]
            return super().episode(index - 5)

    mixed = MixedSource([Gaps(folder / "first"), open_source(folder / "second")])
    assert mixed.origin(2) == (0, 7)
    assert mixed.origin(N_FIRST + 1) == (1, 1)
    np.testing.assert_array_equal(mixed.episode(2).action, vectors_of(2)["action"])
    with pytest.raises(DataError, match="there is no episode 6; the mix has 6, from 0 on"):
        mixed.episode(6)


def test_scenes_of_different_sources_never_coincide(folder: Path, tmp_path: Path) -> None:
    roots = [record(tmp_path / "one"), record(tmp_path / "two", 2)]
    write_sidecar(roots[0], Sidecar(scenes=(0, 0, 7, 7)))
    write_sidecar(roots[1], Sidecar(scenes=(7, 7)))
    scenes = open_sources(roots).scenes
    groups = Counter(scenes.values())
    assert sorted(groups.values()) == [2, 2, 2]
    assert scenes[0] == scenes[1] != scenes[2] == scenes[3] != scenes[4] == scenes[5]


def test_the_fingerprint_tells_content_and_order(folder: Path) -> None:
    prints = {
        open_sources([folder / name for name in names]).fingerprint()
        for names in (("first", "second"), ("second", "first"), ("first",))
    }
    assert len(prints) == 3
    again = open_sources([folder / "first", folder / "second"]).fingerprint()
    assert again in prints


def test_a_data_set_given_twice_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"first' was given twice; name it once"):
        open_sources([folder / "first", folder / "second" / ".." / "first"])


def test_a_data_set_given_twice_is_refused_wherever_it_stands(folder: Path, tmp_path: Path) -> None:
    """Else the same episodes were trained on and held out."""
    first, second = folder / "first", folder / "second"
    link = tmp_path / "link"
    link.symlink_to(second)
    for paths in ([first, second, second], [first, second, link], [second, first, second]):
        with pytest.raises(DataError, match=r"(second|link)' was given twice; name it once"):
            open_sources(paths)
    copy = shutil.copytree(second, tmp_path / "copy", copy_function=shutil.copyfile)
    message = r"'.*copy' is a copy of '.*second': the same episodes would be trained on and held out; name one"
    with pytest.raises(DataError, match=message):
        open_sources([first, second, copy])


Change = Callable[[Features], Features]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda of: replace(of, fps=20.0), "fps is 10 in the first, 20 in the second; use sources of one rate"),
        (
            lambda of: replace(of, action_names=tuple("abce")),
            "action_names are d only in the first, e only in the second; where two mean the same, foreact convert "
            "--rename OLD=NEW gives them one name",
        ),
        (
            lambda of: replace(of, state_names=tuple("abdc")),
            r"state_names are the same in another order; bring the second's columns into the order of the first "
            r"\(--rename changes names, not the order of the numbers\)",
        ),
    ],
)
def test_sources_that_differ_are_refused_with_both_names_and_the_difference(
    change: Change, message: str, tmp_path: Path
) -> None:
    write_vectors(tmp_path / "one", ARM)
    write_vectors(tmp_path / "two", change(ARM))
    with pytest.raises(DataError, match=rf"'.*/one' and '.*/two' cannot be mixed: {message}"):
        open_sources([tmp_path / "one", tmp_path / "two"])


def test_cameras_that_differ_are_refused(folder: Path, tmp_path: Path) -> None:
    def write(name: str, features: Features) -> Path:
        writer = DatasetWriter(tmp_path / name, features=features, robot_type="x")
        frames = {of.name: [np.zeros((of.height, of.width, 3), np.uint8)] * 4 for of in features.cameras}
        vectors = {key: value for key, value in vectors_of(0, 4).items() if key != "next.success"}
        writer.add(stage_episode(writer.staging, task="go", vectors=vectors, frames=frames, fps=FPS))
        writer.finish()
        return tmp_path / name

    overhead, wrist = FEATURES.cameras
    renamed = write("renamed", replace(FEATURES, cameras=(overhead, replace(wrist, name="hand"))))
    with pytest.raises(DataError, match="cameras are wrist only in the first, hand only in the second"):
        open_sources([folder / "first", renamed])
    larger = write("larger", replace(FEATURES, cameras=(replace(overhead, height=96), wrist)))
    with pytest.raises(DataError, match="camera 'overhead' is 48x64 in the first, 96x64 in the second"):
        open_sources([folder / "first", larger])
    turned = write("turned", replace(FEATURES, cameras=(wrist, overhead)))
    cameras = open_sources([folder / "first", turned]).features.cameras
    assert [camera.name for camera in cameras] == ["overhead", "wrist"], "the first's order; they are found by name"


def test_degrees_are_not_mixed_with_radians(tmp_path: Path) -> None:
    """A gripper in the same unit in both does not hide it."""
    write_vectors(tmp_path / "radians", ARM)
    write_vectors(tmp_path / "degrees", ARM, scale=np.array([180 / np.pi] * 3 + [1]))
    message = (
        r"3 of 4 dimensions of 'action' go through other numbers in '.*{}' than in '.*{}': 'a' .* to .* and .* to .*, "
        "'b' .*, 'c' .*; bring both to one unit, zero and direction"
    )
    for names in (("radians", "degrees"), ("degrees", "radians")):
        with pytest.raises(DataError, match=message.format(*names)):
            open_sources([tmp_path / name for name in names])


Numbers = np.ndarray | list[float]


def write_ramps(root: Path, low: Numbers, high: Numbers, key: str = "observation.state") -> Path:
    """Three episodes in which each dimension goes evenly from one number to another; the action is always the same."""
    names = tuple("abcdef"[: len(low)])
    of_state = key == "observation.state"
    features = Features(
        action_names=("x",),
        state_names=names if of_state else (),
        environment_names=() if of_state else names,
        fps=float(FPS),
    )
    writer = DatasetWriter(root, features=features, robot_type="test")
    for _ in range(3):
        vectors = {key: np.linspace(low, high, 101), "action": np.linspace(-1, 1, 101)}
        writer.add(stage_episode(writer.staging, task="go", vectors=vectors, frames={}, fps=features.fps))
    writer.finish()
    return root


LOW, HIGH = np.array([-1.0, 0.0, -0.5, 0.1, 0.4]), np.array([1.0, 0.8, 0.5, 0.9, 2.0])
"""Of five joints; three of them never go below zero."""


def elsewhere(*joints: int) -> tuple[np.ndarray, np.ndarray]:
    """Both ends with some of the joints 9 farther."""
    shift = 9 * np.isin(np.arange(len(LOW)), joints)
    return LOW + shift, HIGH + shift


@pytest.mark.parametrize(
    ("name", "low", "high", "verdict"),
    [
        ("the same", LOW, HIGH, "silent"),
        ("half as far", LOW / 2, HIGH / 2, "silent"),
        ("four times as far", 4 * LOW, 4 * HIGH, "silent"),
        ("ten times as far", 10 * LOW, 10 * HIGH, "warned of"),
        ("another scale and zero", 10 * LOW + 500, 10 * HIGH + 500, "refused"),
        ("another zero", LOW + 3, HIGH + 3, "refused"),
        ("the other direction", -HIGH, -LOW, "refused"),
        ("degrees", np.rad2deg(LOW), np.rad2deg(HIGH), "refused"),
        ("one joint elsewhere", *elsewhere(2), "warned of"),
        ("two joints elsewhere", *elsewhere(0, 2), "warned of"),
        ("three joints elsewhere", *elsewhere(0, 2, 4), "refused"),
        ("three joints at rest", LOW * [0, 1, 0, 1, 0] + 30, HIGH * [0, 1, 0, 1, 0] + 30, "refused"),
        ("all joints at rest", LOW * 0, LOW * 0, "silent"),
    ],
)
def test_other_ranges_are_warned_of_or_refused(
    name: str,
    low: np.ndarray,
    high: np.ndarray,
    verdict: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    roots = [write_ramps(tmp_path / "one", LOW, HIGH), write_ramps(tmp_path / "two", low, high)]
    if name == "the same":
        (roots[1] / "meta/foreact.json").write_text("{}")  # not a copy
    if verdict == "refused":
        with pytest.raises(DataError, match=r"\d of \d dimensions of 'observation.state' go through other numbers in"):
            open_sources(roots)
        return
    open_sources(roots)
    said = capsys.readouterr().err
    assert (verdict == "warned of") == ("have they one unit, zero and direction?" in said)


def test_the_numbers_of_both_are_in_the_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The 1 % and 99 % quantiles of an even ramp from 0 to 100 are 1 and 99."""
    roots = [
        write_ramps(tmp_path / "one", [0, 0, 0], [100, 1, 1]),
        write_ramps(tmp_path / "two", [500, 0, 0], [600, 1, 1]),
    ]
    open_sources(roots)
    assert (
        f"warning: 1 of 3 dimensions of 'observation.state' go through other numbers in '{roots[0]}' than in "
        f"'{roots[1]}': 'a' 1 to 99 and 501 to 599; have they one unit, zero and direction?"
    ) in capsys.readouterr().err


def test_coordinates_elsewhere_are_warned_of_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """More demonstrations at other places are what one merges for; millimetres are still refused."""
    key = "observation.environment_state"
    here = write_ramps(tmp_path / "here", [0.1, 0.1], [0.2, 0.2], key)
    there = write_ramps(tmp_path / "there", [0.3, 0.3], [0.4, 0.4], key)
    open_sources([here, there])
    assert "2 of 2 dimensions of 'observation.environment_state' go through" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"2 of 2 dimensions of 'observation.environment_state'"):
        open_sources([here, write_ramps(tmp_path / "mm", [100, 100], [200, 200], key)])


def test_one_joint_that_hardly_moves_in_one_source_is_a_warning_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_vectors(tmp_path / "one", ARM)
    write_vectors(tmp_path / "two", ARM, scale=np.array([1, 1, 0.01, 1]))
    open_sources([tmp_path / "one", tmp_path / "two"])
    warning = capsys.readouterr().err
    assert "warning: 1 of 4 dimensions of 'action' go through other numbers in" in warning
    assert "'a'" not in warning


def test_sources_with_other_ranges_of_one_unit_agree_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_vectors(tmp_path / "one", ARM)
    write_vectors(tmp_path / "two", ARM, scale=4.0)
    open_sources([tmp_path / "one", tmp_path / "two"])
    assert capsys.readouterr().err == ""


def test_a_calibration_counts_only_where_all_sources_have_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roots = [record(tmp_path / "one", 1), record(tmp_path / "two", 2)]
    of = Calibration(size=(48, 64), focal=(60, 60), center=(32, 24), position=(0, 0, 1), quaternion=(0, 1, 0, 0))
    both, moved = {"overhead": of}, {"overhead": replace(of, position=(0.0, 0.1, 1.0))}
    for root in roots:
        write_sidecar(root, Sidecar(cameras=both, environment_height=0.02))
    mixed = open_sources(roots).features
    assert asdict(mixed.cameras[0])["calibration"]["position"] == (0, 0, 1)
    assert mixed.environment_height == 0.02
    assert capsys.readouterr().err == ""
    write_sidecar(roots[1], Sidecar(cameras=moved))
    mixed = open_sources(roots).features
    assert (mixed.cameras[0].calibration, mixed.environment_height) == (None, 0.0)
    warnings = " ".join(capsys.readouterr().err.split())
    assert "do not say the same about where camera 'overhead' stands, so it is not used" in warnings
    assert "about the height of the coordinates" in warnings


def test_samples_of_a_mix_are_those_of_the_sources_alone(folder: Path, tmp_path: Path) -> None:
    roots = [folder / "first", folder / "second"]

    def samples(paths: list[Path], episodes: tuple[int, ...]) -> ChunkDataset:
        source = open_sources(paths)
        return ChunkDataset(source, episodes, features=source.features, chunk_size=5, cache_dir=tmp_path)

    mixed = samples(roots, (5, 1, 4, 3))  # in no order, from both
    batch = mixed.__getitems__(np.arange(len(mixed))[::-1].tolist())
    row = len(mixed)
    for index in (5, 1, 4, 3):
        number = index if index < N_FIRST else index - N_FIRST
        alone = samples([roots[index >= N_FIRST]], (number,))
        for position in range(len(alone)):
            row -= 1
            expected = alone[position]
            for camera in ("overhead", "wrist"):
                np.testing.assert_array_equal(batch.images[camera][row], expected.images[camera][0])
            np.testing.assert_array_equal(batch.action[row], expected.action[0])  # type: ignore[index]
            assert batch.episode_index[row] == index  # type: ignore[index]


def test_mixing_or_adding_a_source_decodes_nothing_again(folder: Path, tmp_path: Path) -> None:
    third = record(tmp_path / "third", 3)
    first, second, more = (WatchedSource(root) for root in (folder / "first", folder / "second", third))

    def open_all(source: MixedSource | WatchedSource) -> None:
        indices = source.episode_indices
        ChunkDataset(source, indices, features=source.features, chunk_size=2, cache_dir=tmp_path / "cache")

    open_all(first)
    n_frames = first.n_frames
    assert n_frames == 2 * sum(LENGTHS)  # two cameras
    open_all(MixedSource([second, first]))
    open_all(MixedSource([first, more, second]))
    assert first.n_frames == n_frames
    assert second.n_frames == 2 * sum(LENGTHS[:2])
    assert more.n_frames == 2 * sum(LENGTHS[:3])


@pytest.mark.parametrize("weights", [(3.0, 1.0), (1.0, 1.0), (1.0, 9.0)])
def test_each_source_is_drawn_as_often_as_its_weight_says(
    weights: tuple[float, float], folder: Path, tmp_path: Path
) -> None:
    source = open_sources([folder / "second", folder / "first"])
    dataset = ChunkDataset(source, range(6), features=source.features, chunk_size=2, cache_dir=tmp_path)
    order = order_of(dataset, TrainConfig(source_weights=weights), None)
    n_second = sum(LENGTHS[:2])
    share = weights[0] / sum(weights)
    for number in range(20):
        samples = order.draw(np.random.default_rng([0, number]))
        assert len(samples) == len(dataset)
        drawn = int((samples < n_second).sum())
        assert abs(drawn - share * len(dataset)) <= 1, "its share of each round, rounded"
        seen = np.bincount(samples, minlength=len(dataset))
        assert np.ptp(seen[:n_second]) <= 1, "the frames of a source alike"
        assert np.ptp(seen[n_second:]) <= 1


def test_weights_need_a_number_a_source_and_uniform_sampling(folder: Path, tmp_path: Path, tiny_run: RunConfig) -> None:
    with pytest.raises(ConfigError, match=r"source_weights needs train\.sampling uniform, not balanced"):
        TrainConfig(source_weights=(1, 1), sampling="balanced")
    with pytest.raises(ConfigError, match="source_weights has a 0; leave a data set out of --data instead"):
        TrainConfig(source_weights=(1, 0))
    run = replace(tiny_run, train=replace(tiny_run.train, source_weights=(1.0, 2.0, 3.0)))
    with pytest.raises(ConfigError, match="source_weights has 3 numbers for 2 data sets; give one for each"):
        train(run, data=[folder / "first", folder / "second"], out=tmp_path / "run", cache_dir=tmp_path)
    source = open_sources([folder / "first", folder / "second"])
    only_first = ChunkDataset(source, (0, 1), features=source.features, chunk_size=2, cache_dir=tmp_path)
    with pytest.raises(ConfigError, match="no training episode is left of data set 2 of --data"):
        order_of(only_first, TrainConfig(source_weights=(1, 1)), None)


def test_naming_data_twice_on_the_command_line_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The parser would take the last and train on half of the data."""
    assert main(["train", "compact", "--data", "a", "--data=b", "--out", "c"]) == 1
    assert "--data was given twice; name all data sets behind one: --data A B" in capsys.readouterr().err


@pytest.fixture(scope="module")
def spots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("spots")
    return write_dataset(folder / "a", lengths=(12, 9, 11)), write_dataset(folder / "b", lengths=(10, 8), seed=1)


def test_a_run_on_a_mix_has_statistics_over_all_and_knows_its_sources_and_resumes(
    spots: tuple[Path, Path], tiny_run: RunConfig, cache_dir: Path, tmp_path: Path
) -> None:
    run = replace(tiny_run, train=replace(tiny_run.train, steps=3, source_weights=(1.0, 3.0)))
    train(run, data=spots, out=tmp_path / "run", cache_dir=cache_dir)
    meta = read_meta(find_checkpoint(tmp_path / "run"))
    assert data_paths(meta) == tuple(path.resolve() for path in spots)
    data = meta.provenance["data"]
    assert [of["fingerprint"] for of in data["sources"]] == [open_source(path).fingerprint() for path in spots]
    trained = [(0, index) for index in data["sources"][0]["training"]]
    trained += [(1, index) for index in data["sources"][1]["training"]]
    assert len(trained) == len(data["training"]) == 4
    actions = np.concatenate([open_source(spots[number]).episode(index).action for number, index in trained])
    np.testing.assert_allclose(meta.statistics["action"].mean, actions.astype(np.float64).mean(0), rtol=1e-12)
    longer = replace(run, train=replace(run.train, steps=6))
    assert train(longer, data=spots, out=tmp_path / "run", cache_dir=cache_dir, resume=True).step == 6
    with pytest.raises(ConfigError, match="the data set is not the one that the run was started with"):
        train(longer, data=spots[::-1], out=tmp_path / "run", cache_dir=cache_dir, resume=True)


def test_diagnosis_knows_what_was_held_out_of_a_mix_and_of_each_of_its_sources(
    spots: tuple[Path, Path], tiny_run: RunConfig, cache_dir: Path, tmp_path: Path
) -> None:
    from foreact.diagnose.examined import _split

    train(replace(tiny_run, train=replace(tiny_run.train, steps=3)), data=spots, out=tmp_path, cache_dir=cache_dir)
    meta = read_meta(find_checkpoint(tmp_path))
    data = json.loads(json.dumps(meta.provenance["data"]))
    fresh, seen = _split(open_sources(spots), meta)
    assert (list(fresh), list(seen)) == (data["validation"], data["training"])
    for number, path in enumerate(spots):
        fresh, seen = _split(open_source(path), meta)
        assert list(seen) == data["sources"][number]["training"]
        assert not set(fresh) & set(seen)
