"""Weir's scoring as a per-event program does it: what the same-work peers run, in the state of their framework.

Three steps, one keyed hop each, as in Weir's own job: a transaction becomes touches keyed by entity (`touches_of`);
each entity reads its histories into partial features and enters the touch (`apply_touch`); the partials of a
transaction meet under the originator's account and are decided on (`SameWork.join`).

The same: Avro in and out, three entities a transaction, 98 of the 102 features to float32's rounding, the shipped model
(both ONNX graphs and the calibrated stack, batch of one), all shipped rules with their typologies, the outcome, the
rules among the reasons, duplicates recognised by their ids in keyed state, the decision encoded by the same schema
with its features as scored.

Left out, which makes the peer faster, never slower:

- reference data: no Redis is asked, so the four reference features are missing, and the watch-list rules never hit;
- labels: no stream of labels is read. The features of labelled fraud are what they are without a label (0 or missing),
  and need no state;
- the model's contributions among the reasons (one walk of every tree for an alert), and the alerts themselves;
- dead letters, validation, rules changed at run time;
- `warming`: nobody asks how far back the stream reaches, so a rule whose window is not full yet may hit, which costs
  some of the first decisions a few microseconds more to encode;
- the numbers of touches in their order, and the order of an account's decisions: whichever is complete first leaves;
- waiting with a bound for a partial that does not come: it waits for ever.

Imports nothing of Weir, so that it runs in the peer's own environment.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.peers.avro_records import OTHER_DIGITS, AvroRecords
from tests.bench.peers.history import DAY, HOUR, NAN
from tests.bench.peers.rule_conditions import ShippedRules
from tests.bench.peers.shipped_model import ShippedModel
from tests.bench.peers.touches import FEATURES_OF, ORIGINATOR

OUTCOMES = ("approve", "review", "decline")
HIGH_RISK = frozenset({4829, 5933, 5944, 5967, 5993, 6010, 6011, 6012, 6051, 6211, 7273, 7800, 7801, 7802, 7995})
CHANNELS = (
    "card_present", "card_not_present", "atm", "transfer", "instant_transfer", "wire", "cash", "direct_debit",
)  # fmt: skip
NOT_CLAIMED = (
    "account_on_watchlist", "counterparty_on_watchlist", "device_reference_risk", "merchant_reference_risk",
)  # fmt: skip
"""Features that stay missing."""

_ALWAYS = dict.fromkeys(NOT_CLAIMED, NAN) | {
    "account_fraud_count_30d": 0.0,
    "seconds_since_account_fraud": NAN,
    "counterparty_fraud_count_30d": 0.0,
    "seconds_since_counterparty_fraud": NAN,
    **{f"channel_{name}": 0.0 for name in CHANNELS},
    **dict.fromkeys((*FEATURES_OF[2], "device_is_new_for_account"), NAN),
}


class SameWork:
    """Decides on single transactions, once their partial features are there. Make one per process.

    Parameters
    ----------
    models_dir
        Folder of the model's card.
    """

    def __init__(self, models_dir: str) -> None:
        self._records = AvroRecords()
        self._model = ShippedModel(Path(models_dir))
        self._rules = ShippedRules()

    def join(self, partial: bytes, get: Callable[[str], bytes | None]) -> tuple[str, bytes | None, bytes | None]:
        """Take in one partial.

        Parameters
        ----------
        partial
            Of `apply_touch`.
        get
            What earlier partials left in the originator's state, by transaction id; None at the first.

        Returns
        -------
        The transaction's id; its decision once the last partial is there; and what to keep until then.
        """
        arriving = pickle.loads(partial)
        transaction_id, parts = arriving[:2]
        waiting = get(transaction_id)
        arrived = [*(pickle.loads(waiting) if waiting else ()), arriving]
        if len(arrived) < parts:
            return transaction_id, None, pickle.dumps(arrived)
        value = b""
        f = dict(_ALWAYS)
        for _, _, role, values, carried in arrived:
            f.update(zip(FEATURES_OF[role], values, strict=True))
            if role == ORIGINATOR:
                value = carried
        return transaction_id, self.decide(self._records.decode(value), f), None

    def decide(self, transaction: dict[str, Any], f: dict[str, Any]) -> bytes:
        """Return the encoded decision on a transaction and what its entities read; completes the features."""
        self._complete(transaction, f)
        X = np.array([[f[name] for name in self._model.names]], np.float32)
        score = self._model.probability(X)
        verdict = self._rules.judge(f, transaction["channel"])
        review, decline = self._model.thresholds
        outcome = max(2 if score >= decline else 1 if score >= review else 0, verdict.outcome)
        return self._records.encode(
            transaction,
            X[0].tolist(),
            self._model.feature_set,
            self._model.named,
            {
                "outcome": OUTCOMES[outcome],
                "score": score,
                "model_score": score,
                "typology_score": verdict.typology_score,
            },
            {"reasons": verdict.reasons, "rule_hits": verdict.hits, "warming": [], "degraded": ["reference"]},
        )

    def _complete(self, t: dict[str, Any], f: dict[str, Any]) -> None:
        now, minor, currency = t["event_time_ms"], t["amount_minor"], t["currency"]
        amount = round(minor * self._records.cents.get(currency, 1.0)) / 100
        hour = now % DAY / HOUR
        account_country, counterparty_country = t["account_country"], t["counterparty_country"]
        f["amount"] = amount
        f["log_amount"] = math.log1p(amount)
        f["is_round_amount"] = minor > 0 and minor % (50 * 10 ** self._records.digits.get(currency, OTHER_DIGITS)) == 0
        f["hour_of_day"] = hour
        f["is_night"] = hour < 7
        f["is_weekend"] = (now // DAY + 3) % 7 >= 5  # 1970-01-01 was a Thursday
        known = account_country and counterparty_country
        f["is_cross_border"] = account_country != counterparty_country if known else NAN
        f["is_self_transfer"] = t["account_id"] == t["counterparty_id"]
        f["has_device"] = t["device_id"] is not None
        f["is_high_risk_merchant"] = t["merchant_category"] in HIGH_RISK
        if t["channel"] != "other":
            f[f"channel_{t['channel']}"] = 1.0
        mean = f["account_out_mean_30d"]
        f["amount_to_mean_30d"] = _ratio(amount, mean)
        f["amount_to_max_30d"] = _ratio(amount, f["account_out_max_30d"])
        f["amount_zscore_30d"] = _ratio(amount - mean, f["account_out_std_30d"])
        f["account_burst_1h"] = (f["account_out_count_1h"] + 1) / ((f["account_out_count_30d"] + 1) / 720)
        f["pair_is_new"] = f["pair_count_30d"] == 0
        for w in ("1h", "1d", "7d"):
            f[f"account_pass_through_{w}"] = _ratio(f[f"account_out_sum_{w}"] + amount, f[f"account_in_sum_{w}"])
        deviation = f["counterparty_in_std_30d"]
        f["counterparty_amount_zscore_30d"] = _ratio(amount - f["counterparty_in_mean_30d"], deviation)
        for w in ("1d", "7d"):
            received = f[f"counterparty_in_sum_{w}"] + amount
            f[f"counterparty_pass_through_{w}"] = _ratio(f[f"counterparty_out_sum_{w}"], received)
        if f["has_device"]:
            f["device_is_new_for_account"] = math.isnan(f["seconds_since_device_pair"])


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else NAN
