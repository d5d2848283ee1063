"""References to documents on some payments; the documents themselves are made elsewhere, by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.training.simulator.config import SimulatorConfig
from schemas.columns import F64, U64, TransactionColumns
from schemas.references import pack_references


def with_references(
    columns: TransactionColumns, config: SimulatorConfig, first_sequence: int, salt: np.uint64
) -> TransactionColumns:
    """Give a share of the transactions a reference to one document, ROOT/TRANSACTION_ID.png.

    Which ones depends on the seed and the place in the stream alone. A chosen row costs some microseconds.
    """
    if not config.evidence_share:
        return columns
    n = len(columns)
    places = np.arange(first_sequence, first_sequence + n).astype(np.uint64)
    chosen = np.flatnonzero(_scrambled(places ^ salt) < config.evidence_share)
    root = config.evidence_root.rstrip("/")
    references: list[list[str]] = [[] for _ in range(n)]
    for row in chosen.tolist():
        references[row] = [f"{root}/{columns.transaction_id.text_at(row)}.png"]
    count = np.zeros(n, np.int32)
    count[chosen] = 1
    return replace(columns, evidence_count=count, evidence=pack_references(references))


def _scrambled(z: U64) -> F64:
    """Map 64 bits to [0, 1), neighbours far apart (the finaliser of SplitMix64)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    scrambled: F64 = (z ^ (z >> np.uint64(31))).astype(np.float64) / 2.0**64
    return scrambled
