"""A YAML file that a person writes, read so that nothing in it is lost silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from foreact.errors import DataError


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds; None where it is empty.

    Raises:
        FileNotFoundError: If there is none; what makes such a file is the caller's to say.
        DataError: If it cannot be read, is not YAML, or has a key twice; the message is one line and names the file.
    """
    try:
        with path.open(encoding="utf-8") as file:
            return yaml.load(file, Loader=_UniqueKeys)
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{path}' cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise DataError(f"'{path}' is not YAML: {' '.join(str(error).split())}") from error


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML's safe loader keeps the last of two equal keys without a word; this one refuses them.

    It looks at the keys that are written in a mapping, not at those that `<<` adds, which may be overridden.
    """

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            mark, name = key.start_mark, (key.tag, key.value)
            if name in lines:
                raise DataError(
                    f"'{mark.name}', line {mark.line + 1}: the key '{key.value}' stands there already, in line "
                    f"{lines[name]}; write what belongs to it under that one, or take one of the two out"
                )
            lines[name] = mark.line + 1
        return node
