"""``weir explain``: why one transaction was decided on as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.context import CommandContext, fail, pass_context, say
from deploy.cli.since import SINCE

if TYPE_CHECKING:
    from models.replay.audit import Verification


@click.command()
@click.argument("transaction_id")
@click.option(
    "--since", type=SINCE, metavar="TIME", help="Search decisions since then: 10m, 2h, 3d, or 2026-01-31T12:00 (UTC)."
)
@click.option("--all-features", is_flag=True, help="Also features that are missing or zero.")
@click.option("--json", "as_json", is_flag=True, help="The whole decision as one JSON object, features by name.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the alert as one page for a browser: revisions, documents, heat maps, reports.",
)
@click.option(
    "--evidence-root",
    "roots",
    multiple=True,
    metavar="URI",
    help="With --html: folder or URL below which documents are fetched.  [default: WEIR_SERVICE_EVIDENCE_ROOTS]",
)
@click.option("--verify", "is_verified", is_flag=True, help="Recompute the decision from the log, and compare.")
@pass_context
def command(
    context: CommandContext,
    transaction_id: str,
    since: int | None,
    all_features: bool,
    as_json: bool,
    html: Path | None,
    roots: tuple[str, ...],
    is_verified: bool,
) -> None:
    """Explain the decision on TRANSACTION_ID: score, reasons, rules, and every feature as it was scored.

    The decisions topic is searched from its beginning (about 300,000 decisions a second); --since makes that shorter.

    What side services said about its evidence is shown too; it revised the alert, and not the decision. With --html
    they are asked to explain it, at the addresses of the settings; documents are fetched below the given roots alone,
    by the rules that the services have (docs/services.md).

    With --verify the decision is recomputed from the transactions and labels before it, as far back as the longest
    window reaches, and compared byte for byte. The status is 0 where it is equal, and 1 where a field differs or it
    cannot be recomputed.
    """
    from rich.console import Console

    from deploy.cli.kafka import plain_errors
    from deploy.cli.show import as_plain

    settings = context.settings()
    with plain_errors():
        found = find(settings, transaction_id, since)
    if found is None:
        fail(
            f"no decision on {transaction_id} is in {settings.topics.decisions}: it may not be committed yet (a few "
            f"seconds), or be a dead letter ('weir dead-letters')"
        )
    record = found.record
    verification = _verify(settings, found) if is_verified else None
    evidence = [] if record["outcome"] == "approve" else evidence_on(settings, transaction_id, since)
    names = feature_names(record)
    if as_json:
        named = {**record, "features": dict(zip(names, record["features"], strict=True)), "evidence": evidence}
        if verification is not None:
            named["verification"] = {**asdict(verification), "verdict": verification.verdict}
        click.echo(json.dumps(as_plain(named), indent=2, ensure_ascii=False))
    else:
        console = Console()
        for part in parts_of(record, names, usual_values(settings.models_dir, record), all_features):
            console.print(part)
        for part in parts_of_evidence(evidence):
            console.print(part)
        if verification is not None:
            from deploy.cli.replay.verified import parts_of_verification

            for part in parts_of_verification(verification):
                console.print(part)
    if html is not None:
        _write_page(settings, record, html, roots, since)
    if verification is not None and not verification.is_equal:
        raise SystemExit(1)


def _write_page(
    settings: Any, record: Mapping[str, Any], path: Path, roots: tuple[str, ...], since_ms: int | None
) -> None:
    from pydantic import ValidationError

    from deploy.cli.alert_page.collect import collect
    from deploy.cli.alert_page.page import alert_page
    from deploy.cli.kafka import plain_errors
    from models.services.base.settings import ServiceSettings

    try:
        given: dict[str, object] = {"evidence_roots": roots} if roots else {}
        documents = ServiceSettings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise click.UsageError(str(error)) from error
    with plain_errors():
        dossier = collect(settings, record["transaction_id"], documents, since_ms, record)
    if dossier is None:
        fail(f"no alert on {record['transaction_id']} is in {settings.topics.alerts} (outcome {record['outcome']})")
    try:
        path.write_text(alert_page(dossier), "utf-8", "replace")
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")
    say(f"wrote {path}")


@dataclass(frozen=True, slots=True)
class Found:
    """A decision of the ledger: its fields, the very bytes, and how many decisions on the same record there are."""

    record: dict[str, Any]
    value: bytes
    copies: int


def find(settings: Any, transaction_id: str, since_ms: int | None) -> Found | None:
    """Return the newest revision of the decision on a transaction; None if there is none."""
    from rich.console import Console
    from rich.progress import Progress

    from deploy.cli.kafka import client_properties
    from jobs.stream.topic_reader import Start, TopicReader
    from schemas.records import decode_record

    needle = transaction_id.encode()
    found: list[tuple[dict[str, Any], bytes]] = []
    with (
        TopicReader(client_properties(settings), [settings.topics.decisions], Start(since_ms=since_ms)) as reader,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task("searching", total=reader.total)
        for batch in reader.until_end():
            for message in batch:
                value = message.value()
                # The id's bytes may stand in a record that is about another transaction
                if value is not None and needle in value:
                    record = decode_record(value, name="decision")
                    if record["transaction_id"] == transaction_id:
                        found.append((record, value))
            progress.advance(task, len(batch))
    if not found:
        return None
    record, value = max(found, key=lambda of: int(of[0]["revision"]))
    place = ("revision", "source_partition", "source_offset")
    return Found(record, value, sum(all(other[name] == record[name] for name in place) for other, _ in found))


def evidence_on(settings: Any, transaction_id: str, since_ms: int | None) -> list[dict[str, Any]]:
    """Return how the requests for evidence on a transaction ended, in the order of the alert's revisions."""
    from deploy.cli.alert_page.collect import records_about

    found = records_about(settings, settings.topics.evidence, "evidence", transaction_id, since_ms)
    return sorted(found, key=lambda record: int(record["revision"]))


def parts_of_evidence(evidence: list[dict[str, Any]]) -> list[Any]:
    """Make what is printed of evidence: nothing where there is none."""
    from rich.table import Table

    if not evidence:
        return []
    table = Table(title="Evidence", title_justify="left", box=None, header_style="bold")
    for title in ("revision", "service", "document", "ended", "score", "model", "findings, or why there are none"):
        table.add_column(title)
    for record in evidence:
        said = ", ".join(f"{name}: {text}" for name, text in sorted(record["findings"].items()))
        score = "" if record["score"] is None else f"{record['score']:.3f}"
        table.add_row(str(record["revision"]), record["service"], record["reference"], record["status"], score,
                      record["model_version"], said or record["reason"])  # fmt: skip
    return ["", table]


def _verify(settings: Any, found: Found) -> Verification:
    from deploy.cli.kafka import plain_errors
    from deploy.cli.replay.verifying import shown_progress, verify
    from models.scoring.errors import ScoringError

    with plain_errors(), shown_progress() as tell:
        try:
            verification = verify(settings, found.value, found.record, tell)
        except ScoringError as error:
            fail(str(error))
    if found.copies > 1:
        again = f"the ledger holds {found.copies} decisions on one record, and should hold one; this is about the first"
        verification = replace(verification, obstacle="; ".join(filter(None, [again, verification.obstacle])))
    return verification


def feature_names(record: Mapping[str, Any]) -> list[str]:
    """Names of the features as scored; numbered ones where the decision was made with another catalogue than ours."""
    from models.features.catalogue import FEATURE_NAMES, FEATURE_SET

    if record["feature_set"] == FEATURE_SET and len(record["features"]) == len(FEATURE_NAMES):
        return list(FEATURE_NAMES)
    return [f"feature {i} of set {record['feature_set']}" for i in range(len(record["features"]))]


def usual_values(models_dir: Path, record: Mapping[str, Any]) -> dict[str, float]:
    """Medians over legitimate training transactions, from the card of the very model that scored; else nothing."""
    try:
        card = json.loads((models_dir / "card.json").read_text())
    except (OSError, ValueError):
        return {}
    is_same = (card.get("name"), card.get("version")) == (record["model_name"], record["model_version"])
    return dict(card.get("usual_values", {})) if is_same else {}


def parts_of(record: Mapping[str, Any], names: list[str], usual: Mapping[str, float], all_features: bool) -> list[Any]:
    """Make what is printed, part by part."""
    from rich.table import Table
    from rich.text import Text

    from deploy.cli.show import OUTCOME_STYLES, moment, money, number
    from models.features.catalogue import FEATURE_INDEX, FEATURES

    explanation, processing = record["explanation"], record["processing"]
    head = Table.grid(padding=(0, 2))
    head.add_column(style="bold")
    style = OUTCOME_STYLES.get(record["outcome"], "")
    head.add_row("transaction", record["transaction_id"])
    head.add_row("outcome", Text(record["outcome"], style=f"bold {style}"))
    head.add_row("score", f"{record['score']:.4f}   typologies {record['typology_score']:.2f}")
    head.add_row("amount", money(record["amount_minor"], record["currency"]))
    head.add_row("from → to", f"{record['account_id']} → {record['counterparty_id']}")
    head.add_row("happened", f"{moment(record['event_time_ms'])} UTC")
    head.add_row(
        "decided",
        f"{moment(processing['decision_time_ms'])} UTC, "
        f"{processing['decision_time_ms'] - record['source_time_ms']} ms after it was produced",
    )
    head.add_row("read from", f"partition {record['source_partition']}, offset {record['source_offset']}")
    head.add_row("model", f"{record['model_name']} {record['model_version']}   sha256 {record['model_sha256'][:16]}")
    head.add_row(
        "versions",
        f"rules {record['rules_version']}   features {record['feature_set']}   schema {record['schema_version']}   "
        f"revision {record['revision']}   {processing['mode']}",
    )
    if explanation["degraded"]:
        head.add_row("decided without", Text(", ".join(explanation["degraded"]), style="yellow"))
    parts: list[Any] = [head]

    if explanation["reasons"]:
        reasons = Table(title="Principal reasons", title_justify="left", box=None, header_style="bold")
        for title in ("reason", "code", "feature"):
            reasons.add_column(title)
        for title in ("value", "usual", "contribution"):
            reasons.add_column(title, justify="right")
        for reason in explanation["reasons"]:
            reasons.add_row(reason["text"], reason["code"], reason["feature"], number(reason["value"]),
                            number(reason["usual_value"]), f"{reason['contribution']:+.2f}")  # fmt: skip
        parts += ["", reasons]
    if explanation["rule_hits"]:
        hits = Table(title="Rules that hit", title_justify="left", box=None, header_style="bold")
        for title in ("rule", "version", "typology", "weight"):
            hits.add_column(title)
        for hit in explanation["rule_hits"]:
            hits.add_row(hit["rule_id"], str(hit["version"]), hit["typology"], f"{hit['weight']:.2f}")
        parts += ["", hits]
    if explanation["warming"]:
        parts += ["", f"Rules still warming up (window not filled yet): {', '.join(explanation['warming'])}"]

    features = Table(title="Features as scored", title_justify="left", box=None, header_style="bold")
    for title, justify in (
        ("feature", "left"),
        ("value", "right"),
        ("usual", "right"),
        ("unit", "left"),
        ("meaning", "left"),
    ):
        features.add_column(title, justify=justify)  # type: ignore[arg-type]
    for name, value in zip(names, record["features"], strict=True):
        if not all_features and (value == 0 or value != value):
            continue
        known = FEATURES[FEATURE_INDEX[name]] if name in FEATURE_INDEX else None
        features.add_row(name, number(value), number(usual.get(name)) if usual else "",
                         known.unit if known else "", known.meaning if known else "")  # fmt: skip
    return [*parts, "", features]
