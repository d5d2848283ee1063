"""References to documents on some payments; the documents themselves are made elsewhere, by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.training.simulator.config import SimulatorConfig
from models.training.simulator.events import CURRENCIES, MINOR_PER_EUR, Events
from schemas.columns import CHANNELS, F64, U64, Bool, TransactionColumns
from schemas.references import pack_references

_TRANSFERS = np.array([CHANNELS.index(name) for name in ("transfer", "instant_transfer", "wire")], np.uint8)
_WITHOUT_DECIMALS = CURRENCIES.index("JPY")


def with_references(
    columns: TransactionColumns, events: Events, config: SimulatorConfig, first_sequence: int, salt: np.uint64
) -> TransactionColumns:
    """Give a share of the transactions a reference to one document, ROOT/TRANSACTION_ID.jpg.

    Which ones depends on the seed and the place in the stream alone, and on what may come with one: see
    `SimulatorConfig.evidence_from_eur`. A chosen row costs some microseconds.

    Parameters
    ----------
    columns, events
        The same transactions, as they are sent and as they were drawn.
    """
    if not config.evidence_share:
        return columns
    n = len(columns)
    places = np.arange(first_sequence, first_sequence + n).astype(np.uint64)
    chosen = np.flatnonzero((_scrambled(places ^ salt) < config.evidence_share) & _may_come_with_one(events, config))
    root = config.evidence_root.rstrip("/")
    references: list[list[str]] = [[] for _ in range(n)]
    for row in chosen.tolist():
        references[row] = [f"{root}/{columns.transaction_id.text_at(row)}.jpg"]
    count = np.zeros(n, np.int32)
    count[chosen] = 1
    return replace(columns, evidence_count=count, evidence=pack_references(references))


def _may_come_with_one(events: Events, config: SimulatorConfig) -> Bool:
    if not config.evidence_from_eur:
        return np.ones(len(events), np.bool_)
    eur = events["amount_minor"] / MINOR_PER_EUR[events["currency"]]
    is_transfer = np.isin(events["channel"], _TRANSFERS)
    fits: Bool = is_transfer & (eur >= config.evidence_from_eur) & (events["currency"] != _WITHOUT_DECIMALS)
    return fits


def _scrambled(z: U64) -> F64:
    """Map 64 bits to [0, 1), neighbours far apart (the finaliser of SplitMix64)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    scrambled: F64 = (z ^ (z >> np.uint64(31))).astype(np.float64) / 2.0**64
    return scrambled
