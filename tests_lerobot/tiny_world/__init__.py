"""An environment and a robot for LeRobot's own commands: an arm of two joints that goes where it is told at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.robots import Robot, RobotConfig

JOINTS = ("shoulder", "elbow", "gripper")
ACTIONS = ("shoulder", "gripper")
CAMERAS = {"overhead": (64, 96), "wrist": (48, 48)}
STEPS = 8


def pictures(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 256, (*size, 3), dtype=np.uint8) for name, size in CAMERAS.items()}


class TinyEnv(gym.Env):
    """Ends after `STEPS` steps; says nothing of success."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    task = task_description = "go there"

    def __init__(self, render_mode: str = "rgb_array") -> None:
        self.render_mode = render_mode
        self._max_episode_steps = STEPS
        self.action_space = gym.spaces.Box(-100, 100, (len(ACTIONS),), np.float32)
        images = {name: gym.spaces.Box(0, 255, (*size, 3), np.uint8) for name, size in CAMERAS.items()}
        self.observation_space = gym.spaces.Dict(
            {
                "pixels": gym.spaces.Dict(images),
                "agent_pos": gym.spaces.Box(-100, 100, (len(JOINTS),), np.float32),
                "environment_state": gym.spaces.Box(-100, 100, (2,), np.float32),
            }
        )

    def _observation(self) -> dict[str, Any]:
        return {
            "pixels": pictures(self._step),
            "agent_pos": self._position.copy(),
            "environment_state": np.array([0.1, -0.2], np.float32),
        }

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._step, self._position = 0, np.zeros(len(JOINTS), np.float32)
        return self._observation(), {"is_success": False}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._step += 1
        self._position[[0, 2]] = action
        return self._observation(), 0.0, self._step >= STEPS, False, {"is_success": False}

    def render(self) -> np.ndarray:
        return pictures(self._step)["overhead"]


gym.register("gym_tiny/Tiny-v0", TinyEnv)


@EnvConfig.register_subclass("tiny")
@dataclass
class TinyEnvConfig(EnvConfig):
    task: str | None = "Tiny-v0"
    fps: int = 10
    features: dict[str, PolicyFeature] = field(
        default_factory=lambda: {
            "action": PolicyFeature(FeatureType.ACTION, (len(ACTIONS),)),
            "agent_pos": PolicyFeature(FeatureType.STATE, (len(JOINTS),)),
            "environment_state": PolicyFeature(FeatureType.ENV, (2,)),
            **{f"pixels/{name}": PolicyFeature(FeatureType.VISUAL, (*size, 3)) for name, size in CAMERAS.items()},
        }
    )
    features_map: dict[str, str] = field(
        default_factory=lambda: {
            "action": "action",
            "agent_pos": "observation.state",
            "environment_state": "observation.environment_state",
            **{f"pixels/{name}": f"observation.images.{name}" for name in CAMERAS},
        }
    )

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        return {}


@RobotConfig.register_subclass("tiny")
@dataclass(kw_only=True)
class TinyRobotConfig(RobotConfig):
    log: Path = Path("commands.txt")
    """Every command that arrives."""


class TinyRobot(Robot):
    config_class = TinyRobotConfig
    name = "tiny"

    def __init__(self, config: TinyRobotConfig) -> None:
        super().__init__(config)
        self._log = config.log
        self._position = dict.fromkeys((f"{joint}.pos" for joint in JOINTS), 0.0)
        self._connected = False
        self._seen = 0

    @property
    def observation_features(self) -> dict[str, Any]:
        return dict.fromkeys(self._position, float) | {name: (*size, 3) for name, size in CAMERAS.items()}

    @property
    def action_features(self) -> dict[str, Any]:
        return {f"{joint}.pos": float for joint in ACTIONS}

    @property
    def is_connected(self) -> bool:
        return self._connected

    def connect(self, calibrate: bool = True) -> None:
        self._connected = True

    @property
    def is_calibrated(self) -> bool:
        return True

    def calibrate(self) -> None: ...

    def configure(self) -> None: ...

    def get_observation(self) -> dict[str, Any]:
        self._seen += 1
        return self._position | pictures(self._seen)

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        self._position |= action
        with self._log.open("a") as log:
            log.write(" ".join(f"{action[f'{joint}.pos']:.6f}" for joint in ACTIONS) + "\n")
        return action

    def disconnect(self) -> None:
        self._connected = False
