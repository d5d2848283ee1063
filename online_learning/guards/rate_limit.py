"""How many labels one source may teach: a token bucket for each, in the time of the order of labels.

A flood of labels (a script gone wild, a stolen key) so teaches at most the burst and the rate, whatever its size. The
bucket counts in thousandths of a label and whole milliseconds: no rounding depends on how the labels were cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from online_learning.labels.precedence import SOURCES
from schemas.columns import I64, U8, Bool


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Of each source alike.

    Parameters
    ----------
    per_second
        Labels that a source may bring for ever, 1 to 1,000,000.
    burst
        Labels that it may bring at once after a pause.
    """

    per_second: int = 1_000
    burst: int = 100_000

    def __post_init__(self) -> None:
        if not 1 <= self.per_second <= 1_000_000 or not 1 <= self.burst <= 10**12:
            raise ValueError(f"per_second must be 1 to 1,000,000 and burst at least 1, found {self}")


class SourceLimiter:
    """The buckets of all sources. `tokens` and `last_ms` are the whole state."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self.tokens: I64 = np.full(len(SOURCES), limit.burst * 1000, np.int64)  # thousandths
        self.last_ms: I64 = np.zeros(len(SOURCES), np.int64)

    def admit(self, source: U8, place_ms: I64) -> Bool:
        """Return (n,) which labels may teach, and take their tokens.

        Parameters
        ----------
        source
            (n,) index of each label's source.
        place_ms
            (n,) places in the order of labels; they do not fall.
        """
        admitted = np.zeros(len(source), np.bool_)
        _admit(
            np.ascontiguousarray(source), np.ascontiguousarray(place_ms), self.tokens, self.last_ms,
            self._limit.per_second, self._limit.burst * 1000, admitted,
        )  # fmt: skip
        return admitted


@njit(cache=True, nogil=True)
def _admit(source, place_ms, tokens, last_ms, per_second, capacity, admitted):  # type: ignore[no-untyped-def]
    for i in range(len(source)):
        s = source[i]
        passed = place_ms[i] - last_ms[s]
        if passed > 0:
            # labels a second are thousandths a millisecond
            if passed >= capacity // per_second + 1:
                tokens[s] = capacity
            else:
                tokens[s] = min(capacity, tokens[s] + passed * per_second)
            last_ms[s] = place_ms[i]
        if tokens[s] >= 1000:
            tokens[s] -= 1000
            admitted[i] = True
