"""The vision service: forged or genuine, kind of forgery, kind of document, and new kinds from five samples."""

from __future__ import annotations

from models.services.base.model import ServedModel
from models.services.base.settings import ServiceSettings


def served_models(settings: ServiceSettings) -> list[ServedModel]:
    """Return the vision model, not loaded yet."""
    from models.services.vision.model import VisionModel

    return [VisionModel(settings)]
