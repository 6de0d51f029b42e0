"""Which weights become integers."""

from dataclasses import replace
from math import prod
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from deploy.test_export_graph import SMALL, TOLD, observation, untrained
from foreact.config import PolicyConfig
from foreact.deploy.export_onnx import write_onnx
from foreact.deploy.quantize import quantize

PRODUCTS = ("backbones.", "image_proj.", "encoder.layers.", "decoder.layers.")
IN_FLOAT = ("encoder.layers.0.self_attention.", "decoder.layers.0.")
"""For their part in the error (docs/deploy.md)."""


@pytest.mark.slow
@pytest.mark.parametrize("range_m", [None, (0.1, 2)])
def test_a_network_whose_pictures_are_resized_first_is_quantised_too(
    range_m: tuple[float, float] | None, tmp_path: Path
) -> None:
    """Resizing is products with constants, which are no layers; a further channel has its own part of a weight."""
    features = replace(TOLD, cameras=(replace(TOLD.cameras[0], depth_range=range_m),))
    policy = untrained(PolicyConfig(**SMALL, image_size=(32, 40), conditioning=("token",)), features)
    path = tmp_path / "graph.onnx"
    write_onnx(policy, path)
    quantize(path, [observation(policy.features, seed) for seed in range(2)])
    assert TensorProto.INT8 in {of.data_type for of in onnx.load(path).graph.initializer}


@pytest.mark.slow
def test_every_product_with_a_weight_is_of_integers_but_those_that_cost_the_most(tmp_path: Path) -> None:
    """Those of attention too: its queries, keys and values are slices of one tensor, of any size."""
    options = {**SMALL, "dim_model": 64, "n_decoder_layers": 2, "conditioning": ("token",)}
    policy = untrained(PolicyConfig(**options), replace(TOLD, cameras=TOLD.cameras[:1]))
    path = tmp_path / "graph.onnx"
    write_onnx(policy, path)
    quantize(path, [observation(policy.features, seed) for seed in range(2)])
    stored = onnx.load(path).graph.initializer
    integers = sum(prod(of.dims) for of in stored if of.data_type == TensorProto.INT8 and len(of.dims) > 1)
    weights = {name: of.numel() for name, of in policy.model.named_parameters() if of.ndim > 1}
    expected = [weights[name] for name in weights if name.startswith(PRODUCTS) and not name.startswith(IN_FLOAT)]
    assert integers == sum(expected)
