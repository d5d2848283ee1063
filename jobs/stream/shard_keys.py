"""Flink keys for shards, so that shards spread evenly over the slots.

Flink sends a key to one of its key groups by a hash, and gives each slot a range of groups: the numbers 0 and 1 may
both fall into the first half. So each shard gets a number whose hash falls into the middle of the shard's own range.
"""

from __future__ import annotations

from typing import Any

MAX_PARALLELISM = 128
"""Key groups of the job; fixed for the state's life. Bounds shards and parallelism."""


def shard_keys(jvm: Any, shards: int) -> tuple[int, ...]:
    """Return a key per shard.

    Parameters
    ----------
    jvm
        py4j view of a JVM with Flink on its class path.
    shards
        1 to MAX_PARALLELISM.
    """
    assign = jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup
    wanted = {(2 * shard + 1) * MAX_PARALLELISM // (2 * shards): shard for shard in range(shards)}
    found: dict[int, int] = {}
    candidate = 0
    while len(found) < shards:
        row = jvm.org.apache.flink.types.Row(1)
        row.setField(0, candidate)
        group = assign(row, MAX_PARALLELISM)
        if group in wanted:
            found.setdefault(wanted[group], candidate)
        candidate += 1
    return tuple(found[shard] for shard in range(shards))
