"""Errors that name the offender, say what was expected and what to do.

The command line prints the message of a `ForeactError` as one line and exits with 1; any other exception is
a bug of ours and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class ForeactError(Exception):
    """Base of every error that a user can cause and mend."""


class ConfigError(ForeactError):
    """A preset, key or value of a configuration is wrong."""


class CheckpointError(ForeactError):
    """A checkpoint directory or a bundle is missing, incomplete or altered."""


class ObservationError(ForeactError):
    """An observation does not have the keys, shapes or types that the policy was trained with."""


class UnreachableError(ForeactError):
    """A hand pose that a policy asks for is beyond the arm's reach."""


class ServingError(ForeactError):
    """A server of policies cannot start or be reached, or a message to or from it is not what the protocol allows."""


class ActionError(ForeactError):
    """A policy asks for an action that is not finite."""


class OutOfRangeError(ForeactError):
    """An observation is far outside of what the policy was trained on, and the alarm is to stop the robot."""


class MissingPackageError(ForeactError):
    """What was asked for needs a package that is not installed."""


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> str:
    """Return a message for a name that is not among the choices, with the nearest one suggested.

    Args:
        kind: What the name stands for, for example "preset".
        name: What was given.
        choices: Every name that would have been right.
    """
    known = sorted(choices)
    near = get_close_matches(name, known, n=1)
    hint = f" did you mean '{near[0]}'?" if near else ""
    return f"unknown {kind} '{name}';{hint} choices: {', '.join(known)}"
