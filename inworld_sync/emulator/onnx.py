"""Runs each ONNX model of the emulator on one thread, so that it uses only one core."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["open_model"]


def open_model(model: bytes | str) -> onnxruntime.InferenceSession:
    """Load a model from its bytes or path; raise ImportError if onnxruntime is missing."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
