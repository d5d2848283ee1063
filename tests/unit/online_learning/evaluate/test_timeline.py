"""No label before its time, none forgotten, each after its transaction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_learning.evaluate.timeline import NEVER, LabelsKnown, ScoreBlock, TimelineError, timeline

streams = st.lists(st.tuples(st.integers(0, 30), st.one_of(st.none(), st.integers(0, 200))), max_size=60)


@settings(deadline=None)  # a busy machine is no failure
@given(streams, st.integers(1, 9), st.integers(1, 120))
def test_labels_come_in_their_time_whatever_the_blocks(
    stream: list[tuple[int, int | None]], block_rows: int, block_ms: int
) -> None:
    event = np.cumsum([gap for gap, _ in stream], dtype=np.int64)
    label = np.array(
        [NEVER if d is None else t + d for t, (_, d) in zip(event.tolist(), stream, strict=True)], np.int64
    )
    scored, told = 0, []
    for step in timeline(event, label, block_rows, block_ms):
        if isinstance(step, ScoreBlock):
            assert step.start == scored < step.stop <= step.start + block_rows
            assert event[step.stop - 1] < event[step.start] + block_ms
            scored = step.stop
            # What a naive reader of the two columns would know by now.
            known = {row for row in range(step.start) if label[row] <= event[step.start]}
            assert set(told) == known
        else:
            assert isinstance(step, LabelsKnown)
            assert len(step.rows)
            assert step.rows.max() < scored
            told += step.rows.tolist()
    assert scored == len(stream)
    assert len(set(told)) == len(told)
    assert [label[row] for row in told] == sorted(label[row] for row in told)


def test_times_that_no_stream_can_have_are_refused() -> None:
    for event, label, match in (
        ([5, 4], [9, 9], "fall at row 1"),
        ([5, 6], [5, 5], "row 1"),
        ([5], [5, 6], "expected 1"),
    ):
        with pytest.raises(TimelineError, match=match):
            list(timeline(np.array(event), np.array(label)))
    with pytest.raises(TimelineError, match="at least one row"):
        list(timeline(np.array([1]), np.array([1]), block_rows=0))
