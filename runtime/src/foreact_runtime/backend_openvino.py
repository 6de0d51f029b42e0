"""OpenVINO on the CPU; it reads its own files and ONNX's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock

import numpy as np
import openvino

from foreact_runtime.bundle import OUTPUT
from foreact_runtime.errors import CheckpointError


class OpenVINONetwork:
    """A compiled network for one stream of observations."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Compile the file; raises CheckpointError where it is no network that this version runs."""
        self._one_at_a_time = Lock()
        options: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            network = openvino.Core().compile_model(str(path), "CPU", options)
            self._request = network.create_infer_request()
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise CheckpointError(f"OpenVINO {openvino.__version__} cannot read '{path}': {reason}") from error
        self.inputs = frozenset(of.get_any_name() for of in network.inputs)

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the chunk (T, C); callers in other threads wait."""
        with self._one_at_a_time:
            return np.array(self._request.infer(dict(inputs))[OUTPUT], np.float32)
