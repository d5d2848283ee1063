"""What a job tells Flink of itself, for whoever looks at it later: the REST interface shows it with the job."""

from __future__ import annotations

import json

from jobs.settings import Settings
from models.features.catalogue import FEATURE_SET


def scoring_parameters(settings: Settings) -> dict[str, str]:
    """Return what decides whether and how the scoring job can go on from a savepoint of another."""
    return {
        "shards": str(settings.shards),
        "feature_set": FEATURE_SET,
        "model": _model(settings),
        "dedupe_horizon": str(settings.dedupe_horizon),
    }


def learner_parameters(settings: Settings) -> dict[str, str]:
    """Likewise of the learner job."""
    return {"feature_set": FEATURE_SET, "learner": settings.learner}


def as_option(parameters: dict[str, str]) -> str:
    """Return parameters as Flink's option `pipeline.global-job-parameters` takes them."""
    return ",".join(f"{name}:{value}" for name, value in parameters.items())


def _model(settings: Settings) -> str:
    try:
        card = json.loads((settings.models_dir / "card.json").read_text("utf-8"))
        return f"{card['name']}@{card['version']}"
    except (OSError, KeyError, ValueError):
        return "unknown"  # the job says what is wrong with it
