"""LeRobot's ACT checkpoints in our terms: 0.4 to 0.6 with processor files, up to 0.3 with buffers in the weights.

Layouts: FORMATS.md 2. The chunk for the same raw observation is LeRobot's to rounding (tests_lerobot/), also where a
dimension hardly varies: LeRobot divides by the standard deviation + 1e-8, so the statistics that are written are those
plus that, and `policy.narrowest` is 0. One exception: an input with an empty range under MIN_MAX or quantiles is -1,
as LeRobot has it for the value it always had, but a movement later is not blown up 2e8 times.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from foreact.config import Normalization, PolicyConfig, policy_config_from_dict
from foreact.data.lerobot_info import camera_name
from foreact.deploy.lerobot_names import EPS, METHODS, SAME_NAME, under_our_names
from foreact.deploy.reading import Foreign, statistics_from, with_names
from foreact.deploy.unsaid import NAMES_AND_RATE, Unsaid, refuse_others
from foreact.errors import CheckpointError, unknown_name
from foreact.model.act import ACT
from foreact.normalizer import IMAGENET_MEAN, IMAGENET_STD, statistics_from_dict
from foreact.policy.inputs import network_features
from foreact.records import Camera, Features, VectorStatistics, features_from_dict
from foreact_runtime import keys

CONFIG = "config.json"
MODEL = "model.safetensors"
PREPROCESSOR = "policy_preprocessor.json"
POSTPROCESSOR = "policy_postprocessor.json"
_FPS = 30.0
_PASSED_ON = ("rename_observations_processor", "to_batch_processor", "device_processor")
"""Steps that change no number."""
_USED = {
    "MEAN_STD": ("mean", "std"),
    "MIN_MAX": ("min", "max"),
    "QUANTILES": ("q01", "q99"),
    "QUANTILE10": ("q10", "q90"),
    "IDENTITY": (),
}
"""The statistics that a mode uses."""
_EMPTY = 1.0
"""Half the range that an input's empty one gets: its value becomes -1 without a large factor."""

_STATISTICS = ("mean", "std", "min", "max", "q01", "q99", "count")
"""Those that ours has too."""

_Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class _Scaling:
    """How the values of one key are scaled: LeRobot's mode, the statistics by name, what keeps divisors from 0."""

    mode: str = "IDENTITY"
    stats: Mapping[str, np.ndarray] = field(default_factory=dict)
    eps: float = EPS


def find_lerobot(path: Path) -> Path | None:
    """Return the directory of a LeRobot policy that a path means: itself, a checkpoint's or a training's; or None."""
    for directory in (path, path / "pretrained_model", path / "checkpoints/last/pretrained_model"):
        if (directory / CONFIG).exists() and "type" in _json(directory / CONFIG):
            return directory
    return None


def read_lerobot(directory: Path, unsaid: Unsaid) -> Foreign:
    """Read a LeRobot ACT policy, or one of ours that LeRobot has trained.

    Args:
        directory: With config.json and model.safetensors.
        unsaid: Names and rate, which the files of LeRobot's ACT do not hold.

    Raises:
        CheckpointError: If a file is missing or damaged, the policy is not ACT, or does what ours cannot.
        ConfigError: If an option has a value that ours does not know, or one is given that the files say.
        KeyError, TypeError, ValueError: If a file has another form than LeRobot's.
    """
    config = _json(directory / CONFIG)
    kind = config.get("type")
    if kind not in ("act", "foreact"):
        raise CheckpointError(f"'{directory}' is a LeRobot policy of type '{kind}'; 'act' and 'foreact' are read")
    if config.get("use_peft"):
        raise CheckpointError(f"'{directory}' holds changes to weights (PEFT) and not the weights; merge them first")
    tensors = {name: value.float() for name, value in _tensors(directory / MODEL).items()}
    weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    if kind == "foreact":
        refuse_others(unsaid, (), "policies of the plugin")
        return _ours(directory, config, weights)
    refuse_others(unsaid, NAMES_AND_RATE, "LeRobot's checkpoints")
    inputs: dict[str, Any] = config.get("input_features") or {}
    outputs: dict[str, Any] = config.get("output_features") or {}
    if keys.ACTION not in outputs:
        raise CheckpointError(f"'{directory / CONFIG}' has no output feature '{keys.ACTION}'; it has: {[*outputs]}")
    of_kind = {kind: [key for key, of in inputs.items() if of["type"] == kind] for kind in ("VISUAL", "STATE", "ENV")}
    features_of = {**inputs, **outputs}
    has_processors = (directory / PREPROCESSOR).exists()
    if has_processors:
        renamed, scalings = _processors(directory, features_of)
    else:
        renamed, scalings = {}, _buffers(config, tensors, features_of, directory)

    def dim(key: str) -> int:
        return int(features_of[key]["shape"][0]) if key in features_of else 0

    environment = next(iter(of_kind["ENV"]), "")
    features = Features(
        action_names=_numbered("action", dim(keys.ACTION)),
        state_names=_numbered("state", dim(keys.STATE) if keys.STATE in of_kind["STATE"] else 0),
        environment_names=_numbered("environment_state", dim(environment)),
        cameras=tuple(
            _camera(camera_name(renamed.get(key, key)), inputs[key]["shape"], key) for key in of_kind["VISUAL"]
        ),
        fps=_FPS,
    )
    vectors = {keys.ACTION: keys.ACTION, keys.STATE: keys.STATE, keys.ENVIRONMENT_STATE: environment}
    options: dict[str, Any] = {}
    statistics: dict[str, VectorStatistics] = {}
    for key, theirs in vectors.items():
        if theirs in scalings:
            method, ranges, statistics[key] = _vector(key, scalings[theirs], dim(theirs))
            options[f"{_option(key)}_normalization"] = method
            if ranges is not None:
                options[f"{_option(key)}_ranges"] = ranges
    for camera, key in zip(features.cameras, of_kind["VISUAL"], strict=True):
        colours = _colours(key, scalings[key])
        if colours is not None:
            statistics[keys.image_key(camera.name)] = colours
    policy = PolicyConfig(
        **{name: config[name] for name in SAME_NAME if name in config},
        **options,
        temporal_ensemble_coeff=config.get("temporal_ensemble_coeff"),
        use_state=bool(features.state_dim),
        use_environment_state=bool(features.environment_dim),
        vision_backbone=config.get("vision_backbone", "resnet18"),
        backbone_dilation=bool(config.get("replace_final_stride_with_dilation")),
        pretrained_backbone_weights=None,
        camera_embedding=False,
        reduction="valid" if has_processors else "padded_mean",
        narrowest=0.0,
    )
    with torch.device("meta"):  # for its weights' names
        model = ACT(policy, network_features(policy, features))
    return Foreign(
        path=directory / MODEL,
        project="LeRobot",
        policy=policy,
        features=with_names(features, unsaid),
        statistics=statistics,
        weights=under_our_names(weights, model.state_dict()),
    )


def _ours(directory: Path, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Foreign:
    """Read a policy of ours that LeRobot has trained with the plugin `lerobot_policy_foreact`."""
    known = {of.name for of in fields(PolicyConfig)}
    options = {name: value for name, value in config.items() if name in known}
    return Foreign(
        path=directory / MODEL,
        project="LeRobot's plugin",
        policy=replace(policy_config_from_dict(options), pretrained_backbone_weights=None),
        features=features_from_dict(config["robot"]["features"]),
        statistics=statistics_from_dict(config["robot"]["statistics"]),
        weights=weights,
    )


def _option(key: str) -> str:
    return {keys.ACTION: "action", keys.STATE: "state", keys.ENVIRONMENT_STATE: "environment"}[key]


def _numbered(name: str, dim: int) -> tuple[str, ...]:
    return tuple(f"{name}_{i}" for i in range(dim))


def _camera(name: str, shape: list[int], key: str) -> Camera:
    if len(shape) != 3 or shape[0] != 3:
        raise CheckpointError(f"LeRobot's input '{key}' has shape {shape}, expected [3, height, width]")
    return Camera(name=name, height=shape[1], width=shape[2])


def _processors(directory: Path, features: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, _Scaling]]:
    """Return the robot's name of each renamed key, and how each key is scaled (0.4 to 0.6).

    Inputs go by the pipeline before the network, actions by the one behind it.
    """
    renamed: dict[str, str] = {}
    scalings = dict.fromkeys(features, _Scaling())
    inputs = {key: of for key, of in features.items() if key != keys.ACTION}
    for file, normalizer, of_file in (
        (PREPROCESSOR, "normalizer_processor", inputs),
        (POSTPROCESSOR, "unnormalizer_processor", {keys.ACTION: features[keys.ACTION]}),
    ):
        path = directory / file
        for step in _json(path)["steps"]:
            name, options = step.get("registry_name", step.get("class")), step.get("config", {})
            if name == normalizer:
                stats = _split(_tensors(path.with_name(step["state_file"]))) if "state_file" in step else {}
                only = options.get("normalize_observation_keys", options["features"])
                for key, of in of_file.items():
                    if key in stats and (key in only or key == keys.ACTION):
                        mode = options["norm_map"].get(of["type"], "IDENTITY")
                        scalings[key] = _Scaling(mode=mode, stats=stats[key], eps=options.get("eps", EPS))
            elif name == "rename_observations_processor":
                renamed |= {new: old for old, new in options.get("rename_map", {}).items()}
            elif name not in _PASSED_ON:
                raise CheckpointError(
                    f"'{path}' has the step '{name}', which foreact does not know; "
                    f"known: {', '.join((normalizer, *_PASSED_ON))}"
                )
    return renamed, scalings


def _split(tensors: _Tensors) -> dict[str, dict[str, np.ndarray]]:
    """`<key>.<statistic>` as key to statistic to numbers."""
    stats: dict[str, dict[str, np.ndarray]] = {}
    for name, value in tensors.items():
        key, _, statistic = name.rpartition(".")
        stats.setdefault(key, {})[statistic] = value.float().numpy()
    return stats


def _buffers(
    config: Mapping[str, Any], tensors: _Tensors, features: Mapping[str, Any], directory: Path
) -> dict[str, _Scaling]:
    """How each key is scaled up to 0.3: buffers whose names are the keys' with underscores for dots.

    Looked up by the known keys: turned back into dots, the underscores of `observation.environment_state` would be too.
    """
    modes = config.get("normalization_mapping") or {}
    scalings = {}
    for key, of in features.items():
        mode = modes.get(of["type"], "IDENTITY")
        prefix = ("unnormalize_outputs" if key == keys.ACTION else "normalize_inputs") + ".buffer_"
        prefix += key.replace(".", "_") + "."
        stats = {n.removeprefix(prefix): value.numpy() for n, value in tensors.items() if n.startswith(prefix)}
        if mode != "IDENTITY" and not stats:
            raise CheckpointError(
                f"'{directory}' has neither {PREPROCESSOR} nor '{prefix}mean' among its weights, so nobody knows how "
                f"'{key}' is normalised; copy the whole directory again"
            )
        scalings[key] = _Scaling(mode=mode, stats=stats)
    return scalings


def _used(key: str, scaling: _Scaling) -> tuple[np.ndarray, ...]:
    """Return the two statistics that a mode uses; none for IDENTITY.

    Raises:
        CheckpointError: If the mode is not known, or a statistic is not there or not finite.
    """
    if scaling.mode not in _USED:
        raise CheckpointError(unknown_name(f"normalisation of '{key}'", scaling.mode, _USED))
    for name in _USED[scaling.mode]:
        if name not in scaling.stats:
            raise CheckpointError(f"'{key}' is normalised by {scaling.mode}, but the checkpoint lacks its '{name}'")
        if not np.isfinite(scaling.stats[name]).all():
            raise CheckpointError(
                f"the '{name}' of '{key}' is not finite: the policy was saved without statistics of its data; "
                "save it with them"
            )
    return tuple(scaling.stats[name] for name in _USED[scaling.mode])


def _vector(
    key: str, scaling: _Scaling, dim: int
) -> tuple[Normalization, tuple[tuple[float, float], ...] | None, VectorStatistics]:
    """Return how a vector is normalised, its declared ranges where there are any, and its statistics."""
    mode, stats, used = scaling.mode, dict(scaling.stats), _used(key, scaling)
    if mode == "MEAN_STD":  # actions are multiplied by the deviation alone, which only must not be 0
        stats["std"] = used[1] + np.float32(EPS if key == keys.ACTION else scaling.eps)
    elif used:
        low, high = used
        empty = scaling.eps if key == keys.ACTION else 2 * _EMPTY
        stats[_USED[mode][1]] = np.where(high == low, low.astype(np.float64) + empty, high)
    known: dict[str, np.ndarray] = {name: value for name, value in stats.items() if name in _STATISTICS}
    statistics = statistics_from(known, dim, f"'{key}'")
    if mode != "QUANTILE10":
        return METHODS[mode], None, statistics
    if key == keys.ENVIRONMENT_STATE:
        raise CheckpointError(f"'{key}' is normalised by QUANTILE10, which foreact has for state and action only")
    ranges = tuple((float(low), float(high)) for low, high in zip(stats["q10"], stats["q90"], strict=True))
    return "min_max", ranges, statistics


def _colours(key: str, scaling: _Scaling) -> VectorStatistics | None:
    """Return what a camera's colours are shifted and divided by; None where it is ImageNet's, as with ours."""
    used = [value.reshape(-1).astype(np.float64) for value in _used(key, scaling)]
    mean, std = np.zeros(3), np.ones(3)
    if scaling.mode == "MEAN_STD":
        mean, std = used[0], used[1] + scaling.eps
    elif used:
        low, high = used
        high = np.where(high == low, low + 2 * _EMPTY, high)
        mean, std = (high + low) / 2, (high - low) / 2
    if np.allclose(mean, IMAGENET_MEAN, rtol=0, atol=1e-6) and np.allclose(std, IMAGENET_STD, rtol=0, atol=1e-6):
        return None
    return statistics_from({**scaling.stats, "mean": mean, "std": std}, 3, f"'{key}'")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"cannot read '{path}': {reason}; copy the whole directory again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"'{path}' holds a {type(content).__name__}, expected a JSON object")
    return content


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read '{path}': {error}; copy the whole directory again") from error
