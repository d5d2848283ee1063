"""Shadow mode: what rules or a model on trial would decide, beside the live decision and without a part in it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.scoring.decide_batch import Run, Scored
from models.scoring.decider import Decided, Decider
from models.scoring.model import ScoringModel
from models.scoring.online import OnlineScorer
from models.scoring.rules import LIVE, SHADOW, RuleHits
from models.scoring.typologies import APPROVE
from schemas.columns import F32, I64, Bool, TransactionColumns
from schemas.decisions import OUTCOMES
from schemas.records import encode_alert

SHADOW_RUN = Run(mode="shadow")


@dataclass(frozen=True, slots=True)
class ShadowAlerts:
    """Would-be alerts on a batch, and how they compare with the live ones."""

    keys: list[bytes]  # account ids
    alerts: list[bytes]  # records of `alert.avsc` with mode shadow
    live_outcomes: list[str]  # what was decided on the same transactions
    new: int  # would-be alerts on what was approved
    lost: int  # live alerts that would not have been raised


class Shadow:
    """The configuration on trial: the live rules with the shadow rules, and the shadow model in the live one's place.

    Stateless between batches, as the decider that it accompanies; replace it when that one changes.

    Parameters
    ----------
    live
        What decides; its learner scores in the shadow too.
    model
        Scores in the place of the live model; None keeps the live one.
    """

    def __init__(self, live: Decider, model: ScoringModel | None = None) -> None:
        self._has_own_model = model is not None
        self._added = live.rules.in_modes(SHADOW)
        rules = live.rules.in_modes(LIVE, SHADOW)
        self.decider = Decider(model or live.model, rules, live.learner)
        # What the live rules say stands before what the shadow rules say; a rule set has its rules in order of ids.
        names = [rule.rule_id for rule in (*live.rules.rules, *self._added.rules)]
        self._order: npt.NDArray[np.intp] = np.argsort(names)

    @classmethod
    def beside(cls, live: Decider, model: ScoringModel | None = None) -> Shadow | None:
        """Return the shadow of a decider; None where neither a rule nor a model is on trial."""
        is_on_trial = any(rule.is_enabled and rule.mode == SHADOW for rule in live.rules.all_rules.values())
        return cls(live, model) if is_on_trial or model is not None else None

    def with_learner(self, learner: OnlineScorer | None) -> Shadow:
        """Return a shadow with another online learner; nothing else is built anew."""
        changed = copy.copy(self)
        changed.decider = self.decider.with_learner(learner)
        return changed

    def decide(
        self,
        live: Decided,
        columns: TransactionColumns,
        X: F32,
        history_ms: I64 | int,
        degraded: tuple[str, ...] = (),
        degraded_rows: Mapping[str, Bool] | None = None,
    ) -> Decided:
        """Say what would be decided on a batch, without explanations.

        Parameters
        ----------
        live
            What the live decider said of the same batch: its hits, and its scores where the model is the same, are
            not computed again.
        columns, X, history_ms, degraded, degraded_rows
            As the live decider got them.

        Notes
        -----
        Costs the evaluation of the shadow rules, the run of the shadow model, some column passes for the typologies,
        and per row only where the outcome is not approve.
        """
        hits = live.hits
        if self._added.rules:
            added = self._added.evaluate(columns, X, history_ms)
            hits = RuleHits(
                hits=np.hstack((hits.hits, added.hits))[:, self._order],
                warming=np.hstack((hits.warming, added.warming))[:, self._order],
                failed=tuple(sorted((*hits.failed, *added.failed))),
            )
        scores = self.decider.score(X) if self._has_own_model else live.scores
        return self.decider.judge(hits, scores, degraded, degraded_rows, is_explained=False)


def shadow_alerts(shadow: Shadow, scored: Scored, decision_time_ms: int) -> ShadowAlerts:
    """Return the would-be alerts on a batch that was decided on.

    Parameters
    ----------
    shadow
        Of the decider that decided.
    scored
        What came of the batch.
    decision_time_ms
        Wall clock of the live decision, for the record alone.
    """
    assembled, live = scored.basis.assembled, scored.basis.decided
    columns = assembled.batch.columns
    would_be = shadow.decide(
        live, columns, assembled.X, assembled.history_ms, scored.basis.degraded, assembled.missing_rows
    )
    alerts = shadow.decider.alerts(
        would_be, columns, assembled.batch.source_time_ms, decision_time_ms, SHADOW_RUN.mode, SHADOW_RUN.run_id
    )
    is_live, is_would_be = live.outcome != APPROVE, would_be.outcome != APPROVE
    return ShadowAlerts(
        keys=[scored.decision_keys[row] for row in alerts],
        alerts=[encode_alert({**alert, "reasons": would_be.encoded_reasons[row]}) for row, alert in alerts.items()],
        live_outcomes=[OUTCOMES[live.outcome[row]] for row in alerts],
        new=int((is_would_be & ~is_live).sum()),
        lost=int((is_live & ~is_would_be).sum()),
    )
