"""Control records: rules and learners' parameters that come, change and go while the job runs."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from models.features.catalogue import FEATURE_NAMES
from models.scoring.decider import Decider
from models.scoring.errors import RuleError
from models.scoring.model import ScoringModel
from models.scoring.rules import Rule
from models.scoring.shadow import Shadow
from online_learning.combination.live_learner import LiveLearner, UpdateError
from schemas.errors import SerializationError
from schemas.records import decode_record

RULE_PREFIX, LEARNER_PREFIX = "rule/", "learner/"
LEARNING_PREFIX = "learning/"  # commands to the learner job; nothing for scoring

_PACKED = struct.Struct("<qq")


class ControlError(Exception):
    """A control record that cannot be applied; the message says what is wrong with it, and what to do."""


@dataclass(frozen=True, slots=True)
class ControlRecord:
    """One record of the control topic or of the topic of model updates."""

    key: bytes
    value: bytes  # empty: what the key names is removed
    offset: int

    def to_bytes(self) -> bytes:
        """Pack the record for the broadcast state."""
        return _PACKED.pack(self.offset, len(self.key)) + self.key + self.value

    @classmethod
    def from_bytes(cls, data: bytes) -> ControlRecord:
        """Unpack what `to_bytes` packed."""
        offset, key_length = _PACKED.unpack_from(data)
        at = _PACKED.size + key_length
        return cls(data[_PACKED.size : at], data[at:], offset)


class Control:
    """The decider in force and what is on trial beside it, changed by control records between two batches.

    Of two records with one key the one with the higher offset counts, in whatever order they are applied: what the
    job read at its start, what its state restores, and what the topic brings may overlap.

    Parameters
    ----------
    decider
        With the shipped model and rules.
    initial
        Records read from the topics when the job was submitted.
    learner
        Name of the online learner to score with; those of others are passed over. None uses none.
    is_shadow
        Record the learner's score, and decide by the model's alone.
    shadow_model
        A model on trial; None tries out shadow rules alone, if there are any.

    Attributes
    ----------
    decider
        In force.
    shadow
        On trial; None where nothing is.
    """

    def __init__(
        self,
        decider: Decider,
        initial: Iterable[ControlRecord] = (),
        learner: str | None = None,
        is_shadow: bool = False,
        shadow_model: ScoringModel | None = None,
    ) -> None:
        self.decider = decider
        self.shadow = Shadow.beside(decider, shadow_model)
        self._shadow_model = shadow_model
        self._learner_key = None if learner is None else f"{LEARNER_PREFIX}{learner}".encode()
        self._is_shadow = is_shadow
        self._offsets: dict[bytes, int] = {}
        for record in initial:
            self._apply_if_possible(record)

    def restore(self, state: Mapping[str, bytes]) -> None:
        """Apply what a checkpoint kept."""
        for packed in state.values():
            self._apply_if_possible(ControlRecord.from_bytes(packed))

    def apply(self, record: ControlRecord) -> None:
        """Apply one record.

        Raises
        ------
        ControlError
            If it cannot be; nothing is changed then.
        """
        if record.offset <= self._offsets.get(record.key, -1):
            return
        try:
            key = record.key.decode()
        except UnicodeDecodeError:
            key = ""  # the replacement characters of another reading would name a rule that no key can name
        if key.startswith(RULE_PREFIX):
            self._change_rule(key, record)
        elif key.startswith(LEARNER_PREFIX):
            self._change_learner(record)
        elif not key.startswith(LEARNING_PREFIX):
            raise ControlError(
                f"key {record.key!r} is not of the form {RULE_PREFIX}RULE_ID or {LEARNER_PREFIX}NAME; send the record "
                "with such a key"
            )
        self._offsets[record.key] = record.offset

    def _change_learner(self, record: ControlRecord) -> None:
        if record.key != self._learner_key:
            return
        learner = None
        if record.value:
            try:
                update = decode_record(record.value, name="model_update")
                learner = LiveLearner.of_update(update, FEATURE_NAMES, is_shadow=self._is_shadow)
            except (UpdateError, SerializationError, KeyError) as error:
                raise ControlError(f"{record.key.decode()}: {error}") from error
        self.decider = self.decider.with_learner(learner)
        self.shadow = None if self.shadow is None else self.shadow.with_learner(learner)

    def _change_rule(self, key: str, record: ControlRecord) -> None:
        rule_id = key.removeprefix(RULE_PREFIX)
        rules = self.decider.rules
        try:
            if record.value:
                rule = Rule.from_record(decode_record(record.value, name="rule"))
                if rule.rule_id != rule_id:
                    raise ControlError(
                        f"the key names rule {rule_id!r} and the value {rule.rule_id!r}; make them agree"
                    )
                changed = rules.with_rule(rule)
            else:
                changed = rules.without(rule_id)
        except (RuleError, SerializationError, KeyError) as error:
            raise ControlError(f"rule {rule_id!r}: {error}") from error
        self.decider = self.decider.with_rules(changed)
        self.shadow = Shadow.beside(self.decider, self._shadow_model)

    def _apply_if_possible(self, record: ControlRecord) -> None:
        try:
            self.apply(record)
        except ControlError:
            # Refused with a dead letter when the topic brought it; the rules in force do not depend on it.
            return
