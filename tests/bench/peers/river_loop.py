"""Peer: one loop of confluent-kafka and River a process, as one writes it without a framework.

Poll, decode, features, River's `predict_proba_one`, produce; offsets and decisions are committed in one transaction.
The histories of the accounts lie in a dict: they are lost with the process, which is less than the others give. The
model is a scaled logistic regression of River's in place of the shipped one, since that is what River is used for.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from typing import Any

from confluent_kafka import Consumer, Producer
from river import linear_model, preprocessing

from tests.bench.peers.per_event import History, PerEventScorer

COMMIT_SECONDS = 2.0  # as often as the measured job takes its checkpoints
AT_ONCE = 500
LEARNED = 500
"""Transactions that the regression learns before the first is scored, all as legitimate but each hundredth: what it
says does not matter here, how long it takes does."""


class RiverScorer(PerEventScorer):
    """Scores by River's model instead of the shipped one."""

    def __init__(self, models_dir: str) -> None:
        super().__init__(models_dir)
        self._regression = preprocessing.StandardScaler() | linear_model.LogisticRegression()
        self._seen = 0

    def probability(self, features: dict[str, Any], X: Any) -> float:
        """Return River's probability of the features by name; None is left out."""
        x = {name: float(value) for name, value in features.items() if value is not None and math.isfinite(value)}
        self._seen += 1
        if self._seen <= LEARNED:
            self._regression.learn_one(x, self._seen % 100 == 0)
        return float(self._regression.predict_proba_one(x).get(True, 0.0))


def main() -> None:
    """Run until terminated: SERVERS SOURCE_TOPIC SINK_TOPIC MODELS_DIR PROCESS."""
    servers, source_topic, sink_topic, models_dir, process = sys.argv[1:]
    scorer = RiverScorer(models_dir)
    histories: dict[bytes, History] = {}
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "bench-river",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "transactional.id": f"bench-river-{process}",
            "linger.ms": 1,
            "compression.type": "lz4",
        }
    )
    running = True

    def stop(*_: object) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    producer.init_transactions(30)
    consumer.subscribe([source_topic])
    while running:
        producer.begin_transaction()
        end = time.monotonic() + COMMIT_SECONDS
        while running and time.monotonic() < end:
            for message in consumer.consume(AT_ONCE, 0.1):
                key, value = message.key(), message.value()
                decision, histories[key] = scorer.score(scorer.decode(value), histories.get(key, []))
                producer.produce(sink_topic, decision, key)
            producer.poll(0)
        producer.send_offsets_to_transaction(
            consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 30
        )
        producer.commit_transaction(30)
    consumer.close()


if __name__ == "__main__":
    main()
