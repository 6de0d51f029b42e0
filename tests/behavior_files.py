"""BEHAVIOR-1K sets as the challenges' recorders leave them, made from FORMATS.md 4 and 5 with pyarrow and PyAV alone.

Every number, picture and depth map is known. The pictures are small; paths, columns, codecs, pixel formats and the
distance of key frames are the real ones.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FPS = 30
SIZES = {"left_wrist": 64, "right_wrist": 64, "head": 96}
"""Recorded square, 480, 480 and 720. Below 64 pixels, its largest block, libx265 writes beyond its memory."""
CAMERAS_2026 = {
    "left_wrist": "left_realsense_link_camera_0",
    "right_wrist": "right_realsense_link_camera_0",
    "head": "zed_link_camera_0",
}
EPISODES_2025 = {10: 262, 10031: 20, 20010: 16}
"""Length by index, which is task * 10000 + instance * 10 + trial. The first has two groups of 250 pictures."""
EPISODES_2026 = {0: 20, 1: 31, 2: 16}
SHIFT = 3.5
FAR = 10.0
PLACES = {
    256: "253:256 236:240 158:165 193:195 197:204 232:234 186:189 189:193 225:228 228:232",
    61: "0:3 53:57 3:10 24:26 28:35 49:51 17:20 20:24 42:45 45:49",
}
"""FORMATS.md 4.1 and 4.2 in the order of 4.3: base, torso, left arm and fingers, right ones, left hand, right hand."""
FINGERS = (3, 5)
_QUIET = "log-level=none:pools=none"


def proprioception_of(index: int, length: int, dim: int) -> np.ndarray:
    """Numbers that differ in every place but stay within joint ranges; fingers between 0 and 0.05 m."""
    values = np.random.default_rng(index + dim).uniform(0.06, 0.3, (length, dim))
    for start in {256: (193, 232), 61: (24, 49)}[dim]:
        values[:, start : start + 2] = np.linspace(0, 0.05, length)[:, None] * [0.9, 1.0]
    return values.astype(np.float32)


def state_by_hand(proprioception: np.ndarray) -> np.ndarray:
    """The 37 numbers of the preset `r1pro` (L, 37), from their places in the tables."""
    places = [place.split(":") for place in PLACES[proprioception.shape[1]].split()]
    parts = [proprioception[:, int(start) : int(stop)] for start, stop in places]
    for place in FINGERS:
        parts[place] = (parts[place][:, :1] + parts[place][:, 1:]) / 2
    return np.concatenate(parts, axis=1)


def action_of(index: int, length: int) -> np.ndarray:
    values = np.random.default_rng(index).uniform(-0.5, 0.3, (length, 23))
    values[:, [14, 22]] = np.where(np.arange(length)[:, None] < length // 2, -1.0, 1.0)
    return values.astype(np.float32)


def picture_of(camera: str, index: int, step: int) -> np.ndarray:
    """A slope of grey whose level tells episode and camera, and a stripe that moves with the step."""
    size = SIZES[camera]
    slope = np.linspace(40, 120, size)[:, None, None] + 10 * (index % 4) + 15 * list(SIZES).index(camera)
    picture = np.broadcast_to(slope, (size, size, 3)).copy()
    picture[:, (step * 4) % size : (step * 4) % size + 4] += 70
    return picture.astype(np.uint8)


def depth_of(camera: str, index: int, step: int) -> np.ndarray:
    """Metres 0 to 10, rolled by one row a step, so that all distances occur in every picture."""
    size = SIZES[camera]
    return np.roll(np.linspace(0, FAR, size * size).reshape(size, size), index % 7 + step, axis=0)


def quantise(metres: np.ndarray, near: float, max_code: int) -> np.ndarray:
    """BEHAVIOR's logarithmic codes (FORMATS.md 4.8)."""
    low, high = np.log(near + SHIFT), np.log(FAR + SHIFT)
    return np.rint(max_code * (np.log(np.maximum(metres, near) + SHIFT) - low) / (high - low)).astype(np.uint16)


def write_video(
    path: Path, frames: Iterable[np.ndarray], *, gop: int, written: str, stored: str, x265: str = "", **options: str
) -> None:
    """Encode with libx265 and its B frames, from the pixel format of the arrays to that of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options |= {"g": str(gop), "preset": "ultrafast", "x265-params": f"{_QUIET}{x265}"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=FPS, options=options)
        stream.pix_fmt = stored
        for number, array in enumerate(frames):
            if number == 0:
                stream.height, stream.width = array.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format=written)))
        container.mux(stream.encode())


def write_2025(root: Path, episodes: Mapping[int, int] = EPISODES_2025, proprioception: int = 256) -> Path:
    """Write a set like `2025-challenge-demos`, without the videos of instance ids, which nobody needs here."""
    features: dict[str, Any] = {}
    for kind, third in (("rgb", "rgb"), ("depth", "depth"), ("seg_instance_id", "rgb")):
        for camera, size in SIZES.items():
            is_depth = kind == "depth"
            features[f"observation.images.{kind}.{camera}"] = {
                "dtype": "video",
                "shape": [size, size, 3],
                "names": ["height", "width", third],
                "info": {
                    "video.fps": 30.0,
                    "video.height": size,
                    "video.width": size,
                    "video.channels": 3,
                    "video.codec": "libx265",
                    "video.pix_fmt": "yuv420p16le" if is_depth else "yuv420p",
                    "video.is_depth_map": is_depth,
                    "has_audio": False,
                },
            }
    numbers = {"action": ("float32", 23), "timestamp": ("float64", 1), "episode_index": ("int64", 1)}
    numbers |= {"index": ("int64", 1), "observation.cam_rel_poses": ("float32", 21)}
    numbers |= {"observation.state": ("float32", proprioception)}
    features |= {key: {"dtype": dtype, "shape": [dim], "names": None} for key, (dtype, dim) in numbers.items()}
    features["observation.task_info"] = {"dtype": "float32", "shape": [None], "names": None}
    tasks = sorted({index // 10000 for index in episodes})
    names = {task: f"task number {task}" for task in tasks}
    info: dict[str, Any] = {
        "codebase_version": "v2.1",
        "robot_type": "R1Pro",
        "total_episodes": len(episodes),
        "total_frames": sum(episodes.values()),
        "total_tasks": len(tasks),
        "total_videos": 9 * len(episodes),
        "chunks_size": 10000,
        "fps": FPS,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": "data/task-{episode_chunk:04d}/episode_{episode_index:08d}.parquet",
        "video_path": "videos/task-{episode_chunk:04d}/{video_key}/episode_{episode_index:08d}.mp4",
        "metainfo_path": "meta/episodes/task-{episode_chunk:04d}/episode_{episode_index:08d}.json",
        "annotation_path": "annotations/task-{episode_chunk:04d}/episode_{episode_index:08d}.json",
        "features": features,
    }
    _json(root / "meta/info.json", info)
    _lines(root / "meta/tasks.jsonl", [{"task_index": task, "task": name} for task, name in names.items()])
    of = [{"episode_index": i, "tasks": [names[i // 10000]], "length": length} for i, length in episodes.items()]
    _lines(root / "meta/episodes.jsonl", of)
    stats = {"action": {"min": [-1.0] * 23, "max": [1.0] * 23, "mean": [0.0] * 23, "std": [1.0] * 23, "count": [1]}}
    _lines(root / "meta/episodes_stats.jsonl", [{"episode_index": index, "stats": stats} for index in episodes])
    for index, length in episodes.items():
        place = {"episode_chunk": index // 10000, "episode_index": index}
        _json(root / info["metainfo_path"].format(**place), {"task_obs_keys": [], "ins_id_mapping": "{}"})
        _json(root / info["annotation_path"].format(**place), {"meta_data": {"task_duration": length}})
        _write_rows_2025(root / info["data_path"].format(**place), index, length, proprioception)
        for camera in SIZES:
            video = {kind: f"observation.images.{kind}.{camera}" for kind in ("rgb", "depth")}
            path = {kind: root / info["video_path"].format(video_key=key, **place) for kind, key in video.items()}
            pictures = (picture_of(camera, index, step) for step in range(length))
            write_video(path["rgb"], pictures, gop=250, written="rgb24", stored="yuv420p")
            codes = (quantise(depth_of(camera, index, step), 0.0, 16383) for step in range(length))
            write_video(path["depth"], codes, gop=250, written="gray16le", stored="yuv420p10le", x265=":lossless=1")
    return root


def _write_rows_2025(path: Path, index: int, length: int, proprioception: int) -> None:
    """`index` restarts, there is no `frame_index`, times are float64, and the task's own vector is as long as its."""
    state = np.zeros((length, 258), np.float32)
    state[:, : min(proprioception, 256)] = proprioception_of(index, length, 256)
    columns = {
        "index": pa.array(np.arange(length)),
        "episode_index": pa.array(np.full(length, index)),
        "task_index": pa.array(np.full(length, index // 10000)),
        "timestamp": pa.array(np.arange(length) / FPS),
        "observation.state": _fixed(state[:, :proprioception]),
        "observation.cam_rel_poses": _fixed(np.zeros((length, 21), np.float32)),
        "action": _fixed(action_of(index, length)),
        "observation.task_info": pa.array([[0.5] * (3 + index % 5)] * length, pa.list_(pa.float32())),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def write_2026(root: Path, episodes: Mapping[int, int] = EPISODES_2026) -> Path:
    """Write a set like `2026-challenge-demos`: several episodes a file; depth in both pixel formats that occur."""
    stored = {"left_wrist": "yuv420p12le", "right_wrist": "gray12le", "head": "gray12le"}
    features: dict[str, Any] = {}
    for camera, name in CAMERAS_2026.items():
        size = SIZES[camera]
        axes = {"dtype": "video", "names": ["height", "width", "channels"]}
        depth = {"is_depth_map": True, "video.pix_fmt": stored[camera], "video.codec": "hevc"}
        features |= {
            f"observation.rgb.{name}": {**axes, "shape": [size, size, 3], "info": {"video.codec": "hevc"}},
            f"observation.depth_linear.{name}": {**axes, "shape": [size, size, 1], "info": depth},
            f"observation.robot2cam_pose.{name}": {"dtype": "float32", "shape": [7], "names": None},
        }
    numbers = {"observation.state": ("float32", 61), "action": ("float32", 23), "next.reward": ("float32", 1)}
    numbers |= {"next.terminated": ("bool", 1), "next.truncated": ("bool", 1), "timestamp": ("float32", 1)}
    numbers |= {key: ("int64", 1) for key in ("frame_index", "episode_index", "index", "task_index")}
    features |= {key: {"dtype": dtype, "shape": [dim], "names": None} for key, (dtype, dim) in numbers.items()}
    place = {"chunk_index": 0, "file_index": 0}
    info: dict[str, Any] = {
        "codebase_version": "v3.0",
        "fps": FPS,
        "features": features,
        "total_episodes": len(episodes),
        "total_frames": sum(episodes.values()),
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "robot_type": "R1Pro",
        "splits": {"train": f"0:{len(episodes)}"},
        "cam_intrinsics": {},
        "omnigibson_git_hash": "0" * 40,
    }
    _json(root / "meta/info.json", info)
    pq.write_table(pa.table({"task_index": [0], "task": ["turning_on_radio"]}), root / "meta/tasks.parquet")
    rows, tables, first = [], [], 0
    videos = [key for key, spec in features.items() if spec["dtype"] == "video"]
    for index, length in episodes.items():
        row: dict[str, Any] = {"episode_index": index, "tasks": ["turning_on_radio"], "length": length}
        row |= {"data/chunk_index": 0, "data/file_index": 0}
        row |= {"dataset_from_index": first, "dataset_to_index": first + length}
        for key in videos:
            row |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": 0}
            row |= {f"videos/{key}/from_timestamp": first / FPS, f"videos/{key}/to_timestamp": (first + length) / FPS}
        rows.append(row)
        tables.append(_rows_2026(index, length, first))
        first += length
    episodes_path = root / "meta/episodes/chunk-000/file-000.parquet"
    data_path = root / info["data_path"].format(**place)
    for path in (episodes_path, data_path):
        path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), episodes_path)
    with pq.ParquetWriter(data_path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    for camera, name in CAMERAS_2026.items():
        rgb_key, depth_key = f"observation.rgb.{name}", f"observation.depth_linear.{name}"
        path_of = {key: root / info["video_path"].format(video_key=key, **place) for key in (rgb_key, depth_key)}
        steps = [(index, step) for index, length in episodes.items() for step in range(length)]
        pictures = (picture_of(camera, *step) for step in steps)
        write_video(path_of[rgb_key], pictures, gop=8, written="rgb24", stored="yuv420p", crf="30")
        codes = (quantise(depth_of(camera, *step), 0.01, 4095) for step in steps)
        kept = stored[camera]
        write_video(path_of[depth_key], codes, gop=8, written="gray12le", stored=kept, x265=":bframes=0", crf="0")
    return root


def _rows_2026(index: int, length: int, first: int) -> pa.Table:
    columns = {
        "observation.state": _fixed(proprioception_of(index, length, 61)),
        "action": _fixed(action_of(index, length)),
        "next.reward": pa.array(np.zeros(length, np.float32)),
        "next.terminated": pa.array(np.arange(length) == length - 1),
        "next.truncated": pa.array(np.zeros(length, bool)),
        "timestamp": pa.array((np.arange(length) / FPS).astype(np.float32)),
        "frame_index": pa.array(np.arange(length)),
        "episode_index": pa.array(np.full(length, index)),
        "index": pa.array(first + np.arange(length)),
        "task_index": pa.array(np.zeros(length, np.int64)),
    }
    poses = {f"observation.robot2cam_pose.{name}": np.zeros((length, 7), np.float32) for name in CAMERAS_2026.values()}
    return pa.table(columns | {key: _fixed(value) for key, value in poses.items()})


def _fixed(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=4))


def _lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
