"""The simulated pick-and-place task: `import foreact.sim`, then `gymnasium.make("foreact/PickPlace-v0", task="L1")`.

gymnasium belongs to the extra `sim`; without it the task's options can still be read.
"""

from importlib.util import find_spec

ENV_ID = "foreact/PickPlace-v0"

if find_spec("gymnasium"):
    import gymnasium

    gymnasium.register(ENV_ID, entry_point="foreact.sim.env:PickPlaceEnv")
