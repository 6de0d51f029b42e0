"""What each dimension of a data set is: its name, its range, whether it moves; and which cameras there are.

A vector that is not what its name says trains without complaint and fails on the robot: the project behind seed 000 fed
the block's pose as joint state (ACT.md 8, trap 11). A person sees it at once in names and ranges.
"""

from __future__ import annotations

from foreact.data.statistics import names_of
from foreact.normalizer import NARROWEST
from foreact.records import Camera, Features, Statistics


def describe_vectors(features: Features, statistics: Statistics) -> list[str]:
    """Return a line a dimension: key, name, least, mean and largest value, standard deviation, remark.

    Args:
        features: What the policy takes; names without a unit are shown as they are.
        statistics: Of the training split, in raw units.
    """
    lines = [f"{'':<30}{'':<24}{'min':>10}{'mean':>10}{'max':>10}{'std':>10}"]
    for key, of_key in names_of(features).items():
        for dim, name in enumerate(of_key):
            of = statistics[key]
            numbers = (of.min[dim], of.mean[dim], of.max[dim], of.std[dim])
            remark = "  constant: shifted, not scaled" if of.std[dim] < NARROWEST else ""
            lines.append(f"{key:<30}{name:<24}" + "".join(f"{number:>10.4f}" for number in numbers) + remark)
    return lines


def describe_cameras(features: Features) -> str:
    """Return a line with each camera's name, size in the data and what is made of it; says so where there is none."""
    if not features.cameras:
        return "no cameras: the policy will be blind"
    return f"cameras: {', '.join(_camera_text(camera) for camera in features.cameras)}"


def _camera_text(camera: Camera) -> str:
    height, width = camera.recorded_size or (camera.height, camera.width)
    resized = f" as {camera.height}x{camera.width}" if camera.recorded_size else ""
    return f"{camera.name} {height}x{width}{resized}{' with depth' if camera.depth_range else ''}"
