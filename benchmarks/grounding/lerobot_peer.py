"""LeRobot's own ACT as a peer: trained by `lerobot-train`, asked through a pipe, each in LeRobot's environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from benchmarks.grounding import lerobot_worker
from benchmarks.grounding.lerobot_worker import read_message, write_message

from foreact.config import RunConfig
from foreact.console import console
from foreact.data.selection import select_features
from foreact.data.source import open_source
from foreact.data.split import split_episodes
from foreact.deploy.lerobot_names import SAME_NAME
from foreact.errors import ConfigError, TrainingError
from foreact.records import Features
from foreact_runtime.executor import ChunkQueue, Executor
from foreact_runtime.keys import ENVIRONMENT_STATE, STATE, image_key

PYTHON = Path(".venv-lerobot/bin/python")
"""Made by `make test-lerobot`."""


def train_lerobot(
    run: RunConfig, *, data: Path, out: Path, python: Path = PYTHON, threads: int = 1, device: str = "cpu"
) -> None:
    """Train LeRobot's ACT on the episodes that ours would train on, or go on with an interrupted run.

    Same data set, budget, batch size, chunk, transformer, learning rate, schedule, decay and clipping as `run`. Not
    the same: LeRobot has no average of the weights, and ResNet-18 is its smallest backbone.

    Args:
        run: Our recipe.
        data: A data set's folder.
        out: The run's folder, LeRobot's `output_dir`; what it prints goes to `<out>.log`.
        python: The interpreter of LeRobot's environment.
        threads: To compute with.
        device: As PyTorch names it.

    Raises:
        ConfigError: If the environment is missing.
        TrainingError: If `lerobot-train` fails; the message ends with its last line.
    """
    command = _environment(python).with_name("lerobot-train")
    config = out / "checkpoints/last/pretrained_model/train_config.json"
    if config.exists():
        options = {"config_path": config, "resume": "true"}
    else:
        shutil.rmtree(out, ignore_errors=True)  # interrupted before its first checkpoint, and LeRobot wants it absent
        options = train_options(run, data=data, out=out, device=device)
    out.parent.mkdir(parents=True, exist_ok=True)
    log = out.with_suffix(".log")
    with log.open("a") as file:
        process = subprocess.Popen(
            [str(command.absolute()), *(f"--{name}={value}" for name, value in options.items())],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=_offline(threads),
        )
        last: deque[str] = deque(maxlen=1)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                file.flush()
                last.append(line.strip())
                if " step:" in line:
                    console.print(f"lerobot-train: {line[line.index(' step:') + 1 :].strip()}", highlight=False)
            process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        raise TrainingError(f"lerobot-train ended with {process.returncode}, see '{log}': {''.join(last)}")
    _drop_old_checkpoints(out)


def _drop_old_checkpoints(out: Path) -> None:
    """Keep the last one alone, without its optimiser: LeRobot keeps all, each three times as large as the network."""
    last = (out / "checkpoints/last").resolve()
    for checkpoint in (out / "checkpoints").glob("[0-9]*"):
        if checkpoint.resolve() != last:
            shutil.rmtree(checkpoint)
    shutil.rmtree(last / "training_state")


def train_options(run: RunConfig, *, data: Path, out: Path, device: str = "cpu") -> dict[str, Any]:
    """Return the options of `lerobot-train` that say the same as our recipe.

    Raises:
        ConfigError: If the recipe has a learning rate for the backbone alone, which LeRobot's schedules cannot have.
    """
    policy, train = run.policy, run.train
    if train.lr != train.lr_backbone:
        raise ConfigError(f"train.lr_backbone {train.lr_backbone} must be train.lr {train.lr} for lerobot-train")
    source = open_source(data)
    training, _ = split_episodes(source.tasks, source.lengths, train.val_fraction, train.seed, source.scenes)
    constant = train.lr_schedule == "constant"
    schedule = {
        "scheduler.type": "cosine_decay_with_warmup",
        "scheduler.num_warmup_steps": train.warmup_steps,
        "scheduler.num_decay_steps": train.steps,
        "scheduler.peak_lr": train.lr,
        "scheduler.decay_lr": train.lr if constant else train.lr_min,
    }
    return {
        "dataset.repo_id": "local/grounding",
        "dataset.root": data.absolute(),
        "dataset.video_backend": "pyav",
        "dataset.episodes": list(training),
        "policy.type": "act",
        "policy.device": device,
        "policy.push_to_hub": "false",
        "policy.input_features": json.dumps(_input_features(select_features(source.features, policy))),
        "policy.vision_backbone": "resnet18",
        "policy.pretrained_backbone_weights": "null",
        **{f"policy.{name}": _word(getattr(policy, name)) for name in SAME_NAME},
        "use_policy_training_preset": "false",
        "optimizer.type": "adamw",
        "optimizer.lr": train.lr,
        "optimizer.weight_decay": train.weight_decay,
        "optimizer.grad_clip_norm": train.grad_clip,
        **schedule,
        "output_dir": out.absolute(),
        "steps": train.steps,
        "batch_size": train.batch_size * train.accumulate,
        "seed": train.seed,
        "num_workers": 0,
        "log_freq": train.log_every,
        "save_freq": train.save_every,
        "env_eval_freq": 0,
        "wandb.enable": "false",
    }


def _input_features(features: Features) -> dict[str, dict[str, Any]]:
    """Return LeRobot's names, kinds and shapes of what the policy sees; without them it takes all that the data has."""
    pictures = {
        image_key(camera.name): {"type": "VISUAL", "shape": [camera.channels, camera.height, camera.width]}
        for camera in features.cameras
    }
    return {
        STATE: {"type": "STATE", "shape": [features.state_dim]},
        ENVIRONMENT_STATE: {"type": "ENV", "shape": [features.environment_dim]},
        **pictures,
    }


def saved_steps(out: Path) -> int:
    """Return the steps of the run's last complete checkpoint, 0 where there is none."""
    last = out / "checkpoints/last"  # a link that LeRobot moves once a checkpoint is complete
    return int(last.resolve().name) if last.exists() else 0


def pretrained_model(out: Path) -> Path:
    """Return where a run's last checkpoint has the policy."""
    return out / "checkpoints/last/pretrained_model"


class LeRobotPolicy:
    """LeRobot's ACT behind what `rollout` asks of a policy; a context manager that ends its worker.

    Chunks are LeRobot's own, with its own pre- and postprocessing; they are queued here as its `select_action` does:
    the first `n_action_steps`, then another query. A chunk depends on nothing before it, so episodes may run side
    by side and there is nothing to reset.
    """

    def __init__(self, run: RunConfig, *, data: Path, out: Path, python: Path = PYTHON, threads: int = 1) -> None:
        """Start the worker on the run's last checkpoint; arguments as of `train_lerobot`."""
        self._again = partial(LeRobotPolicy, run, data=data, out=out, python=python)
        self.features = select_features(open_source(data).features, run.policy)
        self._log = out.with_suffix(".worker.log")
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [
                    str(_environment(python).absolute()),
                    "-P",
                    lerobot_worker.__file__,
                    str(pretrained_model(out)),
                    str(threads),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_offline(threads),
            )
        hello = self._read()
        self.version = str(hello["version"])
        self.parameters = int(hello["parameters"])
        self._n_action_steps = int(hello["n_action_steps"])

    def __reduce__(self) -> tuple[partial[LeRobotPolicy], tuple[()]]:
        """Pickle as a call that starts another worker, with one thread, which ends with the process that loads it."""
        return self._again, ()

    def __enter__(self) -> LeRobotPolicy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()  # the worker ends with its input
        self._process.stdout.close()
        self._process.wait()

    def reset(self) -> None:
        """Do nothing: a chunk depends on one observation alone."""

    def make_executor(self) -> Executor:
        """Return a queue of `n_action_steps`."""
        return ChunkQueue(self._n_action_steps)

    def predict_chunks(self, observations: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """Return chunks (B, T, A) in the robot's units for B observations; see `Policy.predict_chunks`."""
        names = [STATE, ENVIRONMENT_STATE, *(image_key(camera.name) for camera in self.features.cameras)]
        assert self._process.stdin is not None
        write_message(self._process.stdin, {name: np.stack([of[name] for of in observations]) for name in names})
        return self._read()["chunk"]

    def _read(self) -> dict[str, np.ndarray]:
        assert self._process.stdout is not None
        message = read_message(self._process.stdout)
        if message is None:
            raise TrainingError(f"LeRobot's worker ended with {self._process.wait()}; see '{self._log}'")
        return message


def _environment(python: Path) -> Path:
    if not python.exists():
        raise ConfigError(f"no LeRobot environment at '{python}': type make test-lerobot, or give --lerobot-python")
    return python


def _offline(threads: int) -> dict[str, str]:
    """The environment's variables: LeRobot must not ask the network for anything."""
    quiet = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "WANDB_MODE": "disabled"}
    return {**os.environ, **quiet, "OMP_NUM_THREADS": str(threads)}


def _word(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
