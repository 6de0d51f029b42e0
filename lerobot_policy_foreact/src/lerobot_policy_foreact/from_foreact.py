"""`python -m lerobot_policy_foreact.from_foreact RUN OUT`: a policy of `foreact train` for LeRobot's commands."""

from __future__ import annotations

import sys
from dataclasses import asdict, fields
from pathlib import Path

from lerobot.configs import FeatureType, PolicyFeature

from foreact.config import PolicyConfig
from foreact.deploy.lerobot_export import has_encoder, write_new
from foreact.deploy.lerobot_names import camera_key
from foreact.errors import ConfigError, ForeactError
from foreact.normalizer import statistics_to_dict
from foreact.policy.checkpoint import find_checkpoint, load_weights, read_meta, read_weights
from foreact_runtime import keys
from lerobot_policy_foreact.configuration_foreact import LEFT_OUT, NOT_HERE, ForeactConfig
from lerobot_policy_foreact.modeling_foreact import ForeactPolicy
from lerobot_policy_foreact.processor_foreact import make_foreact_pre_post_processors


def convert(run: str | Path, out: str | Path, *, checkpoint: str = "last", device: str = "cpu") -> ForeactPolicy:
    """Write a checkpoint of Foreact as one that LeRobot loads with this plugin, and return its policy.

    Without CVAE encoder it becomes one with `use_vae` false, which acts alike, unless its latent is sampled.

    Args:
        run: A run or a checkpoint directory.
        out: The directory to write, for --policy.path.
        checkpoint: For a run: "last", "best" or a step's number.
        device: Of the written configuration.

    Raises:
        CheckpointError: If it is missing, incomplete or altered, or `out` exists or cannot be written.
        ConfigError: If it takes nested observations or another rate than the recorded one.
    """
    directory = find_checkpoint(run, checkpoint)
    meta = read_meta(directory)
    plain = type(meta.policy)()
    for name in LEFT_OUT:
        if getattr(meta.policy, name) != getattr(plain, name):
            raise ConfigError(f"LeRobot has no policy.{name}: '{directory}' cannot be written for it")
    features = meta.features
    inputs = {}
    if features.state_dim:
        inputs[keys.STATE] = PolicyFeature(FeatureType.STATE, (features.state_dim,))
    if features.environment_dim:
        inputs[keys.ENVIRONMENT_STATE] = PolicyFeature(FeatureType.ENV, (features.environment_dim,))
    for camera in features.cameras:
        height, width = camera.recorded_size or (camera.height, camera.width)
        inputs[camera_key(camera.name)] = PolicyFeature(FeatureType.VISUAL, (3, height, width))
    weights = read_weights(directory)
    options = {of.name: getattr(meta.policy, of.name) for of in fields(meta.policy) if of.name not in NOT_HERE}
    options["use_vae"] = meta.policy.use_vae and (has_encoder(weights) or meta.policy.latent == "prior")
    config = ForeactConfig(
        **options,
        input_features=inputs,
        output_features={keys.ACTION: PolicyFeature(FeatureType.ACTION, (features.action_dim,))},
        action_feature_names=list(features.action_names),
        robot={"features": asdict(features), "statistics": statistics_to_dict(meta.statistics)},
        device=device,
        push_to_hub=False,
    )
    policy = ForeactPolicy(config)
    load_weights(policy.model, weights, directory)

    def write(folder: Path) -> None:
        policy.save_pretrained(folder)
        for pipeline in make_foreact_pre_post_processors(config):
            pipeline.save_pretrained(folder)

    write_new(Path(out), write)
    return policy


def left_behind(config: PolicyConfig) -> str:
    """Return what LeRobot has not, for people; empty where nothing is lost."""
    if not config.asynchronous:
        return ""
    return "asynchronous execution stays behind: LeRobot's loop waits for each chunk"


def main() -> None:
    """Convert what the command line names, and say what is left behind."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m lerobot_policy_foreact.from_foreact RUN OUT")
    try:
        convert(sys.argv[1], sys.argv[2])
        lost = left_behind(read_meta(find_checkpoint(sys.argv[1])).policy)
    except ForeactError as error:
        sys.exit(f"error: {error}")
    if lost:
        print(lost)


if __name__ == "__main__":
    main()
