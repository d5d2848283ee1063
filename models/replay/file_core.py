"""The core of the scoring job over the rows of a file: its stages joined by calls, without formats between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.features.entity_store import EntityStore
from models.scoring.core_settings import CoreSettings
from models.scoring.decide_batch import Assembled, features_of
from models.scoring.home_stage import HomeStage
from models.scoring.pending import Complete
from models.state_map import MemoryState
from schemas.columns import RawRecords, Rejected


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of some rows: each is assembled, rejected or a duplicate."""

    assembled: Assembled | None  # None where none was accepted
    rejected: list[Rejected]  # `row` counts the records passed
    duplicates: np.ndarray[tuple[int], np.dtype[np.intp]]  # rows of the records passed


class FileCore:
    """Decodes, checks and dedupes records, and computes their features, as the scoring job does.

    The state lives in memory alone, so nothing is logged or packed on the way: what `ScoringCore` gives for the same
    records, cut anywhere, it gives in less time. Records are of one partition, and there is no reference data.

    Parameters
    ----------
    settings
        Of the core.
    """

    def __init__(self, settings: CoreSettings) -> None:
        self._home = HomeStage(settings, MemoryState())
        self._stores = [EntityStore(settings.store, asks_ahead=False) for _ in range(settings.shards)]

    def take(self, records: RawRecords) -> Taken:
        """Take in the next records."""
        output = self._home.transactions(records, 0)
        if output.batch is None:
            return Taken(None, output.rejected, output.duplicates)
        partials = [
            store.apply(touches) for store, touches in zip(self._stores, output.touches, strict=True) if len(touches)
        ]
        assembled = features_of(Complete(output.batch, partials, 0), None)
        return Taken(assembled, output.rejected, output.duplicates)
