"""Revisions of an alert: one for each request, cumulative, final once nothing is missing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evidence.gatherer import Answer, ended
from models.evidence.revisions import AlertRevisions
from models.scoring.evidence_rule import EvidenceWeight, revised_score
from schemas.records import decode_record, encode_alert, encode_record
from tests.evidence import an_alert, requests_for

PIECES = [
    ("vision", "file:///e/a.png"),
    ("vision", "file:///e/b.png"),
    ("multimodal", "file:///e/a.png"),
    ("text", "memo:"),
]
ALERT = an_alert(degraded=["reference", "multimodal", "text", "vision"], score=0.5)
REQUESTS = requests_for(ALERT, PIECES)
STATUSES = ("answered", "timed_out", "refused", "failed")


def an_ending(request: dict[str, Any], status: str = "answered", score: float = 0.9) -> dict[str, Any]:
    answer = Answer(score, {"kind": "splice"}, "1") if status == "answered" else None
    return ended(request, status, 7, "" if answer else "why", answer, 1)


def revised_by(endings: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[dict[str, Any]]:
    """Make the revisions; the state is stored and read back each time, as in the job."""
    state, revisions = None, []
    for request, ending in endings:
        known = AlertRevisions(state)
        found = known.end(request, ALERT, ending, {})
        state = known.state
        if found is not None:
            revisions.append(decode_record(encode_alert(found[1]), name="alert"))
            assert decode_record(encode_record("evidence", found[0]))["revision"] == len(revisions)
    return revisions


def test_an_answer_raises_score_and_outcome_and_says_why() -> None:
    (revision,) = revised_by([(REQUESTS[0], an_ending(REQUESTS[0], score=0.97))])
    assert (revision["revision"], revision["supersedes"], revision["is_final"]) == (1, 0, False)
    assert revision["score"] == pytest.approx(revised_score(0.5, [("vision", 0.97)]), abs=1e-6)
    assert (revision["outcome_before"], revision["outcome"]) == ("review", "decline")
    assert revision["change"] == (
        "vision gives the document a.png 0.97: the score rises from 0.500 to 0.961, the outcome goes from review to "
        "decline."
    )
    assert revision["reasons"][0]["code"] == "DOCUMENT_SUSPICIOUS"
    assert revision["degraded"] == ["reference", "multimodal", "text", "vision"]  # the second document is missing


def test_what_comes_twice_changes_nothing() -> None:
    pair = (REQUESTS[0], an_ending(REQUESTS[0]))
    assert len(revised_by([pair, pair, (REQUESTS[0], an_ending(REQUESTS[0], "timed_out"))])) == 1


def test_evidence_eases_an_alert_but_does_not_close_it() -> None:
    basis = requests_for(an_alert(score=0.8, outcome="decline"), PIECES[:1])
    alert = an_alert(score=0.8, outcome="decline")
    found = AlertRevisions().end(basis[0], alert, an_ending(basis[0], score=0.0), {})
    assert found is not None
    assert found[1]["score"] == pytest.approx(revised_score(0.8, [("vision", 0.0)]))
    assert found[1]["outcome"] == "review"
    strict = {**basis[0], "rules_outcome": "decline"}
    found = AlertRevisions().end(strict, alert, an_ending(strict, score=0.0), {})
    assert found is not None
    assert found[1]["outcome"] == "decline", "what the rules asked for stays"


def test_without_a_model_the_rules_alone_decide() -> None:
    request = {**REQUESTS[0], "review_threshold": None, "decline_threshold": None}
    found = AlertRevisions().end(request, ALERT, an_ending(request, score=1.0), {})
    assert found is not None
    assert found[1]["outcome"] == "review"


@given(
    st.permutations(range(len(REQUESTS))),
    st.lists(st.tuples(st.sampled_from(STATUSES), st.floats(0, 1, width=32)), min_size=4, max_size=4),
)
def test_every_request_has_its_revision_and_the_last_one_is_final(
    order: list[int], how: list[tuple[str, float]]
) -> None:
    endings = [(REQUESTS[i], an_ending(REQUESTS[i], *how[i])) for i in order]
    revisions = revised_by(endings)
    assert [revision["revision"] for revision in revisions] == [1, 2, 3, 4]
    assert [revision["is_final"] for revision in revisions] == [False] * 3 + [True]
    for number, revision in enumerate(revisions):
        assert [piece["request_id"] for piece in revision["evidence"]] == [
            r["request_id"] for r, _ in endings[: number + 1]
        ]
        before = revisions[number - 1] if number else ALERT
        assert (revision["score_before"], revision["outcome_before"]) == (before["score"], before["outcome"])
        assert 0 < len(revision["change"]) < 500
    last = revisions[-1]
    # The order does not matter to what it comes to.
    answers = [(REQUESTS[i]["service"], how[i][1]) for i in range(4) if how[i][0] == "answered"]
    assert last["score"] == pytest.approx(revised_score(0.5, answers), abs=1e-6)
    missing = {REQUESTS[i]["service"] for i in range(4) if how[i][0] != "answered"}
    assert last["degraded"] == ["reference", *sorted(missing)]


def test_weights_are_those_of_the_settings() -> None:
    found = AlertRevisions().end(REQUESTS[0], ALERT, an_ending(REQUESTS[0]), {"vision": EvidenceWeight(weight=0.0)})
    assert found is not None
    assert found[1]["score"] == 0.5
