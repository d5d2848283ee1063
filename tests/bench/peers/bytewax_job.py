"""Peer: the same stream scored event by event in bytewax, as its documentation shows it.

Kafka input -> key_on -> stateful_map -> Kafka output, with recovery: state is snapshotted into SQLite. Its output is at
least once, which is less than the others give. One process for each slot of the measured job, joined by addresses.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax._bytewax import cli_main
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig

from tests.bench.peers.per_event import History, PerEventScorer

SNAPSHOT_SECONDS = 2.0  # as often as the measured job takes its checkpoints


def dataflow(servers: str, source_topic: str, sink_topic: str, models_dir: str) -> Dataflow:
    """Return the dataflow."""
    scorer = PerEventScorer(models_dir)
    flow = Dataflow("bench")
    records = kop.input("transactions", flow, brokers=[servers], topics=[source_topic], tail=True).oks
    keyed = op.key_on("account", records, lambda record: record.key.decode())

    def score(history: History | None, record: Any) -> tuple[History, KafkaSinkMessage[bytes, bytes]]:
        decision, history = scorer.score(scorer.decode(record.value), history or [])
        return history, KafkaSinkMessage(record.key, decision)

    scored = op.stateful_map("score", keyed, score)
    decisions = op.map("decision", scored, lambda pair: pair[1])
    kop.output(
        "decisions", decisions, brokers=[servers], topic=sink_topic,
        add_config={"linger.ms": "1", "compression.type": "lz4"},
    )  # fmt: skip
    return flow


def main() -> None:
    """Run until killed: SERVERS SOURCE_TOPIC SINK_TOPIC MODELS_DIR STATE_DIR PROCESS ADDRESSES (joined by `;`)."""
    *ends, state_dir, process, addresses = sys.argv[1:]
    cli_main(
        dataflow(*ends),
        workers_per_process=1,
        process_id=int(process),
        addresses=addresses.split(";"),
        epoch_interval=timedelta(seconds=SNAPSHOT_SECONDS),
        recovery_config=RecoveryConfig(Path(state_dir)),
    )


if __name__ == "__main__":
    main()
