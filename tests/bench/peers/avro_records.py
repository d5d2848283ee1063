"""Records in and out of the per-event programs: Avro by fastavro (compiled C), amounts in one currency.

Imports nothing of Weir, so that it runs in the peers' own environment; it reads Weir's schemas and exchange rates.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro

REPOSITORY = Path(__file__).resolve().parents[3]
SINGLE_OBJECT_HEADER = 10  # C3 01 and the schema's fingerprint
OTHER_DIGITS = 2  # of the minor unit of a currency outside the table; such a currency counts like EUR


def _schema(name: str) -> Any:
    """Parse a schema; without logical types, since fastavro would make a datetime of every timestamp."""

    def plain(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: plain(value) for key, value in node.items() if key != "logicalType"}
        return [plain(value) for value in node] if isinstance(node, list) else node

    return fastavro.parse_schema(plain(json.loads((REPOSITORY / "schemas" / f"{name}.avsc").read_text())))


class AvroRecords:
    """Decodes transactions and encodes decisions, one at a time."""

    def __init__(self) -> None:
        self._transaction = _schema("transaction")
        self._decision = _schema("decision")
        table = json.loads((REPOSITORY / "models" / "features" / "rates.json").read_text())
        self.digits: dict[str, int] = {c: table["digits"].get(c, table["digits_default"]) for c in table["rates"]}
        self.cents = {c: rate * 10.0 ** (2 - self.digits[c]) for c, rate in table["rates"].items()}
        """Cents of EUR for one minor unit, by currency."""

    def decode(self, value: bytes) -> dict[str, Any]:
        """Return the transaction of a record."""
        stream = io.BytesIO(value)
        stream.seek(SINGLE_OBJECT_HEADER)
        return fastavro.schemaless_reader(stream, self._transaction)  # type: ignore[return-value]

    def encode(
        self,
        transaction: dict[str, Any],
        features: list[float],
        feature_set: str,
        model: dict[str, str],
        decision: dict[str, Any],
        explanation: dict[str, Any],
    ) -> bytes:
        """Return the record of a decision, with its features as scored."""
        record = {
            **{name: transaction[name] for name in ("transaction_id", "account_id", "counterparty_id")},
            "event_time_ms": transaction["event_time_ms"],
            "amount_minor": transaction["amount_minor"],
            "currency": transaction["currency"],
            "source_partition": 0,
            "source_offset": 0,
            "source_time_ms": transaction["event_time_ms"],
            **decision,
            "schema_version": 1,
            **model,
            "rules_version": "0" * 16,
            "feature_set": feature_set,
            "features": features,
            "touch_sequences": [0, -1, -1],
            "explanation": explanation,
            "revision": 0,
            "processing": {"mode": "live", "run_id": "", "ingest_time_ms": 0, "decision_time_ms": 0},
        }
        out = io.BytesIO()
        out.write(bytes(SINGLE_OBJECT_HEADER))
        fastavro.schemaless_writer(out, self._decision, record)
        return out.getvalue()
