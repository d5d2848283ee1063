"""The drift reference of a training run: of the main stream's warm weeks, and the same with and without training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.features.catalogue import FEATURE_NAMES
from models.features.drift_reference import Reference
from models.scoring.model import read_reference
from models.training.config import TrainingConfig
from models.training.dataset import simulate_dataset
from models.training.drift_reference import add_reference, main, reference_of, simulate_reference
from models.training.simulator.config import DAY_MS

TINY = TrainingConfig(
    accounts=300, days=9, validation_days=2, test_days=2, reference_from_day=3, legitimate_share=0.5, batch_size=500
)


def test_the_reference_is_the_same_with_and_without_the_test_days() -> None:
    stream = TINY.main_stream()
    whole = simulate_dataset(stream, 500, stream.start_ms + 5 * DAY_MS, 0.5)
    reference = reference_of(TINY, whole)
    assert simulate_reference(TINY).to_bytes() == reference.to_bytes()
    day = (whole.event_time_ms - stream.start_ms) / DAY_MS
    rows = (day >= 3) & (day < 7)
    assert reference.rows == rows.sum()
    assert reference.names == FEATURE_NAMES
    amount = FEATURE_NAMES.index("amount")
    assert reference.mean[amount] == pytest.approx(np.average(whole.X[rows, amount], weights=whole.weight[rows]))


def test_a_reference_is_put_beside_a_model_and_named_by_its_card(tmp_path: Path) -> None:
    (tmp_path / "gbm.onnx").write_bytes(b"graph")
    card = {
        "name": "m", "version": "1", "feature_set": "f", "features": ["a"], "data": {"rows": 1},
        "files": {"gbm.onnx": ""}, "combination": {}, "thresholds": {},
    }  # fmt: skip
    (tmp_path / "card.json").write_text(json.dumps(card))
    for value in (1.0, 2.0):  # the second takes the place of the first
        reference = Reference.of(("a",), np.full((10, 1), value, np.float32), np.zeros(10, np.int64))
        add_reference(tmp_path, reference)
    found = json.loads((tmp_path / "card.json").read_text())
    assert list(found["files"]) == ["gbm.onnx", "drift_reference.npz"]
    assert found["data"]["rows"] == 1
    assert found["data"]["drift_reference"]["rows"] == 10
    read = read_reference(tmp_path)
    assert read is not None
    assert read.mean[0] == 2.0


def test_a_toy_cannot_replace_the_shipped_reference(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--quick"])
    assert "--out" in capsys.readouterr().err
