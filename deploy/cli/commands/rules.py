"""``weir rules``: the analysts' rules in force."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.context import CommandContext, fail, pass_context, say

if TYPE_CHECKING:
    from jobs.settings import Settings
    from models.scoring.rules import Rule

KEY_PREFIX = "rule/"


@click.group()
def command() -> None:
    """List, check, add and remove rules, without a restart of the scoring job.

    A rule is a JSON object: rule_id, description, expression (boolean SQL over features and fields), typology, weight,
    and if need be review_threshold, decline_threshold, is_enabled, mode (live, or shadow: try it out without deciding).
    docs/rules.md lists the columns.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@pass_context
def list_rules(context: CommandContext, as_json: bool) -> None:
    """Show the rules in force: the initial ones, as changed on the control topic."""
    from rich.console import Console
    from rich.table import Table

    from deploy.cli.kafka import plain_errors

    settings = context.settings()
    with plain_errors():
        initial, changes = initial_rules(settings), read_changes(settings)
    rules = in_force(initial, changes)
    if as_json:
        for rule in rules.values():
            click.echo(json.dumps(asdict(rule), ensure_ascii=False))
        return
    table = Table(box=None, header_style="bold")
    for title in ("rule", "version", "typology", "weight", "from", "expression"):
        table.add_column(title, overflow="fold")
    for rule_id, rule in rules.items():
        source = "control" if changes.get(rule_id) is not None else "initial"
        state = _state_of(rule)
        table.add_row(rule_id + state, str(rule.version), rule.typology, f"{rule.weight:.2f}", source, rule.expression)
    Console().print(table)
    removed = sorted(rule_id for rule_id in initial if rule_id not in rules)
    if removed:
        say(f"removed: {', '.join(removed)}")


@command.command("check")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@pass_context
def check(context: CommandContext, file: Path) -> None:
    """Check the rules of FILE (one JSON object, or an array of them) as the scoring job would."""
    del context  # needs no Kafka
    for rule in read_rules(file, {}):
        click.echo(f"{rule.rule_id}{_state_of(rule)}: good, counts {rule.weight:.2f} towards {rule.typology}")


@command.command("add")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@pass_context
def add(context: CommandContext, file: Path) -> None:
    """Check the rules of FILE and put them in force, new or in the place of those of the same ids.

    A rule without a version gets the next one.
    """
    from deploy.cli.kafka import Sender, plain_errors
    from schemas.records import encode_record

    settings = context.settings()
    with plain_errors():
        known = in_force(initial_rules(settings), read_changes(settings))
        rules = read_rules(file, known)
        for rule in rules:
            old = known.get(rule.rule_id)
            if old is not None and rule.version <= old.version:
                fail(f"rule {rule.rule_id}: version {old.version} is in force; leave the version out, or raise it")
        sender = Sender(settings, settings.topics.control)
        for rule in rules:
            sender.send(f"{KEY_PREFIX}{rule.rule_id}".encode(), encode_record("rule", asdict(rule)))
        sender.flush()
        if sender.refused:
            fail(f"the broker refused the rules: {sender.refused[0]}")
    for rule in rules:
        what = "in force" if rule.mode == "live" else "tried out, deciding nothing,"
        click.echo(f"{rule.rule_id} version {rule.version} is {what} from the next batch on")


@command.command("remove")
@click.argument("rule_id")
@pass_context
def remove(context: CommandContext, rule_id: str) -> None:
    """Take the rule RULE_ID out of force."""
    from deploy.cli.kafka import Sender, plain_errors

    settings = context.settings()
    with plain_errors():
        known = in_force(initial_rules(settings), read_changes(settings))
        if rule_id not in known:
            fail(f"no rule {rule_id} is in force; 'weir rules list' shows them")
        sender = Sender(settings, settings.topics.control)
        # Empty, not null: compaction forgets a null in time, and an initial rule would come back with it
        sender.send(f"{KEY_PREFIX}{rule_id}".encode(), b"")
        sender.flush()
        if sender.refused:
            fail(f"the broker refused it: {sender.refused[0]}")
    click.echo(f"{rule_id} is out of force from the next batch on")


def _state_of(rule: Rule) -> str:
    if not rule.is_enabled:
        return " (off)"
    return "" if rule.mode == "live" else f" ({rule.mode})"


def initial_rules(settings: Settings) -> dict[str, Rule]:
    """Return the rules that the job starts with, by id."""
    from jobs.core_settings import starting_rules

    return {rule.rule_id: rule for rule in starting_rules(settings)}


def read_changes(settings: Settings) -> dict[str, Rule | None]:
    """Return what the control topic says of each rule, None where it was removed."""
    from deploy.cli.kafka import client_properties
    from jobs.stream.topic_reader import TopicReader

    records: list[tuple[bytes | None, bytes | None]] = []
    with TopicReader(client_properties(settings), [settings.topics.control]) as reader:
        for batch in reader.until_end():
            records += [(message.key(), message.value()) for message in batch]
    return changes_of(records)


def changes_of(records: Iterable[tuple[bytes | None, bytes | None]]) -> dict[str, Rule | None]:
    """Fold the control topic's records, in their order; what is no readable rule is passed over, as the job does."""
    from models.scoring.errors import RuleError
    from models.scoring.rules import Rule
    from schemas.errors import SerializationError
    from schemas.records import decode_record

    changes: dict[str, Rule | None] = {}
    for key, value in records:
        name = (key or b"").decode("utf-8", "replace")
        if not name.startswith(KEY_PREFIX):
            continue
        rule_id = name.removeprefix(KEY_PREFIX)
        if not value:
            changes[rule_id] = None
            continue
        try:
            changes[rule_id] = Rule.from_record(decode_record(value, name="rule"))
        except (SerializationError, RuleError) as error:
            say(f"rule {rule_id} on the control topic cannot be read and has no effect: {error}")
    return changes


def in_force(initial: Mapping[str, Rule], changes: Mapping[str, Rule | None]) -> dict[str, Rule]:
    """Apply the changes to the initial rules."""
    merged: dict[str, Rule | None] = {**initial, **changes}
    return {rule_id: rule for rule_id, rule in sorted(merged.items()) if rule is not None}


def read_rules(file: Path, known: Mapping[str, Rule]) -> list[Rule]:
    """Read and compile the rules of a file; ends the command with the reason if one is wrong."""
    from models.features.catalogue import FEATURES
    from models.scoring.errors import RuleError
    from models.scoring.rule_columns import RuleColumns
    from models.scoring.rules import Rule, RuleSet

    try:
        content: Any = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        fail(f"{file} is not JSON: {error}")
    records = content if isinstance(content, list) else [content]
    rules = []
    try:
        for record in records:
            if not isinstance(record, dict):
                fail(f"{file}: expected a rule as a JSON object, found {json.dumps(record)[:60]}")
            old = known.get(str(record.get("rule_id")))
            rules.append(Rule.from_record({"version": old.version + 1 if old else 1, **record}))
        columns = RuleColumns(tuple(f.name for f in FEATURES), tuple(f.reach_ms for f in FEATURES))
        RuleSet.compile(rules, columns)
    except RuleError as error:
        fail(str(error))
    return rules
