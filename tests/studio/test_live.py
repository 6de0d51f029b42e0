"""A scene that goes on by itself: what is asked of it happens, and nothing that goes wrong ends it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from foreact.errors import ConfigError
from foreact.records import Camera, Features
from foreact.sim.calibration import arm_of_model
from foreact.sim.env import PickPlaceEnv
from foreact.sim.scene import build_arm
from foreact.sim.task import level
from foreact.studio.clicking import read_click
from foreact.studio.drawing import joint_panels, overhead_marks, to_pixels, to_table
from foreact.studio.live import MOST_CONFUSERS, NEAREST, Live
from foreact.studio.setup import Prediction, Setup, Snapshot
from foreact.studio.shelf import EXPERT, OpenedPolicy, SharedPolicy, Shelf, executed, short_names
from foreact_runtime.keys import image_key
from foreact_runtime.limits import KINDS, Limits
from foreact_runtime.settings import ExecutorSettings
from studio.sim_policy import FEATURES, STEPS, Written, observation, stays, told

PATIENCE_S = 30


class OneShelf(Shelf):
    """A shelf with one policy that was never on disk."""

    def __init__(self, policy: OpenedPolicy) -> None:
        super().__init__([Path("written")])
        self._policy = SharedPolicy(policy)

    def open(self, name: str, latent: object = "zero") -> SharedPolicy:
        return self._policy


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"not within {PATIENCE_S} s"
        time.sleep(0.02)


def wait(live: Live, until: Callable[[Snapshot], bool]) -> Snapshot:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        snapshot = live.snapshot
        if snapshot is not None and until(snapshot):
            return snapshot
        time.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE_S} s: {live.error}")


@pytest.fixture(scope="module")
def expert() -> Iterator[Live]:
    live = Live(Shelf([]), Setup(level="L1", seed=1))
    yield live
    live.close()


def test_a_click_on_a_block_has_that_block_picked(expert: Live) -> None:
    expert.begin(as_drawn=True)
    expert.pause(True)
    snapshot = wait(expert, lambda of: of.is_paused and of.tick < 5)
    pixel = to_pixels(snapshot.overhead, snapshot.blocks[1].now[None])[0]
    click = read_click(snapshot, (pixel[0] + 2, pixel[1] - 2))
    assert click is not None
    assert (click.block, click.hits) == (1, True)
    other = snapshot.blocks[1].placed
    assert click.point == pytest.approx(other, abs=0.005)
    expert.pick(click.block, click.point)
    expert.pause(False)
    after = wait(expert, lambda of: of.clicked is not None and of.outcome is not None)
    assert after.outcome == "success"
    assert after.blocks[0].placed == pytest.approx(other)
    assert after.clicked == pytest.approx(click.point)
    # A click on it in the bowl means where it stood.
    again = read_click(after, tuple(to_pixels(after.overhead, after.blocks[0].now[None])[0]))
    assert again is not None
    assert again.point == pytest.approx(other)


def test_a_click_may_let_the_arm_go_on_from_where_it_is(expert: Live) -> None:
    expert.pause(True)
    expert.begin(as_drawn=True)
    for _ in range(7):
        expert.step()
    before = wait(expert, lambda of: of.is_paused and of.tick == 8 and of.clicked is None)
    start, there = before.states[0], before.states[-1]
    assert np.abs(there - start).max() > 0.1
    expert.pick(1, before.blocks[1].placed, keep_arm=True)
    after = wait(expert, lambda of: of.clicked is not None)
    assert after.states[0] == pytest.approx(there)
    assert after.blocks[0].placed == pytest.approx(before.blocks[1].placed)
    expert.pick(1, before.blocks[0].placed)
    again = wait(expert, lambda of: of.clicked is not None and np.allclose(of.clicked, before.blocks[0].placed))
    assert again.states[0] == pytest.approx(start)
    expert.begin(as_drawn=True)
    expert.pause(False)


def test_a_scene_beside_another_has_its_blocks_its_click_and_its_noise_from_then_on() -> None:
    shelf, setup = OneShelf(Written(stays)), Setup(policy="written", level="L2", seed=3)
    one = Live(shelf, setup)
    one.pause(True)
    one.move_block(1, np.array([0.17, 0.1]))
    one.pick(1, np.array([0.2, 0.02]))
    one.pick(1, np.array([0.18, 0.09]))
    before = wait(one, lambda of: of.clicked is not None and of.clicked[0] == 0.18)
    other = Live(shelf, setup, scene_of=one)
    other.pause(True)
    beside = wait(other, lambda of: True)
    assert beside.clicked == pytest.approx(before.clicked)
    assert beside.cue == pytest.approx(before.cue)
    assert [of.placed.tolist() for of in beside.blocks] == [of.placed.tolist() for of in before.blocks]
    cues = []
    for live in (one, other):
        live.pick(0, np.array([0.21, 0.0]))
        cues.append(wait(live, lambda of: of.clicked is not None and of.clicked[0] == 0.21).cue)
        live.close()
    assert cues[0] == pytest.approx(cues[1])


def test_pixel_and_table_are_each_others_inverse_for_the_camera_that_was_drawn() -> None:
    live = Live(Shelf([]), Setup(level="L3", seed=7))
    snapshot = wait(live, lambda of: True)
    env = PickPlaceEnv(level("L3", cameras=()))
    env.reset(seed=7)
    point = np.array([0.2, 0.05, 0.0125])
    pixel = to_pixels(snapshot.overhead, point[None])[0]
    assert pixel == pytest.approx(env.project(point, "overhead", (384, 384)), abs=0.01)
    assert to_table(snapshot.overhead, tuple(pixel)) == pytest.approx(point[:2], abs=1e-6)
    live.close()
    env.close()


def test_the_same_seed_is_the_scene_of_an_evaluation(expert: Live) -> None:
    expert.change(replace(expert.setup, level="L2", seed=10004))
    snapshot = wait(expert, lambda of: of.setup.seed == 10004)
    env = PickPlaceEnv(level("L2", cameras=()))
    observation, info = env.reset(seed=10004)
    assert snapshot.blocks[0].placed == pytest.approx(info["target"])
    assert snapshot.cue == pytest.approx(info["cue"])
    assert snapshot.states[0] == pytest.approx(observation["observation.state"])
    env.close()
    expert.change(Setup(level="L1", seed=1))
    wait(expert, lambda of: of.setup.seed == 1)


def test_a_step_goes_on_by_one_tick_and_a_pause_by_none(expert: Live) -> None:
    expert.pause(True)
    expert.begin()
    before = wait(expert, lambda of: of.is_paused and of.tick == 1 and of.outcome is None)
    expert.step()
    after = wait(expert, lambda of: of.tick > before.tick)
    time.sleep(0.3)
    assert expert.snapshot is not None
    assert expert.snapshot.tick == after.tick == before.tick + 1
    expert.pause(False)


def test_blocks_are_moved_added_and_taken_away_and_keep_apart(expert: Live) -> None:
    expert.begin(as_drawn=True)
    expert.pause(True)
    snapshot = wait(expert, lambda of: of.is_paused and of.tick == 1 and len(of.blocks) == 2)
    expert.move_block(1, snapshot.blocks[0].placed)  # where another one stands
    moved = wait(expert, lambda of: not np.allclose(of.blocks[1].placed, snapshot.blocks[1].placed))
    apart = np.linalg.norm(moved.blocks[1].placed - moved.blocks[0].placed)
    assert NEAREST <= apart < NEAREST + 0.006
    for _ in range(5):
        expert.add_confuser()
    many = wait(expert, lambda of: len(of.blocks) == 1 + MOST_CONFUSERS)
    places = np.array([of.now[:2] for of in many.blocks])
    distances = np.linalg.norm(places[:, None] - places, axis=-1)[np.triu_indices(len(places), k=1)]
    assert distances.min() > 0.025 * 2**0.5
    for _ in range(5):
        expert.remove_confuser()
    wait(expert, lambda of: len(of.blocks) == 1)
    expert.begin()
    assert len(wait(expert, lambda of: of.tick == 1).blocks) == 1, "a scene that begins again keeps its changes"
    expert.begin(as_drawn=True)
    assert len(wait(expert, lambda of: len(of.blocks) == 2).blocks) == 2
    expert.pause(False)


def test_what_a_policy_is_told_is_the_click_with_the_noise_that_was_set() -> None:
    seen: list[np.ndarray] = []

    def note(observation: object) -> np.ndarray:
        seen.append(told(observation)[:2])  # type: ignore[arg-type]
        return stays(observation)  # type: ignore[arg-type]

    live = Live(OneShelf(Written(note)), Setup(policy="written", level="L1", seed=3, cue_noise=0.0))
    wait(live, lambda of: of.tick > 0)
    point = np.array([0.2, 0.03])
    live.pick(0, point)
    snapshot = wait(live, lambda of: of.clicked is not None and of.tick > 0)
    assert snapshot.cue == pytest.approx(point)
    assert seen[-1] == pytest.approx(point, abs=1e-6)
    live.change(replace(live.setup, cue_noise=0.02))
    live.pick(0, point)
    noisy = wait(live, lambda of: not np.allclose(of.cue, point) and of.tick > 0)
    assert noisy.clicked == pytest.approx(point)
    assert seen[-1] == pytest.approx(noisy.cue, abs=1e-6)
    assert "out of reach" not in joint_panels(noisy)
    assert overhead_marks(noisy).count('class="clicked"') == 1
    live.close()


def test_limits_are_counted_by_joint_and_the_plan_is_what_will_be_sent() -> None:
    def turns(observation: object) -> np.ndarray:
        chunk = stays(observation)  # type: ignore[arg-type]
        chunk[:, 0] += 0.2 * np.arange(STEPS, dtype=np.float32)
        return chunk

    none = (None,) * 5
    policy = Written(turns, limits=Limits(velocity=(0.5, *none)))
    live = Live(OneShelf(policy), Setup(policy="written", seed=3))
    live.shows_plan = True
    live.pause(True)
    for _ in range(3):
        live.step()
    snapshot = wait(live, lambda of: of.tick == 4)
    # The first command may go anywhere, each of the three further ones by 0.5 rad/s at 10 Hz; 2 rad/s are asked for.
    assert np.diff(snapshot.sent[:, 0]) == pytest.approx(0.05, abs=1e-6)
    assert snapshot.limited is not None
    counts = np.zeros((len(KINDS), 6), int)
    counts[KINDS.index("velocity"), 0] = 3
    assert snapshot.limited.counts.tolist() == counts.tolist()
    assert snapshot.limited.ticks == 3
    pan, *others = joint_panels(snapshot).split("</figure>")[:6]
    assert '<span class="limited">limited: velocity 3x</span>' in pan
    assert ", limited velocity 3x" in pan.partition("aria-label")[2]
    assert not [of for of in others if "limited" in of]
    assert snapshot.plan is not None
    planned = {snapshot.plan.tick + i: action for i, action in enumerate(snapshot.plan.actions)}
    live.step()
    later = wait(live, lambda of: of.tick > snapshot.tick)
    for tick in range(snapshot.plan.tick, later.tick):
        assert later.sent[tick] == pytest.approx(planned[tick], abs=1e-6)
    live.close()


def test_a_late_chunk_holds_the_arm_where_the_executor_waits_and_where_it_asks_ahead_it_does_not() -> None:
    policy = Written(stays, n_action_steps=2)
    live = Live(OneShelf(policy), Setup(policy="written", seed=3, delay=0.3))
    snapshot = wait(live, lambda of: of.tick >= 12)
    # The first chunk is waited for; then two actions and three held ticks take turns.
    assert snapshot.stalls in (6, 7)
    assert np.diff([of.tick for of in snapshot.predictions]) == [5]
    live.change(replace(live.setup, mode="asynchronous"))
    snapshot = wait(live, lambda of: of.setup.mode == "asynchronous" and of.tick >= 12)
    # A chunk of 8 is asked for as soon as the one before is there: three ticks later it has 5 left.
    assert snapshot.stalls == 0
    assert np.diff([of.tick for of in snapshot.predictions]) == [3]
    live.close()


def test_an_ensemble_plans_and_sends_the_weighted_mean_of_the_chunks_that_are_drawn() -> None:
    asked = count()

    def each_further(observation: object) -> np.ndarray:
        chunk = stays(observation)  # type: ignore[arg-type]
        chunk[:, 0] += 0.05 * next(asked) ** 2
        return chunk

    live = Live(OneShelf(Written(each_further)), Setup(policy="written", seed=3, mode="ensemble"))
    live.shows_plan = True
    live.pause(True)
    for _ in range(3):
        live.step()
    snapshot = wait(live, lambda of: of.tick == 4)
    assert [of.tick for of in snapshot.predictions] == [0, 1, 2, 3]

    def mean_at(tick: int, of: Snapshot) -> np.ndarray:
        """The paper's: w_i = exp(-m i) with m = 0.01, i = 0 for the oldest."""
        rows = [one.actions[tick - one.tick] for one in of.predictions if tick < one.tick + STEPS]
        return np.average(rows, axis=0, weights=np.exp(-0.01 * np.arange(len(rows))))

    assert snapshot.plan is not None
    assert snapshot.plan.tick == 4
    assert len(snapshot.plan.actions) == 7  # the latest chunk, of tick 3, reaches furthest
    for ahead, action in enumerate(snapshot.plan.actions):
        assert action == pytest.approx(mean_at(4 + ahead, snapshot), abs=1e-6)
    assert joint_panels(snapshot).count('class="plan"') == 6
    assert joint_panels(snapshot).count('class="chunk"') == 6 * 4
    live.step()
    later = wait(live, lambda of: of.tick == 5)
    assert later.sent[4] == pytest.approx(mean_at(4, later), abs=1e-6)
    live.close()


def test_an_error_is_shown_and_the_scene_lives_on() -> None:
    def fails(observation: object) -> np.ndarray:
        raise ConfigError("this cannot be")

    live = Live(OneShelf(Written(fails)), Setup(policy="written", seed=3))
    snapshot = wait(live, lambda of: bool(of.error))
    assert snapshot.error == "this cannot be"
    live.pick(9, np.zeros(2))
    assert "no such block" in wait(live, lambda of: "block" in of.error).error or "cannot be the target" in live.error
    live.change(Setup(policy=EXPERT, seed=3))
    assert wait(live, lambda of: of.tick > 0).error == ""
    live.close()


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            replace(FEATURES, action_names=("a", "b"), cameras=(), fps=50.0),
            "commands a, b; the simulated SO-101 has sho",
        ),
        (replace(FEATURES, cameras=(Camera(name="top", height=8, width=8),)), "camera 'top'"),
        (replace(FEATURES, arm=replace(arm_of_model(build_arm()), unit="deg")), "commands degrees"),
    ],
)
def test_a_policy_of_another_robot_is_refused_and_nothing_of_the_one_before_is_taken_for_it(
    features: Features, message: str
) -> None:
    live = Live(OneShelf(Written(stays, features=features)), Setup(seed=3))
    wait(live, lambda of: of.tick > 0)
    live.change(replace(live.setup, policy="written"))
    wait_until(lambda: live.error != "" and live.snapshot is None)
    assert message in live.error
    live.pick(0, np.array([0.2, 0.0]))
    live.change(replace(live.setup, brightness=2.0))
    time.sleep(0.1)
    assert message in live.error, "what is asked of a scene that is not there does not hide why it is not"
    live.change(replace(live.setup, policy=EXPERT))
    assert wait(live, lambda of: of.tick > 0).error == ""
    live.close()


def test_a_scene_that_cannot_be_drawn_says_why_and_can_be_left() -> None:
    code = (
        "import time\n"
        "from foreact.studio.live import Live\n"
        "from foreact.studio.setup import Setup\n"
        "from foreact.studio.shelf import Shelf\n"
        "live = Live(Shelf([]), Setup())\n"
        "while not live.error:\n"
        "    time.sleep(0.01)\n"
        "live.close()\n"
        "print(live.error)\n"
    )
    environment = {**os.environ, "MUJOCO_GL": "disable"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert "MUJOCO_GL is 'disable'" in done.stdout


def test_settings_that_follow_each_other_quickly_are_all_made(expert: Live) -> None:
    expert.change(replace(expert.setup, level="L2"))
    expert.change(replace(expert.setup, seed=9))
    expert.change(replace(expert.setup, brightness=2.0))
    assert wait(expert, lambda of: of.setup == Setup(level="L2", seed=9, brightness=2.0))
    expert.change(Setup(level="L1", seed=1))
    wait(expert, lambda of: of.setup.seed == 1)


def test_as_much_noise_as_was_set_reaches_the_cue_of_a_drawn_scene_and_of_a_click() -> None:
    live = Live(Shelf([]), Setup(level="L2", cue_noise=0.05))
    live.pause(True)
    errors = []
    for seed in range(12):
        live.change(replace(live.setup, seed=seed))
        live.pick(0, np.array([0.2, 0.0]))
        drawn = wait(live, lambda of: of.clicked is not None)
        errors.append(drawn.cue - drawn.clicked)
        live.begin(as_drawn=True)
        drawn = wait(live, lambda of: of.clicked is None)
        errors.append(drawn.cue - drawn.blocks[0].placed)
    live.close()
    # L2 cuts its own noise of 20 mm off at 30 mm; 50 mm are cut off at 75 mm, of which a third is below 30 mm.
    clicked, placed = np.linalg.norm(errors[::2], axis=1), np.linalg.norm(errors[1::2], axis=1)
    for distances in (clicked, placed):
        assert distances.max() <= 0.075
        assert (distances > 0.03).sum() >= 4


def test_of_an_ensembles_many_chunks_a_panel_shows_a_few_with_the_latest() -> None:
    live = Live(OneShelf(Written(stays)), Setup(policy="written", seed=3))
    snapshot = wait(live, lambda of: bool(of.predictions))
    live.close()
    many = [Prediction(tick=0, actions=np.full((STEPS, 6), i, np.float32), path=None) for i in range(100)]
    drawn = joint_panels(replace(snapshot, predictions=many))
    assert 6 * 6 <= drawn.count('class="chunk"') <= 6 * 12
    latest = joint_panels(replace(snapshot, predictions=[many[0], many[-1]]))
    assert latest.split('class="chunk"')[2].split('"')[1] in drawn


def test_ways_of_executing_change_what_they_say_and_nothing_else() -> None:
    trained = ExecutorSettings(chunk_size=STEPS, n_action_steps=3)
    assert executed(trained, "as trained") is trained
    assert executed(trained, "queue") == trained
    assert executed(trained, "asynchronous") == replace(trained, asynchronous=True)
    ensemble = executed(trained, "ensemble")
    assert ensemble == replace(trained, n_action_steps=1, temporal_ensemble_coeff=0.01)
    assert executed(ensemble, "queue") == replace(trained, n_action_steps=STEPS // 2)


def test_policies_are_named_by_what_tells_them_apart() -> None:
    assert short_names([Path("/a/one/run"), Path("/a/two/run")]) == ["one", "two"]
    assert short_names([Path("/a/one/run"), Path("/a/one/bundle")]) == ["run", "bundle"]
    assert short_names([Path("/runs/quickstart/policy")]) == ["quickstart/policy"]
    assert short_names([Path("/a/b"), Path("/a/b/c")]) == ["b", "b/c"]
    with pytest.raises(ConfigError, match="twice"):
        short_names([Path("/a/one"), Path("/a/../a/one")])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"level": "L9"}, "L9"),
        ({"seed": -1}, "seed is -1"),
        ({"brightness": 50.0}, "brightness is 50.0"),
        ({"delay": 9.0}, "delay is 9.0; it must be 0 to 2"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Setup(**wrong)  # type: ignore[arg-type]


def test_the_policy_sees_the_pictures_that_it_was_trained_on() -> None:
    live = Live(OneShelf(Written(stays)), Setup(policy="written", seed=3))
    snapshot = wait(live, lambda of: bool(of.observation))
    (camera,) = FEATURES.cameras
    assert snapshot.observation["observation.images.overhead"].shape == (camera.height, camera.width, 3)
    assert set(snapshot.pictures) == {"overhead", "wrist"}
    live.close()


def test_each_scene_draws_its_own_latents_and_a_restart_repeats_them(untrained_run: Path) -> None:
    shared = Shelf([untrained_run]).open("/".join(untrained_run.parts[-2:]), "prior")
    seen = {**observation(), image_key("wrist"): observation(1)[image_key("overhead")]}
    one, same, other = shared.of_scene(3), shared.of_scene(3), shared.of_scene(4)
    for of in (one, same, other):
        of.reset()
    first, second = one.predict_chunk(seen), one.predict_chunk(seen)
    assert not np.allclose(first, second)
    other.reset()  # another scene begins meanwhile
    assert np.array_equal(same.predict_chunk(seen), first)
    assert not np.allclose(other.predict_chunk(seen), first)
    assert np.array_equal(same.predict_chunk(seen), second)
    one.reset()
    assert np.array_equal(one.predict_chunk(seen), first)
    assert one.asking is other.asking, "they share a network"


def test_a_block_is_shifted_from_where_it_was_put(expert: Live) -> None:
    expert.begin(as_drawn=True)
    expert.pause(True)
    before = wait(expert, lambda of: of.is_paused and of.tick == 1 and len(of.blocks) == 2)
    for _ in range(3):  # quicker than anybody looks
        expert.shift_block(1, np.array([0.004, -0.002]))
    place = before.blocks[1].placed + np.array([0.012, -0.006])
    wait(expert, lambda of: np.allclose(of.blocks[1].placed, place, atol=1e-9))
    expert.begin(as_drawn=True)
    expert.pause(False)
