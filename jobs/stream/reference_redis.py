"""Reference data from Redis: one pipelined round trip a batch, within a few milliseconds or not at all.

Keys, under one prefix (`weir:`):

- `weir:watchlist`: set of account ids (either side of a transaction is looked up);
- `weir:device_risk`: hash of device id -> risk, 0 to 1;
- `weir:merchant_risk`: hash of counterparty id -> risk, 0 to 1.

Redis holds nothing that a decision needs later: wiping it makes values unknown from the next batch on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import redis

from models.scoring.reference import ReferenceColumns
from schemas.columns import F32, StringColumn, TransactionColumns
from schemas.hashing import hash_strings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RedisReferenceSettings:
    """How the lookup behaves."""

    prefix: str = "weir:"
    budget_seconds: float = 0.005  # for connecting, and for each wait on the answer
    retry_after_seconds: float = 1.0  # a batch in trouble costs the budget: this bounds how many do


class RedisReference:
    """`ReferenceLookup` over Redis. One connection, one caller at a time.

    Parameters
    ----------
    client
        A Redis client whose socket timeouts are the budget; see `connect`.
    settings
        Budget and circuit breaker.
    monotonic
        Clock of the circuit breaker, in seconds.
    """

    def __init__(
        self,
        client: redis.Redis,
        settings: RedisReferenceSettings | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._settings = settings or RedisReferenceSettings()
        self._monotonic = monotonic
        self._closed_until = -np.inf

    @classmethod
    def connect(
        cls,
        url: str,
        settings: RedisReferenceSettings | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> RedisReference:
        """Make a client for `redis://HOST:PORT/DB`; connects with the first batch."""
        settings = settings or RedisReferenceSettings()
        client = redis.Redis.from_url(
            url,
            socket_timeout=settings.budget_seconds,
            socket_connect_timeout=settings.budget_seconds,
            retry=None,  # a retry would spend the budget twice
        )
        return cls(client, settings, monotonic)

    def lookup(self, columns: TransactionColumns) -> ReferenceColumns | None:
        """Return what Redis knows of a batch; None after a failure, and for a second after that.

        Costs one round trip over the batch's distinct ids, and about 2 microseconds a row, most of it redis-py's.
        """
        if len(columns) == 0:
            return ReferenceColumns.unknown(0)
        if self._monotonic() < self._closed_until:
            return None
        accounts, account_at = _distinct(columns.account_id)
        counterparties, counterparty_at = _distinct(columns.counterparty_id)
        devices, device_at = _distinct(columns.device_id)
        prefix = self._settings.prefix
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.execute_command("SMISMEMBER", f"{prefix}watchlist", *accounts, *counterparties)
                pipeline.hmget(f"{prefix}merchant_risk", counterparties)
                if devices:
                    pipeline.hmget(f"{prefix}device_risk", devices)
                answers: list[Any] = pipeline.execute()
        except (redis.RedisError, OSError) as error:
            self._closed_until = self._monotonic() + self._settings.retry_after_seconds
            logger.warning("reference data unavailable error=%s", type(error).__name__)
            self._client.connection_pool.disconnect()  # a late answer must not be read as the next one
            return None
        listed = np.array(answers[0], np.float32)
        return ReferenceColumns(
            account_on_watchlist=listed[account_at],
            counterparty_on_watchlist=listed[len(accounts) + counterparty_at],
            device_risk=_at(_risks(answers[2] if devices else ()), device_at),
            merchant_risk=_at(_risks(answers[1]), counterparty_at),
        )

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()


def _distinct(column: StringColumn) -> tuple[list[bytes], npt.NDArray[np.intp]]:
    """Return the distinct non-null strings, and each row's position among them (-1 for null)."""
    at = np.full(len(column), -1, np.intp)
    rows = np.flatnonzero(column.lengths >= 0)
    # By hash, as entities are told apart everywhere: a Python object per distinct string is the main cost left.
    _, first, at[rows] = np.unique(hash_strings(column)[rows], return_index=True, return_inverse=True)
    starts = column.offsets[rows[first]]
    ends = starts + column.lengths[rows[first]]
    data = column.buffer.data
    return [bytes(data[start:end]) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)], at


def _risks(values: Sequence[bytes | None]) -> F32:
    """Read risks; what is absent, no number or outside 0 to 1 is unknown."""
    risks = np.full(len(values), np.nan, np.float32)
    if values.count(None) < len(values):
        for i, value in enumerate(values):
            if value is not None:
                risks[i] = _risk(value)
    return risks


def _risk(value: bytes) -> float:
    try:
        risk = float(value)
    except ValueError:
        return np.nan
    return risk if 0.0 <= risk <= 1.0 else np.nan


def _at(values: F32, positions: npt.NDArray[np.intp]) -> F32:
    known = np.append(values, np.float32(np.nan))  # position -1 reads the last: unknown
    taken: F32 = known[positions]
    return taken
