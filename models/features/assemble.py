"""From transactions to touches, and from partial features back to the feature matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.features.catalogue import CHANNEL_FEATURES, FEATURE_INDEX, FEATURES, HIGH_RISK_MERCHANT_CATEGORIES, STORE
from models.features.currency import rate_table, to_reference_minor
from models.features.partials import Partials
from models.features.store_spec import DAY_MS, HOUR_MS
from models.features.touches import BENEFICIARY, DEVICE, LABEL, ORIGINATOR, TOUCH
from schemas.columns import CHANNELS, F32, F64, I64, U64, Bool, LabelColumns, StringColumn, TransactionColumns
from schemas.hashing import hash_strings

Touches = npt.NDArray[np.void]

DEVICE_SEED = 1
"""Devices are hashed with a seed of their own: a device and an account of the same name are two entities."""

ROUND_STEP = 50
NIGHT_ENDS_AT_HOUR = 7


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
    n = len(event_time_ms)
    touches = np.zeros((n, 3), TOUCH)
    touches["entity"][:, ORIGINATOR] = account
    touches["other"][:, ORIGINATOR] = counterparty
    touches["entity"][:, BENEFICIARY] = counterparty
    touches["other"][:, BENEFICIARY] = account
    touches["entity"][:, DEVICE] = device
    touches["other"][:, DEVICE] = account
    touches["time_ms"] = event_time_ms[:, None]
    touches["amount"] = amount_minor[:, None]
    touches["event"] = np.arange(n, dtype=np.int32)[:, None]
    touches["role"] = np.arange(3, dtype=np.uint8)
    present = np.ones((n, 3), np.bool_)
    present[:, DEVICE] = has_device
    return _by_shard(touches[present], shards)


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


def partial_columns(partials: Sequence[Partials], events: int) -> tuple[F64, F64, F64]:
    """Gather the partials of `events` transactions per role; NaN where one is missing.  # (events, F_role) each."""
    gathered = tuple(np.full((events, len(STORE.columns(role))), np.nan) for role in (ORIGINATOR, BENEFICIARY, DEVICE))
    for p in partials:
        gathered[ORIGINATOR][p.originator_event] = p.originator
        gathered[BENEFICIARY][p.beneficiary_event] = p.beneficiary
        gathered[DEVICE][p.device_event] = p.device
    return gathered[0], gathered[1], gathered[2]


def assemble(columns: TransactionColumns, partials: Sequence[Partials], reference: Reference | None = None) -> F32:
    """Return the feature matrix in the catalogue's order.  # (n, len(FEATURES)).

    Features of a role whose partial is missing, and reference features without reference data, are NaN.
    """
    n = len(columns)
    matrix = np.full((n, len(FEATURES)), np.nan, np.float32)
    amount = to_reference_minor(columns.amount_minor, columns.currency) / 100.0
    gathered = partial_columns(partials, n)
    for values, (targets, count) in zip(gathered, _COPIED, strict=True):
        matrix[:, targets] = values[:, :count]
    with np.errstate(divide="ignore", invalid="ignore"):
        computed: dict[str, npt.NDArray[np.generic]] = {}
        computed |= _transaction_features(columns, amount)
        computed |= _originator_features(_Named(gathered[0], ORIGINATOR), amount)
        computed |= _beneficiary_features(_Named(gathered[1], BENEFICIARY), amount)
    last_use = _Named(gathered[2], DEVICE)
    computed["device_is_new_for_account"] = np.where(
        np.isnan(last_use["device_count_1h"]), np.nan, np.isnan(last_use["seconds_since_device_pair"])
    )
    if reference is not None:
        computed["account_on_watchlist"] = reference.account_on_watchlist
        computed["counterparty_on_watchlist"] = reference.counterparty_on_watchlist
        computed["device_reference_risk"] = reference.device_risk
        computed["merchant_reference_risk"] = reference.merchant_risk
    for name, value in computed.items():
        matrix[:, FEATURE_INDEX[name]] = value
    return matrix


_COPIED = tuple(
    (
        slice(positions[0], positions[-1] + 1)
        if positions == list(range(positions[0], positions[-1] + 1))
        else np.array(positions, np.intp),
        len(positions),
    )
    for role in (ORIGINATOR, BENEFICIARY, DEVICE)
    for positions in ([FEATURE_INDEX[c.name] for c in STORE.columns(role) if c.name in FEATURE_INDEX],)
)
"""Per role, where its columns that are features go; columns that are none come last in the store's spec."""


class _Named:
    """The partials of one role by column name."""

    _positions: tuple[Mapping[str, int], ...] = tuple(
        {c.name: i for i, c in enumerate(STORE.columns(role))} for role in (ORIGINATOR, BENEFICIARY, DEVICE)
    )

    def __init__(self, values: F64, role: int) -> None:
        self._values = values
        self._of_role = self._positions[role]

    def __getitem__(self, name: str) -> F64:
        return self._values[:, self._of_role[name]]


def _ratio(numerator: F64, denominator: F64) -> F64:
    """Divide; NaN where the denominator is not positive."""
    return np.where(denominator > 0, numerator / denominator, np.nan)


def _is_round(columns: TransactionColumns) -> Bool:
    step = np.full(len(columns), ROUND_STEP * 100, np.int64)
    codes = _packed(columns.currency)
    for code in np.unique(codes):
        _, digits = rate_table().get(_unpacked(int(code)), (1.0, 2))
        if digits != 2:
            step[codes == code] = ROUND_STEP * 10**digits
    is_round: Bool = (columns.amount_minor > 0) & (columns.amount_minor % step == 0)
    return is_round


def _packed(strings: StringColumn) -> I64:
    """Pack the first three bytes of each string, 0 for shorter ones, so that they compare as numbers."""
    packed = np.zeros(len(strings), np.int64)
    if len(strings.buffer):
        last = len(strings.buffer) - 1
        for i in range(3):
            letter = strings.buffer[np.clip(strings.offsets + i, 0, last)].astype(np.int64)
            packed = packed << 8 | np.where(strings.lengths > i, letter, 0)
    return packed


def _unpacked(code: int) -> str:
    return code.to_bytes(3, "big").decode("latin-1")


def _transaction_features(columns: TransactionColumns, amount: F64) -> dict[str, npt.NDArray[np.generic]]:
    hour = columns.event_time_ms % DAY_MS / HOUR_MS
    day = columns.event_time_ms // DAY_MS  # 1970-01-01 was a Thursday
    account, counterparty = _packed(columns.account_country), _packed(columns.counterparty_country)
    keys = entity_keys(columns)
    features: dict[str, npt.NDArray[np.generic]] = {
        "amount": amount,
        "log_amount": np.log1p(amount),
        "is_round_amount": _is_round(columns),
        "hour_of_day": hour,
        "is_night": hour < NIGHT_ENDS_AT_HOUR,
        "is_weekend": (day + 3) % 7 >= 5,
        "is_cross_border": np.where((account == 0) | (counterparty == 0), np.nan, account != counterparty),
        "is_self_transfer": keys[:, 0] == keys[:, 1],
        "has_device": columns.device_id.lengths >= 0,
        "is_high_risk_merchant": np.isin(columns.merchant_category, HIGH_RISK_MERCHANT_CATEGORIES),
    }
    for name in CHANNEL_FEATURES:
        features[f"channel_{name}"] = columns.channel == CHANNELS.index(name)
    return features


def _originator_features(read: _Named, amount: F64) -> dict[str, npt.NDArray[np.generic]]:
    mean, deviation = read["account_out_mean_30d"], read["account_out_std_30d"]
    pair_count = read["pair_count_30d"]
    features: dict[str, npt.NDArray[np.generic]] = {
        "amount_to_mean_30d": _ratio(amount, mean),
        "amount_to_max_30d": _ratio(amount, read["account_out_max_30d"]),
        "amount_zscore_30d": _ratio(amount - mean, deviation),
        "account_burst_1h": (read["account_out_count_1h"] + 1) / ((read["account_out_count_30d"] + 1) / 720),
        "pair_is_new": np.where(np.isnan(pair_count), np.nan, pair_count == 0),
    }
    for window in ("1h", "1d", "7d"):
        money_out = read[f"account_out_sum_{window}"] + amount
        features[f"account_pass_through_{window}"] = _ratio(money_out, read[f"account_in_sum_{window}"])
    return features


def _beneficiary_features(read: _Named, amount: F64) -> dict[str, npt.NDArray[np.generic]]:
    mean, deviation = read["counterparty_in_mean_30d"], read["counterparty_in_std_30d"]
    features: dict[str, npt.NDArray[np.generic]] = {"counterparty_amount_zscore_30d": _ratio(amount - mean, deviation)}
    for window in ("1d", "7d"):
        money_in = read[f"counterparty_in_sum_{window}"] + amount
        features[f"counterparty_pass_through_{window}"] = _ratio(read[f"counterparty_out_sum_{window}"], money_in)
    for window in ("1d", "7d", "30d"):
        frauds, count = read[f"matured_frauds_{window}"], read[f"matured_count_{window}"]
        features[f"counterparty_risk_{window}"] = _ratio(frauds, count)
    return features
