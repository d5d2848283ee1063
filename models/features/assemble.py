"""From transactions to touches, and from partial features back to the feature matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from numba import njit

from models.features.catalogue import FEATURE_INDEX, FEATURES
from models.features.computed import enter_partials, enter_transactions
from models.features.currency import to_reference_minor
from models.features.partials import Partials
from models.features.touches import BENEFICIARY, LABEL, ORIGINATOR, TOUCH
from schemas.columns import F32, I64, U64, Bool, LabelColumns, TransactionColumns
from schemas.hashing import hash_strings
from schemas.layout import dense

Touches = npt.NDArray[np.void]

DEVICE_SEED = 1
"""Devices are hashed with a seed of their own: a device and an account of the same name are two entities."""


class Reference(Protocol):
    """Reference data of n transactions; NaN means unknown."""

    @property
    def account_on_watchlist(self) -> F32: ...
    @property
    def counterparty_on_watchlist(self) -> F32: ...
    @property
    def device_risk(self) -> F32: ...
    @property
    def merchant_risk(self) -> F32: ...


def entity_keys(columns: TransactionColumns) -> U64:
    """Return the entity keys of originator, beneficiary and device; 0 without a device.  # (n, 3)."""
    return np.stack(
        [
            hash_strings(columns.account_id),
            hash_strings(columns.counterparty_id),
            hash_strings(columns.device_id, DEVICE_SEED),
        ],
        axis=1,
    )


def make_touches(columns: TransactionColumns, shards: int) -> list[Touches]:
    """Return the touches of each entity shard, by event row and in an event by role.

    Every transaction touches its originator and its beneficiary, and its device where it has one. The shard of a
    touch is its entity's key modulo `shards`.
    """
    keys = entity_keys(columns)
    amount = to_reference_minor(columns.amount_minor, columns.currency)
    return touches_of(
        keys[:, 0], keys[:, 1], keys[:, 2], columns.device_id.lengths >= 0, columns.event_time_ms, amount, shards
    )


def touches_of(
    account: U64, counterparty: U64, device: U64, has_device: Bool, event_time_ms: I64, amount_minor: I64, shards: int
) -> list[Touches]:
    """Return touches as `make_touches` does, from keys and amounts in minor units of the reference currency."""
    sides = dense(account, np.uint64), dense(counterparty, np.uint64), dense(device, np.uint64)
    has_device = dense(has_device, np.bool_)
    sizes = np.zeros(shards, np.int64)
    _count_touches(*sides, has_device, sizes)
    ends = np.cumsum(sizes)
    touches = np.zeros(int(ends[-1]), TOUCH)
    times, amounts = dense(event_time_ms, np.int64), dense(amount_minor, np.int64)
    _write_touches(*sides, has_device, times, amounts, ends - sizes, touches)
    return np.split(touches, ends[:-1])


@njit(cache=True, nogil=True)
def _count_touches(account, counterparty, device, has_device, sizes):  # type: ignore[no-untyped-def]
    shards = np.uint64(len(sizes))
    for row in range(len(account)):
        sizes[account[row] % shards] += 1
        sizes[counterparty[row] % shards] += 1
        if has_device[row]:
            sizes[device[row] % shards] += 1


@njit(cache=True, nogil=True)
def _write_touches(  # type: ignore[no-untyped-def]
    account, counterparty, device, has_device, event_time_ms, amount_minor, at, touches
):  # fmt: skip
    shards = np.uint64(len(at))
    for row in range(len(account)):
        for role in range(3 if has_device[row] else 2):
            entity = account[row] if role == ORIGINATOR else counterparty[row] if role == BENEFICIARY else device[row]
            shard = entity % shards
            touch = touches[at[shard]]
            at[shard] += 1
            touch.entity = entity
            touch.other = counterparty[row] if role == ORIGINATOR else account[row]
            touch.time_ms = event_time_ms[row]
            touch.amount = amount_minor[row]
            touch.event = row
            touch.role = role


def label_touches(labels: LabelColumns, shards: int) -> list[Touches]:
    """Return the touches that tell both sides of a labelled transaction what it was, per entity shard.

    `event` is the label's row. Only the labels' order in the stream decides when they count, not `label_time_ms`.
    """
    n = len(labels)
    touches = np.zeros((n, 2), TOUCH)
    touches["entity"][:, 0] = hash_strings(labels.account_id)
    touches["entity"][:, 1] = hash_strings(labels.counterparty_id)
    touches["other"] = hash_strings(labels.transaction_id)[:, None]
    touches["time_ms"] = labels.event_time_ms[:, None]
    touches["event"] = np.arange(n, dtype=np.int32)[:, None]
    touches["role"] = LABEL
    touches["is_fraud"] = labels.is_fraud[:, None]
    # A transfer to oneself has one entity: it must not learn of the fraud twice.
    present = np.ones((n, 2), np.bool_)
    present[:, 1] = touches["entity"][:, 0] != touches["entity"][:, 1]
    return _by_shard(touches[present], shards)


def _by_shard(touches: Touches, shards: int) -> list[Touches]:
    if shards == 1:
        return [touches]
    shard = touches["entity"] % np.uint64(shards)
    return [touches[shard == s] for s in range(shards)]


def assemble(columns: TransactionColumns, partials: Sequence[Partials], reference: Reference | None = None) -> F32:
    """Return the feature matrix in the catalogue's order.  # (n, len(FEATURES)).

    Features of a role whose partial is missing, and reference features without reference data, are NaN.
    """
    matrix = np.full((len(columns), len(FEATURES)), np.nan, np.float32)
    amount = to_reference_minor(columns.amount_minor, columns.currency) / 100.0
    enter_transactions(matrix, columns, amount)
    for of_shard in partials:
        enter_partials(matrix, of_shard, amount)
    if reference is not None:
        matrix[:, FEATURE_INDEX["account_on_watchlist"]] = reference.account_on_watchlist
        matrix[:, FEATURE_INDEX["counterparty_on_watchlist"]] = reference.counterparty_on_watchlist
        matrix[:, FEATURE_INDEX["device_reference_risk"]] = reference.device_risk
        matrix[:, FEATURE_INDEX["merchant_reference_risk"]] = reference.merchant_risk
    return matrix
