"""The learner job watches features where the model brings a reference and nobody switched it off."""

from pathlib import Path

import pytest

from jobs.drift_reference import drift_reference
from jobs.settings import DEFAULT_MODEL, Settings, SettingsError
from models.features.catalogue import FEATURE_NAMES

TINY = Path(__file__).parents[2] / "data" / "scoring-model"


def settings(**flags: object) -> Settings:
    return Settings.load(environment={}, files=(), **flags)


def test_the_shipped_model_brings_a_reference_of_the_features_of_this_code() -> None:
    reference = drift_reference(settings(models_dir=DEFAULT_MODEL))
    assert reference is not None
    assert reference.names == FEATURE_NAMES


def test_features_are_not_watched_when_switched_off_or_without_a_reference(caplog: pytest.LogCaptureFixture) -> None:
    assert drift_reference(settings(models_dir=DEFAULT_MODEL, watch_features=False)) is None
    assert caplog.text == ""
    assert drift_reference(settings(models_dir=TINY)) is None
    assert "not watched" in caplog.text


def test_a_folder_without_a_model_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="watch_features"):
        drift_reference(settings(models_dir=tmp_path))
