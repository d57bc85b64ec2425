"""The engines that may compute a task's network, and what they ask for. Imports no torch: a wrong choice answers at
once.
"""

from importlib.util import find_spec

from .errors import UsageError

# By the names that a command line uses, with the packages that each needs beside torch.
ENGINES: dict[str, tuple[str, ...]] = {
    "torch": (),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
}


def check_engine(engine: str, *, compiled: bool, precision: str, device: str) -> str:
    """The device to compute on with `engine`, of ENGINES: `device` itself, or in place of auto the only one it takes.

    Raises UsageError for what does not go together, and for a package that is not installed.
    """
    if engine == "torch":
        return device
    if compiled:
        raise UsageError(f"--compile is of torch's own engine; leave it out, or --engine {engine}.")
    if device not in ("auto", "cpu"):
        raise UsageError(f"--engine {engine} computes on the CPU; give --device cpu in place of {device}.")
    if engine == "onnx" and precision != "32":
        raise UsageError(f"--engine onnx computes in 32 bits; leave out --precision {precision}, or take openvino.")
    missing = [package for package in ENGINES[engine] if find_spec(package) is None]
    if missing:
        raise UsageError(
            f"--engine {engine} needs {' and '.join(missing)}, which is not installed: pip install 'foveal[{engine}]'."
        )
    return "cpu"
