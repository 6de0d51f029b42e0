"""`foreact view`: what is drawn is what was recorded, predicted and sent; written, read back and compared."""

import json
import shutil
from dataclasses import asdict
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from foreact.cli.main import run
from foreact.data.source import open_source
from foreact.errors import ConfigError, DataError
from foreact.policy.load import load_policy
from foreact.sim.delayed import Delay, delayed_episode
from foreact.sim.env import PickPlaceEnv
from foreact.sim.evaluation import Evaluation
from foreact.sim.kinematics import Kinematics
from foreact.sim.scene import ACTION_NAMES
from foreact.sim.task import level, task_for_features
from foreact.studio.view import View, evaluated_episode, view_episode, view_policy_on_data, view_rollout
from foreact.studio.view_figures import draw_curves, draw_paths, draw_strip
from foreact.studio.view_video import picture_places, write_view_video
from foreact_runtime.keys import ENVIRONMENT_STATE, STATE, image_key
from foreact_runtime.limits import Limits
from foreact_runtime.observation import Observation
from pages import page_blocks
from studio.sim_policy import STEPS, Written, ends_at, stays, told

HAS_RERUN = find_spec("rerun") is not None
needs_reader = pytest.mark.skipif(
    not HAS_RERUN or find_spec("rerun.chunk") is None,
    reason="no rerun-sdk is installed that reads recordings back (0.41 does), so none was written",
)
TASK = level("L1", overhead_size=(32, 32), wrist_size=(32, 32), max_seconds=1.2)


def lines(axes, label: str) -> list[tuple[np.ndarray, np.ndarray]]:  # type: ignore[no-untyped-def]
    return [(line.get_xdata(), line.get_ydata()) for line in axes.lines if line.get_label() == label]


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def on_data(untrained_run: Path, sim_recording: Path) -> View:
    return view_policy_on_data(untrained_run, 1, data=sim_recording)


def test_a_video_has_a_frame_a_tick_and_each_cameras_pixels_in_their_place(dataset: Path, tmp_path: Path) -> None:
    source = open_source(dataset)
    write_view_video(view_episode(source, 2), tmp_path / "made" / "episode.mp4")
    frames = decoded(tmp_path / "made" / "episode.mp4")
    assert len(frames) == source.lengths[2] == 9
    places = picture_places({"overhead": (32, 32), "wrist": (32, 32)})
    assert (places["wrist"].left, places["wrist"].height) == (192, 192)  # six times larger, side by side
    for camera, place in places.items():
        recorded = [of.repeat(6, axis=0).repeat(6, axis=1) for of in source.frames(2, camera)]
        for tick, frame in enumerate(frames):
            shown = frame[place.top : place.top + place.height, place.left : place.left + place.width]
            errors = [np.abs(shown.astype(int) - of).mean() for of in recorded]
            assert errors[tick] == min(errors) < 4  # H.264 loses a little; another tick's picture is further away


def test_a_videos_mark_goes_from_the_first_tick_to_the_last(dataset: Path, tmp_path: Path) -> None:
    write_view_video(view_episode(open_source(dataset), 2), tmp_path / "episode.mp4")
    columns = []
    for frame in decoded(tmp_path / "episode.mp4"):
        below = frame[24 + 192 :].astype(int)
        redness = np.clip(below[..., 0] - below[..., 1:].max(axis=-1), 0, None).sum(axis=0)
        columns.append(int(redness[: below.shape[1] // 2].argmax()))  # one of two panels
    assert np.ptp(np.diff(columns)) <= 2
    assert min(np.diff(columns)) > 10


def test_pictures_of_several_sizes_have_one_height_and_fit_beside_each_other() -> None:
    places = picture_places({"a": (480, 640), "b": (240, 320), "c": (720, 1280), "d": (100, 300)})
    assert len({place.height for place in places.values()}) == 1
    edges = [(place.left, place.left + place.width) for place in places.values()]
    assert all(end == begin for (_, end), (begin, _) in pairwise(edges))
    assert edges[-1][1] <= 1602  # each rounded
    assert places["c"].width / places["c"].height == pytest.approx(1280 / 720, rel=0.01)


def test_curves_are_the_recorded_state_and_action_a_panel_a_dimension(dataset: Path) -> None:
    source = open_source(dataset)
    episode = source.episode(3)
    figure = draw_curves(view_episode(source, 3))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b"]
    for dim, axes in enumerate(figure.axes):
        [(ticks, state)], [(_, action)] = lines(axes, "state"), lines(axes, "demonstrated")
        assert episode.state is not None
        np.testing.assert_array_equal(ticks, np.arange(14))
        np.testing.assert_array_equal(state, episode.state[:, dim])
        np.testing.assert_array_equal(action, episode.action[:, dim])


def test_the_hands_path_is_mujocos_and_the_cue_the_recorded_coordinate(sim_recording: Path) -> None:
    source = open_source(sim_recording)
    episode = source.episode(0)
    assert episode.state is not None
    assert episode.environment_state is not None
    kinematics = Kinematics()
    hand = 100 * np.array([kinematics.forward(state[:5].astype(float)).position for state in episode.state])
    above, side = draw_paths(view_episode(source, 0)).axes
    np.testing.assert_allclose(lines(above, "hand")[0], (-hand[:, 1], hand[:, 0]), atol=1e-3)
    np.testing.assert_allclose(lines(side, "hand")[0], (hand[:, 0], hand[:, 2]), atol=1e-3)
    x, y = 100 * episode.environment_state[0]
    np.testing.assert_allclose(np.ravel(lines(above, "cue")[0]), (-y, x), atol=1e-4)


def test_the_strip_shows_each_camera_at_the_ticks_that_it_names(dataset: Path) -> None:
    source = open_source(dataset)
    recorded = {camera.name: list(source.frames(1, camera.name)) for camera in source.features.cameras}
    axes = draw_strip(view_episode(source, 1)).axes
    assert [int(of.get_title()) for of in axes[:8]] == [0, 2, 4, 6, 8, 10, 12, 14]
    for of, camera in zip(axes, [name for name in recorded for _ in range(8)], strict=True):
        np.testing.assert_array_equal(of.images[0].get_array(), recorded[camera][int(of.get_title())])


def test_a_policy_on_data_shows_the_chunk_of_every_tick_and_what_its_queue_takes_of_them(
    on_data: View, untrained_run: Path, sim_recording: Path
) -> None:
    source, policy = open_source(sim_recording), load_policy(untrained_run)
    episode = source.episode(1)
    pictures = {image_key(camera): list(source.frames(1, camera)) for camera in ("overhead", "wrist")}
    assert episode.state is not None
    assert episode.environment_state is not None
    assert [of.tick for of in on_data.predictions] == list(range(episode.length))
    assert [of.tick for of in on_data.executed] == list(range(0, episode.length, 3))
    assert on_data.sent is not None
    assert on_data.limited is not None
    for of in on_data.executed[:3]:
        seen = {key: frames[of.tick] for key, frames in pictures.items()}
        seen |= {STATE: episode.state[of.tick], ENVIRONMENT_STATE: episode.environment_state[of.tick]}
        np.testing.assert_allclose(of.actions, policy.predict_chunk(seen), atol=1e-4)
        sent, limited = (values[of.tick : of.tick + 3] for values in (on_data.sent, on_data.limited))
        np.testing.assert_array_equal(sent[~limited], of.actions[:3][~limited])
    kinematics = Kinematics()
    last = on_data.executed[-1]
    assert last.path is not None
    hand = [kinematics.forward(action[:5].astype(float)).position for action in last.actions]
    np.testing.assert_allclose(last.path, hand, atol=1e-5)
    panel = draw_curves(on_data).axes[0]
    assert len(lines(panel, "chunk")) == len(on_data.executed)
    np.testing.assert_array_equal(lines(panel, "sent")[0][1], on_data.sent[:, 0])


def test_without_a_choice_an_episode_is_shown_that_the_policy_was_not_trained_on(
    untrained_run: Path, sim_recording: Path
) -> None:
    view = view_policy_on_data(untrained_run, data=sim_recording)
    assert view.name == "episode_000000"
    assert "perhaps trained on" in view.title  # a checkpoint that does not say on what
    with pytest.raises(DataError, match="has no episode 9; it has 2, from 0 to 1"):
        view_policy_on_data(untrained_run, 9, data=sim_recording)
    with pytest.raises(DataError, match="has no episode 9"):
        view_episode(open_source(sim_recording), 9)


def test_a_rollout_is_the_one_that_the_simulation_plays() -> None:
    policy = Written(stays)
    task = task_for_features(TASK, policy.features)
    env = PickPlaceEnv(task)
    played = delayed_episode(policy, env, task, 7, Delay(seconds=0.0)).result
    env.close()
    view, outcome = view_rollout(policy, TASK, 7, called="stays, L1")
    assert (outcome, view.length) == (played.outcome, 12)
    assert view.sent is not None
    assert view.states is not None
    np.testing.assert_array_equal(view.sent, played.actions)
    np.testing.assert_array_equal(view.sent[:STEPS], np.repeat(view.states[:1], STEPS, axis=0))
    assert [of.tick for of in view.predictions] == [0, STEPS]
    assert view.cue is not None
    np.testing.assert_allclose(view.cue[0, :2], played.cue)
    assert {camera: len(list(view.frames(camera))) for camera in view.sizes} == {"overhead": 12, "wrist": 12}
    assert next(view.frames("wrist")).shape == (*view.sizes["wrist"], 3)


def test_chunks_of_hand_poses_are_paths_to_where_they_lead() -> None:
    view, _ = view_rollout(Written(ends_at(told), hand_poses=True), TASK, 3, called="aims")
    first = view.predictions[0]
    assert first.path is not None
    assert view.cue is not None
    np.testing.assert_allclose(first.path[-1], (*view.cue[0, :2], 0.0), atol=1e-6)


def test_limits_are_shown_where_they_are_hit_and_nowhere_else() -> None:
    def chunk(observation: Observation) -> np.ndarray:
        actions = stays(observation)
        actions[:, -1] = 0.5
        actions[:3, -1] = 0.1
        return actions

    policy = Written(chunk, limits=Limits(upper=(None,) * 5 + (0.3,)))
    view, _ = view_rollout(policy, TASK, 7, called="limited")
    expected = np.zeros((12, 6), bool)
    expected[[3, 4, 5, 6, 7, 11], -1] = True  # three ticks in each chunk of eight ask for what is allowed
    assert view.limited is not None
    np.testing.assert_array_equal(view.limited, expected)
    assert view.limited_at(3) == (ACTION_NAMES[-1],)
    assert view.limited_at(2) == ()
    panels = draw_curves(view).axes
    np.testing.assert_array_equal(lines(panels[-1], "limited")[0][0], [3, 4, 5, 6, 7, 11])
    np.testing.assert_allclose(lines(panels[-1], "limited")[0][1], 0.3, atol=1e-6)
    assert lines(panels[0], "limited") == []


def test_an_evaluations_episode_is_found_again_and_played_again(
    untrained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = load_policy(untrained_run)
    task = task_for_features(TASK, policy.features)
    env = PickPlaceEnv(task)
    played = [delayed_episode(policy, env, task, seed, Delay(seconds=0.0)).result for seed in (50, 51)]
    env.close()
    settings = {"level": "L1", "task": asdict(task), "overrides": {"n_action_steps": 2}, "run": str(untrained_run)}
    entries = [Evaluation(name="policy", episodes=played).to_dict(settings)]
    entries.append(Evaluation(name="expert", episodes=played).to_dict({**settings, "run": ""}))
    path = tmp_path / "eval.json"
    path.write_text(json.dumps(entries))
    of = evaluated_episode(path, 1)
    assert (of.seed, of.task, of.run, of.outcome) == (51, task, untrained_run, played[1].outcome)
    assert of.overrides == {"n_action_steps": 2}
    assert run(["view", str(path), "--episode", "1", "--png", "--out", str(tmp_path / "seen")]) == 0
    assert {file.name for file in (tmp_path / "seen").iterdir()} == {
        f"seed_000051_{figure}.png" for figure in ("curves", "path", "cameras")
    }
    assert "12 ticks" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="does not say where 'expert' lies"):
        evaluated_episode(path, name="expert")
    with pytest.raises(ConfigError, match="has no episode 2; it has 0 to 1"):
        evaluated_episode(path, 2)
    path.write_text('{"policy": 3}')
    with pytest.raises(DataError, match="is not what foreact eval --json writes"):
        evaluated_episode(path)


def test_the_command_writes_every_figure_of_each_episode_and_says_where(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["view", str(dataset), "--episode", "1", "4", "--mp4", "--png", "--out", str(tmp_path / "seen")]) == 0
    written = sorted(path.name for path in (tmp_path / "seen").iterdir())
    # The arm of this data set is not known, so there is no path.
    assert written == [
        f"episode_{index:06d}{end}" for index in (1, 4) for end in (".mp4", "_cameras.png", "_curves.png")
    ]
    said = capsys.readouterr().out
    assert all(name in said for name in written)
    assert np.asarray(Image.open(tmp_path / "seen" / written[1])).std() > 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--png"], "nothing is at 'nowhere'"),
        (["DATA", "--png", "--level", "L1"], "is no run or bundle; --level and --data are for those"),
        (["DATA", "--png", "--out", "a.rrd"], "give a folder for --mp4 and --png"),
        (["DATA", "--episode", "0", "1", "--out", "a.rrd"], "is one file, 'a.rrd', for 2 episodes"),
        (["RUN", "--png", "--level", "L1", "--episode", "0"], "--level plays new episodes, by --seed"),
        (["RUN", "--png", "--level", "L9"], "L9"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    arguments: list[str], message: str, dataset: Path, untrained_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"DATA": str(dataset), "RUN": str(untrained_run)}
    assert run(["view", *(given.get(word, word) for word in arguments)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.skipif(HAS_RERUN, reason="rerun-sdk is installed, so nothing is missing")
def test_without_rerun_the_extra_is_named(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["view", str(dataset), "--out", "a.rrd"]) == 1
    assert "pip install 'foreact[rerun]'" in capsys.readouterr().err


@needs_reader
def test_a_recording_read_back_has_curves_chunks_pictures_and_limits_at_their_ticks(
    on_data: View, tmp_path: Path
) -> None:
    from rerun.chunk import RrdReader

    from foreact.studio.view_rerun import write_recording

    path = tmp_path / "made" / "episode.rrd"
    write_recording(on_data, path)
    assert [file.name for file in path.parent.iterdir()] == ["episode.rrd"]
    rows: dict[str, dict[int, dict[str, list]]] = {}
    for chunk in RrdReader(str(path)).stream():
        if not chunk.is_static:
            batch = chunk.to_record_batch()
            of_view = [name for name in batch.schema.names if name == "tick" or ":" in name]
            columns = batch.select(of_view).to_pydict()
            for row, tick in enumerate(columns["tick"]):
                rows.setdefault(chunk.entity_path, {}).setdefault(tick, {}).update(
                    {name: values[row] for name, values in columns.items()}
                )
    ticks = range(on_data.length)
    assert on_data.sent is not None
    assert on_data.hand is not None
    for dim, name in enumerate(on_data.names):
        curves = {
            kind: {tick: row["Scalars:scalars"][0] for tick, row in rows.get(f"/curves/{name}/{kind}", {}).items()}
            for kind in ("sent", "limited")
        }
        assert curves["sent"] == dict(zip(ticks, on_data.sent[:, dim], strict=True))
        limited = {tick: on_data.sent[tick, dim] for tick in ticks if name in on_data.limited_at(tick)}
        assert curves["limited"] == limited
    for of in on_data.predictions:
        [strip] = rows["/world/chunk"][of.tick]["LineStrips3D:strips"]
        assert of.path is not None
        np.testing.assert_allclose(strip, of.path, atol=1e-6)
    hand = [rows["/world/hand"][tick]["Points3D:positions"][0] for tick in ticks]
    np.testing.assert_allclose(hand, on_data.hand, atol=1e-6)
    assert sorted(rows["/world/overhead"]) == sorted(rows["/cameras/wrist"]) == list(ticks)
    in_words = [tick for tick in ticks if on_data.limited_at(tick)]
    assert in_words  # otherwise this shows nothing
    assert sorted(rows["/limits"]) == in_words


@pytest.mark.slow
def test_the_pages_commands_run(
    untrained_run: Path, sim_recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs Rerun says so where it is not installed."""
    monkeypatch.chdir(tmp_path)
    Path("runs/quickstart").mkdir(parents=True)
    shutil.copytree(untrained_run, "runs/quickstart/policy")
    Path("runs/quickstart/data").symlink_to(sim_recording)
    for language, body in page_blocks("view.md"):
        for line in body.splitlines() if language == "sh" else ():
            words = line.split()
            if words[:2] != ["foreact", "view"]:
                assert words[0] in ("pip", "rerun")  # installs, and opens a window
                continue
            needs_no_rerun = {"--mp4", "--png"} & set(words)
            assert run(words[1:]) == (0 if needs_no_rerun or HAS_RERUN else 1), line
    assert len(list(Path("view").glob("*.mp4"))) == 2
