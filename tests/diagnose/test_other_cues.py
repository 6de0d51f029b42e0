"""Where else a policy could be sent, as far as the data tell."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from foreact.data.coordinates import read_other_places
from foreact.data.sidecar import Sidecar, write_sidecar
from foreact.data.source import open_source
from foreact.diagnose.other_cues import known_places, other_cues
from foreact.errors import DataError


@pytest.fixture
def copy(dataset: Path, tmp_path: Path) -> Path:
    return shutil.copytree(dataset, tmp_path / "copy")


def test_confusers_of_a_recording_are_known_by_episode(copy: Path) -> None:
    lines = [
        {"seed": 7, "outcome": "success", "target": [0.2, 0.0], "confusers": [[0.3, 0.1], [0.1, 0.1]]},
        {"seed": 8, "outcome": "dropped", "target": [0.2, 0.0], "confusers": [[0.9, 0.9]]},
        {"seed": 9, "outcome": "success", "target": [0.2, 0.0], "confusers": []},
    ]
    written = [{**line, "episode_index": index} for line, index in zip(lines, (0, None, 1), strict=True)]
    (copy / "meta" / "recording.jsonl").write_text("".join(json.dumps(line) + "\n" for line in written))
    assert known_places(open_source(copy)) == {0: ("confuser", ((0.3, 0.1), (0.1, 0.1)))}


def test_paired_demonstrations_know_each_others_cue(copy: Path) -> None:
    write_sidecar(copy, Sidecar(scenes=(0, 0, 1, 2, 2, 2)))
    source = open_source(copy)
    known = known_places(source)
    assert sorted(known) == [0, 1, 3, 4, 5]
    mate = source.episode(1).environment_state
    assert mate is not None
    assert known[0] == ("paired", ((float(mate[0, 0]), float(mate[0, 1])),))
    assert len(known[3][1]) == 2


def test_what_somebody_says_comes_before_what_the_data_do(copy: Path, tmp_path: Path) -> None:
    write_sidecar(copy, Sidecar(scenes=(0, 0, 1, 1, 2, 3)))
    path = tmp_path / "others.csv"
    path.write_text("episode,x,y\n1,0.21,-0.05\n5,0.2,0.1\n1,0.15,0.08\n")
    known = known_places(open_source(copy), read_other_places(path))
    assert known[1] == ("confuser", ((0.21, -0.05), (0.15, 0.08)))
    assert known[5] == ("confuser", ((0.2, 0.1),))
    assert known[0][0] == "paired"
    assert 4 not in known
    path.write_text("episode,x,y\n6,0.2,0.1\n")
    with pytest.raises(DataError, match=r"given for episode 6, which .* lacks"):
        known_places(open_source(copy), read_other_places(path))
    path.write_text("episode,y,x\n1,0.2,0.1\n")
    with pytest.raises(DataError, match=r"others.csv' begins with 'episode,y,x', expected the heading episode,x,y"):
        read_other_places(path)


def test_nothing_is_known_of_other_data(dataset: Path) -> None:
    assert known_places(open_source(dataset)) == {}


def test_each_known_place_is_a_trial_and_else_a_cue_at_least_5_cm_away() -> None:
    cues = np.array([[0.0, 0.0], [0.04, 0.0], [0.1, 0.0], [0.0, 0.02]])
    trials = other_cues((5, 6, 7, 8), cues, {6: ("confuser", ((0.3, 0.3), (0.4, 0.4)))})
    assert trials.episode.tolist() == [0, 1, 1, 2, 3]
    assert trials.kind == ("elsewhere", "confuser", "confuser", "elsewhere", "elsewhere")
    np.testing.assert_array_equal(trials.cue, [[0.1, 0], [0.3, 0.3], [0.4, 0.4], [0, 0], [0.1, 0]])


def test_where_all_cues_are_alike_there_is_no_trial() -> None:
    trials = other_cues((0, 1), np.array([[0.0, 0.0], [0.01, 0.0]]), {})
    assert trials.cue.shape == (0, 2)
