"""Policies for the simulated SO-101 whose answer is known, and a small untrained one."""

from collections.abc import Callable, Sequence

import numpy as np

from foreact.records import Camera, Features
from foreact.sim.calibration import arm_of_model
from foreact.sim.scene import ACTION_NAMES, build_arm
from foreact_runtime.keys import ENVIRONMENT_STATE, STATE, image_key
from foreact_runtime.limits import Limits
from foreact_runtime.observation import Observation
from foreact_runtime.robot_policy import RobotPolicy
from foreact_runtime.settings import ExecutorSettings

STEPS = 8
FEATURES = Features(
    action_names=ACTION_NAMES,
    state_names=ACTION_NAMES,
    environment_names=("target_x", "target_y"),
    cameras=(Camera(name="overhead", height=32, width=32),),
    arm=arm_of_model(build_arm()),
)


class Written(RobotPolicy):
    """Predicts what a function of the observation says."""

    def __init__(
        self,
        chunk: Callable[[Observation], np.ndarray],
        *,
        hand_poses: bool = False,
        limits: Limits | None = None,
        n_action_steps: int = STEPS,
        features: Features = FEATURES,
    ) -> None:
        self._chunk = chunk
        settings = ExecutorSettings(
            chunk_size=STEPS, n_action_steps=n_action_steps, hand_poses=hand_poses, limits=limits or Limits()
        )
        super().__init__(features, settings)

    def predict_chunk(self, observation: Observation) -> np.ndarray:
        return self._chunk(observation)

    def predict_chunks(self, observations: Sequence[Observation]) -> np.ndarray:
        return np.stack([self._chunk(observation) for observation in observations])


def ends_at(place: Callable[[Observation], np.ndarray]) -> Callable[[Observation], np.ndarray]:
    """Hand poses on a straight line from the origin to a place (3,), for `Written(hand_poses=True)`."""

    def chunk(observation: Observation) -> np.ndarray:
        poses = np.zeros((STEPS, 9 + 1 + 5), np.float32)
        poses[:, :3] = np.linspace(0, 1, STEPS)[:, None] * place(observation)
        poses[:, [3, 7]] = 1
        return poses

    return chunk


def told(observation: Observation) -> np.ndarray:
    """The coordinate, on the table."""
    return np.array([*observation[ENVIRONMENT_STATE], 0.0])


def stays(observation: Observation) -> np.ndarray:
    """Where the joints are."""
    return np.repeat(np.asarray(observation[STATE], np.float32)[None], STEPS, axis=0)


def observation(seed: int = 0) -> dict[str, np.ndarray]:
    """Random values of the right shapes."""
    rng = np.random.default_rng(seed)
    return {
        STATE: rng.normal(size=6).astype(np.float32),
        ENVIRONMENT_STATE: np.array([0.2, 0.05], np.float32),
        image_key("overhead"): rng.integers(0, 255, (32, 32, 3)).astype(np.uint8),
    }
