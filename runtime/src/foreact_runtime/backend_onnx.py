"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from foreact_runtime.bundle import OUTPUT
from foreact_runtime.errors import CheckpointError


class OnnxNetwork:
    """A session for one stream of observations."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Open the file; raises CheckpointError where it is no network that this version runs."""
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 4  # what goes wrong is raised
        # A robot's other threads need the cores between two chunks.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its classes have no common base of their own
            reason = str(error).splitlines()[0]
            version = onnxruntime.__version__
            raise CheckpointError(f"onnxruntime {version} cannot read '{path}': {reason}") from error
        self.inputs = frozenset(of.name for of in self._session.get_inputs())

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the chunk (T, C)."""
        (chunk,) = self._session.run([OUTPUT], dict(inputs))
        return np.asarray(chunk, np.float32)
