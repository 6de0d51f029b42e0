"""The executor against the paper's formula, written out the slow way."""

import numpy as np
import pytest

from foreact.config import PolicyConfig
from foreact.policy.settings import executor_settings
from foreact.records import Features
from foreact_runtime.executor import ChunkQueue, TemporalEnsemble, make_executor


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
    assert isinstance(make_executor(executor_settings(ensemble, features), features), TemporalEnsemble)
    assert isinstance(make_executor(executor_settings(queue, features), features), ChunkQueue)


def test_a_gripper_is_thresholded_after_the_average_not_before() -> None:
    config = PolicyConfig(chunk_size=2, n_action_steps=1, temporal_ensemble_coeff=0.0, binary_actions=("gripper",))
    features = Features(action_names=("arm", "gripper"))
    executor = make_executor(executor_settings(config, features), features)
    executor.add(np.array([[0.3, 0.2], [0.5, 0.9]]))
    np.testing.assert_allclose(executor.next_action(), [0.3, 1.0])
    executor.add(np.array([[0.1, -0.2], [0.0, 0.0]]))
    # the mean of 0.9 and -0.2 is positive; the votes +1 and -1 would cancel
    np.testing.assert_allclose(executor.next_action(), [0.3, 1.0], atol=1e-7)
    executor.reset()
    assert executor.needs_chunk
