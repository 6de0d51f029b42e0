"""LeRobot's own training command trains its own ACT on our data."""

import json
import subprocess
import sys
from pathlib import Path

from recording import record
from safetensors.torch import load_file


def test_lerobot_train_takes_steps_on_our_data(tmp_path: Path) -> None:
    record(tmp_path / "data")
    options = {
        "dataset.repo_id": "local/ours",
        "dataset.root": tmp_path / "data",
        "dataset.video_backend": "pyav",
        "policy.type": "act",
        "policy.device": "cpu",
        "policy.push_to_hub": "false",
        "policy.pretrained_backbone_weights": "null",
        "policy.chunk_size": 5,
        "policy.n_action_steps": 5,
        "policy.dim_model": 32,
        "policy.n_heads": 2,
        "policy.dim_feedforward": 32,
        "policy.n_encoder_layers": 1,
        "policy.n_vae_encoder_layers": 1,
        "output_dir": tmp_path / "run",
        "steps": 3,
        "batch_size": 2,
        "num_workers": 0,
        "log_freq": 1,
        "save_freq": 3,
        "wandb.enable": "false",
    }
    command = [Path(sys.executable).with_name("lerobot-train"), *(f"--{key}={value}" for key, value in options.items())]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    last = tmp_path / "run/checkpoints/000003/pretrained_model"
    config = json.loads((last / "config.json").read_text())
    assert config["input_features"]["observation.environment_state"]["shape"] == [2]
    assert all(tensor.isfinite().all() for tensor in load_file(last / "model.safetensors").values())
