"""Topics of a replay's own, which no broker deletes for the age of what they are about."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from deploy.local.errors import StackError
from deploy.local.topics import LARGE_BYTES, TIMEOUT_SECONDS, wait_until_visible

OUTPUTS = ("decisions", "alerts", "dead-letters", "duplicates")


def create_run_topics(client_properties: Mapping[str, str], prefix: str, partitions: int) -> list[str]:
    """Make the output topics of a run; those that are there are left as they are.

    Parameters
    ----------
    client_properties
        Of librdkafka: address and security.
    prefix
        Of the run's topics.
    partitions
        Of its decisions; the others have one.

    Returns
    -------
    list of str
        Names of the topics that were made.
    """
    admin = AdminClient({"log_level": 3, **client_properties})
    options = {"retention.ms": "-1", "max.message.bytes": str(LARGE_BYTES)}
    wanted = [NewTopic(prefix + name, partitions if name == "decisions" else 1, 1, config=options) for name in OUTPUTS]
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


def delete_run_topics(client_properties: Mapping[str, str], prefix: str) -> list[str]:
    """Delete the output topics of a run; return their names."""
    admin = AdminClient({"log_level": 3, **client_properties})
    known = admin.list_topics(timeout=TIMEOUT_SECONDS).topics
    names = [prefix + name for name in OUTPUTS if prefix + name in known]
    for future in admin.delete_topics(names, operation_timeout=TIMEOUT_SECONDS).values() if names else ():
        future.result(timeout=TIMEOUT_SECONDS)
    return names
