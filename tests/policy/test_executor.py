"""The executor against the paper's formula, written out the slow way."""

import numpy as np
import pytest

from foreact.config import PolicyConfig
from foreact.policy.settings import executor_settings
from foreact.records import Features
from foreact_runtime.errors import ActionError, UnreachableError
from foreact_runtime.executor import ChunkQueue, Executor, LimitedActions, TemporalEnsemble, make_executor
from foreact_runtime.limits import Limiter, Limits
from foreact_runtime.settings import ExecutorSettings


def offline(chunks: np.ndarray, tick: int, coeff: float) -> np.ndarray:
    """Algorithm 2 of the paper, from all chunks at once: w_i = exp(-m i), i = 0 for the oldest prediction."""
    _, chunk_size, _ = chunks.shape
    first = max(0, tick - chunk_size + 1)
    predictions = np.array([chunks[made][tick - made] for made in range(first, tick + 1)])
    weights = np.exp(-coeff * np.arange(len(predictions)))
    return (predictions * weights[:, None]).sum(0) / weights.sum()


@pytest.mark.parametrize("coeff", [0.01, 0.0, -0.1, 1.0])
def test_the_ensemble_equals_the_paper_formula_over_all_chunks(coeff: float) -> None:
    chunks = np.random.default_rng(0).normal(size=(30, 8, 3))
    ensemble = TemporalEnsemble(8, coeff)
    for tick, chunk in enumerate(chunks):
        ensemble.add(chunk)
        # float32 comes out, values are of order 1
        np.testing.assert_allclose(ensemble.next_action(), offline(chunks, tick, coeff), atol=1e-6)


def test_older_predictions_weigh_more_by_hand() -> None:
    ensemble = TemporalEnsemble(2, np.log(2))  # weights 1 and 1/2
    ensemble.add(np.array([[0.0], [3.0]]))
    ensemble.next_action()
    ensemble.add(np.array([[6.0], [0.0]]))
    assert ensemble.next_action() == pytest.approx([(1 * 3 + 0.5 * 6) / 1.5])


def test_an_action_that_is_exactly_zero_counts_as_a_prediction() -> None:
    ensemble = TemporalEnsemble(2, 0.0)
    ensemble.add(np.array([[1.0, 1.0], [0.0, 4.0]]))
    ensemble.next_action()
    ensemble.add(np.array([[0.0, 0.0], [0.0, 0.0]]))
    assert ensemble.next_action().tolist() == [0.0, 2.0]
    all_zero = TemporalEnsemble(2, 0.01)
    all_zero.add(np.zeros((2, 2)))
    assert all_zero.next_action().tolist() == [0.0, 0.0]


def test_a_large_negative_coefficient_takes_the_newest_without_overflow() -> None:
    chunks = np.random.default_rng(1).normal(size=(20, 100, 2))
    for coeff, expected in ((-50.0, 19), (50.0, 0)):
        ensemble = TemporalEnsemble(100, coeff)
        for chunk in chunks:
            ensemble.add(chunk)
            action = ensemble.next_action()
        np.testing.assert_allclose(action, chunks[expected][19 - expected], atol=1e-6)


def test_at_most_a_chunk_of_predictions_is_held() -> None:
    ensemble = TemporalEnsemble(5, 0.01)
    for _ in range(50):
        ensemble.add(np.ones((5, 2)))
        assert len(ensemble._mean) == 5
        ensemble.next_action()


def test_reset_forgets_the_last_episode() -> None:
    for executor in (TemporalEnsemble(3, 0.01), ChunkQueue(2)):
        executor.add(np.ones((3, 1)))
        executor.next_action()
        executor.reset()
        assert executor.needs_chunk
        executor.add(np.zeros((3, 1)))
        assert executor.next_action().tolist() == [0.0]


def test_the_queue_executes_the_first_actions_of_each_chunk() -> None:
    queue = ChunkQueue(2)
    executed = []
    for tick in range(6):
        if queue.needs_chunk:
            queue.add(np.arange(10 * tick, 10 * tick + 5)[:, None])
        executed.append(int(queue.next_action()[0]))
    assert executed == [0, 1, 20, 21, 40, 41]


def test_the_configuration_chooses_the_executor() -> None:
    features = Features(action_names=("arm", "gripper"))
    ensemble = PolicyConfig(chunk_size=4, n_action_steps=1, temporal_ensemble_coeff=0.0)
    queue = PolicyConfig(chunk_size=4, n_action_steps=2)
    for config, second in ((ensemble, 2.0), (queue, 3.0)):
        executor = make_executor(executor_settings(config, features, {}), features)
        executor.add(np.array([[1.0, 1.0], [3.0, 3.0], [0.0, 0.0], [0.0, 0.0]]))
        executor.next_action()
        assert executor.needs_chunk == (config is ensemble)
        if executor.needs_chunk:
            executor.add(np.ones((4, 2)))
        assert executor.next_action().tolist() == [second, second]


def test_a_gripper_is_thresholded_after_the_average_not_before() -> None:
    config = PolicyConfig(chunk_size=2, n_action_steps=1, temporal_ensemble_coeff=0.0, binary_actions=("gripper",))
    features = Features(action_names=("arm", "gripper"))
    executor = make_executor(executor_settings(config, features, {}), features)
    executor.add(np.array([[0.3, 0.2], [0.5, 0.9]]))
    np.testing.assert_allclose(executor.next_action(), [0.3, 1.0])
    executor.add(np.array([[0.1, -0.2], [0.0, 0.0]]))
    # the mean of 0.9 and -0.2 is positive; the votes +1 and -1 would cancel
    np.testing.assert_allclose(executor.next_action(), [0.3, 1.0], atol=1e-7)
    executor.reset()
    assert executor.needs_chunk


def rows(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def executed(queue: Executor, ticks: int) -> list[float]:
    return [float(queue.next_action()[0]) for _ in range(ticks)]


def test_actions_that_come_too_late_are_dropped() -> None:
    queue = ChunkQueue(3)
    queue.add(rows(0, 1, 2, 3, 4), age=2)
    assert (queue.due, queue.left) == (3, 3)
    assert executed(queue, 2) == [2, 3]
    queue.add(rows(9, 9), age=2)  # all of it is too late
    assert executed(queue, 1) == [4]
    assert queue.needs_chunk
    assert queue.left == 0


def test_a_queue_goes_on_with_the_rest_of_its_chunk_if_none_comes() -> None:
    queue = ChunkQueue(2)
    queue.add(rows(0, 1, 2, 3))
    executed(queue, 2)
    assert queue.needs_chunk
    assert executed(queue, 1) == [2]
    queue.skip(5)
    assert (queue.due, queue.left) == (0, 0)


def test_a_seam_is_blended_with_what_the_old_chunk_had_for_the_same_ticks() -> None:
    queue = ChunkQueue(2, blend_steps=3)
    queue.add(rows(0, 0, 8, 16, 24))  # the first is not blended
    assert executed(queue, 2) == [0, 0]
    queue.add(rows(-1, 0, 0, 0, 5, 6), age=1)
    # old 8, 16, 24 and new 0, 0, 0, with 1, 2, 3 parts of 4 of the new
    assert executed(queue, 5) == [6, 8, 6, 5, 6]


def test_where_the_old_chunk_has_nothing_left_its_last_action_is_blended() -> None:
    queue = ChunkQueue(2, blend_steps=1)
    queue.add(rows(0, 4))
    executed(queue, 2)
    queue.add(rows(8, 8))
    assert executed(queue, 2) == [6, 8]
    queue.reset()
    queue.add(rows(1, 1))
    assert executed(queue, 1) == [1]


def test_an_ensemble_averages_late_chunks_for_the_ticks_that_they_are_for() -> None:
    ensemble = TemporalEnsemble(4, 0.0)
    ensemble.add(rows(0, 1, 2, 3))
    ensemble.next_action()
    ensemble.add(rows(90, 3, 6, 9), age=1)  # for ticks 0 to 3, at tick 1
    assert [float(ensemble.next_action()[0]) for _ in range(3)] == [2, 4, 6]
    assert ensemble.left == 0
    ensemble.add(rows(5, 6), age=2)
    assert ensemble.needs_chunk
    ensemble.add(rows(5, 6, 7))
    ensemble.skip(2)
    assert float(ensemble.next_action()[0]) == 7


def test_limits_are_the_last_thing_that_happens_to_an_action() -> None:
    features = Features(action_names=("arm", "gripper"), fps=10)
    config = PolicyConfig(
        chunk_size=2,
        n_action_steps=2,
        binary_actions=("gripper",),
        velocity_limits=(1.0, 1.0),
        position_limits=((-1.0, 1.0), (-0.5, 0.5)),
    )
    executor = make_executor(executor_settings(config, features, {}), features)
    executor.add(np.array([[0.0, -0.1], [0.5, 0.2]], np.float32))
    np.testing.assert_allclose([executor.next_action() for _ in range(2)], [[0.0, -1.0], [0.1, 1.0]])
    assert executor.limiter.counts.sum() == 1  # what is binary is not limited


@pytest.mark.parametrize("coeff", [None, 0.01])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_chunk_with_what_is_not_a_number_is_refused_before_a_gripper_makes_a_command_of_it(
    coeff: float | None, value: float
) -> None:
    features = Features(action_names=("arm", "gripper"))
    settings = ExecutorSettings(chunk_size=3, n_action_steps=1, temporal_ensemble_coeff=coeff, binary=(False, True))
    executor = make_executor(settings, features)
    executor.add(np.zeros((3, 2)))
    with pytest.raises(ActionError, match=rf"the policy asks for 'gripper' to be {value}: .*; hold the arm and check"):
        executor.add(np.array([[0.0, 0.0], [0.0, value], [0.0, 0.0]]))
    assert executor.next_action().tolist() == [0.0, -1.0]  # what was there before is not spoilt


def test_an_arm_that_could_not_go_where_it_was_asked_to_starts_from_rest() -> None:
    class OutOfReach(ChunkQueue):
        def next_action(self) -> np.ndarray:
            action = super().next_action()
            if action[0] > 100:
                raise UnreachableError("too far")
            return action

    queue = OutOfReach(5)
    executor = LimitedActions(queue, Limiter(Limits(jump=(0.5,)), ("joint",), fps=10))
    executor.add(rows(0, 1, 999, 1, 1))
    assert executed(executor, 2) == pytest.approx([0, 0.05])
    with pytest.raises(UnreachableError):
        executor.next_action()
    assert executed(executor, 1) == pytest.approx([0.1])
