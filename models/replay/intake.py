"""Home stage of a replay: the live home stage, with its touches sent under their places in the order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.features.touches import TOUCH
from models.replay.ordered_batch import OrderedBatch
from models.replay.touch_merge import NO_ANSWER, TouchBlock
from models.scoring.home_batch import HomeBatch
from models.scoring.home_stage import HomeStage
from schemas.columns import I64, Rejected


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a part: accepted, refused or a duplicate; what only fills the windows is neither of the latter."""

    batch: HomeBatch | None
    blocks: list[TouchBlock]  # one for each entity shard, also where it is empty
    rejected: list[Rejected]
    duplicates: npt.NDArray[np.intp]


class ReplayIntake:
    """Takes in the parts of one home shard.

    Parameters
    ----------
    stage
        The home shard's own.
    shards
        Entity shards.
    """

    def __init__(self, stage: HomeStage, shards: int) -> None:
        self._stage = stage
        self._shards = shards

    def take(self, part: OrderedBatch, ingest_time_ms: int) -> Taken:
        """Take in one part of a batch."""
        place = part.placement
        if part.is_labels:
            output = self._stage.labels(part.records)
        else:
            output = self._stage.transactions(part.records, ingest_time_ms, place.recorded, place.by_ledger)
        touches = output.touches or [np.zeros(0, TOUCH) for _ in range(self._shards)]
        home_shard = NO_ANSWER if part.is_labels else part.home_shard
        sequence = -1 if output.batch is None else output.batch.sequence
        blocks = [
            TouchBlock(
                place.number, place.part, place.parts, home_shard, sequence, place.by_ledger,
                self._places(part, output.rows, block, shard), block,
            )
            for shard, block in enumerate(touches)
        ]  # fmt: skip
        emitted = place.is_emitted
        return Taken(
            output.batch,
            blocks,
            [rejected for rejected in output.rejected if emitted[rejected.row]],
            output.duplicates[emitted[output.duplicates]],
        )

    def _places(self, part: OrderedBatch, rows: npt.NDArray[np.intp], touches: npt.NDArray[np.void], shard: int) -> I64:
        order = part.placement.order[rows][touches["event"]] if len(touches) else np.zeros((0, 1), np.int64)
        if order.shape[1] == 1:
            return order[:, 0]
        if part.is_labels:
            return order[:, shard]
        places: I64 = order[np.arange(len(touches)), touches["role"]]
        return places
