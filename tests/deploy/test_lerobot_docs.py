"""The page about LeRobot runs: every command and code block of ours, on two small policies."""

import pickle
from pathlib import Path

import numpy as np
import torch

from deploy.lerobot_files import write_data, write_lerobot, write_ours
from deploy.original_act import OriginalACT
from foreact import load_policy
from pages import page_blocks, run_block

PAGE = "lerobot.md"


def test_every_block_of_ours_on_the_page_runs(page_folder: Path) -> None:
    write_lerobot(page_folder / "lerobot_act")
    write_ours(page_folder / "plain")
    write_data(page_folder / "demos")
    (page_folder / "original_act").mkdir()
    network = OriginalACT(cameras=1, heads=2)
    torch.save({f"model.{name}": of for name, of in network.state_dict().items()}, "original_act/policy_best.ckpt")
    stats = {f"{name}_{of}": np.ones(14, np.float32) for name in ("qpos", "action") for of in ("mean", "std")}
    Path("original_act/dataset_stats.pkl").write_bytes(pickle.dumps(stats))
    blocks = page_blocks(PAGE)
    assert {language for language, _ in blocks} == {"sh", "python", "text"}
    for language, body in blocks:
        run_block(language, body)
    assert load_policy("imported_act").features.cameras[0].width == 96
    assert load_policy("bundle").executor_settings.limits.velocity == (0.5, None)
    assert None not in load_policy("guarded").executor_settings.limits.velocity
    assert (page_folder / "lerobot_policy/policy_preprocessor.json").exists()
