"""The shares of the gradient, against gradients that are taken by another route; and training is the same with them."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file
from torch import Tensor

from foreact.config import Conditioning, RunConfig
from foreact.data.calibration import write_calibration
from foreact.data.sidecar import read_sidecar
from foreact.data.source import open_source
from foreact.policy.inputs import with_cue
from foreact.records import Batch
from foreact.sim.record import RecordConfig, record
from foreact.sim.task import level
from foreact.train.module import ACTModule
from foreact.train.run import train

TASK = level("L1", overhead_size=(64, 64), wrist_size=(64, 64))


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes, each with both of its blocks as target."""
    return record(
        RecordConfig(task=TASK, episodes=4, paired=True), tmp_path_factory.mktemp("demos") / "d", workers=1
    ).root


def shares_of(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    shares = [{name[11:]: value for name, value in line.items() if name.startswith("grad_share/")} for line in lines]
    return [of for of in shares if of]


class ByAnotherRoute(Callback):
    """Takes the gradient of the third batch's loss at one input at a time, from a loss that is written out here.

    At first the heat map has no weight yet.
    """

    def __init__(self, std: dict[str, Tensor]) -> None:
        self.std = std
        self.shares: dict[str, float] = {}

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        if batch_idx != 2:
            return
        assert isinstance(pl_module, ACTModule)
        module = deepcopy(pl_module).train()
        with torch.random.fork_rng(devices=[]):
            norms = self._norms(module, batch)
        self.shares = {name: norm / sum(norms.values()) for name, norm in norms.items()}

    def _norms(self, module: ACTModule, raw: Batch) -> dict[str, float]:
        model, config = module.model, module.run.policy
        assert raw.state is not None
        assert raw.environment_state is not None

        def prepare(batch: Batch) -> Batch:
            return module.inputs.prepare(batch, cells=model.cell_middles)

        data = prepare(raw)
        assert data.environment_state is not None
        with torch.no_grad():
            torch.manual_seed((2 << 20) + 1)  # the third batch's with the seed 0
            mu, log_var = model.posterior(data)
            z = mu + (log_var / 2).exp() * torch.randn(mu.shape)
        swapped = [1, 0, 3, 2]
        with torch.no_grad():
            other_cue = prepare(with_cue(raw, raw.environment_state[swapped, :2])).environment_state
        assert other_cue is not None
        distance = (other_cue - data.environment_state).norm(dim=1)

        def loss(batch: Batch, colours: Callable[[Batch, bool], Batch] = lambda batch, is_other: batch) -> Tensor:
            assert batch.environment_state is not None
            assert data.action is not None
            assert data.action_is_pad is not None
            is_real = ~data.action_is_pad
            output = model(colours(prepare(batch), False), z=z)
            total = (output.action_hat - data.action).abs()[is_real].mean()
            if output.cue_hat is not None:
                total = total + 0.1 * ((output.cue_hat - data.environment_state) ** 2).mean()
            if "contrastive" in config.conditioning:
                other = model(colours(prepare(with_cue(batch, batch.environment_state[swapped, :2])), True), z=z)
                change = (output.action_hat - other.action_hat).abs().mean(dim=2)
                mean = (change * is_real).sum(dim=1) / is_real.sum(dim=1)
                total = total + 0.1 * (0.5 * distance.clamp(max=1) - mean).clamp(min=0).mean()
            return total

        cue = raw.environment_state.clone().requires_grad_()
        state = raw.state.clone().requires_grad_()
        (at_cue,) = torch.autograd.grad(loss(replace(raw, environment_state=cue)), cue)
        (at_state,) = torch.autograd.grad(loss(replace(raw, state=state)), state)
        norms = {
            "coordinates": (at_cue * self.std["coordinates"]).norm().item(),
            "state": (at_state * self.std["state"]).norm().item(),
        }
        for camera in module.inputs.network_features.cameras:
            # What is added to the colours: to a whole picture of both predictions alike, to each crop on its own.
            shape = (4, 3, camera.height, camera.width)
            nothing = [torch.zeros(shape, requires_grad=True) for _ in range(2 if camera.view_of else 1)]

            def changed(batch: Batch, is_other: bool, name: str = camera.name, of: list[Tensor] = nothing) -> Batch:
                image = batch.images[name]
                added = torch.cat([of[-1 if is_other else 0], torch.zeros_like(image[:, 3:])], dim=1)
                return replace(batch, images={**batch.images, name: image + added})

            gradients = torch.autograd.grad(loss(raw, changed), nothing, allow_unused=True)
            norms[camera.name] = sum(of.square().sum().item() for of in gradients if of is not None) ** 0.5
        return norms


@pytest.mark.parametrize(
    "ways",
    [
        ("token",),
        ("crop",),
        ("heatmap",),
        ("world", "crop"),
        ("token", "frame", "crop"),
        ("token", "auxiliary", "contrastive"),
        get_args(Conditioning),
    ],
    ids="+".join,
)
def test_the_shares_are_those_of_gradients_taken_one_input_at_a_time(
    tiny_run: RunConfig, demos: Path, cache_dir: Path, tmp_path: Path, ways: tuple[Any, ...]
) -> None:
    policy = replace(tiny_run.policy, conditioning=ways, cue_crop=0.5, cue_crop_full=("overhead",), dropout=0.0)
    changes = {"grad_share": True, "steps": 3, "warmup_steps": 0, "sampling": "paired", "val_fraction": 0.0}
    run = RunConfig(policy=policy, train=replace(tiny_run.train, **changes))  # type: ignore[arg-type]
    source = open_source(demos)
    episodes = [source.episode(index) for index in source.episode_indices]
    std = {
        "state": torch.cat([torch.from_numpy(of.state) for of in episodes]).std(dim=0, correction=0),
        "coordinates": torch.cat([torch.from_numpy(of.environment_state) for of in episodes]).std(dim=0, correction=0),
    }
    route = ByAnotherRoute(std)
    train(run, data=demos, out=tmp_path / "run", cache_dir=cache_dir, callbacks=[route])
    shares = shares_of(tmp_path / "run")[2]
    assert shares == pytest.approx(route.shares, rel=1e-3, abs=1e-7)
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-5)
    assert shares["coordinates"] > 0


def test_coordinates_that_nothing_reads_have_no_share(
    tiny_run: RunConfig, demos: Path, cache_dir: Path, tmp_path: Path
) -> None:
    policy = replace(tiny_run.policy, conditioning=())
    run = RunConfig(policy=policy, train=replace(tiny_run.train, grad_share=True, steps=3))
    train(run, data=demos, out=tmp_path / "run", cache_dir=cache_dir)
    assert [of["coordinates"] for of in shares_of(tmp_path / "run")] == [0.0] * 3


def test_training_is_the_same_bit_for_bit_with_the_shares(
    tiny_run: RunConfig, demos: Path, cache_dir: Path, tmp_path: Path
) -> None:
    policy = replace(tiny_run.policy, conditioning=get_args(Conditioning), cue_crop=0.5, cue_crop_full=("overhead",))
    trained = []
    for grad_share in (False, True):
        changes = {"grad_share": grad_share, "steps": 4, "sampling": "paired", "cue_noise": 0.01}
        run = RunConfig(policy=policy, train=replace(tiny_run.train, **changes))  # type: ignore[arg-type]
        trained.append(train(run, data=demos, out=tmp_path / str(grad_share), cache_dir=cache_dir).checkpoint)
    for name in ("model.safetensors", "training_state.safetensors"):
        one, other = (load_file(checkpoint / name) for checkpoint in trained)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one), name
    assert not shares_of(tmp_path / "False")


def test_a_crop_that_shows_nothing_has_no_share(
    tiny_run: RunConfig, demos: Path, cache_dir: Path, tmp_path: Path
) -> None:
    """A norm over one grey divides by nearly nothing, so the gradient at it would drown all others."""
    known = read_sidecar(demos)
    overhead = known.cameras["overhead"]
    aside = replace(known, cameras={**known.cameras, "overhead": replace(overhead, position=(5.0, 5.0, 1.0))})
    write_calibration(tmp_path / "robot.yaml", replace(aside, scenes=None))
    policy = replace(tiny_run.policy, conditioning=("token", "crop"), cue_crop_full=("overhead",))
    run = RunConfig(policy=policy, train=replace(tiny_run.train, grad_share=True, steps=3))
    train(run, data=demos, out=tmp_path / "run", cache_dir=cache_dir, calibration=tmp_path / "robot.yaml")
    for shares in shares_of(tmp_path / "run"):
        assert shares["overhead@cue"] == 0
        assert min(shares["overhead"], shares["coordinates"]) > 0
