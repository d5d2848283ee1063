"""Labels, as their sources send them and as they matured, from raw records to columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from schemas.blocks import MAX_RECORD_BYTES, BlockDecoder
from schemas.columns import LabelColumns, Rejected, StringColumn
from schemas.registry import SchemaLookup


class LabelDecoder:
    """Decodes batches of labels: Avro of every known version in either framing, and JSON.

    Parameters
    ----------
    registry
        Where to ask for schemas by their Confluent ids; None refuses records that name one.
    max_record_bytes
        Longer records are refused.
    record
        `label`, or `matured_label`, which has no pattern: the column is null then.
    """

    def __init__(
        self,
        registry: SchemaLookup | None = None,
        max_record_bytes: int = MAX_RECORD_BYTES,
        record: Literal["label", "matured_label"] = "label",
    ) -> None:
        self._decoder = BlockDecoder(record, registry, (), max_record_bytes)

    def decode(self, values: Sequence[bytes | None]) -> tuple[LabelColumns, npt.NDArray[np.intp], list[Rejected]]:
        """Return the decoded labels, the row of each in `values`, and the rejected rows.

        Raises
        ------
        RegistryUnavailableError
            If a schema must be asked for and the registry gives no answer; nothing is decoded or refused then.
        """
        block = self._decoder.decode(values)
        strings = {name: block.strings(slot) for name, slot in self._decoder.layout.strings.items()}
        numbers = {name: block.numbers[slot] for name, slot in self._decoder.layout.numbers.items()}
        columns = LabelColumns(
            transaction_id=strings["transaction_id"],
            account_id=strings["account_id"],
            counterparty_id=strings["counterparty_id"],
            event_time_ms=numbers["event_time_ms"],
            label_time_ms=numbers["label_time_ms"],
            is_fraud=numbers["is_fraud"].astype(np.bool_),
            source=numbers["source"].astype(np.uint8),
            pattern=strings["pattern"] if "pattern" in strings else _nulls(len(block.rows)),
        )
        return columns, block.rows, block.rejected


def _nulls(rows: int) -> StringColumn:
    return StringColumn(np.zeros(0, np.uint8), np.zeros(rows, np.int64), np.full(rows, -1, np.int32))
