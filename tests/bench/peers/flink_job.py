"""Peer: the same stream scored event by event in PyFlink's DataStream API, in its fastest mode and documented form.

KafkaSource -> decode -> keyBy account -> KeyedProcessFunction with ValueState -> KafkaSink, exactly once. Thread mode,
object reuse, hashmap state and checkpoints as the measured cluster has them; every output type is declared.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, MapFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from tests.bench.peers.flink_ends import environment_of, kafka_sink, kafka_source
from tests.bench.peers.per_event import PerEventScorer

JOB_NAME = "bench-per-event"


class WithAccount(MapFunction):
    """Puts the account beside the record, as the key."""

    def __init__(self, models_dir: str) -> None:
        self._models_dir = models_dir

    def open(self, runtime_context: RuntimeContext) -> None:
        """Load the decoder."""
        self._scorer = PerEventScorer(self._models_dir)

    def map(self, value: bytes) -> Row:
        """Decode for the key alone."""
        return Row(self._scorer.decode(value)["account_id"], value)


class Score(KeyedProcessFunction):
    """Scores one event at a time. State: the account's transactions of 30 days of event time."""

    def __init__(self, models_dir: str) -> None:
        self._models_dir = models_dir

    def open(self, runtime_context: RuntimeContext) -> None:
        """Load the model and attach the state."""
        self._scorer = PerEventScorer(self._models_dir)
        # Pickled: the one type that takes a list of any length in one go
        self._history = runtime_context.get_state(ValueStateDescriptor("history", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[bytes]:
        """Score one transaction."""
        decision, history = self._scorer.score(self._scorer.decode(value[1]), self._history.value() or [])
        self._history.update(history)
        yield decision


def main(argv: Sequence[str] | None = None) -> int:
    """Submit: SOURCE_TOPIC SINK_TOPIC MODELS_DIR PARALLELISM."""
    source_topic, sink_topic, models_dir, parallelism = list(argv if argv is not None else sys.argv[1:])
    environment = environment_of(int(parallelism))
    record = Types.ROW([Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE())])
    records: Any = kafka_source(environment, source_topic, JOB_NAME)
    (
        records.map(WithAccount(models_dir), record)
        .key_by(lambda row: row[0], Types.STRING())
        .process(Score(models_dir), Types.PRIMITIVE_ARRAY(Types.BYTE()))
        .sink_to(kafka_sink(sink_topic, JOB_NAME))
    )
    environment.execute_async(JOB_NAME)
    return 0
