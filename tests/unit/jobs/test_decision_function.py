"""What the decision stage does when what is only tried out goes wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jobs.stream.decision_function import SHADOW_ALERTS, DecisionFunction
from models.scoring.core_settings import CoreSettings
from models.scoring.model import ScoringModel
from models.scoring.pipeline import ScoringCore
from models.scoring.shadow import Shadow
from tests.recorded import TEST_MODEL, a_decider, record_stream


class Count:
    """Stands for a counter of Flink's."""

    def __init__(self) -> None:
        self.value = 0

    def inc(self, n: int = 1) -> None:
        self.value += n


@pytest.fixture
def function() -> Any:
    function = DecisionFunction(
        str(TEST_MODEL), (), (), (1, 2), "control", "updates", (), None, 0.0, 1.0, None, False
    )  # fmt: skip
    for name in ("_shadow_alerts", "_shadow_new", "_shadow_lost", "_shadow_failures"):
        setattr(function, name, Count())
    return function


def test_a_shadow_that_fails_costs_its_own_alerts_alone(
    function: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    decider, model = a_decider(), ScoringModel.load(TEST_MODEL)
    shadow = Shadow.beside(decider, model)
    recorded = record_stream(300, seed=2)
    (scored,) = ScoringCore(CoreSettings(shards=1), decider).transactions(recorded.raw()).scored
    monkeypatch.setattr(model, "predict", lambda X: np.ones(len(X), np.float32))
    ((tag, row),) = function._try_out(shadow, scored, 0)
    assert tag is SHADOW_ALERTS
    assert len(row[0]) == len(row[1]) == len(row[2]) == len(scored.decisions) == function._shadow_alerts.value
    assert function._shadow_new.value == len(scored.decisions) - len(scored.alerts)

    def fail(X: Any) -> Any:
        raise RuntimeError("the graph is broken")

    monkeypatch.setattr(model, "predict", fail)
    assert list(function._try_out(shadow, scored, 0)) == []
    assert function._shadow_failures.value == 1
    assert "the graph is broken" in caplog.text
