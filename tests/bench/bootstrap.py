"""How sure a ratio of percentiles is, when what is sampled are steps and not events.

Events of one step share its bad moments (a pause, a checkpoint, a busy host), so that an interval which took each event
for independent would be far too narrow. Whole steps are drawn again instead: the cluster bootstrap (Davison and
Hinkley, Bootstrap Methods and their Application, 1997, section 3.8), with the percentile interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Steps = Sequence[NDArray[np.int64]]


def percentile_ratio(above: Steps, below: Steps, percentile: float) -> float:
    """Return the ratio of a percentile over all steps of `above` to that over all steps of `below`.

    Parameters
    ----------
    above, below
        Latencies of each step, (events of the step,), in any one unit; together not empty.
    percentile
        From 0 to 100.
    """
    return float(np.percentile(np.concatenate(above), percentile) / np.percentile(np.concatenate(below), percentile))


def ratio_interval(
    above: Steps,
    below: Steps,
    percentile: float,
    confidence: float = 0.95,
    draws: int = 1_000,
    seed: int = 1,
) -> tuple[float, float]:
    """Return the bootstrap interval of `percentile_ratio`, drawing whole steps with replacement.

    Parameters
    ----------
    above, below, percentile
        As in `percentile_ratio`; no step is empty. With fewer than some six steps of a kind the interval is too narrow.
    confidence
        Share of the drawn ratios between the bounds, in (0, 1).
    draws, seed
        How often is drawn, and from which stream of random numbers.
    """
    random = np.random.default_rng(seed)

    def drawn(steps: Steps) -> list[NDArray[np.int64]]:
        return [steps[at] for at in random.integers(len(steps), size=len(steps))]

    ratios = [percentile_ratio(drawn(above), drawn(below), percentile) for _ in range(draws)]
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
