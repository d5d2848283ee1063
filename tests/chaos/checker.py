"""What is wrong with the ledger that a reader saw, in Jepsen's words.

Invariant: whatever fails, a read_committed reader of `decisions`, who reads throughout, gets one decision for every
good record of the input and none for any other (no *lost*, *duplicate* or *phantom*); those of an account in the order
of its transactions (none *reordered*); nothing that a later reader does not find (no *aborted read*); each the one that
an undisturbed run makes (none *different*). What an account's decisions sum up to is then the money that it sent.

A decision that says `degraded: reference` was made while Redis was away: it has to be the one that a run without any
reference data makes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.recorded import Place

UNORDERED = ("touch_sequences",)
"""Fields that depend on how partitions met in an entity shard."""
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """One decision as a reader got it."""

    partition: int  # of the ledger
    offset: int
    decision: Mapping[str, Any]

    @property
    def place(self) -> Place:
        """Where the transaction lies in the input."""
        return self.decision["source_partition"], self.decision["source_offset"]


@dataclass(slots=True)
class Anomalies:
    """Places of the input by kind of anomaly."""

    found: dict[str, list[Any]] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, places: Sequence[Any], detail: str = "") -> None:
        """Note anomalies, if there are any."""
        if places:
            self.found[kind] = sorted(places)
            if detail:
                self.details[kind] = detail

    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind found."""
        return {kind: len(places) for kind, places in self.found.items()}

    def __str__(self) -> str:
        if not self.found:
            return "none"
        return "; ".join(
            f"{len(places)} {kind}, such as {places[:SHOWN]} {self.details.get(kind, '')}".rstrip()
            for kind, places in self.found.items()
        )


def check_ledger(
    seen: Sequence[Seen],
    expected: Mapping[Place, Mapping[str, Any]],
    without_reference: Mapping[Place, Mapping[str, Any]],
    final: Iterable[tuple[int, int]],
) -> Anomalies:
    """Compare what a reader saw, in the order in which it saw it, with what should be there.

    Parameters
    ----------
    seen
        By one reader, from the first to the last record.
    expected, without_reference
        Decisions of undisturbed runs, by place: with reference data, and without.
    final
        Partition and offset of everything that a reader finds who starts at the end of the run.
    """
    anomalies = Anomalies()
    times = Counter(item.place for item in seen)
    anomalies.add("lost", [place for place in expected if place not in times])
    anomalies.add("duplicate", [place for place, count in times.items() if count > 1 and place in expected])
    anomalies.add("phantom", [place for place in times if place not in expected])
    there = set(final)
    # Somebody read it, and for those who come later it never was.
    anomalies.add("aborted read", [item.place for item in seen if (item.partition, item.offset) not in there])
    reread = there - {(item.partition, item.offset) for item in seen}
    anomalies.add("unseen", [("ledger", *place) for place in reread])
    reordered = _reordered(seen)
    anomalies.add("reordered", reordered)
    different, example = [], ""
    for item in seen:
        if item.place not in expected:
            continue
        is_degraded = "reference" in item.decision["explanation"]["degraded"]
        wanted = (without_reference if is_degraded else expected)[item.place]
        fields = [n for n in item.decision if n not in UNORDERED and item.decision[n] != wanted[n]]
        if fields:
            different.append(item.place)
            example = example or f"(found, expected) {[(n, item.decision[n], wanted[n]) for n in fields[:SHOWN]]}"
    anomalies.add("different", different, example)
    return anomalies


def _reordered(seen: Sequence[Seen]) -> list[Place]:
    """Return the decisions that lie behind one on a later transaction of the same account."""
    newest: dict[tuple[int, str, int], int] = {}
    found = []
    for item in seen:
        source_partition, source_offset = item.place
        key = (item.partition, item.decision["account_id"], source_partition)
        if source_offset < newest.get(key, -1):
            found.append(item.place)
        newest[key] = max(source_offset, newest.get(key, -1))
    return found


def check_alerts(
    alerts: Iterable[Mapping[str, Any]],
    expected: Mapping[str, float],
    without_reference: Mapping[str, float],
    degraded: set[str],
) -> Anomalies:
    """Compare alerts (at least once) with those of undisturbed runs.

    Parameters
    ----------
    alerts
        As a read_uncommitted reader finds them.
    expected, without_reference
        Score by alert id in undisturbed runs: with reference data, and without.
    degraded
        Ids of the transactions' alerts, whether raised or not, whose decisions were made without reference data: such
        an alert has to be there only if a run without reference data raises it.
    """
    found: dict[str, set[float]] = {}
    for alert in alerts:
        found.setdefault(alert["alert_id"], set()).add(alert["score"])
    anomalies = Anomalies()
    needed = {i for i in expected if i not in degraded} | (without_reference.keys() & degraded)
    anomalies.add("lost alert", [i for i in needed if i not in found])
    anomalies.add("phantom alert", [i for i in found if i not in expected and i not in without_reference])
    allowed = {i: {expected.get(i), without_reference.get(i)} for i in (*expected, *without_reference)}
    anomalies.add("different alert", [i for i, scores in found.items() if not scores <= allowed.get(i, scores)])
    return anomalies


def check_once(name: str, found: Sequence[Place], expected: Iterable[Place]) -> Anomalies:
    """Compare the places that dead letters or duplicates are about with those that should be there, once each."""
    anomalies = Anomalies()
    times, wanted = Counter(found), set(expected)
    anomalies.add(f"lost {name}", [place for place in wanted if place not in times])
    anomalies.add(f"duplicate {name}", [place for place, count in times.items() if count > 1])
    anomalies.add(f"phantom {name}", [place for place in times if place not in wanted])
    return anomalies


def money_by_account(
    decisions: Iterable[Mapping[str, Any]], ends: Mapping[int, int]
) -> dict[tuple[str, str], tuple[int, int]]:
    """Sum up amounts, and count, by account and currency: of transactions below an offset of each partition."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for decision in decisions:
        if decision["source_offset"] < ends[decision["source_partition"]]:
            key = (decision["account_id"], decision["currency"])
            amount, count = sums.get(key, (0, 0))
            sums[key] = (amount + decision["amount_minor"], count + 1)
    return sums
