"""The computed features once more, column by column in NumPy: the oracle of `models.features.computed`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from models.features.assemble import entity_keys
from models.features.catalogue import CHANNEL_FEATURES, FEATURE_INDEX, FEATURES, HIGH_RISK_MERCHANT_CATEGORIES, STORE
from models.features.currency import to_reference_minor
from models.features.partials import Partials
from models.features.rates import rate_table
from models.features.store_spec import DAY_MS, HOUR_MS
from models.features.touches import BENEFICIARY, DEVICE, ORIGINATOR
from schemas.columns import CHANNELS, F32, F64, I64, Bool, StringColumn, TransactionColumns

ROUND_STEP = 50
NIGHT_ENDS_AT_HOUR = 7


def partial_columns(partials: Sequence[Partials], events: int) -> tuple[F64, F64, F64]:
    """Gather the partials of `events` transactions per role; NaN where one is missing.  # (events, F_role) each."""
    gathered = tuple(np.full((events, len(STORE.columns(role))), np.nan) for role in (ORIGINATOR, BENEFICIARY, DEVICE))
    for p in partials:
        gathered[ORIGINATOR][p.originator_event] = p.originator
        gathered[BENEFICIARY][p.beneficiary_event] = p.beneficiary
        gathered[DEVICE][p.device_event] = p.device
    return gathered[0], gathered[1], gathered[2]


def features_by_columns(columns: TransactionColumns, partials: Sequence[Partials]) -> F32:
    """Return the feature matrix in the catalogue's order, without reference data.  # (n, len(FEATURES))."""
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
