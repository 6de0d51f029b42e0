"""A robomimic file as its scripts leave it, every number and picture of it known."""

import json
from pathlib import Path

import h5py
import numpy as np

LENGTHS = {0: 9, 2: 12, 10: 7}
"""Gaps, and an order by number that differs from that of the names."""
ENVIRONMENT = {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20, "robots": ["Panda"]}}
LOW_DIM = {
    "object": 10,
    "robot0_eef_pos": 3,
    "robot0_eef_quat": 4,
    "robot0_gripper_qpos": 2,
    "robot0_joint_pos": 7,
}
SIZE = (32, 24)


def observations_of(number: int, length: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(number)
    of: dict[str, np.ndarray] = {key: rng.normal(size=(length, dim)) for key, dim in LOW_DIM.items()}
    of["agentview_image"] = rng.integers(0, 255, (length, *SIZE, 3), np.uint8)
    of["agentview_depth"] = rng.random((length, *SIZE, 1), np.float32)
    return of


def actions_of(number: int, length: int) -> np.ndarray:
    return np.random.default_rng(100 + number).uniform(-1, 1, (length, 7))


def write(path: Path, environment: object = ENVIRONMENT) -> Path:
    """As robomimic's `dataset_states_to_obs.py` writes it, pictures in compressed chunks of several frames."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = sum(LENGTHS.values())
        if environment is not None:
            data.attrs["env_args"] = environment if isinstance(environment, str) else json.dumps(environment)
        for number, length in LENGTHS.items():
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = length
            demo["actions"] = actions_of(number, length)
            demo["rewards"], demo["dones"] = np.zeros(length), np.zeros(length, np.int64)
            demo["states"] = np.zeros((length, 32))
            for key, values in observations_of(number, length).items():
                pictures = {"chunks": (5, *values.shape[1:]), "compression": "gzip"} if values.ndim == 4 else {}
                demo.create_dataset(f"obs/{key}", data=values, **pictures)
                demo[f"next_obs/{key}"] = np.zeros(1)
        file["mask/train"] = np.array([b"demo_0", b"demo_2"])
        file["mask/valid"] = np.array([b"demo_10"])
    return path
