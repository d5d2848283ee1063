"""How many partitions topics have, asked when a job is submitted."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka.admin import AdminClient

from jobs.settings import Settings, SettingsError, kafka_properties

METADATA_SECONDS = 30.0


def partitions_of(settings: Settings, topics: Sequence[str]) -> dict[str, int]:
    """Return how many partitions each topic has.

    Raises
    ------
    SettingsError
        If a topic does not exist.
    """
    found = AdminClient(kafka_properties(settings)).list_topics(timeout=METADATA_SECONDS).topics
    missing = [topic for topic in topics if topic not in found or not found[topic].partitions]
    if missing:
        raise SettingsError(f"there is no topic {', '.join(missing)}: make it first, `weir up` does")
    return {topic: len(found[topic].partitions) for topic in topics}
