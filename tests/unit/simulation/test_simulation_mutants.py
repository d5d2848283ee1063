"""The checks can fail: each fault planted in the virtual disk, or in what Flink promises, is found in a few seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("authlib", reason="the registry's client is an optional extra")

from models.features.entity_store import PAGE_BYTES
from tests.unit.simulation import virtual_flink
from tests.unit.simulation.checks import check
from tests.unit.simulation.plan import Plan
from tests.unit.simulation.town import AMOUNTS
from tests.unit.simulation.virtual_kafka import COMMITTED
from tests.unit.simulation.virtual_operators import Channel, LedgerSink, Source, Task
from tests.unit.simulation.world import virtual_world

Blobs = dict[int, bytes]
Spoil = Callable[[str, int, str, Blobs], Blobs]

MOST_SEEDS = 60
_PART = 1 << 52  # of the keys of an entity store
_LOG, _PAGE = 14 * _PART, 2 << 48
_CODEC = pa.Codec("zstd", -1)


def without(operator: str, is_lost: Callable[[int], bool]) -> Spoil:
    """Return a disk that loses some blobs of an operator at each restart."""

    def spoil(found: str, key: int, name: str, blobs: Blobs) -> Blobs:
        return {k: v for k, v in blobs.items() if found != operator or not is_lost(k)}

    return spoil


def flipped_bits(operator: str, key: int, name: str, blobs: Blobs) -> Blobs:
    """Change amounts in the pages of the entity stores: addresses stay sound, so that nothing but a check can tell."""
    if operator != "entities":
        return blobs
    return {k: _with_flipped_amounts(v) if k % _PART >= _PAGE else v for k, v in blobs.items()}


def _with_flipped_amounts(page: bytes) -> bytes:
    words = np.frombuffer(_CODEC.decompress(page, PAGE_BYTES, asbytes=True), np.int64).copy()
    words[words == AMOUNTS[1]] ^= 1
    return bytes(_CODEC.compress(words.tobytes(), asbytes=True))


DISKS: dict[str, Spoil] = {
    "the touch log is not replayed": without("entities", lambda key: _LOG <= key < _LOG + _PART),
    "a page of the entity store is lost": without("entities", lambda key: (key % _PART - _PAGE) // 2 == 2),
    "bits flip in pages of the entity store": flipped_bits,
    "accepted ids are forgotten": without("intake", lambda key: key == -1),
    "the number of the next batch is forgotten": without("intake", lambda key: key == -2),
    "batches that wait are lost": without("decide", lambda key: key >= 0),
    "labels that wait are lost": without("learn", lambda key: 2 << 50 <= key < 3 << 50),
    "decisions that wait for labels are lost": without("learn", lambda key: 1 << 50 <= key < 2 << 50),
    "records that wait for their turn are lost": without("learn", lambda key: 3 << 50 < key < 4 << 50),
    "the learner's weights are lost": without("learn", lambda key: key == 4 << 50),
}


def finds(spoil: Spoil | None = None) -> bool:
    """Run seeds in which processes die, half of them with unaligned checkpoints, until one fails; print how."""
    for seed in range(MOST_SEEDS):
        plan = replace(Plan.of(seed), deaths=3, learner_deaths=2, is_unaligned=seed % 2 == 0)
        with virtual_world(plan, spoil) as world:
            try:
                world.run()
                check(world)
            except Exception as error:  # a job that refuses its state has noticed too
                print(f"seed {seed}: {type(error).__name__}: {error}")
                return True
    return False


@pytest.mark.parametrize("disk", DISKS)
def test_a_disk_that_loses_something_is_found(disk: str) -> None:
    assert finds(DISKS[disk]), f"{MOST_SEEDS} seeds passed although {disk}"


@pytest.mark.parametrize("by", [-1, 1])
def test_offsets_that_do_not_fit_the_state_are_found(monkeypatch: pytest.MonkeyPatch, by: int) -> None:
    restore = Source.restore

    def shifted(self: Source, found: list[dict[str, object]]) -> None:
        restore(self, found)
        self.at = {place: max(0, offset + by) if offset else 0 for place, offset in self.at.items()}

    monkeypatch.setattr(Source, "restore", shifted)
    assert finds()


def test_a_sink_that_commits_before_the_checkpoint_is_complete_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = LedgerSink.snapshot

    def hasty(self: LedgerSink) -> dict[str, object]:
        found = snapshot(self)
        for transaction in found["prepared"]:
            transaction.state = COMMITTED
        return found

    monkeypatch.setattr(LedgerSink, "snapshot", hasty)
    assert finds()


def test_barriers_that_are_not_aligned_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class AtOnce(virtual_flink.Job):
        def _barrier(self, channel: Channel, number: int) -> None:
            if self._pending is not None and channel.target.name not in self._pending.snapshots:
                for other in channel.target.inputs:
                    other.is_blocked = other is not channel
                super()._barrier(channel, number)

    monkeypatch.setattr("tests.unit.simulation.world.Job", AtOnce)
    assert finds()


def test_a_function_that_outlives_its_state_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    reset = Task.reset

    def kept(self: Task) -> None:
        function = getattr(self, "_function", None)
        reset(self)
        self._function = function

    monkeypatch.setattr(Task, "reset", kept)
    assert finds()
