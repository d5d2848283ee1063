"""Apply exported parameters, whichever learner they come from, without its training state."""

from __future__ import annotations

from online_learning.learners import boosting, committee, exemplar_trees, forest, half_space_trees, logistic, network
from online_learning.learners.contract import Scorer
from online_learning.learners.errors import SnapshotError
from online_learning.learners.packed import kind_of
from schemas.columns import F32


def scorer_of(parameters: bytes) -> Scorer:
    """Return what scores with `parameters`; keep it while they are in force.

    Raises
    ------
    SnapshotError
        If the parameters are damaged, or of an unknown kind or version.
    """
    kind = kind_of(parameters)
    if kind == logistic.PARAMETERS_KIND:
        return logistic.LogisticScorer.unpack(parameters)
    if kind == forest.PARAMETERS_KIND:
        return forest.ForestScorer.unpack(parameters)
    if kind == boosting.PARAMETERS_KIND:
        return boosting.BoostedScorer.unpack(parameters)
    if kind == committee.PARAMETERS_KIND:
        return committee.CommitteeScorer.unpack(parameters, scorer_of)
    if kind == exemplar_trees.PARAMETERS_KIND:
        return exemplar_trees.ExemplarTreesScorer.unpack(parameters, scorer_of)
    if kind == half_space_trees.PARAMETERS_KIND:
        return half_space_trees.HalfSpaceScorer.unpack(parameters)
    if kind == network.PARAMETERS_KIND:
        return network.NetworkScorer.unpack(parameters)
    raise SnapshotError(f"the block holds {kind}, expected the parameters of a learner")


def apply(parameters: bytes, X: F32) -> F32:
    """Return (n,) scores of rows (n, F), decoding the parameters for this call alone."""
    return scorer_of(parameters).score_many(X)
