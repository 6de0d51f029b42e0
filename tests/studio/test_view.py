"""`foreact view`: what is drawn is what was recorded, predicted and sent; written, read back and compared."""

import json
import os
import shutil
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from data import aloha_files
from foreact.cli.main import run
from foreact.data.sidecar import SIDECAR
from foreact.data.source import open_source
from foreact.deploy.load import load_policy
from foreact.errors import ConfigError, DataError
from foreact.records import Calibration
from foreact.sim.backend import mujoco
from foreact.sim.delayed import Delay, delayed_episode
from foreact.sim.env import PickPlaceEnv
from foreact.sim.evaluation import Evaluation
from foreact.sim.kinematics import Kinematics
from foreact.sim.rollout import rollout
from foreact.sim.scene import ACTION_NAMES, GRIP_IN_GRIPPER, JOINTS
from foreact.sim.task import level, task_for_features
from foreact.studio import quickstart
from foreact.studio.drawing import stretches, to_pixels
from foreact.studio.evaluation_file import evaluated_episode, evaluation_entry, write_evaluations
from foreact.studio.setup import Prediction
from foreact.studio.view import View, name_of, view_episode, view_policy_on_data, view_rollout
from foreact.studio.view_figures import draw_curves, draw_paths, draw_strip
from foreact.studio.view_video import picture_places, write_view_video
from foreact_runtime.keys import ENVIRONMENT_STATE, STATE, image_key
from foreact_runtime.kinematics import quaternion_matrix
from foreact_runtime.limits import Limits
from foreact_runtime.observation import Observation
from pages import ROOT, page_blocks
from studio.sim_policy import STEPS, Written, ends_at, stays, told
from tiny import TINY
from untrained import save_untrained

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


def test_a_camera_on_the_hand_is_where_mujoco_has_it_in_each_tick(sim_recording: Path) -> None:
    source = open_source(sim_recording)
    view, states = view_episode(source, 0), source.episode(0).state
    assert states is not None
    env = PickPlaceEnv(TASK)
    env.close()  # the model stays
    data, camera = mujoco.MjData(env.model), env.model.camera("wrist").id
    joints = [int(env.model.joint(name).qposadr[0]) for name in JOINTS]
    assert len(view.calibrations["wrist"]) == len(states)
    for placed, state in zip(view.calibrations["wrist"], states, strict=True):
        data.qpos[joints] = state
        mujoco.mj_forward(env.model, data)
        np.testing.assert_allclose(placed.position, data.cam_xpos[camera], atol=1e-5)
        forward = quaternion_matrix(placed.quaternion)[:, 2]
        np.testing.assert_allclose(forward, -data.cam_xmat[camera].reshape(3, 3)[:, 2], atol=1e-5)
    assert len(set(view.calibrations["overhead"])) == 1


def test_the_cue_is_drawn_into_the_pictures_of_the_camera_on_the_hand_while_they_show_its_place(
    sim_recording: Path, tmp_path: Path
) -> None:
    view = replace(view_episode(open_source(sim_recording), 0), predictions=())
    wrist, place = view.calibrations["wrist"], picture_places(view.sizes)["wrist"]
    assert view.cue is not None
    drawn = []
    for name, of in (("marked", view), ("plain", replace(view, calibrations={}))):
        write_view_video(of, tmp_path / f"{name}.mp4")
        left, top, right, bottom = place.left, place.top, place.left + place.width, place.top + place.height
        drawn.append([frame[top:bottom, left:right].astype(int) for frame in decoded(tmp_path / f"{name}.mp4")])
    middles = []
    for tick, (marked, plain) in enumerate(zip(*drawn, strict=True)):
        rows, columns = np.nonzero(np.abs(marked - plain).sum(axis=2) > 150)  # compression changes less
        x, y = to_pixels(wrist[tick], view.cue[tick : tick + 1])[0] * place.width / wrist[tick].size[1]
        ring = 9  # its radius and its line
        if ring < x < place.width - ring and ring < y < place.height - ring:
            middles.append((columns.mean() - x, rows.mean() - y))
        elif np.isnan(x) or not (-ring < x < place.width + ring and -ring < y < place.height + ring):
            assert len(rows) == 0
    assert len(middles) > 5, "it shows nothing otherwise"
    np.testing.assert_allclose(middles, 0, atol=1.5)


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
    assert view.name.endswith("untrained_on_" + sim_recording.parent.name + "_demonstrations_episode_000000")
    assert "perhaps trained on" in view.title  # a checkpoint that does not say on what
    with pytest.raises(DataError, match="has no episode 9; it has 2, from 0 to 1"):
        view_policy_on_data(untrained_run, 9, data=sim_recording)
    with pytest.raises(DataError, match="has no episode 9"):
        view_episode(open_source(sim_recording), 9)


def test_a_policy_of_every_second_frame_is_shown_on_those_frames_at_its_own_rate(
    sim_recording: Path, tmp_path: Path
) -> None:
    save_untrained(sim_recording, tmp_path / "slow", replace(TINY, downsample_factor=2))
    source = open_source(sim_recording)
    episode = source.episode(1)
    assert episode.length % 2 == 1  # so that the last group of frames is not a whole one
    view = view_policy_on_data(tmp_path / "slow", 1, data=sim_recording)
    n = (episode.length + 1) // 2
    assert (view.fps, view.length, len(view.predictions)) == (5.0, n, n)
    assert view.hand is not None
    assert view.cue is not None
    assert view.states is not None
    assert view.sent is not None
    assert view.demonstrated is not None
    assert episode.state is not None
    assert episode.environment_state is not None
    assert {len(of) for of in (view.hand, view.cue, view.states, view.sent, view.demonstrated)} == {n}
    np.testing.assert_array_equal(view.states, episode.state[::2])
    np.testing.assert_array_equal(view.cue[:, :2], episode.environment_state[::2])
    np.testing.assert_array_equal(view.demonstrated, [*episode.action[1::2], episode.action[-1]])
    kinematics = Kinematics()
    hand = [kinematics.forward(state[:5].astype(float)).position for state in episode.state[::2]]
    np.testing.assert_allclose(view.hand, hand, atol=1e-5)
    for camera in view.sizes:
        np.testing.assert_array_equal(list(view.frames(camera)), list(source.frames(1, camera))[::2])


def test_what_the_policy_knows_of_arm_and_cameras_is_used_where_its_data_do_not_say_it(
    on_data: View, untrained_run: Path, sim_recording: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(sim_recording, bare)
    (bare / SIDECAR).unlink()
    recorded = view_episode(open_source(bare), 1)
    assert (recorded.hand, recorded.cue, recorded.calibrations) == (None, None, {})
    view = view_policy_on_data(untrained_run, 1, data=bare)
    assert view.calibrations == on_data.calibrations != {}
    for known, expected in ((view.hand, on_data.hand), (view.cue, on_data.cue)):
        assert known is not None
        assert expected is not None
        np.testing.assert_array_equal(known, expected)


def test_a_rollout_is_the_one_that_the_simulation_plays() -> None:
    policy = Written(stays)
    task = task_for_features(TASK, policy.features)
    env = PickPlaceEnv(task)
    played = delayed_episode(policy, env, task, 7, Delay(seconds=0.0)).result
    env.close()
    view, outcome = view_rollout(policy, TASK, 7, name="stays", called="stays, L1")
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
    view, _ = view_rollout(Written(ends_at(told), hand_poses=True), TASK, 3, name="aims", called="aims")
    first = view.predictions[0]
    assert first.path is not None
    assert view.cue is not None
    np.testing.assert_allclose(first.path[-1], (*view.cue[0, :2], 0.0), atol=1e-6)


def test_the_simulated_solids_are_where_kinematics_and_layout_have_them() -> None:
    view, _ = view_rollout(Written(ends_at(told), hand_poses=True), TASK, 3, name="aims", called="aims")
    env = PickPlaceEnv(task_for_features(TASK, Written(stays).features))
    env.reset(seed=3)
    assert view.scene is not None
    assert view.hand is not None
    poses = view.scene.poses
    gripper = poses["gripper"]
    jaws = gripper[:, :3] + gripper[:, 3:].reshape(-1, 3, 3) @ GRIP_IN_GRIPPER
    np.testing.assert_allclose(jaws, view.hand, atol=1e-5)
    assert np.ptp(jaws, axis=0).max() > 0.01  # it moves
    np.testing.assert_allclose(poses["block0"][0, :2], env.layout.target, atol=1e-6)
    np.testing.assert_allclose(poses["bowl"][0, :2], env.layout.bowl, atol=1e-6)
    assert sorted(body for body in poses if body.startswith("block")) == ["block0", "block1"]
    assert {mesh.body for mesh in view.scene.meshes} < set(poses)
    assert {boxes.body: len(boxes.centers) for boxes in view.scene.boxes}["bowl"] == 17  # the floor and 16 plates
    env.close()


def test_limits_are_shown_where_they_are_hit_and_nowhere_else() -> None:
    def chunk(observation: Observation) -> np.ndarray:
        actions = stays(observation)
        actions[:, -1] = 0.5
        actions[:3, -1] = 0.1
        return actions

    policy = Written(chunk, limits=Limits(upper=(None,) * 5 + (0.3,)))
    view, _ = view_rollout(policy, TASK, 7, name="limited", called="limited")
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
    of_policy, of_expert = (Evaluation(name=name, episodes=played) for name in ("policy", "expert"))
    played_with: dict[str, Any] = {"level": "L1", "task": task, "seed": 50}
    overrides = {"n_action_steps": 2}
    path = tmp_path / "eval.json"
    write_evaluations(
        path,
        [
            evaluation_entry(
                of_policy, run=untrained_run, checkpoint=untrained_run, overrides=overrides, **played_with
            ),
            evaluation_entry(of_expert, **played_with),
        ],
    )
    of = evaluated_episode(path, 1)
    assert (of.seed, of.task, of.run, of.outcome) == (51, task, untrained_run, played[1].outcome)
    assert of.overrides == overrides
    assert run(["view", str(path), "--episode", "1", "--png", "--out", str(tmp_path / "seen")]) == 0
    assert {file.name for file in (tmp_path / "seen").iterdir()} == {
        f"{tmp_path.name}_eval_policy_L1_seed_000051_{figure}.png" for figure in ("curves", "path", "cameras")
    }
    assert "12 ticks" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="does not say where 'expert' lies"):
        evaluated_episode(path, name="expert")
    with pytest.raises(ConfigError, match="has no episode 2; it has 0 to 1"):
        evaluated_episode(path, 2)
    path.write_text('{"policy": 3}')
    with pytest.raises(DataError, match="is not what foreact eval --json writes"):
        evaluated_episode(path)


@pytest.mark.slow
def test_what_the_quickstart_has_evaluated_is_played_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FOREACT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    smoke = quickstart.plan(smoke=True)
    steps = replace(smoke.run.train, steps=2, warmup_steps=1, val_every=2, save_every=1, batch_size=2)
    task = replace(smoke.task, overhead_size=(32, 32))
    plan = replace(
        smoke, task=task, run=replace(smoke.run, train=steps), demonstrations=3, episodes=1, video_episodes=1
    )
    assert quickstart.quickstart(plan, Path("made")).finished
    path = Path("made/eval.json")
    with pytest.raises(ConfigError, match="has 'policy' at L1, L2; choose one with --level"):
        evaluated_episode(path)
    for level_name, name in (("L2", "policy"), ("L1", "blind")):
        of = evaluated_episode(path, level=level_name, name=name)
        assert of.run == tmp_path / "made" / name
        assert of.checkpoint == of.run / "checkpoints/step-000002"
        words = ["view", str(path), "--level", level_name, "--policy", name, "--png", "--out", "seen"]
        assert run(words) == 0
    assert "here: contacts carry on" not in capsys.readouterr().err
    assert {file.name for file in Path("seen").glob("*_curves.png")} == {
        f"made_eval_{name}_seed_010000_curves.png" for name in ("policy_L2", "blind_L1")
    }


def test_files_of_one_thing_do_not_take_the_place_of_anothers(dataset: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        shutil.copytree(dataset, tmp_path / name / "demos")
        assert run(["view", str(tmp_path / name / "demos"), "--mp4", "--out", str(tmp_path / "seen")]) == 0
    written = {file.name for file in (tmp_path / "seen").iterdir()}
    assert written == {"one_demos_episode_000000.mp4", "other_demos_episode_000000.mp4"}
    assert name_of(Path("runs/quickstart/blind"), "L2") == "quickstart_blind_L2"


def test_a_data_set_is_read_as_the_options_say(tmp_path: Path) -> None:
    """ALOHA's files do not say their rate."""
    data = aloha_files.write(tmp_path / "aloha")
    for fps in (20, 40):
        words = ["view", str(data), "--source.fps", str(fps), "--mp4", "--out", str(tmp_path / f"at{fps}")]
        assert run(words) == 0
        [path] = (tmp_path / f"at{fps}").iterdir()
        with av.open(str(path)) as file:
            assert file.streams.video[0].average_rate == fps


@pytest.mark.parametrize(
    ("heights", "parts"),
    [
        ((1, 2, 3), [3]),
        ((-1, -2, -3), []),
        ((1, 2, -1, 2, 1, 3), [2, 3]),
        ((1, -1, 1), []),
        ((-1, 1, 2, -1), [2]),
    ],
)
def test_a_path_is_drawn_only_where_it_is_in_front_of_the_camera(heights: tuple[int, ...], parts: list[int]) -> None:
    """A camera at the origin that looks straight up."""
    upward = Calibration(size=(100, 100), focal=(50, 50), center=(50, 50), position=(0, 0, 0), quaternion=(1, 0, 0, 0))
    points = np.array([(0.5 * height, 0.0, height) for height in heights])  # all in front are at the same pixel
    seen = stretches(to_pixels(upward, points))
    assert [len(of) for of in seen] == parts
    for of in seen:
        np.testing.assert_allclose(of, np.repeat([[75.0, 50.0]], len(of), axis=0))


def test_what_is_behind_a_camera_is_not_drawn_into_its_video(sim_recording: Path, tmp_path: Path) -> None:
    view = view_episode(open_source(sim_recording), 0)
    away = Calibration(size=(32, 32), focal=(30, 30), center=(16, 16), position=(0, 0, 1), quaternion=(1, 0, 0, 0))
    assert view.hand is not None
    chunk = Prediction(tick=0, actions=np.zeros((0, 6), np.float32), path=view.hand)
    behind = replace(
        view, calibrations={"overhead": (away,) * view.length}, predictions=(chunk,)
    )  # it looks up from above the table
    plain = replace(view, calibrations={})
    for name, of in (("behind", behind), ("plain", plain)):
        write_view_video(of, tmp_path / f"{name}.mp4")
    np.testing.assert_array_equal(decoded(tmp_path / "behind.mp4")[0][:216], decoded(tmp_path / "plain.mp4")[0][:216])


def test_the_command_writes_every_figure_of_each_episode_and_says_where(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["view", str(dataset), "--episode", "1", "4", "--mp4", "--png", "--out", str(tmp_path / "seen")]) == 0
    written = sorted(path.name for path in (tmp_path / "seen").iterdir())
    # The arm of this data set is not known, so there is no path.
    name = f"{dataset.parent.name}_{dataset.name}"
    assert written == [
        f"{name}_episode_{index:06d}{end}" for index in (1, 4) for end in (".mp4", "_cameras.png", "_curves.png")
    ]
    said = capsys.readouterr().out
    assert all(name in said for name in written)
    assert np.asarray(Image.open(tmp_path / "seen" / written[1])).std() > 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--png"], "nothing is at 'nowhere'"),
        (["DATA", "--png", "--level", "L1"], "--level is not for a data set"),
        (["DATA", "--png", "--data", "nowhere"], "--data is not for a data set"),
        (["DATA", "--png", "--checkpoint", "best"], "--checkpoint is not for a data set"),
        (["DATA", "--png", "--policy", "blind"], "--policy is not for a data set"),
        (["DATA", "--png", "--seed", "3"], "--seed is not for a data set"),
        (["RUN", "--png", "--data", "DATA", "--seed", "3"], "--seed is not for a policy on data"),
        (["RUN", "--png", "--data", "DATA", "--source.fps", "20"], "--source is not for a policy on data"),
        (["RUN", "--png", "--level", "L1", "--policy", "blind"], "--policy is not for a policy in simulation"),
        (["RUN", "--png", "--level", "L1", "--data", "DATA"], "--data is not for a policy in simulation"),
        (["EVAL", "--png", "--data", "nowhere"], "--data is not for an evaluation"),
        (["EVAL", "--png", "--seed", "77"], "--seed is not for an evaluation"),
        (["EVAL", "--png", "--checkpoint", "best"], "--checkpoint is not for an evaluation"),
        (["EVAL", "--png", "--level", "L3"], "has 'policy' at L1, L2, not at 'L3'"),
        (["EVAL", "--png"], "has 'policy' at L1, L2; choose one with --level"),
        (["DATA", "--png", "--out", "a.rrd"], "give a folder for --mp4 and --png"),
        (["DATA", "--episode", "0", "1", "--out", "a.rrd"], "is one file, 'a.rrd', for 2 episodes"),
        (["RUN", "--png", "--level", "L1", "--episode", "0"], "--episode is not for a policy in simulation"),
        (["RUN", "--png", "--level", "L9"], "L9"),
        (["BEGUN", "--png", "--level", "L1"], "no checkpoint in "),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    arguments: list[str],
    message: str,
    dataset: Path,
    untrained_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    entry = {"name": "policy", "settings": {"level": "L1"}, "per_episode": []}
    (tmp_path / "eval.json").write_text(json.dumps([entry, {**entry, "settings": {"level": "L2"}}]))
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "run.json").write_text("{}")  # what `foreact train` writes before its first checkpoint
    given = {"DATA": dataset, "RUN": untrained_run, "EVAL": tmp_path / "eval.json", "BEGUN": begun}
    assert run(["view", *(str(given.get(word, word)) for word in arguments)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.skipif(HAS_RERUN, reason="rerun-sdk is installed, so nothing is missing")
def test_without_rerun_the_extra_is_named(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["view", str(dataset), "--out", "a.rrd"]) == 1
    assert "pip install 'foreact[rerun]'" in capsys.readouterr().err


Row = dict[str, list]


def read_recording(path: Path) -> tuple[dict[str, dict[int, Row]], dict[str, Row]]:
    """What Rerun reads of it: rows by entity and tick, and what does not change by entity."""
    from rerun.chunk import RrdReader

    rows: dict[str, dict[int, Row]] = {}
    static: dict[str, Row] = {}
    for chunk in RrdReader(str(path)).stream():
        batch = chunk.to_record_batch()
        of_view = [name for name in batch.schema.names if name == "tick" or ":" in name]
        columns = batch.select(of_view).to_pydict()
        for row, tick in enumerate(columns.get("tick", [None])):
            of = static if tick is None else rows.setdefault(chunk.entity_path, {})
            key = chunk.entity_path if tick is None else tick
            of.setdefault(key, {}).update({name: values[row] for name, values in columns.items()})
    return rows, static


@needs_reader
def test_a_rollouts_recording_has_arm_blocks_and_bowl_where_they_were_in_each_tick(tmp_path: Path) -> None:
    from foreact.studio.view_rerun import write_recording

    view, _ = view_rollout(Written(ends_at(told), hand_poses=True), TASK, 3, name="aims", called="aims")
    write_recording(view, tmp_path / "rollout.rrd")
    rows, static = read_recording(tmp_path / "rollout.rrd")
    assert view.scene is not None
    assert view.hand is not None
    places = {body: rows[f"/world/scene/{body}"] for body in view.scene.poses}
    assert {"block0", "block1", "bowl", "gripper"} < set(places)
    for body, poses in view.scene.poses.items():
        found = [places[body][tick]["Transform3D:translation"][0] for tick in range(view.length)]
        np.testing.assert_allclose(found, poses[:, :3], atol=1e-6)
    for tick in range(view.length):
        [columns] = places["gripper"][tick]["Transform3D:mat3x3"]  # Rerun keeps matrices by columns
        jaws = places["gripper"][tick]["Transform3D:translation"][0] + np.reshape(columns, (3, 3)).T @ GRIP_IN_GRIPPER
        np.testing.assert_allclose(jaws, view.hand[tick], atol=1e-5)
    meshes = [of for entity, of in static.items() if entity.startswith("/world/scene/") and "Asset3D:blob" in of]
    assert len(meshes) == len(view.scene.meshes)
    assert static["/world/scene/block1/boxes"]["Boxes3D:half_sizes"] == [[pytest.approx(0.0125)] * 3]


@pytest.mark.skipif(not HAS_RERUN, reason="rerun-sdk is not installed")
def test_a_recording_is_first_looked_at_from_before_the_arm_with_all_of_its_way_in_sight(on_data: View) -> None:
    from foreact.studio.view_rerun import first_look

    eye = first_look(on_data)
    assert eye.position is not None
    assert eye.look_target is not None
    assert on_data.hand is not None
    (place,), (target,) = (np.array(of.as_arrow_array().to_pylist()) for of in (eye.position, eye.look_target))
    assert place[2] > max(0.1, target[2])
    assert place[0] > on_data.hand[:, 0].mean()
    for point in [np.zeros(3), *on_data.hand]:
        sight, ray = target - place, point - place
        angle = np.degrees(np.arccos(sight @ ray / np.linalg.norm(sight) / np.linalg.norm(ray)))
        assert angle < 25  # Rerun's eye sees 55 degrees from top to bottom


@needs_reader
def test_recordings_of_the_same_episode_are_two_recordings(on_data: View, tmp_path: Path) -> None:
    """Rerun shows those of one identity as one, and so would draw two policies over each other."""
    from rerun.chunk import RrdReader

    from foreact.studio.view_rerun import write_recording

    found = set()
    for name in ("a", "b"):
        write_recording(on_data, tmp_path / f"{name}.rrd")
        found |= {of.recording_id for of in RrdReader(str(tmp_path / f"{name}.rrd")).recordings()}
    assert len(found) == 2


@needs_reader
def test_a_recording_read_back_has_curves_chunks_pictures_and_limits_at_their_ticks(
    on_data: View, tmp_path: Path
) -> None:
    from foreact.studio.view_rerun import write_recording

    path = tmp_path / "made" / "episode.rrd"
    write_recording(on_data, path)
    assert [file.name for file in path.parent.iterdir()] == ["episode.rrd"]
    rows, _ = read_recording(path)
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
    assert sorted(rows["/world/overhead"]) == sorted(rows["/world/wrist"]) == list(ticks)
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
    for name in ("policy", "blind"):
        shutil.copytree(untrained_run, f"runs/quickstart/{name}")
    shutil.copytree(sim_recording, "runs/quickstart/data")
    blind = Path("runs/quickstart/blind")
    task = replace(TASK, max_seconds=0.5)
    of = evaluation_entry(
        Evaluation(name="blind", episodes=rollout(load_policy(blind), task, [10_000], n_envs=1)),
        level="L2", task=task, seed=10_000, run=blind, checkpoint=blind,
    )  # fmt: skip
    write_evaluations(Path("runs/quickstart/eval.json"), [of])
    for language, body in page_blocks("view.md"):
        for line in body.splitlines() if language == "sh" else ():
            words = line.split()
            if words[:2] != ["foreact", "view"]:
                assert words[0] in ("pip", "rerun")  # installs, and opens a window
                continue
            needs_no_rerun = {"--mp4", "--png"} & set(words)
            assert run(words[1:]) == (0 if needs_no_rerun or HAS_RERUN else 1), line
    named = {name.removesuffix(".mp4") for name in os.listdir("view") if name.endswith(".mp4")}
    named |= {name.removesuffix("_curves.png") for name in os.listdir("view/on_data") if name.endswith("_curves.png")}
    page = (ROOT / "docs/view.md").read_text()
    assert len(named) == 4
    assert all(f"`{name}`" in page for name in named)
