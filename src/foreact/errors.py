"""All errors that a user can cause and mend: those of the runtime, and those of what only training needs."""

from foreact_runtime.errors import (
    ActionError,
    CheckpointError,
    ConfigError,
    ForeactError,
    ObservationError,
    OutOfRangeError,
    UnreachableError,
    unknown_name,
)

__all__ = [
    "ActionError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "ForeactError",
    "MissingExtraError",
    "ObservationError",
    "OutOfRangeError",
    "SimulationError",
    "TrainingError",
    "UnreachableError",
    "unknown_name",
]


class DataError(ForeactError):
    """A data set is missing, damaged or contradicts itself."""


class TrainingError(ForeactError):
    """Training cannot go on, for example because the loss is not finite."""


class SimulationError(ForeactError):
    """The simulation cannot be set up or has no solution for what was asked."""


class MissingExtraError(ForeactError):
    """A command needs packages of an extra that is not installed."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"package '{package}' is not installed; type: pip install 'foreact[{extra}]'")
