"""The compiled index of a label join: one entry for each transaction that has a decision, a label, or both."""

from __future__ import annotations

import numpy as np
from numba import njit

ENTRY = np.dtype(
    [
        ("first", "<u8"),  # the transaction id, hashed twice
        ("second", "<u8"),
        ("row", "<i8"),  # of the decision in its log; -1 without one
        ("event_time_ms", "<i8"),  # of the decision
        ("label_time_ms", "<i8"),
        ("label_event_ms", "<i8"),  # event time as the label says
        ("source", "u1"),
        ("is_fraud", "u1"),
        ("is_labelled", "u1"),
        ("is_used", "u1"),
        ("padding", "<u4"),
    ]
)

KEPT, MATCHED, REPEATED, DECISION_TOO_OLD = range(4)
"""What became of a decision: kept, kept and met by a label that had waited, known already, too old."""

NEW, CORRECTED, CONFIRMED, DUPLICATE, OUTRANKED, WAITING, SUPERSEDING, LABEL_TOO_OLD = range(8)
"""What became of a label. SUPERSEDING: it waits in the place of one that waited. The first two are matured labels."""


@njit(cache=True, nogil=True)
def find(table, first, second):  # type: ignore[no-untyped-def]
    """Return the slot of the id, or the free slot where it would go."""
    mask = len(table) - 1
    slot = np.int64(first & np.uint64(mask))
    while table[slot]["is_used"] != 0:
        if table[slot]["first"] == first and table[slot]["second"] == second:
            break
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def _occupy(table, slot, first, second):  # type: ignore[no-untyped-def]
    table[slot]["is_used"] = 1
    table[slot]["first"] = first
    table[slot]["second"] = second
    table[slot]["row"] = -1
    table[slot]["is_labelled"] = 0


@njit(cache=True, nogil=True)
def take_decisions(table, hashes, event_time_ms, next_row, oldest_ms, status, slots):  # type: ignore[no-untyped-def]
    """Enter decisions; return how many entries are new. Fills what became of each, and the slot of each kept."""
    added = 0
    row = next_row
    for i in range(len(hashes)):
        if event_time_ms[i] < oldest_ms:
            status[i] = DECISION_TOO_OLD
            continue
        slot = find(table, hashes[i, 0], hashes[i, 1])
        if table[slot]["is_used"] == 0:
            _occupy(table, slot, hashes[i, 0], hashes[i, 1])
            added += 1
        if table[slot]["row"] >= 0:
            status[i] = REPEATED
            continue
        table[slot]["row"] = row
        table[slot]["event_time_ms"] = event_time_ms[i]
        row += 1
        slots[i] = slot
        status[i] = MATCHED if table[slot]["is_labelled"] != 0 else KEPT
    return added


@njit(cache=True, nogil=True)
def take_labels(  # type: ignore[no-untyped-def]
    table, hashes, ranks, source, is_fraud, label_time_ms, event_time_ms, oldest_ms, status, rows, held_source,
    held_time_ms,
):  # fmt: skip
    """Enter labels; return how many entries are new.

    Fills what became of each, its decision's row or -1, and source and label time of the label that held before it,
    where one did.
    """
    added = 0
    for i in range(len(hashes)):
        slot = find(table, hashes[i, 0], hashes[i, 1])
        is_used = table[slot]["is_used"] != 0
        rows[i] = table[slot]["row"] if is_used else -1
        if rows[i] < 0 and event_time_ms[i] < oldest_ms:
            status[i] = LABEL_TOO_OLD
            continue
        if not is_used:
            _occupy(table, slot, hashes[i, 0], hashes[i, 1])
            added += 1
        if table[slot]["is_labelled"] == 0:
            status[i] = NEW if rows[i] >= 0 else WAITING
        else:
            held_source[i], held_time_ms[i] = table[slot]["source"], table[slot]["label_time_ms"]
            order = np.int64(ranks[source[i]]) - np.int64(ranks[table[slot]["source"]])
            if order == 0:
                order = label_time_ms[i] - table[slot]["label_time_ms"]
            if order == 0:
                order = np.int64(is_fraud[i]) - np.int64(table[slot]["is_fraud"])
            if order == 0:
                status[i] = DUPLICATE
                continue
            if order < 0:
                status[i] = OUTRANKED
                continue
            if rows[i] < 0:
                status[i] = SUPERSEDING
            elif np.uint8(is_fraud[i]) != table[slot]["is_fraud"]:
                status[i] = CORRECTED
            else:
                status[i] = CONFIRMED
        table[slot]["is_labelled"] = 1
        table[slot]["source"] = source[i]
        table[slot]["is_fraud"] = is_fraud[i]
        table[slot]["label_time_ms"] = label_time_ms[i]
        table[slot]["label_event_ms"] = event_time_ms[i]
    return added


@njit(cache=True, nogil=True)
def keep_young(table, into, oldest_decision_ms, oldest_label_ms, dropped, counts):  # type: ignore[no-untyped-def]
    """Copy the entries within their lifetime; return how many.

    `dropped` gets the ids of labels that no decision came for, `counts` how many of those, of labelled and of
    unlabelled decisions went.
    """
    kept = 0
    for i in range(len(table)):
        if table[i]["is_used"] == 0:
            continue
        if table[i]["row"] >= 0:
            if table[i]["event_time_ms"] < oldest_decision_ms:
                counts[1 if table[i]["is_labelled"] != 0 else 2] += 1
                continue
        elif table[i]["label_time_ms"] < oldest_label_ms:
            if counts[0] < len(dropped):
                dropped[counts[0], 0] = table[i]["first"]
                dropped[counts[0], 1] = table[i]["second"]
            counts[0] += 1
            continue
        slot = find(into, table[i]["first"], table[i]["second"])
        into[slot] = table[i]
        kept += 1
    return kept
