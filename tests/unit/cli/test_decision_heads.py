"""Heads of decisions agree with the decoder of whole records, and damaged bytes do no harm."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.stream.decision_heads import read_heads
from schemas.decisions import OUTCOMES
from schemas.records import encode_record
from tests.unit.cli.outputs import a_decision

integers = st.integers(0, 2**60)


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(st.tuples(st.text(max_size=40), st.sampled_from(OUTCOMES), st.integers(0, 2**31 - 1), integers, integers))
)
def test_heads_are_what_was_encoded(rows: list[tuple[str, str, int, int, int]]) -> None:
    values: list[bytes | None] = [
        encode_record(
            "decision",
            a_decision(transaction_id=i, outcome=o, source_partition=p, source_offset=f, source_time_ms=t, score=0.5),
        )
        for i, o, p, f, t in rows
    ]
    heads = read_heads(values)
    assert heads.is_read.all()
    found = zip(
        heads.outcome.tolist(),
        heads.source_partition.tolist(),
        heads.source_offset.tolist(),
        heads.source_time_ms.tolist(),
        heads.score.tolist(),
        strict=True,
    )
    assert list(found) == [(OUTCOMES.index(o), p, f, t, 0.5) for _, o, p, f, t in rows]


WHOLE = encode_record("decision", a_decision())


@given(st.integers(0, 200), st.binary(max_size=30))
def test_cut_and_foreign_bytes_are_not_read(size: int, foreign: bytes) -> None:
    heads = read_heads([WHOLE[:size], WHOLE, foreign, None])
    assert heads.is_read[1]
    assert not heads.is_read[2]
    assert not heads.is_read[3]
    assert heads.outcome[1] == OUTCOMES.index("approve")
