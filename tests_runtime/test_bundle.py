"""A bundle in an environment that has NumPy and onnxruntime only: scripts/test_runtime.sh."""

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import foreact_runtime
from foreact_runtime.errors import MissingPackageError, ObservationError

FOLDER = Path(os.environ["FOREACT_MADE"])
"""What make_bundle.py wrote."""


def episode() -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
    with np.load(FOLDER / "episode.npz") as arrays:
        actions = arrays["action"]
        values = {key: arrays[key] for key in arrays.files if key != "action"}
    return [{key: of[i] for key, of in values.items()} for i in range(len(actions))], actions


@pytest.mark.parametrize("package", ["torch", "foreact", "torchvision", "onnx"])
def test_nothing_of_training_is_installed(package: str) -> None:
    assert importlib.util.find_spec(package) is None


def test_the_bundle_acts_as_the_original_through_an_episode() -> None:
    policy = foreact_runtime.load_policy(FOLDER / "bundle", check=True)
    observations, actions = episode()
    policy.reset()
    acted = np.stack([policy.act(observation) for observation in observations])
    np.testing.assert_allclose(acted, actions, atol=1e-5)
    assert acted.dtype == np.float32


def test_a_copy_in_another_process_acts_alike() -> None:
    policy = foreact_runtime.load_policy(FOLDER / "bundle")
    observations, _ = episode()
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(policy)).predict_chunk(observations[0]), policy.predict_chunk(observations[0])
    )


def test_an_observation_of_another_size_is_refused() -> None:
    policy = foreact_runtime.load_policy(FOLDER / "bundle")
    observations, _ = episode()
    small = {**observations[0], "observation.images.wrist": np.zeros((8, 8, 3), np.uint8)}
    with pytest.raises(ObservationError, match="is 8x8 pixels, the policy was trained on 32x32"):
        policy.act(small)


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(MissingPackageError, match=r"'openvino' is not installed; type: pip install 'foreact-runtime\["):
        foreact_runtime.load_policy(FOLDER / "bundle", backend="openvino")


def test_the_server_says_which_extra_it_needs() -> None:
    call = [sys.executable, "-m", "foreact_runtime.serve", str(FOLDER / "bundle")]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "type: pip install 'foreact-runtime[serve]'" in done.stderr


def test_the_command_checks_a_bundle_and_measures_it() -> None:
    call = [sys.executable, "-m", "foreact_runtime", str(FOLDER / "bundle"), "--runs", "3"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "self-check: differs by" in done.stdout
    assert "p99" in done.stdout
