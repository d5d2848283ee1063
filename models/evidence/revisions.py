"""From endings of requests to revisions of their alert: numbered, cumulative, exactly one for each request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from models.scoring.evidence_rule import EvidenceWeight
from models.scoring.revise import RevisionBasis, revise


class AlertRevisions:
    """What has ended of one alert's evidence; small enough to be stored whole with each ending.

    Parameters
    ----------
    state
        What `state` returned; None for an alert that nothing has ended of.
    """

    def __init__(self, state: bytes | None = None) -> None:
        self._ended: list[dict[str, Any]] = json.loads(state) if state else []

    @property
    def state(self) -> bytes:
        """Everything remembered."""
        return json.dumps(self._ended).encode()

    def end(
        self,
        request: Mapping[str, Any],
        alert: Mapping[str, Any],
        ending: Mapping[str, Any],
        weights: Mapping[str, EvidenceWeight],
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Take in how a request ended.

        Parameters
        ----------
        request
            A record of `evidence_request.avsc`.
        alert
            The provisional alert that it carries, decoded.
        ending
            A record of `evidence.avsc`.
        weights
            By service.

        Returns
        -------
        The record of `evidence.avsc` with its revision, and the revised alert; None if the request has ended before: a
        request that is delivered twice is answered once.
        """
        if any(piece["request_id"] == ending["request_id"] for piece in self._ended):
            return None
        numbered = {**ending, "revision": len(self._ended) + 1}
        self._ended.append(numbered)
        basis = RevisionBasis.of_request(request, alert, weights)
        return numbered, revise(basis, self._ended)
