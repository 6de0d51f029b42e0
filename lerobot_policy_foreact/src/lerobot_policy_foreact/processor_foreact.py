"""LeRobot's pipelines around the policy: rename, add the batch's axis, move to the device; no number is changed."""

from __future__ import annotations

from typing import Any

from lerobot.processor import PolicyAction, PolicyProcessorPipeline, make_default_pre_post_processors
from torch import Tensor

from lerobot_policy_foreact.configuration_foreact import ForeactConfig

Pipelines = tuple[
    PolicyProcessorPipeline[dict[str, Any], dict[str, Any]], PolicyProcessorPipeline[PolicyAction, PolicyAction]
]


def make_foreact_pre_post_processors(
    config: ForeactConfig, dataset_stats: dict[str, dict[str, Tensor]] | None = None
) -> tuple[
    PolicyProcessorPipeline[dict[str, Any], dict[str, Any]], PolicyProcessorPipeline[PolicyAction, PolicyAction]
]:
    """Return the pipelines before and after the policy.

    LeRobot's commands expect a normaliser in each; `config.normalization_mapping` makes them pass everything on.
    """
    return make_default_pre_post_processors(config, dataset_stats)
