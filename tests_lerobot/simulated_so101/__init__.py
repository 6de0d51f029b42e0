"""An SO-101 without the arm: six servos on a serial port that LeRobot's own classes talk to, and a camera."""

from simulated_so101.camera import PictureCamera, PictureCameraConfig, picture
from simulated_so101.servos import MOTORS, RANGES, Servos, write_calibration

__all__ = ["MOTORS", "RANGES", "PictureCamera", "PictureCameraConfig", "Servos", "picture", "write_calibration"]
