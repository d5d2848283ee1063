"""The document that comes with a payment of the simulated stream: drawn from the payment, honest as often as it is.

What is planted depends on the transaction's id alone. Nine honest payments in ten come with their own document; those
of fraud and laundering mostly with a forged one, or with that of another payment. Layouts are held-out ones, so the
shipped models have not seen them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date

import numpy as np

from models.training.documents.layouts import HELD_OUT_LAYOUTS
from models.training.documents.payment import Payment, draw_payment
from models.training.documents.sample import GENUINE, draw_sample

OWN, OTHERS, FORGED = "own", "others", "forged"
"""A genuine document of this payment; a genuine one of another payment; an edited one of this payment."""

HONEST_SHARES = {OWN: 0.93, OTHERS: 0.05, FORGED: 0.02}
"""People attach the wrong file, and some forge a document for a payment that nobody would call fraud."""
FRAUD_SHARES = {OWN: 0.20, OTHERS: 0.25, FORGED: 0.55}

_LAYOUTS = tuple(layout for layout in HELD_OUT_LAYOUTS if layout.kind != "identity_card")
"""Identity cards state no payment."""


@dataclass(frozen=True, slots=True)
class PaidTransaction:
    """What a document has to say of a transaction, and the truth about it.

    Attributes
    ----------
    amount_minor
        In minor units of a currency with two decimals.
    day
        Of the transaction, UTC.
    """

    transaction_id: str
    amount_minor: int
    currency: str
    counterparty_id: str
    day: date
    memo: str
    is_fraud: bool


@dataclass(frozen=True, slots=True)
class _StreamPayment(Payment):
    """A payment whose beneficiary is named by its identifier, as the stream names it."""

    payee: str = ""

    @property
    def beneficiary(self) -> str:
        """The counterparty's identifier."""
        return self.payee


@dataclass(frozen=True, slots=True)
class AttachedDocument:
    """A drawn document and what was planted.

    Attributes
    ----------
    planted
        One of `OWN`, `OTHERS` and `FORGED`.
    forgery
        `genuine`, or the kind of forgery.
    """

    jpeg: bytes
    planted: str
    forgery: str

    @property
    def truth(self) -> str:
        """What was planted, in words."""
        if self.planted == FORGED:
            return f"a document of this payment, edited ({self.forgery.replace('_', ' ')})"
        return "a genuine document of this payment" if self.planted == OWN else "a genuine document of another payment"


def draw_attached(transaction: PaidTransaction) -> AttachedDocument:
    """Draw the document of a transaction; equal transactions give equal bytes on one machine. Takes about 65 ms."""
    seed = int.from_bytes(hashlib.sha256(transaction.transaction_id.encode()).digest()[:6], "big")
    rng = np.random.default_rng([seed, 7])
    shares = FRAUD_SHARES if transaction.is_fraud else HONEST_SHARES
    planted = str(rng.choice(list(shares), p=list(shares.values())))
    layout = _LAYOUTS[int(rng.integers(len(_LAYOUTS)))]
    own = _payment_of(transaction, rng)
    sample = draw_sample(
        seed,
        "test",
        forgery=None if planted == FORGED else GENUINE,
        forged_share=1.0,
        layout=layout,
        payment=None if planted == OTHERS else own,
    )
    if planted == FORGED and not sample.is_forged:  # no edit changed anything that could be seen
        planted = OWN
    return AttachedDocument(sample.jpeg, planted, sample.forgery)


def _payment_of(transaction: PaidTransaction, rng: np.random.Generator) -> Payment:
    drawn = draw_payment(rng)
    return _StreamPayment(
        amount_minor=transaction.amount_minor,
        currency=transaction.currency,
        brand=drawn.brand,
        day=transaction.day,
        goods=transaction.memo or drawn.goods,
        number=drawn.number,
        payer=drawn.payer,
        language=drawn.language,
        payee=transaction.counterparty_id,
    )
