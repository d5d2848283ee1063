"""What the settings say of results: the core's part of them, and the rules to start with."""

from __future__ import annotations

from dataclasses import replace

from jobs.settings import Settings
from models.features.catalogue import STORE
from models.scoring.core_settings import CoreSettings
from models.scoring.rules import Rule, default_rules, rules_of


def core_settings(settings: Settings) -> CoreSettings:
    """Return the settings that decide results."""
    return CoreSettings(
        shards=settings.shards,
        dedupe_horizon=settings.dedupe_horizon,
        max_record_bytes=settings.max_record_bytes,
        max_future_ms=settings.max_future_seconds * 1000,
        store=replace(STORE, max_touches_per_track=settings.max_touches_per_track),
        risk_labels=settings.risk_labels,
    )


def starting_rules(settings: Settings) -> tuple[Rule, ...]:
    """Return the rules that the scoring job starts with: those of the settings' file, else the shipped ones."""
    return rules_of(settings.rules_file.read_text("utf-8")) if settings.rules_file else default_rules()
