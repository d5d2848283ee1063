"""OCR that is installed and cannot be loaded counts as none, and the multimodal model says so by its version."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from models.services.base.settings import ServiceSettings
from models.services.multimodal.model import MultimodalModel
from models.services.reading.ocr import has_ocr


@pytest.fixture
def without_ocr(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "rapidocr_onnxruntime", None)  # import raises ImportError, as without libGL
    has_ocr.cache_clear()
    yield
    has_ocr.cache_clear()


@pytest.mark.usefixtures("without_ocr")
def test_a_model_without_a_reader_is_another_version() -> None:
    assert not has_ocr()
    assert MultimodalModel(ServiceSettings()).version.endswith("-unread")
