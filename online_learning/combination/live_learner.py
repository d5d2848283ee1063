"""A learner's published parameters, ready to score with: what the scoring job swaps in between two batches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from models.scoring.online import NO_SCORE
from online_learning.combination.mix import MixScorer
from online_learning.learners.contract import Scorer
from online_learning.learners.errors import SnapshotError
from online_learning.learners.scoring import scorer_of
from schemas.columns import F32

SHORT_SHA256 = 16


class UpdateError(ValueError):
    """A model update that cannot be scored with; the message says why."""


@dataclass(frozen=True, slots=True)
class LiveLearner:
    """One version of a learner; a `models.scoring.online.OnlineScorer`."""

    name: str
    version: str
    sha256: str
    scorer: Scorer
    mix: MixScorer | None  # None: the score is recorded and decides nothing
    columns: npt.NDArray[np.intp]  # of the catalogue's features, those that the learner reads

    @classmethod
    def of_update(cls, update: Mapping[str, Any], feature_names: tuple[str, ...], *, is_shadow: bool = False) -> Self:
        """Return the learner that a record of `model_update.avsc` carries.

        Parameters
        ----------
        update
            The record, decoded.
        feature_names
            The catalogue's, in its order.
        is_shadow
            Leave its combination with the batch model out.

        Raises
        ------
        UpdateError
            If it carries no parameters, they are damaged, or need a feature that the catalogue lacks.
        """
        parameters, combination = update["parameters"], update.get("combination")
        if parameters is None:
            raise UpdateError(f"the update of {update['name']!r} carries no parameters: send those of a learner")
        if hashlib.sha256(parameters + (combination or b"")).hexdigest() != update["sha256"]:
            raise UpdateError(f"the parameters of {update['name']!r} do not have the sha256 it names: send it again")
        try:
            scorer = scorer_of(parameters)
            mix = MixScorer(combination) if combination is not None and not is_shadow else None
        except SnapshotError as error:
            raise UpdateError(f"the parameters of {update['name']!r} cannot be read: {error}") from error
        unknown = [name for name in scorer.feature_names if name not in feature_names]
        if unknown:
            raise UpdateError(f"learner {update['name']!r} needs the feature {unknown[0]!r}, which nothing computes")
        columns = np.array([feature_names.index(name) for name in scorer.feature_names], np.intp)
        return cls(update["name"], update["version"], update["sha256"][:SHORT_SHA256], scorer, mix, columns)

    def score(self, X: F32, model_score: F32) -> tuple[F32, F32]:
        """Return the learner's scores (n,) and those to decide by (n,); see `OnlineScorer.score`."""
        is_whole = len(self.columns) == X.shape[1] and bool((np.diff(self.columns) == 1).all())
        learned = self.scorer.score_many(X if is_whole else np.ascontiguousarray(X[:, self.columns]))
        known = np.isfinite(learned)
        decided = model_score
        if self.mix is not None:
            decided = np.where(known, self.mix.score_many(model_score, learned), model_score)
        return np.where(known, learned, np.float32(NO_SCORE)), decided
