"""A whole replay without Flink: the stages of the replay job joined by calls. What audits and tests run."""

from __future__ import annotations

from collections.abc import Sequence

from models.features.parted_store import PartedEntityStore
from models.replay.decide_recorded import decide_recorded
from models.replay.deciders import Deciders
from models.replay.intake import ReplayIntake
from models.replay.ordered_batch import OrderedBatch
from models.replay.touch_merge import TouchMerge
from models.scoring.core_settings import CoreSettings
from models.scoring.decide_batch import Run, Scored
from models.scoring.home_stage import HomeStage
from models.scoring.pending import PendingBatches
from models.scoring.pipeline import ScoredRecords
from models.state_map import MemoryState
from schemas.registry import SchemaLookup


class ReplayCore:
    """Replays batches in one process.

    Parameters
    ----------
    settings
        Of the core.
    deciders
        Of each version on record.
    run
        Kind and name of the replay.
    account
        Decide on the transactions of this originator alone.
    registry
        Where to ask for schemas by their Confluent ids.
    """

    def __init__(
        self,
        settings: CoreSettings,
        deciders: Deciders,
        run: Run,
        account: bytes | None = None,
        registry: SchemaLookup | None = None,
    ) -> None:
        self._deciders = deciders
        self._run = run
        self._account = account
        shards = range(settings.shards)
        self._intakes = [ReplayIntake(HomeStage(settings, MemoryState(), registry), settings.shards) for _ in shards]
        self._merges = [TouchMerge(PartedEntityStore(settings.store, MemoryState()), MemoryState()) for _ in shards]
        self._pending = [PendingBatches(MemoryState()) for _ in shards]

    def add(self, parts: Sequence[OrderedBatch]) -> ScoredRecords:
        """Replay parts of batches, in any order among those of one batch."""
        result = ScoredRecords()
        for part in parts:
            taken = self._intakes[part.home_shard].take(part, 0)
            result.rejected += [(part.records, rejected) for rejected in taken.rejected]
            result.duplicates += len(taken.duplicates)
            if taken.batch is not None:
                self._pending[part.home_shard].add_batch(taken.batch.to_bytes())
            for shard, block in enumerate(taken.blocks):
                for answer in self._merges[shard].add(block.to_bytes()):
                    pending = self._pending[answer.home_shard]
                    pending.add_partials(answer.sequence, shard, answer.partials.to_bytes())
        for pending in self._pending:
            result.scored += self._decide(pending)
        return result

    def _decide(self, pending: PendingBatches) -> list[Scored]:
        return [
            scored
            for complete in pending.release()
            for scored in decide_recorded(self._deciders, complete, self._run, self._account)
        ]
