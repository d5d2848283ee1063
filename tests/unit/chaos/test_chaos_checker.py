"""Every kind of anomaly, planted into a ledger without any, is found, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.checker import Seen, check_alerts, check_ledger, check_once, money_by_account
from tests.recorded import Place

ACCOUNTS = ("A", "B")


def a_decision(offset: int, **changes: Any) -> dict[str, Any]:
    return {
        "transaction_id": f"T{offset}",
        "account_id": ACCOUNTS[offset % 2],
        "currency": "EUR",
        "amount_minor": 100 + offset,
        "source_partition": 0,
        "source_offset": offset,
        "score": 0.5,
        "touch_sequences": [offset, -1, -1],
        "explanation": {"degraded": []},
        **changes,
    }


EXPECTED: dict[Place, dict[str, Any]] = {(0, i): a_decision(i) for i in range(8)}
DEGRADED = {"explanation": {"degraded": ["reference"]}, "score": 0.4}
WITHOUT: dict[Place, dict[str, Any]] = {(0, i): a_decision(i, **DEGRADED) for i in range(8)}


def a_ledger() -> list[Seen]:
    """Accounts by partition, as keys do it; each with gaps for the markers of transactions."""
    return [Seen(i % 2, 3 * i, a_decision(i)) for i in range(8)]


def found_in(ledger: list[Seen], final: list[tuple[int, int]] | None = None) -> dict[str, list[Any]]:
    places = [(item.partition, item.offset) for item in ledger] if final is None else final
    return check_ledger(ledger, EXPECTED, WITHOUT, places).found


def test_a_ledger_without_anomalies_has_none() -> None:
    assert found_in(a_ledger()) == {}


def test_partitions_may_be_read_in_any_interleaving() -> None:
    assert found_in(sorted(a_ledger(), key=lambda item: (-item.partition, item.offset))) == {}


def test_lost() -> None:
    ledger = a_ledger()
    del ledger[3]
    assert found_in(ledger) == {"lost": [(0, 3)]}


def test_duplicate() -> None:
    assert found_in([*a_ledger(), Seen(1, 99, a_decision(7))]) == {"duplicate": [(0, 7)]}


def test_duplicate_of_an_older_transaction_is_out_of_order_too() -> None:
    assert found_in([*a_ledger(), Seen(0, 99, a_decision(2))]) == {"duplicate": [(0, 2)], "reordered": [(0, 2)]}


def test_phantom() -> None:
    assert found_in([*a_ledger(), Seen(0, 99, a_decision(50))]) == {"phantom": [(0, 50)]}


def test_reordered_within_an_account() -> None:
    ledger = a_ledger()
    ledger[2], ledger[4] = Seen(0, 6, a_decision(4)), Seen(0, 12, a_decision(2))
    assert found_in(ledger) == {"reordered": [(0, 2)]}


def test_aborted_read() -> None:
    ledger = a_ledger()
    final = [(item.partition, item.offset) for item in ledger if item.offset != 9]
    assert found_in(ledger, final) == {"aborted read": [(0, 3)]}


def test_what_only_a_later_reader_finds() -> None:
    ledger = a_ledger()
    final = [*((item.partition, item.offset) for item in ledger), (1, 77)]
    assert found_in(ledger, final) == {"unseen": [("ledger", 1, 77)]}


def test_different() -> None:
    ledger = a_ledger()
    ledger[5] = Seen(1, 15, a_decision(5, amount_minor=1))
    assert found_in(ledger) == {"different": [(0, 5)]}


def test_the_order_in_an_entity_shard_may_differ() -> None:
    ledger = a_ledger()
    ledger[5] = Seen(1, 15, a_decision(5, touch_sequences=[77, -1, -1]))
    assert found_in(ledger) == {}


def test_without_reference_data_the_decision_is_that_of_a_run_without_any() -> None:
    ledger = a_ledger()
    ledger[5] = Seen(1, 15, a_decision(5, **DEGRADED))
    assert found_in(ledger) == {}
    ledger[5] = Seen(1, 15, a_decision(5, **{**DEGRADED, "score": 0.5}))
    assert found_in(ledger) == {"different": [(0, 5)]}


def alerts_found(alerts: list[tuple[str, float]], degraded: frozenset[str] = frozenset()) -> dict[str, list[Any]]:
    """Undisturbed: a and b alert; without reference data b and c."""
    records = [{"alert_id": name, "score": score} for name, score in alerts]
    return check_alerts(records, {"a": 0.9, "b": 0.8}, {"b": 0.7, "c": 0.6}, set(degraded)).found


def test_alerts_may_come_twice_but_must_come() -> None:
    assert alerts_found([("a", 0.9), ("b", 0.8), ("a", 0.9)]) == {}
    assert alerts_found([("a", 0.9)]) == {"lost alert": ["b"]}


def test_no_alert_that_no_run_raises_and_none_with_another_score() -> None:
    assert alerts_found([("a", 0.9), ("b", 0.8), ("x", 0.9)]) == {"phantom alert": ["x"]}
    assert alerts_found([("a", 0.9), ("b", 0.1)]) == {"different alert": ["b"]}


def test_an_alert_that_rests_on_reference_data_may_be_missing_without_them_and_only_then() -> None:
    assert alerts_found([("b", 0.7)], frozenset("ab")) == {}
    assert alerts_found([("a", 0.9)], frozenset("ab")) == {"lost alert": ["b"]}
    assert alerts_found([("a", 0.9), ("b", 0.8)], frozenset("c")) == {"lost alert": ["c"]}


@pytest.mark.parametrize(
    ("found", "anomalies"),
    [
        ([(0, 1), (1, 1)], {}),
        ([(0, 1)], {"lost letters": [(1, 1)]}),
        ([(0, 1), (1, 1), (1, 1)], {"duplicate letters": [(1, 1)]}),
        ([(0, 1), (1, 1), (0, 2)], {"phantom letters": [(0, 2)]}),
    ],
)
def test_dead_letters_and_duplicates_are_there_once(found: list[Place], anomalies: dict[str, list[Any]]) -> None:
    assert check_once("letters", found, [(0, 1), (1, 1)]).found == anomalies


def test_money_counts_what_lies_below_the_ends_alone() -> None:
    decisions = [a_decision(i) for i in range(6)]
    assert money_by_account(decisions, {0: 4}) == {("A", "EUR"): (202, 2), ("B", "EUR"): (204, 2)}
