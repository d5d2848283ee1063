"""A recorded decision beside the one recomputed from the log: whether they are equal, and if not, what differs and why.

"Equal" means the same bytes but for `processing`; fields are compared as they are written, so 0.0 and -0.0 differ.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.features.catalogue import FEATURE_NAMES
from models.replay.deciders import Deciders, VersionError
from models.scoring.decider import Decider
from schemas.ledger_reader import LedgerReader
from schemas.records import decode_record

EQUAL, DIFFERENT, UNVERIFIABLE = "equal", "different", "unverifiable"

ENCODING = "encoding"
"""Stands for the difference of two decisions whose fields are equal and whose bytes are not."""

_OF_TRANSACTION = (
    "transaction_id", "account_id", "counterparty_id", "event_time_ms", "amount_minor", "currency", "source_partition",
    "source_offset", "source_time_ms", "schema_version",
)  # fmt: skip
_OF_MODEL = ("model_name", "model_version", "model_sha256")
_OF_LEARNER = ("learner_name", "learner_version", "learner_sha256")
_WITHOUT_VERSIONS = (*_OF_TRANSACTION, "feature_set", "features", "touch_sequences")
"""What a decision says whatever model, learner and rules it was made by."""

_FOLLOWS_FROM: Mapping[str, tuple[str, ...]] = {
    "model_score": ("features", *_OF_MODEL),
    "learner_score": ("features", "model_score", *_OF_LEARNER),
    "score": ("model_score", "learner_score"),
    "typology_score": ("features", "explanation.rule_hits", "rules_version"),
    "outcome": ("score", "typology_score"),
    "explanation.rule_hits": ("features", "explanation.warming", "rules_version"),
    "explanation.reasons": ("features", "score", "outcome", "explanation.rule_hits"),
}
"""From which fields a field is computed: where one of them differs, so may it."""

_KEPT = "what is kept under the SHA-256 on record has another name"
_ALONE: Mapping[str, str] = {
    **dict.fromkeys((*_OF_MODEL, *_OF_LEARNER, "rules_version"), _KEPT),
    "feature_set": "the version of Weir at hand computes another feature set",
    "model_score": "the model on record does not give it for these features",
    "learner_score": "the learner's parameters on record do not give it for these features",
    "score": "it is not the model's score",
    "outcome": "the thresholds on record do not give it for these scores",
    "explanation.degraded": "what the recorded decision says was missing is there in the recomputation, or the reverse",
    "revision": "a replay makes the first decision on a transaction, revision 0",
    ENCODING: "all fields are equal, and were written in another way",
}
"""Why a field differs when nothing that it is computed from does."""

_SCORES = ("model_score", "learner_score", "score")
_LAST_BITS = 1e-6  # scores are float32 and at most 1: another processor's order of additions changes no more


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What may keep a recomputation from giving what the live run gave.

    Attributes
    ----------
    cut
        Since when the log has all its records, as text; empty where it reaches back over the longest window, or to
        the stream's beginning.
    unexplained
        Numbers of touches that no record of the log is known for.
    """

    cut: str = ""
    unexplained: int = 0


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field that differs; of `features` and `explanation` each part is a field, as `features.amount`."""

    name: str
    recorded: Any
    recomputed: Any
    why: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of an audit.

    Attributes
    ----------
    differences
        Fields that differ, in the schema's order.
    obstacle
        Why not all of the decision could be recomputed; empty where it could.
    records
        How many records of the log it was recomputed from.
    """

    differences: tuple[FieldDifference, ...] = ()
    obstacle: str = ""
    records: int = 0

    @property
    def verdict(self) -> str:
        """EQUAL, DIFFERENT or UNVERIFIABLE."""
        if self.differences:
            return DIFFERENT
        return UNVERIFIABLE if self.obstacle else EQUAL

    @property
    def is_equal(self) -> bool:
        """Whether all of the decision was recomputed, and is equal."""
        return self.verdict == EQUAL


class DecidersAtHand:
    """Deciders on record; where a version is gone the default one, so that the features at least are recomputed.

    Parameters
    ----------
    recorded
        Deciders of the versions on record.
    """

    def __init__(self, recorded: Deciders) -> None:
        self._recorded = recorded
        self.missing: VersionError | None = None

    def of(self, version: tuple[str, ...] | None) -> Decider:
        """Return the decider of a version, or the default one; `missing` tells."""
        try:
            return self._recorded.of(version)
        except VersionError as error:
            self.missing = error
            return self._recorded.of(None)


def verify_values(
    recorded: bytes, recomputed: bytes, circumstances: Circumstances, obstacle: str = "", records: int = 0
) -> Verification:
    """Compare two encoded decisions on one transaction.

    Parameters
    ----------
    recorded, recomputed
        In the current schema and feature set.
    circumstances
        Of the recomputation.
    obstacle
        Why the versions on record could not be used; empty where they were.
    records
        How many records of the log the second was computed from.
    """
    columns = LedgerReader(len(FEATURE_NAMES)).decode([recorded, recomputed])
    if not obstacle and columns.body(0) == columns.body(1):
        return Verification(records=records)
    was, is_now = (decode_record(value, name="decision") for value in (recorded, recomputed))
    differences = compare_decisions(was, is_now, FEATURE_NAMES, circumstances, is_by_version=not obstacle)
    if not differences and not obstacle:
        differences = (FieldDifference(ENCODING, columns.body(0).hex(), columns.body(1).hex(), _ALONE[ENCODING]),)
    return Verification(differences, obstacle, records)


def compare_decisions(
    recorded: Mapping[str, Any],
    recomputed: Mapping[str, Any],
    feature_names: Sequence[str],
    circumstances: Circumstances,
    is_by_version: bool = True,
) -> tuple[FieldDifference, ...]:
    """Return the fields of two decisions on one transaction that differ, all but `processing`.

    Parameters
    ----------
    recorded, recomputed
        Decisions as `decode_record` reads them.
    feature_names
        Of the recorded features.
    circumstances
        Of the recomputation.
    is_by_version
        Whether the recomputed one was made by the versions on record; else only what does not depend on them is
        compared.
    """
    parts = [
        part
        for part in _differing(recorded, recomputed, feature_names)
        if is_by_version or part[0].split(".")[0] in _WITHOUT_VERSIONS
    ]
    names = {name for name, _, _ in parts} | {name.split(".")[0] for name, _, _ in parts}
    return tuple(
        FieldDifference(name, was, is_now, _why(name, was, is_now, names, recorded, circumstances))
        for name, was, is_now in parts
    )


def _differing(
    recorded: Mapping[str, Any], recomputed: Mapping[str, Any], feature_names: Sequence[str]
) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for name, was in recorded.items():
        is_now = recomputed[name]
        if name == "processing":
            continue
        if name == "explanation":
            found += [(f"{name}.{part}", was[part], is_now[part]) for part in was]
        elif name == "features" and len(was) == len(is_now) == len(feature_names):
            named = zip(feature_names, was, is_now, strict=True)
            found += [(f"{name}.{feature}", a, b) for feature, a, b in named]
        else:
            found.append((name, was, is_now))
    return [(name, was, is_now) for name, was, is_now in found if _exact(was) != _exact(is_now)]


def _exact(value: Any) -> Any:
    """Return what is equal where the written bytes are: floats by their bits, since NaN stands for what is missing."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, Mapping):
        return {key: _exact(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(part) for part in value]
    return value


def _why(
    name: str, was: Any, is_now: Any, names: set[str], recorded: Mapping[str, Any], circumstances: Circumstances
) -> str:
    sources = [source for source in _FOLLOWS_FROM.get(name, ()) if source in names]
    if sources:
        return f"it follows from {', '.join(sources)}, which differ"
    if name in _OF_TRANSACTION:
        place = f"partition {recorded['source_partition']}, offset {recorded['source_offset']}"
        return f"the record at {place} of the log says otherwise"
    if name.split(".")[0] in ("features", "touch_sequences"):
        return _why_history(recorded["explanation"]["degraded"], circumstances)
    if name == "explanation.warming" and circumstances.cut:
        return f"{_cut(circumstances)}: since when a rule fills its windows cannot be told"
    if name in _SCORES and abs(was - is_now) <= _LAST_BITS:
        return "the last bits differ: it may have been computed on another processor, or by another ONNX Runtime"
    if name == "score" and recorded["learner_name"]:
        return "model and learner score as on record, but are combined otherwise: was learner_mode another then?"
    return _ALONE.get(name, "the rules and the model on record do not give it for these features")


def _why_history(degraded: Sequence[str], circumstances: Circumstances) -> str:
    if "entities" in degraded:
        return "it was decided before its entities had answered (degraded: entities); a replay waits for them"
    if circumstances.cut:
        return f"{_cut(circumstances)}, and the longest window began before"
    if circumstances.unexplained:
        return (
            f"the ledger leaves {circumstances.unexplained} touches unexplained: other transactions were decided on "
            "before their entities had answered, or lie outside what was read"
        )
    return "it does not follow from the log in its recorded order"


def _cut(circumstances: Circumstances) -> str:
    return f"the log is complete since {circumstances.cut} only"
