"""Imports point down: each module imports only from floors below its own (docs/design.md)."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "foreact"
FLOORS = {
    "__main__": 9,
    "cli": 8,
    "studio": 7,
    "diagnose": 6,
    "inspection": 6,
    "sim": 5,
    "train": 5,
    "deploy": 5,
    "policy": 4,
    "data": 3,
    "model": 3,
    "geometry": 2,
    "normalizer": 2,
    "config": 1,
    "presets": 1,
    "records": 0,
    "errors": 0,
    "finding": 0,
    "page": 0,
    "processes": 0,
    "processor": 0,
    "memory": 0,
    "threads": 0,
    "console": 0,
    "intervals": 0,
}
RUNTIME = Path(__file__).parents[1] / "runtime" / "src" / "foreact_runtime"
"""The robot's part: a distribution of its own, below all floors."""
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def room(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> set[str]:
    """Every module named by an import statement, wherever it stands, as a dotted name."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the floor"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_module_stands_on_a_floor() -> None:
    assert {room(path.relative_to(SOURCE).parts) for path in MODULES} <= set(FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    own = room(path.relative_to(SOURCE).parts)
    for name in imported(ast.parse(path.read_text())):
        top, _, rest = name.partition(".")
        if top != "foreact" or not rest or rest == "__version__":
            continue
        other = room(tuple(rest.split(".")))
        if other in FLOORS and other != own:
            same_floor = FLOORS[other] == FLOORS[own]
            allowed = FLOORS[other] < FLOORS[own] or (same_floor and {own, other} <= {"config", "presets"})
            floor_zero = FLOORS[own] == 0 and same_floor
            assert allowed or floor_zero, f"{path.name} (floor {FLOORS[own]}) imports {name} (floor {FLOORS[other]})"


@pytest.mark.parametrize("room_name", ["sim", "cli"])
def test_light_rooms_import_no_deep_learning_at_the_top(room_name: str) -> None:
    """The simulation and the command line start without torch; sim/rollout.py alone may import it."""
    heavy = {"torch", "torchvision", "lightning"}
    for path in (SOURCE / room_name).glob("*.py"):
        if path.name == "rollout.py":
            continue
        body = ast.Module(body=ast.parse(path.read_text()).body, type_ignores=[])
        top_level = [node for node in body.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {name.split(".")[0] for node in top_level for name in imported(node)}
        assert not names & heavy, f"{path.name} imports {names & heavy}"


@pytest.mark.parametrize("path", sorted(RUNTIME.rglob("*.py")), ids=lambda path: path.name)
def test_the_runtime_knows_neither_torch_nor_foreact(path: Path) -> None:
    names = {name.split(".")[0] for name in imported(ast.parse(path.read_text()))}
    assert not names & {"torch", "torchvision", "lightning", "foreact"}
