"""Features of a file are the engine's: those of a data set of the simulator, with labels in their time."""

from __future__ import annotations

import numpy as np

from models.features.assemble import assemble, label_touches, make_touches
from models.features.catalogue import STORE
from models.features.entity_store import EntityStore
from models.training.simulator import Simulator, SimulatorConfig
from online_learning.evaluate.contestant import Frozen
from online_learning.evaluate.engine import EngineFeatures
from online_learning.evaluate.prequential import prequential_scores
from tests.builders import label_columns

HOUR_MS = 3_600_000


def test_features_are_those_of_the_engine_with_every_label_in_its_time() -> None:
    batch = next(Simulator(SimulatorConfig(seed=3, accounts=300, merchants=200)).batches(1_500))
    columns, fraud = batch.transactions, batch.is_fraud
    event = columns.event_time_ms
    known = event + 2 * HOUR_MS
    seen = []

    def keep(X: np.ndarray) -> np.ndarray:
        seen.append(X)
        return np.zeros(len(X))

    prequential_scores(EngineFeatures(columns, fraud, known), {"keep": Frozen(keep)}, event, known, fraud, 64, HOUR_MS)

    store, told, expected = EntityStore(STORE), 0, []
    for start, stop in _bounds([len(X) for X in seen]):
        while told < start and known[told] <= event[start]:
            store.apply(label_touches(label_columns([_label(columns, fraud, known, told)]), 1)[0])
            told += 1
        part = columns.take(np.arange(start, stop))
        expected.append(assemble(part, [store.apply(make_touches(part, 1)[0])]))
    assert 0 < told < len(columns)
    np.testing.assert_array_equal(np.concatenate(seen), np.concatenate(expected))


def _bounds(sizes: list[int]) -> list[tuple[int, int]]:
    ends = np.cumsum(sizes).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _label(columns: object, fraud: np.ndarray, known: np.ndarray, row: int) -> dict[str, object]:
    names = ("transaction_id", "account_id", "counterparty_id")
    texts = {name: getattr(columns, name).text_at(row) for name in names}
    return {
        **texts,
        "event_time_ms": int(columns.event_time_ms[row]),  # type: ignore[attr-defined]
        "label_time_ms": int(known[row]),
        "is_fraud": bool(fraud[row]),
        "source": "other",
        "pattern": None,
    }
