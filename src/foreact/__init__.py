"""Foreact: imitation learning for robot arms with ACT, Action Chunking with Transformers.

The public surface is small on purpose::

    from foreact import load_policy

    policy = load_policy("runs/quickstart")
    policy.reset()
    action = policy.act(observation)

Everything heavy (torch, MuJoCo, Lightning) is imported only by what needs it.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load_policy"]

if TYPE_CHECKING:
    from foreact.deploy.load import load_policy


def __getattr__(name: str) -> Any:
    if name == "load_policy":
        from foreact.deploy.load import load_policy

        return load_policy
    raise AttributeError(f"module 'foreact' has no attribute {name!r}")
