"""A training run from a data set to checkpoints, start to end."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, LearningRateMonitor
from lightning.pytorch.loggers import Logger, TensorBoardLogger

import foreact
from foreact.config import (
    RunConfig,
    policy_config_from_dict,
    source_config_from_dict,
    to_dict,
    train_config_from_dict,
)
from foreact.console import console, warn
from foreact.data.bad_episodes import check_some_left, left_out_line, left_out_text, naming_skip_bad
from foreact.data.calibration import read_calibration
from foreact.data.dataset import ChunkDataset, find_bad_episodes
from foreact.data.files import refuse_inside
from foreact.data.frame_cache import default_cache_dir
from foreact.data.mixed import open_sources, origin_of, parts_of
from foreact.data.report import describe_cameras, describe_vectors
from foreact.data.selection import select_features
from foreact.data.sidecar import apply_calibration
from foreact.data.source import EpisodeSource
from foreact.data.split import split_episodes
from foreact.data.statistics import compute_statistics, robot_statistics
from foreact.data.streamed import StreamedDataset
from foreact.errors import CheckpointError, ConfigError
from foreact.model.auxiliary import satisfied_for_free
from foreact.policy.checkpoint import CHECKPOINTS, RUN_FILE, CheckpointMeta, find_checkpoint, read_meta, source_of
from foreact.policy.inputs import network_statistics
from foreact.processor import BF16_FLAGS, has_bf16_units
from foreact.records import Batch, Features
from foreact.threads import set_threads
from foreact.train.advice import better_conditioning, coordinates_unheard, cues_out_of_view
from foreact.train.callbacks import SaveCheckpoints, StopOnInterrupt, Throughput
from foreact.train.checkpoint_io import DirectoryCheckpointIO
from foreact.train.jsonl_logger import JSONLLogger
from foreact.train.loader import Demonstrations
from foreact.train.module import ACTModule
from foreact.train.order import check_source_weights
from foreact.train.samples import open_samples


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a training run leaves behind."""

    checkpoint: Path
    """The newest checkpoint directory."""
    step: int
    """Optimiser steps done."""
    interrupted: bool
    """Whether Ctrl-C ended it."""
    samples_per_s: float
    """Without validation and checkpoints; 0 where no step was measured."""
    data_wait: float
    """Share of training time spent waiting for data."""
    n_episodes: int
    """Of the data, those left out among them."""
    left_out: Mapping[int, str] = field(default_factory=dict)
    """Damaged episodes and what is wrong with each."""


def train(
    run: RunConfig,
    *,
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    resume: bool = False,
    skip_bad: bool = False,
    calibration: str | Path | None = None,
    cache_dir: Path | None = None,
    callbacks: Sequence[Callback] = (),
    threads: int | Literal["free"] | None = None,
) -> TrainResult:
    """Train a policy and write checkpoints, logs and the run's configuration to `out`.

    Args:
        run: The recipe.
        data: A data set's folder, or several data sets that agree (data/agreement.py) and are mixed.
        out: The run's folder: `checkpoints/`, `metrics.jsonl`, `tensorboard/`, `run.json`.
        resume: Continue from the newest checkpoint in `out`, on the CPU bit for bit with as many threads.
        skip_bad: Leave damaged episodes out instead of stopping at the first; a resumed run leaves out those that it
            was started without, whatever is said here.
        calibration: A file that says where cameras and arm stand (data/calibration.py); None takes what the data set
            says itself, and for a resumed run what that was started with.
        cache_dir: Where decoded frames are kept; None for the user's cache.
        callbacks: Of Lightning's kind, beside our own; they see each validation.
        threads: To compute with on a CPU; "free" takes as many as there are free cores, or as a resumed run was started
            with (`foreact.threads`), and None leaves PyTorch's setting alone.

    Raises:
        ConfigError: If the configuration contradicts itself, the data or the run to be resumed.
        DataError: If the data set is damaged or not enough, or would be written into.
        CheckpointError: If there is nothing to resume, a run stands in the way, or the disk is full.
        TrainingError: If a loss or gradient is not finite.
    """
    out = Path(out)
    newest = _checkpoint_to_resume(out, resume)
    paths = (data,) if isinstance(data, str | Path) else tuple(data)
    for path in map(Path, paths):
        refuse_inside(out, path, "data set")
        refuse_inside(cache_dir or default_cache_dir(), path, "data set", "--cache-dir")
    check_source_weights(run.train, len(paths))
    source = open_sources(paths, run.source)
    recorded_features = source.features
    if calibration is not None:
        recorded_features = apply_calibration(
            recorded_features, read_calibration(Path(calibration)), f"'{calibration}'"
        )
    features = select_features(recorded_features, run.policy)
    fingerprint = source.fingerprint()
    resumed = None if newest is None else read_meta(newest)  # hashes the whole checkpoint, so it is read once
    if resumed is not None:
        _check_same(run, fingerprint, resumed)
        if calibration is not None and features != resumed.features:
            raise ConfigError(
                f"calibration '{calibration}' is not what the run to resume was started with; leave it out"
            )
        features = resumed.features
    computing = ""
    if threads is not None:
        n_processes = int(run.train.devices) if run.train.devices.isdigit() else 1
        started_with = None if resumed is None else threads_of(out)
        computing = f"computing with {set_threads(threads, started_with=started_with, n_processes=n_processes)}"
    left_out: dict[int, str] = {}
    if resumed is not None:
        left_out = {entry["episode"]: entry["reason"] for entry in resumed.provenance["data"].get("left_out", ())}
    elif skip_bad:
        left_out = _find_bad(source, features, run, cache_dir)
    tasks = {index: task for index, task in source.tasks.items() if index not in left_out}
    training, validation = split_episodes(tasks, source.lengths, run.train.val_fraction, run.train.seed, source.scenes)

    # A streamed episode may turn out to be damaged long after the start.
    with (
        naming_skip_bad() if resumed is None else nullcontext(),
        open_samples(run, source, features, training, validation, cache_dir) as samples,
    ):
        recorded = compute_statistics(samples.vectors.episodes)
        in_frame = "frame" in run.policy.conditioning
        seen = network_statistics(features, _vector_batches(samples.vectors)) if in_frame else recorded
        statistics = {**seen, **robot_statistics(samples.vectors.episodes, features)}
        provenance = {
            "train": to_dict(run.train),
            "source": to_dict(run.source),
            "data": {
                "path": str(Path(paths[0]).resolve()),
                "fingerprint": fingerprint,
                "training": training,
                "validation": validation,
                "left_out": _left_out_entries(left_out),
                **_provenance_of_parts(source, paths, training, left_out),
            },
            "versions": {
                "foreact": foreact.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }
        meta = CheckpointMeta(
            policy=run.policy, features=features, statistics=statistics, step=0, provenance=provenance
        )
        _write_run(out, run, paths)

        interrupt = StopOnInterrupt()
        throughput = Throughput(batch_size=run.train.batch_size, show_every=run.train.log_every)
        with warnings.catch_warnings():
            _quiet_lightning()
            resume_at = 0 if resumed is None else resumed.step
            trainer = _trainer(run, out, meta, interrupt, throughput, resume_at, callbacks)
        if isinstance(samples.training, StreamedDataset) and trainer.world_size > 1:
            raise ConfigError(f"train.stream works on one device, not on {trainer.world_size}: give --devices 1")
        module = ACTModule(run, features, statistics)
        if trainer.is_global_zero:
            for line in describe_vectors(features, recorded):
                console.print(line, highlight=False, no_wrap=True, overflow="ignore", crop=False)
            console.print(describe_cameras(features), highlight=False, markup=False, soft_wrap=True)
            budget = run.train.steps * run.train.batch_size * run.train.accumulate * trainer.world_size
            console.print(
                f"training on {len(training)} episodes ({len(samples.training)} samples), "
                f"validating on {len(validation)}; "
                f"{sum(p.numel() for p in module.model.parameters()) / 1e6:.2f} M parameters; "
                f"budget {budget} samples in {run.train.steps} steps",
                highlight=False,
            )
            without = left_out_text(left_out, len(source.episode_indices)) if left_out else ""
            for remark in (computing, without, samples.remark, better_conditioning(run.policy, features)):
                if remark:
                    console.print(remark, highlight=False)
            unseen = cues_out_of_view(run.policy, features, samples.vectors.episodes)
            for remark in (coordinates_unheard(run.policy, features), satisfied_for_free(run.policy), unseen):
                if remark is not None:
                    warn(remark)
        demonstrations = Demonstrations(samples.training, samples.validation, run.train, source.scenes)
        with warnings.catch_warnings():
            _quiet_lightning()
            trainer.fit(module, datamodule=demonstrations, ckpt_path=None if newest is None else str(newest))
        if interrupt.interrupted and trainer.is_global_zero:
            console.print(f"stopped at step {trainer.global_step}; continue with the same command and --resume")
        return TrainResult(
            checkpoint=find_checkpoint(out),
            step=trainer.global_step,
            interrupted=interrupt.interrupted,
            samples_per_s=throughput.samples_per_s if throughput.steps else 0.0,
            data_wait=throughput.wait_share,
            n_episodes=len(source.episode_indices),
            left_out=left_out,
        )


def _find_bad(source: EpisodeSource, features: Features, run: RunConfig, cache_dir: Path | None) -> dict[int, str]:
    """Name each damaged episode once, and return them with what is wrong.

    Every process looks at every episode, so that all come to the same split.
    """
    bad: dict[int, str] = {}

    def note(index: int, reason: str) -> None:
        bad[index] = reason
        if os.environ.get("LOCAL_RANK", "0") == "0":
            console.print(left_out_line(index, reason), highlight=False, markup=False, soft_wrap=True)

    find_bad_episodes(
        source,
        features=features,
        downsample_factor=run.policy.downsample_factor,
        cache_dir=cache_dir,
        keep_frames=run.train.stream is None,
        on_bad=note,
    )
    check_some_left(source, bad, len(source.episode_indices))
    return bad


def _left_out_entries(left_out: Mapping[int, str]) -> list[dict[str, Any]]:
    return [{"episode": index, "reason": left_out[index]} for index in sorted(left_out)]


def _provenance_of_parts(
    source: EpisodeSource, paths: Sequence[str | Path], training: Sequence[int], left_out: Mapping[int, str]
) -> dict[str, list[dict[str, Any]]]:
    """Of several data sets: where each is, its fingerprint, and by its own indices what was trained on or left out."""
    parts = parts_of(source)
    if len(parts) == 1:
        return {}
    trained: list[list[int]] = [[] for _ in parts]
    for number, own in (origin_of(source, index) for index in training):
        trained[number].append(own)
    bad: list[dict[int, str]] = [{} for _ in parts]
    for index, reason in left_out.items():
        number, own = origin_of(source, index)
        bad[number][own] = reason
    return {
        "sources": [
            {
                "path": str(Path(path).resolve()),
                "fingerprint": part.fingerprint(),
                "training": trained[number],
                "left_out": _left_out_entries(bad[number]),
            }
            for number, (path, part) in enumerate(zip(paths, parts, strict=True))
        ]
    }


def _vector_batches(dataset: ChunkDataset, size: int = 4096) -> Iterator[Batch]:
    """All samples without their pictures, a few thousand at a time."""
    for start in range(0, len(dataset), size):
        yield dataset.vectors(range(start, min(start + size, len(dataset))))


def read_run(out: str | Path) -> RunConfig:
    """Return the recipe that a run was started with.

    Raises:
        CheckpointError: If there is no run.
        ConfigError: If its file is not a recipe of this version.
    """
    path = Path(out) / RUN_FILE
    try:
        content = json.loads(path.read_text())
        return RunConfig(
            policy=policy_config_from_dict(content["policy"]),
            train=train_config_from_dict(content["train"]),
            source=source_config_from_dict(content.get("source", {})),  # older runs have none
        )
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise CheckpointError(f"no run to resume at '{out}': cannot read '{path}' ({error})") from error


def threads_of(out: str | Path) -> int | None:
    """Return how many threads a run computes with; None where there is no run, or an old one that does not say."""
    path = Path(out) / RUN_FILE
    try:
        number = json.loads(path.read_text()).get("threads")
    except (OSError, json.JSONDecodeError):
        return None
    return number if isinstance(number, int) and number > 0 else None


def _write_run(out: Path, run: RunConfig, paths: Sequence[str | Path]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        temporary = out / f".{RUN_FILE}.{os.getpid()}.partial"
        content = {**asdict(run), "data": [str(path) for path in paths], "threads": torch.get_num_threads()}
        temporary.write_text(json.dumps(content, indent=2) + "\n")
        os.replace(temporary, out / RUN_FILE)
    except OSError as error:
        raise CheckpointError(f"cannot write run '{out}': {error.strerror or error}") from error


def _checkpoint_to_resume(out: Path, resume: bool) -> Path | None:
    exists = any((out / CHECKPOINTS).glob("step-*"))
    # Lightning starts the other ranks with the same arguments, perhaps after rank 0 has saved something.
    if exists and not resume and os.environ.get("LOCAL_RANK", "0") == "0":
        raise CheckpointError(f"'{out}' already holds a run; add --resume to continue it, or choose another --out")
    if resume and not exists:
        raise CheckpointError(f"no run to resume at '{out}': it has no {CHECKPOINTS}/step-*")
    return find_checkpoint(out) if resume else None


_MAY_CHANGE = {
    "steps",
    "warmup_steps",
    "lr_schedule",
    "lr_min",
    "grad_clip",
    "precision",
    "compile",
    "val_every",
    "save_every",
    "keep_last",
    "log_every",
    "grad_share",
    "num_workers",
    "accelerator",
    "devices",
    "num_nodes",
    "strategy",
}
"""Training options that a resumed run may change; the others decide the split, the data order or the optimiser."""


def _check_same(run: RunConfig, fingerprint: str, meta: CheckpointMeta) -> None:
    """A resumed run must go on with the same network, optimiser, data and split."""
    for kind, before, now, free in (
        ("policy", to_dict(meta.policy), to_dict(run.policy), set()),
        # Options that an older run did not have were at their defaults.
        ("train", to_dict(train_config_from_dict(meta.provenance["train"])), to_dict(run.train), _MAY_CHANGE),
        ("source", to_dict(source_of(meta)), to_dict(run.source), set()),
    ):
        for name, value in before.items():
            if name not in free and now[name] != value:
                raise ConfigError(
                    f"{kind}.{name} is {now[name]}, but the run to resume was started with {value}; "
                    "leave it out, or start a new run with another --out"
                )
    recorded = meta.provenance["data"]["fingerprint"]
    if recorded != fingerprint:
        raise ConfigError(
            f"the data set is not the one that the run was started with (fingerprint {fingerprint}, then {recorded}); "
            "start a new run with another --out"
        )


def _trainer(
    run: RunConfig,
    out: Path,
    meta: CheckpointMeta,
    interrupt: Callback,
    throughput: Callback,
    resume_at: int,
    more: Sequence[Callback],
) -> lightning.Trainer:
    config = run.train
    callbacks: list[Callback] = [interrupt]
    if config.ema_decay is not None:
        callbacks.append(EMAWeightAveraging(decay=config.ema_decay))
    callbacks.extend(more)
    # After those, so that it sees the step's averaged weights, what they noted and the request to stop.
    callbacks.append(
        SaveCheckpoints(
            out / CHECKPOINTS,
            save_every=config.save_every,
            val_every=config.val_every,
            keep_last=config.keep_last,
        )
    )
    callbacks.append(throughput)  # last, so that what the others do does not count as waiting for data
    callbacks.append(LearningRateMonitor(logging_interval="step"))
    loggers: list[Logger] = [JSONLLogger(out / "metrics.jsonl", resume_at=resume_at)]
    if importlib.util.find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(out, name="tensorboard", version=""))
    else:
        console.print("no TensorBoard log: type pip install 'foreact\\[view]'")
    trainer = lightning.Trainer(
        max_steps=config.steps,
        max_epochs=-1,
        accelerator=config.accelerator,
        devices=int(config.devices) if config.devices.lstrip("-").isdigit() else config.devices,
        num_nodes=config.num_nodes,
        strategy=config.strategy,
        precision=config.precision,
        accumulate_grad_batches=config.accumulate,
        val_check_interval=config.val_every * config.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=min(config.log_every, config.steps * config.accumulate),
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=loggers,
        callbacks=callbacks,
        plugins=[DirectoryCheckpointIO(meta)],
        default_root_dir=out,
    )
    if trainer.strategy.root_device.type == "cpu":
        _check_precision(config.precision)
    return trainer


def _check_precision(precision: str) -> None:
    """Refuse what a processor would only emulate.

    Raises:
        ConfigError: If this one does.
    """
    if precision == "16-mixed":
        raise ConfigError("train.precision 16-mixed needs a GPU; leave it out to train in float32")
    if precision == "bf16-mixed" and not has_bf16_units():
        raise ConfigError(
            "train.precision bf16-mixed would be slower than float32 on this processor, which does not multiply "
            f"bfloat16 itself (none of its flags is {' or '.join(BF16_FLAGS)}); leave it out, or train on a GPU"
        )


def _quiet_lightning() -> None:
    """Silence Lightning's remarks about things decided here on purpose, and about its own use of torch."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    without_validation = "Total length of `list` across ranks is zero"
    other = ".*AMP with fp16 is not supported on CPU"  # which is refused, instead of another precision taken
    for message in (".*does not have many workers.*", ".*LeafSpec.* is deprecated", without_validation, other):
        warnings.filterwarnings("ignore", message=message)
