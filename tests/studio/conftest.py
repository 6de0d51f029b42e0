"""A studio with untrained policies and data sets, and a browser to look at it with."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page, sync_playwright

from foreact.data.dataset import ChunkDataset
from foreact.data.lerobot_v3_writer import DatasetWriter, stage_episode
from foreact.data.selection import select_features
from foreact.data.source import open_source
from foreact.data.statistics import robot_statistics
from foreact.deploy.export_bundle import export_bundle
from foreact.policy.checkpoint import save_policy
from foreact.policy.inputs import network_statistics
from foreact.policy.policy import Policy
from foreact.records import Features
from foreact.sim.record import RecordConfig, record
from foreact.sim.task import level
from studio.others_files import FORMATS
from studio.running import RunningStudio
from tiny import TINY
from untrained import save_untrained

_ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def sim_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two demonstrations of the scripted expert, both cameras of 32 x 32."""
    out = tmp_path_factory.mktemp("studio") / "demonstrations"
    task = level("L1", overhead_size=(32, 32), wrist_size=(32, 32))
    record(RecordConfig(task=task, episodes=2, seed=5), out, workers=1)
    return out


@pytest.fixture(scope="session")
def untrained_run(tmp_path_factory: pytest.TempPathFactory, sim_recording: Path) -> Path:
    """A policy that moves the arm somewhere."""
    path = tmp_path_factory.mktemp("studio") / "untrained"
    save_untrained(sim_recording, path, TINY)
    return path


CURED = replace(TINY, conditioning=("token", "crop", "frame"), cue_crop=0.5)
"""Ways that have trained policies follow the coordinate; of a small picture half is around it."""


@pytest.fixture(scope="session")
def cured_run(tmp_path_factory: pytest.TempPathFactory, sim_recording: Path) -> Path:
    """A policy that sees what is around the coordinate, and moves the hand; untrained too."""
    path = tmp_path_factory.mktemp("studio") / "cured"
    source = open_source(sim_recording)
    features = select_features(source.features, CURED)
    blind = replace(features, cameras=())
    samples = ChunkDataset(source, source.episode_indices, features=blind, chunk_size=CURED.chunk_size)
    seen = network_statistics(features, [samples.vectors(range(len(samples)))])
    statistics = {**seen, **robot_statistics(samples.episodes, features)}
    torch.manual_seed(0)
    save_policy(path, Policy(config=CURED, features=features, statistics=statistics))
    return path


JUMP = (3, 40)
"""Episode and frame of `jumping` at which a joint is somewhere else for a frame."""


@pytest.fixture(scope="session")
def jumping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight swings of two joints, 60 frames each; in one of them a packet is wrong."""
    features = Features(action_names=("a", "b"), state_names=("a", "b"), fps=10)
    writer = DatasetWriter(tmp_path_factory.mktemp("studio") / "jumping", features=features, robot_type="test")
    for index in range(8):
        t = np.arange(61) / 10
        path = np.stack([np.sin(t + index), np.cos(0.7 * t)], axis=1)
        state, action = path[:-1].copy(), path[1:]
        if index == JUMP[0]:
            state[JUMP[1], 1] += 3.0
        staged = stage_episode(
            writer.staging, task="swing", vectors={"observation.state": state, "action": action}, frames={}, fps=10
        )
        writer.add(staged)
    writer.finish()
    return writer.root


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium. Not for the session: playwright's event loop would be in the way of other tests' own."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed, so no page was looked at; type: sh scripts/browser.sh")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def studio(
    untrained_run: Path, cured_run: Path, sim_recording: Path, dataset: Path, jumping: Path
) -> Iterator[RunningStudio]:
    """With the expert, two untrained policies and three data sets, and room for two."""
    data = [str(path) for path in (sim_recording, dataset, jumping)]
    running = RunningStudio(str(untrained_run), str(cured_run), "--data", *data, "--max-sessions", "2", "--level", "L1")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def others_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A data set of each format that others' recorders write, by its name."""
    folder = tmp_path_factory.mktemp("others")
    return {name: write(folder / name) for name, (write, _) in FORMATS.items()}


@pytest.fixture(scope="session")
def others_studio(
    untrained_run: Path, sim_recording: Path, others_data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningStudio]:
    """With what `foreact export` makes of the untrained policy, and others' data sets."""
    bundle = tmp_path_factory.mktemp("exported") / "bundle"
    export_bundle(untrained_run, bundle, data=sim_recording)
    running = RunningStudio(str(bundle), "--data", *map(str, others_data.values()), "--level", "L1")
    yield running
    running.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page, whose console must stay without errors."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []
