"""Who keeps the newest revision of each alert sees the truth, in whatever order and however often they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobs.stream.alert_reader import AlertFilter, newest_of

DELIVERIES = st.lists(st.tuples(st.sampled_from("ABCD"), st.integers(0, 4)), max_size=30)


def oracle(deliveries: list[tuple[str, int]]) -> dict[str, int]:
    return {name: max(revision for other, revision in deliveries if other == name) for name, _ in deliveries}


@given(DELIVERIES)
def test_the_newest_of_what_came_is_the_highest_revision_of_each(deliveries: list[tuple[str, int]]) -> None:
    newest = newest_of({"alert_id": name, "revision": revision} for name, revision in deliveries)
    assert {alert["alert_id"]: alert["revision"] for alert in newest} == oracle(deliveries)
    assert [alert["alert_id"] for alert in newest] == list(dict.fromkeys(name for name, _ in deliveries))


@given(DELIVERIES)
def test_who_follows_ends_with_the_highest_revision_and_sees_each_once(deliveries: list[tuple[str, int]]) -> None:
    seen = AlertFilter()
    shown: dict[str, list[int]] = {}
    for name, revision in deliveries:
        if seen.is_new(name, revision):
            shown.setdefault(name, []).append(revision)
    assert {name: revisions[-1] for name, revisions in shown.items()} == oracle(deliveries)
    assert all(revisions == sorted(set(revisions)) for revisions in shown.values())
