"""What docs/rules.md and docs/decisions.md promise holds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from models.scoring.decider import default_rule_set, rule_columns
from models.scoring.reasons import _CODES, OTHER_CODE
from models.scoring.rule_columns import _FIELDS
from models.scoring.rule_syntax import parse_expression
from models.scoring.rules import Rule

DOCS = Path(__file__).parents[3] / "docs"
RULES = (DOCS / "rules.md").read_text()
DECISIONS = (DOCS / "decisions.md").read_text()

EXAMPLES = [
    *re.findall(r"```sql\n(.*?)\n```", RULES, re.S),
    *re.findall(r"^\| [^|]+ \| `(.+)` \|$", RULES.split("More examples:")[1], re.M),
]


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_is_accepted(text: str) -> None:
    parse_expression(text, {name: column.dtype for name, column in rule_columns().by_name.items()})


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 6


def test_the_example_record_is_a_rule() -> None:
    record = json.loads(re.findall(r"```json\n(.*?)\n```", RULES, re.S)[0])
    assert default_rule_set().with_rule(Rule.from_record(record)).all_rules["night-wire"].version == 1


@pytest.mark.parametrize("name", _FIELDS)
def test_every_column_of_a_transaction_is_listed(name: str) -> None:
    assert f"`{name}`" in RULES


def test_the_shipped_typologies_are_listed() -> None:
    listed = set(re.findall(r"`(\w+)`", RULES.split("## Shipped typologies")[1]))
    assert listed == {rule.typology for rule in default_rule_set().rules}


@pytest.mark.parametrize("code", [*(code for code, _ in _CODES), OTHER_CODE])
def test_every_reason_code_is_listed(code: str) -> None:
    assert f"`{code}`" in DECISIONS
