"""The commands against a real broker: what one writes the others read."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer
from PIL import Image

from deploy.cli.live.model import LiveModel
from deploy.cli.live.watcher import Watcher, count_accounts
from deploy.cli.main import weir
from deploy.load.plan import LoadPlan
from deploy.load.process import GeneratorProcess
from deploy.local.topics import create_topics
from jobs.settings import Settings, kafka_properties
from jobs.stream.alert_reader import LIVE_OUTCOME_HEADER, AlertReader
from jobs.stream.dead_letters import REDRIVEN_FROM, header_names
from jobs.stream.topic_reader import BEGINNING, END, Start, TopicReader
from models.evidence.gatherer import ended
from schemas.records import decode_record, encode_record
from tests.builders import NOON_MS, a_transaction
from tests.evidence import an_alert as alert_with_evidence
from tests.evidence import requests_for
from tests.unit.cli.outputs import REASON, a_decision, an_alert

pytestmark = pytest.mark.integration


@dataclass
class Lane:
    """Weir's topics under a prefix of the test's own, and the command line pointed at them."""

    settings: Settings

    def weir(self, *arguments: str) -> Result:
        options = ["--bootstrap-servers", self.settings.bootstrap_servers, "--topic-prefix", self.settings.topic_prefix]
        return CliRunner().invoke(weir, [*options, *arguments])

    def lines(self, *arguments: str) -> list[Any]:
        result = self.weir(*arguments)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def write(self, topic: str, value: bytes | None, key: bytes | None = b"k", **more: Any) -> None:
        producer = Producer(kafka_properties(self.settings))
        producer.produce(topic, value, key, **more)
        assert producer.flush(10) == 0

    def read(self, topic: str) -> list[Any]:
        with TopicReader(kafka_properties(self.settings), [topic]) as reader:
            return [message for batch in reader.until_end() for message in batch]

    def bury(self, value: bytes | None, offset: int, error: str, key: bytes | None = b"account-1") -> None:
        texts = {
            "topic": self.settings.topics.transactions,
            "partition": "0",
            "offset": str(offset),
            "stage": "validate",
            "error": error,
            "message": "in the test",
        }
        headers = [(header_names()[field], text.encode()) for field, text in texts.items()]
        self.write(self.settings.topics.dead_letters, value, key, headers=headers)


@pytest.fixture
def lane(broker: str) -> Lane:
    prefix = f"cli-{uuid.uuid4().hex[:8]}."
    settings = Settings.load(environment={}, files=(), bootstrap_servers=broker, topic_prefix=prefix)
    create_topics(kafka_properties(settings), prefix)
    return Lane(settings)


def wait_until(condition: Callable[[], bool], timeout_seconds: float, message: str) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.05)


def test_every_row_of_a_file_arrives_under_its_account(lane: Lane, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    rows = "".join(f"t{i},account-{i % 7},shop,{i}.25,2026-01-01T12:00\n" for i in range(500))
    file.write_text("id,who,to,eur,at\n" + rows + "bad,account-1,shop,1.999,2026-01-01\n")
    maps = ["id=transaction_id", "who=account_id", "to=counterparty_id", "eur=amount", "at=event_time"]
    options = [part for text in maps for part in ("--map", text)]
    result = lane.weir("produce", str(file), *options, "--default", "currency=EUR", "--event-timestamps")
    assert result.exit_code == 1, result.output  # of the bad row
    assert "sent 500 rows" in result.output
    messages = lane.read(lane.settings.topics.transactions)
    records = [decode_record(message.value()) for message in messages]
    assert sorted(record["transaction_id"] for record in records) == sorted(f"t{i}" for i in range(500))
    for message, record in zip(messages, records, strict=True):
        assert message.key().decode() == record["account_id"]
        assert message.timestamp()[1] == record["event_time_ms"] == NOON_MS
    places = {(message.key(), message.partition()) for message in messages}
    assert len(places) == 7, "an account is in one partition"


def test_alerts_are_shown_once_in_their_highest_revision(lane: Lane) -> None:
    for alert in (an_alert(), an_alert(), an_alert(alert_id="A2"), an_alert(revision=1, supersedes=0)):
        lane.write(lane.settings.topics.alerts, encode_record("alert", alert))
    lane.write(lane.settings.topics.alerts, b"no alert at all")
    shown = lane.lines("alerts", "--json")
    assert [(alert["alert_id"], alert["revision"]) for alert in shown] == [("A1", 1), ("A2", 0)]
    text = lane.weir("alerts").output
    assert REASON["text"] in text
    assert "1 records" in text


def test_would_be_alerts_are_shown_apart_with_what_was_decided(lane: Lane) -> None:
    topics = lane.settings.topics
    lane.write(topics.alerts, encode_record("alert", an_alert()))
    would_be = encode_record("alert", an_alert(alert_id="S1", mode="shadow"))
    for _ in range(2):
        lane.write(topics.shadow_alerts, would_be, headers=[(LIVE_OUTCOME_HEADER, b"approve")])
    shown = lane.lines("alerts", "--shadow", "--json")
    assert [(a["alert_id"], a["mode"], a["live_outcome"]) for a in shown] == [("S1", "shadow", "approve")]
    assert "live: approve" in lane.weir("alerts", "--shadow").output
    assert [alert["alert_id"] for alert in lane.lines("alerts", "--json")] == ["A1"]


def test_a_rule_is_added_on_trial_and_listed_so(lane: Lane, tmp_path: Path) -> None:
    file = tmp_path / "rule.json"
    rule = {"rule_id": "large", "description": "", "expression": "amount > 9", "typology": "t", "weight": 0.5}
    file.write_text(json.dumps({**rule, "mode": "shadow"}))
    added = lane.weir("rules", "add", str(file))
    assert added.exit_code == 0, added.output
    assert "deciding nothing" in added.output
    listed = {rule["rule_id"]: rule["mode"] for rule in lane.lines("rules", "list", "--json")}
    assert listed.pop("large") == "shadow"
    assert set(listed.values()) == {"live"}
    file.write_text(json.dumps(rule))
    assert "is in force" in lane.weir("rules", "add", str(file)).output
    listed = {rule["rule_id"]: rule["mode"] for rule in lane.lines("rules", "list", "--json")}
    assert listed["large"] == "live"


def test_a_follower_sees_what_comes_later(lane: Lane) -> None:
    reader = AlertReader(kafka_properties(lane.settings), lane.settings.topics.alerts, END)
    try:
        assert reader.read(0.2) == []
        lane.write(lane.settings.topics.alerts, encode_record("alert", an_alert(alert_id="late")))
        found: list[dict[str, Any]] = []
        wait_until(lambda: bool(found.extend(reader.read(0.2)) or found), 10, "the alert did not come")
        assert [alert["alert_id"] for alert in found] == ["late"]
    finally:
        reader.close()


def test_only_committed_decisions_are_shown_and_explained(lane: Lane) -> None:
    topic = lane.settings.topics.decisions
    producer = Producer({**kafka_properties(lane.settings), "transactional.id": f"test-{uuid.uuid4().hex}"})
    producer.init_transactions(30)
    for name, outcome, ends in (
        ("good", "approve", "commit"),
        ("bad", "decline", "commit"),
        ("gone", "review", "abort"),
    ):
        producer.begin_transaction()
        record = a_decision(transaction_id=name, outcome=outcome, account_id=f"account-{name}")
        producer.produce(topic, encode_record("decision", record), f"account-{name}".encode())
        producer.flush(10)
        (producer.commit_transaction if ends == "commit" else producer.abort_transaction)(30)
    assert {record["transaction_id"] for record in lane.lines("decisions", "--json")} == {"good", "bad"}
    assert [r["transaction_id"] for r in lane.lines("decisions", "--json", "--outcome", "decline")] == ["bad"]
    assert [r["transaction_id"] for r in lane.lines("decisions", "--json", "--account", "account-good")] == ["good"]
    assert len(lane.lines("decisions", "--json", "--limit", "1")) == 1
    request = requests_for(alert_with_evidence("bad"), [("vision", "file:///e/bad.png")])[0]
    ending = {**ended(request, "timed_out", NOON_MS, "no answer within 10 s"), "revision": 1}
    lane.write(lane.settings.topics.evidence, encode_record("evidence", ending))
    explained = lane.weir("explain", "bad", "--json")
    assert explained.exit_code == 0, explained.output
    assert json.loads(explained.stdout)["features"]["amount"] == 42.5
    assert [piece["status"] for piece in json.loads(explained.stdout)["evidence"]] == ["timed_out"]
    assert "decline" in lane.weir("explain", "bad").output
    assert lane.weir("explain", "gone").exit_code == 1
    assert lane.weir("explain", "goo").exit_code == 1, "a part of an id is no id"


def test_an_alert_is_written_as_a_page(lane: Lane, tmp_path: Path) -> None:
    topics = lane.settings.topics
    folder, elsewhere, page = tmp_path / "evidence", tmp_path / "elsewhere", tmp_path / "alert.html"
    for place in (folder, elsewhere):
        place.mkdir()
        Image.new("RGB", (60, 40), "white").save(place / "bad.png")
    references = [f"file://{folder}/bad.png", f"file://{elsewhere}/bad.png"]
    alert = alert_with_evidence("bad")
    revised = {
        **alert,
        "revision": 1,
        "supersedes": 0,
        "score_before": 0.5,
        "outcome_before": "review",
        "change": "<b>why</b>",
    }
    lane.write(topics.decisions, encode_record("decision", a_decision(transaction_id="bad", outcome="review")))
    lane.write(topics.decisions, encode_record("decision", a_decision(transaction_id="good")))
    for record in (alert, revised, revised):
        lane.write(topics.alerts, encode_record("alert", record))
    for request in requests_for(alert, [("vision", reference) for reference in references]):
        lane.write(topics.evidence_requests, encode_record("evidence_request", request))
        ending = {**ended(request, "timed_out", NOON_MS, "no answer within 10 s"), "revision": 1}
        lane.write(topics.evidence, encode_record("evidence", ending))
    written = lane.weir("explain", "bad", "--html", str(page), "--evidence-root", str(folder))
    assert written.exit_code == 0, written.output
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 1, "the document below the root, and no other"
    assert "lies outside the folders of evidence_roots" in text
    assert "&lt;b&gt;why&lt;/b&gt;" in text
    assert text.count("Revision 1") == 1
    assert "no answer within 10 s" in text
    assert lane.weir("explain", "good", "--html", str(tmp_path / "no.html")).exit_code == 1, "approved: no alert"
    assert not (tmp_path / "no.html").exists()


def test_dead_letters_are_listed_counted_and_sent_back_once(lane: Lane) -> None:
    topics = lane.settings.topics
    for offset in range(3):
        value = encode_record("transaction", a_transaction(transaction_id=f"t{offset}", currency="ZZQ"))
        lane.bury(value, offset, "UNKNOWN_CURRENCY")
    lane.bury(b"\xfe\x01", 3, "UNDECODABLE", key=None)
    counts = lane.weir("dead-letters", "--counts", "--json")
    assert json.loads(counts.stdout) == {"UNKNOWN_CURRENCY": 3, "UNDECODABLE": 1}
    assert "UNDECODABLE" in lane.weir("dead-letters").output

    repair = ("redrive", "--set", "currency=EUR")
    assert "would send 3 of 4" in lane.weir(*repair).output
    assert lane.read(topics.transactions) == []
    assert "sent 3 of 4" in lane.weir(*repair, "--yes").output
    assert "sent 0 of 4" in lane.weir(*repair, "--yes").output, "never twice"
    assert "sent 1 of 4" in lane.weir("redrive", "--as-is", "--yes").output
    messages = lane.read(topics.transactions)
    values = {dict(message.headers())[REDRIVEN_FROM].decode(): message for message in messages}
    assert set(values) == {f"{topics.transactions}-0-{offset}" for offset in range(4)}
    repaired = values[f"{topics.transactions}-0-1"]
    assert repaired.key() == b"account-1"
    assert decode_record(repaired.value())["currency"] == "EUR"
    assert values[f"{topics.transactions}-0-3"].value() == b"\xfe\x01"


def test_an_edited_export_is_sent_back(lane: Lane, tmp_path: Path) -> None:
    lane.bury(b"{not json", 0, "INVALID_JSON")
    lane.bury(b"{not json", 1, "INVALID_JSON")
    export = tmp_path / "export.jsonl"
    assert lane.weir("dead-letters", "--export", str(export)).exit_code == 0
    assert lane.weir("redrive", "--edit", str(export), "--yes").exit_code == 1, "nothing was edited yet"
    first = json.loads(export.read_text().splitlines()[0])
    export.write_text(json.dumps({**first, "value": a_transaction()}))
    assert "sent 1 of 1" in lane.weir("redrive", "--edit", str(export), "--yes").output
    assert [decode_record(m.value()) for m in lane.read(lane.settings.topics.transactions)] == [a_transaction()]


def test_rules_are_added_replaced_and_removed(lane: Lane, tmp_path: Path) -> None:
    file = tmp_path / "rule.json"
    rule = {"rule_id": "large", "description": "", "expression": "amount > 9", "typology": "t", "weight": 0.5}
    before = {rule["rule_id"] for rule in lane.lines("rules", "list", "--json")}
    file.write_text(json.dumps(rule))
    assert "large version 1" in lane.weir("rules", "add", str(file)).output
    assert "large version 2" in lane.weir("rules", "add", str(file)).output
    file.write_text(json.dumps({**rule, "version": 2}))
    assert lane.weir("rules", "add", str(file)).exit_code == 1, "version 2 is in force"
    assert {r["rule_id"] for r in lane.lines("rules", "list", "--json")} == before | {"large"}
    for rule_id in ("large", min(before)):
        assert lane.weir("rules", "remove", rule_id).exit_code == 0
    assert {r["rule_id"] for r in lane.lines("rules", "list", "--json")} == before - {min(before)}
    assert lane.weir("rules", "remove", "large").exit_code == 1


def test_a_generator_process_sends_what_was_planned_at_its_time(lane: Lane) -> None:
    topics = lane.settings.topics
    plan = LoadPlan(rate=2_000.0, count=3_000, end_ms=int(time.time() * 1_000), accounts=500, merchants=200)
    properties = kafka_properties(lane.settings)
    with GeneratorProcess(plan, properties, topics.transactions, topics.labels) as generator:
        report = generator.wait(60)
    assert (report.sent, report.failed) == (3_000, 0)
    assert not generator.is_running
    messages = lane.read(topics.transactions)
    assert len(messages) == 3_000
    times = sorted(message.timestamp()[1] for message in messages)
    assert times[-1] - times[0] == pytest.approx(1_500, abs=5), "timestamps are the schedule's"
    assert len({decode_record(message.value())["transaction_id"] for message in messages}) == 3_000


def test_a_generator_can_be_stopped_early(lane: Lane) -> None:
    topics = lane.settings.topics
    plan = LoadPlan(rate=500.0, count=None, end_ms=int(time.time() * 1_000), accounts=500, merchants=200)
    generator = GeneratorProcess(plan, kafka_properties(lane.settings), topics.transactions, topics.labels)
    with generator:
        wait_until(lambda: generator.report.sent > 0, 60, "it does not send")
        report = generator.stop()
    assert not generator.is_running
    assert len(lane.read(topics.transactions)) == report.sent


def test_simulate_sends_its_count(lane: Lane) -> None:
    arguments = ("--count", "400", "--rate", "4000", "--accounts", "300", "--poison", "0.1", "--duplicates", "0.1")
    # In a thread of its own a command cannot take signals over, so it runs in this one
    assert threading.current_thread() is threading.main_thread()
    result = lane.weir("simulate", *arguments, "--no-labels")
    assert result.exit_code == 0, result.output
    assert "sent 400 transactions" in result.output
    assert len(lane.read(lane.settings.topics.transactions)) == 400


def test_the_watcher_counts_what_is_written_and_the_accounts_are_even(lane: Lane) -> None:
    topics, properties = lane.settings.topics, kafka_properties(lane.settings)
    model = LiveModel()
    with Watcher(model, properties, topics) as watcher:
        now_ms = int(time.time() * 1_000)
        for outcome in ("approve", "decline"):
            record = a_decision(outcome=outcome, source_time_ms=now_ms)
            lane.write(topics.decisions, encode_record("decision", record))
        lane.write(topics.alerts, encode_record("alert", an_alert(source_time_ms=now_ms)))
        lane.bury(b"?", 3, "UNDECODABLE")
        lane.write(topics.duplicates, b"again")
        wait_until(lambda: model.answered == 4 and model.snapshot().alerts == 1, 10, "not everything was seen")
        assert watcher.error is None
    snapshot = model.snapshot()
    assert snapshot.outcomes == {"approve": 1, "review": 0, "decline": 1}
    assert snapshot.dead_letters == {"UNDECODABLE": 1}
    assert 0 <= snapshot.decision_latency.max < 10_000
    assert count_accounts(4, properties, topics).is_even


def test_a_reader_starts_where_it_is_told_to(lane: Lane) -> None:
    topic = lane.settings.topics.alerts
    for i in range(10):
        lane.write(topic, str(i).encode(), timestamp=NOON_MS + i)
    found = {}
    for name, start in (
        ("all", BEGINNING),
        ("end", END),
        ("last", Start(last=3)),
        ("since", Start(since_ms=NOON_MS + 7)),
    ):
        with TopicReader(kafka_properties(lane.settings), [topic], start) as reader:
            found[name] = [int(message.value()) for batch in reader.until_end() for message in batch]
    assert found == {"all": list(range(10)), "end": [], "last": [7, 8, 9], "since": [7, 8, 9]}
