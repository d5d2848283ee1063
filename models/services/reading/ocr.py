"""OCR by RapidOCR, whose package carries its models (PP-OCRv4, Apache-2.0): nothing is fetched when it runs."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]

logger = logging.getLogger(__name__)

MAX_SIDE = 1600
"""Larger pictures are read at this size: the time of OCR grows with the area."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text; `box` is left, top, right, bottom in pixels of the picture that was read."""

    text: str
    box: tuple[int, int, int, int]
    confidence: float


@cache
def has_ocr() -> bool:
    """Whether the OCR package is installed (`pip install 'weir[ocr]'`) and can be loaded: its OpenCV needs libGL."""
    try:
        import rapidocr_onnxruntime  # noqa: F401
    except ImportError as error:
        logger.warning("documents are not read, since OCR cannot be loaded: %s", error)
        return False
    return True


class Reader:
    """Reads pictures; one at a time, whatever the number of threads that ask.

    Raises
    ------
    ImportError
        The OCR package is not installed, or cannot be loaded.
    """

    def __init__(self, threads: int = 1) -> None:
        from rapidocr_onnxruntime import RapidOCR

        self._engine = RapidOCR(intra_op_num_threads=threads, inter_op_num_threads=1)
        # The engine keeps what it works on in itself.
        self._lock = threading.Lock()

    def read(self, pixels: U8) -> list[Line]:
        """Return the lines of a picture (h, w, 3), RGB, from top to bottom; none where nothing is read."""
        factor = max(1.0, max(pixels.shape[:2]) / MAX_SIDE)
        if factor > 1.0:
            from PIL import Image

            size = (round(pixels.shape[1] / factor), round(pixels.shape[0] / factor))
            pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
        with self._lock:
            found: Any = self._engine(np.ascontiguousarray(pixels[:, :, ::-1]), use_cls=False)[0]
        lines = []
        for corners, text, confidence in found or []:
            points = np.asarray(corners, np.float64) * factor
            left, top = np.floor(points.min(0)).astype(int)
            right, bottom = np.ceil(points.max(0)).astype(int)
            lines.append(Line(str(text), (int(left), int(top), int(right), int(bottom)), float(confidence)))
        return lines
