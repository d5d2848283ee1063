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
import redis

from jobs.stream.redis_command import command, warm_up
from models.scoring.reference import ReferenceColumns
from schemas.columns import F32, TransactionColumns

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
        warm_up()

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

        Costs one round trip; per row a fraction of a microsecond here, and of the server's time.
        """
        if len(columns) == 0:
            return ReferenceColumns.unknown(0)
        if self._monotonic() < self._closed_until:
            return None
        with_device = np.flatnonzero(columns.device_id.lengths >= 0)
        prefix = self._settings.prefix.encode()
        accounts, counterparties = columns.account_id, columns.counterparty_id
        commands = [
            command([b"SMISMEMBER", prefix + b"watchlist"], [accounts, counterparties]),
            command([b"HMGET", prefix + b"merchant_risk"], [counterparties]),
        ]
        if len(with_device):
            commands.append(command([b"HMGET", prefix + b"device_risk"], [columns.device_id.take(with_device)]))
        try:
            answers = self._ask(commands)
        except (redis.RedisError, OSError) as error:
            self._closed_until = self._monotonic() + self._settings.retry_after_seconds
            logger.warning("reference data unavailable error=%s", type(error).__name__)
            return None
        listed = np.array(answers[0], np.float32)
        device_risk = np.full(len(columns), np.nan, np.float32)
        if len(with_device):
            device_risk[with_device] = _risks(answers[2])
        return ReferenceColumns(
            account_on_watchlist=listed[: len(columns)],
            counterparty_on_watchlist=listed[len(columns) :],
            device_risk=device_risk,
            merchant_risk=_risks(answers[1]),
        )

    def _ask(self, commands: Sequence[bytes]) -> list[Any]:
        """Send packed commands in one go, and read an answer to each."""
        pool = self._client.connection_pool
        connection = pool.get_connection("SMISMEMBER")
        try:
            connection.send_packed_command([b"".join(commands)])
            return [connection.read_response() for _ in commands]
        except BaseException:
            connection.disconnect()  # a late answer must not be read as the next one
            raise
        finally:
            pool.release(connection)

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()


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
