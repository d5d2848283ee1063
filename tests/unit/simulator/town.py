"""The simulated stream that the tests look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from models.training.simulator import SimulatorConfig

TOWN = SimulatorConfig(seed=3, accounts=3_000, merchants=600, days=40, fraud_rate=0.02, laundering_rate=0.03)


@dataclass(frozen=True)
class Stream:
    events: pl.DataFrame  # in the order of the stream, with truth, episode and the amount in EUR
    labels: pl.DataFrame  # in the order of the stream, with the batch they came with
    newest_ms: np.ndarray  # newest event time of each batch
