"""The runtime's resizing against torchvision's, and the form in which networks are exported against both."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from foreact.data.images import resize_frames
from foreact_runtime.resize import resized, weights

SIZES = [
    ((48, 64), (24, 32)),
    ((48, 64), (96, 96)),
    ((97, 131), (30, 41)),
    ((33, 47), (32, 45)),
    ((120, 160), (60, 60)),
    ((64, 48), (64, 20)),
]


def picture(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_colours_are_torchvisions_bit_for_bit(before: tuple[int, int], after: tuple[int, int]) -> None:
    expected = resize_frames(torch.from_numpy(picture(before)).permute(2, 0, 1)[None], after)[0].permute(1, 2, 0)
    np.testing.assert_array_equal(resized(picture(before), after), expected.numpy())


def test_a_very_large_picture_differs_by_one_in_a_few_pixels_at_most() -> None:
    large = picture((540, 960))
    expected = resize_frames(torch.from_numpy(large).permute(2, 0, 1)[None], (48, 48))[0].permute(1, 2, 0).numpy()
    difference = np.abs(resized(large, (48, 48)).astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.002


def test_depth_is_torchvisions_to_rounding() -> None:
    depth = np.random.default_rng(0).uniform(0, 10, (48, 64)).astype(np.float32)
    expected = resize_frames(torch.from_numpy(depth)[None, None], (20, 30))[0, 0].numpy()
    np.testing.assert_allclose(resized(depth, (20, 30)), expected, atol=1e-4)


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    same = picture((8, 9))
    assert resized(same, (8, 9)) is same


def test_a_pixel_of_half_the_size_is_a_weighted_mean_of_four() -> None:
    np.testing.assert_allclose(weights(8, 4)[1], [0, 0.125, 0.375, 0.375, 0.125, 0, 0, 0])


class _Resize(nn.Module):
    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, frames: Tensor) -> Tensor:
        return resize_frames(frames, self.size)


@pytest.mark.parametrize(("before", "after"), SIZES[:4])
def test_an_exported_network_resizes_as_training_does(before: tuple[int, int], after: tuple[int, int]) -> None:
    colour = torch.from_numpy(picture(before)).permute(2, 0, 1)[None]
    depth = torch.rand(2, 1, *before)
    for frames in (colour, depth):
        exported = torch.export.export(_Resize(after), (frames,)).module()
        torch.testing.assert_close(exported(frames), resize_frames(frames, after), atol=1e-5, rtol=0)
