"""The scoring of one transaction as a per-event program does it: what the peers run, with state of their own.

It does less work than the job it is measured beside, never more; whatever it leaves out makes the peer faster:

- 46 of the 102 features, those of the transaction, its originator and the pair; beneficiary, device, labels and
  reference data would each need another keyed hop. The rest go into the model as missing, at the same cost there.
- One entity an event in the state instead of three.
- The rules that read those features; no typologies, reasons or alerts; no deduplication, no dead letters.

The same: Avro decoded (by fastavro, compiled C), windows of 10 minutes to 30 days, the shipped model (both ONNX graphs
and the calibrated stack, batch of one), the decision encoded by the same schema with the same number of feature values.
Imports nothing of Weir, so that it runs in the peer's own environment.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.peers.avro_records import AvroRecords
from tests.bench.peers.history import DAY, HOUR, MINUTE
from tests.bench.peers.shipped_model import ShippedModel

WINDOWS = (("10m", 10 * MINUTE), ("1h", HOUR), ("1d", DAY), ("7d", 7 * DAY), ("30d", 30 * DAY))
HISTORY_MS = 30 * DAY

History = list[list[Any]]
"""[event_time_ms, amount, counterparty] of an account's transactions of the last 30 days, in the order of arrival."""


class PerEventScorer:
    """Decodes, scores and encodes single transactions. Make one per process: it loads the model.

    Parameters
    ----------
    models_dir
        Folder of the model's card.
    """

    def __init__(self, models_dir: str) -> None:
        self._model = ShippedModel(Path(models_dir))
        self._records = AvroRecords()
        self.decode = self._records.decode
        names = self._model.names
        self._index = {name: i for i, name in enumerate(names)}
        self._nothing_known = np.full((1, len(names)), np.nan, np.float32)
        self._nothing_known[0, [i for i, name in enumerate(names) if name.startswith("channel_")]] = 0.0

    def score(self, transaction: dict[str, Any], history: History) -> tuple[bytes, History]:
        """Return the encoded decision and the account's next history."""
        now = transaction["event_time_ms"]
        amount = transaction["amount_minor"] * self._records.cents.get(transaction["currency"], 1.0) / 100
        features = self._features(transaction, now, amount, history)
        X = self._nothing_known.copy()
        index = self._index
        for name, value in features.items():
            if value is not None and name in index:
                X[0, index[name]] = value
        score = self.probability(features, X)
        hits = rule_hits(features, transaction["channel"])
        review, decline = self._model.thresholds
        outcome = "decline" if score >= decline else "review" if score >= review or len(hits) > 1 else "approve"
        decision = self._encode(transaction, X[0], score, outcome, hits)
        oldest = now - HISTORY_MS
        if history and history[0][0] < oldest:
            history = [item for item in history if item[0] >= oldest]
        history.append([now, amount, transaction["counterparty_id"]])
        return decision, history

    def probability(self, features: dict[str, Any], X: Any) -> float:
        """Return the model's probability, from the features by name or as a row of its inputs."""
        return self._model.probability(X)

    def _features(self, t: dict[str, Any], now: int, amount: float, history: History) -> dict[str, Any]:
        hour = now % DAY / HOUR
        f: dict[str, Any] = {
            "amount": amount,
            "log_amount": math.log1p(amount),
            "is_round_amount": t["amount_minor"] % 5000 == 0,
            "hour_of_day": hour,
            "is_night": hour < 7,
            "is_weekend": (now // DAY + 3) % 7 >= 5,
            "is_cross_border": t["account_country"] != t["counterparty_country"],
            "is_self_transfer": t["account_id"] == t["counterparty_id"],
            "has_device": t["device_id"] is not None,
            "is_high_risk_merchant": t["merchant_category"] in (6051, 7995, 4829, 6211),
            f"channel_{t['channel']}": 1.0,
        }
        counterparty = t["counterparty_id"]
        pair_count, pair_sum, pair_last = 0, 0.0, None
        first = last = None
        at = len(history) - 1
        count, total, squares, largest = 0, 0.0, 0.0, 0.0
        others: set[str] = set()
        for name, window in WINDOWS:  # each window goes on where the shorter one ended
            while at >= 0 and history[at][0] >= now - window:
                time_ms, value, other = history[at]
                count += 1
                total += value
                squares += value * value
                largest = max(largest, value)
                others.add(other)
                if other == counterparty:
                    pair_count += 1
                    pair_sum += value
                    pair_last = time_ms if pair_last is None else pair_last
                last = time_ms if last is None else last
                first = time_ms
                at -= 1
            f[f"account_out_count_{name}"] = count
            f[f"account_out_sum_{name}"] = total
            f[f"account_distinct_counterparties_{name}"] = len(others)
            if count:
                mean = total / count
                f[f"account_out_mean_{name}"] = mean
                f[f"account_out_max_{name}"] = largest
                f[f"account_out_std_{name}"] = math.sqrt(max(squares / count - mean * mean, 0.0)) if count > 1 else None
        f["seconds_since_last_out"] = None if last is None else (now - last) / 1000
        f["account_active_seconds"] = None if first is None else (now - first) / 1000
        f["account_burst_1h"] = (f["account_out_count_1h"] + 1) / ((count + 1) / 720)
        f["pair_count_30d"], f["pair_sum_30d"], f["pair_is_new"] = pair_count, pair_sum, pair_count == 0
        f["seconds_since_pair"] = None if pair_last is None else (now - pair_last) / 1000
        if count:
            f["amount_to_mean_30d"] = amount / f["account_out_mean_30d"] if total else None
            f["amount_to_max_30d"] = amount / largest if largest else None
            deviation = f["account_out_std_30d"]
            f["amount_zscore_30d"] = (amount - f["account_out_mean_30d"]) / deviation if deviation else None
        return f

    def _encode(self, t: dict[str, Any], features: Any, score: float, outcome: str, hits: list[str]) -> bytes:
        explanation = {
            "reasons": [],
            "rule_hits": [{"rule_id": h, "version": 1, "typology": h, "weight": 0.5} for h in hits],
            "warming": [],
            "degraded": ["reference"],
        }
        decision = {"outcome": outcome, "score": score, "typology_score": 0.5 * len(hits)}
        return self._records.encode(
            t, features.tolist(), self._model.feature_set, self._model.named, decision, explanation
        )


def rule_hits(f: dict[str, Any], channel: str) -> list[str]:
    """Evaluate the shipped rules (of these features) as plain conditions."""
    amount, hits = f["amount"], []
    transfer = channel in ("transfer", "instant_transfer", "wire")
    if transfer and f["pair_is_new"] and (f.get("amount_to_max_30d") or 0) >= 2 and amount >= 300:
        hits.append("account-takeover-drain")
    spent = f["account_out_sum_1d"] + amount
    if f["account_out_count_1d"] >= 3 and spent >= 15 * f["account_out_sum_30d"] / 30 and amount >= 200:
        hits.append("bust-out-spree")
    if channel == "card_not_present" and (f.get("amount_zscore_30d") or 0) >= 3:
        hits.append("stolen-card-device")
    if channel == "cash" and 6000 <= amount < 10_000:
        hits.append("structuring-cash")
    if channel == "instant_transfer" and f["pair_is_new"] and f["account_distinct_counterparties_1d"] >= 3:
        hits.append("fan-out-scatter")
    return hits
