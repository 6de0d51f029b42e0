"""What runs a policy on a robot: NumPy and onnxruntime, no torch.

from foreact_runtime import load_policy

policy = load_policy("bundle")
policy.reset()
action = policy.act(observation)
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load_policy"]

if TYPE_CHECKING:
    from foreact_runtime.policy import load_policy


def __getattr__(name: str) -> Any:
    if name == "load_policy":
        from foreact_runtime.policy import load_policy

        return load_policy
    raise AttributeError(f"module 'foreact_runtime' has no attribute {name!r}")
