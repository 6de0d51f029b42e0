"""Exports a small policy, with torch, for the tests that run without: a bundle, and an episode as the original acts."""

import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from foreact.deploy.export_bundle import export_bundle  # noqa: E402
from foreact.deploy.real_frames import real_observations  # noqa: E402
from foreact.policy.checkpoint import read_meta, save_policy  # noqa: E402
from made_policy import small_policy  # noqa: E402
from spots import write_dataset  # noqa: E402


def main(folder: Path) -> None:
    """Write FOLDER/bundle and FOLDER/episode.npz."""
    torch.manual_seed(0)
    data = write_dataset(folder / "data")
    policy = small_policy()
    save_policy(folder / "policy", policy)
    export_bundle(folder / "policy", folder / "bundle", data=data)
    observations = real_observations(read_meta(folder / "policy"), data, 12)
    actions = np.stack([policy.act(observation) for observation in observations])
    arrays = {key: np.stack([of[key] for of in observations]) for key in observations[0]}
    np.savez(folder / "episode.npz", action=actions, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
