from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from models.training.handbook.book_features import NAMES, book_features, window_sums
from models.training.handbook.engine_features import engine_features
from models.training.handbook.protocol import (
    CHOICE_WEEKS,
    DAY_SECONDS,
    DIRECTORY_VARIABLE,
    FIRST_DAY,
    REPORTED_WEEKS,
    MissingDataError,
    Transactions,
    locate,
    read,
    split,
)

REPOSITORY = Path(__file__).parents[4]


def some_transactions(count: int = 3_000, days: int = 45, seed: int = 0) -> Transactions:
    rng = np.random.default_rng(seed)
    return Transactions(
        seconds=np.sort(rng.integers(0, days * DAY_SECONDS, count)),
        card=rng.integers(0, 40, count),
        terminal=rng.integers(0, 30, count),
        amount_minor=rng.integers(100, 30_000, count),
        is_fraud=rng.random(count) < 0.1,
    )


def change(transactions: Transactions, is_fraud: np.ndarray) -> Transactions:
    return Transactions(
        transactions.seconds, transactions.card, transactions.terminal, transactions.amount_minor, is_fraud
    )


def test_training_ends_a_week_before_the_test_begins() -> None:
    transactions = some_transactions()
    week = split(transactions, FIRST_DAY + timedelta(days=30))
    assert set(transactions.day[week.train]) == set(range(16, 23))
    assert set(transactions.day[week.test]) <= set(range(30, 37))


def test_cards_known_as_compromised_by_a_test_day_are_left_out_of_it() -> None:
    transactions = some_transactions()
    week = split(transactions, FIRST_DAY + timedelta(days=30))
    for row in week.test:
        day = transactions.day[row]
        known = transactions.is_fraud & (transactions.day >= 16) & (transactions.day <= max(22, day - 8))
        assert transactions.card[row] not in set(transactions.card[known])


def test_a_card_whose_fraud_is_too_young_to_be_known_is_tested() -> None:
    t = some_transactions(seed=1)
    young_only = change(t, t.is_fraud & (t.day >= 24))
    week = split(young_only, FIRST_DAY + timedelta(days=30))
    first_days = np.flatnonzero((t.day >= 30) & (t.day <= 31))
    assert set(first_days) <= set(week.test)


def test_hyper_parameters_are_chosen_on_weeks_before_the_reported_ones() -> None:
    assert max(CHOICE_WEEKS) + timedelta(days=7) <= min(REPORTED_WEEKS) == date(2018, 7, 11)


def test_window_sums_agree_with_a_plain_loop() -> None:
    t = some_transactions(400, 10)
    value = t.amount_minor.astype(np.float64)
    count, total = window_sums(t.card, t.seconds, value, 2 * DAY_SECONDS)
    for i in range(len(t)):
        inside = [
            j
            for j in range(i + 1)
            if t.card[j] == t.card[i] and t.seconds[i] - 2 * DAY_SECONDS < t.seconds[j] <= t.seconds[i]
        ]
        assert count[i] == len(inside)
        assert total[i] == sum(value[inside])


def test_no_feature_knows_a_label_younger_than_seven_days() -> None:
    t = some_transactions()
    names, before = engine_features(t)
    last = len(t) - 1
    young = t.seconds > t.seconds[last] - 7 * DAY_SECONDS
    _, after = engine_features(change(t, np.where(young, ~t.is_fraud, t.is_fraud)))
    assert np.array_equal(before[last], after[last], equal_nan=True)
    # Nor does any other row know the label of itself or of a later one.
    old = t.seconds <= t.seconds[last] - 7 * DAY_SECONDS
    assert np.array_equal(before[old], after[old], equal_nan=True)
    assert "terminal_frauds_7d" in names


def test_a_label_counts_from_the_second_it_is_seven_days_old() -> None:
    t = Transactions(
        seconds=np.array([0, 7 * DAY_SECONDS - 1, 7 * DAY_SECONDS, 7 * DAY_SECONDS + 1]),
        card=np.arange(4),
        terminal=np.zeros(4, np.int64),
        amount_minor=np.full(4, 1_000),
        is_fraud=np.array([True, False, False, False]),
    )
    names, values = engine_features(t)
    since = values[:, names.index("terminal_seconds_since_fraud")]
    assert np.isnan(since[:2]).all()
    assert since[2:].tolist() == [7 * DAY_SECONDS, 7 * DAY_SECONDS + 1]


def test_the_book_s_own_features_come_out_as_published() -> None:
    try:
        path = locate(REPOSITORY)
        published = path.with_name("handbook_features.parquet")
        assert published.exists() or pytest.skip(f"{published} is not there")
    except MissingDataError as error:
        pytest.skip(str(error))
    import pyarrow.parquet as pq

    table = pq.read_table(published).to_pandas().sort_values("TX_TIME_SECONDS", kind="stable")
    transactions = read(path)
    rows = np.flatnonzero(transactions.seconds >= table.TX_TIME_SECONDS.min())
    ours = book_features(transactions)[rows]
    assert len(ours) == len(table)
    theirs = {"amount": "TX_AMOUNT", "during_weekend": "TX_DURING_WEEKEND", "during_night": "TX_DURING_NIGHT"}
    for days in (1, 7, 30):
        theirs[f"card_count_{days}d"] = f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"
        theirs[f"card_mean_amount_{days}d"] = f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"
        theirs[f"terminal_count_{days}d"] = f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW"
        theirs[f"terminal_risk_{days}d"] = f"TERMINAL_ID_RISK_{days}DAY_WINDOW"
    # Transactions of one second come in either order, which must not hide a difference.
    order = np.lexsort((transactions.terminal[rows], transactions.card[rows], transactions.seconds[rows]))
    table = table.sort_values(["TX_TIME_SECONDS", "CUSTOMER_ID", "TERMINAL_ID"])
    for i, name in enumerate(NAMES):
        assert np.abs(ours[order, i] - table[theirs[name]].to_numpy()).max() < 1e-6, name


def test_a_missing_file_says_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    with pytest.raises(MissingDataError, match=DIRECTORY_VARIABLE):
        locate(REPOSITORY)
