"""One recorded file, two runners: the plain loop and the job on a real Flink cluster give the same decisions."""

from __future__ import annotations

import pytest
import redis

from deploy.local.stack import LocalStack
from tests.recorded import a_decider, assert_same_ledger, ledger_of, plain_loop, record_stream
from tests.scoring_job import ScoringJob, settled

# The first job of a clean clone also compiles the kernels, which takes minutes on a busy machine.
pytestmark = [pytest.mark.flink, pytest.mark.integration, pytest.mark.timeout(600)]

EVENTS = 4_000


def test_the_job_and_the_plain_loop_give_the_same_decisions(stack: LocalStack, request: pytest.FixtureRequest) -> None:
    """Decisions depend on the records and their order alone.

    One partition with late, out-of-order, repeated and bad records, no labels. The job runs with two slots and two
    shards, and cuts the stream where the clock says; the loop cuts it anywhere. Every field of every decision is equal,
    but `processing`, which says when and by which run it was made. So are the dead letters and the duplicates.
    """
    recorded = record_stream(EVENTS, seed=11)
    good, repeated = recorded.rows("good"), recorded.rows("duplicate")
    poison = [(row, error) for row, error in enumerate(recorded.errors) if error is not None]
    client = redis.Redis.from_url(stack.redis_url)
    listed = sorted({recorded.keys[row] for row in good[::50]})
    client.sadd("weir:watchlist", *listed)
    try:
        with ScoringJob(stack, request.node.name) as job:
            job.send(recorded, per_second=4_000)
            job.flush()
            found = settled(job, len(good), len(poison), len(repeated))
            reference = job.reference()
            decider = a_decider()
            loops = [
                plain_loop(recorded, sizes, job.core_settings, decider, reference) for sizes in ((250,), (64, 999, 3))
            ]
            reference.close()
    finally:
        client.srem("weir:watchlist", *listed)
    assert loops[0].decisions == loops[1].decisions
    expected = ledger_of(loops[0].decisions)
    assert_same_ledger(found["decisions"].values, expected, found["decisions"].keys)
    outcomes = {d["outcome"] for d in expected.values()}
    assert outcomes > {"approve"}, "a stream in which nothing is suspicious shows little"
    assert not any(d["explanation"]["degraded"] for d in expected.values())

    def places(topic: str, field: str) -> list[tuple[int, str]]:
        headers = [dict(message.headers()) for message in found[topic].messages]
        return sorted((int(h["__connect.errors.offset"]), h[field].decode()) for h in headers)

    code = "__connect.errors.exception.class.name"
    assert places("dead-letters", code) == poison == loops[0].rejected
    assert places("duplicates", code) == [(row, "DUPLICATE") for row in repeated]
