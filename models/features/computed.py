"""Features computed of a transaction and of what its touches read: compiled, one pass over the rows.

Missing values are NaN throughout; 0/1 features hold 0.0 and 1.0.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import njit

from models.features.catalogue import CHANNEL_FEATURES, FEATURE_INDEX, HIGH_RISK_MERCHANT_CATEGORIES, STORE
from models.features.currency import currency_digits, packed_currency
from models.features.partials import Partials
from models.features.store_spec import DAY_MS, HOUR_MS
from models.features.touches import BENEFICIARY, DEVICE, ORIGINATOR
from schemas.columns import CHANNELS, F32, F64, I64, TransactionColumns

ROUND_STEP = 50
NIGHT_ENDS_AT_HOUR = 7

_OF_TRANSACTION = (
    "amount", "log_amount", "is_round_amount", "hour_of_day", "is_night", "is_weekend", "is_cross_border",
    "is_self_transfer", "has_device", "is_high_risk_merchant",
)  # fmt: skip
_OF_ORIGINATOR = (
    "amount_to_mean_30d", "amount_to_max_30d", "amount_zscore_30d", "account_burst_1h", "pair_is_new",
    "account_pass_through_1h", "account_pass_through_1d", "account_pass_through_7d",
)  # fmt: skip
_READ_BY_ORIGINATOR = (
    "account_out_mean_30d", "account_out_std_30d", "account_out_max_30d", "account_out_count_1h",
    "account_out_count_30d", "pair_count_30d", "account_out_sum_1h", "account_in_sum_1h", "account_out_sum_1d",
    "account_in_sum_1d", "account_out_sum_7d", "account_in_sum_7d",
)  # fmt: skip
_OF_BENEFICIARY = (
    "counterparty_amount_zscore_30d", "counterparty_pass_through_1d", "counterparty_pass_through_7d",
    "counterparty_risk_1d", "counterparty_risk_7d", "counterparty_risk_30d",
)  # fmt: skip
_READ_BY_BENEFICIARY = (
    "counterparty_in_mean_30d", "counterparty_in_std_30d", "counterparty_in_sum_1d", "counterparty_out_sum_1d",
    "counterparty_in_sum_7d", "counterparty_out_sum_7d", "matured_frauds_1d", "matured_count_1d", "matured_frauds_7d",
    "matured_count_7d", "matured_frauds_30d", "matured_count_30d",
)  # fmt: skip
_OF_DEVICE = ("device_is_new_for_account",)
_READ_BY_DEVICE = ("device_count_1h", "seconds_since_device_pair")

_Places = npt.NDArray[np.int64]


def _features(names: tuple[str, ...]) -> _Places:
    return np.array([FEATURE_INDEX[name] for name in names], np.int64)


def _reads(role: int, names: tuple[str, ...]) -> _Places:
    place = {column.name: i for i, column in enumerate(STORE.columns(role))}
    return np.array([place[name] for name in names], np.int64)


def _copies(role: int) -> _Places:
    """(k, 2): columns of a role that are features themselves, and where they go."""
    pairs = [
        (i, FEATURE_INDEX[column.name]) for i, column in enumerate(STORE.columns(role)) if column.name in FEATURE_INDEX
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


_TRANSACTION = _features(_OF_TRANSACTION)
_ORIGINATOR = (_copies(ORIGINATOR), _features(_OF_ORIGINATOR), _reads(ORIGINATOR, _READ_BY_ORIGINATOR))
_BENEFICIARY = (_copies(BENEFICIARY), _features(_OF_BENEFICIARY), _reads(BENEFICIARY, _READ_BY_BENEFICIARY))
_DEVICE = (_copies(DEVICE), _features(_OF_DEVICE), _reads(DEVICE, _READ_BY_DEVICE))
# Column of each channel of the schema; -1 where it is no feature.
_CHANNELS = np.array(
    [FEATURE_INDEX[f"channel_{name}"] if name in CHANNEL_FEATURES else -1 for name in CHANNELS], np.int64
)
_HIGH_RISK = np.array(HIGH_RISK_MERCHANT_CATEGORIES, np.int64)


@lru_cache(maxsize=1)
def _round_steps() -> I64:
    """Minor units that a round amount is a multiple of, by packed currency."""
    return ROUND_STEP * 10 ** currency_digits()


def enter_transactions(matrix: F32, columns: TransactionColumns, amount: F64) -> None:
    """Write what n transactions say of themselves.

    Parameters
    ----------
    matrix
        (n, features), in the catalogue's order; written to.
    columns
        The transactions.
    amount
        (n,) in major units of the reference currency.
    """
    account, counterparty = columns.account_country, columns.counterparty_country
    sender, receiver = columns.account_id, columns.counterparty_id
    _enter_transactions(
        matrix, amount, columns.event_time_ms, columns.amount_minor, _round_steps()[packed_currency(columns.currency)],
        columns.channel, columns.merchant_category, columns.device_id.lengths,
        account.buffer, account.offsets, account.lengths,
        counterparty.buffer, counterparty.offsets, counterparty.lengths,
        sender.buffer, sender.offsets, sender.lengths, receiver.buffer, receiver.offsets, receiver.lengths,
        _TRANSACTION, _CHANNELS, _HIGH_RISK,
    )  # fmt: skip


def enter_partials(matrix: F32, partials: Partials, amount: F64) -> None:
    """Write what the touches of one entity shard read, and what follows of it; arguments as `enter_transactions`."""
    _enter_originators(matrix, partials.originator, partials.originator_event, amount, *_ORIGINATOR)
    _enter_beneficiaries(matrix, partials.beneficiary, partials.beneficiary_event, amount, *_BENEFICIARY)
    _enter_devices(matrix, partials.device, partials.device_event, *_DEVICE)


@njit(cache=True, nogil=True)
def _country(buffer, offset, length):  # type: ignore[no-untyped-def]
    """Pack the first three bytes, 0 for missing ones."""
    packed = np.int64(0)
    for i in range(3):
        packed = packed << 8
        if i < length:
            packed |= np.int64(buffer[offset + i])
    return packed


@njit(cache=True, nogil=True)
def _are_equal(one, at_one, length_one, other, at_other, length_other):  # type: ignore[no-untyped-def]
    if max(length_one, 0) != max(length_other, 0):
        return False
    for i in range(length_one):  # noqa: SIM110 - compiled code knows no generators
        if one[at_one + i] != other[at_other + i]:
            return False
    return True


@njit(cache=True, nogil=True)
def _enter_transactions(  # type: ignore[no-untyped-def]
    matrix, amount, event_time_ms, amount_minor, round_step, channel, merchant_category, device_length,
    account_buffer, account_at, account_length, counterparty_buffer, counterparty_at, counterparty_length,
    sender_buffer, sender_at, sender_length, receiver_buffer, receiver_at, receiver_length,
    to, channels, high_risk,
):  # fmt: skip
    for row in range(len(amount)):
        hour = (event_time_ms[row] % DAY_MS) / HOUR_MS
        day = event_time_ms[row] // DAY_MS  # 1970-01-01 was a Thursday
        account = _country(account_buffer, account_at[row], account_length[row])
        counterparty = _country(counterparty_buffer, counterparty_at[row], counterparty_length[row])
        is_high_risk = False
        for category in high_risk:
            is_high_risk |= merchant_category[row] == category
        matrix[row, to[0]] = amount[row]
        matrix[row, to[1]] = np.log1p(amount[row])
        matrix[row, to[2]] = amount_minor[row] > 0 and amount_minor[row] % round_step[row] == 0
        matrix[row, to[3]] = hour
        matrix[row, to[4]] = hour < NIGHT_ENDS_AT_HOUR
        matrix[row, to[5]] = (day + 3) % 7 >= 5
        matrix[row, to[6]] = np.nan if account == 0 or counterparty == 0 else np.float64(account != counterparty)
        matrix[row, to[7]] = _are_equal(
            sender_buffer, sender_at[row], sender_length[row], receiver_buffer, receiver_at[row], receiver_length[row]
        )
        matrix[row, to[8]] = device_length[row] >= 0
        matrix[row, to[9]] = is_high_risk
        for code in range(len(channels)):
            if channels[code] >= 0:
                matrix[row, channels[code]] = channel[row] == code


@njit(cache=True, nogil=True)
def _copy(matrix, row, values, i, copies):  # type: ignore[no-untyped-def]
    for k in range(len(copies)):
        matrix[row, copies[k, 1]] = values[i, copies[k, 0]]


@njit(cache=True, nogil=True)
def _ratio(numerator, denominator):  # type: ignore[no-untyped-def]
    """Divide; NaN where the denominator is not positive."""
    return numerator / denominator if denominator > 0.0 else np.nan


@njit(cache=True, nogil=True)
def _enter_originators(matrix, values, event, amount, copies, to, of):  # type: ignore[no-untyped-def]
    for i in range(len(event)):
        row = event[i]
        _copy(matrix, row, values, i, copies)
        mean, deviation, largest = values[i, of[0]], values[i, of[1]], values[i, of[2]]
        matrix[row, to[0]] = _ratio(amount[row], mean)
        matrix[row, to[1]] = _ratio(amount[row], largest)
        matrix[row, to[2]] = _ratio(amount[row] - mean, deviation)
        matrix[row, to[3]] = (values[i, of[3]] + 1) / ((values[i, of[4]] + 1) / 720)
        matrix[row, to[4]] = np.nan if np.isnan(values[i, of[5]]) else np.float64(values[i, of[5]] == 0)
        for window in range(3):
            money_out = values[i, of[6 + 2 * window]] + amount[row]
            matrix[row, to[5 + window]] = _ratio(money_out, values[i, of[7 + 2 * window]])


@njit(cache=True, nogil=True)
def _enter_beneficiaries(matrix, values, event, amount, copies, to, of):  # type: ignore[no-untyped-def]
    for i in range(len(event)):
        row = event[i]
        _copy(matrix, row, values, i, copies)
        matrix[row, to[0]] = _ratio(amount[row] - values[i, of[0]], values[i, of[1]])
        for window in range(2):
            money_in = values[i, of[2 + 2 * window]] + amount[row]
            matrix[row, to[1 + window]] = _ratio(values[i, of[3 + 2 * window]], money_in)
        for window in range(3):
            matrix[row, to[3 + window]] = _ratio(values[i, of[6 + 2 * window]], values[i, of[7 + 2 * window]])


@njit(cache=True, nogil=True)
def _enter_devices(matrix, values, event, copies, to, of):  # type: ignore[no-untyped-def]
    for i in range(len(event)):
        row = event[i]
        _copy(matrix, row, values, i, copies)
        is_unknown, is_new = np.isnan(values[i, of[0]]), np.isnan(values[i, of[1]])
        matrix[row, to[0]] = np.nan if is_unknown else np.float64(is_new)
