"""A camera that always sees the same picture, made known to LeRobot as other people's cameras are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from lerobot.cameras import Camera, CameraConfig


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@CameraConfig.register_subclass("picture")
@dataclass(kw_only=True)
class PictureCameraConfig(CameraConfig): ...


class PictureCamera(Camera):
    def __init__(self, config: PictureCameraConfig) -> None:
        super().__init__(config)
        self._connected = False

    @property
    def is_connected(self) -> bool:
        return self._connected

    @staticmethod
    def find_cameras() -> list[dict[str, Any]]:
        return []

    def connect(self, warmup: bool = True) -> None:
        self._connected = True

    def read(self) -> np.ndarray:
        assert self._connected
        return picture(self.height, self.width)

    def async_read(self, timeout_ms: float = 200) -> np.ndarray:
        return self.read()

    def read_latest(self, max_age_ms: int = 500) -> np.ndarray:
        return self.read()

    def disconnect(self) -> None:
        self._connected = False
