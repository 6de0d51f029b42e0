"""The graph in OpenVINO's own files."""

from __future__ import annotations

from pathlib import Path

import openvino


def write_openvino(graph: Path, path: Path) -> None:
    """Convert an ONNX file; writes `path`, which ends in .xml, and the weights beside it in .bin.

    Reduced precision is the ONNX file's: OpenVINO's own halving would halve constants of projections too, and NNCF's
    quantisation of its operators is less exact than that of ONNX's.
    """
    openvino.save_model(openvino.convert_model(str(graph)), str(path), compress_to_fp16=False)
