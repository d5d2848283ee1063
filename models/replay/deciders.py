"""The decider of each version on record."""

from __future__ import annotations

from typing import Protocol

from models.scoring.decider import Decider


class VersionError(Exception):
    """A version that a decision names is not there any more; the message says which, and what to do."""


class Deciders(Protocol):
    """Where a replay gets what was in force then."""

    def of(self, version: tuple[str, ...] | None) -> Decider:
        """Return the decider of a version.

        Parameters
        ----------
        version
            Fields of `schemas.ledger_reader.Versions`; None where nothing is on record: what is in force by default.

        Raises
        ------
        VersionError
            If the model, the rules or the learner's parameters of that version are not to be had.
        """
        ...


class OneDecider:
    """The same decider for every version: a replay with a model and rules of its own."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider

    def of(self, version: tuple[str, ...] | None) -> Decider:
        """Return it."""
        return self._decider
