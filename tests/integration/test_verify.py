"""`weir explain --verify` on a ledger that a live run left behind, on doctored copies of it, and where parts are gone.

Invariants: every decision of the live run is recomputed to the same bytes; in a ledger that was doctored exactly the
changed field is named; what cannot be recomputed says why, and is never called equal; the live topics stay as they
were.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.cli.commands.explain import find
from deploy.cli.main import weir
from deploy.cli.replay.verifying import verify
from deploy.local.topics import create_topics
from jobs.settings import Settings, kafka_properties
from jobs.stream.replay.batch_source import tell_nobody
from jobs.stream.topic_reader import TopicReader
from models.features.catalogue import FEATURE_NAMES
from models.replay.audit import DIFFERENT, EQUAL, UNVERIFIABLE, Verification
from schemas.records import decode_record, encode_record
from tests.replayed_live import PARTITIONS, Live, ends

# The first job of a clean clone also compiles the kernels, which takes minutes on a busy machine.
pytestmark = [pytest.mark.integration, pytest.mark.flink, pytest.mark.timeout(900)]

VERSIONED = ("control", "model_updates")
Record = dict[str, Any]


def command(settings: Settings, *arguments: str) -> Result:
    options = ["--bootstrap-servers", settings.bootstrap_servers, "--topic-prefix", settings.topic_prefix]
    environment = {"WEIR_MODELS_DIR": str(settings.models_dir)}
    return CliRunner().invoke(weir, [*options, "explain", *arguments], env=environment)


def verified(settings: Settings, transaction_id: str) -> Verification:
    found = find(settings, transaction_id, None)
    assert found is not None
    return verify(settings, found.value, found.record, tell_nobody)


def a_copy(live: Live, doctored: Callable[[Record], Record] = dict, without: tuple[str, ...] = ()) -> Settings:
    """Copy the live topics under a prefix of their own, decisions changed; return settings for them."""
    prefix = f"copy-{uuid.uuid4().hex[:8]}."
    settings = live.settings.model_copy(update={"topic_prefix": prefix})
    properties = kafka_properties(settings)
    create_topics(properties, prefix, {"transactions": PARTITIONS, "decisions": 2})
    producer = Producer({**properties, "enable.idempotence": True, "message.max.bytes": 16_000_000})
    for name in ("transactions", "labels", "decisions", *VERSIONED):
        source, copy = getattr(live.settings.topics, name), getattr(settings.topics, name)
        if name in without:
            continue
        with TopicReader(properties, [source]) as reader:
            for message in (message for batch in reader.until_end() for message in batch):
                value = message.value()
                if name == "decisions":
                    before = decode_record(value, name="decision")
                    after = doctored(before)
                    value = value if after == before else encode_record("decision", after)
                producer.produce(copy, value, message.key(), message.partition(), timestamp=message.timestamp()[1])
                producer.poll(0)
    assert producer.flush(60) == 0
    return settings


def decoded(live: Live) -> list[Record]:
    return sorted(
        (decode_record(value, name="decision") for value in live.decisions), key=lambda record: record["source_time_ms"]
    )


def of_every_version(live: Live) -> list[Record]:
    """Return the last decision by each pair of rules and learner, and the last of each outcome."""
    by_version = {(record["rules_version"], record["learner_sha256"]): record for record in decoded(live)}
    by_outcome = {record["outcome"]: record for record in decoded(live)}
    assert len({rules for rules, _ in by_version}) > 1, "the rules changed in mid-stream"
    assert len({learner for _, learner in by_version}) > 1, "the learner changed in mid-stream"
    return [*by_version.values(), *by_outcome.values()]


def test_decisions_by_every_version_of_rules_and_learner_verify_as_equal(live: Live) -> None:
    for record in of_every_version(live):
        found = verified(live.settings, record["transaction_id"])
        assert (found.verdict, found.obstacle, found.differences) == (EQUAL, "", ())
        assert found.records > 0
    assert ends(live.settings) == live.ends


def test_the_command_says_equal_and_ends_with_status_0(live: Live) -> None:
    record = decoded(live)[-1]
    result = command(live.settings, record["transaction_id"], "--verify")
    assert result.exit_code == 0, result.output
    assert "equal byte for byte" in result.stdout
    found = json.loads(command(live.settings, record["transaction_id"], "--verify", "--json").stdout)
    assert found["transaction_id"] == record["transaction_id"]
    assert (found["verification"]["verdict"], found["verification"]["differences"]) == (EQUAL, [])


def test_a_doctored_decision_is_found_with_exactly_the_changed_field(live: Live) -> None:
    victims = decoded(live)[-200::20]
    feature = f"features.{FEATURE_NAMES[0]}"

    def lower(record: Record) -> Record:
        return {**record, "score": record["score"] / 2 + 0.25}

    def other_feature(record: Record) -> Record:
        return {**record, "features": [record["features"][0] + 1.0, *record["features"][1:]]}

    def no_rules(record: Record) -> Record:
        hits = [{"rule_id": "made-up", "version": 1, "typology": "none", "weight": 1.0}]
        return {**record, "explanation": {**record["explanation"], "rule_hits": hits}}

    changes: list[tuple[str, Callable[[Record], Record]]] = [
        ("score", lower),
        ("outcome", lambda record: {**record, "outcome": "decline" if record["outcome"] != "decline" else "approve"}),
        ("amount_minor", lambda record: {**record, "amount_minor": record["amount_minor"] + 1}),
        ("counterparty_id", lambda record: {**record, "counterparty_id": "somebody-else"}),
        (feature, other_feature),
        ("explanation.rule_hits", no_rules),
    ]
    doctors = {victim["transaction_id"]: change for victim, change in zip(victims, changes, strict=False)}

    def doctored(record: Record) -> Record:
        return doctors[record["transaction_id"]][1](record) if record["transaction_id"] in doctors else record

    copy = a_copy(live, doctored)
    for transaction_id, (field, _) in doctors.items():
        found = verified(copy, transaction_id)
        assert [difference.name for difference in found.differences] == [field]
        assert verified(live.settings, transaction_id).is_equal
    honest = victims[-1]["transaction_id"]
    assert verified(copy, honest).is_equal
    result = command(copy, victims[0]["transaction_id"], "--verify")
    assert result.exit_code == 1
    assert "DIFFERENT in score" in result.stdout


def test_a_second_decision_on_the_same_record_is_never_called_equal(live: Live) -> None:
    copy = a_copy(live)
    record = decoded(live)[100]
    producer = Producer(kafka_properties(copy))
    producer.produce(copy.topics.decisions, encode_record("decision", {**record, "score": 0.5}), b"k", 0)
    assert producer.flush(30) == 0
    result = command(copy, record["transaction_id"], "--verify", "--json")
    assert result.exit_code == 1
    assert "2 decisions on one record" in json.loads(result.stdout)["verification"]["obstacle"]


def test_versions_that_are_gone_are_named_and_the_features_verified_all_the_same(live: Live) -> None:
    bare = a_copy(live, without=VERSIONED)
    records = decoded(live)
    first = next(record for record in records if not record["learner_sha256"])
    assert verified(bare, first["transaction_id"]).is_equal
    without_learner = verified(a_copy(live, without=("model_updates",)), records[-1]["transaction_id"])
    assert (without_learner.verdict, without_learner.differences) == (UNVERIFIABLE, ())
    assert "parameters of logistic-regression" in without_learner.obstacle
    without_rules = verified(bare, records[-1]["transaction_id"])
    assert (without_rules.verdict, without_rules.differences) == (UNVERIFIABLE, ())
    assert f"rules of version {records[-1]['rules_version']}" in without_rules.obstacle
    result = command(bare, records[-1]["transaction_id"], "--verify")
    assert result.exit_code == 1
    assert "what could be recomputed is equal" in result.stdout


def test_a_log_that_expired_in_part_says_so(live: Live) -> None:
    copy = a_copy(live)
    records = decoded(live)
    half = records[len(records) // 2]["source_time_ms"]
    cuts = {p: min(r["source_offset"] for r in records if r["source_partition"] == p and r["source_time_ms"] >= half)
            for p in range(PARTITIONS)}  # fmt: skip
    admin = AdminClient({"bootstrap.servers": copy.bootstrap_servers})
    places = [TopicPartition(copy.topics.transactions, p, offset) for p, offset in cuts.items()]
    for future in admin.delete_records(places).values():
        future.result()
    gone = verified(
        copy, next(r["transaction_id"] for r in records if r["source_offset"] < cuts[r["source_partition"]])
    )
    assert gone.verdict == UNVERIFIABLE
    assert "has expired" in gone.obstacle
    late = [verified(copy, record["transaction_id"]) for record in records[-3:]]
    assert {found.verdict for found in late} <= {DIFFERENT, EQUAL}
    differences = [difference for found in late for difference in found.differences]
    of_features = [difference for difference in differences if difference.name.startswith("features.")]
    assert of_features
    assert all("complete since" in difference.why for difference in of_features)


def test_a_decision_of_an_older_schema_is_not_called_equal(live: Live) -> None:
    record = decoded(live)[0]
    found = verify(live.settings, b"\xc3\x01" + bytes(40), record, tell_nobody)
    assert found.verdict == UNVERIFIABLE
    assert "older version of its schema" in found.obstacle
