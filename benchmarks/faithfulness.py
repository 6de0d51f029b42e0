"""What the choices cost that docs/faithfulness.md lists: each tried both ways, at a small scale.

    python benchmarks/faithfulness.py --out benchmarks/results/faithfulness.json

The preset `compact` without pictures (with them for what is about cameras), on demonstrations of level L0, where the
coordinate is exact; three training seeds, the same 200 unseen scenes for all. It goes on where it was stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tyro
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn

from foreact.config import RunConfig
from foreact.intervals import wilson
from foreact.model.transformer import Attention
from foreact.policy.checkpoint import CHECKPOINTS, find_checkpoint, load_policy, read_meta
from foreact.presets import preset
from foreact.sim.evaluation import Evaluation
from foreact.sim.record import RecordConfig, record
from foreact.sim.rollout import rollout, task_for_policy
from foreact.sim.task import level
from foreact.train.run import train


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    work: Path = Path("runs/faithfulness")
    """Demonstrations and runs."""
    out: Path = Path("benchmarks/results/faithfulness.json")
    """What was measured before is kept."""
    only: tuple[str, ...] = ()
    """Variants; all where none is given."""
    seeds: int = 3
    """Of training."""
    steps: int = 500
    demonstrations: int = 200
    episodes: int = 200
    first_seed: int = 1_000_000
    """Of the evaluation."""
    threads: int = 1


class DecayEverything(Callback):
    """The original's and LeRobot's optimiser: weight decay on biases, norms and embeddings too."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give every group the same decay."""
        decay = max(group["weight_decay"] for group in trainer.optimizers[0].param_groups)
        for group in trainer.optimizers[0].param_groups:
            group["weight_decay"] = decay


class DefaultLatentWeights(Callback):
    """The original's and LeRobot's CVAE encoder: PyTorch's own initial weights."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw them; in the attention PyTorch's default is Xavier for the first product, none of it for the last."""
        encoder = pl_module.model.vae_encoder.encoder  # type: ignore[union-attr]
        for module in encoder.modules():  # type: ignore[union-attr]
            if isinstance(module, nn.Linear | nn.LayerNorm):
                module.reset_parameters()
            if isinstance(module, Attention):
                nn.init.zeros_(module.out_proj.bias)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to choose."""

    about: str
    change: Callable[[RunConfig], RunConfig]
    callback: type[Callback] | None = None
    latent: str = "zero"
    trained_as: str | None = None
    """Another variant, whose runs are evaluated."""


def _policy(**options: Any) -> Callable[[RunConfig], RunConfig]:
    return lambda run: replace(run, policy=replace(run.policy, **options))


def _train(**options: Any) -> Callable[[RunConfig], RunConfig]:
    return lambda run: replace(run, train=replace(run.train, **options))


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "ours": Variant(about="as the preset", change=_policy()),
        "padded-mean": Variant(
            about="L1 divided by all entries, padded ones too", change=_policy(reduction="padded_mean")
        ),
        "latent-prior": Variant(
            about="z drawn from the prior at inference", change=_policy(), latent="prior", trained_as="ours"
        ),
        "latent-default-weights": Variant(
            about="CVAE encoder with PyTorch's initial weights", change=_policy(), callback=DefaultLatentWeights
        ),
        "decay-matrices": Variant(about="weight decay 0.1 on matrices", change=_train(weight_decay=0.1)),
        "decay-all": Variant(
            about="weight decay 0.1 on everything", change=_train(weight_decay=0.1), callback=DecayEverything
        ),
        "no-clipping": Variant(about="gradients not clipped", change=_train(grad_clip=0.0)),
        "clip-10": Variant(about="gradients clipped at 10", change=_train(grad_clip=10.0)),
        "decoder-7": Variant(about="seven decoder layers, the last one's output", change=_policy(n_decoder_layers=7)),
        "pictures": Variant(
            about="two cameras, each with a learned vector", change=_policy(cameras=("overhead", "wrist"))
        ),
        "pictures-bf16": Variant(
            about="two cameras, trained with bf16-mixed",
            change=lambda run: _train(precision="bf16-mixed")(_policy(cameras=("overhead", "wrist"))(run)),
        ),
        "pictures-unnamed": Variant(
            about="two cameras that tokens do not tell apart",
            change=_policy(cameras=("overhead", "wrist"), camera_embedding=False),
        ),
    }
)


def main() -> None:
    """Measure what is not yet in the file, and write after each run."""
    options = tyro.cli(Options, description=__doc__)
    known = json.loads(options.out.read_text())["runs"] if options.out.exists() else []
    data = options.work / "demos"
    if not data.exists():
        sizes = {"overhead_size": (96, 96), "wrist_size": (96, 96)}
        record(RecordConfig(task=level("L0", **sizes), episodes=options.demonstrations, seed=0), data, workers=1)
    for seed in range(options.seeds):
        for name in options.only or VARIANTS:
            if any(of["variant"] == name and of["seed"] == seed for of in known):
                continue
            known.append(measure(name, seed, data, options))
            _write(known, options)
    _write(known, options)


def measure(name: str, seed: int, data: Path, options: Options) -> dict[str, Any]:
    """Train a variant, or take the run of the one that it shares, and evaluate it."""
    variant = VARIANTS[name]
    base = preset("compact")
    base = replace(
        base,
        policy=replace(base.policy, cameras=()),
        train=replace(
            base.train, steps=options.steps, warmup_steps=options.steps // 10, val_every=options.steps, seed=seed
        ),
    )
    run, out = variant.change(base), options.work / f"{variant.trained_as or name}_s{seed}"
    callbacks = [] if variant.callback is None else [variant.callback()]
    if not (out / CHECKPOINTS).exists() or read_meta(find_checkpoint(out)).step < options.steps:
        shutil.rmtree(out, ignore_errors=True)  # begun anew, for a callback changes what a run starts with
        result = train(
            run, data=data, out=out, callbacks=callbacks, threads=options.threads, cache_dir=options.work / "cache"
        )
        if result.interrupted:
            raise KeyboardInterrupt
    policy = load_policy(out, overrides={"latent": variant.latent})
    seeds = range(options.first_seed, options.first_seed + options.episodes)
    episodes = rollout(policy, task_for_policy(level("L0"), policy), seeds, n_envs=1, name=f"{name}, seed {seed}")
    evaluation = Evaluation(name=name, episodes=episodes)
    print(f"{name}, seed {seed}: {evaluation.rate_text()}", flush=True)
    return {
        "variant": name,
        "about": variant.about,
        "seed": seed,
        "successes": evaluation.successes,
        "episodes": len(episodes),
        "median_closing_error_mm": evaluation.closing_error_mm,
        "validation_l1": _last_validation(out),
    }


def _last_validation(out: Path) -> float:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return float(next(of["val/l1"] for of in reversed(lines) if "val/l1" in of))


def _write(runs: list[dict[str, Any]], options: Options) -> None:
    together = {}
    for name in dict.fromkeys(of["variant"] for of in runs):
        of = [each for each in runs if each["variant"] == name]
        successes, episodes = (sum(each[key] for each in of) for key in ("successes", "episodes"))
        together[name] = {"successes": successes, "episodes": episodes, "wilson_95": wilson(successes, episodes)}
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(options).items()}
    content = {"command": "python benchmarks/faithfulness.py", "options": settings, "together": together, "runs": runs}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
