"""The step of an inverse kinematics: damped least squares within bounds. NumPy alone, for the simulation too."""

import numpy as np


def bounded_step(
    jacobian: np.ndarray, error: np.ndarray, lower: np.ndarray, upper: np.ndarray, damping: float
) -> np.ndarray:
    """Solve the damped least squares for a step; joints that would pass a limit go to it and the others make up.

    Args:
        jacobian: Of the error's decrease (E, J).
        error: What is missing (E,).
        lower: Least step of each joint (J,) [rad], not above 0.
        upper: Greatest step of each joint (J,) [rad], not below 0.
        damping: In the error's unit per radian.

    Returns:
        The step (J,) [rad].
    """
    step, free = np.zeros(len(lower)), np.ones(len(lower), dtype=bool)
    while free.any():
        part = jacobian[:, free]
        rest = error - jacobian[:, ~free] @ step[~free]
        step[free] = np.linalg.solve(part.T @ part + damping**2 * np.eye(free.sum()), part.T @ rest)
        beyond = free & ((step < lower) | (step > upper))
        if not beyond.any():
            break
        step = np.clip(step, lower, upper)
        free &= ~beyond
    return step
