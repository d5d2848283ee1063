from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis

from jobs.stream.reference_redis import RedisReference
from schemas.columns import TransactionColumns
from tests.builders import a_transaction, transaction_columns


class FakeRedis:
    """Answers as a Redis with one watch-list and two hashes would, and counts the round trips."""

    def __init__(self) -> None:
        self.watchlist: set[bytes] = set()
        self.hashes: dict[str, dict[bytes, bytes]] = {"weir:device_risk": {}, "weir:merchant_risk": {}}
        self.round_trips = 0
        self.error: Exception | None = None
        self.asked: list[tuple[Any, ...]] = []
        self.connection_pool = self
        self.disconnected = 0

    def disconnect(self) -> None:
        self.disconnected += 1

    def pipeline(self, transaction: bool) -> FakeRedis:
        assert not transaction
        self.asked = []
        return self

    def __enter__(self) -> FakeRedis:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def execute_command(self, *words: Any) -> None:
        self.asked.append(words)

    def hmget(self, name: str, keys: list[bytes]) -> None:
        self.asked.append(("HMGET", name, *keys))

    def execute(self) -> list[Any]:
        self.round_trips += 1
        if self.error:
            raise self.error
        return [
            [int(key in self.watchlist) for key in words[2:]]
            if words[0] == "SMISMEMBER"
            else [self.hashes[words[1]].get(key) for key in words[2:]]
            for words in self.asked
        ]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def fake() -> FakeRedis:
    return FakeRedis()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reference(fake: FakeRedis, clock: Clock) -> RedisReference:
    return RedisReference(fake, monotonic=clock)  # type: ignore[arg-type]


def transactions(*rows: tuple[str, str, str | None]) -> TransactionColumns:
    return transaction_columns([a_transaction(account_id=a, counterparty_id=c, device_id=d) for a, c, d in rows])


def test_each_row_gets_what_is_known_of_its_parties(fake: FakeRedis, reference: RedisReference) -> None:
    fake.watchlist = {b"A2", b"M1"}
    fake.hashes["weir:device_risk"] = {b"D1": b"0.75"}
    fake.hashes["weir:merchant_risk"] = {b"M2": b"0.1"}
    found = reference.lookup(transactions(("A1", "M1", "D1"), ("A2", "M2", None), ("A1", "A2", "D2")))
    assert found is not None
    assert found.account_on_watchlist.tolist() == [0, 1, 0]
    assert found.counterparty_on_watchlist.tolist() == [1, 0, 1]
    assert np.array_equal(found.device_risk, np.array([0.75, np.nan, np.nan], np.float32), equal_nan=True)
    assert np.array_equal(found.merchant_risk, np.array([np.nan, 0.1, np.nan], np.float32), equal_nan=True)


def test_a_batch_costs_one_round_trip_over_its_distinct_ids(fake: FakeRedis, reference: RedisReference) -> None:
    reference.lookup(transactions(*[("A1", "M1", "D1")] * 50, ("A2", "M1", "D1")))
    assert fake.round_trips == 1
    listed, merchants, devices = fake.asked
    assert (listed[:2], sorted(listed[2:])) == (("SMISMEMBER", "weir:watchlist"), [b"A1", b"A2", b"M1"])
    assert merchants == ("HMGET", "weir:merchant_risk", b"M1")
    assert devices == ("HMGET", "weir:device_risk", b"D1")


def test_devices_are_not_asked_for_where_there_are_none(fake: FakeRedis, reference: RedisReference) -> None:
    found = reference.lookup(transactions(("A1", "M1", None)))
    assert found is not None
    assert np.isnan(found.device_risk).all()
    assert [words[0] for words in fake.asked] == ["SMISMEMBER", "HMGET"]


@pytest.mark.parametrize("value", [b"high", b"nan", b"inf", b"-1", b"1.5", b""])
def test_a_risk_that_is_no_share_is_unknown(fake: FakeRedis, reference: RedisReference, value: bytes) -> None:
    fake.hashes["weir:device_risk"] = {b"D1": value}
    found = reference.lookup(transactions(("A1", "M1", "D1")))
    assert found is not None
    assert np.isnan(found.device_risk[0])


def test_an_empty_batch_asks_nothing(fake: FakeRedis, reference: RedisReference) -> None:
    found = reference.lookup(transactions())
    assert found is not None
    assert len(found) == 0
    assert fake.round_trips == 0


@pytest.mark.parametrize("error", [redis.TimeoutError(), redis.ConnectionError(), redis.ResponseError("WRONGTYPE")])
def test_after_a_failure_redis_is_left_alone_for_a_second(
    fake: FakeRedis, reference: RedisReference, clock: Clock, error: Exception
) -> None:
    batch = transactions(("A1", "M1", "D1"))
    fake.error = error
    assert reference.lookup(batch) is None
    assert fake.disconnected == 1, "a late answer must not be taken for the next one"
    fake.error = None
    clock.now += 0.99
    assert reference.lookup(batch) is None
    assert fake.round_trips == 1
    clock.now += 0.02
    assert reference.lookup(batch) is not None
    assert fake.round_trips == 2
