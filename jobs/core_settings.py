"""The part of the settings that decides results."""

from __future__ import annotations

from jobs.settings import Settings
from models.features.catalogue import STORE
from models.scoring.core_settings import CoreSettings


def core_settings(settings: Settings) -> CoreSettings:
    """Return the settings that decide results."""
    return CoreSettings(
        shards=settings.shards,
        dedupe_horizon=settings.dedupe_horizon,
        max_record_bytes=settings.max_record_bytes,
        max_future_ms=settings.max_future_seconds * 1000,
        store=STORE,
    )
