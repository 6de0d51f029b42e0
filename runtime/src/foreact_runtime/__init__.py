"""What runs a policy on a robot: NumPy and onnxruntime, no torch."""

__version__ = "0.1.0"
