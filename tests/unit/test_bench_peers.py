"""The programs that Weir is measured beside do Weir's work: same features, same scores, same rules."""

from __future__ import annotations

import ast
import io
import math
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.settings import DEFAULT_MODEL
from models.features.catalogue import FEATURE_NAMES
from models.scoring.core_settings import CoreSettings
from models.scoring.decider import Decider, default_rule_set
from models.scoring.model import ScoringModel
from models.scoring.pipeline import ScoringCore
from models.scoring.typologies import Typologies
from schemas.columns import CHANNELS, RawRecords
from schemas.encode import encode_transactions
from tests.bench.peers import history
from tests.bench.peers.avro_records import SINGLE_OBJECT_HEADER, AvroRecords, _schema
from tests.bench.peers.rule_conditions import ShippedRules
from tests.bench.peers.same_work import NOT_CLAIMED, SameWork
from tests.bench.peers.touches import apply_touch, touches_of
from tests.builders import NOON_MS, a_transaction, transaction_columns

PEERS = Path(__file__).parents[1] / "bench" / "peers"
DAY_MS = 86_400_000


def a_busy_stream(events: int, seed: int) -> list[dict[str, Any]]:
    """Few accounts over 50 days, with bursts, equal and late times, transfers to oneself, and one busy merchant."""
    rng = np.random.default_rng(seed)
    now, stream = NOON_MS, []
    for i in range(events):
        now += int(rng.choice([0, 1_000, 240_000, 3_600_000, DAY_MS // 3], p=[0.1, 0.3, 0.3, 0.1, 0.2]))
        is_late = rng.random() < 0.05
        is_card = rng.random() < 0.4
        account = int(rng.integers(6))
        amount = int(rng.choice([199, 950, 5_000, 60_000, 64_999, 250_000, 900_000]))
        stream.append(
            a_transaction(
                transaction_id=f"T{i}",
                event_time_ms=now - (int(rng.integers(DAY_MS)) if is_late else 0),
                account_id=f"A{account}",
                counterparty_id="M" if is_card else f"A{int(rng.integers(6))}",
                amount_minor=amount + int(rng.integers(2)) * int(rng.integers(100)),
                currency=str(rng.choice(["EUR", "USD", "JPY", "KWD"], p=[0.7, 0.1, 0.1, 0.1])),
                channel=str(rng.choice(CHANNELS)),
                account_country=str(rng.choice(["DE", "FR", ""])),
                merchant_category=int(rng.choice([5411, 7995])) if is_card else None,
                device_id=None if rng.random() < 0.3 else f"A{account if rng.random() < 0.8 else 0}",
            )
        )
    return stream


def decisions_of_peer(values: list[bytes]) -> list[bytes]:
    """Drive the steps of the same-work peers in a plain loop, with dicts for the keyed state."""
    records, scorer = AvroRecords(), SameWork(str(DEFAULT_MODEL))
    histories: dict[tuple[str, str], bytes] = {}
    pending: dict[str, bytes] = {}
    decisions = []
    for value in values:
        for entity, touch in touches_of(records, value):
            partial = apply_touch(
                touch,
                lambda name, entity=entity: histories.get((entity, name)),  # type: ignore[misc]
                lambda name, items, entity=entity: histories.update({(entity, name): items}),  # type: ignore[misc]
            )
            if partial is None:
                continue
            transaction_id, decision, kept = scorer.join(partial[1], lambda name: pending.pop(name, None))
            if kept is not None:
                pending[transaction_id] = kept
            if decision is not None:
                decisions.append(decision)
    assert not pending, "partials wait for others that never come"
    return decisions


def decisions_of_engine(values: list[bytes]) -> list[bytes]:
    """Score with Weir's own core, without reference data as the peers are."""
    core = ScoringCore(CoreSettings(shards=2), Decider(ScoringModel.load(DEFAULT_MODEL), default_rule_set()))
    n = len(values)
    zeros = np.zeros(n, np.int32)
    times = np.full(n, NOON_MS + 100 * DAY_MS, np.int64)
    return core.transactions(
        RawRecords("transactions", values, [None] * n, zeros, np.arange(n, dtype=np.int64), times)
    ).decisions


def decoded(decisions: list[bytes]) -> list[dict[str, Any]]:
    schema = _schema("decision")
    return [
        fastavro.schemaless_reader(io.BytesIO(d[SINGLE_OBJECT_HEADER:]), schema)  # type: ignore[misc]
        for d in decisions
    ]


@pytest.fixture(scope="module")
def both() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    stream = a_busy_stream(700, seed=4)
    values = encode_transactions(transaction_columns(stream))
    values[300:300] = values[250:280]  # delivered twice
    return decoded(decisions_of_engine(values)), decoded(decisions_of_peer(values))


def test_the_stream_has_what_is_hard() -> None:
    stream = a_busy_stream(700, seed=4)
    received = sum(t["counterparty_id"] == "M" for t in stream)
    assert received > 2 * history.SHORT, "no history is long"
    assert any(t["account_id"] == t["counterparty_id"] for t in stream)
    assert stream[-1]["event_time_ms"] - stream[0]["event_time_ms"] > 39 * DAY_MS, "nothing is ever forgotten"


def test_peer_decides_on_every_transaction_once_in_order(
    both: tuple[list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    engine, peer = both
    assert [d["transaction_id"] for d in peer] == [d["transaction_id"] for d in engine]
    assert len(peer) == 700


def test_peer_has_the_engines_features_and_score(both: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    claimed = [i for i, name in enumerate(FEATURE_NAMES) if name not in NOT_CLAIMED]
    assert len(claimed) == 98
    for ours, theirs in zip(*both, strict=True):
        expected, found = np.array(ours["features"])[claimed], np.array(theirs["features"])[claimed]
        wrong = np.flatnonzero(~np.isclose(found, expected, rtol=3e-7, atol=1e-6, equal_nan=True))
        assert not len(wrong), (
            ours["transaction_id"]
            + ": "
            + ", ".join(f"{FEATURE_NAMES[claimed[i]]} is {found[i]}, expected {expected[i]}" for i in wrong)
        )
        assert math.isclose(theirs["score"], ours["score"], abs_tol=1e-5)


def test_peer_has_the_engines_rule_hits_and_outcome(both: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    seen, compared = set(), 0
    for ours, theirs in zip(*both, strict=True):
        warming = ours["explanation"]["warming"]
        hits = [hit for hit in theirs["explanation"]["rule_hits"] if hit["rule_id"] not in warming]
        assert hits == ours["explanation"]["rule_hits"], ours["transaction_id"]
        seen |= {hit["rule_id"] for hit in hits}
        if not warming:
            compared += 1
            assert theirs["outcome"] == ours["outcome"]
            assert math.isclose(theirs["typology_score"], ours["typology_score"], abs_tol=1e-6)
    assert compared > 50
    assert len(seen) >= 5, f"only {sorted(seen)} ever hit"


def test_peer_asks_the_shipped_rules_and_adds_them_up_as_the_engine_does() -> None:
    rng = np.random.default_rng(8)
    rules, rows = default_rule_set(), 4_000
    read = {name for names in rules.reads for name in names}
    # Quarters, so that no value is one side of a threshold in 32 bits and the other in 64.
    pools = {
        "amount": [4.25, 15.5, 170.0, 310.25, 520.75, 1_100.0, 6_500.0, 9_900.0],
        "pass_through": [0.125, 0.5, 0.875, 1.0, 1.25],
        "sum": [0.0, 300.5, 550.25, 600.75, 1_150.0, 2_500.0, 9_000.0],
        "_count_": [0, 3, 9],
        "seconds": [600.0, 20_000.0, 900_000.0],
        "_is_": [0, 1],
        "on_watchlist": [0, 1],
    }
    X = rng.choice([0.5, 2.5, 3.5, 6.0, 9.0], (rows, len(FEATURE_NAMES))).astype(np.float32)
    for i, name in enumerate(FEATURE_NAMES):
        for part, pool in pools.items():
            if name == part or (part != "amount" and part in name):
                X[:, i] = rng.choice(pool, rows)
    X[:, FEATURE_NAMES.index("account_on_watchlist")] *= rng.random(rows) < 0.02
    X[:, FEATURE_NAMES.index("counterparty_on_watchlist")] *= rng.random(rows) < 0.02
    X[(rng.random(X.shape) < 0.05) & (np.array(FEATURE_NAMES) != "amount")] = np.nan
    channels = rng.choice(CHANNELS, rows).tolist()
    columns = transaction_columns([a_transaction(channel=channel) for channel in channels])
    hits = rules.evaluate(columns, X, 2**62).hits
    typology = Typologies(rules.rules).score(hits)
    peer = ShippedRules()
    for row, values in enumerate(X.tolist()):
        f = {name: value for name, value in zip(FEATURE_NAMES, values, strict=True) if name in read}
        verdict = peer.judge(f, channels[row])
        expected = [rules.rules[r].rule_id for r in np.flatnonzero(hits[row])]
        assert [hit["rule_id"] for hit in verdict.hits] == expected, (channels[row], f)
        assert verdict.outcome == typology.outcome[row]
        assert math.isclose(verdict.typology_score, typology.highest[row], abs_tol=1e-6)
    never = [rule.rule_id for rule, ever in zip(rules.rules, hits.any(axis=0), strict=True) if not ever]
    assert not never, f"never hit here: {never}"


items = st.tuples(st.integers(0, 3 * DAY_MS), st.integers(0, 10**6), st.integers(0, 3))


@settings(max_examples=60, deadline=None)
@given(st.lists(items, min_size=1, max_size=30), st.integers(0, 40 * DAY_MS), st.integers(0, 4))
def test_long_and_short_histories_are_read_alike(arrived: list[tuple[int, int, int]], now: int, longest: int) -> None:
    kept = b""
    for i, (time_ms, amount, other) in enumerate(arrived):
        kept = history.added(kept, time_ms, amount, other, i)
    table = history._table(kept)
    rows = [tuple(row) for row in table.tolist()]
    assert rows == sorted(rows, key=lambda row: row[0])
    short = history._of_short(rows, now, 1, -1, longest)
    long = history._of_long(table, now, 1, -1, longest)
    for name in ("counts", "totals", "distincts", "largests"):
        assert getattr(long, name)[: longest + 1] == getattr(short, name)[: longest + 1], name
    for name in ("deviation", "since_last", "since_first", "pair_count", "pair_total", "since_pair"):
        assert np.isclose(getattr(long, name), getattr(short, name), rtol=1e-9, atol=1e-6, equal_nan=True), name


def test_peers_import_nothing_of_weir() -> None:
    ours = {"deploy", "jobs", "models", "online_learning", "schemas"}
    for path in PEERS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & ours, f"{path.name} imports {names}"
