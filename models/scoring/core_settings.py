"""What the scoring core is configured by; everything else reaches it as an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.features.catalogue import STORE
from models.features.store_spec import StoreSpec


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """Settings that decide results: two runs that should agree need the same.

    Attributes
    ----------
    shards
        Entity shards; fixed for the life of the state.
    dedupe_horizon
        Accepted transaction ids per home shard that are recognised at least.
    max_record_bytes
        Longer records are refused.
    max_future_ms
        How far an event's time may lie after its Kafka record's.
    attribute_names
        Numeric attributes of transactions that rules may read.
    risk_labels
        Which labels the risk features count: `raw` ones, or `matured` ones.
    """

    shards: int = 2
    dedupe_horizon: int = 1_048_576
    max_record_bytes: int = 1 << 20
    max_future_ms: int = 86_400_000
    attribute_names: tuple[str, ...] = ()
    store: StoreSpec = STORE
    risk_labels: Literal["raw", "matured"] = "raw"
