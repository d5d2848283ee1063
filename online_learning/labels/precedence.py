"""Which of several labels of one transaction holds.

The source decides first, then the later label time, then fraud before legitimate. This is a total order, so the label
that holds in the end does not depend on the order of arrival.

A report to the authorities follows an investigation, so it stands above the customer's bank (chargeback), and that
above one analyst's verdict. Rules stand last: they echo what the engine itself did.
"""

from __future__ import annotations

import numpy as np

SOURCES = ("other", "chargeback", "analyst", "sar", "rule", "simulator")
"""Symbols of the schema's enum `LabelSource`, in its order: source columns hold indices into this tuple."""

LOWEST_TO_HIGHEST = ("rule", "other", "simulator", "analyst", "chargeback", "sar")

RANKS = np.array([LOWEST_TO_HIGHEST.index(source) for source in SOURCES], np.uint8)
"""Rank of each source, by its index; higher ranks win. No two sources share one."""
