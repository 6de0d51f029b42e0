"""The bundle: one directory with all that a robot needs, written by `foreact export`.

    <bundle>/
        bundle.json        features, executor settings, format, inputs, versions, where the policy comes from
        network.onnx       or network.xml (OpenVINO): raw observation in, chunk out
        network.bin        its weights
        check.npz          real observations and the chunks that the policy gave for them when it was exported
        manifest.json      SHA-256 of every file, written last

Nothing in it is code or pickled. One of format `torch` is a checkpoint besides, for `foreact.load_policy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from foreact_runtime.errors import CheckpointError, unknown_name
from foreact_runtime.limits import Limits
from foreact_runtime.manifest import check_directory, read_json
from foreact_runtime.records import Features, features_from_dict
from foreact_runtime.settings import ExecutorSettings, settings_from_dict

BUNDLE = "bundle.json"
CHECK = "check.npz"
NETWORK = "network"
"""The network's file without its suffix."""
OUTPUT = "chunk"
"""Name of the network's result, (T, C), and of the expected ones in `check.npz`."""
BUNDLE_SCHEMA = 1
FORMATS = ("onnx", "openvino", "torch")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What a bundle says of itself."""

    path: Path
    format: str
    """One of `FORMATS`."""
    precision: str
    """Of the network: fp32, fp16 or int8."""
    features: Features
    settings: ExecutorSettings
    inputs: tuple[str, ...]
    """Keys of the tensors that the network takes, in its order."""
    scale: tuple[float, ...]
    """What one normalised unit is in each column of a chunk: errors are told in normalised units."""
    tolerance: float
    """Largest error that the self-check allows, in normalised units."""
    provenance: Mapping[str, Any]
    """Run, step, data, versions and the errors measured at the export."""

    @property
    def network(self) -> Path:
        """The network's file."""
        return self.path / f"{NETWORK}.{'xml' if self.format == 'openvino' else 'onnx'}"


def is_bundle(path: str | Path) -> bool:
    """Return whether a directory is a bundle."""
    return (Path(path) / BUNDLE).exists()


def read_bundle(path: str | Path) -> Bundle:
    """Return what a bundle says of itself, after checking the whole directory.

    Raises:
        CheckpointError: If there is none, it is incomplete, altered, or from a newer foreact.
    """
    root = Path(path)
    if not root.is_dir():
        raise CheckpointError(f"no bundle at '{root}': there is no such directory")
    if not is_bundle(root):
        raise CheckpointError(f"'{root}' is no bundle: it has no {BUNDLE}; foreact export writes one")
    known = check_directory(root)
    content = read_json(root / BUNDLE)
    schema = content.get("schema_version")
    if schema != BUNDLE_SCHEMA:
        raise CheckpointError(
            f"bundle '{root}' has schema version {schema}, this foreact-runtime reads {BUNDLE_SCHEMA}; "
            "install a newer foreact-runtime or export again"
        )
    try:
        bundle = Bundle(
            path=root,
            format=content["format"],
            precision=content["precision"],
            features=features_from_dict(content["features"]),
            settings=settings_from_dict(content["executor"]),
            inputs=tuple(content["inputs"]),
            scale=tuple(float(of) for of in content["scale"]),
            tolerance=float(content["tolerance"]),
            provenance=content["provenance"],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"'{root / BUNDLE}' is not what this foreact-runtime reads: {error!r}") from error
    if bundle.format not in FORMATS:
        raise CheckpointError(f"'{root / BUNDLE}': {unknown_name('format', str(bundle.format), FORMATS)}")
    _check_lengths(bundle)
    weights = bundle.network.with_suffix(".bin")
    needed = [BUNDLE, CHECK] + ([] if bundle.format == "torch" else [bundle.network.name])
    for name in [*needed, *([weights.name] if weights.exists() else [])]:
        if name not in known:
            raise CheckpointError(f"the manifest of '{root}' does not name '{name}'; copy the whole directory again")
    return bundle


def _check_lengths(bundle: Bundle) -> None:
    """Refuse limits or an alarm that are of another robot."""
    features, settings = bundle.features, bundle.settings
    action, state, environment = len(features.action_names), features.state_dim, features.environment_dim
    needed = {f"limits.{of.name}": (getattr(settings.limits, of.name), action, "action") for of in fields(Limits)}
    needed["alarm.state"] = (settings.alarm.state, state, "state")
    needed["alarm.environment_state"] = (settings.alarm.environment_state, environment, "environment state")
    for name, (values, n, what) in needed.items():
        if len(values) not in (0, n):
            raise CheckpointError(
                f"'{bundle.path / BUNDLE}': {name} holds {len(values)} values for {n} dimensions of the {what}; "
                "export it again"
            )


def read_check(bundle: Bundle) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
    """Return the observations of the self-check and the chunks (N, T, C) expected for them.

    Raises:
        CheckpointError: If the file cannot be read or lacks one of them.
    """
    try:
        with np.load(bundle.path / CHECK, allow_pickle=False) as arrays:
            expected = arrays[OUTPUT]
            observed = {key: arrays[key] for key in bundle.inputs}
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise CheckpointError(f"cannot read '{bundle.path / CHECK}': {error}") from error
    if not len(expected) or any(len(values) != len(expected) for values in observed.values()):
        raise CheckpointError(f"'{bundle.path / CHECK}' has not one chunk an observation; export again")
    if expected.shape[-1] != len(bundle.scale):
        raise CheckpointError(f"'{bundle.path / CHECK}' has chunks of another width than {BUNDLE}; export again")
    return [{key: values[i] for key, values in observed.items()} for i in range(len(expected))], expected
