"""The engines outside of torch, each of which runs a network that was exported as ONNX."""

import sys
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, Literal

import numpy as np
import torch

Run = Callable[[np.ndarray], Sequence[np.ndarray]]
# From a graph, and whether to compute in 32 bits whatever was asked for, to what runs it on as many threads as torch.
Start = Callable[[bytes, bool], Run]

_SHAPES = 4  # each has weights of its own


def onnx_runtime(precision: Literal["32", "bf16"]) -> Start:
    """ONNX Runtime, in 32 bits. Its threads sleep while they wait, for other processes read images meanwhile."""
    import onnxruntime

    def start(graph: bytes, exact: bool) -> Run:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # it raises what it would log
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session: Any = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        return lambda pixels: session.run(None, {given.name: pixels})

    return start


def openvino(precision: Literal["32", "bf16"]) -> Start:
    """OpenVINO. Its threads are not bound to cores, for the same reason.

    It compiles a graph once for each shape of its input, in a tenth of a second, and keeps the last few: of those for
    all shapes some have crashed, and they are no faster.
    """
    core = _openvino_core()

    def start(graph: bytes, exact: bool) -> Run:
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" and not exact else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        model = core.read_model(graph)  # kept: its weights are known by their places

        @lru_cache(maxsize=_SHAPES)
        def compiled(shape: tuple[int, ...]) -> Any:
            fixed = model.clone()
            fixed.reshape(list(shape))
            return core.compile_model(fixed, "CPU", options).create_infer_request()

        return lambda pixels: list(compiled(pixels.shape).infer([pixels], share_inputs=True).values())

    return start


@cache
def _openvino_core() -> Any:
    """The one of this process, which must outlive all else: with the first a thread gets a stack of OpenVINO's for its
    signals, and where several come and go, one that is gone: the next signal would end the process.
    """
    return _import_openvino().Core()


def _import_openvino() -> Any:
    """The package without its telemetry, which would tell its makers, unasked, that it was imported."""
    name = "openvino_telemetry"
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # whoever imports it finds that there is none
    try:
        import openvino
    finally:
        sys.modules.pop(name)
        if before is not None:
            sys.modules[name] = before
    return openvino


RUNTIMES: dict[str, Callable[[Literal["32", "bf16"]], Start]] = {"onnx": onnx_runtime, "openvino": openvino}
