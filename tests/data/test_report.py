"""The report on a data set's dimensions shows what they are."""

import numpy as np

from foreact.data.report import describe_cameras, describe_vectors
from foreact.data.statistics import compute_statistics
from foreact.records import Camera, Episode, Features


def test_each_dimension_is_shown_with_name_and_range_and_a_constant_one_is_marked() -> None:
    state = np.array([[0.5, 7.0], [-0.25, 7.0]], np.float32)
    episode = Episode(index=0, task="t", action=state[:, :1], state=state)
    features = Features(action_names=("pan.pos",), state_names=("pan.pos", "grip.pos"))
    lines = describe_vectors(features, compute_statistics([episode]))
    assert len(lines) == 1 + 3
    by_name = {tuple(line.split()[:2]): line.split()[2:] for line in lines[1:]}
    assert [float(value) for value in by_name["observation.state", "pan.pos"]] == [-0.25, 0.125, 0.5, 0.375]
    assert "constant:" in by_name["observation.state", "grip.pos"]
    assert ("action", "pan.pos") in by_name


def test_cameras_are_named_with_their_sizes_and_their_absence_is_said() -> None:
    wrist = Camera(name="wrist", height=480, width=640)
    head = Camera(name="head", height=240, width=320, recorded_size=(480, 640), depth_range=(0.1, 4.0))
    features = Features(action_names=("a",), cameras=(wrist, head))
    assert describe_cameras(features) == "cameras: wrist 480x640, head 480x640 as 240x320 with depth"
    assert describe_cameras(Features(action_names=("a",))) == "no cameras: the policy will be blind"
