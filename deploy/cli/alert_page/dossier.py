"""What a page shows of one alert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Picture:
    """A document, checked to be an image of its kind."""

    content: bytes
    media_type: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of evidence: what one service said of one document, or of the memo.

    Attributes
    ----------
    request
        Record of `evidence_request.avsc`; empty where it is no longer kept.
    ending
        Record of `evidence.avsc`; None while it is waited for.
    explanation
        What the service answered to `:explain`; empty where it did not.
    problem
        Why there is no explanation, in words; empty with one.
    """

    service: str
    reference: str
    request: Mapping[str, Any]
    ending: Mapping[str, Any] | None
    explanation: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One document with all that was said of it.

    Attributes
    ----------
    picture
        None where it cannot be shown.
    problem
        Why it cannot be shown, in words.
    note
        What else is known of it, in words: in the demo, what the simulator planted.
    """

    reference: str
    pieces: Sequence[Piece]
    picture: Picture | None = None
    problem: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Dossier:
    """One alert.

    Attributes
    ----------
    revisions
        Records of `alert.avsc`, revision 0 first; at least one.
    decision
        Record of `decision.avsc`; None where the ledger does not hold it yet.
    documents
        In the order in which they were first asked about.
    memo
        The payment's free text, None where it is not known.
    memo_pieces
        What was said of the memo.
    """

    revisions: Sequence[Mapping[str, Any]]
    decision: Mapping[str, Any] | None = None
    documents: Sequence[Document] = ()
    memo: str | None = None
    memo_pieces: Sequence[Piece] = ()

    @property
    def newest(self) -> Mapping[str, Any]:
        """The revision that holds."""
        return self.revisions[-1]
