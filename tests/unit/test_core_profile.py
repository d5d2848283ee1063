"""The profile of the core names functions that exist."""

from __future__ import annotations

from tests.bench.core_profile import STAGES


def test_every_stage_is_found_where_it_is_replaced() -> None:
    assert not [(name, attribute) for name, owner, attribute in STAGES if attribute not in vars(owner)]
