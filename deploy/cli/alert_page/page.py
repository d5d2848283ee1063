"""Write the page of one alert: pure, from a dossier to HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.cli.alert_page.charts import part_bar, score_bar, score_path
from deploy.cli.alert_page.dossier import Dossier
from deploy.cli.alert_page.evidence_parts import document_part, memo_part
from deploy.cli.alert_page.markup import Node, document, el
from deploy.cli.show import moment, money, number


def alert_page(dossier: Dossier) -> str:
    """Return one HTML page that needs nothing beside itself."""
    alert = dossier.newest
    parts: list[Node | None] = [
        _verdict(dossier),
        _reasons(alert),
        _timeline(dossier),
        *(document_part(one) for one in dossier.documents),
        memo_part(dossier),
        _origin(dossier),
    ]
    return document(
        f"{alert['outcome']} {money(alert['amount_minor'], alert['currency'])} · alert on {alert['transaction_id']}",
        el("main", parts, el("footer", "Made by Weir. All times are UTC. The page holds everything that it shows.")),
    )


def badge(outcome: str) -> Node:
    """An outcome in its colour."""
    return el("span", outcome, class_=f"badge {outcome if outcome in ('approve', 'review', 'decline') else ''}")


def _verdict(dossier: Dossier) -> Node:
    alert, first = dossier.newest, dossier.revisions[0]
    thresholds = _thresholds(dossier)
    state = "final" if alert["is_final"] else "provisional: evidence is still waited for"
    return el(
        "section",
        el("h1", "Alert on ", el("code", alert["transaction_id"])),
        el(
            "div",
            el(
                "div",
                el("div", alert["outcome"], class_=f"word {alert['outcome']}"),
                el("div", f"revision {alert['revision']}, {state}", class_="soft small"),
            ),
            el(
                "div",
                el("div", money(alert["amount_minor"], alert["currency"]), class_="amount number"),
                el(
                    "div",
                    el("bdi", alert["account_id"]),
                    " → ",
                    el("bdi", alert["counterparty_id"]),
                    class_="soft small",
                ),
            ),
            el(
                "div",
                el("div", "Score ", el("b", f"{alert['score']:.3f}"), _from(first, alert), class_="small number"),
                score_bar(alert["score"], first["score"], alert["outcome"], thresholds),
                class_="score",
            ),
            class_="verdict",
        ),
        _degraded(alert),
        el("p", "Typologies: ", ", ".join(alert["typologies"]), class_="small") if alert["typologies"] else None,
        class_="card",
        id="verdict",
    )


def _from(first: Mapping[str, Any], alert: Mapping[str, Any]) -> str:
    return f", {first['score']:.3f} before evidence" if alert["score"] != first["score"] else ""


def _degraded(alert: Mapping[str, Any]) -> Node | None:
    if not alert["degraded"]:
        return None
    what = "Decided without" if alert["is_final"] else "Still without"
    return el("p", f"{what}: {', '.join(alert['degraded'])}", class_="missing small", id="degraded")


def _thresholds(dossier: Dossier) -> dict[str, float]:
    pieces = [piece for one in dossier.documents for piece in one.pieces] + list(dossier.memo_pieces)
    for piece in pieces:
        found = {name: piece.request.get(f"{name}_threshold") for name in ("review", "decline")}
        known = {name: float(value) for name, value in found.items() if value is not None}
        if known:
            return known
    return {}


def _reasons(alert: Mapping[str, Any]) -> Node:
    if not alert["reasons"]:
        return el("section", el("h2", "Reasons"), el("p", "None were given.", class_="soft"), class_="card")
    most = max(abs(reason["contribution"]) for reason in alert["reasons"]) or 1.0
    rows = [
        el(
            "tr",
            el("td", reason["text"], el("div", el("code", reason["code"]), class_="soft small")),
            el("td", number(reason["value"]), class_="number", data_name="value"),
            el("td", number(reason["usual_value"]), class_="number", data_name="usual"),
            el(
                "td",
                part_bar(abs(reason["contribution"]) / most),
                f"{reason['contribution']:+.2f}",
                class_="number",
                data_name="contribution",
            ),
        )
        for reason in alert["reasons"]
    ]
    head = el(
        "tr",
        el("th", "Reason"),
        el("th", "Value", class_="number"),
        el("th", "Usual", class_="number"),
        el("th", "Contribution", class_="number"),
    )
    return el(
        "section",
        el("h2", "Why"),
        el("div", el("table", el("thead", head), el("tbody", rows), class_="reasons"), class_="scroll"),
        class_="card",
        id="reasons",
    )


def _timeline(dossier: Dossier) -> Node:
    answered = {
        int(piece.ending["revision"]): int(piece.ending["answered_at_ms"])
        for piece in [*(p for one in dossier.documents for p in one.pieces), *dossier.memo_pieces]
        if piece.ending is not None
    }
    start = int(dossier.revisions[0]["decision_time_ms"])
    items = []
    for alert in dossier.revisions:
        revision = int(alert["revision"])
        time_ms = start if revision == 0 else answered.get(revision)
        when = "" if time_ms is None else moment(time_ms)[11:]
        after = "" if time_ms is None or not revision else f"  (+{(time_ms - start) / 1000:.1f} s)"
        before = alert["outcome_before"]
        items.append(
            el(
                "li",
                el(
                    "div",
                    el("b", f"Revision {revision}"),
                    el("span", when + after, class_="soft small number"),
                    [badge(str(before)), "→"] if before not in (None, alert["outcome"]) else None,
                    badge(alert["outcome"]),
                    el("span", _moved(alert), class_="number small"),
                    class_="head",
                ),
                el("p", alert["change"] or _first_words(alert)),
                el("p", _waits(alert), class_="missing small") if alert["degraded"] else None,
            )
        )
    chart = score_path([float(alert["score"]) for alert in dossier.revisions]) if len(dossier.revisions) > 1 else None
    return el("section", el("h2", "Revisions"), chart, el("ol", items, class_="timeline"), class_="card", id="timeline")


def _moved(alert: Mapping[str, Any]) -> str:
    if alert["score_before"] is None:
        return f"score {alert['score']:.3f}"
    return f"score {alert['score_before']:.3f} → {alert['score']:.3f}"


def _first_words(alert: Mapping[str, Any]) -> str:
    took = int(alert["decision_time_ms"]) - int(alert["source_time_ms"])
    return f"The alert left {took:,} ms after the transaction was produced, before anybody had looked at its evidence."


def _waits(alert: Mapping[str, Any]) -> str:
    return f"{'without' if alert['is_final'] else 'still without'}: {', '.join(alert['degraded'])}"


def _origin(dossier: Dossier) -> Node:
    alert, decision = dossier.newest, dossier.decision
    facts: list[tuple[str, str]] = [
        ("alert", alert["alert_id"]),
        ("happened", moment(alert["event_time_ms"])),
        ("decided", moment(alert["decision_time_ms"])),
        ("model", f"{alert['model_name']} {alert['model_version']}"),
        ("rules", alert["rules_version"]),
        ("typology score", f"{alert['typology_score']:.2f}"),
    ]
    if decision is not None:
        hits = ", ".join(f"{hit['rule_id']} ({hit['weight']:.2f})" for hit in decision["explanation"]["rule_hits"])
        facts += [
            ("model sha256", decision["model_sha256"]),
            ("features", f"{decision['feature_set']}, {len(decision['features'])} values"),
            ("rules that hit", hits or "none"),
            ("read from", f"partition {decision['source_partition']}, offset {decision['source_offset']}"),
        ]
    entries = [el(tag, text) for pair in facts for tag, text in zip(("dt", "dd"), pair, strict=True)]
    return el(
        "section",
        el("details", el("summary", "Where this comes from"), el("dl", entries, class_="facts")),
        class_="card",
        id="origin",
    )
