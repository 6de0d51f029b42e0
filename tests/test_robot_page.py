"""The loops of docs/robot.md for two arms and for gymnasium, with runs and, without torch, with bundles."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from foreact import load_policy
from foreact.cli.main import run
from foreact.data.source import open_source
from foreact.deploy.export_bundle import export_bundle
from foreact.presets import preset
from hidden import hiding
from pages import ROOT, page_blocks
from tiny import TINY
from two_arms import FPS, TwoArms
from untrained import save_untrained

TICKS = 8
SMALL = {name: getattr(TINY, name) for name in ("vision_backbone", "pretrained_backbone_weights", "backbone_norm")}
SMALL |= {name: getattr(TINY, name) for name in ("chunk_size", "dim_model", "n_heads", "dim_feedforward")}


def block(what: str) -> str:
    (code,) = [body for language, body in page_blocks("robot.md") if language == "python" and what in body]
    return code


def two_arms_block() -> str:
    code = block("runs/aloha")
    assert "range(400)" in code
    return code.replace("range(400)", f"range({TICKS})")


def demonstrate(folder: Path) -> None:
    """Episodes of two waving arms, in ALOHA's format."""
    folder.mkdir()
    for number in range(2):
        env = TwoArms()
        env.reset()
        for tick in range(10):
            env.step(0.3 + 0.2 * np.sin(0.2 * tick + number + np.arange(14)))
        with h5py.File(folder / f"episode_{number}.hdf5", "w") as file:
            file.attrs["sim"] = True
            file["action"] = np.array(env.told, np.float32)
            file["observations/qpos"] = np.array([of["qpos"] for of in env.shown[:-1]])
            for camera in env.shown[0]["images"]:
                file[f"observations/images/{camera}"] = np.array([of["images"][camera] for of in env.shown[:-1]])
        env.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With demonstrations and untrained policies."""
    folder = tmp_path_factory.mktemp("robots")
    demonstrate(folder / "waving")
    aloha = replace(preset("aloha").policy, **SMALL, n_encoder_layers=1, n_vae_encoder_layers=1, limit_margin=None)
    save_untrained(folder / "waving", folder / "runs/aloha", aloha)
    assert run(["record", str(folder / "demos"), "--level", "L1", "--episodes", "2"]) == 0
    save_untrained(folder / "demos", folder / "runs/tiny", TINY)
    return folder


@pytest.fixture
def env() -> Iterator[TwoArms]:
    env = TwoArms()
    yield env
    env.close()


def test_two_arms_get_the_papers_average_of_all_chunks(
    folder: Path, env: TwoArms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    exec(compile(two_arms_block(), "robot.md", "exec"), {"env": env})
    policy = load_policy("runs/aloha")
    assert policy.features.fps == FPS
    assert len(policy.features.cameras) == 4
    assert policy.features.action_names[6] == "left_gripper"
    chunks = [
        policy.predict_chunk(
            {"observation.state": of["qpos"]}
            | {f"observation.images.{camera}": picture for camera, picture in of["images"].items()}
        )
        for of in env.shown[:-1]
    ]
    assert len(env.told) == TICKS
    for tick, told in enumerate(env.told):
        said = [chunk[tick - begun] for begun, chunk in enumerate(chunks[: tick + 1]) if tick - begun < len(chunk)]
        weights = np.exp(-0.01 * np.arange(len(said)))  # the oldest first
        np.testing.assert_allclose(told, np.average(said, axis=0, weights=weights), rtol=0, atol=1e-5)
    assert np.abs(env.shown[-1]["qpos"]).max() > 0.01


def test_the_data_of_the_two_arms_are_read_as_aloha(folder: Path) -> None:
    source = open_source(folder / "waving")
    assert source.features.fps == FPS
    assert source.features.action_dim == 14


def test_the_gymnasium_loop_plays_an_episode(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    code = block("gymnasium.make")
    played: dict[str, Any] = {}
    exec(compile(code, "robot.md", "exec"), played)
    assert capsys.readouterr().out.strip() == played["info"]["outcome"]


@pytest.mark.slow
def test_bundles_run_the_same_loops_without_torch(folder: Path, env: TwoArms, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same actions, so the same episode of the same arms."""
    monkeypatch.chdir(folder)
    for name, data in (("aloha", "waving"), ("tiny", "demos")):
        export_bundle(folder / "runs" / name, folder / "bundles" / name, data=folder / data)
    exec(compile(two_arms_block(), "robot.md", "exec"), {"env": env})
    code = (
        f"{hiding('torch', 'lightning')}import numpy\nfrom two_arms import TwoArms\nenv = TwoArms()\n{two_arms_block()}"
        f"numpy.save('told.npy', env.told)\nenv.close()\n{block('gymnasium.make')}assert 'torch' not in sys.modules\n"
    )
    code = code.replace("from foreact import load_policy", "from foreact_runtime import load_policy")
    code = code.replace('"runs/', '"bundles/')
    paths = os.pathsep.join(str(ROOT / part) for part in ("src", "runtime/src", "tests"))
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load("told.npy"), env.told, rtol=0, atol=1e-3)
