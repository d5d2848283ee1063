"""The page on events names every code that a record can be refused with."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("source", ["blocks.py", "validate.py"])
def test_every_code_is_explained(source):
    text = (ROOT / "schemas" / source).read_text()
    codes = set(re.findall(r'"([A-Z]+(?:_[A-Z0-9]+)+|UNDECODABLE)"', text))
    page = (ROOT / "docs" / "events.md").read_text()
    assert codes
    assert {code for code in codes if f"| `{code}` |" not in page} == set()
