"""Principal reasons: at most four things that an analyst should look at first, in words."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from models.features.catalogue import FEATURES, Feature
from models.scoring.rules import Rule
from schemas.columns import F32

MAX_REASONS = 4
MAX_RULE_REASONS_BESIDE_SCORE = 2
"""Where the score asks for the outcome too, its features keep at least half of the places."""

_CODES: tuple[tuple[str, str], ...] = (
    ("ACCOUNT_ON_WATCHLIST", r"account_on_watchlist"),
    ("COUNTERPARTY_ON_WATCHLIST", r"counterparty_on_watchlist"),
    ("DEVICE_RISK", r"device_reference_risk"),
    ("MERCHANT_RISK", r"merchant_reference_risk|is_high_risk_merchant"),
    ("ACCOUNT_FRAUD_HISTORY", r"account_fraud_.*|seconds_since_account_fraud"),
    ("COUNTERPARTY_FRAUD_HISTORY", r"counterparty_(fraud|risk)_.*|seconds_since_counterparty_fraud"),
    ("PASS_THROUGH", r"account_pass_through_.*"),
    ("COUNTERPARTY_PASS_THROUGH", r"counterparty_pass_through_.*|counterparty_out_.*"),
    ("FAN_IN", r"account_fan_in_.*"),
    ("COUNTERPARTY_FAN_IN", r"counterparty_fan_in_.*"),
    ("FAN_OUT", r"account_distinct_counterparties_.*"),
    ("COUNTERPARTY_FAN_OUT", r"counterparty_fan_out_.*"),
    ("DEVICE_SHARED", r"device_distinct_accounts_.*"),
    ("DEVICE_NEW", r"device_is_new_for_account|seconds_since_device_pair"),
    ("DEVICE_ACTIVITY", r"device_(count|sum)_.*|seconds_since_device|has_device"),
    ("COUNTERPARTY_NEW", r"pair_.*|seconds_since_pair"),
    ("AMOUNT_UNUSUAL", r"amount_(zscore|to_mean|to_max)_.*|account_out_(mean|max|std)_.*"),
    ("AMOUNT_UNUSUAL_FOR_COUNTERPARTY", r"counterparty_amount_zscore_.*|counterparty_in_(mean|std)_.*"),
    ("AMOUNT", r"amount|log_amount|is_round_amount"),
    ("ACCOUNT_VELOCITY", r"account_out_(count|sum)_.*|account_burst_.*|seconds_since_last_out"),
    ("ACCOUNT_INFLOW", r"account_in_.*|seconds_since_last_in"),
    ("COUNTERPARTY_VELOCITY", r"counterparty_in_(count|sum)_.*|seconds_since_counterparty_in"),
    ("ACCOUNT_AGE", r"account_active_seconds"),
    ("COUNTERPARTY_AGE", r"counterparty_active_seconds"),
    ("TIME_OF_DAY", r"hour_of_day|is_night|is_weekend"),
    ("CROSS_BORDER", r"is_cross_border"),
    ("SELF_TRANSFER", r"is_self_transfer"),
    ("CHANNEL", r"channel_.*"),
)
OTHER_CODE = "FEATURE_UNUSUAL"

_CATALOGUE = {feature.name: feature for feature in FEATURES}


@dataclass(frozen=True, slots=True)
class Reason:
    """One principal reason; fields as in the schema's record `Reason`."""

    code: str
    text: str
    feature: str
    value: float
    usual_value: float
    contribution: float


def reason_code(feature: str) -> str:
    """Return the code of the family that a feature belongs to.

    Examples
    --------
    >>> reason_code("account_out_count_1h")
    'ACCOUNT_VELOCITY'
    """
    return next((code for code, pattern in _CODES if re.fullmatch(pattern, feature)), OTHER_CODE)


def feature_text(feature: str, value: float, usual_value: float) -> str:
    """Say a feature's value and what is usual, in a line.

    Examples
    --------
    >>> feature_text("account_out_count_1h", 14.0, 1.0)
    'Transactions the account made in the last hour: 14 (usual 1)'
    >>> feature_text("pair_is_new", 1.0, 0.0)
    'First transaction from the account to this counterparty in 30 days'
    """
    known = _CATALOGUE.get(feature) or Feature(feature, "transaction", "", feature.replace("_", " "))
    if known.unit == "0/1" and not math.isnan(value):
        return known.meaning if value >= 0.5 else f"{known.meaning}: no"
    if math.isnan(value):
        why = f" ({known.missing})" if known.missing else ""
        return f"{known.meaning}: not known{why}"
    usual = "" if math.isnan(usual_value) else f" (usual {_number(usual_value, known.unit)})"
    return f"{known.meaning}: {_number(value, known.unit)}{usual}"


class ReasonBuilder:
    """Picks and words the reasons for one model's features."""

    def __init__(self, feature_names: Sequence[str], usual_values: F32) -> None:
        self._names = tuple(feature_names)
        self._usual = usual_values
        codes = [reason_code(name) for name in self._names]
        self._codes = sorted(set(codes))
        self._family = np.array([self._codes.index(code) for code in codes], np.intp)
        # Compiled or loaded here, and not at the first alert.
        _strongest(np.zeros((1, len(self._names)), np.float32), self._family, len(self._codes))

    def of_features(self, values: F32, contributions: F32) -> list[list[Reason]]:
        """Return each row's reasons from the model, strongest first, at most four.

        Parameters
        ----------
        values, contributions
            (m, F) features, and what each adds to the score's log-odds.

        Notes
        -----
        The features of one family share a reason: it stands on the family's strongest feature, and its contribution
        is the sum over the family. Families that lower the score are no reasons.
        """
        strongest, total = _strongest(contributions, self._family, len(self._codes))
        found = []
        for row, (features, sums) in enumerate(zip(strongest.tolist(), total.tolist(), strict=True)):
            reasons = []
            for feature, contribution in zip(features, sums, strict=True):
                if feature < 0:
                    break
                name, value, usual = self._names[feature], float(values[row, feature]), float(self._usual[feature])
                text = feature_text(name, value, usual)
                reasons.append(Reason(self._codes[self._family[feature]], text, name, value, usual, contribution))
            found.append(reasons)
        return found


@njit(cache=True, nogil=True)
def _strongest(contributions, family, families):  # type: ignore[no-untyped-def]
    """Return of each row's strongest families the feature that contributes most, or -1, and the sum.  # (m, 4) each."""
    rows, columns = contributions.shape
    feature = np.full((rows, MAX_REASONS), -1, np.int64)
    sums = np.zeros((rows, MAX_REASONS))
    total = np.empty(families)
    for row in range(rows):
        total[:] = 0.0
        for column in range(columns):
            total[family[column]] += contributions[row, column]
        for place in range(MAX_REASONS):
            best = 0
            for i in range(1, families):
                if total[i] > total[best]:
                    best = i
            if not total[best] > 0.0:
                break
            sums[row, place] = total[best]
            total[best] = -np.inf
            for column in range(columns):
                if family[column] == best:
                    known = feature[row, place]
                    if known < 0 or contributions[row, column] > contributions[row, known]:
                        feature[row, place] = column
    return feature, sums


def rule_reason(rule: Rule) -> Reason:
    """Return the reason that a rule's hit gives."""
    return Reason(f"RULE:{rule.rule_id}", rule.description, rule.rule_id, math.nan, math.nan, rule.weight)


def principal_reasons(
    from_model: Sequence[Reason], deciding_hits: Sequence[Rule], other_hits: Sequence[Rule], score_asks: bool
) -> list[Reason]:
    """Put the reasons of one transaction in order: first what decided, then what adds to it.

    Parameters
    ----------
    from_model
        The model's reasons, strongest first.
    deciding_hits
        Hits of the typologies that ask for the transaction's outcome.
    other_hits
        All other hits.
    score_asks
        Whether the score alone asks for the outcome too.
    """
    decisive = [rule_reason(rule) for rule in sorted(deciding_hits, key=_by_weight)]
    further = [rule_reason(rule) for rule in sorted(other_hits, key=_by_weight)]
    if not score_asks:
        return [*decisive, *from_model, *further][:MAX_REASONS]
    places = max(MAX_RULE_REASONS_BESIDE_SCORE, MAX_REASONS - len(from_model))
    return [*decisive[:places], *from_model, *further][:MAX_REASONS]


def _by_weight(rule: Rule) -> tuple[float, str]:
    return -rule.weight, rule.rule_id


def _number(value: float, unit: str) -> str:
    if unit == "s":
        return _duration(value)
    if unit == "EUR":
        return f"{value:,.2f} EUR"
    if unit in ("share", "0 to 1"):
        return f"{value:.0%}"
    if unit == "h":
        return f"{int(value):02d}:{int(value % 1 * 60):02d}"
    if value == int(value) and abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:,.3g}" if abs(value) < 1_000 else f"{value:,.0f}"


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"


def reason_of_learner(learner_score: float, model_score: float, score: float) -> Reason:
    """Return the reason of an outcome that the model alone would not have asked for."""
    lowest = 1e-6
    own, decided = (min(max(float(value), lowest), 1 - lowest) for value in (model_score, score))
    return Reason(
        code="RECENT_LABELS",
        text=f"Transactions like this one were lately labelled as fraud: the online learner scores {learner_score:.2f}",
        feature="learner_score",
        value=float(learner_score),
        usual_value=math.nan,
        contribution=math.log(decided / (1 - decided)) - math.log(own / (1 - own)),
    )
