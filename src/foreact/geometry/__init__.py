"""Where hands and cameras are: kinematics, projection, and the hand's frame."""
