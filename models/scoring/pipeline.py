"""The whole scoring core without Flink: what replays files, computes training features and tests the jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.features.parted_store import PartedEntityStore
from models.scoring.core_settings import CoreSettings
from models.scoring.decide_batch import LIVE, Run, Scored, decide_batch
from models.scoring.decider import Decider
from models.scoring.home_stage import HomeStage
from models.scoring.pending import PendingBatches
from models.scoring.reference import ReferenceLookup
from models.scoring.shadow import Shadow, ShadowAlerts, shadow_alerts
from models.state_map import MemoryState
from schemas.columns import RawRecords, Rejected
from schemas.registry import SchemaLookup


@dataclass(frozen=True, slots=True)
class CoreState:
    """Blobs of every stage: what a checkpoint holds. `copy` it to restart from it."""

    home: Mapping[int, MemoryState]
    entities: Sequence[MemoryState]
    pending: Mapping[int, MemoryState]

    @classmethod
    def empty(cls, shards: int) -> CoreState:
        """Return the state of a stream that has not begun."""
        return cls(
            {shard: MemoryState() for shard in range(shards)},
            [MemoryState() for _ in range(shards)],
            {shard: MemoryState() for shard in range(shards)},
        )

    def copy(self) -> CoreState:
        """Return an independent copy."""
        return CoreState(
            {shard: state.copy() for shard, state in self.home.items()},
            [state.copy() for state in self.entities],
            {shard: state.copy() for shard, state in self.pending.items()},
        )


@dataclass(slots=True)
class ScoredRecords:
    """What became of some records: every one is a decision, a dead letter or a duplicate."""

    scored: list[Scored] = field(default_factory=list)
    rejected: list[tuple[RawRecords, Rejected]] = field(default_factory=list)
    duplicates: int = 0
    shadowed: list[ShadowAlerts] = field(default_factory=list)

    @property
    def decisions(self) -> list[bytes]:
        """Encoded decisions in the order in which they were made."""
        return [decision for scored in self.scored for decision in scored.decisions]

    @property
    def alerts(self) -> list[bytes]:
        """Encoded alerts in the order in which they were raised."""
        return [alert for scored in self.scored for alert in scored.alerts]


class ScoringCore:
    """All stages in one process, joined by calls.

    With the records of one partition it gives the decisions that the job gives, whatever the batches: touches reach
    the entity shards in the same order. Records of several partitions meet in the order in which they are passed.

    Parameters
    ----------
    settings
        Of the core.
    decider
        Model and rules.
    state
        To go on from; None begins anew.
    reference
        Reference data; None marks every decision as degraded.
    registry
        Where to ask for schemas by their Confluent ids.
    run
        Kind and name of the run.
    shadow
        What is on trial beside the decider; None tries nothing out.
    """

    def __init__(
        self,
        settings: CoreSettings,
        decider: Decider,
        state: CoreState | None = None,
        reference: ReferenceLookup | None = None,
        registry: SchemaLookup | None = None,
        run: Run = LIVE,
        shadow: Shadow | None = None,
    ) -> None:
        self.settings = settings
        self.decider = decider
        self.state = CoreState.empty(settings.shards) if state is None else state
        self._reference = reference
        self._run = run
        self._shadow = shadow
        self._home = {shard: HomeStage(settings, blobs, registry) for shard, blobs in self.state.home.items()}
        self._entities = [PartedEntityStore(settings.store, blobs) for blobs in self.state.entities]
        self._pending = {shard: PendingBatches(blobs) for shard, blobs in self.state.pending.items()}

    def transactions(self, records: RawRecords, ingest_time_ms: int = 0, decision_time_ms: int = 0) -> ScoredRecords:
        """Score a batch of transactions: decode, features, decision, in one call."""
        result = ScoredRecords()
        home_shard = records.partition % self.settings.shards
        for shard in np.unique(home_shard).tolist():
            of_shard = take_records(records, np.flatnonzero(home_shard == shard).tolist())
            output = self._home[shard].transactions(of_shard, ingest_time_ms)
            result.rejected += [(of_shard, rejected) for rejected in output.rejected]
            result.duplicates += len(output.duplicates)
            if output.batch is None:
                continue
            pending = self._pending[shard]
            sequence = pending.add_batch(output.batch.to_bytes())
            for entity_shard, touches in enumerate(output.touches):
                if len(touches):
                    partials = self._entities[entity_shard].apply(touches)
                    pending.add_partials(sequence, entity_shard, partials.to_bytes())
            for complete in pending.release():
                scored = decide_batch(self.decider, complete, self._reference, decision_time_ms, self._run)
                result.scored.append(scored)
                if self._shadow is not None:
                    result.shadowed.append(shadow_alerts(self._shadow, scored, decision_time_ms))
        return result

    def labels(self, records: RawRecords) -> ScoredRecords:
        """Take in a batch of labels."""
        result = ScoredRecords()
        output = next(iter(self._home.values())).labels(records)
        for entity_shard, touches in enumerate(output.touches):
            self._entities[entity_shard].apply(touches)
        result.rejected += [(records, rejected) for rejected in output.rejected]
        return result


def take_records(records: RawRecords, rows: list[int]) -> RawRecords:
    """Return the records at `rows`, in that order."""
    if rows == list(range(len(records))):
        return records
    return RawRecords(
        topic=records.topic,
        values=[records.values[row] for row in rows],
        keys=[records.keys[row] for row in rows],
        partition=records.partition[rows],
        offset=records.offset[rows],
        timestamp_ms=records.timestamp_ms[rows],
    )
