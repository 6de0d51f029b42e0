"""The MuJoCo model: the package's SO-101 on a table with a bowl, identical blocks and two cameras.

The arm's kinematics, inertias and pictures are the package's. Ours are: the servos' stiffness, a few boxes instead
of the meshes' convex hulls for contact, and everything on the table.
"""

import math

import numpy as np

from foreact.sim.backend import mujoco
from foreact.sim.meshes import robot_directory, robot_meshes
from foreact.sim.task import TaskConfig

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
ARM_JOINTS = JOINTS[:5]
ACTION_NAMES = tuple(f"{joint}.pos" for joint in JOINTS)
"""Names of the dimensions of action and state, as LeRobot spells them."""

BLOCK_SIZE = 0.025
"""Edge [m] of a block."""
BOWL_RADIUS = 0.055
"""Outer radius [m] of the bowl's rim."""
BOWL_HEIGHT = 0.035
"""Height [m] of the bowl's rim above the table."""
PARKED = (-1.5, 0.0)
"""Where blocks that an episode does not use are kept, out of sight."""

GRIP_IN_GRIPPER = (0.0046, -0.0002, -0.0960)
"""The gripper point in the frame of the body `gripper` [m]: the middle of a block that both pads hold."""
HOLD_ANGLE = 0.12
"""Angle [rad] of the gripper joint at which the pads are parallel and a block's width apart."""

WRIST_CAMERA = (0.004, 0.055, -0.015)
"""Where the wrist camera sits in the frame of the body `gripper` [m]: beside the palm."""
OVERHEAD_POSITION = (0.46, -0.020, 0.50)
"""Of the overhead camera [m]: in front of the arm, so that the gripper hides little of what is below it."""
OVERHEAD_TARGET = (0.175, -0.020, 0.0)
"""The point in the middle of its picture [m]."""
OVERHEAD_UP = (-1.0, 0.0, 0.0)
"""The arm's base is at the top of its picture."""
OVERHEAD_FOVY = 41.5
"""Vertical field of view [degrees]: bowl and workspace fill the width of a square picture."""

_PAD = (0.004, 0.007, 0.009)  # half sizes [m]
_TIMESTEP = 0.005  # [s] at most; the control period is a multiple of it


def build_model(task: TaskConfig, spare_blocks: int = 0) -> mujoco.MjModel:
    """Return the compiled scene for a task, with the bowl and the blocks at places that a reset overwrites.

    Args:
        task: Decides the number of blocks and the control rate that the physics step must divide.
        spare_blocks: More blocks than the task uses.
    """
    spec = _robot(meshes=True)
    steps = math.ceil(1.0 / task.fps / _TIMESTEP)
    spec.option.timestep = 1.0 / task.fps / steps
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10
    spec.option.iterations = 10
    # The pictures' cost is in triangles and samples, not in pixels: no multisampling, no shadows.
    spec.visual.quality.offsamples = 0
    spec.visual.quality.shadowsize = 0
    spec.visual.headlight.ambient = (0.35, 0.35, 0.35)
    spec.visual.headlight.diffuse = (0.3, 0.3, 0.3)
    spec.visual.headlight.specular = (0.0, 0.0, 0.0)
    spec.visual.map.znear = 0.01
    spec.stat.extent = 1.0
    _add_pads(spec)
    _add_table(spec)
    _add_bowl(spec)
    for index in range(1 + task.confusers[1] + spare_blocks):
        _add_block(spec, block_name(index))
    _add_cameras(spec)
    return spec.compile()


def build_arm() -> mujoco.MjModel:
    """Return the arm alone, without meshes and contacts, with the site `grip`: for kinematics."""
    return _robot(meshes=False).compile()


def block_name(index: int) -> str:
    """Return the name of a block's body, joint and geom; 0 is the target."""
    return f"block{index}"


def _robot(*, meshes: bool) -> mujoco.MjSpec:
    spec = mujoco.MjSpec.from_file(str(robot_directory() / "so101_new_calib.xml"))
    for geom in list(spec.geoms):
        collides = geom.classname.name != "visual"
        if collides or not meshes:
            spec.delete(geom)
    simplified = robot_meshes() if meshes else {}
    for mesh in list(spec.meshes):
        name = mesh.name or mesh.file.removesuffix(".stl")
        if not meshes:
            spec.delete(mesh)
            continue
        vertices, faces = simplified[name]
        mesh.name, mesh.file = name, ""
        mesh.uservert, mesh.userface = vertices.ravel(), faces.ravel()
    spec.body("gripper").add_site(name="grip", pos=GRIP_IN_GRIPPER, group=4)
    # With the package's gains (17.8) an outstretched arm hangs 2.6 degrees below its goal; with these, 0.24.
    for actuator in spec.actuators:
        _set_gains(actuator, *((20.0, 1.0) if actuator.name == "gripper" else (200.0, 8.0)))
    spec.actuator("gripper").forcerange = -0.6, 0.6  # about 8 N at the pads
    return spec


def _set_gains(actuator: mujoco.MjsActuator, kp: float, kv: float) -> None:
    actuator.gainprm[0] = kp
    actuator.biasprm[1:3] = -kp, -kv


def look_at(position: np.ndarray, target: np.ndarray, *, up: tuple[float, float, float]) -> np.ndarray:
    """Return the orientation (wxyz) of a camera that looks from a position to a target.

    Args:
        position: Of the camera (3,) [m].
        target: Point in the middle of its picture (3,) [m].
        up: Direction that points upwards in its picture.
    """
    backward = (position - target) / np.linalg.norm(position - target)
    right = np.cross(up, backward)
    right /= np.linalg.norm(right)
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, np.stack([right, np.cross(backward, right), backward], axis=1).ravel())
    return quaternion


def _add_pads(spec: mujoco.MjSpec) -> None:
    """Give the jaws the shapes that touch: two pads that are parallel on a block, the jaws above them, the palm."""
    gripper, jaw = spec.body("gripper"), spec.body("moving_jaw_so101_v1")
    turn, orientation = np.zeros(4), np.zeros(4)
    mujoco.mju_axisAngle2Quat(turn, np.array([0.0, 0.0, 1.0]), HOLD_ANGLE)
    mujoco.mju_mulQuat(orientation, np.asarray(jaw.quat), turn)
    mujoco.mju_negQuat(orientation, orientation)  # from the gripper's frame to the jaw's, at the holding angle

    def in_jaw(centre: tuple[float, float, float]) -> np.ndarray:
        position = np.zeros(3)
        mujoco.mju_rotVecQuat(position, np.asarray(centre) - np.asarray(jaw.pos), orientation)
        return position

    x, y, z = GRIP_IN_GRIPPER
    reach = BLOCK_SIZE / 2 + _PAD[0]
    # A block weighs so little that default contacts would let the jaws sink into it by millimetres.
    contact = {
        "friction": (1.5, 0.02, 0.001),
        "condim": 6,
        "priority": 1,
        "solref": (0.01, 1.0),
        "solimp": (0.95, 0.99, 0.001, 0.5, 2.0),
    }
    pad = {"size": _PAD, "rgba": (0.15, 0.15, 0.15, 1.0), **contact}
    hidden = {"group": 3}
    box = mujoco.mjtGeom.mjGEOM_BOX
    gripper.add_geom(name="fixed_pad", type=box, pos=(x - reach, y, z), **pad)
    gripper.add_geom(type=box, pos=(-0.0220, y, -0.066), size=(0.009, 0.009, 0.021), **hidden)
    gripper.add_geom(type=box, pos=(-0.0020, y, -0.022), size=(0.033, 0.026, 0.022), **hidden)
    jaw.add_geom(name="moving_pad", type=box, pos=in_jaw((x + reach, y, z)), quat=orientation, **pad)
    jaw.add_geom(type=box, pos=in_jaw((0.0300, y, -0.066)), quat=orientation, size=(0.007, 0.009, 0.021), **hidden)


def _add_table(spec: mujoco.MjSpec) -> None:
    spec.worldbody.add_geom(
        name="table", type=mujoco.mjtGeom.mjGEOM_PLANE, size=(2.0, 2.0, 0.1), rgba=(0.80, 0.78, 0.74, 1.0)
    )
    spec.worldbody.add_light(name="sun", pos=(0.3, 0.3, 1.2), dir=(-0.1, -0.25, -1.0), diffuse=(0.55, 0.55, 0.55))


def _add_bowl(spec: mujoco.MjSpec) -> None:
    """A flat floor and a ring of plates that lean outwards."""
    bowl = spec.worldbody.add_body(name="bowl")
    color = (0.75, 0.28, 0.22, 1.0)
    floor_radius, thickness, plates = 0.038, 0.0015, 16
    bowl.add_geom(
        name="bowl", type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=(floor_radius, thickness, 0), pos=(0, 0, thickness),
        rgba=color,
    )  # fmt: skip
    lean = math.atan2(BOWL_RADIUS - floor_radius, BOWL_HEIGHT)
    radius = (BOWL_RADIUS + floor_radius) / 2
    half_width = BOWL_RADIUS * math.tan(math.pi / plates)
    half_height = math.hypot(BOWL_HEIGHT, BOWL_RADIUS - floor_radius) / 2
    for index in range(plates):
        angle = 2 * math.pi * index / plates
        around, outward, orientation = np.zeros(4), np.zeros(4), np.zeros(4)
        mujoco.mju_axisAngle2Quat(around, np.array([0.0, 0.0, 1.0]), angle)
        mujoco.mju_axisAngle2Quat(outward, np.array([0.0, 1.0, 0.0]), lean)
        mujoco.mju_mulQuat(orientation, around, outward)
        bowl.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=(thickness, half_width, half_height),
            pos=(radius * math.cos(angle), radius * math.sin(angle), BOWL_HEIGHT / 2),
            quat=orientation,
            rgba=color,
        )


def _add_block(spec: mujoco.MjSpec, name: str) -> None:
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=(BLOCK_SIZE / 2,) * 3,
        mass=0.02,
        friction=(1.0, 0.01, 0.001),
        condim=4,
        rgba=(0.10, 0.25, 0.85, 1.0),
    )


def _add_cameras(spec: mujoco.MjSpec) -> None:
    position, target = np.array(OVERHEAD_POSITION), np.array(OVERHEAD_TARGET)
    orientation = look_at(position, target, up=OVERHEAD_UP)
    spec.worldbody.add_camera(name="overhead", pos=position, quat=orientation, fovy=OVERHEAD_FOVY)
    # It looks past the jaws at what is below them: a block stays in view from the approach until it is let go.
    position = np.array(WRIST_CAMERA)
    orientation = look_at(position, position - np.array([0.0, 0.055, 0.11]), up=(0.0, 1.0, 0.0))
    spec.body("gripper").add_camera(name="wrist", pos=position, quat=orientation, fovy=60.0)
