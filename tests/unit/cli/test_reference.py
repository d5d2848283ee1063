"""The document of the command line."""

from __future__ import annotations

from pathlib import Path

from deploy.cli.reference import reference

DOCUMENT = Path(__file__).parents[3] / "docs" / "cli.md"


def test_the_document_says_what_the_help_says() -> None:
    # Words, since where lines break is up to the installed click
    assert DOCUMENT.read_text().split() == reference().split(), "run 'make docs'"
