"""ONNX Runtime sessions as the services use them: on the processor, or on a GPU where ONNX Runtime has CUDA.

On CUDA a model's FP16 graph is taken where one lies beside it (`model.fp16.onnx` beside `model.onnx`), and with
`fixed_shapes=True` the session replays a CUDA graph. This path has not run on a GPU yet; the same network in torch has
(`tests/bench/gpu_images.py`).

References
----------
ONNX Runtime, CUDA execution provider: https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
"""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from models.services.base.settings import ServiceSettings

CUDA = "CUDAExecutionProvider"


def has_cuda(settings: ServiceSettings) -> bool:
    """Whether sessions run on a GPU."""
    return settings.use_gpu and CUDA in onnxruntime.get_available_providers()


def open_session(path: Path, settings: ServiceSettings, *, fixed_shapes: bool = False) -> onnxruntime.InferenceSession:
    """Open a graph.

    `fixed_shapes` promises that every run has the same shapes and stays on the GPU (IOBinding): CUDA graphs need that.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.intra_op_threads
    options.inter_op_num_threads = 1
    # Idle threads that spin would take the cores from the stream that runs beside a service.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[str | tuple[str, dict[str, str]]] = ["CPUExecutionProvider"]
    if has_cuda(settings):
        half = path.with_suffix(".fp16.onnx")
        path = half if half.exists() else path
        providers.insert(0, (CUDA, {"enable_cuda_graph": "1" if fixed_shapes else "0"}))
    return onnxruntime.InferenceSession(str(path), options, providers=providers)
