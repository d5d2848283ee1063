"""Speed of the codec: `python -m tests.bench.codec_bench [RECORDS A BATCH]` prints events a second, one core."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable

import fastavro
import numpy as np

from schemas.decisions import NOTHING_TO_EXPLAIN, DecisionColumns
from schemas.encode import encode_decisions, encode_labels, encode_transactions
from schemas.hashing import hash_strings
from schemas.labels import LabelDecoder
from schemas.transactions import TransactionDecoder
from schemas.validate import validate_transactions
from schemas.versions import current
from tests.builders import NOON_MS, a_label, a_transaction, label_columns, transaction_columns

SECONDS_EACH = 0.5


def measure(name: str, records: int, run: Callable[[], object]) -> None:
    """Print the median speed over about half a second, after one call to compile."""
    run()
    took = []
    end = time.perf_counter() + SECONDS_EACH
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        took.append(time.perf_counter() - start)
    median = float(np.median(took))
    print(f"{name:32} {records / median:12,.0f} events/s {median / records * 1e6:8.3f} µs/event")


def main() -> None:
    """Measure every step on one batch."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    transactions = transaction_columns(
        [
            a_transaction(
                transaction_id=f"transaction-{i:012d}",
                account_id=f"account-{i % 777:06d}",
                counterparty_id=f"merchant-{i % 99:06d}",
                device_id=None if i % 2 else f"device-{i % 555:06d}",
            )
            for i in range(n)
        ]
    )
    labels = label_columns([a_label(transaction_id=f"transaction-{i:012d}") for i in range(n)])
    random = np.random.default_rng(1)
    decisions = DecisionColumns(
        transaction_id=transactions.transaction_id,
        account_id=transactions.account_id,
        counterparty_id=transactions.counterparty_id,
        event_time_ms=transactions.event_time_ms,
        amount_minor=transactions.amount_minor,
        currency=transactions.currency,
        source_partition=np.zeros(n, np.int32),
        source_offset=np.arange(n),
        source_time_ms=transactions.event_time_ms,
        outcome=random.integers(0, 3, n).astype(np.uint8),
        score=random.random(n, np.float32),
        typology_score=random.random(n, np.float32),
        model_score=random.random(n, np.float32),
        learner_score=random.random(n, np.float32),
        schema_version=transactions.schema_version,
        model_name="weir-1",
        model_version="1",
        model_sha256="ab" * 32,
        learner_name="logistic-regression",
        learner_version="17",
        learner_sha256="cd" * 8,
        rules_version="01" * 8,
        feature_set="f00d" * 3,
        features=random.random((n, 80), np.float32),
        touch_sequences=random.integers(0, 2**40, (n, 3)),
        explanation=dict.fromkeys(range(0, n, 50), NOTHING_TO_EXPLAIN),
        default_explanation=NOTHING_TO_EXPLAIN,
        revision=0,
        mode="live",
        run_id="",
        ingest_time_ms=NOON_MS,
        decision_time_ms=NOON_MS,
    )
    values, label_values = encode_transactions(transactions), encode_labels(labels)
    decoder, label_decoder = TransactionDecoder(), LabelDecoder()
    schema = current("transaction").parsed
    times = np.full(n, NOON_MS)
    print(f"batches of {n} records")
    measure("decode transactions", n, lambda: decoder.decode(list(values)))
    measure(
        "  the same with fastavro", n, lambda: [fastavro.schemaless_reader(io.BytesIO(v[10:]), schema) for v in values]
    )
    measure("validate transactions", n, lambda: validate_transactions(transactions, times))
    measure("hash account ids", n, lambda: hash_strings(transactions.account_id))
    measure("encode transactions", n, lambda: encode_transactions(transactions))
    measure("encode decisions (80 features)", n, lambda: encode_decisions(decisions))
    measure("decode labels", n, lambda: label_decoder.decode(list(label_values)))
    measure("encode labels", n, lambda: encode_labels(labels))


if __name__ == "__main__":
    main()
