"""The multimodal service: does this document belong to this payment?"""

from __future__ import annotations

from models.services.base.model import ServedModel
from models.services.base.settings import ServiceSettings


def served_models(settings: ServiceSettings) -> list[ServedModel]:
    """Return the multimodal model, not loaded yet."""
    from models.services.multimodal.model import MultimodalModel

    return [MultimodalModel(settings)]
