"""The model, rules and learners that were in force then, from the topics that keep them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from jobs.stream.control import LEARNER_PREFIX, RULE_PREFIX, Control, ControlError, ControlRecord
from jobs.stream.topic_reader import TopicReader
from models.features.catalogue import FEATURE_NAMES
from models.replay.deciders import VersionError
from models.scoring.decider import Decider, rule_columns
from models.scoring.model import ScoringModel
from models.scoring.rules import Rule, RuleSet
from online_learning.combination.live_learner import SHORT_SHA256, LiveLearner
from schemas.errors import SerializationError
from schemas.ledger_reader import Versions
from schemas.records import decode_record

MAX_DECIDERS = 64
"""Learners change every second or so; rules and models seldom."""
FETCH_SECONDS = 30.0


class RecordedDeciders:
    """Finds deciders by the versions that decisions name.

    Parameters
    ----------
    properties
        Of librdkafka: address and security.
    control_topic, updates_topic
        Where rules and learners' parameters are kept.
    model
        The model to score with.
    is_model_given
        Whether it stands for every model on record.
    rules
        Rules that the scoring job starts with.
    given_rules
        Rules to decide by instead of those on record; None: as recorded.
    is_shadow
        Whether the learner's score is recorded only.
    attribute_names
        Attributes that rules may read.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        control_topic: str,
        updates_topic: str,
        model: ScoringModel,
        is_model_given: bool,
        rules: Sequence[Rule],
        given_rules: Sequence[Rule] | None,
        is_shadow: bool,
        attribute_names: tuple[str, ...] = (),
    ) -> None:
        self._properties = dict(properties)
        self._updates_topic = updates_topic
        self._is_model_given = is_model_given
        self._is_shadow = is_shadow
        columns = rule_columns(attribute_names)
        self._rules: dict[str, RuleSet] = {}
        self._given = None if given_rules is None else RuleSet.compile(tuple(given_rules), columns)
        control = Control(Decider(model, RuleSet.compile(tuple(rules), columns)))
        self._remember(control)
        for key, value, offset in _records(properties, control_topic):
            if key.startswith(RULE_PREFIX.encode()):
                try:
                    control.apply(ControlRecord(key, value, offset))
                except ControlError:
                    continue  # a dead letter then, too
                self._remember(control)
        self._default = control.decider if self._given is None else control.decider.with_rules(self._given)
        self._bases: dict[str, Decider] = {}
        self._offsets: dict[str, int] | None = None
        self._deciders: OrderedDict[tuple[str, ...], Decider] = OrderedDict()

    def _remember(self, control: Control) -> None:
        self._rules[control.decider.rules.version] = control.decider.rules

    def of(self, version: tuple[str, ...] | None) -> Decider:
        """Return the decider of a version; see `Deciders.of`."""
        if version is None:
            return self._default
        if version in self._deciders:
            self._deciders.move_to_end(version)
            return self._deciders[version]
        named = Versions(*version)
        decider = self._base(named)
        if named.learner_sha256:
            decider = decider.with_learner(self._learner(named))
        self._deciders[version] = decider
        if len(self._deciders) > MAX_DECIDERS:
            self._deciders.popitem(last=False)
        return decider

    def _base(self, named: Versions) -> Decider:
        model = self._default
        if not self._is_model_given and named.model_sha256 != model.model_sha256:
            raise VersionError(
                f"the decisions were made by model {named.model_name} {named.model_version} (sha256 "
                f"{named.model_sha256[:16]}), and {model.model_name} {model.model_version} (sha256 "
                f"{model.model_sha256[:16]}) is at hand: set models_dir to the folder of the former, or give --model "
                "to replay with another one"
            )
        if self._given is not None:
            return self._default
        if named.rules_version not in self._bases:
            if named.rules_version not in self._rules:
                raise VersionError(
                    f"the decisions were made by rules of version {named.rules_version}, which can't be put together "
                    "from the rules file and the control topic any more: set rules_file to the one of then, or give "
                    "--rules to replay with others"
                )
            self._bases[named.rules_version] = model.with_rules(self._rules[named.rules_version])
        return self._bases[named.rules_version]

    def _learner(self, named: Versions) -> LiveLearner:
        if self._offsets is None:
            self._offsets = {}
            for key, value, offset in _records(self._properties, self._updates_topic):
                if key.startswith(LEARNER_PREFIX.encode()) and value:
                    try:
                        self._offsets[decode_record(value, name="model_update")["sha256"][:SHORT_SHA256]] = offset
                    except (SerializationError, KeyError):
                        continue
        if named.learner_sha256 not in self._offsets:
            raise VersionError(
                f"the parameters of {named.learner_name} after {named.learner_version} labels (sha256 "
                f"{named.learner_sha256}) are not in {self._updates_topic} any more: the topic is compacted once they "
                "are older than its min.compaction.lag.ms"
            )
        value = _fetch(self._properties, self._updates_topic, self._offsets[named.learner_sha256])
        update = decode_record(value, name="model_update")
        return LiveLearner.of_update(update, FEATURE_NAMES, is_shadow=self._is_shadow)


def _records(properties: Mapping[str, Any], topic: str) -> Iterator[tuple[bytes, bytes, int]]:
    with TopicReader(properties, [topic]) as reader:
        for batch in reader.until_end():
            yield from ((m.key() or b"", m.value() or b"", m.offset()) for m in batch)


def _fetch(properties: Mapping[str, Any], topic: str, offset: int) -> bytes:
    consumer = Consumer({"group.id": "weir-replay-reader", "enable.auto.commit": False, "log_level": 2, **properties})
    try:
        consumer.assign([TopicPartition(topic, 0, offset)])
        message = consumer.poll(FETCH_SECONDS)
        if message is None or message.error() is not None or message.offset() != offset:
            raise VersionError(f"offset {offset} of {topic} cannot be read any more: it was compacted away meanwhile")
        return bytes(message.value())
    finally:
        consumer.close()
