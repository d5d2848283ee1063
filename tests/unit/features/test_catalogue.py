"""The catalogue is complete, unambiguous, and what the documentation says."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.features.catalogue import FEATURE_NAMES, FEATURES, SOURCES, STORE
from models.features.document import feature_document
from models.features.store_spec import Column, Statistic, StoreSpec, Track

PAGE = Path(__file__).parents[3] / "docs" / "features.md"


def test_names_are_unique_words() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURES)
    assert all(name.isidentifier() and name == name.lower() for name in FEATURE_NAMES)


def test_every_feature_says_what_it_is() -> None:
    for feature in FEATURES:
        assert feature.source in SOURCES
        assert feature.meaning
        assert feature.unit
        assert (feature.column is None) == bool(feature.formula), feature.name


def test_the_page_is_that_of_the_catalogue() -> None:
    assert PAGE.read_text(encoding="utf-8") == feature_document(), "run: python -m models.features"


def test_every_feature_reads_what_the_store_remembers() -> None:
    assert all(feature.reach_ms <= STORE.reach_ms for feature in FEATURES)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (Column("x", Track.OUT, Statistic.COUNT, 0), "window must be positive"),
        (Column("x", Track.OUT, Statistic.MAX, 5, 5), "only counts and sums"),
        (Column("x", Track.FRAUD, Statistic.SUM, 5), "counts and times only"),
    ],
)
def test_columns_that_cannot_be_read_are_refused(column: Column, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StoreSpec(originator=(column,))


def test_limits_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="max_touches_per_track"):
        StoreSpec(max_touches_per_track=0)
    with pytest.raises(ValueError, match="promote_above"):
        StoreSpec(promote_above=1)
