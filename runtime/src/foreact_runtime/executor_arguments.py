"""The command line's words for how chunks are executed and guarded, where there is no tyro."""

from __future__ import annotations

import argparse
from inspect import signature
from typing import Any, get_args

from foreact_runtime.alarm import OnAlarm
from foreact_runtime.settings import overrides_of


def add_executor_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the options that `executor_overrides` reads."""
    parser.add_argument("--n-action-steps", type=int, help="actions executed before the next chunk takes over")
    parser.add_argument("--temporal-ensemble-coeff", type=float, help="average all chunks; needs --n-action-steps 1")
    parser.add_argument("--no-ensemble", action="store_true", help="execute a queue")
    parser.add_argument("--asynchronous", action="store_true", help="compute a chunk while the one before is executed")
    parser.add_argument("--synchronous", action="store_true", help="wait for each chunk")
    parser.add_argument("--blend-steps", type=int, help="ticks over which one chunk goes over into the next")
    parser.add_argument("--on-alarm", choices=get_args(OnAlarm), help="where an observation is far outside of the data")
    parser.add_argument("--limit-margin", type=float, help="by how much of the data's range limits are wider")
    parser.add_argument("--no-limits", action="store_true", help="limit only what the configuration declares")
    for kind, unit in (("position", "lower upper"), ("velocity", "in unit/s"), ("jump", "in unit/s")):
        words = f"declared, instead of the data's: {unit} for each dimension of the action; inf for none"
        parser.add_argument(f"--{kind}-limits", type=float, nargs="+", help=words)


def executor_overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Return what was given, as `load_policy` takes it.

    Raises:
        ConfigError: If two options contradict each other.
    """
    return overrides_of(**{name: getattr(options, name) for name in signature(overrides_of).parameters})
