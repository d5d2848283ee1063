"""What decoded values must say to be scored: one compiled pass over the columns."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np
from numba import njit

from schemas.columns import I64, Bool, LabelColumns, Rejected, StringColumn, TransactionColumns
from schemas.layout import dense, dense_slices

MAX_ID_BYTES = 256
MAX_AMOUNT_MINOR = 10**15
EARLIEST_MS = 631_152_000_000
"""1990-01-01 UTC: no stream of transactions reaches further back, but zero and second-based times do."""
LATEST_MS = 4_102_444_800_000
"""2100-01-01 UTC: the bound where the broker gave no timestamp to compare with."""
MAX_FUTURE_MS = 86_400_000
"""A day: more than time zones taken for UTC and clocks gone wrong explain away, less than harms the windows."""

_EMPTY_ID, _ID_TOO_LONG, _AMOUNT, _CURRENCY, _TIME, _COUNTRY, _MERCHANT, _NOT_FINITE, _LABEL_TIME = range(1, 10)
_CODES = {
    _EMPTY_ID: "EMPTY_ID",
    _ID_TOO_LONG: "ID_TOO_LONG",
    _AMOUNT: "AMOUNT_OUT_OF_RANGE",
    _CURRENCY: "UNKNOWN_CURRENCY",
    _TIME: "TIME_OUT_OF_RANGE",
    _COUNTRY: "INVALID_COUNTRY",
    _MERCHANT: "INVALID_MERCHANT_CATEGORY",
    _NOT_FINITE: "NOT_FINITE",
    _LABEL_TIME: "LABEL_BEFORE_EVENT",
}


@lru_cache(maxsize=1)
def known_currencies() -> frozenset[str]:
    """Return the ISO 4217 codes that a transaction may carry.

    Examples
    --------
    >>> {"EUR", "JPY", "HRK"} <= known_currencies(), "DEM" in known_currencies(), "XXX" in known_currencies()
    (True, False, False)
    """
    lines = files("schemas").joinpath("currencies.txt").read_text().splitlines()
    return frozenset(code for line in lines if not line.startswith("#") for code in line.split())


@lru_cache(maxsize=1)
def _currency_table() -> Bool:
    """Return whether a code is known, at its three letters as digits to base 26."""
    table = np.zeros(26**3, np.bool_)
    for code in known_currencies():
        a, b, c = (ord(letter) - ord("A") for letter in code)
        table[(a * 26 + b) * 26 + c] = True
    table.flags.writeable = False
    return table


@njit(cache=True, nogil=True)
def _is_upper(byte):  # type: ignore[no-untyped-def]
    return 65 <= byte <= 90


@njit(cache=True, nogil=True)
def _is_currency(table, buffer, offset, length):  # type: ignore[no-untyped-def]
    if length != 3:
        return False
    place = np.int64(0)
    for i in range(3):
        byte = buffer[offset + i]
        if not _is_upper(byte):
            return False
        place = place * 26 + (np.int64(byte) - 65)
    return table[place]


@njit(cache=True, nogil=True)
def _is_country(buffer, offset, length):  # type: ignore[no-untyped-def]
    if length == 0:
        return True
    return length == 2 and _is_upper(buffer[offset]) and _is_upper(buffer[offset + 1])


@njit(cache=True, nogil=True)
def _check_ids(lengths, fault):  # type: ignore[no-untyped-def]
    for i in range(len(lengths)):
        if fault[i] == 0:
            if lengths[i] == 0:
                fault[i] = _EMPTY_ID
            elif lengths[i] > MAX_ID_BYTES:
                fault[i] = _ID_TOO_LONG


@njit(cache=True, nogil=True)
def _check_times(event_time_ms, timestamp_ms, max_future_ms, fault):  # type: ignore[no-untyped-def]
    for i in range(len(event_time_ms)):
        latest = timestamp_ms[i] + max_future_ms if timestamp_ms[i] >= 0 else LATEST_MS
        if fault[i] == 0 and (event_time_ms[i] < EARLIEST_MS or event_time_ms[i] > latest):
            fault[i] = _TIME


@njit(cache=True, nogil=True)
def _check_amounts(amount_minor, buffer, offsets, lengths, table, fault):  # type: ignore[no-untyped-def]
    for i in range(len(amount_minor)):
        if fault[i] == 0:
            if amount_minor[i] < 0 or amount_minor[i] > MAX_AMOUNT_MINOR:
                fault[i] = _AMOUNT
            elif not _is_currency(table, buffer, offsets[i], lengths[i]):
                fault[i] = _CURRENCY


@njit(cache=True, nogil=True)
def _check_countries(buffer, offsets, lengths, fault):  # type: ignore[no-untyped-def]
    for i in range(len(offsets)):
        if fault[i] == 0 and not _is_country(buffer, offsets[i], lengths[i]):
            fault[i] = _COUNTRY


@njit(cache=True, nogil=True)
def _check_rest(merchant_category, attributes, fault):  # type: ignore[no-untyped-def]
    for i in range(len(merchant_category)):
        if fault[i] == 0:
            if merchant_category[i] < -1 or merchant_category[i] > 9999:
                fault[i] = _MERCHANT
            for value in attributes[i]:
                if np.isinf(value):
                    fault[i] = _NOT_FINITE


def _shown(column: StringColumn, row: int) -> str:
    value = column.bytes_at(row) or b""
    return repr(value[:12].decode(errors="replace")) + ("…" if len(value) > 12 else "")


def _times_message(event_time_ms: int, timestamp_ms: int, max_future_ms: int) -> str:
    return (
        f"event_time_ms {event_time_ms} is before 1990 or more than {max_future_ms} ms after the record's own "
        f"timestamp {timestamp_ms}: send milliseconds since 1970-01-01 UTC"
    )


def _ids_message(lengths: dict[str, int]) -> str:
    found = ", ".join(f"{name} {length}" for name, length in lengths.items())
    return f"identifiers must have 1 to {MAX_ID_BYTES} bytes; their lengths are: {found}"


def _message(fault: int, row: int, columns: TransactionColumns, timestamp_ms: I64, max_future_ms: int) -> str:
    if fault in {_EMPTY_ID, _ID_TOO_LONG}:
        ids = ("transaction_id", "account_id", "counterparty_id", "device_id")
        return _ids_message({name: max(int(getattr(columns, name).lengths[row]), 0) for name in ids})
    if fault == _AMOUNT:
        return (
            f"amount_minor {columns.amount_minor[row]} is outside 0 to {MAX_AMOUNT_MINOR}: send minor units, never "
            "negative (a refund swaps the sides)"
        )
    if fault == _CURRENCY:
        return f"currency {_shown(columns.currency, row)} is no ISO 4217 code in use: send three upper-case letters"
    if fault == _TIME:
        return _times_message(int(columns.event_time_ms[row]), int(timestamp_ms[row]), max_future_ms)
    if fault == _COUNTRY:
        found = f"{_shown(columns.account_country, row)} and {_shown(columns.counterparty_country, row)}"
        return f"countries {found}: send two upper-case letters (ISO 3166-1 alpha-2), or nothing when unknown"
    if fault == _MERCHANT:
        return (
            f"merchant_category {columns.merchant_category[row]} is outside 0 to 9999: send an ISO 18245 code, or null"
        )
    return "an attribute is infinite: send finite numbers, or NaN for a missing one"


def validate_transactions(
    columns: TransactionColumns, timestamp_ms: I64, max_future_ms: int = MAX_FUTURE_MS
) -> list[Rejected]:
    """Return what is wrong with each transaction that must not be scored: one fault a row, in order of rows.

    Parameters
    ----------
    columns
        Decoded transactions.
    timestamp_ms
        When each record was produced (its Kafka timestamp), (n,); negative where the broker gave none.
    max_future_ms
        How far event time may lie after that.
    """
    fault = np.zeros(len(columns), np.uint8)
    for ids in (columns.transaction_id, columns.account_id, columns.counterparty_id):
        _check_ids(dense(ids.lengths, np.int32), fault)
    fault[(fault == 0) & (columns.device_id.lengths > MAX_ID_BYTES)] = _ID_TOO_LONG
    _check_amounts(dense(columns.amount_minor, np.int64), *dense_slices(columns.currency), _currency_table(), fault)
    _check_times(dense(columns.event_time_ms, np.int64), dense(timestamp_ms, np.int64), max_future_ms, fault)
    for countries in (columns.account_country, columns.counterparty_country):
        _check_countries(*dense_slices(countries), fault)
    # The decoder writes -1 for null; a producer's own -1 means the same.
    _check_rest(dense(columns.merchant_category, np.int32), dense(columns.attributes, np.float64), fault)
    return [
        Rejected(
            row,
            "validate",
            _CODES[int(fault[row])],
            _message(int(fault[row]), row, columns, timestamp_ms, max_future_ms),
        )
        for row in np.flatnonzero(fault).tolist()
    ]


def validate_labels(
    columns: LabelColumns, timestamp_ms: I64, max_future_ms: int = MAX_FUTURE_MS, *, is_event_told: bool = True
) -> list[Rejected]:
    """Return what is wrong with each label that must not be learned from: one fault a row, in order of rows.

    Parameters
    ----------
    columns
        Decoded labels.
    timestamp_ms
        When each record was produced (its Kafka timestamp), (n,); negative where the broker gave none.
    max_future_ms
        How far event time and label time may lie after that.
    is_event_told
        Whether the event time is what the label's source says, and so not after the label time. That of a matured
        label is the decision's.
    """
    fault = np.zeros(len(columns), np.uint8)
    for ids in (columns.transaction_id, columns.account_id, columns.counterparty_id):
        _check_ids(dense(ids.lengths, np.int32), fault)
    timestamps = dense(timestamp_ms, np.int64)
    for times in (columns.event_time_ms, columns.label_time_ms):
        _check_times(dense(times, np.int64), timestamps, max_future_ms, fault)
    if is_event_told:
        fault[(fault == 0) & (columns.label_time_ms < columns.event_time_ms)] = _LABEL_TIME
    rejected = []
    for row in np.flatnonzero(fault).tolist():
        code = int(fault[row])
        event_time, label_time = int(columns.event_time_ms[row]), int(columns.label_time_ms[row])
        if code in {_EMPTY_ID, _ID_TOO_LONG}:
            ids_of = {
                n: int(getattr(columns, n).lengths[row]) for n in ("transaction_id", "account_id", "counterparty_id")
            }
            message = _ids_message(ids_of)
        elif code == _TIME:
            message = _times_message(event_time, int(timestamp_ms[row]), max_future_ms)
            message = f"label_time_ms {label_time} or {message}"
        else:
            message = f"label_time_ms {label_time} is before event_time_ms {event_time}: were the two swapped?"
        rejected.append(Rejected(row, "validate", _CODES[code], message))
    return rejected
