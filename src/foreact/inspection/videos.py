"""Are the videos as long as the tables say? Told by the containers' metadata, without decoding a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import av

from foreact.data.files import refuse_lfs_pointer
from foreact.data.lerobot_source import VideoSpan
from foreact.data.source import EpisodeSource
from foreact.errors import DataError


@runtime_checkable
class WithVideos(Protocol):
    """A source whose pictures lie in video files."""

    def video_spans(self, index: int) -> Mapping[str, VideoSpan]:
        """Return where the videos of an episode lie, by feature."""


def check_videos(source: EpisodeSource) -> dict[int, str]:
    """Return what is wrong with the videos by episode; a file is opened once, and nothing of it decoded.

    A file is wrong that cannot be opened, ends before its own boxes do, or is shorter than an episode's place in it.
    Episodes whose metadata cannot be had are left to whoever reads them.
    """
    if not isinstance(source, WithVideos):
        return {}
    missing = getattr(source, "missing", {})
    problems: dict[int, str] = {}
    ends: dict[Path, tuple[float, str]] = {}
    for index in source.episode_indices:
        if index in missing:
            continue
        for span in source.video_spans(index).values():
            if span.path not in ends:
                ends[span.path] = _end(span.path)
            end, reason = ends[span.path]
            needed = span.start + (source.lengths[index] - 0.5) / source.features.fps
            if reason:
                problems.setdefault(index, f"episode {index}: {reason}")
            elif end < needed:
                problems.setdefault(
                    index,
                    f"episode {index}: video '{span.path}' lasts {end:.4g} s, the table's rows need {needed:.4g} s of "
                    "it; copy or record it again",
                )
    return problems


def _end(path: Path) -> tuple[float, str]:
    """Return a video's length [s] and what is wrong with its file, an empty text where nothing is."""
    try:
        refuse_lfs_pointer(path)
        if (lacking := _box_end(path) - path.stat().st_size) > 0:
            return 0.0, f"video '{path}' is cut short, {lacking} bytes are missing; copy it again"
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if stream.duration is not None and stream.time_base is not None:
                return float((stream.start_time or 0) * stream.time_base + stream.duration * stream.time_base), ""
            return (container.duration or 0) / av.time_base, ""
    except DataError as error:
        return 0.0, str(error)
    except (OSError, av.FFmpegError, IndexError) as error:
        return 0.0, f"video '{path}' is damaged or not a video ({error}); copy or record it again"


def _box_end(path: Path) -> int:
    """Return where an MP4 file should end: each of its boxes says its size (ISO/IEC 14496-12, 4.2).

    Of a file of another kind, its size.
    """
    at, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            head = file.read(16)
            if at == 0 and head[4:8] != b"ftyp":
                return size
            length = int.from_bytes(head[:4], "big")
            if length == 1:  # a 64-bit size follows
                length = int.from_bytes(head[8:16], "big")
            if length < 8:  # 0: to the end of the file; anything else is no box, and a decoder says so
                return size
            at += length
    return at
