"""The shipped rules as plain Python conditions, and the typologies that they add up to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.peers.avro_records import REPOSITORY

_MILLION = 1_000_000
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say of a transaction."""

    outcome: int  # 0 approve, 1 review, 2 decline
    typology_score: float
    hits: list[dict[str, Any]]  # as in the decision's explanation
    reasons: list[dict[str, Any]]  # at most four, those that decided first


class ShippedRules:
    """Asks every shipped rule about one transaction."""

    def __init__(self) -> None:
        rules = json.loads((REPOSITORY / "models" / "scoring" / "default_rules.json").read_text())
        self._rules = {rule["rule_id"]: rule for rule in rules}

    def judge(self, f: Mapping[str, Any], channel: str) -> Verdict:
        """Return what the rules say of features by name (NaN is missing) and a channel."""
        ids = rule_hits(f, channel)
        if not ids:
            return Verdict(0, 0.0, [], [])
        rules = [self._rules[rule_id] for rule_id in sorted(ids)]
        scores: dict[str, int] = {}
        for rule in rules:
            scores[rule["typology"]] = scores.get(rule["typology"], 0) + round(rule["weight"] * _MILLION)
        asked = {name: 2 if s >= _MILLION else 1 if s >= _MILLION // 2 else 0 for name, s in scores.items()}
        outcome = max(asked.values())
        hits = [{name: rule[name] for name in ("rule_id", "version", "typology", "weight")} for rule in rules]
        deciding_first = sorted(rules, key=lambda r: (asked[r["typology"]] != outcome, -r["weight"], r["rule_id"]))
        reasons = [_reason(rule) for rule in deciding_first[:4]] if outcome else []
        return Verdict(outcome, min(max(scores.values()), _MILLION) / _MILLION, hits, reasons)


def _reason(rule: dict[str, Any]) -> dict[str, Any]:
    nan = float("nan")
    return {
        "code": f"RULE:{rule['rule_id']}",
        "text": rule["description"],
        "feature": rule["rule_id"],
        "value": nan,
        "usual_value": nan,
        "contribution": rule["weight"],
    }


def rule_hits(f: Mapping[str, Any], channel: str) -> list[str]:
    """Return the ids of the rules that hit."""
    amount, hits = f["amount"], []
    online = channel == "card_not_present"
    instant = channel == "instant_transfer"
    transfer = instant or channel == "transfer"
    is_sent = transfer or channel == "wire"
    is_new_pair = f["pair_is_new"] == 1
    received_1d, through_1d, through_7d = (
        f["account_in_sum_1d"], f["account_pass_through_1d"], f["account_pass_through_7d"]
    )  # fmt: skip
    if is_sent:
        if is_new_pair:
            if f["device_is_new_for_account"] == 1 and amount >= 300:
                hits.append("account-takeover-device")
            if f["amount_to_max_30d"] >= 2 and amount >= 300:
                hits.append("account-takeover-drain")
            if f["seconds_since_counterparty_fraud"] < 7 * DAY_SECONDS and amount >= 200:
                hits.append("mule-known")
        if f["account_fan_in_7d"] >= 5 and 0.3 <= through_7d <= 1.1 and amount >= 1000:
            hits.append("fan-in-send-on")
        if (
            f["account_in_count_7d"] >= 3
            and f["account_in_sum_7d"] >= 2000
            and 0.85 <= through_7d <= 1.05
            and amount >= 300
        ):
            hits.append("pass-through-again")
    if transfer and f["counterparty_fan_in_1d"] >= 8 and amount >= 100:
        hits.append("fan-in-collect")
    if channel == "transfer" and amount >= 500 and 0.92 * received_1d <= amount <= received_1d:
        hits.append("cycle-return")
    if instant and is_new_pair:
        if (
            f["account_distinct_counterparties_1d"] >= 3
            and received_1d >= 2000
            and amount >= 150
            and 0.1 <= through_1d <= 1.1
        ):
            hits.append("fan-out-scatter")
        if f["seconds_since_last_in"] < 14_400 and amount >= 500 and 0.8 * received_1d <= amount <= received_1d:
            hits.append("mule-hand-on")
    if (instant or channel == "wire") and is_new_pair:  # noqa: SIM102 - one rule, one condition
        if received_1d >= 500 and amount >= 300 and 0.75 <= through_1d <= 1.05:
            hits.append("pass-through-day")
    if (
        f["account_out_count_1d"] >= 3
        and f["account_out_sum_1d"] + amount >= 15 * f["account_out_sum_30d"] / 30
        and amount >= 200
    ):
        hits.append("bust-out-spree")
    if online:
        if amount < 20 and f["device_distinct_accounts_1d"] >= 3:
            hits.append("card-testing-device")
        if amount < 5 and f["device_count_10m"] >= 3:
            hits.append("card-testing-burst")
        if f["device_is_new_for_account"] == 1 and f["amount_zscore_30d"] >= 3:
            hits.append("stolen-card-device")
    if channel == "cash" and 6000 <= amount < 10_000 and f["counterparty_in_sum_7d"] + amount >= 10_000:
        hits.append("structuring-cash")
    if f["account_on_watchlist"] == 1:
        hits.append("watch-list-account")
    if f["counterparty_on_watchlist"] == 1:
        hits.append("watch-list-counterparty")
    return hits
