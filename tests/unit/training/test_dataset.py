from __future__ import annotations

import numpy as np
import pytest

from models.features.assemble import assemble, make_touches
from models.features.catalogue import FEATURE_NAMES, STORE
from models.features.entity_store import EntityStore
from models.training.dataset import Dataset, concatenate, simulate_dataset
from models.training.simulator import Simulator, SimulatorConfig

CONFIG = SimulatorConfig(seed=3, accounts=300, merchants=200, days=4.0, fraud_rate=0.05, laundering_rate=0.05)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return simulate_dataset(CONFIG, 500)


def test_every_transaction_of_the_stream_is_a_row_with_all_features(dataset: Dataset) -> None:
    assert len(dataset) == sum(len(batch) for batch in Simulator(CONFIG).batches(1_000))
    assert dataset.X.shape == (len(dataset), len(FEATURE_NAMES))
    assert np.all(dataset.weight == 1.0)
    assert np.all(np.diff(dataset.event_time_ms) >= 0)


def test_the_same_configuration_gives_the_same_rows(dataset: Dataset) -> None:
    again = simulate_dataset(CONFIG, 500)
    assert np.array_equal(again.X, dataset.X, equal_nan=True)
    assert np.array_equal(again.is_fraud, dataset.is_fraud)


def test_no_label_touches_the_features_before_its_batch_is_over(dataset: Dataset) -> None:
    # With one batch for the whole stream no label can count, so every feature is that of a store without labels.
    whole = simulate_dataset(CONFIG, 1_000_000)
    batch = next(Simulator(CONFIG).batches(1_000_000))
    partials = EntityStore(STORE).apply(make_touches(batch.transactions, 1)[0])
    assert np.array_equal(whole.X, assemble(batch.transactions, [partials]), equal_nan=True)
    assert not np.array_equal(whole.X, dataset.X, equal_nan=True)


def test_thinning_keeps_all_fraud_and_the_sum_of_the_weights(dataset: Dataset) -> None:
    middle_ms = CONFIG.start_ms + 2 * 86_400_000
    thinned = simulate_dataset(CONFIG, 500, middle_ms, 0.25)
    assert thinned.is_fraud.sum() == dataset.is_fraud.sum()
    assert np.array_equal(
        thinned.X[thinned.event_time_ms >= middle_ms], dataset.X[dataset.event_time_ms >= middle_ms], equal_nan=True
    )
    assert thinned.weight.sum() == pytest.approx(len(dataset), rel=0.05)


def test_a_stream_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="no end"):
        simulate_dataset(SimulatorConfig(accounts=300, merchants=200), 100)


def test_parts_are_joined_in_order(dataset: Dataset) -> None:
    joined = concatenate([dataset.take(slice(0, 10)), dataset.take(slice(10, 25))])
    assert np.array_equal(joined.X, dataset.X[:25], equal_nan=True)
