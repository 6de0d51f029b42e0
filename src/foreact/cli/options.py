"""From a typed dataclass to command-line options, with the nearest name for a misspelt one."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar, get_type_hints

import tyro

from foreact.errors import ConfigError, unknown_name

OptionsT = TypeVar("OptionsT")


def parse(options: type[OptionsT], arguments: list[str], *, command: str, default: OptionsT | None = None) -> OptionsT:
    """Return the options that the arguments describe.

    Args:
        options: A dataclass; its fields' docstrings become the help.
        arguments: What stands behind the command.
        command: For the usage line.
        default: Where the defaults come from, if not from the class.

    Raises:
        ConfigError: If an option is unknown; the nearest is suggested.
    """
    kwargs: dict[str, Any] = {} if default is None else {"default": default}
    parsed, unknown = tyro.cli(
        options, args=arguments, prog=f"foreact {command}", return_unknown_args=True, use_underscores=False, **kwargs
    )
    if unknown:
        flag = next((word for word in unknown if word.startswith("--")), unknown[0]).partition("=")[0]
        if not flag.startswith("--"):
            raise ConfigError(f"unexpected argument '{flag}'; see foreact {command} --help")
        message = unknown_name("option", flag, _flags(options)).partition(" choices:")[0].rstrip(";")
        raise ConfigError(f"{message}; see foreact {command} --help")
    return parsed


def given(**options: Any) -> dict[str, Any]:
    """Return the options that somebody gave: those that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def value_of(arguments: list[str], flag: str) -> str | None:
    """Return what stands behind a flag, as `--flag VALUE` or `--flag=VALUE`; None where it is not there.

    For options that decide the defaults of the others and so are read first.
    """
    for word, following in zip(arguments, [*arguments, ""][1:], strict=True):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


def _flags(options: Any, prefix: str = "--") -> list[str]:
    """Every option's name, nested dataclasses included."""
    hints = get_type_hints(options)
    names = []
    for field in dataclasses.fields(options):
        name = prefix + field.name.replace("_", "-")
        if dataclasses.is_dataclass(hints[field.name]):
            names += _flags(hints[field.name], f"{name}.")
        else:
            names.append(name)
    return names
