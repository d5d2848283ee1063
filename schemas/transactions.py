"""Transactions from raw records to columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from schemas.blocks import MAX_RECORD_BYTES, BlockDecoder
from schemas.columns import Rejected, TransactionColumns
from schemas.registry import SchemaLookup


class TransactionDecoder:
    """Decodes batches of transactions: Avro of every known version in either framing, and JSON.

    Only the structure is checked; `validate_transactions` checks what the values say.

    Parameters
    ----------
    registry
        Where to ask for schemas by their Confluent ids; None refuses records that name one.
    attribute_names
        Attributes to keep, in the order of their columns.
    max_record_bytes
        Longer records are refused.
    """

    def __init__(
        self,
        registry: SchemaLookup | None = None,
        attribute_names: tuple[str, ...] = (),
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        self._decoder = BlockDecoder("transaction", registry, attribute_names, max_record_bytes)

    def decode(self, values: Sequence[bytes | None]) -> tuple[TransactionColumns, npt.NDArray[np.intp], list[Rejected]]:
        """Return the decoded transactions, the row of each in `values`, and the rejected rows.

        Raises
        ------
        RegistryUnavailableError
            If a schema must be asked for and the registry gives no answer; nothing is decoded or refused then.
        """
        block = self._decoder.decode(values)
        strings = {name: block.strings(slot) for name, slot in self._decoder.layout.strings.items()}
        numbers = {name: block.numbers[slot] for name, slot in self._decoder.layout.numbers.items()}
        devices = strings["device_id"]
        devices.lengths[devices.lengths == 0] = -1  # else all the empty ids would be one device
        columns = TransactionColumns(
            transaction_id=strings["transaction_id"],
            event_time_ms=numbers["event_time_ms"],
            account_id=strings["account_id"],
            counterparty_id=strings["counterparty_id"],
            amount_minor=numbers["amount_minor"],
            currency=strings["currency"],
            channel=numbers["channel"].astype(np.uint8),
            account_country=strings["account_country"],
            counterparty_country=strings["counterparty_country"],
            merchant_category=numbers["merchant_category"].astype(np.int32),
            device_id=devices,
            ip_address=strings["ip_address"],
            memo=strings["memo"],
            evidence_count=numbers["evidence"].astype(np.int32),
            attributes=block.attributes,
            attribute_names=self._decoder.attribute_names,
            schema_version=block.versions,
            evidence=block.strings(self._decoder.layout.arrays["evidence"]),
        )
        return columns, block.rows, block.rejected
