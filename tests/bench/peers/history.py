"""One entity's transactions of one kind as bytes, as they lie in keyed state, and what windows over them hold.

Items stand in order of event time, and of arrival where times are equal. Bytes of fixed width, since that is what any
keyed state takes and gives fastest. Up to `SHORT` items are walked in plain Python, which is faster than NumPy there;
longer ones (merchants) are read by NumPy. Both give the same numbers.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
WINDOWS = (10 * MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY)
M10, H1, D1, D7, D30 = range(5)
LABEL_DELAY = 7 * DAY
RETENTION = 39 * DAY  # the longest window, the labels' delay, and two days of lateness
LIMIT = 16_384
SHORT = 64
NAN = math.nan

_ITEM = struct.Struct("<4q")  # event time in ms, amount in cents, other side, transaction
_SIZE = _ITEM.size
_WINDOWS = np.array(WINDOWS)
_MATURED = np.array([LABEL_DELAY, *(LABEL_DELAY + WINDOWS[w] for w in (D1, D7, D30))])


def number_of(text: str) -> int:
    """Return 64 bits that stand for an identifier, the same in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


@dataclass(slots=True)
class Summary:
    """What a history holds before a transaction; lists by window, amounts in cents."""

    counts: list[int]
    totals: list[int]
    distincts: list[int]
    largests: list[int]
    deviation: float  # sample standard deviation over the longest window read; NaN below two items
    since_last: float  # s; NaN without an item in 30 days
    since_first: float  # s, from the oldest of the longest window read
    pair_count: int
    pair_total: int
    since_pair: float  # s


NOTHING = Summary([0] * 5, [0] * 5, [0] * 5, [0] * 5, NAN, NAN, NAN, 0, 0, NAN)


def is_known(history: bytes, time_ms: int, transaction: int) -> bool:
    """Whether a transaction of this time is in the history already."""
    at = len(history) - _SIZE
    while at >= 0:
        time, _, _, known = _ITEM.unpack_from(history, at)
        if time < time_ms:
            return False
        if time == time_ms and known == transaction:
            return True
        at -= _SIZE
    return False


def added(history: bytes, time_ms: int, amount: int, other: int, transaction: int) -> bytes:
    """Return the history with one more item, and without those too old or too many."""
    item = _ITEM.pack(time_ms, amount, other, transaction)
    if not history:
        return item
    (newest,) = struct.unpack_from("<q", history, len(history) - _SIZE)
    if newest <= time_ms:
        history += item
        newest = time_ms
    else:  # late
        at = int(np.searchsorted(_table(history)[:, 0], time_ms, "right")) * _SIZE
        history = history[:at] + item + history[at:]
    (oldest,) = struct.unpack_from("<q", history)
    if oldest < newest - RETENTION:
        history = history[int(np.searchsorted(_table(history)[:, 0], newest - RETENTION)) * _SIZE :]
    return history[-LIMIT * _SIZE :]


def summarise(history: bytes, now: int, other: int, own: int, longest: int = D30) -> Summary:
    """Read the windows up to `longest` before `now`, for a touch of `other` by the transaction `own`."""
    if not history:
        return NOTHING
    if len(history) > SHORT * _SIZE:
        return _of_long(_table(history), now, other, own, longest)
    return _of_short(list(_ITEM.iter_unpack(history)), now, other, own, longest)


def matured_counts(history: bytes, now: int) -> list[int]:
    """Return how many items one day, 7 and 30 days hold that end when labels are in."""
    if not history or struct.unpack_from("<q", history)[0] >= now - LABEL_DELAY:
        return [0, 0, 0]
    near, *far = np.searchsorted(_table(history)[:, 0], now - _MATURED).tolist()
    return [near - start for start in far]


def _table(history: bytes) -> np.ndarray:
    return np.frombuffer(history, np.int64).reshape(-1, 4)


def _of_short(items: list[tuple[int, ...]], now: int, other: int, own: int, longest: int) -> Summary:
    at = len(items) - 1
    while at >= 0 and items[at][0] > now:
        at -= 1
    if at >= 0 and items[at][3] == own:  # a transfer to oneself has just been entered on the other side
        at -= 1
    newest = items[at][0] if at >= 0 else now - RETENTION
    count = total = squares = largest = pair_count = pair_total = 0
    first = pair_last = now
    others: set[int] = set()
    counts, totals, distincts, largests = [], [], [], []
    for window in WINDOWS[: longest + 1]:  # each goes on where the shorter one ended
        since = now - window
        while at >= 0 and items[at][0] >= since:
            first, amount, who, _ = items[at]
            count += 1
            total += amount
            squares += amount * amount
            if amount > largest:
                largest = amount
            others.add(who)
            if who == other:
                if not pair_count:
                    pair_last = first
                pair_count += 1
                pair_total += amount
            at -= 1
        counts.append(count)
        totals.append(total)
        distincts.append(len(others))
        largests.append(largest)
    return Summary(
        counts, totals, distincts, largests,
        math.sqrt((count * squares - total * total) / (count * (count - 1))) if count > 1 else NAN,
        (now - newest) / 1000 if newest >= now - WINDOWS[D30] else NAN,
        (now - first) / 1000 if count else NAN,
        pair_count, pair_total, (now - pair_last) / 1000 if pair_count else NAN,
    )  # fmt: skip


def _of_long(table: np.ndarray, now: int, other: int, own: int, longest: int) -> Summary:
    end = int(table[:, 0].searchsorted(now, "right"))
    if end and table[end - 1, 3] == own:
        end -= 1
    starts = table[:end, 0].searchsorted(now - _WINDOWS[: longest + 1])
    first = int(starts[-1])
    newest = int(table[end - 1, 0]) if end else now - RETENTION
    since_last = (now - newest) / 1000 if newest >= now - WINDOWS[D30] else NAN
    if first == end:
        return Summary([0] * 5, [0] * 5, [0] * 5, [0] * 5, NAN, since_last, NAN, 0, 0, NAN)
    amounts, others = table[first:end, 1], table[first:end, 2]
    until = np.concatenate(([0], np.cumsum(amounts)))
    # The first of a value in the reversed column is its last: it is in a window as soon as the window reaches it.
    from_end = np.sort(np.unique(others[::-1], return_index=True)[1])
    of_pair = np.flatnonzero(others == other)
    return Summary(
        (end - starts).tolist(),
        (until[-1] - until[starts - first]).tolist(),
        from_end.searchsorted(end - starts).tolist(),
        [int(amounts[start - first :].max(initial=0)) for start in starts],
        float(amounts.std(ddof=1)) if len(amounts) > 1 else NAN,
        since_last,
        (now - int(table[first, 0])) / 1000,
        len(of_pair),
        int(amounts[of_pair].sum()),
        (now - int(table[first + of_pair[-1], 0])) / 1000 if len(of_pair) else NAN,
    )
