from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from jobs.stream.redis_command import command
from jobs.stream.reference_redis import RedisReference
from schemas.columns import StringColumn, TransactionColumns
from tests.builders import a_transaction, transaction_columns


class FakeRedis:
    """Client, pool and connection in one: a watch-list and two hashes, and a count of the round trips."""

    def __init__(self) -> None:
        self.watchlist: set[bytes] = set()
        self.hashes: dict[bytes, dict[bytes, bytes]] = {b"weir:device_risk": {}, b"weir:merchant_risk": {}}
        self.round_trips = 0
        self.error: Exception | None = None
        self.asked: list[list[bytes]] = []
        self.connection_pool = self
        self.disconnected = self.in_use = 0
        self._unread: list[list[bytes]] = []

    def get_connection(self, _name: str) -> FakeRedis:
        self.in_use += 1
        return self

    def release(self, _connection: FakeRedis) -> None:
        self.in_use -= 1

    def disconnect(self) -> None:
        self.disconnected += 1

    def send_packed_command(self, parts: list[bytes]) -> None:
        self.round_trips += 1
        self.asked = commands_in(b"".join(parts))
        self._unread = list(self.asked)

    def read_response(self) -> list[Any]:
        if self.error:
            raise self.error
        words = self._unread.pop(0)
        if words[0] == b"SMISMEMBER":
            return [int(key in self.watchlist) for key in words[2:]]
        return [self.hashes[words[1]].get(key) for key in words[2:]]


def commands_in(data: bytes) -> list[list[bytes]]:
    """Read commands as a server does."""
    found = []
    at = 0

    def number(sign: bytes) -> int:
        nonlocal at
        assert data[at : at + 1] == sign
        end = data.index(b"\r\n", at)
        value, at = int(data[at + 1 : end]), end + 2
        return value

    while at < len(data):
        words = []
        for _ in range(number(b"*")):
            length = number(b"$")
            words.append(data[at : at + length])
            assert data[at + length : at + length + 2] == b"\r\n"
            at += length + 2
        found.append(words)
    return found


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
    fake.hashes[b"weir:device_risk"] = {b"D1": b"0.75"}
    fake.hashes[b"weir:merchant_risk"] = {b"M2": b"0.1"}
    found = reference.lookup(transactions(("A1", "M1", "D1"), ("A2", "M2", None), ("A1", "A2", "D2")))
    assert found is not None
    assert found.account_on_watchlist.tolist() == [0, 1, 0]
    assert found.counterparty_on_watchlist.tolist() == [1, 0, 1]
    assert np.array_equal(found.device_risk, np.array([0.75, np.nan, np.nan], np.float32), equal_nan=True)
    assert np.array_equal(found.merchant_risk, np.array([np.nan, 0.1, np.nan], np.float32), equal_nan=True)


def test_a_batch_costs_one_round_trip(fake: FakeRedis, reference: RedisReference) -> None:
    reference.lookup(transactions(("A1", "M1", "D1"), ("A2", "M1", None)))
    assert (fake.round_trips, fake.in_use) == (1, 0)
    assert fake.asked == [
        [b"SMISMEMBER", b"weir:watchlist", b"A1", b"A2", b"M1", b"M1"],
        [b"HMGET", b"weir:merchant_risk", b"M1", b"M1"],
        [b"HMGET", b"weir:device_risk", b"D1"],
    ]


@given(values=st.lists(st.text(max_size=300), max_size=20))
def test_commands_are_read_as_they_were_meant(values: list[str]) -> None:
    data = command([b"HMGET", b"h"], [StringColumn.from_values(values), StringColumn.from_values(values[:1])])
    expected = [b"HMGET", b"h", *(value.encode() for value in [*values, *values[:1]])]
    assert commands_in(data) == [expected]


def test_devices_are_not_asked_for_where_there_are_none(fake: FakeRedis, reference: RedisReference) -> None:
    found = reference.lookup(transactions(("A1", "M1", None)))
    assert found is not None
    assert np.isnan(found.device_risk).all()
    assert [words[0] for words in fake.asked] == [b"SMISMEMBER", b"HMGET"]


@pytest.mark.parametrize("value", [b"high", b"nan", b"inf", b"-1", b"1.5", b""])
def test_a_risk_that_is_no_share_is_unknown(fake: FakeRedis, reference: RedisReference, value: bytes) -> None:
    fake.hashes[b"weir:device_risk"] = {b"D1": value}
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
    assert (fake.disconnected, fake.in_use) == (1, 0), "a late answer must not be taken for the next one"
    fake.error = None
    clock.now += 0.99
    assert reference.lookup(batch) is None
    assert fake.round_trips == 1
    clock.now += 0.02
    assert reference.lookup(batch) is not None
    assert fake.round_trips == 2
