"""What became of the transactions of a replay: in = decisions + dead letters + duplicates."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.replay import output_settings
from jobs.settings import Settings, kafka_properties
from jobs.stream.topic_reader import TopicReader


@dataclass(frozen=True, slots=True)
class Account:
    """Committed records of a run's topics."""

    decisions: int
    dead_letters: int
    duplicates: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.decisions + self.dead_letters + self.duplicates


def account_of(settings: Settings, run_id: str) -> Account:
    """Count what a run has written, as a read_committed reader finds it."""
    topics = output_settings(settings, run_id).topics
    properties = kafka_properties(settings)
    counts = []
    for topic in (topics.decisions, topics.dead_letters, topics.duplicates):
        with TopicReader(properties, [topic]) as reader:
            counts.append(sum(len(batch) for batch in reader.until_end()))
    return Account(*counts)
