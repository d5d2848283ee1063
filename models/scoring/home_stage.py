"""First stage, one per home shard: decode, validate and dedupe, then tell the entity shards who was touched."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.features.assemble import label_touches, make_touches
from models.scoring.core_settings import CoreSettings
from models.scoring.deduplicate import DuplicateFilter
from models.scoring.home_batch import HomeBatch
from models.state_map import StateMap
from schemas.columns import RawRecords, Rejected
from schemas.labels import LabelDecoder
from schemas.registry import SchemaLookup
from schemas.transactions import TransactionDecoder
from schemas.validate import validate_labels, validate_transactions

_META = -2  # key beside those of the duplicate filter
_META_FORMAT = struct.Struct("<qq")  # next batch's sequence, history start
_NO_HISTORY = 2**63 - 1


@dataclass(frozen=True, slots=True)
class HomeOutput:
    """What became of a batch of records: each is in exactly one of batch, rejected and duplicates."""

    batch: HomeBatch | None  # None where no transaction was accepted
    touches: list[npt.NDArray[np.void]]  # one block per entity shard
    rejected: list[Rejected]
    duplicates: npt.NDArray[np.intp]  # rows of the records


class HomeStage:
    """Takes in the records of one home shard.

    Parameters
    ----------
    settings
        Of the core.
    state
        Accepted ids, the batch counter and the start of history.
    registry
        Where to ask for schemas by their Confluent ids; None refuses records that name one.
    """

    def __init__(self, settings: CoreSettings, state: StateMap, registry: SchemaLookup | None = None) -> None:
        self._settings = settings
        self._state = state
        self._duplicates = DuplicateFilter(settings.dedupe_horizon, state)
        self._transactions = TransactionDecoder(registry, settings.attribute_names, settings.max_record_bytes)
        self._labels = LabelDecoder(registry, settings.max_record_bytes)
        self._sequence, self._history_start_ms = 0, _NO_HISTORY
        if (meta := state.get(_META)) is not None:
            self._sequence, self._history_start_ms = _META_FORMAT.unpack(meta)

    def transactions(self, records: RawRecords, ingest_time_ms: int) -> HomeOutput:
        """Take in transactions.

        Parameters
        ----------
        records
            Of the transactions' topic, each partition in the order of its offsets.
        ingest_time_ms
            Wall clock, for the record of the decision alone.
        """
        columns, rows, rejected = self._transactions.decode(records.values)
        invalid = validate_transactions(columns, records.timestamp_ms[rows], self._settings.max_future_ms)
        if invalid:
            rejected = [*rejected, *(replace(r, row=int(rows[r.row])) for r in invalid)]
            is_valid = np.ones(len(rows), np.bool_)
            is_valid[[r.row for r in invalid]] = False
            columns, rows = columns.take(is_valid), rows[is_valid]
        is_duplicate = self._duplicates.accept(columns.transaction_id)
        duplicates = rows[is_duplicate]
        if len(duplicates):
            columns, rows = columns.take(~is_duplicate), rows[~is_duplicate]
        if len(rows) == 0:
            return HomeOutput(None, [], rejected, duplicates)
        touches = make_touches(columns, self._settings.shards)
        if self._history_start_ms == _NO_HISTORY:
            self._history_start_ms = int(columns.event_time_ms[0])
        batch = HomeBatch(
            sequence=self._sequence,
            entity_shards=sum(1 << shard for shard, block in enumerate(touches) if len(block)),
            history_start_ms=self._history_start_ms,
            ingest_time_ms=ingest_time_ms,
            columns=columns,
            partition=records.partition[rows],
            offset=records.offset[rows],
            source_time_ms=records.timestamp_ms[rows],
        )
        self._sequence += 1
        self._state.put(_META, _META_FORMAT.pack(self._sequence, self._history_start_ms))
        return HomeOutput(batch, touches, rejected, duplicates)

    def labels(self, records: RawRecords) -> HomeOutput:
        """Take in labels; they touch their entities and give no batch to decide on."""
        columns, rows, rejected = self._labels.decode(records.values)
        invalid = validate_labels(columns, records.timestamp_ms[rows], self._settings.max_future_ms)
        if invalid:
            rejected = [*rejected, *(replace(r, row=int(rows[r.row])) for r in invalid)]
            is_valid = np.ones(len(rows), np.bool_)
            is_valid[[r.row for r in invalid]] = False
            columns = columns.take(is_valid)
        return HomeOutput(None, label_touches(columns, self._settings.shards), rejected, np.zeros(0, np.intp))
