"""References to documents on a share of the payments, and nothing else changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.training.simulator import SimulatorConfig, SimulatorError, encode_stream
from schemas.records import decode_record

PLAIN = SimulatorConfig(seed=5, accounts=300, merchants=200)


def records(config: SimulatorConfig, batch_size: int) -> list[dict[str, object]]:
    return [decode_record(value) for batch in encode_stream(config, batch_size, 2_000) for value in batch.values]


def test_a_share_of_the_payments_has_a_document_named_after_it() -> None:
    plain = records(PLAIN, 500)
    found = records(replace(PLAIN, evidence_share=0.3, evidence_root="s3://e/"), 500)
    has_document = [bool(record["evidence"]) for record in found]
    assert np.mean(has_document) == pytest.approx(0.3, abs=0.04)
    for before, record in zip(plain, found, strict=True):
        expected = [f"s3://e/{record['transaction_id']}.jpg"] if record["evidence"] else []
        assert record == {**before, "evidence": expected}


def test_which_ones_does_not_depend_on_the_batch_size() -> None:
    config = replace(PLAIN, evidence_share=0.1)
    assert records(config, 2_000) == records(config, 333)


def test_a_share_is_a_share() -> None:
    with pytest.raises(SimulatorError):
        SimulatorConfig(evidence_share=1.5)
