"""The page of the services holds the settings as they are."""

from __future__ import annotations

from pathlib import Path

from models.services.settings_page import with_current_table

PAGE = Path(__file__).parents[3] / "docs" / "services.md"


def test_the_page_holds_the_current_table() -> None:
    assert with_current_table(PAGE.read_text()) == PAGE.read_text(), "run 'make docs'"
