"""YAML that a person writes: read as usual, but a key that stands twice is refused."""

import re
from pathlib import Path

import pytest

from foreact.data.yaml_file import read_yaml
from foreact.errors import DataError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "robot.yaml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("- 3\n- {a: [1.5, é]}\n", [3, {"a": [1.5, "é"]}]),
        ("a: {x: 1}\nb: {x: 1}\n", {"a": {"x": 1}, "b": {"x": 1}}),
        ("1: whole\n'1': text\n", {1: "whole", "1": "text"}),
        ("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: {<<: *a}\n", {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}),
    ],
)
def test_a_file_holds_what_it_says(path: Path, text: str, expected: object) -> None:
    path.write_text(text, encoding="utf-8")
    content = read_yaml(path)
    if isinstance(content, dict) and "c" in content:
        assert content.pop("c") == content["a"]
    assert content == expected


@pytest.mark.parametrize(
    ("text", "key", "line", "first"),
    [
        ("cameras:\n  overhead: 1\narm: so101\ncameras:\n  wrist: 2\n", "cameras", 4, 1),
        ("cameras:\n  wrist: 1\n\n  'wrist': 2\n", "wrist", 4, 2),
        ("a: [{b: 1}, {b: 1,\n b: 2}]\n", "b", 2, 1),
        ("a: &a {b: 1, b: 2}\nc: *a\n", "b", 1, 1),
    ],
)
def test_a_key_that_stands_twice_is_refused_wherever_it_is(
    path: Path, text: str, key: str, line: int, first: int
) -> None:
    path.write_text(text)
    begin = f"'{path}', line {line}: the key '{key}' stands there already, in line {first}; "
    with pytest.raises(DataError, match=f"^{re.escape(begin)}[^\n]+$"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", r"robot.yaml' is not YAML: .* line "),
        (b"a: *nothing", r"robot.yaml' is not YAML: .*undefined alias"),
        (b"[1]: 2\n? [1]\n: 3\n", r"robot.yaml' is not YAML: .*unhashable key"),
        (b"a: !!python/object:os.system {}", r"robot.yaml' is not YAML: .*python/object"),
        (b"a: \xff\xfe", r"robot.yaml' cannot be read \("),
    ],
)
def test_what_is_no_yaml_is_one_clear_line(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_yaml(path)
    assert "\n" not in str(error.value)


def test_a_folder_cannot_be_read_and_a_missing_file_is_the_callers_to_explain(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_yaml(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_yaml(tmp_path / "none.yaml")
