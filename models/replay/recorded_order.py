"""Cut a recorded stream into batches whose touches precede those of the next batch in every entity shard.

Each entity shard took its touches in an order of its own, which the decisions record; two shards may have seen two
transactions in opposite orders, so there need be no one order of transactions. But there are cuts that every shard
agrees on: a set of transactions which holds, in every shard, all touches up to some place. The smallest such sets are
found by closure; several are put together until a batch is large enough.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from schemas.columns import I32, I64


class OrderError(Exception):
    """The recorded order contradicts itself; the message says how, and what may be the cause."""


def clean_batches(lists: I32, places: I64, list_count: int, least_rows: int) -> I64:
    """Return the number of each event's batch, ascending from 0.

    Parameters
    ----------
    lists
        (n, k) lists that each event is in (entity shards, partitions); -1 for none.
    places
        (n, k) its place in each of them: ascending in the order to keep, not necessarily without gaps.
    list_count
        How many lists there are.
    least_rows
        Events that a batch has at least; the last may have fewer.

    Raises
    ------
    OrderError
        If two events have the same place in a list.
    """
    n, columns = lists.shape
    flat_list, flat_place = lists.ravel(), places.ravel()
    present = np.flatnonzero(flat_list >= 0)
    order = present[np.lexsort((flat_place[present], flat_list[present]))]
    sorted_list, sorted_place = flat_list[order], flat_place[order]
    is_same = (sorted_list[1:] == sorted_list[:-1]) & (sorted_place[1:] == sorted_place[:-1])
    if is_same.any():
        at = int(np.flatnonzero(is_same)[0])
        raise OrderError(
            f"two events have place {int(sorted_place[at])} in list {int(sorted_list[at])}: was the stream scored with "
            "another number of shards, or by two jobs at once? Replay it in the log's order instead"
        )
    starts = np.searchsorted(sorted_list, np.arange(list_count + 1)).astype(np.int64)
    ranks = np.full(n * columns, -1, np.int64)
    ranks[order] = np.arange(len(order)) - starts[sorted_list]
    batch = np.full(n, -1, np.int64)
    if n:
        _close(lists, ranks.reshape(n, columns), order // columns, starts, least_rows, batch)
    return batch


@njit(cache=True, nogil=True)
def _close(lists, ranks, events, starts, least_rows, batch):  # type: ignore[no-untyped-def]
    count = len(starts) - 1
    done = np.zeros(count, np.int64)
    wanted = np.zeros(count, np.int64)
    number = 0
    rows = 0
    for first in range(count):
        while done[first] < starts[first + 1] - starts[first]:
            # The next event of any list, and all that precede it or one of those that it brings along.
            wanted[first] = done[first] + 1
            is_open = True
            while is_open:
                is_open = False
                for at in range(count):
                    while done[at] < wanted[at]:
                        is_open = True
                        event = events[starts[at] + done[at]]
                        done[at] += 1
                        if batch[event] < 0:
                            batch[event] = number
                            rows += 1
                        for k in range(lists.shape[1]):
                            other = lists[event, k]
                            if other >= 0 and ranks[event, k] + 1 > wanted[other]:
                                wanted[other] = ranks[event, k] + 1
            if rows >= least_rows:
                number += 1
                rows = 0
