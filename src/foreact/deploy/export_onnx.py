"""The graph as an ONNX file."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from onnxscript import optimizer

from foreact.deploy.export_graph import ObservationToChunk, example, input_shapes
from foreact.policy.policy import Policy
from foreact_runtime.bundle import OUTPUT

OPSET = 20
"""The first with a 2-D GridSample of today's names."""
_ANY = sys.maxsize
"""Elements of a constant: none is too large to be folded."""
_WORTH_MAPPING = 1024
"""Bytes of a weight that lies in a file of its own; smaller ones the graph's optimisation looks into."""
_WORTH_HALVING = 256
"""Elements; scales and offsets of the normaliser have fewer."""


def write_onnx(policy: Policy, path: Path) -> None:
    """Write a policy's graph, weights included, as one ONNX file."""
    features = policy.features
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            ObservationToChunk(policy),
            example(features),
            input_names=list(input_shapes(features)),
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        # Slices of the attention's weights too, which are larger than what the exporter folds by itself: what is not a
        # constant of the graph is no weight to `quantize`.
        optimizer.optimize(program.model, input_size_limit=_ANY, output_size_limit=_ANY)
        program.save(path, external_data=False)


def write_network(graph: Path, path: Path) -> None:
    """Write an ONNX file as a bundle has it: its weights in a file of their own, which a robot maps instead of copying.

    That halves the time to open it, and saves the memory of a copy. What the exporter notes of this machine's files is
    left out.

    Args:
        graph: An ONNX file.
        path: Ends in .onnx; the weights are written beside it, in .bin.
    """
    import onnx

    model = onnx.load(graph)
    for noted in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del noted.metadata_props[:]
    weights = path.with_suffix(".bin")
    onnx.save(model, path, save_as_external_data=True, location=weights.name, size_threshold=_WORTH_MAPPING)
    if weights.exists():
        weights.chmod(path.stat().st_mode)  # else it would be nobody's but its writer's


def store_in_halves(path: Path) -> None:
    """Halve an ONNX file: weights are stored in 16 bits and made 32 again when it is loaded."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < _WORTH_HALVING:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)
