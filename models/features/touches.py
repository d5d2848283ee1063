"""A touch: one event as one entity sees it. What the home stage sends to the entity store."""

from __future__ import annotations

import numpy as np

ORIGINATOR, BENEFICIARY, DEVICE, LABEL = 0, 1, 2, 3
"""Roles of a touch. An account is one entity in both of the first two roles."""

TOUCH = np.dtype(
    [
        ("entity", np.uint64),  # xxh64 of the entity's id; accounts and counterparties share one id space
        ("other", np.uint64),  # the other side: beneficiary, originator, account; for LABEL the transaction id
        ("time_ms", np.int64),  # event time of the transaction
        ("amount", np.int64),  # in minor units of the reference currency
        ("event", np.int32),  # row of the event in its home batch
        ("role", np.uint8),
        ("is_fraud", np.uint8),  # LABEL only: 1 fraud, 0 legitimate
        ("padding", np.uint16),
    ]
)
"""One row a touch, 40 bytes, little-endian: the wire format between stages and the log in state."""
