"""Training, loading and acting with the ways of conditioning, on demonstrations recorded in the simulation."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from foreact.config import Conditioning, RunConfig
from foreact.data.calibration import write_calibration
from foreact.data.sidecar import read_sidecar
from foreact.data.source import open_source
from foreact.errors import ConfigError
from foreact.policy.checkpoint import find_checkpoint, load_policy, read_meta
from foreact.records import Episode
from foreact.sim.env import REST_ARM, PickPlaceEnv
from foreact.sim.kinematics import Kinematics
from foreact.sim.record import RecordConfig, record
from foreact.sim.rollout import rollout
from foreact.sim.task import level
from foreact.train.advice import better_conditioning, cues_out_of_view
from foreact.train.run import train

TASK = level("L1", overhead_size=(64, 64), wrist_size=(64, 64))
EVERY_WAY = get_args(Conditioning)


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes, each with both of its blocks as target."""
    return record(
        RecordConfig(task=TASK, episodes=4, paired=True), tmp_path_factory.mktemp("demos") / "d", workers=1
    ).root


def with_ways(run: RunConfig, *ways: Conditioning, **changes: object) -> RunConfig:
    policy = replace(run.policy, conditioning=ways, cue_crop=0.5)
    return RunConfig(policy=policy, train=replace(run.train, cue_noise=0.01, **changes))  # type: ignore[arg-type]


def logged(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_all_ways_together_train_resume_bit_for_bit_and_act(
    tiny_run: RunConfig, demos: Path, cache_dir: Path, tmp_path: Path
) -> None:
    run = with_ways(tiny_run, *EVERY_WAY, sampling="paired", grad_share=True, steps=4, val_every=2, save_every=2)
    whole = train(run, data=demos, out=tmp_path / "whole", cache_dir=cache_dir)
    train(run, data=demos, out=tmp_path / "parts", cache_dir=cache_dir)
    for file in (tmp_path / "parts/checkpoints/step-000004").iterdir():
        file.unlink()
    (tmp_path / "parts/checkpoints/step-000004").rmdir()
    resumed = train(run, data=demos, out=tmp_path / "parts", cache_dir=cache_dir, resume=True)
    one, two = (load_file(of.checkpoint / "model.safetensors") for of in (whole, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)

    terms = {name for line in logged(tmp_path / "whole") for name in line}
    assert {"train/auxiliary", "train/contrastive"} <= terms

    policy = load_policy(tmp_path / "whole")
    (episode,) = rollout(policy, replace(TASK, max_seconds=1.0), [0], n_envs=1)
    low, high = PickPlaceEnv(TASK).action_space.low, PickPlaceEnv(TASK).action_space.high
    assert (episode.actions[:, :5] >= low[:5] - 1e-6).all()
    assert (episode.actions[:, :5] <= high[:5] + 1e-6).all()
    assert episode.steps == 10


def test_a_grounded_policy_sees_the_same_problem_wherever_the_scene_is(
    tiny_run: RunConfig, demos: Path, cache_dir: Path, tmp_path: Path
) -> None:
    """An untrained blind policy in the hand's frame: shifting hand and cue alike shifts its chunk alike."""
    run = with_ways(tiny_run, "token", "frame", steps=3)
    run = replace(run, policy=replace(run.policy, cameras=()))
    train(run, data=demos, out=tmp_path / "run", cache_dir=cache_dir)
    policy = load_policy(tmp_path / "run")
    hand = policy.inputs.frame
    assert hand is not None
    kinematics = Kinematics()
    spots = np.array([[0.20, 0.05, 0.08], [0.21, -0.04, 0.08]])
    states = [np.append(kinematics.inverse(spot, 0.0, np.array(REST_ARM)), 0.5).astype(np.float32) for spot in spots]
    places, turns = hand.hand(torch.from_numpy(np.stack(states)))
    np.testing.assert_allclose(turns[0], turns[1], atol=1e-3)  # jaws straight down at both
    cue = np.array([0.05, 0.02], np.float32)
    chunks = [
        policy.predict_chunk({"observation.state": of, "observation.environment_state": place[:2].numpy() + cue})
        for of, place in zip(states, places, strict=True)
    ]
    moved = [chunk[:, :3] - place.numpy() for chunk, place in zip(chunks, places, strict=True)]
    assert np.abs(moved[0]).max() > 0.01
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-4)


@pytest.mark.parametrize("cameras", [None, ()], ids=["", "blind"])
@pytest.mark.parametrize("way", EVERY_WAY)
def test_each_way_alone_tells_the_network_where_or_training_says_that_it_does_not(
    tiny_run: RunConfig,
    demos: Path,
    cache_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    way: str,
    cameras: tuple[str, ...] | None,
) -> None:
    out = tmp_path / "run"
    run = with_ways(tiny_run, cast(Conditioning, way), steps=4)
    run = replace(run, policy=replace(run.policy, cameras=cameras, auxiliary_from="decoder"))
    train(run, data=demos, out=out, cache_dir=cache_dir)
    unheard = "told no coordinates" in capsys.readouterr().err
    policy = load_policy(out)
    if way in ("heatmap", "film"):  # both begin as if they were not there; four steps are too few to see them
        with torch.no_grad():
            for parameter in (*policy.model.films.parameters(), *policy.model.backbones.parameters()):
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    env = PickPlaceEnv(TASK)
    try:
        observation, _ = env.reset(seed=3)
    finally:
        env.close()
    key = "observation.environment_state"
    elsewhere = observation | {key: observation[key] + np.array([0.03, -0.05], np.float32)}
    answers = not np.array_equal(policy.predict_chunk(observation), policy.predict_chunk(elsewhere))
    assert answers is not unheard
    of_pictures = () if cameras is None else ("film", "crop", "heatmap")
    assert unheard is (way in ("world", "auxiliary", "contrastive", *of_pictures))


def test_a_calibration_file_goes_into_the_checkpoint_and_a_resumed_run_keeps_it(
    tiny_run: RunConfig, demos: Path, cache_dir: Path, tmp_path: Path
) -> None:
    sidecar = read_sidecar(demos)
    moved = replace(sidecar.cameras["overhead"], position=(0.5, 0.0, 0.5))
    write_calibration(tmp_path / "robot.yaml", replace(sidecar, cameras={"overhead": moved}, scenes=None))
    run = with_ways(tiny_run, "token", "crop", steps=4, val_every=2, save_every=2)
    first = train(run, data=demos, out=tmp_path / "run", cache_dir=cache_dir, calibration=tmp_path / "robot.yaml")
    cameras = {camera.name: camera.calibration for camera in read_meta(first.checkpoint).features.cameras}
    assert cameras["overhead"] is not None
    assert cameras["overhead"].position == (0.5, 0.0, 0.5)
    assert cameras["wrist"] == sidecar.cameras["wrist"]
    longer = replace(run, train=replace(run.train, steps=6))
    again = train(longer, data=demos, out=tmp_path / "run", cache_dir=cache_dir, resume=True)
    assert read_meta(again.checkpoint).features == read_meta(first.checkpoint).features
    other = replace(moved, position=(0.6, 0.0, 0.5))
    write_calibration(tmp_path / "other.yaml", replace(sidecar, cameras={"overhead": other}, scenes=None))
    with pytest.raises(ConfigError, match=r"other.yaml' is not what the run to resume was started with"):
        train(
            longer,
            data=demos,
            out=tmp_path / "run",
            cache_dir=cache_dir,
            resume=True,
            calibration=tmp_path / "other.yaml",
        )


def test_data_without_calibration_are_refused_before_anything_is_trained(
    tiny_run: RunConfig, dataset: Path, cache_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"conditioning crop needs a calibrated camera .* there is none"):
        train(with_ways(tiny_run, "crop"), data=dataset, out=tmp_path / "run", cache_dir=cache_dir)
    with pytest.raises(ConfigError, match="'frame' needs the arm's kinematics"):
        train(with_ways(tiny_run, "frame"), data=dataset, out=tmp_path / "run", cache_dir=cache_dir)


def test_the_uncued_control_trains_with_ways_that_need_a_cue(
    tiny_run: RunConfig, demos: Path, cache_dir: Path, tmp_path: Path
) -> None:
    run = with_ways(tiny_run, "token", "contrastive", "crop", "film", "frame", steps=3)
    run = replace(run, policy=replace(run.policy, use_environment_state=False))
    train(run, data=demos, out=tmp_path / "run", cache_dir=cache_dir)
    policy = load_policy(tmp_path / "run")
    assert [camera.name for camera in policy.inputs.network_features.cameras] == ["overhead", "wrist"]


@pytest.mark.parametrize(
    ("ways", "source", "said"),
    [
        (
            ("token", "auxiliary"),
            "cue_token",
            "the coordinate's own token holds them whatever the policy does; choose image or decoder",
        ),
        (
            ("strong", "auxiliary"),
            "cue_token",
            "the coordinate's own token holds them whatever the policy does; choose decoder",
        ),
        (
            ("strong", "auxiliary"),
            "image",
            "'strong' adds them to every image token before each layer, so the loss falls; choose decoder",
        ),
        (("strong", "auxiliary"), "decoder", None),
        (("token", "auxiliary"), "image", None),
        (("token",), "cue_token", None),
    ],
)
def test_an_auxiliary_loss_that_is_satisfied_for_free_is_warned_of_once(
    tiny_run: RunConfig,
    demos: Path,
    cache_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    ways: tuple[Conditioning, ...],
    source: str,
    said: str | None,
) -> None:
    run = with_ways(tiny_run, *ways, steps=3)
    train(
        replace(run, policy=replace(run.policy, auxiliary_from=source)),  # type: ignore[arg-type]
        data=demos,
        out=tmp_path / "run",
        cache_dir=cache_dir,
    )
    lines = [line for line in capsys.readouterr().err.splitlines() if "satisfied for free" in line]
    if said is None:
        assert lines == []
    else:
        (line,) = lines
        assert line.startswith(f"warning: policy.auxiliary_from {source} is satisfied for free: ")
        assert all(part in line for part in said.split("; "))


def test_dropout_does_not_pass_for_an_answer_to_the_coordinate(
    tiny_run: RunConfig, demos: Path, cache_dir: Path, tmp_path: Path
) -> None:
    """A network that is not told the coordinate answers nothing to another one, so the hinge is the margin's alone."""
    run = with_ways(tiny_run, "contrastive", steps=1, warmup_steps=0, val_every=1, save_every=1, log_every=1)
    hinges = []
    for dropout in (0.0, 0.5):
        of = replace(run, policy=replace(run.policy, dropout=dropout))
        train(of, data=demos, out=tmp_path / str(dropout), cache_dir=cache_dir)
        hinges += [line["train/contrastive"] for line in logged(tmp_path / str(dropout)) if "train/contrastive" in line]
    assert hinges[0] > 0.01
    assert hinges == [pytest.approx(hinges[0])] * 2


def test_an_older_run_is_not_resumed_with_options_that_it_did_not_have(
    tiny_run: RunConfig, demos: Path, cache_dir: Path, tmp_path: Path
) -> None:
    """Its checkpoint does not know of noise on the cue: it had none."""
    train(tiny_run, data=demos, out=tmp_path / "run", cache_dir=cache_dir)
    meta = find_checkpoint(tmp_path / "run")
    content = json.loads((meta / "config.json").read_text())
    del content["provenance"]["train"]["cue_noise"]
    (meta / "config.json").write_text(json.dumps(content))
    manifest = json.loads((meta / "manifest.json").read_text())
    manifest["sha256"]["config.json"] = hashlib.sha256((meta / "config.json").read_bytes()).hexdigest()
    (meta / "manifest.json").write_text(json.dumps(manifest))
    noisy = replace(tiny_run, train=replace(tiny_run.train, cue_noise=0.01, steps=8))
    with pytest.raises(ConfigError, match=r"train.cue_noise is 0.01, but the run to resume was started with 0.0"):
        train(noisy, data=demos, out=tmp_path / "run", cache_dir=cache_dir, resume=True)


def test_a_hint_names_the_better_way_where_the_data_allow_it(tiny_run: RunConfig, demos: Path) -> None:
    features = open_source(demos).features
    policy = replace(tiny_run.policy, conditioning=("token",))
    hint = better_conditioning(policy, features)
    assert hint is not None
    assert "a camera and the arm are calibrated" in hint
    assert "so101-grounded" in hint
    uncalibrated = tuple(replace(camera, calibration=None) for camera in features.cameras)
    for config, of in (
        (replace(policy, conditioning=("token", "film")), features),
        (replace(policy, use_environment_state=False), features),
        (policy, replace(features, environment_names=())),
        (policy, replace(features, arm=None)),
        (policy, replace(features, cameras=uncalibrated)),
        (policy, replace(features, cameras=())),
    ):
        assert better_conditioning(config, of) is None


def test_coordinates_out_of_view_are_warned_of(tiny_run: RunConfig, demos: Path) -> None:
    """Millimetres lie far outside of the picture; half of the frames in millimetres are half."""
    source = open_source(demos)
    episodes = [source.episode(index) for index in source.episode_indices]
    policy = replace(tiny_run.policy, conditioning=("token", "crop"))
    assert cues_out_of_view(policy, source.features, episodes) is None

    def in_mm(of: Episode) -> Episode:
        assert of.environment_state is not None
        return replace(of, environment_state=1000 * of.environment_state)

    said = cues_out_of_view(policy, source.features, [in_mm(of) for of in episodes])
    assert said is not None
    assert "seldom in the picture (camera overhead in 0 %, camera wrist in 0 % of the frames)" in said
    half = cues_out_of_view(policy, source.features, [*episodes, *map(in_mm, episodes)])
    assert half is not None
    assert "(camera overhead in 50 % of the frames)" in half, "the wrist's sees the cue in every second frame as it is"
    for config in (replace(policy, conditioning=("token",)), replace(policy, use_environment_state=False)):
        assert cues_out_of_view(config, source.features, [in_mm(of) for of in episodes]) is None
    untold = [replace(of, environment_state=None) for of in episodes]
    assert cues_out_of_view(policy, replace(source.features, cameras=()), untold) is None


def test_a_camera_on_the_hand_that_looks_away_is_warned_of(tiny_run: RunConfig, demos: Path) -> None:
    """Turned by half a turn about its own vertical, it looks at the arm instead of the table."""
    source = open_source(demos)
    episodes = [source.episode(index) for index in source.episode_indices]
    wrist = next(of for of in source.features.cameras if of.name == "wrist")
    assert wrist.calibration is not None
    w, x, y, z = wrist.calibration.quaternion
    away = replace(wrist, calibration=replace(wrist.calibration, quaternion=(-y, -z, w, x)))
    policy = replace(tiny_run.policy, conditioning=("token", "crop"))
    assert cues_out_of_view(policy, source.features, episodes) is None
    cameras = tuple(away if of is wrist else of for of in source.features.cameras)
    said = cues_out_of_view(policy, replace(source.features, cameras=cameras), episodes)
    assert said is not None
    assert "(camera wrist in 0 % of the frames)" in said
