"""Evidence in Flink, in process mode: requests in, endings out; endings in, revisions out.

What `AsyncDataStream` of PyFlink does not do, and what stands here instead: its timeout is a thread for each record and
fails the job, so it is off and every call is bounded by `Gatherer`; its retries share their waits, so they are ours
too; it keeps nothing of what is on its way in a checkpoint but waits for it, so the budget bounds a checkpoint; a
result leaves only with all others of its bundle, so each service has an operator of its own.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Mapping
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.functions import AsyncFunction
from pyflink.datastream.state import ValueStateDescriptor

import jobs.stream.process_mode  # noqa: F401 - before anything that imports numba
from jobs.evidence_settings import ServiceAddress
from jobs.stream.worker_process import serve_taskmanager
from models.evidence.gatherer import REFUSED, Gatherer, GatherPolicy, ended
from models.evidence.revisions import AlertRevisions
from models.scoring.evidence_rule import EvidenceWeight
from schemas.errors import SerializationError
from schemas.records import decode_record, encode_alert, encode_record

SERVICE_HEADER = "weir.service"
"""Of a request: the service to ask."""
ALERT_HEADER = "weir.alert"
"""Of an ending: the revised alert."""


def wall_ms() -> int:
    """Read the wall clock, in milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


class AskService(AsyncFunction):
    """Asks one service about each request; without an address every request is refused.

    State: none. What is on its way when the job dies is asked again, under the same request id.
    """

    def __init__(self, name: str, address: ServiceAddress | None, policy: GatherPolicy) -> None:
        self._name = name
        self._address = address
        self._policy = policy
        self._gatherer: Gatherer | None = None

    def open(self, runtime_context: RuntimeContext) -> None:
        """Make the counters; the client belongs to the event loop, and is made with the first request."""
        serve_taskmanager()
        metrics = runtime_context.get_metrics_group()
        self._endings = {
            status: metrics.counter(f"weir_evidence_{self._name}_{status}_total")
            for status in ("answered", "timed_out", "refused", "failed", "unreadable")
        }

    async def async_invoke(self, value: Row) -> list[Row]:
        """Return how the request ended, as a row of `row_types.evidence_ending`; never raises."""
        key, data, partition, offset = value[0], value[1], value[2], value[3]
        try:
            request = decode_record(data or b"", name="evidence_request")
            ending = await self._ended(request)
            encoded = encode_record("evidence", ending)
        except SerializationError as error:
            self._endings["unreadable"].inc()
            return [Row("", key, data, b"", partition, offset, str(error)[:300])]
        self._endings[ending["status"]].inc()
        return [Row(request["alert_id"], key, data, encoded, partition, offset, "")]

    async def _ended(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if self._address is None:
            reason = f"no address is set for a service {request['service']!r}"
            return ended(request, REFUSED, wall_ms(), reason)
        if self._gatherer is None:
            from jobs.stream.evidence_http import HttpService

            address = self._address
            token = address.token.get_secret_value() if address.token else None
            service = HttpService(address.url, token, address.model, self._policy.concurrency)
            self._gatherer = Gatherer(service, self._policy, wall_ms, random.random)
        # However wrong everything above it is, a bundle never waits longer.
        limit = self._policy.budget_seconds + 1.0
        try:
            return await asyncio.wait_for(self._gatherer.gather(request), limit)
        except TimeoutError:
            return ended(request, "timed_out", wall_ms(), f"no answer within {limit:g} s")


class ReviseAlert(KeyedProcessFunction):
    """Makes the revision that an ending asks for; keyed by alert id.

    State: the endings of an alert, from the first one on for `memory_ms`. What ends again within that time was
    delivered twice, and is dropped.
    """

    def __init__(self, weights: Mapping[str, EvidenceWeight], memory_ms: int, requests_topic: str) -> None:
        self._weights = dict(weights)
        self._memory_ms = memory_ms
        self._requests_topic = requests_topic

    def open(self, runtime_context: RuntimeContext) -> None:
        """Attach the state."""
        serve_taskmanager()
        self._ended = runtime_context.get_state(ValueStateDescriptor("ended", Types.PICKLED_BYTE_ARRAY()))
        metrics = runtime_context.get_metrics_group()
        self._revisions = metrics.counter("weir_revisions_total")
        self._repeated = metrics.counter("weir_evidence_duplicates_total")

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Yield a row of `row_types.evidence_result`, unless the request has ended before."""
        _, key, data, ending, partition, offset, why = (value[i] for i in range(7))
        if not ending:
            fields = (self._requests_topic, str(partition), str(offset), "decode", "UNDECODABLE", why)
            yield Row(False, key, data, b"", *fields)
            return
        request = decode_record(data, name="evidence_request")
        try:
            alert = decode_record(request["alert"], name="alert")
        except SerializationError as error:
            fields = (self._requests_topic, str(partition), str(offset), "decode", "UNDECODABLE", str(error)[:300])
            yield Row(False, key, data, b"", *fields)
            return
        known = self._ended.value()
        revisions = AlertRevisions(known)
        found = revisions.end(request, alert, decode_record(ending, name="evidence"), self._weights)
        if found is None:
            self._repeated.inc()
            return
        if known is None:
            ctx.timer_service().register_processing_time_timer(wall_ms() + self._memory_ms)
        self._ended.update(revisions.state)
        self._revisions.inc()
        evidence, revised = found
        yield Row(True, key, encode_record("evidence", evidence), encode_alert(revised), *[""] * 6)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """Forget the alert."""
        self._ended.clear()
        yield from ()
