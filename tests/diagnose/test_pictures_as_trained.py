"""Pictures that are not as in training, before a policy that is known to go to the red spot of one camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diagnose.closed_form import CHUNK, CONFIG, Straight, probe_of, seen, told
from foreact.data.dataset import ChunkDataset
from foreact.data.images import resize_frames
from foreact.data.source import open_source
from foreact.diagnose.inputs_used import alike_cameras, change_places, places_changed
from foreact.diagnose.pictures_as_trained import judge_pictures_as_trained, pictures_as_trained
from foreact.diagnose.probe import Probe
from foreact.policy.inputs import Inputs
from foreact.records import Batch, Camera
from spots import FEATURES

Show = Callable[[dict[str, Tensor], int], dict[str, Tensor]]
"""What the cameras show (3, H, W) to what is recorded instead; the second is the episode."""


class Recorded(ChunkDataset):
    """The same episodes with other pictures."""

    show: Show
    wrist_size: tuple[int, int] | None = None
    """Height and width in which the wrist camera is recorded; None as the other."""

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        batch = super().__getitems__(indices)
        assert batch.episode_index is not None
        shown = {name: of.clone() for name, of in batch.images.items()}
        for i, episode in enumerate(batch.episode_index.tolist()):
            for name, picture in self.show({camera: of[i] for camera, of in batch.images.items()}, episode).items():
                shown[name][i] = picture
        if self.wrist_size is not None:
            shown["wrist"] = resize_frames(shown["wrist"], self.wrist_size)
        return replace(batch, images=shown)


def shown(show: Show, data: Path, cache_dir: Path, wrist_size: tuple[int, int] | None = None) -> Probe:
    source = open_source(data)
    dataset = Recorded(source, source.episode_indices, features=FEATURES, chunk_size=CHUNK, cache_dir=cache_dir)
    dataset.show, dataset.wrist_size = show, wrist_size
    return Probe(Straight(seen).eval(), Inputs(CONFIG, FEATURES, {}), FEATURES, dataset)


def only_red_overhead(pictures: dict[str, Tensor], episode: int) -> dict[str, Tensor]:
    """The wrist camera, which shows the same, must not help when it takes the overhead's place."""
    return {"wrist": pictures["wrist"] * 0 + 60}


def swapped(pictures: dict[str, Tensor], episode: int) -> dict[str, Tensor]:
    return {"wrist": pictures["overhead"], "overhead": pictures["wrist"] * 0 + 60}


@pytest.mark.parametrize(
    ("show", "name", "remedy"),
    [
        (lambda of, _: {"overhead": of["overhead"].flip(1, 2)}, "overhead: upside down", "turn the camera's picture"),
        (lambda of, _: {"overhead": of["overhead"].flip(2)}, "overhead: mirrored", "mirror the camera's picture"),
        (lambda of, _: {"overhead": of["overhead"].flip(0)}, "overhead: red and blue exchanged", "from BGR to RGB"),
        (lambda of, _: {"overhead": of["overhead"] // 200}, "overhead and wrist: times 255", "uint8 in 0..255"),
        (swapped, "overhead and wrist in each other's place", "its own name"),
    ],
)
def test_what_is_wrong_with_the_pictures_is_named(
    show: Show, name: str, remedy: str, episodes: Path, cache_dir: Path
) -> None:
    def both_dark(of: dict[str, Tensor], episode: int) -> dict[str, Tensor]:
        return {"wrist": of["wrist"] // 200, **show(of, episode)} if "times" in name else show(of, episode)

    measured = pictures_as_trained(shown(both_dark, episodes, cache_dir), shares=(0.0,))
    assert measured is not None
    finding = judge_pictures_as_trained(measured)
    assert finding.severity == "fault"
    assert finding.verdict.startswith(f"the pictures are not as in training: {name}, ")
    assert remedy in finding.remedy


def test_pictures_as_in_training_are_fine(episodes: Path, cache_dir: Path) -> None:
    measured = pictures_as_trained(shown(only_red_overhead, episodes, cache_dir))
    assert measured is not None
    finding = judge_pictures_as_trained(measured)
    assert finding.severity == "fine"
    assert finding.remedy == ""


def test_cameras_swapped_in_some_episodes_alone_are_named_with_these(episodes: Path, cache_dir: Path) -> None:
    def some(pictures: dict[str, Tensor], episode: int) -> dict[str, Tensor]:
        return swapped(pictures, episode) if episode in (3, 8, 9) else only_red_overhead(pictures, episode)

    measured = pictures_as_trained(shown(some, episodes, cache_dir), shares=(0.0,))
    assert measured is not None
    finding = judge_pictures_as_trained(measured)
    assert finding.severity == "warning"
    assert finding.verdict.endswith("in episodes 3, 8, 9")
    assert "overhead and wrist in each other's place" in finding.verdict


def test_of_a_policy_that_looks_at_nothing_nothing_can_be_said(episodes: Path, cache_dir: Path) -> None:
    measured = pictures_as_trained(probe_of(told, episodes, cache_dir))
    assert measured is not None
    finding = judge_pictures_as_trained(measured)
    assert finding.severity == "note"
    assert finding.verdict.startswith("cannot tell")
    assert pictures_as_trained(probe_of(told, episodes, cache_dir, replace(FEATURES, cameras=()))) is None


def test_only_cameras_of_one_kind_can_change_places_of_whatever_size() -> None:
    small = Camera(name="side", height=16, width=32)
    depth = Camera(name="top", height=32, width=32, depth_range=(0.1, 2.0))
    features = replace(FEATURES, cameras=(*FEATURES.cameras, small, depth))
    assert alike_cameras(features) == [("overhead", "wrist"), ("overhead", "side"), ("wrist", "side")]
    assert places_changed("overhead", "wrist") == "overhead and wrist in each other's place"


@pytest.mark.parametrize(("show", "severity"), [(swapped, "fault"), (only_red_overhead, "fine")])
def test_cameras_of_different_sizes_in_each_others_place_are_named_too(
    show: Show, severity: str, episodes: Path, cache_dir: Path
) -> None:
    measured = pictures_as_trained(shown(show, episodes, cache_dir, wrist_size=(24, 20)), shares=(0.0,))
    assert measured is not None
    finding = judge_pictures_as_trained(measured)
    assert finding.severity == severity
    if severity == "fault":
        assert "overhead and wrist in each other's place" in finding.verdict


def test_in_each_others_place_each_camera_keeps_its_size() -> None:
    high = torch.arange(6, dtype=torch.uint8).view(1, 1, 6, 1).expand(1, 3, 6, 4) * 40
    wide = torch.full((1, 3, 3, 8), 7, dtype=torch.uint8)
    raw = Batch(images={"overhead": high, "wrist": wide})
    after = change_places("overhead", "wrist")(raw, slice(0, 1)).images
    assert after["overhead"].shape == high.shape
    assert (after["overhead"] == 7).all()
    assert after["wrist"].shape == wide.shape
    rows = after["wrist"][0, 0, :, 0].tolist()
    assert rows == sorted(rows)
    assert rows[0] < 60 < rows[1] < 140 < rows[2]
