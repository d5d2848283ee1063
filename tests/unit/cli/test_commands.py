"""Help that teaches, and wrong usage told as such; nothing here needs Kafka."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from deploy.cli.commands.alerts import block_of, line_of
from deploy.cli.commands.explain import feature_names, parts_of, parts_of_evidence
from deploy.cli.commands.rules import changes_of, in_force
from deploy.cli.main import weir
from deploy.cli.replay.verified import parts_of_verification
from deploy.cli.since import SINCE
from deploy.load.plan import LoadError, LoadPlan
from deploy.local.errors import StackError
from deploy.local.stack import StackOptions
from jobs.stream import topic_reader
from jobs.stream.alert_reader import AlertFilter
from models.replay.audit import FieldDifference, Verification
from models.scoring.rules import default_rules
from schemas.records import encode_record
from tests.builders import NOON_MS
from tests.unit.cli.outputs import REASON, a_decision, an_alert

COMMANDS = (
    "alerts",
    "dead-letters",
    "decisions",
    "demo",
    "explain",
    "gather",
    "produce",
    "redrive",
    "rules",
    "simulate",
    "stop",
)
RULE = {
    "rule_id": "large",
    "description": "A large amount",
    "expression": "amount > 10000",
    "typology": "structuring",
    "weight": 0.5,
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(weir, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage: " in result.output
    assert len(result.output.splitlines()) > 5


@pytest.mark.parametrize(
    "arguments",
    [
        ["redrive"],
        ["redrive", "--as-is", "--set", "currency=EUR"],
        ["simulate", "--seconds", "1", "--count", "1"],
        ["simulate", "--rate", "0"],
        ["alerts", "--since", "yesterday"],
        ["produce", "no-such-file.csv"],
        ["demo", "--duration-seconds", "-1"],
    ],
)
def test_wrong_usage_ends_with_status_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(weir, arguments).exit_code == 2


def test_a_broker_that_is_not_there_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 1 of the loopback is closed everywhere; the client asks again until its time is up
    monkeypatch.setattr(topic_reader, "METADATA_SECONDS", 0.2)
    result = CliRunner().invoke(weir, ["--bootstrap-servers", "127.0.0.1:1", "alerts"])
    assert result.exit_code == 1
    assert "Kafka does not answer" in result.output


def test_the_heap_that_is_asked_for_is_a_taskmanagers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[StackOptions] = []

    def stack(home: Path, options: StackOptions, progress: object) -> None:
        asked.append(options)
        raise StackError("enough seen")

    monkeypatch.setattr("deploy.local.stack.LocalStack", stack)
    for arguments in (["up"], ["up", "--taskmanager-heap-mib", "4096"]):
        CliRunner().invoke(weir, arguments)
    assert [options.flink_memory.taskmanager_heap for options in asked] == [1536, 4096]


def test_a_file_with_an_unknown_column_in_the_mapping_is_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "file.csv"
    file.write_text("a,b\n1,2\n")
    result = CliRunner().invoke(weir, ["produce", str(file), "--map", "c=account_id"])
    assert result.exit_code == 2
    assert "no column 'c'" in result.output


def test_a_dry_run_checks_a_file_without_kafka(tmp_path: Path) -> None:
    file = tmp_path / "file.csv"
    file.write_text("id,who,to,eur,at\n1,a,b,12.50,2026-01-01\n2,a,b,12.505,2026-01-01\n")
    maps = ["id=transaction_id", "who=account_id", "to=counterparty_id", "eur=amount", "at=event_time"]
    options = [part for text in maps for part in ("--map", text)]
    result = CliRunner().invoke(weir, ["produce", str(file), *options, "--default", "currency=EUR", "--dry-run"])
    assert result.exit_code == 1
    assert "would send 1 rows" in result.output
    assert "row 2: INVALID_FIELD: amount: 12.505 has more than the 2 digits" in result.output


def test_ages_and_dates_are_times() -> None:
    assert SINCE.convert("2026-01-01T12:00", None, None) == NOON_MS
    assert SINCE.convert("2026-01-01T13:00+01:00", None, None) == NOON_MS
    assert SINCE.convert("2h", None, None) - SINCE.convert("3h", None, None) == pytest.approx(3_600_000, abs=1_000)


def test_an_alert_is_shown_with_its_reasons() -> None:
    text = block_of(an_alert(degraded=["reference"])).plain
    for part in ("review", "900.00 EUR", "9 times", "AMOUNT_UNUSUAL", "account_takeover", "decided without: reference"):
        assert part in text
    assert json.loads(line_of(an_alert(score=float("nan"))))["score"] is None


def test_a_decision_is_explained_with_its_features_by_name() -> None:

    record = a_decision(outcome="decline", explanation={"reasons": [REASON], "warming": ["slow-rule"]})
    console = Console(record=True, width=200)
    for part in parts_of(record, feature_names(record), {"amount": 17.0}, False):
        console.print(part)
    text = console.export_text()
    for part in ("decline", "9 times", "slow-rule", "42.5", "17", "EUR", "partition 2, offset 17", "30 ms after"):
        assert part in text


@pytest.mark.parametrize(
    ("verification", "parts"),
    [
        (Verification(records=12_345), ["equal byte for byte", "12,345 records"]),
        (
            Verification((FieldDifference("score", 0.25, 0.5, "it is not the model's score"),), records=3),
            ["DIFFERENT in score", "0.25", "0.5", "not the model's score"],
        ),
        (
            Verification(obstacle="the rules are gone", records=3),
            ["what could be recomputed is equal", "rules are gone"],
        ),
        (Verification(obstacle="it has expired"), ["verified", "no", "it has expired"]),
    ],
)
def test_an_audit_says_what_it_found(verification: Verification, parts: list[str]) -> None:

    console = Console(record=True, width=200)
    for part in parts_of_verification(verification):
        console.print(part)
    text = console.export_text()
    for part in parts:
        assert part in text


def test_features_of_another_catalogue_are_numbered() -> None:
    assert feature_names(a_decision(feature_set="other"))[0] == "feature 0 of set other"


def test_an_alert_filter_forgets_the_oldest_first() -> None:
    seen = AlertFilter(remembered=2)
    assert all(seen.is_new(name, 0) for name in ("a", "b", "c"))
    assert seen.is_new("a", 0)
    assert not seen.is_new("c", 0)


def test_good_rules_pass_the_check(tmp_path: Path) -> None:
    file = tmp_path / "rule.json"
    file.write_text(json.dumps(RULE))
    result = CliRunner().invoke(weir, ["rules", "check", str(file)])
    assert result.exit_code == 0, result.output
    assert "large: good" in result.output


def test_a_rule_on_trial_is_called_so(tmp_path: Path) -> None:
    file = tmp_path / "rule.json"
    file.write_text(json.dumps({**RULE, "mode": "shadow"}))
    result = CliRunner().invoke(weir, ["rules", "check", str(file)])
    assert result.exit_code == 0, result.output
    assert "large (shadow): good" in result.output


def test_a_would_be_alert_says_what_was_decided() -> None:
    assert "live: approve" in block_of({**an_alert(), "live_outcome": "approve"}).plain
    assert "live:" not in block_of(an_alert()).plain


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "trial"},
        {"expression": "no_such_column > 1"},
        {"weight": 7},
        {"expression": "amount"},
        {"rule_id": "Not An Id"},
    ],
)
def test_bad_rules_are_refused_with_the_reason(tmp_path: Path, change: dict[str, object]) -> None:
    file = tmp_path / "rule.json"
    file.write_text(json.dumps({**RULE, **change}))
    result = CliRunner().invoke(weir, ["rules", "check", str(file)])
    assert result.exit_code == 1
    assert "rule" in result.output


def test_the_control_topic_changes_adds_and_removes_rules() -> None:
    initial = {rule.rule_id: rule for rule in default_rules()}
    first, second = list(initial)[:2]
    changed = {**RULE, "version": 2, "rule_id": first}
    changes = changes_of(
        [
            (f"rule/{first}".encode(), encode_record("rule", changed)),
            (f"rule/{second}".encode(), b""),
            (b"rule/large", encode_record("rule", {**RULE, "version": 1})),
            (b"rule/broken", b"\xff"),
            (b"model/weir", b"something else"),
        ]
    )
    rules = in_force(initial, changes)
    assert rules[first].version == 2
    assert second not in rules
    assert rules["large"].weight == 0.5
    assert "broken" not in rules


def test_a_load_plan_survives_its_journey_to_the_process() -> None:
    plan = LoadPlan(rate=10.0, count=5, end_ms=NOON_MS, poison_rate=0.5)
    assert LoadPlan.from_json(plan.as_json()) == plan


def test_a_plan_ends_at_its_time_and_an_endless_one_starts_years_before() -> None:
    ends = LoadPlan(rate=10.0, count=100_000, end_ms=NOON_MS, accounts=1_000).simulator
    assert 0 < NOON_MS - ends.start_ms < 60 * 86_400_000
    endless = LoadPlan(rate=10.0, count=None, end_ms=NOON_MS, accounts=1_000).simulator
    assert NOON_MS - endless.start_ms == pytest.approx(5 * 365 * 86_400_000, rel=0.01)


@pytest.mark.parametrize("wrong", [{"rate": 0.0}, {"count": 0}])
def test_a_load_of_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(LoadError):
        LoadPlan(**{"rate": 1.0, "count": 1, "end_ms": NOON_MS, **wrong})


def test_a_revised_alert_says_what_changed_and_what_is_still_missing() -> None:
    provisional = block_of(an_alert(degraded=["vision"], is_final=False)).plain
    assert "decided without: vision" in provisional
    assert "waits for evidence" in provisional
    change = "vision gives the document a.png 0.97: the score rises from 0.500 to 0.961."
    revised = block_of(an_alert(revision=1, change=change, is_final=True)).plain
    assert change in revised
    assert "revision 1" in revised
    assert "waits for evidence" not in revised


def test_an_explanation_shows_how_each_piece_of_evidence_ended() -> None:
    answered = {"revision": 1, "service": "vision", "reference": "file:///a.png", "status": "answered", "score": 0.97,
                "model_version": "1", "findings": {"kind": "splice"}, "reason": ""}  # fmt: skip
    late = {**answered, "revision": 2, "service": "text", "status": "timed_out", "score": None, "findings": {},
            "reason": "no answer within 10 s"}  # fmt: skip
    console = Console(file=io.StringIO(), width=160)
    for part in parts_of_evidence([answered, late]):
        console.print(part)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "0.970" in text
    assert "kind: splice" in text
    assert "no answer within 10 s" in text
    assert parts_of_evidence([]) == []
