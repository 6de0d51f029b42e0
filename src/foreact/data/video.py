"""Videos: encode one, read frames in order, join several without encoding again.

PyAV brings its own FFmpeg, so nothing of the system's is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from foreact.data.files import refuse_lfs_pointer, write_atomically
from foreact.errors import DataError

CODEC = "h264"
"""What `libx264` writes, as LeRobot names it."""
PIXEL_FORMAT = "yuv420p"
GOP = 2
"""Frames from key frame to key frame: random access costs two frames at most (LeRobot's choice)."""
CRF = 20
PRESET = "veryfast"
DEPTH_CODEC = "hevc"
"""What `libx265` writes, as LeRobot names it."""
DEPTH_PIXEL_FORMAT = "gray12le"
DEPTH_BLOCK = 32
"""Pixels. Where a picture is not larger than its largest block, by default 64, libx265 loses something now and then
although it is told to lose nothing, or writes beyond its memory."""

_CONVERSION: dict[str, Any] = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}
"""One thread turns a frame's colours into RGB, as before PyAV 17: several wait for each other and for the decoder's."""


def encode_video(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Encode frames as H.264 in an MP4 file, which is there in full or not at all.

    No B-frames: every frame is shown when it is stored, so that files can be joined with exact times. One thread,
    so that the same frames give the same file; several processes are faster than several threads anyway.

    Args:
        path: Where to.
        frames: uint8 (H, W, 3), all of one size with even H and W.
        fps: Frames a second, a whole number.

    Raises:
        DataError: If a frame has another type or size, the size is odd, there is no frame, or the disk is full.
    """
    # Looking ahead for macroblocks makes x264 write other bytes for the same pictures now and then.
    options = {"crf": str(CRF), "preset": PRESET, "g": str(GOP), "bf": "0", "x264-params": "mbtree=0"}
    _encode(path, frames, fps, codec="libx264", pixel_format=PIXEL_FORMAT, source_format="rgb24", options=options)


def encode_depth_video(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Encode depth codes without loss as 12-bit HEVC, like LeRobot; otherwise like `encode_video`.

    Args:
        path: Where to.
        frames: uint16 (H, W) from 0 to 4095, all of one size with even H and W.
        fps: Frames a second, a whole number.
    """
    parameters = f"lossless=1:ctu={DEPTH_BLOCK}:log-level=none:bframes=0:pools=none:frame-threads=1"
    options = {"preset": PRESET, "g": str(GOP), "x265-params": parameters}
    depth = {"pixel_format": DEPTH_PIXEL_FORMAT, "source_format": DEPTH_PIXEL_FORMAT}
    _encode(path, frames, fps, codec="libx265", options=options, **depth)


def _encode(
    path: Path,
    frames: Iterable[np.ndarray],
    fps: float,
    *,
    codec: str,
    pixel_format: str,
    source_format: str,
    options: dict[str, str],
) -> None:
    rate = whole_fps(fps)
    with write_atomically(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt = pixel_format
        stream.time_base = stream.codec_context.time_base = Fraction(1, rate)
        stream.codec_context.thread_count = 1
        shape: tuple[int, ...] | None = None
        for number, array in enumerate(frames):
            if shape is None:
                stream.height, stream.width = _encodable_size(path, array, source_format)
                shape, dtype = array.shape, array.dtype
            if array.dtype != dtype or array.shape != shape:
                raise DataError(
                    f"frame {number} of video '{path.name}' is {array.dtype} {array.shape}, "
                    f"expected {dtype} {shape} as the first"
                )
            frame = av.VideoFrame.from_ndarray(array, format=source_format)
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        if shape is None:
            raise DataError(f"video '{path.name}' would have no frames")
        container.mux(stream.encode())


def whole_fps(fps: float) -> int:
    """Return the rate as LeRobot stores it.

    Raises:
        DataError: If it is not a positive whole number.
    """
    if fps <= 0 or fps != int(fps):
        raise DataError(f"fps is {fps}; a LeRobotDataset needs a positive whole number")
    return int(fps)


def _encodable_size(path: Path, array: np.ndarray, source_format: str) -> tuple[int, int]:
    colour = source_format == "rgb24"
    dtype, n_axes = (np.uint8, 3) if colour else (np.uint16, 2)
    if array.dtype != dtype or array.ndim != n_axes or (colour and array.shape[2] != 3):
        expected = "uint8 (H, W, 3)" if colour else "uint16 (H, W)"
        raise DataError(f"frames of video '{path.name}' are {array.dtype} {array.shape}, expected {expected}")
    height, width = array.shape[:2]
    if not colour and min(height, width) <= DEPTH_BLOCK:
        raise DataError(
            f"frames of video '{path.name}' are {height}x{width}; depth video needs more than {DEPTH_BLOCK} pixels "
            "either way"
        )
    if height % 2 or width % 2:
        raise DataError(
            f"frames of video '{path.name}' are {height}x{width}; {PIXEL_FORMAT} video needs an even height and "
            "width: record or resize to such a size"
        )
    return height, width


class VideoReader:
    """One open video, read in order: consecutive spans continue without seeking, others cost one seek."""

    def __init__(self, path: Path, pixel_format: str = "rgb24") -> None:
        """Open the file.

        Args:
            path: Any video that FFmpeg reads.
            pixel_format: Of the arrays that `read` gives: `rgb24` or a grey format for depth.

        Raises:
            DataError: If it is missing or damaged.
        """
        self.path = path
        self._pixel_format = pixel_format
        try:
            self._container = av.open(str(path))
            self._stream = self._container.streams.video[0]
        except (OSError, av.FFmpegError, IndexError) as error:
            refuse_lfs_pointer(path)
            raise DataError(f"{_damaged(path)} ({error})") from error
        self._stream.thread_type = "AUTO"
        self._decoded = self._container.decode(self._stream)
        self._frame = self._advance()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def read(self, start: float, n_frames: int, fps: float, whose: str, every: int = 1) -> Iterator[np.ndarray]:
        """Yield frames of a span in order, (H, W, 3) or (H, W).

        Args:
            start: Time of the first frame in the file [s].
            n_frames: How many.
            fps: Of the data set; frame k must lie within a quarter of a frame of `start + k / fps`.
            whose: For messages, for example "episode 3, camera 'top'".
            every: Give frames 0, n, 2n, ...; the others are decoded and checked, but not converted to arrays.

        Raises:
            DataError: If the file is damaged, ends early or has another rate.
        """
        tolerance = 0.25 / fps
        if self._frame is None or abs(self._frame.time - start) > tolerance:
            self._seek(start - tolerance)
        for number in range(n_frames):
            if self._frame is None:
                ends = f"after {number} of {n_frames} frames" if number else f"before {start:.10g} s"
                or_late = "" if number else "; or timestamps do not count from the episode's start"
                raise DataError(
                    f"{whose}: '{self.path}' ends {ends}; the file is cut short or belongs to another episode, copy or "
                    f"record it again{or_late}"
                )
            expected = start + number / fps
            if abs(self._frame.time - expected) > tolerance:
                rate = float(self._stream.average_rate or 0)
                raise DataError(
                    f"{whose}: frame {number} lies at {self._frame.time:.4f} s of '{self.path}', expected "
                    f"{expected:.4f} s; the video has {rate:g} frames/s, the data set {fps:g}: leave the episode out "
                    "or record it again"
                )
            if self._frame.is_corrupt:  # FFmpeg would go on with a picture that it made up
                raise DataError(f"{whose}: frame {number}: {_damaged(self.path)}")
            if number % every == 0:
                yield self._frame.to_ndarray(format=self._pixel_format, **_CONVERSION)
            self._frame = self._advance()

    def _seek(self, time: float) -> None:
        """Make the first frame at or after a time the next one."""
        base = self._stream.time_base
        assert base is not None
        try:
            self._container.seek(max(0, int(time / base)), stream=self._stream)
        except av.FFmpegError as error:
            raise DataError(f"{_damaged(self.path)} ({error})") from error
        self._decoded = self._container.decode(self._stream)
        self._frame = self._advance()
        while self._frame is not None and self._frame.time < time:
            self._frame = self._advance()

    def _advance(self) -> av.VideoFrame | None:
        try:
            return next(self._decoded, None)
        except av.FFmpegError as error:
            raise DataError(f"{_damaged(self.path)} ({error})") from error


def _damaged(path: Path) -> str:
    return f"video '{path}' is damaged or not a video; copy or record it again"


def concatenate_videos(path: Path, parts: Sequence[tuple[Path, int]], fps: int) -> None:
    """Join videos of `encode_video` into one file without encoding again; frame n of all lies at n / fps exactly.

    Args:
        path: Where to.
        parts: Files with equal `stream_parameters`, in their order, each with how many of its frames to take.
        fps: Of all parts.

    Raises:
        DataError: If a part is damaged or has fewer frames, or the disk is full.
    """
    n_before = 0
    with write_atomically(path) as temporary, av.open(str(temporary), "w", format="mp4") as output:
        stream = None
        for part, n_frames in parts:
            with _open_part(part) as source:
                of = source.streams.video[0]
                if stream is None:
                    stream = output.add_stream_from_template(of, opaque=True)
                assert of.time_base is not None
                offset = Fraction(n_before, fps) / of.time_base
                # MP4 time scales are multiples of a whole rate.
                assert offset.denominator == 1
                packets = [packet for packet in source.demux(of) if packet.size]  # the last one only flushes
                if len(packets) < n_frames:
                    raise DataError(f"'{part}' has {len(packets)} frames, expected {n_frames}; record it again")
                for packet in packets[:n_frames]:
                    assert packet.pts is not None
                    assert packet.dts is not None
                    packet.pts += offset.numerator
                    packet.dts += offset.numerator
                    packet.stream = stream
                    output.mux(packet)
            n_before += n_frames


def stream_parameters(path: Path) -> tuple[str, bytes]:
    """Return what must agree for two videos to be joined: codec and its header.

    Raises:
        DataError: If the file is damaged.
    """
    with _open_part(path) as container:
        context = container.streams.video[0].codec_context
        return context.name, bytes(context.extradata or b"")


def _open_part(path: Path) -> av.container.InputContainer:
    try:
        return av.open(str(path))
    except (OSError, av.FFmpegError) as error:
        raise DataError(f"{_damaged(path)} ({error})") from error
