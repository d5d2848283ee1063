"""Which payments of a simulated stream come with a document, and what it has to say: the stream simulated once more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

from deploy.load.plan import LoadPlan
from models.training.documents.attached import PaidTransaction
from models.training.simulator import SimulatedBatch, Simulator

BATCH = 5_000
AHEAD_SECONDS = 120.0
"""Of the load, beyond the newest payment that was asked about: how far a wrong name can make the simulator run."""
FIRST_SECONDS = 120.0
"""The same before anything was asked about."""


class PaymentBook:
    """Finds the payment of a plan by its transaction id.

    The simulator runs on as far as it must, at some 400,000 payments a second, and only those with a document are kept.

    Parameters
    ----------
    plan
        What is sent; equal plans give equal payments.
    """

    def __init__(self, plan: LoadPlan) -> None:
        self._rate = plan.rate
        self._batches: Iterator[SimulatedBatch] = Simulator(plan.simulator).batches(BATCH, plan.count)
        self._known: dict[str, tuple[int, PaidTransaction]] = {}
        self._simulated = 0
        self._last = int(plan.rate * FIRST_SECONDS)
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Simulate as far ahead as the first payments that are asked about may lie."""
        self.find("")

    def find(self, transaction_id: str) -> PaidTransaction | None:
        """Return what a payment's document has to say; None where no payment with a document has that id."""
        with self._lock:
            while transaction_id not in self._known and self._simulated < self._last:
                batch = next(self._batches, None)
                if batch is None:
                    break
                self._note(batch)
            found = self._known.get(transaction_id)
            if found is None:
                return None
            place, payment = found
            self._last = max(self._last, place + int(self._rate * AHEAD_SECONDS))
            return payment

    def _note(self, batch: SimulatedBatch) -> None:
        columns = batch.transactions
        for row in columns.evidence_count.nonzero()[0].tolist():
            payment = PaidTransaction(
                transaction_id=columns.transaction_id.text_at(row) or "",
                amount_minor=int(columns.amount_minor[row]),
                currency=columns.currency.text_at(row) or "",
                counterparty_id=columns.counterparty_id.text_at(row) or "",
                day=datetime.fromtimestamp(int(columns.event_time_ms[row]) / 1000, UTC).date(),
                memo=columns.memo.text_at(row) or "",
                is_fraud=bool(batch.is_fraud[row]),
            )
            self._known[payment.transaction_id] = (self._simulated + row, payment)
        self._simulated += len(batch)
