"""The services by name, and how to build the models of one."""

from __future__ import annotations

import importlib

from models.services.base.model import ServedModel
from models.services.base.settings import ServiceSettings

SERVICES = {
    "text": "models.services.text",
    "vision": "models.services.vision",
    "multimodal": "models.services.multimodal",
}


def served_models(service: str, settings: ServiceSettings) -> list[ServedModel]:
    """Build the models of a service; they are not loaded yet.

    Raises
    ------
    KeyError
        If there is no such service.
    """
    package = importlib.import_module(SERVICES[service])
    models: list[ServedModel] = package.served_models(settings)
    return models
