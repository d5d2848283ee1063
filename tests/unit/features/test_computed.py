"""The compiled features against the same in NumPy, column by column."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.assemble import assemble, make_touches
from models.features.catalogue import STORE
from models.features.entity_store import EntityStore
from schemas.columns import CHANNELS
from tests.builders import NOON_MS, a_transaction, transaction_columns
from tests.unit.features.assemble_oracle import features_by_columns

names = st.sampled_from(["a", "b", "account-1", "account-2", "ä"])
records = st.builds(
    a_transaction,
    account_id=names,
    counterparty_id=names,
    device_id=st.one_of(st.none(), names),
    amount_minor=st.one_of(st.integers(0, 10**15), st.sampled_from([0, 1, 5_000, 10_000, 50, 150_000])),
    currency=st.sampled_from(["EUR", "USD", "JPY", "KWD", "XXX", "eur"]),
    channel=st.sampled_from(CHANNELS),
    account_country=st.sampled_from(["DE", "FR", "", "USA"]),
    counterparty_country=st.sampled_from(["DE", "FR", "", "USA"]),
    merchant_category=st.one_of(st.none(), st.sampled_from([5411, 7995, 6051, 4829, 0])),
    event_time_ms=st.integers(NOON_MS - 40 * 86_400_000, NOON_MS + 40 * 86_400_000),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(records, min_size=1, max_size=25), st.integers(1, 3), st.booleans())
def test_compiled_features_equal_those_by_columns(batch: list[dict[str, Any]], shards: int, is_one_lost: bool) -> None:
    columns = transaction_columns(batch)
    partials = [EntityStore(STORE).apply(touches) for touches in make_touches(columns, shards)]
    if is_one_lost:
        partials.pop()
    np.testing.assert_array_equal(assemble(columns, partials), features_by_columns(columns, partials))
