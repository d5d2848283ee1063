"""Recognise transaction ids that were accepted before, within a stated horizon."""

from __future__ import annotations

import numpy as np
from numba import njit

from models.features.kernels.prefetch import request
from models.state_map import StateMap
from schemas.columns import U64, Bool, StringColumn
from schemas.hashing import hash_strings

IDS_PER_PAGE = 2048
"""32 KiB: a batch rewrites the page it ends in, so pages are small; they are kept one by one, so not tiny."""

_SECOND_SEED = 0x5EED
"""Ids are told apart by 128 bits: with 10^9 remembered, one false duplicate in 10^29 transactions."""

_AHEAD = 8
"""Ids between the one that is looked up and the one whose slots are asked for: memory takes that long."""

_COUNT = -1  # key of the number of ids ever accepted


class DuplicateFilter:
    """Remembers the ids of one home shard's accepted transactions.

    At least the last `horizon` accepted ids are recognised, and at most the last `2 * horizon`: ids are kept in two
    generations, and the older one is dropped when the younger is full. Memory: 48 bytes per id and generation.

    Parameters
    ----------
    horizon
        Accepted ids per generation.
    state
        Where the ids are kept; what it holds is restored.
    """

    def __init__(self, horizon: int, state: StateMap) -> None:
        self._horizon = horizon
        self._state = state
        self._young = _Generation(horizon)
        self._old = _Generation(horizon)
        self._tail = np.zeros((0, 2), np.uint64)  # accepted ids of the page not full yet
        self._count = 0
        self._restore()

    def accept(self, ids: StringColumn) -> Bool:
        """Return which ids are duplicates, of earlier ones or of one in the same batch; remember the others.

        Parameters
        ----------
        ids
            (n,) transaction ids.
        """
        hashes = np.stack([hash_strings(ids), hash_strings(ids, _SECOND_SEED)], axis=1)
        is_duplicate = np.zeros(len(hashes), np.bool_)
        start = 0
        while start < len(hashes):
            done = _accept(
                hashes, start, is_duplicate, self._young.ids, self._young.size, self._young.table,
                self._old.ids, self._old.table, self._horizon,
            )  # fmt: skip
            if done < len(hashes):
                self._young, self._old = self._old, self._young
                self._young.clear()
            start = done
        self._save(hashes[~is_duplicate])
        return is_duplicate

    def _save(self, accepted: U64) -> None:
        if len(accepted) == 0:
            return
        first_page = (self._count - len(self._tail)) // IDS_PER_PAGE
        oldest_before = self._oldest_page()
        ids = np.concatenate([self._tail, accepted])
        self._count += len(accepted)
        for i, start in enumerate(range(0, len(ids), IDS_PER_PAGE)):
            self._state.put(first_page + i, ids[start : start + IDS_PER_PAGE].tobytes())
        self._tail = ids[len(ids) - self._count % IDS_PER_PAGE :].copy()
        self._state.put(_COUNT, self._count.to_bytes(8, "little"))
        for page in range(oldest_before, self._oldest_page()):
            self._state.remove(page)

    def _oldest_page(self) -> int:
        """First page that holds an id of the older generation."""
        return max(0, (self._count - 1) // self._horizon - 1) * self._horizon // IDS_PER_PAGE

    def _restore(self) -> None:
        stored = self._state.get(_COUNT)
        if stored is None:
            return
        self._count = int.from_bytes(stored, "little")
        generation = (self._count - 1) // self._horizon
        first = max(0, generation - 1) * self._horizon
        page = first // IDS_PER_PAGE
        blobs = [self._state.get(p) or b"" for p in range(page, -(-self._count // IDS_PER_PAGE))]
        kept = np.frombuffer(b"".join(blobs), np.uint64).reshape(-1, 2)
        # The page not full yet may begin before the older generation does, where pages are longer than generations.
        self._tail = kept[len(kept) - self._count % IDS_PER_PAGE :].copy()
        ids = kept[first - page * IDS_PER_PAGE :]
        split = generation * self._horizon - first
        self._old.fill(ids[:split])
        self._young.fill(ids[split:])


class _Generation:
    """Up to `horizon` ids and a hash table of their positions, half full at most."""

    def __init__(self, horizon: int) -> None:
        self.ids = np.zeros((horizon, 2), np.uint64)
        self.size = np.zeros(1, np.int64)
        self.table = np.full(1 << max(4, (2 * horizon - 1).bit_length()), -1, np.int32)

    def clear(self) -> None:
        self.size[0] = 0
        self.table.fill(-1)

    def fill(self, ids: U64) -> None:
        ignored = np.zeros(len(ids), np.bool_)
        nothing = np.full(16, -1, np.int32)
        _accept(
            np.ascontiguousarray(ids), 0, ignored, self.ids, self.size, self.table, self.ids, nothing, len(self.ids)
        )


@njit(cache=True, nogil=True)
def _slot_of(first, second, ids, table):  # type: ignore[no-untyped-def]
    """Return the slot that holds the id, or the free slot where it would go."""
    mask = len(table) - 1
    slot = np.int64(first & np.uint64(mask))
    while table[slot] >= 0:
        at = table[slot]
        if ids[at, 0] == first and ids[at, 1] == second:
            break
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def _accept(hashes, start, is_duplicate, ids, size, table, old_ids, old_table, horizon):  # type: ignore[no-untyped-def]
    """Accept ids from `start` until the young generation must give way; return where it stopped."""
    for i in range(start, len(hashes)):
        ahead = hashes[min(i + _AHEAD, len(hashes) - 1), 0]
        request(table, np.int64(ahead & np.uint64(len(table) - 1)))
        request(old_table, np.int64(ahead & np.uint64(len(old_table) - 1)))
        first, second = hashes[i, 0], hashes[i, 1]
        slot = _slot_of(first, second, ids, table)
        if table[slot] >= 0 or old_table[_slot_of(first, second, old_ids, old_table)] >= 0:
            is_duplicate[i] = True
            continue
        if size[0] == horizon:
            return i
        ids[size[0], 0] = first
        ids[size[0], 1] = second
        table[slot] = size[0]
        size[0] += 1
    return len(hashes)
