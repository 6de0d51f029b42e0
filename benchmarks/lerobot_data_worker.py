"""LeRobot's side of `data_speed.py`: writes a data set, reads it as `lerobot-train` does, and measures the time.

    .venv-lerobot/bin/python benchmarks/lerobot_data_worker.py

A request is a line of JSON, so is its answer; it runs in LeRobot's environment, which has no `foreact`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from moving_pictures import moving_pictures

CAMERAS = ("top", "wrist")
DIM = 6
_ENDLESS = 10**7
"""Samples; more than anybody waits for."""
_DRAINED = 3
"""Batches that may lie ready from the pause before."""


def write(
    root: str,
    *,
    height: int,
    width: int,
    episodes: int,
    frames: int,
    fps: int,
    seed: int,
    cameras: Sequence[str] = CAMERAS,
    codec: str | None = None,
) -> dict[str, Any]:
    """Write cameras and six joints with LeRobot's encoder: AV1, or another codec with a key frame every 250."""
    from lerobot.configs.video import RGBEncoderConfig
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    names = [f"joint_{i}" for i in range(DIM)]
    features: dict[str, Any] = {
        key: {"dtype": "float32", "shape": (DIM,), "names": names} for key in ("observation.state", "action")
    }
    picture = {"dtype": "video", "shape": (height, width, 3), "names": ["height", "width", "channels"]}
    features |= {f"observation.images.{camera}": dict(picture) for camera in cameras}
    encoder = {} if codec is None else {"rgb_encoder": RGBEncoderConfig(vcodec=codec, g=250)}
    dataset = LeRobotDataset.create("local/speed", fps=fps, features=features, root=root, **encoder)
    rng = np.random.default_rng(seed)
    for episode in range(episodes):
        path = rng.normal(size=(frames + 1, DIM)).cumsum(axis=0).astype(np.float32)
        pictures = [moving_pictures(frames, height, width, 10 * episode + n) for n in range(len(cameras))]
        for step, shown in enumerate(zip(*pictures, strict=True)):
            images = {f"observation.images.{camera}": of for camera, of in zip(cameras, shown, strict=True)}
            dataset.add_frame({"observation.state": path[step], "action": path[step + 1], "task": "move", **images})
        dataset.save_episode()
    dataset.finalize()
    videos = list(Path(root).rglob("*.mp4"))
    return {"bytes_a_picture": sum(path.stat().st_size for path in videos) / (len(cameras) * episodes * frames)}


class Reader:
    """A data set as `lerobot-train` opens it for ACT: a chunk of actions, one observation, pictures as uint8."""

    def __init__(self, root: str, *, chunk: int, batch: int, backend: str) -> None:
        import torch
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        fps = LeRobotDataset("local/speed", root=root).fps
        self._dataset = LeRobotDataset(
            "local/speed",
            root=root,
            delta_timestamps={"action": [step / fps for step in range(chunk)]},
            video_backend=backend,
            return_uint8=True,
        )
        self._batch = batch
        endless = torch.utils.data.RandomSampler(self._dataset, replacement=True, num_samples=_ENDLESS)
        loader = torch.utils.data.DataLoader(self._dataset, batch_size=batch, sampler=endless, num_workers=1)
        self._loader = loader
        self._batches: Iterator[Any] | None = None

    def samples(self, batches: int) -> dict[str, Any]:
        """Return the seconds that some batches of one loader process take."""
        if self._batches is None:
            self._batches = iter(self._loader)
        for _ in range(_DRAINED):
            next(self._batches)
        begun = time.perf_counter()
        for _ in range(batches):
            next(self._batches)
        return {"seconds": time.perf_counter() - begun}

    def epoch(self) -> dict[str, Any]:
        """Return the seconds that all frames in random order take, with the start of the loader process."""
        import torch

        loader = torch.utils.data.DataLoader(self._dataset, batch_size=self._batch, shuffle=True, num_workers=1)
        begun = time.perf_counter()
        n = sum(len(batch["action"]) for batch in loader)
        return {"seconds": time.perf_counter() - begun, "samples": n}

    def save(self, indices: list[int], path: str) -> dict[str, Any]:
        """Write some samples to an npz file."""
        items = [self._dataset[index] for index in indices]
        keys = ("action", "action_is_pad", "observation.state", *(f"observation.images.{of}" for of in CAMERAS))
        np.savez(path, **{key: np.stack([item[key].numpy() for item in items]) for key in keys})
        return {}

    def close(self) -> dict[str, Any]:
        """End the loader process."""
        self._batches = None
        return {}


def main() -> None:
    """Answer until the pipe closes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    import lerobot
    from lerobot.utils.import_utils import get_safe_default_video_backend

    print(
        json.dumps({"version": lerobot.__version__, "backend": get_safe_default_video_backend()}),
        file=answers,
        flush=True,
    )
    readers: dict[str, Reader] = {}
    for line in sys.stdin:
        request = json.loads(line)
        do, name = request.pop("do"), request.pop("name", "")
        if do == "write":
            shutil.rmtree(request["root"], ignore_errors=True)
            answer = write(**request)
        elif do == "open":
            readers[name] = Reader(**request)
            answer = {}
        else:
            answer = getattr(readers[name], do)(**request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
