"""Make Weir's topics on any Kafka."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from deploy.local.errors import StackError

LARGE_BYTES = 16 * 1024 * 1024  # a record that is too large for us must still fit, or it could not become a dead letter
TIMEOUT_SECONDS = 30.0
RULES_KEPT_MS = 7 * 86_400_000
PARAMETERS_KEPT_MS = 2 * 3_600_000
"""Replays and audits ask for the rules and the learner's parameters of then, which compaction takes away. Rules are
few: they stay as long as the transactions do by default. Parameters come every second, a committee's take some 100 KB.
"""


@dataclass(frozen=True)
class TopicSpec:
    """One topic without its prefix."""

    name: str
    partitions: int
    options: Mapping[str, str] = field(default_factory=dict)


TOPICS = (
    TopicSpec("transactions", 4, {"max.message.bytes": str(LARGE_BYTES)}),
    TopicSpec("labels", 1),
    TopicSpec("matured-labels", 1),
    TopicSpec("decisions", 4, {"max.message.bytes": str(LARGE_BYTES)}),
    TopicSpec("alerts", 1),
    TopicSpec("dead-letters", 1, {"max.message.bytes": str(LARGE_BYTES)}),
    TopicSpec("duplicates", 1, {"max.message.bytes": str(LARGE_BYTES)}),
    TopicSpec(
        "control",
        1,
        {"cleanup.policy": "compact", "segment.ms": "600000", "min.compaction.lag.ms": str(RULES_KEPT_MS)},
    ),
    TopicSpec("drift", 1),
    TopicSpec("shadow-alerts", 1),
    TopicSpec("evidence-requests", 1),
    TopicSpec("evidence", 1),
    TopicSpec(
        "model-updates",
        1,
        {
            "cleanup.policy": "compact",
            "segment.ms": "600000",
            "min.compaction.lag.ms": str(PARAMETERS_KEPT_MS),
            "max.message.bytes": str(LARGE_BYTES),
        },
    ),
)


def create_topics(
    client_properties: Mapping[str, str],
    prefix: str = "weir.",
    partitions: Mapping[str, int] | None = None,
    replication_factor: int = 1,
) -> list[str]:
    """Make every topic that does not exist yet.

    Parameters
    ----------
    client_properties
        Of librdkafka: ``bootstrap.servers`` and whatever security the cluster asks for.
    prefix
        Put before each name.
    partitions
        Partition counts by name without prefix, where they differ from ours.
    replication_factor
        Copies of each partition; 1 suits a single broker only.

    Returns
    -------
    list of str
        Names of the topics that were made; those that were there are left as they are.
    """
    counts = dict(partitions or {})
    unknown = counts.keys() - {topic.name for topic in TOPICS}
    if unknown:
        raise StackError(f"no such topic: {', '.join(sorted(unknown))}; there are {', '.join(t.name for t in TOPICS)}")
    admin = AdminClient({"log_level": 3, **client_properties})  # errors only: a broker that goes away is no news here
    wanted = [
        NewTopic(
            prefix + topic.name,
            num_partitions=counts.get(topic.name, topic.partitions),
            replication_factor=replication_factor,
            config=dict(topic.options),
        )
        for topic in TOPICS
    ]
    made = []
    for name, future in admin.create_topics(wanted, operation_timeout=TIMEOUT_SECONDS).items():
        try:
            future.result(timeout=TIMEOUT_SECONDS)
            made.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise StackError(f"topic {name} could not be made: {error.args[0].str()}") from error
    wait_until_visible(admin, {topic.topic for topic in wanted})
    return sorted(made)


def wait_until_visible(admin: AdminClient, names: set[str]) -> None:
    """A topic exists for clients only once the broker has applied the controller's record of it."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        topics = admin.list_topics(timeout=TIMEOUT_SECONDS).topics
        if all(name in topics and topics[name].error is None and topics[name].partitions for name in names):
            return
        if time.monotonic() > deadline:
            raise StackError(f"topics {sorted(names - topics.keys())} were made and do not show up in the metadata")
        time.sleep(0.05)
