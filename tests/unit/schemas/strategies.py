"""Random records for property tests."""

from hypothesis import strategies as st

from schemas.columns import CHANNELS
from tests.builders import LABEL_SOURCES

LONGS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-200, 200))
TEXTS = st.text(max_size=20)
ATTRIBUTE_NAMES = ("latitude", "login_age_seconds", "x")

TRANSACTIONS = st.fixed_dictionaries(
    {
        "transaction_id": TEXTS,
        "event_time_ms": LONGS,
        "account_id": TEXTS,
        "counterparty_id": TEXTS,
        "amount_minor": LONGS,
        "currency": TEXTS,
        "channel": st.sampled_from(CHANNELS),
        "account_country": TEXTS,
        "counterparty_country": TEXTS,
        "merchant_category": st.none() | st.integers(-(2**31), 2**31 - 1),
        "device_id": st.none() | st.text(min_size=1, max_size=20),
        "ip_address": st.none() | TEXTS,
        "memo": st.none() | TEXTS,
        "evidence": st.lists(TEXTS, max_size=4),
        "attributes": st.dictionaries(
            st.sampled_from(ATTRIBUTE_NAMES) | TEXTS, st.floats(allow_infinity=False), max_size=5
        ),
    }
)

LABELS = st.fixed_dictionaries(
    {
        "transaction_id": TEXTS,
        "account_id": TEXTS,
        "counterparty_id": TEXTS,
        "event_time_ms": LONGS,
        "label_time_ms": LONGS,
        "is_fraud": st.booleans(),
        "source": st.sampled_from(LABEL_SOURCES),
        "pattern": st.none() | TEXTS,
    }
)
