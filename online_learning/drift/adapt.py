"""What drift does to learners, as a pure function of the events.

The rules, with the defaults of `AdaptationRules`; a factor fades towards 1, halving its distance every `half_life_ms`
of event time after the event was detected:

1. The error of a learner rises: it learns faster (factor 2 when minor, 4 when major), and its weight in a combination
   falls (factor 0.5 when minor, 0.25 when major). The error of a scorer that does not learn only lowers its weight.
2. A score or a feature moves, major: all learners learn faster (factor 1.5). Weights stay: without labels nobody knows
   whom the change hurts. The shift of a feature that is told to be over no longer counts.
3. Everything else (minor shifts of features and scores, errors that fall) changes nothing.

Of several events the strongest one counts at each moment; factors are never multiplied, so twenty features that move
at once are no more than one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from online_learning.drift.event import DriftEvent


@dataclass(frozen=True, slots=True)
class AdaptationRules:
    """How strongly drift is answered.

    Parameters
    ----------
    minor_error_rate, major_error_rate
        Factor of the learning rate of a learner whose error rose; at least 1.
    minor_error_weight, major_error_weight
        Factor of the weight of a scorer whose error rose; above 0, at most 1.
    shift_rate
        Factor of all learning rates after a major shift of a score or a feature; at least 1.
    half_life_ms
        Event time after which half of an effect is gone.
    """

    minor_error_rate: float = 2.0
    major_error_rate: float = 4.0
    minor_error_weight: float = 0.5
    major_error_weight: float = 0.25
    shift_rate: float = 1.5
    half_life_ms: int = 86_400_000

    def __post_init__(self) -> None:
        if min(self.minor_error_rate, self.major_error_rate, self.shift_rate) < 1.0:
            raise ValueError("factors of learning rates must be at least 1: drift never slows learning")
        weights = (self.minor_error_weight, self.major_error_weight)
        if min(weights) <= 0.0 or max(weights) > 1.0:
            raise ValueError(f"factors of weights must be above 0 and at most 1, found {weights}")
        if self.half_life_ms <= 0:
            raise ValueError(f"half_life_ms must be above 0, found {self.half_life_ms}")


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What drift asks for at one moment.

    Attributes
    ----------
    rate_factor
        By learner: multiply its learning rate by this, 1 or more.
    weight_factor
        By scorer: multiply its weight in a combination by this, in (0, 1], and normalise.
    """

    rate_factor: Mapping[str, float]
    weight_factor: Mapping[str, float]

    def reweighted(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Return the combination's weights after drift: they sum to what they summed to before."""
        changed = {name: weight * self.weight_factor.get(name, 1.0) for name, weight in weights.items()}
        total, before = sum(changed.values()), sum(weights.values())
        return {name: weight * before / total for name, weight in changed.items()} if total > 0.0 else dict(weights)


def adapt(
    events: Iterable[DriftEvent], at_ms: int, learners: Iterable[str], rules: AdaptationRules | None = None
) -> Adaptation:
    """Return what the events ask for at the event time `at_ms`.

    Parameters
    ----------
    events
        In the order in which they were given; those that `still_matters` refuses may be left out.
    at_ms
        Event time; events detected later do not count yet.
    learners
        Names of the learners.
    rules
        How strongly drift is answered.
    """
    rules = rules or AdaptationRules()
    rates = dict.fromkeys(learners, 1.0)
    weights: dict[str, float] = {}
    shifts: dict[tuple[str, str], DriftEvent] = {}
    for event in events:
        if event.detected_ms > at_ms:
            continue
        if event.subject != "error":
            shifts[event.key, event.detector] = event  # the newest word of each detector counts
        elif event.is_rising and event.severity != "none":
            rate, weight = _of_error(event.severity, rules)
            left = _left(event, at_ms, rules)
            weights[event.name] = min(weights.get(event.name, 1.0), 1.0 + (weight - 1.0) * left)
            if event.name in rates:
                rates[event.name] = max(rates[event.name], 1.0 + (rate - 1.0) * left)
    for event in shifts.values():
        if event.severity == "major":
            faster = 1.0 + (rules.shift_rate - 1.0) * _left(event, at_ms, rules)
            rates = {name: max(rate, faster) for name, rate in rates.items()}
    return Adaptation(rates, weights)


def remembered(events: Sequence[DriftEvent], found: Sequence[DriftEvent]) -> list[DriftEvent]:
    """Return what must be kept of events, and of newer ones, for `adapt` to answer as if it saw them all.

    At most the newest major shift of each quantity and detector, and the errors that rose: it matters where a hundred
    features are watched, and tell of themselves every day.
    """
    newest = {(event.key, event.detector): event for event in (*events, *found)}

    def matters(event: DriftEvent) -> bool:
        if event.subject == "error":
            return event.is_rising and event.severity != "none"
        return event.severity == "major" and newest[event.key, event.detector] is event

    return [event for event in (*events, *found) if matters(event)]


def still_matters(event: DriftEvent, at_ms: int, rules: AdaptationRules | None = None) -> bool:
    """Return False once an event may be forgotten: after ten half-lives a thousandth of its effect is left."""
    rules = rules or AdaptationRules()
    return at_ms - event.detected_ms < 10 * rules.half_life_ms


def _of_error(severity: str, rules: AdaptationRules) -> tuple[float, float]:
    if severity == "major":
        return rules.major_error_rate, rules.major_error_weight
    return rules.minor_error_rate, rules.minor_error_weight


def _left(event: DriftEvent, at_ms: int, rules: AdaptationRules) -> float:
    """Return the share of the effect that is left."""
    return float(2.0 ** (-(at_ms - event.detected_ms) / rules.half_life_ms))
