"""What a conversion notes beside the data set that it writes, so that the same command goes on where it was ended.

meta/conversion.json    what is converted, and how
meta/conversion.jsonl   one line an episode: where it comes from, which frames were kept, or why it was left out
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from foreact.data.files import write_json
from foreact.data.lerobot_info import INFO, load_json
from foreact.errors import DataError

SETTINGS = "meta/conversion.json"
LOG = "meta/conversion.jsonl"


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """What became of one episode."""

    source: int
    """Number of its source, counted from 0."""
    source_episode: int
    """Its index there."""
    frames: int
    """That it has there."""
    episode_index: int | None
    """In the new data set; None where it was left out."""
    kept: tuple[int, int] = (0, 0)
    """First frame and one after the last."""
    reason: str = ""
    """What is wrong with one that was left out."""

    def __post_init__(self) -> None:
        """Take what JSON gives, and check it."""
        object.__setattr__(self, "kept", tuple(self.kept))
        numbers = (self.source, self.source_episode, self.frames, *self.kept)
        if not (all(type(of) is int for of in numbers) and isinstance(self.episode_index, int | None)):
            raise ValueError("not a number")

    @property
    def is_converted(self) -> bool:
        """Whether the episode became part of the new data set."""
        return self.episode_index is not None

    @property
    def n_trimmed(self) -> int:
        """Frames of a converted episode that were left out."""
        return self.frames - (self.kept[1] - self.kept[0]) if self.is_converted else 0

    @property
    def text(self) -> str:
        """The line as it stands in the file."""
        return json.dumps(asdict(self)) + "\n"


def n_converted(lines: Sequence[LogLine]) -> int:
    """Return how many episodes became part of the new data set."""
    return sum(line.is_converted for line in lines)


def read_log(root: Path, n_episodes: int | None = None) -> list[LogLine]:
    """Return the log's lines; what a killed run left incomplete is cut off and done again.

    Args:
        root: Of the new data set.
        n_episodes: Of the data set, which after a power cut may lack what the last lines say; None where complete.

    Raises:
        DataError: If a line is damaged.
    """
    path = root / LOG
    if not path.exists():
        return []
    text = path.read_text(errors="replace")
    lines = []
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), start=1):
        try:
            lines.append(LogLine(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise DataError(f"'{path}' line {number} is damaged; remove '{root}' and convert again") from error
    while n_episodes is not None and n_converted(lines) > n_episodes:
        lines.pop()
    kept = "".join(line.text for line in lines)
    if kept != text:
        path.write_text(kept)
    return lines


def is_complete(root: Path, settings: Mapping[str, Any]) -> bool:
    """Compare the settings with those of a conversion to go on with, and return whether that is complete.

    One that has not got as far as its first episode may be begun with other settings.

    Args:
        root: Of the new data set.
        settings: `sources`, each with `path` and `fingerprint`, and options by name, as they come back from JSON.

    Raises:
        DataError: If the folder holds something else, or a conversion of other sources or with other options.
    """
    path = root / SETTINGS
    if not path.exists():
        if root.exists() and any(not of.name.startswith(".") for of in root.iterdir()):
            raise DataError(f"'{root}' is not empty and not a conversion; the last path is the folder to write")
        return False
    if not (root / INFO).is_file() and not read_log(root):
        return False
    before = load_json(path)
    try:
        prints = [of["fingerprint"] for of in before["sources"]]
        places = ", ".join(of["path"] for of in before["sources"])
        complete = bool(before["complete"])
    except (KeyError, TypeError) as error:
        raise DataError(f"'{path}' is damaged; remove '{root}' and convert again") from error
    if prints != [of["fingerprint"] for of in settings["sources"]]:
        raise DataError(f"'{root}' was converted from {places}, which are not these or have changed; {_ELSEWHERE}")
    for name, value in settings.items():
        if name != "sources" and before.get(name) != value:
            raise DataError(
                f"'{root}' was begun with {name} {shortened(before.get(name))}, not {shortened(value)}; use the same "
                f"options, or {_ELSEWHERE}"
            )
    return complete


def write_settings(root: Path, settings: Mapping[str, Any], *, complete: bool) -> None:
    """Write `meta/conversion.json`; raises DataError where that cannot be."""
    write_json(root / SETTINGS, {**settings, "complete": complete})


_ELSEWHERE = "choose another folder"
