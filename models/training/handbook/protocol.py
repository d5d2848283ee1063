"""The book's protocol: train 7 days, wait 7 days for the labels, test 7 days.

References
----------
Le Borgne, Siblini, Lebichot, Bontempi, Reproducible Machine Learning for Credit Card Fraud Detection - Practical
Handbook, 2022, chapters 3 and 5, https://fraud-detection-handbook.github.io/fraud-detection-handbook/
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from models.training.metrics import Ranking, rank
from schemas.columns import F64, I64, Bool

FIRST_DAY = date(2018, 4, 1)
DAY_SECONDS = 86_400
TRAIN_DAYS, DELAY_DAYS, TEST_DAYS = 7, 7, 7

REPORTED_WEEKS = (date(2018, 7, 11), date(2018, 7, 18), date(2018, 7, 25), date(2018, 8, 1))
"""First days of the test weeks that are reported."""
CHOICE_WEEKS = (date(2018, 6, 13), date(2018, 6, 20), date(2018, 6, 27), date(2018, 7, 4))
"""First days of the earlier test weeks on which hyper-parameters are chosen."""

FILE = "handbook_transactions.parquet"
DIRECTORY_VARIABLE = "WEIR_HANDBOOK_DIR"


class MissingDataError(FileNotFoundError):
    """The book's transactions are not where they are looked for."""


@dataclass(frozen=True, slots=True)
class Transactions:
    """The book's simulated card transactions, in order of time."""

    seconds: I64  # since FIRST_DAY
    card: I64
    terminal: I64
    amount_minor: I64
    is_fraud: Bool

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def day(self) -> I64:
        """Return the days since FIRST_DAY."""
        return self.seconds // DAY_SECONDS


def locate(repository: Path) -> Path:
    """Return the file of the transactions: in the directory of WEIR_HANDBOOK_DIR, or else in ../shared/data."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    path = (Path(named) if named else repository.parent / "shared" / "data") / FILE
    if not path.exists():
        raise MissingDataError(
            f"{path}: no such file; set {DIRECTORY_VARIABLE} to the directory that holds {FILE} (the "
            "transactions of the Fraud Detection Handbook as one Parquet file)"
        )
    return path


def read(path: Path) -> Transactions:
    """Read the transactions."""
    names = ["TX_TIME_SECONDS", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"]
    table = pq.read_table(path, columns=names)
    seconds, card, terminal, amount, fraud = (table[name].to_numpy() for name in names)
    order = np.argsort(seconds, kind="stable")
    return Transactions(
        seconds=seconds[order].astype(np.int64),
        card=card[order].astype(np.int64),
        terminal=terminal[order].astype(np.int64),
        amount_minor=np.rint(amount[order] * 100).astype(np.int64),
        is_fraud=fraud[order] == 1,
    )


@dataclass(frozen=True, slots=True)
class Week:
    """One fold: rows to train on, and rows to test on."""

    first_day: date
    train: npt.NDArray[np.intp]
    test: npt.NDArray[np.intp]


def split(transactions: Transactions, test_week: date) -> Week:
    """Return the rows of the fold whose test week begins at `test_week`.

    On each test day the cards known as compromised by then are left out: those with a fraud in the training week, and
    those with a fraud on a later day that is 7 days old by then.
    """
    day = transactions.day
    first_test_day = (test_week - FIRST_DAY).days
    first_day = first_test_day - DELAY_DAYS - TRAIN_DAYS
    train = np.flatnonzero((day >= first_day) & (day < first_day + TRAIN_DAYS))
    compromised = np.zeros(int(transactions.card.max()) + 1, np.bool_)
    compromised[transactions.card[train[transactions.is_fraud[train]]]] = True
    test = []
    for after in range(TEST_DAYS):
        become_known = (day == first_day + TRAIN_DAYS + after - 1) & transactions.is_fraud
        compromised[transactions.card[become_known]] = True
        rows = np.flatnonzero(day == first_test_day + after)
        test.append(rows[~compromised[transactions.card[rows]]])
    return Week(test_week, train, np.concatenate(test))


def measure(transactions: Transactions, week: Week, score: F64) -> Ranking:
    """Measure the scores of a fold's test rows."""
    test = week.test
    return rank(transactions.is_fraud[test], score, transactions.card[test], transactions.day[test])
