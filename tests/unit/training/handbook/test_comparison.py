"""The comparison's course and its page; needs the train extra."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("xgboost", reason="the train extra is not installed")
pytest.importorskip("torch", reason="the train extra is not installed")
pytest.importorskip("matplotlib", reason="the train extra is not installed")

from models.training.handbook.__main__ import Competitor, main, run
from models.training.handbook.protocol import (
    CHOICE_WEEKS,
    DAY_SECONDS,
    DIRECTORY_VARIABLE,
    REPORTED_WEEKS,
    Transactions,
)
from models.training.handbook.report import Result, write_report
from models.training.metrics import Ranking


def some_transactions(count: int = 20_000) -> Transactions:
    rng = np.random.default_rng(0)
    return Transactions(
        seconds=np.sort(rng.integers(50 * DAY_SECONDS, 129 * DAY_SECONDS, count)),
        card=rng.integers(0, 3_000, count),
        terminal=rng.integers(0, 30, count),
        amount_minor=rng.integers(100, 30_000, count),
        is_fraud=rng.random(count) < 0.01,
    )


def test_the_settings_that_do_best_on_the_earlier_weeks_are_reported() -> None:
    transactions = some_transactions()
    truth = transactions.is_fraud.astype(np.float64)[:, None]
    # The setting is the noise added to the truth.
    rng = np.random.default_rng(1)
    competitor = Competitor("a", truth, (5.0, 0.1, 2.0), lambda s, X, y, T: T[:, 0] + s * rng.normal(size=len(T)))
    chosen, rankings = run(transactions, competitor, True, lambda text: None)
    assert chosen == 0.1
    assert len(rankings) == len(REPORTED_WEEKS)
    unchosen, _ = run(transactions, competitor, False, lambda text: None)
    assert unchosen == 5.0


def test_the_page_names_gain_weeks_and_settings(tmp_path: Path) -> None:
    result = Result(
        transactions=10,
        feature_names={"baseline": ("amount",), "weir": ("amount", "hour_of_day")},
        settings={"baseline": {"max_depth": 6}, "weir": {"max_depth": 4}},
        weeks=REPORTED_WEEKS,
        baseline=[Ranking(0.8, 0.70, 0.25)] * 4,
        weir=[Ranking(0.9, 0.75, 0.30)] * 4,
        chosen_on=(),
        engine_seconds=1.0,
        seconds=2.0,
    )
    write_report(result, tmp_path)
    page = (tmp_path / "accuracy.md").read_text()
    assert "AP +0.0500, AUC ROC +0.1000, CP@100 +0.0500" in page
    assert REPORTED_WEEKS[0].isoformat() in page
    numbers = json.loads((tmp_path / "accuracy.json").read_text())
    assert numbers["settings"]["weir"] == {"max_depth": 4}
    assert (tmp_path / "accuracy.svg").exists()
    assert "earlier run" not in page
    write_report(replace(result, chosen_on=CHOICE_WEEKS, chosen_before=True), tmp_path)
    assert "The baseline's choice is that of an earlier run" in (tmp_path / "accuracy.md").read_text()


def test_without_the_data_the_command_says_where_it_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    assert main(["--docs", str(tmp_path)]) == 1
    assert DIRECTORY_VARIABLE in capsys.readouterr().out
