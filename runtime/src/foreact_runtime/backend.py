"""What runs a bundle's network: ONNX Runtime or OpenVINO, imported only where they are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, get_args

import numpy as np

from foreact_runtime.bundle import Bundle
from foreact_runtime.errors import CheckpointError, ConfigError, MissingPackageError, unknown_name

Backend = Literal["onnxruntime", "openvino"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)


class Network(Protocol):
    """A loaded network."""

    inputs: frozenset[str]
    """Keys of what it takes."""

    def __call__(self, inputs: Mapping[str, np.ndarray], /) -> np.ndarray:
        """Return the chunk (T, C), float32, for one observation's arrays by key."""
        ...


def open_network(bundle: Bundle, backend: str | None = None, threads: int | None = None) -> Network:
    """Load a bundle's network.

    Args:
        bundle: From `read_bundle`.
        backend: "onnxruntime" or "openvino"; None takes the one of the bundle's format. OpenVINO runs both.
        threads: Cores to compute on; None for as many as the library thinks good.

    Raises:
        CheckpointError: If the bundle's network is for torch, or cannot be read.
        ConfigError: If there is no such backend, or it cannot run the format.
        MissingPackageError: If the backend's package is not installed.
    """
    if bundle.format == "torch":
        raise CheckpointError(f"'{bundle.path}' is a bundle for torch: load it with foreact.load_policy")
    name = backend or ("openvino" if bundle.format == "openvino" else "onnxruntime")
    if name not in BACKENDS:
        raise ConfigError(unknown_name("backend", name, BACKENDS))
    if threads is not None and threads < 1:
        raise ConfigError(f"threads is {threads}; it must be at least 1")
    if name == "onnxruntime" and bundle.format != "onnx":
        raise ConfigError(f"'{bundle.path}' is a bundle of format {bundle.format}, which only OpenVINO runs")
    try:
        if name == "openvino":
            from foreact_runtime.backend_openvino import OpenVINONetwork

            network: Network = OpenVINONetwork(bundle.network, threads)
        else:
            from foreact_runtime.backend_onnx import OnnxNetwork

            network = OnnxNetwork(bundle.network, threads)
    except ImportError as error:
        if error.name not in BACKENDS:
            raise
        extra = "[openvino]" if name == "openvino" else ""
        message = f"package '{name}' is not installed; type: pip install 'foreact-runtime{extra}'"
        raise MissingPackageError(message) from error
    if network.inputs != frozenset(bundle.inputs):
        found, expected = (", ".join(sorted(of)) or "nothing" for of in (network.inputs, bundle.inputs))
        raise CheckpointError(f"'{bundle.network}' takes {found}; the bundle says {expected}: export it again")
    return network
