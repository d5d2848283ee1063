"""A transaction as its entities see it: a touch for each, and the features that each reads of its own history.

Accounts and counterparties share one id space, and an account keeps what it sent beside what it received; a device
keeps what it was used for. A touch and a partial travel as pickles, the fastest that the standard library has.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from tests.bench.peers.avro_records import AvroRecords
from tests.bench.peers.history import (
    D1,
    D7,
    D30,
    H1,
    M10,
    NAN,
    added,
    is_known,
    matured_counts,
    number_of,
    summarise,
)

ORIGINATOR, BENEFICIARY, DEVICE = range(3)
SENT, RECEIVED, USED = "sent", "received", "used"
"""Names of the histories in an entity's state."""

_OWN = (SENT, RECEIVED, USED)
_MAX_CENTS = 2**46 - 1

ORIGINATOR_FEATURES = (
    "account_out_count_10m", "account_out_count_1h", "account_out_count_1d", "account_out_count_7d",
    "account_out_count_30d", "account_out_sum_1h", "account_out_sum_1d", "account_out_sum_7d", "account_out_sum_30d",
    "account_out_mean_7d", "account_out_mean_30d", "account_out_max_1d", "account_out_max_30d", "account_out_std_30d",
    "account_distinct_counterparties_1h", "account_distinct_counterparties_1d", "account_distinct_counterparties_7d",
    "account_distinct_counterparties_30d", "seconds_since_last_out", "account_active_seconds", "pair_count_30d",
    "pair_sum_30d", "seconds_since_pair", "account_in_count_1d", "account_in_count_7d", "account_in_sum_1h",
    "account_in_sum_1d", "account_in_sum_7d", "account_fan_in_1d", "account_fan_in_7d", "seconds_since_last_in",
)  # fmt: skip
BENEFICIARY_FEATURES = (
    "counterparty_in_count_10m", "counterparty_in_count_1h", "counterparty_in_count_1d", "counterparty_in_count_7d",
    "counterparty_in_count_30d", "counterparty_in_sum_1h", "counterparty_in_sum_1d", "counterparty_in_sum_7d",
    "counterparty_in_mean_30d", "counterparty_in_std_30d", "counterparty_fan_in_1h", "counterparty_fan_in_1d",
    "counterparty_fan_in_7d", "counterparty_fan_in_30d", "seconds_since_counterparty_in",
    "counterparty_active_seconds", "counterparty_out_count_1d", "counterparty_out_sum_1d", "counterparty_out_sum_7d",
    "counterparty_fan_out_1d", "counterparty_risk_1d", "counterparty_risk_7d", "counterparty_risk_30d",
)  # fmt: skip
DEVICE_FEATURES = (
    "device_count_10m", "device_count_1h", "device_count_1d", "device_count_7d", "device_sum_1d",
    "device_distinct_accounts_1d", "device_distinct_accounts_7d", "device_distinct_accounts_30d",
    "seconds_since_device", "seconds_since_device_pair",
)  # fmt: skip
FEATURES_OF = (ORIGINATOR_FEATURES, BENEFICIARY_FEATURES, DEVICE_FEATURES)


def touches_of(records: AvroRecords, value: bytes) -> list[tuple[str, bytes]]:
    """Return the entity and the touch of each entity of a transaction; the originator's carries the record."""
    t = records.decode(value)
    account, counterparty, device = t["account_id"], t["counterparty_id"], t["device_id"]
    cents = min(max(round(t["amount_minor"] * records.cents.get(t["currency"], 1.0)), 0), _MAX_CENTS)
    parts = 2 if device is None else 3
    shared = t["transaction_id"], account, parts, t["event_time_ms"], cents, number_of(t["transaction_id"])
    sender = number_of(account)
    touches = [
        (f"account:{account}", pickle.dumps((ORIGINATOR, number_of(counterparty), value, *shared))),
        (f"account:{counterparty}", pickle.dumps((BENEFICIARY, sender, b"", *shared))),
    ]
    if device is not None:
        touches.append((f"device:{device}", pickle.dumps((DEVICE, sender, b"", *shared))))
    return touches


def apply_touch(
    touch: bytes, get: Callable[[str], bytes | None], put: Callable[[str, bytes], None]
) -> tuple[str, bytes] | None:
    """Read an entity's histories and enter the touch into its own.

    Parameters
    ----------
    touch
        Of the entity in whose state we are.
    get, put
        Its histories by name; None where there is none yet.

    Returns
    -------
    The originator's account, and the partial features for it; None for a transaction that the history knows already.
    """
    role, other, value, transaction_id, account, parts, now, cents, transaction = pickle.loads(touch)
    own = get(_OWN[role]) or b""
    if is_known(own, now, transaction):
        return None
    if role == ORIGINATOR:
        values = _of_originator(own, get(RECEIVED) or b"", now, other, transaction)
    elif role == BENEFICIARY:
        values = _of_beneficiary(own, get(SENT) or b"", now, other, transaction)
    else:
        values = _of_device(own, now, other, transaction)
    put(_OWN[role], added(own, now, cents, other, transaction))
    return account, pickle.dumps((transaction_id, parts, role, values, value))


def _of_originator(sent: bytes, received: bytes, now: int, other: int, own: int) -> tuple[Any, ...]:
    s = summarise(sent, now, other, own)
    r = summarise(received, now, other, own, longest=D7)
    counts, totals = s.counts, s.totals
    return (
        *counts,
        totals[H1] / 100, totals[D1] / 100, totals[D7] / 100, totals[D30] / 100,
        totals[D7] / counts[D7] / 100 if counts[D7] else NAN,
        totals[D30] / counts[D30] / 100 if counts[D30] else NAN,
        s.largests[D1] / 100 if counts[D1] else NAN,
        s.largests[D30] / 100 if counts[D30] else NAN,
        s.deviation / 100,
        s.distincts[H1], s.distincts[D1], s.distincts[D7], s.distincts[D30],
        s.since_last, s.since_first,
        s.pair_count, s.pair_total / 100, s.since_pair,
        r.counts[D1], r.counts[D7], r.totals[H1] / 100, r.totals[D1] / 100, r.totals[D7] / 100,
        r.distincts[D1], r.distincts[D7], r.since_last,
    )  # fmt: skip


def _of_beneficiary(received: bytes, sent: bytes, now: int, other: int, own: int) -> tuple[Any, ...]:
    r = summarise(received, now, other, own)
    s = summarise(sent, now, other, own, longest=D7)
    counts, totals = r.counts, r.totals
    return (
        *counts,
        totals[H1] / 100, totals[D1] / 100, totals[D7] / 100,
        totals[D30] / counts[D30] / 100 if counts[D30] else NAN,
        r.deviation / 100,
        r.distincts[H1], r.distincts[D1], r.distincts[D7], r.distincts[D30],
        r.since_last, r.since_first,
        s.counts[D1], s.totals[D1] / 100, s.totals[D7] / 100, s.distincts[D1],
        *(0.0 if count else NAN for count in matured_counts(received, now)),  # without labels no fraud is known
    )  # fmt: skip


def _of_device(used: bytes, now: int, other: int, own: int) -> tuple[Any, ...]:
    u = summarise(used, now, other, own)
    return (
        u.counts[M10], u.counts[H1], u.counts[D1], u.counts[D7], u.totals[D1] / 100,
        u.distincts[D1], u.distincts[D7], u.distincts[D30], u.since_last, u.since_pair,
    )  # fmt: skip
