"""The drafted report says nothing that its findings do not hold."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from models.services.reading.fields import FieldCheck
from models.services.reading.report import draft_report

NUMBER = re.compile(r"\d+(?:\.\d+)?")

probability = st.integers(0, 10_000).map(lambda n: n / 10_000)
kinds = st.lists(
    st.fixed_dictionaries({"kind": st.sampled_from(["splice", "copy_move", "invoice"]), "probability": probability}),
    min_size=1,
    max_size=3,
)
regions = st.lists(
    st.fixed_dictionaries(
        {"box": st.tuples(*[st.integers(0, 999)] * 4).map(list), "log_odds": st.integers(0, 20).map(float)}
    ),
    max_size=3,
)
checks = st.lists(
    st.builds(
        FieldCheck,
        field=st.sampled_from(["amount", "date", "goods"]),
        expected=st.sampled_from(["EUR 12.50", "2025-04-13", "olive oil"]),
        agrees=st.sampled_from([True, False, None]),
        read=st.lists(st.sampled_from(["13.50", "2025-04-14"]), min_size=1, max_size=2).map(tuple),
        box=st.none(),
    ),
    max_size=3,
)


def numbers(value: object) -> list[float]:
    return [float(found) for found in NUMBER.findall(json.dumps(value))]


@given(probability, probability, kinds, kinds, regions, checks)
def test_every_number_of_a_statement_is_in_the_value_it_rests_on(
    p, threshold, forgery, document, marked, fields
) -> None:
    report = draft_report(
        forged_probability=p,
        threshold=threshold,
        forgery_kinds=forgery,
        document_kinds=document,
        regions=marked,
        fields=fields,
    )
    for finding in report["findings"]:
        known = numbers(finding["value"])
        for said in numbers(finding["statement"]):
            assert any(abs(said - value) <= 0.0051 for value in known), finding


@given(checks)
def test_fields_that_disagree_are_those_and_no_others(fields) -> None:
    report = draft_report(fields=fields)
    assert report["disagreeing_fields"] == [check.field for check in fields if check.agrees is False]
    assert len(report["text"].splitlines()) == len(report["findings"]) == len(fields)


def test_a_genuine_document_gets_no_kind_of_forgery_and_no_regions() -> None:
    report = draft_report(
        forged_probability=0.01,
        threshold=0.5,
        forgery_kinds=[{"kind": "splice", "probability": 0.9}],
        regions=[{"box": [1, 2, 3, 4], "log_odds": 1.0}],
    )
    assert {finding["source"] for finding in report["findings"]} == {"forged_probability"}
    assert "genuine" in report["text"]


def test_without_ocr_the_report_says_so() -> None:
    report = draft_report(match_probability=0.5, was_read=False)
    assert "not read" in report["text"]
