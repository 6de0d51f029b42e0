"""Pictures that are not as in training, before a policy that is known to go to the red spot of one camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from diagnose.closed_form import CHUNK, CONFIG, Straight, probe_of, seen, told
from foreact.data.dataset import ChunkDataset
from foreact.data.source import open_source
from foreact.diagnose.inputs_used import alike_cameras, places_changed
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

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        batch = super().__getitems__(indices)
        assert batch.episode_index is not None
        shown = {name: of.clone() for name, of in batch.images.items()}
        for i, episode in enumerate(batch.episode_index.tolist()):
            for name, picture in self.show({camera: of[i] for camera, of in batch.images.items()}, episode).items():
                shown[name][i] = picture
        return replace(batch, images=shown)


def shown(show: Show, data: Path, cache_dir: Path) -> Probe:
    source = open_source(data)
    dataset = Recorded(source, source.episode_indices, features=FEATURES, chunk_size=CHUNK, cache_dir=cache_dir)
    dataset.show = show
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


def test_only_cameras_of_one_size_and_kind_can_change_places() -> None:
    small = Camera(name="side", height=16, width=32)
    depth = Camera(name="top", height=32, width=32, depth_range=(0.1, 2.0))
    features = replace(FEATURES, cameras=(*FEATURES.cameras, small, depth))
    assert alike_cameras(features) == [("overhead", "wrist")]
    assert places_changed("overhead", "wrist") == "overhead and wrist in each other's place"
