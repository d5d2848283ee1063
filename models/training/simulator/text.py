"""Numbers to text: identifiers and addresses written by compiled loops into one buffer a batch."""

from __future__ import annotations

import numba
import numpy as np

from models.training.simulator.config import PATTERNS
from models.training.simulator.draws import mix
from models.training.simulator.events import COUNTRIES, CURRENCIES, KIND, KIND_DIGITS, KIND_LETTERS, MEMOS, Events
from models.training.simulator.labels import Labels
from schemas.columns import I32, I64, U8, LabelColumns, StringColumn, TransactionColumns

_LETTERS = np.frombuffer(KIND_LETTERS, np.uint8)
_DIGITS = np.array(KIND_DIGITS, np.int64)
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)

_TRANSACTION_WIDTH = 17  # T and 16 hexadecimal digits
_ENTITY_WIDTH = 9
_DEVICE_WIDTH = 10  # D and 9 digits
_ADDRESS_WIDTH = 15
_STRIDE = _TRANSACTION_WIDTH + 2 * _ENTITY_WIDTH + _DEVICE_WIDTH + _ADDRESS_WIDTH
_LABEL_STRIDE = _TRANSACTION_WIDTH + 2 * _ENTITY_WIDTH

SCHEMA_VERSION = 1


@numba.njit(cache=True, nogil=True, inline="always")
def _write_number(buffer: U8, at: int, number: int, digits: int) -> None:
    for k in range(digits - 1, -1, -1):
        buffer[at + k] = 48 + number % 10
        number //= 10


@numba.njit(cache=True, nogil=True, inline="always")
def _write_transaction_id(buffer: U8, at: int, bits: np.uint64) -> None:
    buffer[at] = 84  # T
    for k in range(16):
        buffer[at + 1 + k] = _HEX[int((bits >> np.uint64(60 - 4 * k)) & np.uint64(15))]


@numba.njit(cache=True, nogil=True, inline="always")
def _write_entity(buffer: U8, at: int, code: int) -> int:
    kind = code // KIND
    digits: int = _DIGITS[kind]
    buffer[at] = _LETTERS[kind]
    _write_number(buffer, at + 1, code % KIND, digits)
    return 1 + digits


@numba.njit(cache=True, nogil=True)
def _write_transactions(
    salt: np.uint64, first: int, originator: I64, counterparty: I64, device: I64, ip: I64,
    buffer: U8, lengths: I32,
) -> None:  # fmt: skip
    """Write ids, accounts, counterparties, devices and addresses at fixed places; `lengths` is (4, n)."""
    for i in range(len(originator)):
        at = i * _STRIDE
        _write_transaction_id(buffer, at, mix(salt + np.uint64(first + i)))
        at += _TRANSACTION_WIDTH
        lengths[0, i] = _write_entity(buffer, at, originator[i])
        at += _ENTITY_WIDTH
        lengths[1, i] = _write_entity(buffer, at, counterparty[i])
        at += _ENTITY_WIDTH
        lengths[2, i] = -1
        lengths[3, i] = -1
        if device[i] >= 0:
            buffer[at] = 68  # D
            _write_number(buffer, at + 1, device[i], _DEVICE_WIDTH - 1)
            lengths[2, i] = _DEVICE_WIDTH
        at += _DEVICE_WIDTH
        if ip[i] >= 0:
            end = at
            for part in range(4):
                octet = (ip[i] >> (24 - 8 * part)) & 255
                if part:
                    buffer[end] = 46  # a dot
                    end += 1
                digits = 3 if octet >= 100 else 2 if octet >= 10 else 1
                _write_number(buffer, end, octet, digits)
                end += digits
            lengths[3, i] = end - at


@numba.njit(cache=True, nogil=True)
def _write_labels(salt: np.uint64, sequence: I64, originator: I64, counterparty: I64, buffer: U8, lengths: I32) -> None:
    for i in range(len(sequence)):
        at = i * _LABEL_STRIDE
        _write_transaction_id(buffer, at, mix(salt + np.uint64(sequence[i])))
        at += _TRANSACTION_WIDTH
        lengths[0, i] = _write_entity(buffer, at, originator[i])
        lengths[1, i] = _write_entity(buffer, at + _ENTITY_WIDTH, counterparty[i])


def _table(values: tuple[str | None, ...]) -> StringColumn:
    return StringColumn.from_values(list(values))


_COUNTRY_TABLE = _table(COUNTRIES)
_CURRENCY_TABLE = _table(CURRENCIES)
_MEMO_TABLE = _table(MEMOS)
_PATTERN_TABLE = _table((None, *PATTERNS[1:]))


def transaction_columns(events: Events, first_sequence: int, salt: np.uint64) -> TransactionColumns:
    """Return events as decoded transactions, with text; `first_sequence` is the first one's place in the stream."""
    n = len(events)
    buffer = np.empty(n * _STRIDE, np.uint8)
    lengths = np.empty((4, n), np.int32)
    _write_transactions(
        salt,
        first_sequence,
        events["originator"],
        events["counterparty"],
        events["device"],
        events["ip"],
        buffer,
        lengths,
    )
    start = np.arange(n, dtype=np.int64) * _STRIDE
    account = start + _TRANSACTION_WIDTH
    device = account + 2 * _ENTITY_WIDTH
    return TransactionColumns(
        transaction_id=StringColumn(buffer, start, np.full(n, _TRANSACTION_WIDTH, np.int32)),
        event_time_ms=events["time_ms"].copy(),
        account_id=StringColumn(buffer, account, lengths[0]),
        counterparty_id=StringColumn(buffer, account + _ENTITY_WIDTH, lengths[1]),
        amount_minor=events["amount_minor"].copy(),
        currency=_CURRENCY_TABLE.take(events["currency"].astype(np.intp)),
        channel=events["channel"].copy(),
        account_country=_COUNTRY_TABLE.take(events["originator_country"].astype(np.intp)),
        counterparty_country=_COUNTRY_TABLE.take(events["counterparty_country"].astype(np.intp)),
        merchant_category=events["merchant_category"].copy(),
        device_id=StringColumn(buffer, device, lengths[2]),
        ip_address=StringColumn(buffer, device + _DEVICE_WIDTH, lengths[3]),
        memo=_MEMO_TABLE.take(events["memo"].astype(np.intp)),
        evidence_count=np.zeros(n, np.int32),
        attributes=np.zeros((n, 0)),
        attribute_names=(),
        schema_version=np.full(n, SCHEMA_VERSION, np.int16),
    )


def label_columns(labels: Labels, salt: np.uint64) -> LabelColumns:
    """Return labels as decoded label records."""
    n = len(labels)
    buffer = np.empty(n * _LABEL_STRIDE, np.uint8)
    lengths = np.empty((2, n), np.int32)
    _write_labels(salt, labels["sequence"], labels["originator"], labels["counterparty"], buffer, lengths)
    start = np.arange(n, dtype=np.int64) * _LABEL_STRIDE
    account = start + _TRANSACTION_WIDTH
    return LabelColumns(
        transaction_id=StringColumn(buffer, start, np.full(n, _TRANSACTION_WIDTH, np.int32)),
        account_id=StringColumn(buffer, account, lengths[0]),
        counterparty_id=StringColumn(buffer, account + _ENTITY_WIDTH, lengths[1]),
        event_time_ms=labels["event_time_ms"].copy(),
        label_time_ms=labels["label_time_ms"].copy(),
        is_fraud=labels["is_fraud"].copy(),
        source=labels["source"].copy(),
        pattern=_PATTERN_TABLE.take(labels["pattern"].astype(np.intp)),
    )
