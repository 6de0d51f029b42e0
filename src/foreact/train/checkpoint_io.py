"""Lightning's checkpoints as directories of safetensors and JSON: nothing is pickled, nothing half written.

Besides the files of `foreact.policy.checkpoint`, which inference reads, a training checkpoint holds
`training_state.safetensors` and `training_state.json`: optimiser, schedule, loops, callbacks, data position.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from safetensors.torch import load_file, save_file

from foreact.errors import CheckpointError
from foreact.policy.checkpoint import (
    CheckpointMeta,
    check_directory,
    read_weights,
    write_directory,
    write_policy_files,
)

_STATE_JSON = "training_state.json"
_STATE_TENSORS = "training_state.safetensors"
_PREFIX = "model."
"""Of the network inside the Lightning module."""


class DirectoryCheckpointIO(CheckpointIO):
    """Writes and reads what `trainer.save_checkpoint` and `trainer.fit(ckpt_path=...)` hand over."""

    def __init__(self, meta: CheckpointMeta) -> None:
        """Take what every checkpoint of this run says of itself; the step is filled in."""
        self._meta = meta

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint directory atomically.

        Raises:
            CheckpointError: If it cannot be written; an older one of that name is kept.
        """
        state = dict(checkpoint)
        weights = {name.removeprefix(_PREFIX): tensor for name, tensor in state.pop("state_dict").items()}
        tensors: dict[str, torch.Tensor] = {}
        packed = _pack(state, "state", tensors)
        meta = replace(self._meta, step=int(checkpoint["global_step"]))

        def write(directory: Path) -> None:
            write_policy_files(directory, meta, weights)
            (directory / _STATE_JSON).write_text(json.dumps(packed))
            save_file(tensors, directory / _STATE_TENSORS)

        write_directory(Path(path), write)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Return what was saved, after checking every file.

        Raises:
            CheckpointError: If it is incomplete, altered, or was exported without its training state.
        """
        directory = Path(path)
        check_directory(directory)
        if not (directory / _STATE_JSON).exists():
            raise CheckpointError(
                f"checkpoint '{directory}' holds no training state, so training cannot resume from it"
            )
        tensors = load_file(directory / _STATE_TENSORS)
        state = _unpack(json.loads((directory / _STATE_JSON).read_text()), tensors)
        weights = read_weights(directory)
        return {**state, "state_dict": {f"{_PREFIX}{name}": tensor for name, tensor in weights.items()}}

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint directory."""
        shutil.rmtree(path)


def _pack(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Return JSON for nested dicts (str or int keys), lists, tuples, plain values and tensors, which are put aside."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _pack(item, f"{name}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_pack(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CheckpointError(f"training state '{name}' has type {type(value).__name__}, which is not saved without pickle")


def _unpack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in content}
    items = [_unpack(item, tensors) for item in content]
    return items if kind == "list" else tuple(items)
