"""Resizing and cropping: one place, one result."""

import numpy as np
import pytest
import torch
from PIL import Image

from foreact.data.images import center_crop, random_crop, resize_frames
from foreact.errors import ConfigError
from foreact.records import Batch


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_resizing_to_the_same_size_changes_nothing() -> None:
    frames = pictures(2, 3, 8, 9)
    assert resize_frames(frames, (8, 9)) is frames


@pytest.mark.parametrize("size", [(24, 32), (120, 90), (48, 96)])
def test_resizing_agrees_with_pillow(size: tuple[int, int]) -> None:
    """An independent antialiased bilinear filter, rounded by other rules."""
    frames = pictures(1, 3, 60, 80)
    ours = resize_frames(frames, size)[0].permute(1, 2, 0).numpy()
    theirs = Image.fromarray(frames[0].permute(1, 2, 0).numpy()).resize(size[::-1], Image.Resampling.BILINEAR)
    assert ours.dtype == np.uint8
    assert np.abs(ours.astype(int) - np.asarray(theirs, int)).max() <= 1


def test_a_frame_is_resized_alike_alone_in_a_batch_and_in_any_memory_layout() -> None:
    """The cache resizes camera frames as decoded, the robot's are resized as they come: bitwise the same."""
    frames = pictures(5, 3, 48, 64)
    whole = resize_frames(frames, (30, 40))
    for number, frame in enumerate(frames):
        as_decoded = torch.from_numpy(frame.permute(1, 2, 0).contiguous().numpy()).permute(2, 0, 1)
        for form in (frame, as_decoded):
            assert torch.equal(resize_frames(form[None], (30, 40))[0], whole[number])


def test_depth_keeps_metres() -> None:
    ramp = torch.linspace(0.5, 2.0, 64).expand(1, 1, 48, 64)
    resized = resize_frames(ramp, (24, 32))
    assert resized.dtype == torch.float32
    # the mean of neighbours away from the borders
    torch.testing.assert_close(resized[0, 0, 5, 5:27], ramp[0, 0, 0].view(32, 2).mean(1)[5:27], atol=1e-5, rtol=0)


def rows_and_columns(batch: int, height: int, width: int) -> torch.Tensor:
    """Pictures whose pixels say where they are: channel 0 the row, channel 1 the column, channel 2 the sample."""
    picture = torch.zeros(batch, 3, height, width, dtype=torch.uint8)
    picture[:, 0] = torch.arange(height)[:, None]
    picture[:, 1] = torch.arange(width)
    picture[:, 2] = torch.arange(batch)[:, None, None]
    return picture


def test_a_random_crop_is_a_window_of_its_own_sample() -> None:
    batch = Batch(images={"top": rows_and_columns(6, 20, 30)})
    cropped = random_crop(batch, (8, 10), torch.Generator().manual_seed(0)).images["top"]
    assert cropped.shape == (6, 3, 8, 10)
    for sample in range(6):
        top, left = int(cropped[sample, 0, 0, 0]), int(cropped[sample, 1, 0, 0])
        assert torch.equal(cropped[sample], batch.images["top"][sample, :, top : top + 8, left : left + 10])
        assert (cropped[sample, 2] == sample).all()


def test_random_crops_reach_every_place_and_only_those() -> None:
    batch = Batch(images={"top": rows_and_columns(200, 5, 6)})
    cropped = random_crop(batch, (3, 3), torch.Generator().manual_seed(1)).images["top"]
    places = {(int(c[0, 0, 0]), int(c[1, 0, 0])) for c in cropped}
    # 12 places, 200 draws: one missing has probability 12 (11/12)^200, about 3e-7
    assert places == {(row, column) for row in range(3) for column in range(4)}


def test_the_same_generator_gives_the_same_crops() -> None:
    batch = Batch(images={"top": pictures(4, 3, 20, 20)})
    crops = [random_crop(batch, (9, 9), torch.Generator().manual_seed(s)).images["top"] for s in (3, 3, 4)]
    assert torch.equal(crops[0], crops[1])
    assert not torch.equal(crops[0], crops[2])


def test_depth_is_cropped_with_its_colour_and_cameras_of_another_size_at_the_same_share() -> None:
    depth = rows_and_columns(3, 20, 30)[:, :1].float()
    batch = Batch(images={"a": rows_and_columns(3, 20, 30), "b": rows_and_columns(3, 32, 42)}, depth={"a": depth})
    cropped = random_crop(batch, (10, 20), torch.Generator().manual_seed(0))
    assert torch.equal(cropped.depth["a"], cropped.images["a"][:, :1].float())
    for sample in range(3):  # 11 places in a, 23 in b
        share_a, share_b = (int(cropped.images[name][sample, 0, 0, 0]) for name in "ab")
        assert abs(share_a / 11 - share_b / 23) < 1 / 11


def test_the_centre_crop_is_the_centre() -> None:
    batch = Batch(images={"top": rows_and_columns(2, 10, 12)}, depth={"top": torch.zeros(2, 1, 10, 12)})
    cropped = center_crop(batch, (4, 6))
    assert cropped.images["top"][0, 0, :, 0].tolist() == [3, 4, 5, 6]
    assert cropped.images["top"][0, 1, 0].tolist() == [3, 4, 5, 6, 7, 8]
    assert cropped.depth["top"].shape == (2, 1, 4, 6)


def test_no_crop_size_and_no_cameras_change_nothing() -> None:
    batch = Batch(images={"top": pictures(1, 3, 4, 4)})
    generator = torch.Generator()
    assert random_crop(batch, None, generator) is batch
    assert center_crop(batch, None) is batch
    blind = Batch(state=torch.zeros(1, 2))
    assert random_crop(blind, (9, 9), generator) is blind


def test_a_crop_larger_than_a_picture_is_refused_by_the_camera_name() -> None:
    batch = Batch(images={"wrist": pictures(1, 3, 8, 8)})
    for crop in (lambda: center_crop(batch, (9, 8)), lambda: random_crop(batch, (8, 9), torch.Generator())):
        with pytest.raises(ConfigError, match=r"policy.crop_size .* larger than the pictures of camera 'wrist', 8x8"):
            crop()
