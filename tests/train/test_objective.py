"""What `contrastive` compares: the counterfactual's prediction, row by row, and what it does to a training."""

from dataclasses import replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from foreact.config import PolicyConfig
from foreact.data.dataset import ChunkDataset
from foreact.data.selection import select_features
from foreact.data.source import open_source
from foreact.data.statistics import compute_statistics
from foreact.model.act import ACT, ACTOutput
from foreact.policy.inputs import Inputs, network_statistics
from foreact.records import Batch, Features, VectorStatistics
from foreact.sim.record import RecordConfig, record
from foreact.sim.task import level
from foreact.train.objective import training_loss
from foreact_runtime import keys
from tiny import TINY

SEED = 11


def predictions(model: ACT, inputs: Inputs, config: PolicyConfig, raw: Batch) -> tuple[list[ACTOutput], Batch]:
    """What the network is asked for by one loss of a batch, and the batch as it was prepared."""
    outputs: list[ACTOutput] = []
    hook = model.register_forward_hook(lambda _module, _args, output: outputs.append(output))
    prepare = partial(inputs.prepare, crop_seed=SEED, cells=model.cell_middles)
    torch.manual_seed(5)
    training_loss(model, config, raw, prepare, seed=SEED)
    hook.remove()
    return outputs, prepare(raw)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes, each with both of its blocks as target."""
    task = level("L1", overhead_size=(64, 64), wrist_size=(64, 64))
    folder = tmp_path_factory.mktemp("demos") / "d"
    return record(RecordConfig(task=task, episodes=4, paired=True), folder, workers=1).root


@pytest.mark.parametrize(
    "ways",
    [("token",), ("crop",), ("token", "frame"), ("heatmap",), ("token", "crop", "frame", "film", "heatmap", "world")],
    ids="+".join,
)
@pytest.mark.parametrize("use_vae", [True, False])
def test_each_row_is_told_the_cue_of_its_neighbour_with_all_else_alike(
    recording: Path, cache_dir: Path, ways: tuple[Any, ...], use_vae: bool
) -> None:
    """Five rows: the last has no neighbour and keeps its own cue."""
    config = replace(TINY, conditioning=(*ways, "contrastive"), use_vae=use_vae, dropout=0.0, cue_crop=0.5)
    source = open_source(recording)
    features = select_features(source.features, config)
    dataset = ChunkDataset(
        source, source.episode_indices, features=features, chunk_size=config.chunk_size, cache_dir=cache_dir
    )
    statistics = compute_statistics(dataset.episodes)
    if "frame" in ways:
        statistics = network_statistics(features, [dataset.vectors(range(len(dataset)))])
    inputs = Inputs(config, features, statistics)
    torch.manual_seed(0)
    model = ACT(config, inputs.network_features).train()
    for parameter in model.parameters():  # where FiLM and the map are no longer without effect
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    first, second, third, fourth = np.cumsum([0, *(episode.length for episode in dataset.episodes[:3])]).tolist()
    raw = dataset.__getitems__([first, second + 1, third + 4, fourth + 5, first + 3])  # while the jaws are open
    (output, other), prepared = predictions(model, inputs, config, raw)
    assert raw.environment_state is not None

    z: Tensor = torch.zeros(5, config.latent_dim)
    if use_vae:
        torch.manual_seed(5)
        mu, log_var = model.posterior(prepared)
        z = mu + (log_var / 2).exp() * torch.randn(mu.shape)
    torch.testing.assert_close(output.action_hat, model(prepared, z=z).action_hat, rtol=1e-4, atol=1e-5)
    for row, neighbour in enumerate((1, 0, 3, 2, 4)):
        alone = raw.map(itemgetter(slice(row, row + 1)))
        told = replace(alone, environment_state=raw.environment_state[neighbour : neighbour + 1])
        batch = inputs.prepare(told, cells=model.cell_middles)
        expected = model(batch, z=z[row : row + 1]).action_hat[0]
        torch.testing.assert_close(other.action_hat[row], expected, rtol=1e-4, atol=1e-5)
    differs = (other.action_hat - output.action_hat).abs().amax(dim=(1, 2))
    assert differs[:4].min() > 5e-4
    assert differs[4] < 1e-5


# --- What it does -----------------------------------------------------------------------------------------------------

FEATURES = Features(action_names=("a", "b"), state_names=("joint",), environment_names=("x", "y"))
STEPS = 150


DIMS = {keys.STATE: 1, keys.ENVIRONMENT_STATE: 2, keys.ACTION: 2}


def standard(n: int) -> VectorStatistics:
    """Of numbers that the normaliser leaves as they are."""
    zero, one = np.zeros(n), np.ones(n)
    return VectorStatistics(mean=zero, std=one, min=-one, max=one, q01=-one, q99=one, count=1)


def misled(n: int, generator: torch.Generator) -> Batch:
    """Actions that go where the coordinates say in two of five samples: the median, which L1 asks for, ignores them."""
    state = torch.randn(n, 1, generator=generator)
    cue = torch.randn(n, 2, generator=generator)
    is_told = torch.rand(n, 1, 1, generator=generator) < 0.4
    time = torch.linspace(0, 1, 6)
    base = torch.stack([torch.sin(state + time), torch.cos(state - time)], dim=-1)
    return Batch(
        state=state,
        environment_state=cue,
        action=base + is_told * cue[:, None],
        action_is_pad=torch.zeros(n, 6, dtype=torch.bool),
    )


def sensitivity(*ways: Any) -> tuple[float, float]:
    """Train; return the chunk's way with other coordinates as a share of the obedient samples', and its mean change."""
    config = replace(TINY, conditioning=ways, use_vae=False, dropout=0.0, contrastive_weight=0.5)
    inputs = Inputs(config, FEATURES, {key: standard(n) for key, n in DIMS.items()})
    torch.manual_seed(0)
    model = ACT(config, FEATURES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(1)
    for seed in range(STEPS):
        raw = misled(64, generator)
        loss = training_loss(model, config, raw, inputs.prepare, seed=seed).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unseen = misled(256, torch.Generator().manual_seed(9))
    assert unseen.environment_state is not None
    other = unseen.environment_state.roll(1, 0)
    with torch.no_grad():
        change = model(replace(unseen, environment_state=other)).action_hat - model(unseen).action_hat
    told = (other - unseen.environment_state)[:, None].expand_as(change)
    return ((change * told).sum() / (told**2).sum()).item(), change.abs().mean().item()


def test_a_coordinate_that_the_baseline_ignores_is_used_with_the_counterfactual() -> None:
    ignored, still = sensitivity("token")
    share, change = sensitivity("token", "contrastive")
    assert ignored < 0.1
    assert share > 0.25
    assert change > 2 * still
