"""The network in 8-bit integers, with ranges taken from real frames."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import nncf
import numpy as np
import onnx

_NETWORK = "predictor.network"
"""Only what is in here is quantised: projections, crops and the arm's kinematics are not a network's."""
_KEPT = (
    "latent_proj",
    "state_proj",
    "environment_proj",
    "strong",
    "films",
    "world",
    "encoder.layers.0.self_attention",
    "decoder.layers.0",
    "action_head",
)
"""Parts of it that stay in float. Numbers go in, or come out, that 256 steps are too few for. The encoder's first
tokens, which no norm has made alike yet, are of very different sizes: that attention alone made half of the whole
error, and the decoder's first layer, which is cheap, a third of the rest (docs/deploy.md)."""
_PRODUCTS = {"Conv", "MatMul", "Gemm"}
"""What is quantised outside of the backbone, where sums and norms of tokens stay in float."""
_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where PyTorch's exporter writes which module a node is from."""


def quantize(path: Path, frames: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Replace an ONNX file's network by one with weights and activations in int8.

    Args:
        path: The file, in fp32.
        frames: Real ones, inputs by name: activations of as wide a range as theirs are told apart.
    """
    logging.getLogger("nncf").setLevel(logging.ERROR)  # not by `set_log_level`, which sets others' handlers too
    model = onnx.load(path)
    kept = [node.name for node in model.graph.node if not _is_quantised(node)]
    quantized = nncf.quantize(
        model,
        nncf.Dataset([dict(frame) for frame in frames]),
        subset_size=len(frames),
        ignored_scope=nncf.IgnoredScope(names=kept, validate=False),
    )
    onnx.save(quantized, path)


def _is_quantised(node: onnx.NodeProto) -> bool:
    scopes = {entry.key: entry.value for entry in node.metadata_props}.get(_SCOPES, "")
    if f"'{_NETWORK}'" not in scopes or any(f"'{_NETWORK}.{part}" in scopes for part in _KEPT):
        return False
    return node.op_type in _PRODUCTS or f"'{_NETWORK}.backbones" in scopes
