"""Peer: the originator's part of the work event by event in quix-streams, as its documentation shows it.

StreamingDataFrame -> apply with state -> to_topic, exactly once. Records are keyed by the account already, so no
repartitioning is needed. State in RocksDB with its changelog topic. One process for each slot of the measured job.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

from quixstreams import Application

from tests.bench.peers.per_event import PerEventScorer

COMMIT_SECONDS = 2.0  # as often as the measured job takes its checkpoints


def application_of(servers: str, group: str, state_dir: str) -> Application:
    """Return an exactly-once application."""
    return Application(
        broker_address=servers,
        consumer_group=group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=COMMIT_SECONDS,
        state_dir=state_dir,
        producer_extra_config={"linger.ms": 1, "compression.type": "lz4"},
        loglevel="WARNING",
    )


def run_until_terminated(application: Application) -> None:
    """Run; SIGTERM ends it in order."""
    signal.signal(signal.SIGTERM, lambda *_: application.stop())
    application.run()


def main() -> None:
    """Run until terminated: SERVERS SOURCE_TOPIC SINK_TOPIC MODELS_DIR STATE_DIR."""
    servers, source_topic, sink_topic, models_dir, state_dir = sys.argv[1:]
    scorer = PerEventScorer(models_dir)
    application = application_of(servers, "bench-quix", state_dir)
    source = application.topic(source_topic, key_deserializer="bytes", value_deserializer="bytes")
    sink = application.topic(sink_topic, key_serializer="bytes", value_serializer="bytes")

    def score(value: bytes, state: Any) -> bytes:
        decision, history = scorer.score(scorer.decode(value), state.get("history") or [])
        state.set("history", history)
        return decision

    application.dataframe(source).apply(score, stateful=True).to_topic(sink)
    run_until_terminated(application)


if __name__ == "__main__":
    main()
