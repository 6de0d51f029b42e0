"""A small MuJoCo scene in ALOHA's shape: two arms of seven joints, four cameras, dm_env's time steps, 50 Hz."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from foreact.sim.backend import mujoco
from foreact.sim.rendering import SceneRenderer

CAMERAS = ("cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist")
SIZE = (32, 48)
FPS = 50
_AXES = ("0 0 1", "0 1 0", "0 1 0", "1 0 0", "0 1 0", "1 0 0")
"""Of waist, shoulder, elbow, forearm roll, wrist angle and wrist rotate."""


def _arm(side: str, y: float) -> str:
    opened = f'<body name="{side}" pos="0 {y} 0.1">'
    for number, axis in enumerate(_AXES):
        opened += (
            f'<joint name="{side}_{number}" type="hinge" axis="{axis}" range="-1.5 1.5" damping="2" armature="0.1"/>'
            '<geom type="capsule" fromto="0 0 0 0.08 0 0" size="0.02" mass="0.1"/><body pos="0.08 0 0">'
        )
    hand = (
        f'<joint name="{side}_6" type="slide" axis="0 1 0" range="0 1" damping="2" armature="0.1"/>'
        f'<geom type="box" size="0.02 0.005 0.01" mass="0.05"/><camera name="cam_{side}_wrist" pos="-0.1 0 0.1"/>'
    )
    return opened + hand + "</body>" * (len(_AXES) + 1)


XML = f"""
<mujoco>
  <option timestep="0.005" gravity="0 0 0"/>
  <visual><quality shadowsize="0" offsamples="0"/></visual>
  <worldbody>
    <light pos="0 0 2" castshadow="false"/>
    <geom type="plane" size="1 1 0.1" rgba="0.4 0.5 0.6 1" contype="0" conaffinity="0"/>
    <camera name="cam_high" pos="0.3 0 1.5"/>
    <camera name="cam_low" pos="1.5 0 0.3" xyaxes="0 1 0 0 0 1"/>
    {_arm("left", 0.3)}{_arm("right", -0.3)}
  </worldbody>
  <actuator>
    {"".join(f'<position joint="{side}_{number}" kp="50"/>' for side in ("left", "right") for number in range(7))}
  </actuator>
</mujoco>
"""


class TimeStep(NamedTuple):
    """dm_env's, as far as a loop needs it."""

    observation: dict[str, Any]


class TwoArms:
    """Goes towards what it is told; remembers what it showed and what it was told."""

    def __init__(self) -> None:
        self._model = mujoco.MjModel.from_xml_string(XML)
        self._data = mujoco.MjData(self._model)
        self._renderer = SceneRenderer(self._model, height=SIZE[0], width=SIZE[1])
        self.shown: list[dict[str, Any]] = []
        self.told: list[np.ndarray] = []

    def reset(self) -> TimeStep:
        mujoco.mj_resetData(self._model, self._data)
        return self._look()

    def step(self, action: np.ndarray) -> TimeStep:
        self.told.append(action)
        self._data.ctrl[:] = action
        mujoco.mj_step(self._model, self._data, round(1 / FPS / self._model.opt.timestep))
        return self._look()

    def close(self) -> None:
        self._renderer.close()

    def _look(self) -> TimeStep:
        mujoco.mj_forward(self._model, self._data)
        images = {camera: self._renderer.render(self._model, self._data, camera, SIZE) for camera in CAMERAS}
        self.shown.append({"qpos": self._data.qpos.astype(np.float32), "images": images})
        return TimeStep(self.shown[-1])
