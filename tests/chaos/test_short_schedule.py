"""A short schedule of faults over one job; the ledgers show no trace of it. `make chaos` plays the long one.

Invariant: whatever fails, a read_committed reader of `decisions` who reads throughout gets every good record's decision
once, in the order of its account, equal field by field (but `processing` and `touch_sequences`) to that of an
undisturbed plain loop; `dead-letters` and `duplicates` have each of the other records once; and `alerts` has each alert
of that loop at least once, with the same id and score, and no other.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.local.stack import LocalStack
from tests.chaos.faults.matrix import FAULTS
from tests.chaos.faults.world import World
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import make_schedule
from tests.chaos.story import Story
from tests.chaos.stream import chaos_stream, merged
from tests.chaos.verdict import check, collect
from tests.scoring_job import ScoringJob

# Five faults, each up to a restart of everything: 15 s on an idle machine, and a busy one is some times slower.
pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.timeout(900)]

SEED = 23
TRANSACTIONS, POISON = 4_000, 200
KINDS = ("taskmanager-kill", "broker-kill", "redis-kill", "taskmanager-pause", "network-cut")
"""Of the matrix: those that need neither root nor a compiler, and that differ most in what they break."""


def test_the_ledgers_show_no_trace_of_a_short_schedule_of_faults(
    stack: LocalStack, proxy: Proxy, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Scope: any process may die or stand still, and the network fail; disks, checkpoints and clocks do not."""
    partitions = chaos_stream(TRANSACTIONS, POISON, SEED)
    kinds = KINDS
    world = World(stack)
    settings = {}
    if "WEIR_TEST_STACK" in os.environ:  # no proxy stands before a stack of somebody else's
        kinds = tuple(kind for kind in KINDS if FAULTS[kind].needs != "proxy")
    else:
        world.proxy = proxy.start(stack.detour_target)
        settings["bootstrap_servers"] = f"127.0.0.1:{proxy.port}"
    schedule = make_schedule(SEED, len(merged(partitions)), dict.fromkeys(kinds, 1))
    with ScoringJob(stack, request.node.name, len(partitions), **settings) as job:
        story = Story(job, world, partitions, tmp_path)
        try:
            result = story.run(schedule)
            collected = collect(job, story.reader, partitions)
        finally:
            story.stop()
    check(partitions, job.core_settings, collected, result)
    assert not result.hangs, "\n".join(result.hangs)
    assert not result.anomalies, "\n".join(result.description)
    assert len(result.outcomes) == len(schedule)
    assert result.counts["alerts expected"], "the stream raises no alert, so none can be lost"
    restarts = {outcome.kind: outcome.restarts for outcome in result.outcomes}
    assert restarts["taskmanager-kill"], "the kill did not hit the job: it was never restored"
