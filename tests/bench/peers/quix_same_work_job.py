"""Peer: Weir's work event by event in quix-streams, as its documentation shows it.

StreamingDataFrame -> apply(expand) into touches -> group_by entity (a repartition topic) -> apply with state -> a topic
keyed by the originator's account, since a dataframe can be grouped only once -> a second dataframe, apply with state ->
to_topic, exactly once. State in RocksDB with its changelog topics. One process for each slot of the measured job.
"""

from __future__ import annotations

import sys
from typing import Any

from quixstreams import Application
from quixstreams.models import Serializer, TopicConfig

from tests.bench.peers.avro_records import AvroRecords
from tests.bench.peers.quix_job import application_of, run_until_terminated
from tests.bench.peers.same_work import SameWork
from tests.bench.peers.touches import apply_touch, touches_of

PARTITIONS = 4  # of the partials, as of the measured topics


class PayloadSerializer(Serializer):
    """Writes the second part of a pair, whose first part is the key."""

    def __call__(self, value: tuple[str, bytes], ctx: Any) -> bytes:
        """Return what is written."""
        return value[1]


def build(application: Application, source_topic: str, sink_topic: str, models_dir: str) -> None:
    """Put the dataframes together."""
    records, scorer = AvroRecords(), SameWork(models_dir)
    source = application.topic(source_topic, key_deserializer="bytes", value_deserializer="bytes")
    partials = application.topic(
        f"{sink_topic}-partials",
        config=TopicConfig(num_partitions=PARTITIONS, replication_factor=1),
        key_serializer="str",
        value_serializer=PayloadSerializer(),
        key_deserializer="str",
        value_deserializer="bytes",
    )
    sink = application.topic(sink_topic, key_serializer="str", value_serializer="bytes")

    def read_entity(touch: bytes, state: Any) -> tuple[str, bytes] | None:
        return apply_touch(touch, state.get_bytes, state.set_bytes)

    def decide(partial: bytes, state: Any) -> bytes | None:
        transaction_id, decision, kept = scorer.join(partial, state.get_bytes)
        if kept is not None:
            state.set_bytes(transaction_id, kept)
        else:
            state.delete(transaction_id)
        return decision

    (
        application.dataframe(source)
        .apply(lambda value: touches_of(records, value), expand=True)
        .group_by(
            lambda touch: touch[0],
            name="entity",
            key_serializer="str",
            value_serializer=PayloadSerializer(),
            key_deserializer="str",
            value_deserializer="bytes",
        )
        .apply(read_entity, stateful=True)
        .filter(lambda partial: partial is not None)
        .to_topic(partials, key=lambda partial: partial[0])
    )
    (
        application.dataframe(partials)
        .apply(decide, stateful=True)
        .filter(lambda decision: decision is not None)
        .to_topic(sink)
    )


def main() -> None:
    """Run until terminated: SERVERS SOURCE_TOPIC SINK_TOPIC MODELS_DIR STATE_DIR."""
    servers, source_topic, sink_topic, models_dir, state_dir = sys.argv[1:]
    application = application_of(servers, "bench-quix-same-work", state_dir)
    build(application, source_topic, sink_topic, models_dir)
    run_until_terminated(application)


if __name__ == "__main__":
    main()
