"""Closed-loop evaluation: reproducible, honest about outcomes, and shown as it was."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from foreact.config import Latent, PolicyConfig
from foreact.errors import ConfigError, ForeactError, ObservationError, SimulationError
from foreact.intervals import wilson
from foreact.policy.checkpoint import save_policy
from foreact.policy.policy import Policy
from foreact.records import Camera, Features, VectorStatistics
from foreact.sim.calibration import arm_of_model
from foreact.sim.delayed import Delay, delayed_episode
from foreact.sim.env import PickPlaceEnv
from foreact.sim.evaluation import Evaluation
from foreact.sim.expert_rollout import rollout_expert
from foreact.sim.outcome import OUTCOMES
from foreact.sim.rollout import rollout
from foreact.sim.scene import ACTION_NAMES, build_arm
from foreact.sim.task import TaskConfig, level
from foreact.sim.unit import check_radians
from foreact.sim.video import write_video
from odd_policies import Counting, Killed, Leaping, NotThere, OutOfReach, Refusing, Still

TASK = level("L1", overhead_size=(32, 32), wrist_size=(32, 32), max_seconds=2.0)


def statistics(dim: int) -> VectorStatistics:
    one = np.ones(dim)
    return VectorStatistics(mean=0 * one, std=0.5 * one, min=-one, max=one, q01=-one, q99=one, count=1)


@pytest.fixture(scope="module")
def policy() -> Policy:
    """Untrained: it waves about, each seed in its own way."""
    torch.manual_seed(0)
    features = Features(
        action_names=ACTION_NAMES,
        state_names=ACTION_NAMES,
        environment_names=("target_x", "target_y"),
        cameras=(Camera(name="overhead", height=32, width=32), Camera(name="wrist", height=32, width=32)),
        fps=10,
    )
    config = PolicyConfig(
        chunk_size=6,
        n_action_steps=3,
        vision_backbone="cnn",
        pretrained_backbone_weights=None,
        dim_model=16,
        n_heads=2,
        dim_feedforward=32,
    )
    sizes = {"action": 6, "observation.state": 6, "observation.environment_state": 2}
    return Policy(config=config, features=features, statistics={key: statistics(dim) for key, dim in sizes.items()})


def episodes_without_workers(policy: Policy, task: TaskConfig, seeds: Sequence[int]) -> list[list[np.ndarray]]:
    """Return each episode's actions from a plain loop over ticks, in which the network answers all episodes at once.

    Every picture of every tick is rendered, each in an environment of its own.
    """
    envs = [PickPlaceEnv(task) for _ in seeds]
    executors = [policy.make_executor() for _ in seeds]
    policy.reset()
    seen = [env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)]
    actions: list[list[np.ndarray]] = [[] for _ in seeds]
    running = list(range(len(seeds)))
    while running:
        if asking := [i for i in running if executors[i].needs_chunk]:
            for i, chunk in zip(asking, policy.predict_chunks([seen[i] for i in asking]), strict=True):
                executors[i].add(chunk)
        for i in tuple(running):
            actions[i].append(executors[i].next_action())
            seen[i], _, terminated, truncated, _ = envs[i].step(actions[i][-1])
            if terminated or truncated:
                running.remove(i)
                envs[i].close()
    return actions


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As workers have it: sums that threads share differ in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("latent", ["zero", "prior"])
def test_episodes_are_those_of_a_plain_loop_bit_for_bit_however_many_processes_there_are(
    policy: Policy, latent: Latent
) -> None:
    """Looks vary, so that a picture of another episode's scene would be found out; six seeds are two groups."""
    task = level("L3", overhead_size=(32, 32), wrist_size=(32, 32), max_seconds=2.0)
    policy = Policy(
        config=replace(policy.config, latent=latent),
        features=policy.features,
        statistics=policy.statistics,
        model=policy.model,
    )
    seeds = [3, 1, 4, 15, 9, 2]
    found = rollout(policy, task, seeds, n_envs=1)
    again = rollout(policy, task, seeds, n_envs=2)
    expected = [*episodes_without_workers(policy, task, seeds[:4]), *episodes_without_workers(policy, task, seeds[4:])]
    assert [result.seed for result in found] == seeds
    for one, two, actions in zip(found, again, expected, strict=True):
        np.testing.assert_array_equal(one.actions, two.actions)
        assert one.outcome == two.outcome
        np.testing.assert_array_equal(one.actions, actions)


@pytest.mark.usefixtures("one_thread")
def test_an_episode_alone_is_that_of_the_policys_own_act_bit_for_bit(policy: Policy) -> None:
    (result,) = rollout(policy, TASK, [7])
    env = PickPlaceEnv(TASK)
    observation, _ = env.reset(seed=7)
    policy.reset()
    for action in result.actions:
        np.testing.assert_array_equal(policy.act(observation), action)
        observation, _, terminated, truncated, info = env.step(action)
    assert terminated or truncated
    assert info["outcome"] == result.outcome
    env.close()


def test_the_network_is_asked_by_all_at_once_and_only_when_a_chunk_is_used_up(tmp_path: Path) -> None:
    """Two seconds at 10 Hz are twenty ticks: with chunks of six, four questions an episode; five seeds are 4 and 1."""
    rollout(Counting(tmp_path / "asked"), TASK, range(5), n_envs=1)
    assert (tmp_path / "asked").read_text().split() == ["4"] * 4 + ["1"] * 4


def test_what_the_arm_cannot_reach_is_counted_and_the_arm_stays(tmp_path: Path) -> None:
    (result,) = rollout(OutOfReach(), TASK, [0])
    assert result.unreachable == 10
    np.testing.assert_array_equal(result.actions[1::2], result.actions[0::2])


@pytest.mark.parametrize(
    ("policy_type", "error", "message"),
    [
        (Refusing, ObservationError, "the observation lacks 'observation.images.belly'"),
        (NotThere, ConfigError, "no peer at 'elsewhere'"),
        (Killed, SimulationError, "a simulating process was killed, perhaps for memory; try fewer --envs"),
    ],
)
def test_a_workers_error_reaches_the_caller_and_nothing_else_is_printed(
    policy_type: type[Still], error: type[ForeactError], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        rollout(policy_type(), TASK, range(12), n_envs=2)
    assert "Traceback" not in capfd.readouterr().err


CTRL_C = """
import sys
from odd_policies import Waiting
from foreact.sim.rollout import rollout
from foreact.sim.task import TaskConfig, level
if __name__ == "__main__":
    try:
        rollout(Waiting(sys.argv[1]), level("L1"), range(12), n_envs=2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
"""


def test_ctrl_c_ends_workers_in_the_middle_of_what_they_do(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(CTRL_C)
    call = [sys.executable, str(script), str(tmp_path)]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True, start_new_session=True, env=variables) as process:
        while len(list(tmp_path.glob("*.waiting"))) < 2:
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # a terminal tells every process of the group
        assert process.stderr is not None
        printed = process.stderr.read()  # until all that could write there have ended, whose answers would take hours
    assert process.returncode == 130
    assert printed.strip().splitlines()[-1] == "interrupted"
    assert "Traceback" not in printed, printed


def test_an_evaluation_counts_what_its_episodes_say(policy: Policy) -> None:
    evaluation = Evaluation(name="policy", episodes=rollout(policy, TASK, range(4), n_envs=2))
    assert tuple(evaluation.outcomes) == OUTCOMES
    assert evaluation.outcomes == {name: Counter(e.outcome for e in evaluation.episodes)[name] for name in OUTCOMES}
    assert sum(evaluation.outcomes.values()) == 4
    plain = json.loads(json.dumps(evaluation.to_dict({"level": "L1"})))
    assert plain["wilson_95"] == list(wilson(evaluation.successes, 4))
    assert len(plain["per_episode"]) == 4


def test_the_expert_succeeds_on_the_same_scenes(policy: Policy) -> None:
    task = replace(TASK, max_seconds=8.0)
    results = rollout_expert(task, range(4), n_processes=2)
    assert [result.outcome for result in results] == ["success"] * 4
    for mine, theirs in zip(rollout(policy, TASK, range(4), n_envs=2), results, strict=True):
        assert mine.target == theirs.target
        assert mine.cue == theirs.cue


def test_a_policy_of_another_rate_is_refused(policy: Policy) -> None:
    with pytest.raises(ConfigError, match="trained at 10 Hz, the task runs at 20 Hz"):
        rollout(policy, replace(TASK, fps=20.0), range(1))


def in_unit(policy: Policy, unit: float) -> Policy:
    """The same with state and action counted in another unit of so many radians."""
    scaled = {
        key: replace(of, **{name: getattr(of, name) / unit for name in ("mean", "std", "min", "max", "q01", "q99")})
        if key != "observation.environment_state"
        else of
        for key, of in policy.statistics.items()
    }
    return Policy(config=policy.config, features=policy.features, statistics=scaled, model=policy.model)


def test_a_policy_whose_joints_are_not_in_radians_is_refused(policy: Policy) -> None:
    """Its training data went 1 rad either way, which are 57 degrees; whether limits are on does not matter."""
    in_degrees = in_unit(policy, np.pi / 180)
    settings = in_degrees.executor_settings
    unlimited = Policy(
        config=replace(policy.config, limit_margin=None),
        features=policy.features,
        statistics=in_degrees.statistics,
        model=policy.model,
    )
    of_an_arm = Features(
        action_names=ACTION_NAMES, state_names=ACTION_NAMES, arm=replace(arm_of_model(build_arm()), unit="deg")
    )
    for refused in (in_degrees, unlimited):
        with pytest.raises(
            ConfigError, match=r"trained on 'shoulder_pan\.pos' at -57\.3, which is no angle in radians"
        ):
            rollout(refused, TASK, range(1))
    with pytest.raises(ConfigError, match="the policy commands degrees; the simulated SO-101 takes radians"):
        check_radians(of_an_arm, settings)
    check_radians(replace(of_an_arm, arm=arm_of_model(build_arm())), settings)  # what the arm says counts
    check_radians(policy.features, policy.executor_settings)
    check_radians(policy.features, None)
    env = PickPlaceEnv(replace(TASK, cameras=()))
    with pytest.raises(ConfigError, match="no angle in radians"):
        delayed_episode(in_degrees, env, TASK, 0, Delay(seconds=0))
    env.close()


def test_the_video_replays_the_episodes_and_shows_the_cue(tmp_path: Path) -> None:
    episodes = rollout_expert(replace(TASK, max_seconds=8.0), range(2), n_processes=1)
    write_video(tmp_path / "v.mp4", episodes, TASK)
    with av.open(str(tmp_path / "v.mp4")) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(frames) == max(episode.steps for episode in episodes) + 1 + 15
    pink = np.abs(frames[0].astype(int) - (255, 64, 160)).sum(-1) < 120
    assert pink.sum() > 20, "the cross is drawn"
    green = np.abs(frames[-1].astype(int) - (42, 157, 74)).sum(-1) < 60
    assert green.mean() > 0.04, "both captions say success"


def test_eval_writes_json_video_and_map(policy: Policy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from foreact.cli.main import run

    save_policy(tmp_path / "p", policy)
    files = {name: tmp_path / name for name in ("e.json", "v.mp4", "m.png")}
    options = ["--json", str(files["e.json"]), "--video", str(files["v.mp4"]), "--map", str(files["m.png"])]
    options += ["--episodes", "2", "--envs", "1", "--video-episodes", "1", "--task.max-seconds", "1"]
    controls = ["--controls", "blind", str(tmp_path / "p")]
    assert run(["eval", str(tmp_path / "p"), "--level", "L1", *options, *controls]) == 0
    printed = capsys.readouterr().out
    assert "never_picked" in printed
    names = [evaluation["name"] for evaluation in json.loads(files["e.json"].read_text())]
    assert names == ["policy", "blind", "expert"]
    with Image.open(files["m.png"]) as picture:
        assert picture.size[0] > 300
    with av.open(str(files["v.mp4"])) as file:
        assert file.streams.video[0].frames > 10


def test_eval_says_which_checkpoint_it_has_measured_and_where_it_lies(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from foreact.cli.main import run

    monkeypatch.chdir(tmp_path)
    for step in (1, 2):
        save_policy(f"r/checkpoints/step-{step:06d}", policy)
    Path("r/checkpoints/best.json").write_text(json.dumps({"name": "step-000001"}))
    options = ["--episodes", "1", "--envs", "1", "--task.max-seconds", "0.5", "--json", "out/e.json"]
    assert run(["eval", "r", "--checkpoint", "best", *options, "--controls", "blind", "r"]) == 0
    places = {of["name"]: of["settings"] for of in json.loads(Path("out/e.json").read_text())}
    assert [places[name]["run"] for name in ("policy", "blind", "expert")] == [f"{tmp_path}/r", f"{tmp_path}/r", ""]
    read = [places[name]["checkpoint"] for name in ("policy", "blind", "expert")]
    assert read == [f"{tmp_path}/r/checkpoints/step-000001", f"{tmp_path}/r/checkpoints/step-000002", ""]


def test_a_control_must_not_have_the_name_of_another_column(
    policy: Policy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from foreact.cli.main import run

    save_policy(tmp_path / "p", policy)
    assert run(["eval", str(tmp_path / "p"), "--controls", "policy", str(tmp_path / "p")]) == 1
    assert "--controls has the name 'policy', which another column of the table has" in capsys.readouterr().err


def test_an_evaluation_limits_what_a_robot_s_controller_limits(capfd: pytest.CaptureFixture[str]) -> None:
    task = replace(TASK, cameras=())
    (evaluated,) = rollout(Leaping(), task, [3], n_envs=1)
    robot = delayed_episode(Leaping(), PickPlaceEnv(task), task, 3, Delay(seconds=0)).result
    np.testing.assert_array_equal(evaluated.actions, robot.actions)
    assert evaluated.limited == robot.limited == 1
    assert "limited '" not in capfd.readouterr().err  # the table counts them; a line an episode would fill the screen


def test_eval_says_what_of_the_executor_it_does_not_try(
    policy: Policy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from foreact.cli.main import run

    config = replace(policy.config, asynchronous=True, on_alarm="hold")
    late = Policy(config=config, features=policy.features, statistics=policy.statistics, model=policy.model)
    save_policy(tmp_path / "p", late)
    options = ["--episodes", "1", "--envs", "1", "--task.max-seconds", "1", "--no-expert"]
    assert run(["eval", str(tmp_path / "p"), "--level", "L1", *options]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "asynchronous: in an evaluation chunks come at once" in said
    assert "on_alarm: in an evaluation no alarm is raised that would hold the arm" in said


def test_eval_executes_and_limits_as_the_command_line_says(policy: Policy, tmp_path: Path) -> None:
    from foreact.cli.main import run

    config = replace(policy.config, n_action_steps=1, temporal_ensemble_coeff=0.1)
    averaged = Policy(config=config, features=policy.features, statistics=policy.statistics, model=policy.model)
    save_policy(tmp_path / "p", averaged)
    flags = {"trained": [], "queue": ["--no-ensemble"], "free": ["--no-ensemble", "--no-limits"]}
    measured = {}
    for name, given in flags.items():
        options = ["--episodes", "1", "--envs", "1", "--task.max-seconds", "1", "--no-expert", *given]
        assert run(["eval", str(tmp_path / "p"), *options, "--json", str(tmp_path / f"{name}.json")]) == 0
        (of,) = json.loads((tmp_path / f"{name}.json").read_text())
        measured[name] = of["settings"]["overrides"]
    assert measured == {
        "trained": {"latent": "zero"},
        "queue": {"latent": "zero", "temporal_ensemble_coeff": None},
        "free": {"latent": "zero", "temporal_ensemble_coeff": None, "limit_margin": None},
    }
