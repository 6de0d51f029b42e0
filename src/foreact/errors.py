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


class DataError(ForeactError):
    """A data set is missing, damaged or contradicts itself."""


class CheckpointError(ForeactError):
    """A checkpoint directory is missing, incomplete or altered."""


class ObservationError(ForeactError):
    """An observation does not have the keys, shapes or types that the policy was trained with."""


class TrainingError(ForeactError):
    """Training cannot go on, for example because the loss is not finite."""


class SimulationError(ForeactError):
    """The simulation cannot be set up or has no solution for what was asked."""


class UnreachableError(ForeactError):
    """A hand pose that a policy asks for is beyond the arm's reach."""


class MissingExtraError(ForeactError):
    """A command needs packages of an extra that is not installed."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"package '{package}' is not installed; type: pip install 'foreact[{extra}]'")


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
