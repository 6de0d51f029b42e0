"""A trained policy for others: bundles, servers, LeRobot's and the original ACT's checkpoints."""
