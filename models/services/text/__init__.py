"""The text service: a memo or an invoice's text to a vector and to risk tags."""

from __future__ import annotations

from models.services.base.model import ServedModel
from models.services.base.settings import ServiceSettings


def served_models(settings: ServiceSettings) -> list[ServedModel]:
    """Build the service's one model, from `model_dir` or from the shipped folder."""
    from models.services.text.model import TextModel

    return [TextModel(settings.model_dir or settings.models_dir / "text-1", settings)]
