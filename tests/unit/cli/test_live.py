"""The live view: counting, rates, percentiles, and what is shown."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from deploy.cli.live.evidence import EvidenceTally, ServiceCounts
from deploy.cli.live.latency import Latencies
from deploy.cli.live.model import LiveModel, Rate
from deploy.cli.live.panels import Accounts, LiveView, alert_line, identity, line, summary
from deploy.cli.live.run import DemoOptions
from jobs.stream.decision_heads import read_heads
from schemas.records import encode_record
from tests.builders import NOON_MS
from tests.unit.cli.outputs import a_decision, an_alert


def decisions(*outcomes: str) -> list[bytes | None]:
    return [encode_record("decision", a_decision(outcome=outcome)) for outcome in outcomes]


def a_model() -> LiveModel:
    model = LiveModel()
    model.phase = "simulating and scoring"
    model.set_sent(5)
    model.tick(100.0)
    model.add_decisions(read_heads(decisions("approve", "approve", "decline")), NOON_MS + 50)
    model.add_alerts([an_alert(), an_alert(), an_alert(alert_id="A2", outcome="decline")], NOON_MS + 80)
    model.add_dead_letters(["UNDECODABLE"])
    model.add_duplicates(1)
    model.tick(102.0)
    return model


def shown(renderable: object, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, height=30)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_counts_follow_what_arrived() -> None:
    snapshot = a_model().snapshot()
    assert snapshot.outcomes == {"approve": 2, "review": 0, "decline": 1}
    assert (snapshot.answered, snapshot.waiting, snapshot.duplicates) == (5, 0, 1)
    assert (snapshot.alerts, snapshot.repeated_alerts) == (2, 1)
    assert snapshot.elapsed_seconds == 2.0
    assert snapshot.decision_latency.p50 == 50
    assert snapshot.alert_latency.max == 80


def test_the_newest_alert_comes_first() -> None:
    assert [alert["alert_id"] for alert in a_model().snapshot().newest_alerts] == ["A2", "A1"]


def test_a_decision_in_an_unknown_schema_counts_without_outcome() -> None:
    model = LiveModel()
    model.add_decisions(read_heads([b"\xc3\x01unknown schema", None]), NOON_MS)
    snapshot = model.snapshot()
    assert snapshot.decisions == 2
    assert sum(snapshot.outcomes.values()) == 0
    assert snapshot.decision_latency.count == 0


def test_the_warm_up_counts_and_is_not_measured() -> None:
    model = a_model()
    model.start_measuring()
    model.tick(110.0)
    snapshot = model.snapshot()
    assert snapshot.decision_latency.count == snapshot.alert_latency.count == 0
    assert snapshot.answered == 5
    assert snapshot.elapsed_seconds == 0.0


def test_the_load_follows_on_its_warm_up() -> None:
    warm_up, load = DemoOptions(rate=100.0, duration_seconds=10.0).plans(NOON_MS)
    assert load.count == 1_000
    assert warm_up.end_ms == load.simulator.start_ms < NOON_MS
    assert warm_up.simulator.start_ms < warm_up.end_ms


def test_a_rate_forgets_what_is_older_than_its_window() -> None:
    rate = Rate(window_seconds=5.0)
    for second in range(20):
        rate.update(float(second), min(second, 10) * 100)
    assert rate.value == 0.0


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=300))
def test_percentiles_are_right_to_one_percent_of_the_value(values: list[int]) -> None:
    latencies = Latencies()
    latencies.record(np.array(values[: len(values) // 2], np.int64))
    latencies.record(np.array(values[len(values) // 2 :], np.int64))
    found = latencies.percentiles()
    ordered = np.sort(values)
    for share, value in ((0.5, found.p50), (0.95, found.p95), (0.99, found.p99)):
        exact = int(ordered[int(np.ceil(share * len(values))) - 1])
        assert abs(value - exact) <= max(1, exact * 0.01)
    assert found.max == ordered[-1]
    assert found.count == len(values)


def test_clocks_that_disagree_do_no_harm() -> None:
    latencies = Latencies()
    latencies.record(np.array([-5, 10_000_000], np.int64))
    assert latencies.percentiles().count == 2


def test_the_screen_shows_every_part() -> None:
    text = shown(LiveView(a_model().snapshot(), "Ctrl-C ends"))
    for part in ("simulating and scoring", "Ctrl-C ends", "decline", "p99", "UNDECODABLE", "900.00 EUR", "9 times"):
        assert part in text


def test_an_empty_screen_can_be_drawn() -> None:
    assert "none yet" in shown(LiveView(LiveModel().snapshot()))


def test_the_line_without_a_terminal_tells_the_same_in_short() -> None:
    text = line(a_model().snapshot())
    assert "in 5" in text
    assert "decline 1" in text
    assert "p99 80 ms" in text
    assert "9 times" in alert_line(an_alert())


def test_the_identity_says_whether_it_holds() -> None:
    assert identity(Accounts(10, 8, 1, 1)).endswith("every record is accounted for")
    assert "10 in ≠ 8 decisions + 0 dead letters + 1 duplicates: +1 are unaccounted for" in identity(
        Accounts(10, 8, 0, 1)
    )
    assert "every record is accounted for" in shown(summary(a_model().snapshot(), Accounts(5, 3, 1, 1)))


def test_a_revision_takes_the_place_of_its_alert_and_is_no_new_one() -> None:
    model = a_model()
    model.add_alerts([an_alert(revision=1, outcome="decline")], NOON_MS + 9_000)
    snapshot = model.snapshot()
    assert (snapshot.alerts, snapshot.repeated_alerts, snapshot.alert_latency.max) == (2, 1, 80)
    assert [(alert["alert_id"], alert["revision"]) for alert in snapshot.newest_alerts] == [("A2", 0), ("A1", 1)]


def a_request(number: int, service: str = "vision") -> dict[str, object]:
    return {"request_id": f"E{number}", "service": service}


def an_ending(number: int, status: str = "answered", service: str = "vision") -> dict[str, object]:
    return {**a_request(number, service), "status": status}


def a_revised_model() -> LiveModel:
    model = LiveModel(EvidenceTally(["multimodal reads no documents"]))
    piece = {"reference": "file:///e/a.jpg", "status": "answered"}
    before = {"score_before": 0.75, "outcome_before": "review", "is_final": False, "change": "", "evidence": [piece]}
    model.add_alerts([an_alert(), an_alert(alert_id="A2")], NOON_MS + 80)
    told = {
        **before,
        "outcome": "decline",
        "score": 0.98,
        "change": "vision gives 0.97: the score rises",
        "supersedes": 0,
    }
    model.add_alerts([an_alert(revision=1, **told)] * 2, NOON_MS + 2_000)
    memo = {**before, "evidence": [{**piece, "reference": "memo:"}], "supersedes": 1, "is_final": True}
    model.add_alerts([an_alert(revision=2, **memo)], NOON_MS + 3_000)
    assert model.evidence is not None
    model.evidence.add_requests([a_request(1), a_request(2), a_request(2), a_request(3, "text"), a_request(4)])
    model.evidence.add_endings([an_ending(1), an_ending(1), an_ending(2, "timed_out"), an_ending(3, service="text")])
    return model


def test_evidence_is_counted_once_however_often_it_is_delivered() -> None:
    evidence = a_revised_model().snapshot().evidence
    assert evidence is not None
    assert evidence.services == {"text": ServiceCounts(1, 1), "vision": ServiceCounts(3, 1, 1)}
    assert (evidence.total.asked, evidence.total.ended, evidence.total.waiting) == (4, 3, 1)
    assert (evidence.revisions, evidence.revised_alerts, evidence.changed_outcomes) == (2, 1, 1)


def test_revisions_about_documents_are_shown_before_those_about_memos() -> None:
    model = a_revised_model()
    evidence = model.snapshot().evidence
    assert evidence is not None
    assert model.evidence is not None
    assert [alert["revision"] for alert in evidence.newest] == [1, 2]
    assert model.evidence.telling is not None
    assert model.evidence.telling["revision"] == 1


def test_the_screen_the_line_and_the_summary_tell_of_evidence() -> None:
    snapshot = a_revised_model().snapshot()
    screen = shown(LiveView(snapshot), 150)
    for part in ("answered late", "rev 0 → 1", "0.750 → decline 0.980", "vision gives 0.97", "reads no documents"):
        assert part in screen
    assert "evidence asked 4 answered 2 timed out 1  revisions 2" in line(snapshot)
    told = shown(summary(snapshot, Accounts(5, 3, 1, 1)))
    assert "evidence: 4 asked ≠ 2 answered + 1 timed out + 0 refused + 0 failed: 1 had not ended" in told
    assert "alerts revised: 1, by 2 revisions, of which 1 changed what is to be done" in told


def test_without_evidence_nothing_is_said_of_it() -> None:
    snapshot = a_model().snapshot()
    assert snapshot.evidence is None
    for text in (shown(LiveView(snapshot)), line(snapshot), shown(summary(snapshot, None))):
        assert "evidence" not in text.lower()


def test_the_load_comes_with_documents_and_the_warm_up_without() -> None:
    warm_up, load = DemoOptions(duration_seconds=10.0).plans(NOON_MS, "http://127.0.0.1:1/documents")
    assert warm_up.evidence_share == 0.0
    assert (load.evidence_share, load.evidence_root) == (0.04, "http://127.0.0.1:1/documents")
    assert DemoOptions(duration_seconds=10.0).plans(NOON_MS)[1].evidence_share == 0.0


def test_demo_and_load_can_be_loaded_without_the_packages_of_evidence() -> None:
    blocked = "import sys; sys.modules.update(dict.fromkeys(['PIL', 'matplotlib', 'starlette', 'magika'], None)); "
    loaded = (
        "import deploy.cli.live.run, deploy.cli.commands.explain, deploy.load.generator, deploy.cli.alert_page.page"
    )
    subprocess.run([sys.executable, "-c", blocked + loaded], check=True, timeout=120)
