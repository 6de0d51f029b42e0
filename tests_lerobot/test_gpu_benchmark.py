"""The GPU's benchmark runs on the processor, too: both networks give the same chunk, and every row has its ratio."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_it_measures_every_way_beside_lerobots(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--sizes", "compact"]
    words += ["--train-batches", "2", "--chunk-batches", "1", "--out", str(tmp_path / "gpu.json")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(("src", "runtime/src")), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert content["chunks_differ_by"]["compact"] < 1e-5
    assert not content["not_measured_for_time"]
    ways = {(row["stage"], row["way"]) for row in content["results"]}
    assert {
        (stage, f"ours {precision}") for stage in ("training", "inference") for precision in ("fp32", "bf16")
    } < ways
    assert all(row["times_lerobot_fp32"] > 0 for row in content["results"])
