"""What a robot may send: its pictures' size, numbers that are none, and values too large for a float."""

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms.v2.functional import resize

from foreact_runtime.errors import ObservationError
from foreact_runtime.observation import Observed, read_observation
from foreact_runtime.records import Camera, Features
from foreact_runtime.resize import weights

FEATURES = Features(
    action_names=("a",),
    state_names=("a", "b"),
    cameras=(Camera(name="top", height=12, width=16, recorded_size=(24, 32), depth_range=(0.2, 2.0)),),
)


def seen(any_size: bool = False, **changed: Any) -> Observed:
    sent = {
        "observation.state": np.zeros(2),
        "observation.images.top": np.zeros((24, 32, 3), np.uint8),
        "observation.depth.top": np.ones((24, 32)),
    }
    keys = {"state": "observation.state", "image": "observation.images.top", "depth": "observation.depth.top"}
    return read_observation(
        {**sent, **{keys[name]: value for name, value in changed.items()}}, FEATURES, any_size=any_size
    )


def test_a_picture_of_another_size_is_resized_to_the_recorded_one_whatever_training_did_to_it() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)
    depth = np.random.default_rng(1).uniform(0.5, 1.5, (12, 16))
    found = seen(any_size=True, image=picture, depth=depth)
    expected = resize(torch.from_numpy(picture).permute(2, 0, 1), [24, 32], antialias=True).permute(1, 2, 0)
    np.testing.assert_array_equal(found.images["top"], expected.numpy())
    assert found.depth["top"].shape == (24, 32)
    with pytest.raises(ObservationError, match=r"'observation\.images\.top' is 48x40 pixels, the policy was trained"):
        seen(image=picture)


def test_what_was_not_measured_spreads_to_no_other_pixel() -> None:
    depth = np.ones((48, 64))
    depth[0, 0], depth[47, 63] = np.inf, 0.0
    found = seen(any_size=True, depth=depth).depth["top"]
    # Halved, a corner counts 3/7 on each axis (3/4 of 3/4 + 3/4 + 1/4); infinity is the range's far end, 2 m.
    assert found[0, 0] == pytest.approx(1 + 9 / 49 * (2 - 1))
    assert found[-1, -1] == pytest.approx(1 - 9 / 49)
    np.testing.assert_allclose(found[3:-3, 3:-3], 1, atol=1e-6)
    np.testing.assert_array_equal(seen(depth=np.full((24, 32), np.inf)).depth["top"], np.float32(2))


@pytest.mark.parametrize("size", [(0, 0), (24, 0), (24 * 9, 32), (1_000_000, 1), (2, 32)])
def test_a_size_that_is_no_camera_s_is_refused_before_it_costs_anything(size: tuple[int, int]) -> None:
    weights.cache_clear()
    with pytest.raises(ObservationError, match="more than 8 times larger or smaller than the 24x32 of training"):
        seen(any_size=True, image=np.zeros((*size, 3), np.uint8))
    assert weights.cache_info().currsize == 0


def test_sizes_that_were_seen_once_are_not_kept_for_ever() -> None:
    for height in range(24, 64):
        seen(any_size=True, image=np.zeros((height, 32, 3), np.uint8))
    assert weights.cache_info().currsize <= 16


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"state": [[1], [1, 2]]}, "'observation.state' is no array"),
        ({"state": [1e300, 0]}, "'observation.state' is not finite in dimension 0"),
        ({"state": None}, "'observation.state' has dtype object"),
        ({"depth": np.full((24, 32), np.nan)}, r"'observation\.depth\.top' is nan in 768 pixels"),
    ],
)
def test_what_is_no_number_is_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ObservationError, match=message):
        seen(**changed)
