from __future__ import annotations

import math

import pytest
import torch

from foreact.model.position import sinusoid_1d, sinusoid_2d


def test_one_dimensional_codes_by_hand() -> None:
    # D = 4: frequencies 1 and 1 / 10000^(2/4) = 1 / 100.
    expected = [
        [0.0, 1.0, 0.0, 1.0],
        [math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)],
        [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)],
    ]
    torch.testing.assert_close(sinusoid_1d(3, 4), torch.tensor(expected))


def test_two_dimensional_codes_by_hand_on_one_row_of_two_cells() -> None:
    # One row stands at y = 2 pi; two columns stand at x = pi and 2 pi. D = 4: sine and cosine of y, then of x.
    expected = torch.tensor([[0.0, 1.0, 0.0, -1.0], [0.0, 1.0, 0.0, 1.0]])
    # The 1e-6 in DETR's denominator moves an angle of 2 pi by 6e-6.
    torch.testing.assert_close(sinusoid_2d(1, 2, 4), expected, rtol=0, atol=1e-5)


def test_two_dimensional_codes_equal_the_formula_written_out() -> None:
    height, width, dim = 3, 5, 16
    codes = sinusoid_2d(height, width, dim)
    assert codes.shape == (15, 16)
    for row in range(height):
        for column in range(width):
            y = (row + 1) / (height + 1e-6) * 2 * math.pi
            x = (column + 1) / (width + 1e-6) * 2 * math.pi
            half = [
                wave(angle / 10000 ** (2 * i / 8))
                for angle in (y, x)
                for i in range(4)
                for wave in (math.sin, math.cos)
            ]
            torch.testing.assert_close(codes[row * width + column], torch.tensor(half))


def test_the_last_cell_stands_at_the_same_place_in_maps_of_any_size() -> None:
    torch.testing.assert_close(sinusoid_2d(3, 4, 32)[-1], sinusoid_2d(15, 20, 32)[-1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(15, 20), (7, 7), (6, 6)])
def test_no_two_cells_share_a_code(height: int, width: int) -> None:
    codes = sinusoid_2d(height, width, 64)
    distance = torch.cdist(codes, codes) + torch.eye(height * width)
    assert distance.min() > 0.05
