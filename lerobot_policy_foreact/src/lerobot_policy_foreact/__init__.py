"""Foreact's policy in LeRobot. Importing this registers `--policy.type=foreact`, as LeRobot does with every plugin."""

from lerobot_policy_foreact.configuration_foreact import ForeactConfig

__all__ = ["ForeactConfig"]
