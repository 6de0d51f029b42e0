"""What the network sees of a raw batch: crops and maps stand where the cue is projected, by hand and by law."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from foreact.config import PolicyConfig
from foreact.errors import ConfigError
from foreact.model.act import ACT
from foreact.policy.inputs import Inputs, cue_noise, network_features, with_cue
from foreact.records import Arm, Batch, Calibration, Camera, Features, VectorStatistics

DOWN = (0.0, 1.0, 0.0, 0.0)
"""Looks straight down: the camera's x is the base's x, its y the base's -y."""
ABOVE = Calibration(size=(40, 60), focal=(50.0, 50.0), center=(30.0, 20.0), position=(0.3, 0.0, 1.0), quaternion=DOWN)
"""One metre above (0.3, 0): a centimetre of table is half a pixel."""
OVERHEAD = Camera(name="overhead", height=40, width=60, calibration=ABOVE)
WRIST = Camera(name="wrist", height=40, width=60)
FEATURES = Features(
    action_names=("a",), state_names=("a",), environment_names=("x", "y"), cameras=(OVERHEAD, WRIST), fps=10
)

ARM = Arm(
    joints=("pan",),
    positions=((0.0, 0.0, 0.0),),
    quaternions=((1.0, 0.0, 0.0, 0.0),),
    axes=((0.0, 0.0, 1.0),),
    limits=((-2.0, 2.0),),
    hand_position=(0.2, 0.0, 0.1),
    hand_quaternion=(1.0, 0.0, 0.0, 0.0),
    gripper="jaw",
    gripper_closed=0.5,
)
WITH_ARM = replace(FEATURES, action_names=("pan", "jaw"), state_names=("pan", "jaw"), arm=ARM)


def unit(dim: int) -> VectorStatistics:
    zeros, ones = np.zeros(dim), np.ones(dim)
    return VectorStatistics(mean=zeros, std=ones, min=-ones, max=ones, q01=-ones, q99=ones, count=10)


STATISTICS = {"action": unit(1), "observation.state": unit(1), "observation.environment_state": unit(2)}
IN_FRAME = {"action": unit(7), "observation.state": unit(10), "observation.environment_state": unit(2)}


def config(*ways: str, **options: Any) -> PolicyConfig:
    sizes: dict[str, Any] = {"dim_model": 16, "n_heads": 2, "dim_feedforward": 16, "n_encoder_layers": 1}
    return PolicyConfig(
        conditioning=ways,  # type: ignore[arg-type]
        vision_backbone="cnn",
        pretrained_backbone_weights=None,
        backbone_norm="group",
        chunk_size=2,
        n_action_steps=1,
        **{**sizes, **options},
    )


def raw(cue: list[list[float]], seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    shape = (len(cue), 3, 40, 60)
    return Batch(
        images={
            name: torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator) for name in ("overhead", "wrist")
        },
        state=torch.zeros(len(cue), 1),
        environment_state=torch.tensor(cue),
    )


def prepare(settings: PolicyConfig, batch: Batch, features: Features = FEATURES) -> Batch:
    inputs = Inputs(settings, features, STATISTICS)
    cells = ACT(settings, inputs.network_features).cell_middles
    return inputs.prepare(batch, cells=cells)


def test_a_crop_is_cut_out_around_the_projected_cue() -> None:
    # 10 cm to the right of the camera's axis and 4 cm "up" (-y): column 30 + 5, row 20 + 2
    batch = raw([[0.4, -0.04]])
    settings = config("token", "crop", cue_crop=0.2)  # 8 of 40 pixels
    seen = prepare(settings, batch)
    assert set(seen.images) == {"overhead@cue", "wrist"}
    whole = prepare(config("token"), batch).images["overhead"]
    torch.testing.assert_close(seen.images["overhead@cue"], whole[:, :, 18:26, 31:39])


def test_between_pixels_a_crop_is_interpolated() -> None:
    batch = raw([[0.41, -0.04]])  # half a pixel further
    whole = prepare(config("token"), batch).images["overhead"]
    seen = prepare(config("token", "crop", cue_crop=0.2), batch).images["overhead@cue"]
    torch.testing.assert_close(seen, (whole[:, :, 18:26, 31:39] + whole[:, :, 18:26, 32:40]) / 2)


def test_beyond_the_picture_a_crop_is_grey_which_the_network_sees_as_zero() -> None:
    seen = prepare(config("token", "crop", cue_crop=0.2), raw([[5.0, 5.0]])).images["overhead@cue"]
    assert seen.abs().max() < 1e-5


def test_the_full_picture_stays_beside_the_crop_where_it_is_wanted() -> None:
    settings = config("crop", cue_crop_full=("overhead",))
    names = [camera.name for camera in network_features(settings, FEATURES).cameras]
    assert names == ["overhead", "wrist", "overhead@cue"]


def test_every_cropped_camera_keeps_its_full_picture_where_none_is_named_and_others_are_left_as_they_are() -> None:
    seen = network_features(config("crop", cue_crop_full=None, cue_crop_full_scale=0.5), FEATURES)
    assert [(camera.name, camera.height) for camera in seen.cameras] == [
        ("overhead", 20),
        ("wrist", 40),  # not calibrated
        ("overhead@cue", 11),
    ]


@pytest.mark.parametrize(
    ("full", "cropped"), [(None, True), (("overhead",), False), (("overhead", "wrist"), True), ((), False)]
)
def test_a_camera_on_the_hand_is_cropped_by_itself_only_beside_its_full_picture(
    full: tuple[str, ...] | None, cropped: bool
) -> None:
    on_hand = replace(WRIST, calibration=replace(ABOVE, mounted_on="hand"))
    features = replace(WITH_ARM, cameras=(OVERHEAD, on_hand))
    names = {camera.name for camera in network_features(config("crop", cue_crop_full=full), features).cameras}
    assert ("wrist@cue" in names) == cropped
    assert {"wrist", "overhead@cue"} <= names


def test_the_full_picture_beside_a_crop_is_made_smaller_and_the_crop_is_not() -> None:
    batch = raw([[0.4, -0.04]])
    plain = batch.images["overhead"].clone()
    plain[:, :, :, :30], plain[:, :, :, 30:] = 0, 255  # a step in the middle stays in the middle
    batch = replace(batch, images={**batch.images, "overhead": plain})
    whole, half = (
        prepare(config("crop", cue_crop_full=("overhead",), cue_crop_full_scale=scale), batch) for scale in (1.0, 0.5)
    )
    assert half.images["overhead"].shape[2:] == (20, 30)
    assert half.images["wrist"].shape[2:] == (40, 60)
    torch.testing.assert_close(half.images["overhead"][..., :13], whole.images["overhead"][:, :, ::2, :26:2])
    torch.testing.assert_close(half.images["overhead"][..., 17:], whole.images["overhead"][:, :, ::2, 34::2])
    assert torch.equal(half.images["overhead@cue"], whole.images["overhead@cue"])


def test_cells_of_a_smaller_full_picture_look_at_the_same_table() -> None:
    settings = config("world", "crop", cue_crop_full=("overhead",), cue_crop_full_scale=0.5)
    points = prepare(settings, raw([[0.4, 0.0]])).cell_points["overhead"][0]  # 20x30 at stride 16: 2x2 cells
    np.testing.assert_allclose(points[0], [0.3 + (1 - 30) / 50, -(1 - 20) / 50], atol=1e-6)  # on pixel 0: 1 of 40x60
    np.testing.assert_allclose(points[3], [0.3 + (33 - 30) / 50, -(33 - 20) / 50], atol=1e-6)  # on pixel 16


def test_the_full_picture_is_grey_until_the_jaws_close_where_that_is_asked_for() -> None:
    batch = replace(raw([[0.4, -0.04], [0.4, -0.04]]), state=torch.tensor([[0.0, 1.0], [0.0, 0.0]]))  # open, closed
    settings = config("frame", "crop", cue_crop_full=("overhead",), cue_crop_full_when="closed")
    inputs = Inputs(settings, WITH_ARM, IN_FRAME)
    seen = inputs.prepare(batch)
    assert seen.images["overhead"][0].abs().max() < 1e-5
    always = Inputs(replace(settings, cue_crop_full_when="always"), WITH_ARM, IN_FRAME).prepare(batch)
    torch.testing.assert_close(seen.images["overhead"][1], always.images["overhead"][1])
    torch.testing.assert_close(seen.images["overhead@cue"], always.images["overhead@cue"])
    torch.testing.assert_close(seen.images["wrist"], always.images["wrist"])


def test_only_frame_knows_when_the_jaws_are_closed() -> None:
    with pytest.raises(ConfigError, match="cue_crop_full_when closed needs the conditioning 'frame'"):
        config("crop", cue_crop_full=("overhead",), cue_crop_full_when="closed")


def test_a_crop_of_128_pixels_at_480_rows_is_scaled_with_the_picture() -> None:
    large = replace(FEATURES, cameras=(replace(OVERHEAD, height=480, width=640),))
    assert network_features(config("crop"), large).cameras[0].height == 128
    small = replace(FEATURES, cameras=(replace(OVERHEAD, height=120, width=160),))
    assert network_features(config("crop"), small).cameras[0].height == 32


def test_the_heat_map_is_a_gaussian_about_the_projected_cue() -> None:
    seen = prepare(config("token", "heatmap", cue_map_sigma=0.05), raw([[0.4, -0.04]]))
    heat = seen.images["overhead"][0, 3]
    assert seen.images["overhead"].shape[1] == 4
    rows, columns = torch.meshgrid(torch.arange(40) + 0.5, torch.arange(60) + 0.5, indexing="ij")
    torch.testing.assert_close(heat, torch.exp(-((rows - 22) ** 2 + (columns - 35) ** 2) / (2 * 2.0**2)))


def test_a_camera_that_is_not_calibrated_has_an_empty_map_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    seen = prepare(config("token", "heatmap"), raw([[0.4, -0.04]]))
    assert seen.images["wrist"][:, 3].abs().max() == 0
    assert "heatmap leaves out camera wrist: not calibrated" in caplog.text


def test_each_camera_that_is_left_out_is_named_with_its_own_cause(caplog: pytest.LogCaptureFixture) -> None:
    on_hand = replace(WRIST, calibration=replace(ABOVE, mounted_on="hand"))
    side = replace(WRIST, name="side")
    network_features(config("heatmap"), replace(FEATURES, cameras=(OVERHEAD, on_hand, side)))
    (warned,) = caplog.messages
    assert warned == (
        "conditioning heatmap leaves out camera wrist: on the hand, and neither joints nor a recorded pose in the "
        "state say where that is; camera side: not calibrated"
    )
    with pytest.raises(
        ConfigError, match=r"there is none \(camera wrist: on the hand, and neither joints nor a record"
    ):
        network_features(config("heatmap"), replace(FEATURES, cameras=(on_hand,)))


def test_each_cell_knows_the_point_of_the_table_that_it_looks_at() -> None:
    seen = prepare(config("token", "world"), raw([[0.4, 0.0]]))
    points = seen.cell_points["overhead"][0]  # 40x60 at stride 16: 3x4 cells on pixels 0, 16, 32 and 48
    assert points.shape == (12, 2)
    np.testing.assert_allclose(points[0], [0.3 + (0.5 - 30) / 50, -(0.5 - 20) / 50], atol=1e-6)
    np.testing.assert_allclose(points[6], [0.3 + (32.5 - 30) / 50, -(16.5 - 20) / 50], atol=1e-6)
    assert set(seen.cell_points) == {"overhead"}


def test_the_cells_of_a_crop_look_at_points_around_the_cue() -> None:
    seen = prepare(config("token", "world", "crop", cue_crop=0.4), raw([[0.35, 0.06], [0.2, -0.1]]))
    points = seen.cell_points["overhead@cue"]  # 16 pixels at stride 16: one cell, on the crop's first pixel
    assert points.shape == (2, 1, 2)
    np.testing.assert_allclose(points[0, 0], [0.35 - 7.5 / 50, 0.06 + 7.5 / 50], atol=1e-6)
    np.testing.assert_allclose(points[1, 0], [0.2 - 7.5 / 50, -0.1 + 7.5 / 50], atol=1e-6)


def test_another_cue_changes_what_depends_on_it_and_nothing_else() -> None:
    batch = raw([[0.4, -0.04]])
    told = with_cue(batch, torch.tensor([[0.2, 0.1]]))
    before, after = (prepare(config("token", "crop"), one) for one in (batch, told))
    assert torch.equal(before.images["wrist"], after.images["wrist"])
    assert not torch.equal(before.images["overhead@cue"], after.images["overhead@cue"])
    assert after.environment_state is not None
    np.testing.assert_allclose(after.environment_state, [[0.2, 0.1]], atol=1e-6)


def test_cue_noise_has_the_spread_that_was_asked_for_and_depends_on_its_seed() -> None:
    batch = Batch(environment_state=torch.zeros(4000, 3))
    noisy, again = (cue_noise(batch, 0.01, torch.Generator().manual_seed(1)) for _ in range(2))
    assert noisy.environment_state is not None
    assert again.environment_state is not None
    assert torch.equal(noisy.environment_state, again.environment_state)
    np.testing.assert_allclose(noisy.environment_state[:, :2].std(dim=0), 0.01, rtol=0.05)
    assert noisy.environment_state[:, 2].abs().max() == 0  # only x and y are the cue
    assert cue_noise(batch, 0.0, torch.Generator()) is batch


def test_the_controls_need_no_other_configuration() -> None:
    settings = config("token", "crop", "heatmap", "world", "film", "strong", "auxiliary")
    uncued = replace(settings, use_environment_state=False)
    seen = network_features(uncued, replace(FEATURES, environment_names=()))
    assert [(camera.name, camera.channels) for camera in seen.cameras] == [("overhead", 3), ("wrist", 3)]
    blind = network_features(replace(settings, cameras=()), replace(FEATURES, cameras=()))
    assert blind.cameras == ()


def test_what_cannot_be_had_is_refused_in_one_line() -> None:
    bare = replace(FEATURES, cameras=(WRIST,))
    none = r"conditioning crop needs a calibrated camera .* none \(camera wrist: not calibrated\); .*foreact calibrate"
    with pytest.raises(ConfigError, match=none):
        network_features(config("crop"), bare)
    with pytest.raises(ConfigError, match=r"needs coordinates .* and the data have none"):
        network_features(config("film"), replace(FEATURES, environment_names=()))
    with pytest.raises(ConfigError, match="cue_crop_cameras: unknown camera 'overhaed'; did you mean 'overhead'"):
        network_features(config("crop", cue_crop_cameras=("overhaed",)), FEATURES)
    with pytest.raises(ConfigError, match="conditioning 'world' knows no random crops"):
        network_features(config("world", crop_size=(32, 32)), FEATURES)


def test_maps_are_cropped_with_their_pictures() -> None:
    settings = config("token", "heatmap", crop_size=(24, 40))
    batch = raw([[0.4, -0.04]])
    middle = prepare(settings, batch).images["overhead"]
    whole = prepare(config("token", "heatmap"), batch).images["overhead"]
    torch.testing.assert_close(middle, whole[:, :, 8:32, 10:50])
    inputs = Inputs(settings, FEATURES, STATISTICS)
    somewhere = inputs.prepare(batch, crop_seed=3).images["overhead"][0]
    places = [
        (r, c) for r in range(17) for c in range(21) if torch.equal(somewhere, whole[0, :, r : r + 24, c : c + 40])
    ]
    assert len(places) == 1, "colours and map are cut out at the same place"


def test_a_crop_without_a_camera_to_crop_is_refused() -> None:
    on_hand = replace(FEATURES, cameras=(replace(WRIST, calibration=replace(ABOVE, mounted_on="hand")), OVERHEAD))
    with pytest.raises(ConfigError, match="conditioning crop has no camera to crop"):
        network_features(config("crop", cue_crop_cameras=("wrist",)), on_hand)  # the arm is not known
    with pytest.raises(ConfigError, match="cue_crop_full: unknown camera 'overhed'; did you mean 'overhead'"):
        network_features(config("crop", cue_crop_full=("overhed",)), FEATURES)


def test_mixed_precision_does_not_blur_where_the_cue_is() -> None:
    settings, batch = config("token", "crop", "world"), raw([[0.413, -0.047]])
    plain = prepare(settings, batch)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = prepare(settings, batch)
    assert torch.equal(plain.images["overhead@cue"], mixed.images["overhead@cue"])
    assert torch.equal(plain.cell_points["overhead@cue"], mixed.cell_points["overhead@cue"])


def test_noise_on_a_cue_of_one_dimension_is_refused() -> None:
    with pytest.raises(ConfigError, match="cue_noise is for coordinates x and y"):
        cue_noise(Batch(environment_state=torch.zeros(2, 1)), 0.01, torch.Generator())
