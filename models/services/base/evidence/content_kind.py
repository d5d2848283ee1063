"""What a file is, judged by its content: Google's Magika, a small network over the first and last bytes.

References
----------
Magika: https://github.com/google/magika (Apache-2.0)
"""

from __future__ import annotations

import functools

import onnxruntime
from magika import Magika


class _OneThread(Magika):  # type: ignore[misc]  # the package has no types
    """Magika on the thread that asks: by itself it takes every core, and its idle threads spin."""

    def _init_onnx_session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(self._model_path, options, providers=["CPUExecutionProvider"])


@functools.cache
def _magika() -> Magika:
    return _OneThread()


def content_kind(content: bytes) -> str:
    """Name the kind of content: png, jpeg, webp, svg, pdf, html, zip, ... or unknown."""
    return str(_magika().identify_bytes(content).output.label)
