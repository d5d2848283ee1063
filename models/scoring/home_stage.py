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
from models.scoring.recorded_rows import IN_LEDGER, RecordedRows
from models.state_map import StateMap
from schemas.columns import I32, I64, LabelColumns, RawRecords, Rejected, TransactionColumns
from schemas.labels import LabelDecoder
from schemas.registry import SchemaLookup
from schemas.transactions import TransactionDecoder
from schemas.validate import validate_labels, validate_transactions

_META = -2  # key beside those of the duplicate filter
_META_FORMAT = struct.Struct("<q")  # next batch's sequence; then for each partition its number and history start
_HISTORY_FORMAT = struct.Struct("<qq")
_NUMBERS_BYTES = 128  # more than framing, numbers and the lengths of texts take in a record
_UNDECIDED = "the ledger has no decision on it: replay up to what the scoring job has decided, or in the log's order"


@dataclass(frozen=True, slots=True)
class HomeOutput:
    """What became of a batch of records: each is in exactly one of batch, rejected and duplicates."""

    batch: HomeBatch | None  # None where no transaction was accepted
    touches: list[npt.NDArray[np.void]]  # one block per entity shard
    rejected: list[Rejected]
    duplicates: npt.NDArray[np.intp]  # rows of the records
    rows: npt.NDArray[np.intp]  # of the records that `event` of the touches counts: those accepted


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
        self._matured = LabelDecoder(registry, settings.max_record_bytes, "matured_label")
        self._sequence = 0
        self._history_start_ms: dict[int, int] = {}  # by partition: its order is the same in every replay
        if (meta := state.get(_META)) is not None:
            (self._sequence,) = _META_FORMAT.unpack_from(meta)
            self._history_start_ms = dict(_HISTORY_FORMAT.iter_unpack(meta[_META_FORMAT.size :]))

    def transactions(
        self, records: RawRecords, ingest_time_ms: int, recorded: RecordedRows | None = None, by_ledger: bool = False
    ) -> HomeOutput:
        """Take in transactions.

        Parameters
        ----------
        records
            Of the transactions' topic, each partition in the order of its offsets.
        ingest_time_ms
            Wall clock, for the record of the decision alone.
        recorded
            Of a replay: what is on record of each of `records`; travels with the batch.
        by_ledger
            Of a replay in recorded order: accept what the ledger says was accepted, whatever the ids remembered here.
        """
        columns, rows, rejected = self._decode(records)
        invalid = validate_transactions(columns, records.timestamp_ms[rows], self._settings.max_future_ms)
        if invalid:
            rejected = [*rejected, *(replace(r, row=int(rows[r.row])) for r in invalid)]
            is_valid = np.ones(len(rows), np.bool_)
            is_valid[[r.row for r in invalid]] = False
            columns, rows = columns.take(is_valid), rows[is_valid]
        is_duplicate = self._duplicates.accept(columns.transaction_id)
        is_accepted = ~is_duplicate
        if by_ledger and recorded is not None:
            is_accepted = recorded.has(IN_LEDGER)[rows]
            is_duplicate &= ~is_accepted
            undecided = rows[~is_accepted & ~is_duplicate]
            rejected = [
                *rejected,
                *(Rejected(row, "replay", "NOT_IN_LEDGER", _UNDECIDED) for row in undecided.tolist()),
            ]
        duplicates = rows[is_duplicate]
        if not is_accepted.all():
            columns, rows = columns.take(is_accepted), rows[is_accepted]
        if len(rows) == 0:
            return HomeOutput(None, [], rejected, duplicates, rows)
        touches = make_touches(columns, self._settings.shards)
        batch = HomeBatch(
            sequence=self._sequence,
            entity_shards=sum(1 << shard for shard, block in enumerate(touches) if len(block)),
            history_start_ms=self._history_starts(records.partition[rows], columns.event_time_ms),
            ingest_time_ms=ingest_time_ms,
            columns=columns,
            partition=records.partition[rows],
            offset=records.offset[rows],
            source_time_ms=records.timestamp_ms[rows],
            recorded=None if recorded is None else recorded.take(rows),
        )
        self._sequence += 1
        starts = b"".join(_HISTORY_FORMAT.pack(*item) for item in self._history_start_ms.items())
        self._state.put(_META, _META_FORMAT.pack(self._sequence) + starts)
        return HomeOutput(batch, touches, rejected, duplicates, rows)

    def _decode(self, records: RawRecords) -> tuple[TransactionColumns, npt.NDArray[np.intp], list[Rejected]]:
        columns = records.decoded
        if columns is None or columns.attribute_names != self._settings.attribute_names:
            return self._transactions.decode(records.values)
        if (columns.text_bytes() + _NUMBERS_BYTES > self._settings.max_record_bytes).any():
            return self._transactions.decode(records.values)  # some may be too long as records
        return columns, np.arange(len(columns)), []

    def _history_starts(self, partition: I32, event_time_ms: I64) -> I64:
        starts = np.zeros(len(partition), np.int64)
        found, first = np.unique(partition, return_index=True)
        for number, row in zip(found.tolist(), first.tolist(), strict=True):
            starts[partition == number] = self._history_start_ms.setdefault(number, int(event_time_ms[row]))
        return starts

    def labels(self, records: RawRecords) -> HomeOutput:
        """Take in the labels that the risk features count, raw or matured as the settings say.

        They touch their entities and give no batch to decide on.
        """
        is_matured = self._settings.risk_labels == "matured"
        columns, rows, rejected = self._read_labels(records, is_matured)
        touches = label_touches(columns, self._settings.shards)
        return HomeOutput(None, touches, rejected, np.zeros(0, np.intp), rows)

    def check_labels(self, records: RawRecords) -> HomeOutput:
        """Find raw labels that cannot be read, where the features count matured ones: these touch nothing."""
        _, rows, rejected = self._read_labels(records, is_matured=False)
        return HomeOutput(None, [], rejected, np.zeros(0, np.intp), rows)

    def _read_labels(
        self, records: RawRecords, is_matured: bool
    ) -> tuple[LabelColumns, npt.NDArray[np.intp], list[Rejected]]:
        columns, rows, rejected = (self._matured if is_matured else self._labels).decode(records.values)
        invalid = validate_labels(
            columns, records.timestamp_ms[rows], self._settings.max_future_ms, is_event_told=not is_matured
        )
        if invalid:
            rejected = [*rejected, *(replace(r, row=int(rows[r.row])) for r in invalid)]
            is_valid = np.ones(len(rows), np.bool_)
            is_valid[[r.row for r in invalid]] = False
            columns, rows = columns.take(is_valid), rows[is_valid]
        return columns, rows, rejected
