"""Which drift reference the learner job watches the features against: the one that the model brings."""

from __future__ import annotations

import logging

from jobs.settings import Settings, SettingsError
from models.features.catalogue import FEATURE_NAMES
from models.features.drift_reference import Reference
from models.scoring.errors import ModelError
from models.scoring.model import read_reference

logger = logging.getLogger(__name__)


def drift_reference(settings: Settings) -> Reference | None:
    """Return what the features are watched against; None where that is switched off, or the model brings nothing.

    Raises
    ------
    SettingsError
        If the model's folder is damaged, or the model is of other features than this engine computes.
    """
    if not settings.watch_features:
        return None
    try:
        reference = read_reference(settings.models_dir)
    except ModelError as error:
        raise SettingsError(f"models_dir: {error}; or set watch_features to false") from error
    if reference is None:
        logger.warning("features are not watched for drift: %s brings no drift reference", settings.models_dir)
    elif reference.names != FEATURE_NAMES:
        raise SettingsError(
            f"models_dir: the model in {settings.models_dir} has other features than this engine; name another, or "
            "set watch_features to false"
        )
    return reference
