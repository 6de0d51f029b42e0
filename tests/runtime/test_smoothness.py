"""Jerk of motions whose third derivative is known."""

import numpy as np

from foreact_runtime.smoothness import jerk


def test_the_jerk_of_a_cubic_is_six_times_its_coefficient_and_of_a_parabola_none() -> None:
    t = np.arange(12) / 20.0  # 20 Hz
    of = jerk(np.stack([2.5 * t**3 - t, 4 * t**2 + t], axis=1), 20)
    assert of.shape == (9, 2)
    np.testing.assert_allclose(of[:, 0], 15.0, rtol=1e-9)
    np.testing.assert_allclose(of[:, 1], 0.0, atol=1e-9)


def test_a_step_of_one_jerks_twice_its_size_in_the_middle() -> None:
    of = jerk(np.array([0.0, 0, 0, 1, 1, 1])[:, None], 10)
    assert of[:, 0].tolist() == [1000, 2000, 1000]


def test_fewer_than_four_actions_have_no_jerk() -> None:
    assert jerk(np.zeros((3, 2)), 10).shape == (0, 2)
