"""A LeRobotDataset v2.1 made from FORMATS.md 1 with pyarrow and PyAV alone, every number and picture of it known.

It has what the wild has: gaps in the indices, two chunks, images declared in both orders, cameras of other names,
embedded PNG pictures, depth video, float64 times, and no `frame_index`.
"""

import io
import json
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

FPS = 10
EPISODES = {0: 12, 7: 9, 1003: 15}
"""Length by index."""
TASKS = {0: "pick the block", 7: "stack the cups", 1003: "pick the block"}
SIZES = {"observation.images.top": (48, 64), "observation.rgb.side": (32, 40), "observation.image": (24, 36)}
DEPTH = "observation.images.top_depth"
DEPTH_SIZE = (64, 96)
"""Below 64 pixels, its largest block, libx265 writes beyond its memory."""
NEAR, FAR, SHIFT = 0.01, 10.0, 3.5
DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def state_of(index: int) -> np.ndarray:
    return np.random.default_rng(index).normal(size=(EPISODES[index], 3)).astype(np.float32)


def action_of(index: int) -> np.ndarray:
    return np.stack([np.full(EPISODES[index], index), np.arange(EPISODES[index])], axis=1).astype(np.float32)


def picture_of(key: str, index: int, step: int) -> np.ndarray:
    """Grey that tells camera, episode and step apart, with a darker corner."""
    height, width = SIZES[key]
    picture = np.full((height, width, 3), 50 + 20 * list(SIZES).index(key) + 5 * (index % 5) + 10 * step, np.uint8)
    picture[: height // 2, : width // 2] -= 30
    return picture


def depth_of(index: int, step: int) -> np.ndarray:
    """Metres."""
    ramp = np.linspace(0.1, 6.0, DEPTH_SIZE[1]) + 0.2 * step + 0.1 * (index % 5)
    return np.broadcast_to(ramp, DEPTH_SIZE)


def codes_of(metres: np.ndarray) -> np.ndarray:
    low, high = np.log(NEAR + SHIFT), np.log(FAR + SHIFT)
    return np.rint(4095 * (np.log(metres + SHIFT) - low) / (high - low)).astype(np.uint16)


def write_v2(root: Path, *, data_path: str = DATA_PATH, video_path: str = VIDEO_PATH) -> Path:
    def picture(dtype: str, shape: list[int], names: list[str], **more: Any) -> dict[str, Any]:
        return {"dtype": dtype, "shape": shape, "names": names, **more}

    coded = {"is_depth_map": True, "video.depth_min": NEAR, "video.depth_max": FAR, "video.shift": SHIFT}
    features = {
        "observation.state": {"dtype": "float32", "shape": [3], "names": {"motors": ["lift", "bend", "grip"]}},
        "action": {"dtype": "float32", "shape": [2], "names": None},
        "observation.images.top": picture("video", [48, 64, 3], ["height", "width", "channel"]),
        "observation.rgb.side": picture("video", [3, 32, 40], ["channels", "height", "width"], video_info={}),
        "observation.image": picture("image", [3, 24, 36], ["channel", "height", "width"]),
        DEPTH: picture(
            "video", [*DEPTH_SIZE, 1], ["height", "width", "channels"], info={**coded, "video.use_log": True}
        ),
        **{name: {"dtype": "int64", "shape": [1], "names": None} for name in ("episode_index", "index", "task_index")},
        "timestamp": {"dtype": "float64", "shape": [1], "names": None},
    }
    names = sorted(set(TASKS.values()))
    info = {
        "codebase_version": "v2.1",
        "robot_type": "so100",
        "total_episodes": len(EPISODES),
        "total_frames": sum(EPISODES.values()),
        "total_tasks": len(names),
        "total_videos": 3 * len(EPISODES),
        "total_chunks": 2,
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": f"0:{len(EPISODES)}"},
        "data_path": data_path,
        "video_path": video_path,
        "features": features,
    }
    write_json(root / "meta/info.json", info)
    write_lines(root / "meta/tasks.jsonl", ({"task_index": i, "task": name} for i, name in enumerate(names)))
    write_lines(
        root / "meta/episodes.jsonl",
        ({"episode_index": i, "tasks": [TASKS[i]], "length": length} for i, length in EPISODES.items()),
    )
    stats = {"action": {"min": [0.0, 0.0], "max": [float("inf")] * 2, "mean": [0.0, 0.0], "std": [1.0, 1.0]}}
    write_lines(root / "meta/episodes_stats.jsonl", ({"episode_index": i, "stats": stats} for i in EPISODES))
    for index, length in EPISODES.items():
        place: dict[str, Any] = {"episode_chunk": index // 1000, "episode_index": index}
        path = root / data_path.format(**place)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows_of(index, names), path)
        for key in ("observation.images.top", "observation.rgb.side"):
            pictures = (picture_of(key, index, step) for step in range(length))
            write_video(root / video_path.format(video_key=key, **place), pictures)
        codes = (codes_of(depth_of(index, step)) for step in range(length))
        write_video(root / video_path.format(video_key=DEPTH, **place), codes)
    return root


def rows_of(index: int, tasks: list[str]) -> pa.Table:
    steps = np.arange(EPISODES[index])
    pictures = [{"bytes": png(picture_of("observation.image", index, int(s))), "path": f"{s}.png"} for s in steps]
    return pa.table(
        {
            "observation.state": pa.array(state_of(index).tolist(), pa.list_(pa.float32(), 3)),
            "action": pa.array(action_of(index).tolist(), pa.list_(pa.float32(), 2)),
            "observation.image": pa.array(pictures, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
            "timestamp": pa.array(steps / FPS, pa.float64()),
            "episode_index": np.full(len(steps), index),
            "index": steps,
            "task_index": np.full(len(steps), tasks.index(TASKS[index])),
        }
    )


def png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def write_video(path: Path, frames: Iterable[np.ndarray]) -> None:
    """H.264 with key frames far apart and B frames; 12 bits grey, lossless, for uint16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = None
        for array in frames:
            depth = array.dtype == np.uint16
            if stream is None:
                options = {"x265-params": "log-level=none:pools=none:lossless=1"} if depth else {"crf": "12"}
                options |= {"g": "250", "preset": "veryfast"}
                stream = container.add_stream("libx265" if depth else "libx264", rate=FPS, options=options)
                stream.pix_fmt = "gray12le" if depth else "yuv420p"
                stream.time_base = Fraction(1, FPS)
                stream.height, stream.width = array.shape[:2]
            frame = av.VideoFrame.from_ndarray(array, format="gray12le" if depth else "rgb24")
            container.mux(stream.encode(frame))
        assert stream is not None
        container.mux(stream.encode())


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_lines(path: Path, items: Iterable[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
