"""The controllers: in simulated time, where every tick's action is known by hand, and with a real thread."""

import pickle
import threading
from typing import Any

import numpy as np
import pytest

from foreact_runtime.alarm import AlarmSettings
from foreact_runtime.asynchronous import AsynchronousController, ThreadWorker, make_controller
from foreact_runtime.controller import Controller
from foreact_runtime.errors import ObservationError, OutOfRangeError, UnreachableError
from foreact_runtime.limits import Limits
from foreact_runtime.observation import Observation
from foreact_runtime.records import Features
from foreact_runtime.settings import ExecutorSettings

FEATURES = Features(action_names=("joint",), state_names=("joint",), fps=10)


def settings(**options: Any) -> ExecutorSettings:
    return ExecutorSettings(**{"chunk_size": 8, "n_action_steps": 4, "asynchronous": True, "blend_steps": 0, **options})


def now_and_after(observation: Observation) -> np.ndarray:
    """A chunk whose actions say when they were planned and for when: 1000 * observed at + the tick it is for."""
    at = float(observation["observation.state"][0])
    return (1000 * at + at + np.arange(8, dtype=np.float32))[:, None]


class Time:
    """Simulated: a robot that acts ten times a second, and a worker whose n-th chunk takes a given number of ticks."""

    def __init__(self, *delays: int) -> None:
        self.tick = 0
        self.delays = list(delays)
        self.asked: list[int] = []
        self._chunk: np.ndarray | None = None
        self._ready = 0.0

    def clock(self) -> float:
        return self.tick / 10

    @property
    def busy(self) -> bool:
        return self._chunk is not None

    def start(self, observation: Observation) -> None:
        self.asked.append(self.tick)
        self._chunk = now_and_after(observation)
        self._ready = self.tick + (self.delays.pop(0) if len(self.delays) > 1 else self.delays[0])

    def poll(self) -> np.ndarray | None:
        return self.wait() if self._chunk is not None and self.tick >= self._ready else None

    def wait(self) -> np.ndarray:
        assert self._chunk is not None
        chunk, self._chunk = self._chunk, None
        return chunk

    def drop(self) -> None:
        self._chunk = None

    def close(self) -> None:
        self.drop()


def seen(tick: int) -> Observation:
    return {"observation.state": np.array([tick], np.float32)}


def play(of: AsynchronousController, time: Time, ticks: int) -> list[tuple[int, int]]:
    """Each tick's action as (planned at, planned for)."""
    actions = []
    for _ in range(ticks):
        value = round(float(of.act(seen(time.tick))[0]))
        actions.append((value // 1000, value % 1000))
        time.tick += 1
    return actions


def asynchronous(time: Time, **options: Any) -> AsynchronousController:
    return AsynchronousController(now_and_after, settings(**options), FEATURES, clock=time.clock, worker=time)


def test_without_delay_it_is_the_synchronous_queue() -> None:
    time = Time(0)
    actions = play(asynchronous(time), time, 12)
    assert actions == [(4 * (tick // 4), tick) for tick in range(12)]


def test_late_chunks_are_aligned_by_the_time_of_their_observation() -> None:
    """Every action that is executed was planned for the very tick in which it is."""
    time = Time(3)
    of = asynchronous(time)
    actions = play(of, time, 30)
    assert [planned_for for _, planned_for in actions] == list(range(30))
    assert of.stalls == 0


def test_a_chunk_is_asked_for_as_early_as_the_measured_latency_demands() -> None:
    time = Time(2)
    play(asynchronous(time), time, 40)
    # The first of all is waited for, so its two ticks are not seen on this clock; the second is late for that.
    # From then on each is there when four actions of the one before were executed.
    assert time.asked == [0, 4, 8, *range(12, 40, 4)]
    first, rest = time.asked[1], np.diff(time.asked[1:])
    assert first == 4
    assert set(rest.tolist()) == {4}


def test_a_chunk_that_is_later_than_expected_is_bridged_by_the_rest_of_the_one_before() -> None:
    time = Time(0, 1, 1, 4, 1)
    of = asynchronous(time)
    actions = play(of, time, 20)
    assert [planned_for for _, planned_for in actions] == list(range(20))
    assert of.stalls == 0


def test_where_that_ends_too_the_arm_is_held_and_the_ticks_are_counted() -> None:
    time = Time(0, 10, 1)
    of = asynchronous(time)
    actions = play(of, time, 16)
    assert actions[:8] == [(0, tick) for tick in range(8)]
    late = time.asked[1] + 10
    assert actions[8:late] == [(0, 7)] * (late - 8)  # its chunk of 8 is over, and all of the next one is too late
    assert of.stalls >= late - 8
    assert actions[-1][1] == 15  # and it finds its way back


def test_ticks_that_nobody_asked_for_are_dropped() -> None:
    time = Time(1)
    of = asynchronous(time)
    play(of, time, 2)
    time.tick += 3  # the loop was busy elsewhere
    assert play(of, time, 1) == [(0, 5)]


def test_asked_twice_in_one_tick_it_says_the_same() -> None:
    time = Time(1)
    of = asynchronous(time)
    play(of, time, 2)
    first = of.act(seen(2))
    np.testing.assert_array_equal(of.act(seen(2)), first)


def test_the_seam_is_blended() -> None:
    """From a chunk of zeros to one of fours: 1, 2 and 3 in between."""
    values = iter([0.0, 4.0, 4.0])
    time = Time(0)
    of = AsynchronousController(
        lambda _: np.zeros((8, 1)), settings(blend_steps=3), FEATURES, clock=time.clock, worker=time
    )

    def start(observation: Observation) -> None:
        time._chunk, time._ready = np.full((8, 1), next(values), np.float32), time.tick

    time.start = start  # type: ignore[method-assign]
    actions = []
    for _ in range(9):
        actions.append(float(of.act(seen(time.tick))[0]))
        time.tick += 1
    assert actions == [0, 0, 0, 0, 1, 2, 3, 4, 4]


def test_asynchronously_overlapping_chunks_are_averaged_too() -> None:
    time = Time(2)
    of = asynchronous(time, n_action_steps=1, temporal_ensemble_coeff=0.0)
    for _ in range(20):
        action = float(of.act(seen(time.tick))[0])
        time.tick += 1
    # of each chunk the last two digits say for when it was planned; they agree, and so does their mean
    made = [at for at in time.asked if at + 2 <= 19 < at + 8]
    assert action == pytest.approx(1000 * np.mean(made) + 19)
    assert len(made) >= 3


def test_a_new_episode_forgets_the_chunk_on_its_way_but_not_how_long_chunks_take() -> None:
    time = Time(0, 2)
    of = asynchronous(time)
    play(of, time, 5)
    assert time.busy
    of.reset()
    assert not time.busy
    assert len(of.latencies) >= 1
    time.tick = 50
    assert play(of, time, 1) == [(50, 50)]


class Gate:
    """A network that answers when it is let, in a thread."""

    def __init__(self) -> None:
        self.open = threading.Semaphore(1)
        self.asked = threading.Semaphore(0)
        self.error: Exception | None = None

    def __call__(self, observation: Observation) -> np.ndarray:
        self.asked.release()
        assert self.open.acquire(timeout=20)
        if self.error is not None:
            raise self.error
        return now_and_after(observation)


def test_with_a_thread_only_the_first_action_waits_and_errors_surface_in_act() -> None:
    gate, now = Gate(), [0.0]
    worker = ThreadWorker(gate)
    of = AsynchronousController(gate, settings(), FEATURES, clock=lambda: now[0], worker=worker)
    try:
        actions = []
        for tick in range(7):  # from tick 3 or 4 on, the network is at work and does not answer
            now[0] = tick / 10
            actions.append(float(of.act(seen(tick))[0]))
        assert actions == list(range(7))
        assert worker.busy
        gate.error = ObservationError("the camera is gone")
        gate.open.release()
        worker._future.exception(timeout=20)  # type: ignore[union-attr]
        now[0] = 0.7
        with pytest.raises(ObservationError, match="the camera is gone"):
            of.act(seen(7))
    finally:
        of.close()


def test_a_thread_gets_a_copy_of_the_observation() -> None:
    gate = Gate()
    gate.open.acquire()
    worker = ThreadWorker(gate)
    observation = seen(3)
    worker.start(observation)
    observation["observation.state"][0] = 99
    gate.open.release()
    assert worker.wait()[0, 0] == 3003
    worker.close()


def test_settings_choose_the_controller() -> None:
    assert isinstance(make_controller(now_and_after, settings(), FEATURES), AsynchronousController)
    assert type(make_controller(now_and_after, settings(asynchronous=False), FEATURES)) is Controller


def out_of(value: float) -> Observation:
    return {"observation.state": np.array([value], np.float32)}


def test_a_held_arm_repeats_its_last_action_and_plans_anew_from_where_it_is() -> None:
    alarm = AlarmSettings(action="hold", state=((-1.0, 1.0),))
    chunk = np.array([[0.1], [0.2], [0.3], [0.4]], np.float32)
    of = Controller(
        lambda o: chunk + o["observation.state"],
        settings(chunk_size=4, asynchronous=False, alarm=alarm, limits=Limits(lead=(0.05,))),
        FEATURES,
    )
    states = [0.0, 0.0, 2.0, 2.0, 0.5, 0.5]
    actions = [float(of.act(out_of(state))[0]) for state in states]
    # at first and after the hold, at most 0.05 away from where it is measured
    np.testing.assert_allclose(actions, [0.05, 0.2, 0.2, 0.2, 0.55, 0.7], atol=1e-6)


def test_an_arm_held_from_the_start_stays_where_it_is_measured() -> None:
    alarm = AlarmSettings(action="hold", state=((-1.0, 1.0),))
    of = Controller(now_and_after, settings(asynchronous=False, alarm=alarm), FEATURES)
    assert of.act(out_of(2.5)).tolist() == [2.5]
    nameless = Features(action_names=("other",), state_names=("joint",))
    of = Controller(now_and_after, settings(asynchronous=False, alarm=alarm), nameless)
    with pytest.raises(OutOfRangeError, match=r"the state does not say where the arm would be held"):
        of.act(out_of(2.5))


def test_an_asynchronous_arm_plans_anew_after_a_hold_too() -> None:
    time = Time(1)
    of = asynchronous(time, alarm=AlarmSettings(action="hold", state=((-1.0, 30.0),)))
    play(of, time, 6)
    before = of.act(seen(time.tick))
    time.tick = 40
    np.testing.assert_array_equal(of.act(seen(40)), before)  # out of range: held
    time.tick = 20
    assert play(of, time, 2) == [(20, 20), (20, 21)]


class WaitedFor(Time):
    """On this clock the robot's loop stands still while it waits."""

    def wait(self) -> np.ndarray:
        self.tick = max(self.tick, int(self._ready))
        return super().wait()


def test_the_same_observation_is_not_asked_about_twice() -> None:
    time = WaitedFor(3)
    of = asynchronous(time, n_action_steps=1)
    np.testing.assert_array_equal(of.act(seen(0)), of.act(seen(0)))  # twice within the same tick
    assert time.asked == [0]
    time.tick += 1
    of.act(seen(time.tick))
    assert time.asked == [0, 4]


def test_a_network_slower_than_its_whole_chunk_is_waited_for_instead_of_holding_the_arm_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    time = WaitedFor(10)  # of a chunk of 8
    of = asynchronous(time)
    values = []
    while time.tick < 120:
        now = time.tick
        values.append((now, float(of.act(seen(now))[0])))
        time.tick += 1
    moved = [(now, value) for (now, value), (_, before) in zip(values[1:], values, strict=False) if value != before]
    assert len(moved) > 25
    assert max(now for now, _ in moved) > 100
    assert of.stalls > 25
    assert "a chunk came 10 ticks after its observation and has 8 actions, so the arm was held" in caplog.messages[0]


def test_a_loop_that_ticks_half_way_between_two_ticks_neither_repeats_nor_drops_actions() -> None:
    """The first chunk is there at any time of the loop's period; its clock wavers by 3 % of a tick."""
    now = [0.0]
    rng = np.random.default_rng(0)
    of = AsynchronousController(
        lambda _: np.arange(200.0)[:, None],
        settings(chunk_size=200, n_action_steps=200),
        FEATURES,
        clock=lambda: now[0],
    )
    actions = [float(of.act(seen(0))[0])]
    for tick in range(100):
        now[0] = (tick + 0.5 + rng.normal(0, 0.03)) / 10
        actions.append(float(of.act(seen(0))[0]))
    of.close()
    assert set(np.diff(actions[20:]).tolist()) == {1.0}


def test_a_controller_that_has_acted_can_be_copied_to_another_process() -> None:
    of = AsynchronousController(now_and_after, settings(), FEATURES)
    of.act(seen(0))
    of._worker.start(seen(1))
    copy = pickle.loads(pickle.dumps(of))
    copy.reset()
    assert copy.act(seen(5)).tolist() == [5005]
    of.close()
    copy.close()


def test_nothing_is_sent_before_the_first_action_within_reach() -> None:
    """Its gripper is not measured, so that there is no place to hold it at."""
    features = Features(action_names=("joint", "gripper"), state_names=("joint",), fps=10)
    time = Time(0, 1000)
    start = time.start

    def start_both(observation: Observation) -> None:
        start(observation)
        time._chunk = np.zeros((8, 2))

    time.start = start_both  # type: ignore[method-assign]
    of = AsynchronousController(now_and_after, settings(), features, clock=time.clock, worker=time)
    out_of_reach = [True]
    next_action = of.executor._executor.next_action

    def reach() -> np.ndarray:
        action = next_action()
        if out_of_reach[0]:
            raise UnreachableError("too far")
        return action

    of.executor._executor.next_action = reach  # type: ignore[method-assign]
    for tick in range(20):  # longer than a chunk
        time.tick = tick
        with pytest.raises(UnreachableError):
            of.act(seen(tick))
    out_of_reach[0] = False
    assert of.act(seen(20)).tolist() == [0, 0]


def test_after_a_hold_what_is_not_measured_starts_from_where_it_is_held() -> None:
    features = Features(action_names=("joint", "gripper"), state_names=("joint",), fps=10)
    alarm = AlarmSettings(action="hold", state=((-1.0, 1.0),))
    limits = Limits(lead=(0.05, None), velocity=(None, 1.0))
    of = Controller(
        lambda o: np.full((8, 2), 10 * o["observation.state"][0]),
        settings(asynchronous=False, alarm=alarm, limits=limits),
        features,
    )
    actions = np.stack([of.act(out_of(state)) for state in (0.0, 2.0, 0.9)])
    np.testing.assert_allclose(actions, np.array([[0, 0], [0, 0], [0.95, 0.1]]), atol=1e-6)
