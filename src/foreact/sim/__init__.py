"""The simulated pick-and-place task: `gymnasium.make("foreact/PickPlace-v0", task="L1")`.

Importing this registers the environment, yet imports neither gymnasium nor MuJoCo: the command line builds its
options from `foreact.sim.task` and must answer at once.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

ENV_ID = "foreact/PickPlace-v0"


def register() -> None:
    """Tell gymnasium about the environment; more than once is fine."""
    import gymnasium

    if ENV_ID not in gymnasium.registry:
        gymnasium.register(ENV_ID, entry_point="foreact.sim.env:PickPlaceEnv")


class _RegisterWhenImported(MetaPathFinder):
    """Registers the environment once gymnasium has been imported, whichever of the two is imported first."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "gymnasium":
            return None
        sys.meta_path.remove(self)
        spec = find_spec("gymnasium")
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                register()

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


if "gymnasium" in sys.modules:
    register()
else:
    sys.meta_path.insert(0, _RegisterWhenImported())
