"""Videos: what goes in comes out, frame by frame."""

from pathlib import Path

import av
import numpy as np
import pytest

from foreact.data.video import VideoReader, concatenate_videos, encode_video
from foreact.errors import DataError


def flat(n: int, first: int = 0) -> list[np.ndarray]:
    """Pictures told apart by their grey, 6 levels a frame."""
    return [np.full((32, 48, 3), 20 + 6 * (first + k), np.uint8) for k in range(n)]


def numbers(frames: list[np.ndarray]) -> list[int]:
    return [round((float(frame.mean()) - 20) / 6) for frame in frames]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    encode_video(tmp_path / "video.mp4", flat(30), 10)
    return tmp_path / "video.mp4"


def test_frames_come_back_in_order_with_exact_times(video: Path) -> None:
    assert numbers(list(VideoReader(video).read(0.0, 30, 10, "x"))) == list(range(30))
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = list(container.decode(stream))
    assert [frame.time for frame in frames] == pytest.approx([k / 10 for k in range(30)], abs=1e-9)
    assert all(frame.key_frame for frame in frames[::2])  # two frames a group at most


def test_the_same_frames_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        encode_video(tmp_path / name, flat(9), 10)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("spans", [[(0, 7), (7, 5), (12, 18)], [(20, 5), (3, 4), (7, 2), (0, 1), (29, 1), (0, 30)]])
def test_spans_are_read_in_any_order(video: Path, spans: list[tuple[int, int]]) -> None:
    reader = VideoReader(video)
    for first, n in spans:
        assert numbers(list(reader.read(first / 10, n, 10, "x"))) == list(range(first, first + n))


def test_a_span_may_be_left_before_its_end(video: Path) -> None:
    reader = VideoReader(video)
    span = reader.read(0.0, 10, 10, "x")
    assert numbers([next(span), next(span)]) == [0, 1]
    assert numbers(list(reader.read(1.5, 3, 10, "x"))) == [15, 16, 17]


@pytest.mark.parametrize("fps", [7, 10, 30, 50])
def test_joined_videos_are_read_like_the_parts(tmp_path: Path, fps: int) -> None:
    lengths = (5, 8, 1, 9)
    parts = []
    for number, length in enumerate(lengths):
        parts.append((tmp_path / f"{number}.mp4", length))
        encode_video(parts[-1][0], flat(length, sum(lengths[:number])), fps)
    concatenate_videos(tmp_path / "all.mp4", parts, fps)
    reader = VideoReader(tmp_path / "all.mp4")
    assert numbers(list(reader.read(0.0, sum(lengths), fps, "x"))) == list(range(sum(lengths)))
    assert numbers(list(reader.read(13 / fps, 1, fps, "x"))) == [13]


def test_only_the_first_frames_of_a_part_can_be_taken(tmp_path: Path, video: Path) -> None:
    concatenate_videos(tmp_path / "some.mp4", [(video, 7), (video, 2)], 10)
    assert numbers(list(VideoReader(tmp_path / "some.mp4").read(0.0, 9, 10, "x"))) == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    with pytest.raises(DataError, match="has 30 frames, expected 31"):
        concatenate_videos(tmp_path / "more.mp4", [(video, 31)], 10)
    assert not (tmp_path / "more.mp4").exists()


def test_another_rate_is_refused_with_both_rates(video: Path) -> None:
    with pytest.raises(
        DataError, match=r"episode 3: frame 1 lies at 0.1000 s .* the video has 10 frames/s, the data set 30"
    ):
        list(VideoReader(video).read(0.0, 30, 30, "episode 3"))


def test_too_few_frames_are_refused(video: Path) -> None:
    with pytest.raises(DataError, match="ends after 5 of 6 frames"):
        list(VideoReader(video).read(2.5, 6, 10, "episode 3"))
    with pytest.raises(DataError, match=r"ends before 9 s; .*; or timestamps do not count from the episode's start"):
        list(VideoReader(video).read(9.0, 6, 10, "episode 3"))


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.95])
def test_a_video_cut_short_is_refused(video: Path, keep: float) -> None:
    content = video.read_bytes()
    video.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    with pytest.raises(DataError, match=r"video '.*video.mp4' is damaged or not a video; copy or record it again"):
        list(VideoReader(video).read(0.0, 30, 10, "x"))


def test_a_file_that_is_gone_or_not_a_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video" * 1000)
    for name in ("text.mp4", "gone.mp4"):
        with pytest.raises(DataError, match=f"{name}' is damaged or not a video"):
            VideoReader(tmp_path / name)


def test_a_video_with_a_damaged_frame_is_refused(video: Path) -> None:
    """Noise over some frames' bytes, tables intact: FFmpeg would show pictures that it made up."""
    rng = np.random.default_rng(0)
    encode_video(video, rng.integers(0, 256, (30, 32, 48, 3), dtype=np.uint8), 10)
    content = bytearray(video.read_bytes())
    middle = len(content) // 2
    content[middle + 200 : middle + 500] = rng.integers(0, 256, 300, dtype=np.uint8).tobytes()
    video.write_bytes(content)
    with pytest.raises(DataError, match=r"x: frame 1\d: video '.*video.mp4' is damaged"):
        list(VideoReader(video).read(0.0, 30, 10, "x"))


def test_a_video_without_frames_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"video 'none.mp4' would have no frames"):
        encode_video(tmp_path / "none.mp4", [], 10)
    assert list(tmp_path.iterdir()) == []
