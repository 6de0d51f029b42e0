"""Data sets in the studio: what is shown of an episode, and what inspection says of its frames."""

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import aloha_files
from foreact.config import SourceConfig
from foreact.data.source import open_source
from foreact.errors import ConfigError, DataError
from foreact.finding import Finding
from foreact.records import Episode
from foreact.studio.data_page import episode_panels
from foreact.studio.recordings import Mark, Recording, Recordings, marks


def finding(question: str, severity: str = "warning", **evidence: object) -> Finding:
    return Finding(question=question, title=question, verdict="so it is", severity=severity, evidence=evidence)  # type: ignore[arg-type]


EPISODE = Episode(index=3, task="", action=np.zeros((20, 2), np.float32))


def stretches(*findings: Finding) -> list[tuple[str, int, int, bool]]:
    return [(of.title, of.start, of.stop, of.is_whole) for of in marks(findings, EPISODE)]


def test_findings_stand_on_the_frames_that_their_evidence_names() -> None:
    assert stretches(
        finding("frozen", episodes=[3], first_frame_and_count={"wrist": {"3": [4, 5], "1": [0, 9]}}),
        finding("stale", episodes=[3], frames_by_episode={"3": [[2, 6], [10, 99]]}),
        finding("jumps", episodes=[3], frame_by_episode={"action: a by 9": {3: 7, 8: 1}}),
    ) == [
        ("frozen", 4, 9, False),
        ("stale", 2, 6, False),
        ("stale", 10, 20, False),
        ("jumps", 7, 8, False),
    ]


def test_findings_without_frames_concern_the_whole_episode_and_those_of_others_nothing() -> None:
    found = stretches(
        finding("idle", episodes=[1, 3]),
        finding("gripper", episodes=[1]),
        finding("lengths", "fine", episodes=[3]),
    )
    assert found == [("idle", 0, 20, True)]


def test_a_clip_has_the_pictures_of_all_cameras_frame_by_frame(dataset: Path) -> None:
    recording, source = Recording(dataset), open_source(dataset)
    clip = recording.clip(2)
    assert clip.episode.length == source.lengths[2]
    for camera in source.features.cameras:
        frames = list(source.frames(2, camera.name))
        assert len(clip.tracks[camera.name, False].pictures) == len(frames)
        picture = clip.picture(camera.name, 5)
        assert picture is not None
        path = dataset.parent / "shown.jpg"
        path.write_bytes(picture)
        shown = np.asarray(Image.open(path), np.float64)
        # JPEG is not exact; another frame's picture is further away.
        distances = [np.abs(shown - frame).mean() for frame in frames]
        assert int(np.argmin(distances)) in {i for i, frame in enumerate(frames) if np.array_equal(frame, frames[5])}
    assert clip.picture("nowhere", 0) is None


def test_curves_have_state_and_action_of_a_name_together_and_bands_where_something_is_wrong(dataset: Path) -> None:
    recording = Recording(dataset)
    clip = recording.clip(0)
    wrong = Mark(start=2, stop=5, severity="fault", title="frozen", text="", is_whole=False)
    whole = Mark(start=0, stop=9, severity="fault", title="idle", text="", is_whole=True)
    drawn = episode_panels(clip, recording, 3, [wrong, whole])
    names = {*recording.source.features.action_names, *recording.source.features.state_names}
    assert drawn.count("<figure>") == len(names)
    assert drawn.count('class="band fault"') == len(names)
    assert drawn.count('class="now"') == len(names)


def test_what_has_been_read_is_there_while_another_episode_is_being_read(dataset: Path) -> None:
    recording = Recording(dataset)
    clip, source = recording.clip(0), recording.source
    got: list[object] = []
    visitor = threading.Thread(target=lambda: got.extend([recording.clip(0), recording.source]), daemon=True)
    with recording._reading:  # as for as long as another one takes to read
        visitor.start()
        visitor.join(10)
        assert got == [clip, source]


def test_only_what_was_given_can_be_opened(dataset: Path) -> None:
    recordings = Recordings([dataset])
    (name,) = recordings.names
    assert recordings[name].path == dataset
    for other in ("/etc", f"{name}/..", str(dataset)):
        with pytest.raises(ConfigError, match="was not given"):
            _ = recordings[other]
    with pytest.raises(DataError, match="no episode 99"):
        recordings[name].clip(99)


def test_inspecting_says_what_foreact_inspect_says(dataset: Path) -> None:
    recording = Recording(dataset)
    assert recording.report is None
    report = recording.inspect()
    assert recording.report is report
    assert report.episodes == len(recording.source.episode_indices)


def test_data_sets_are_read_as_the_options_say(tmp_path: Path) -> None:
    """ALOHA's files do not say their rate."""
    data = aloha_files.write(tmp_path / "aloha")
    recording = Recordings([data], SourceConfig(fps=20))["/".join(data.parts[-2:])]
    assert recording.source.features.fps == 20
    assert recording.inspect().fps == 20
