"""From what the operator asked for to a replay that can start: every mistake is found here."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from deploy.cli.context import say
from jobs.settings import Settings, kafka_properties
from jobs.stream.replay.range import RangeError, moment, resolve
from jobs.stream.replay.spec import RECORDED, ReplaySpec
from models.features.catalogue import FEATURES, STORE

_RUN_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
DAY_MS = 86_400_000
MARGIN_MS = 600_000
"""In recorded order the log is read so far beyond the range: partitions that were so far apart in the live run, as
after an outage, are still reproduced."""
SPEED = re.compile(r"(\d+(?:\.\d+)?)x")


class PlanError(Exception):
    """A replay that cannot be as it was asked for; the message says what to change."""


def longest_window_ms() -> int:
    """How far back the windows of any feature reach."""
    return max(max(feature.reach_ms for feature in FEATURES), STORE.retention_ms)


def new_run_id(now_ms: int) -> str:
    """Return a name for a run that was given none."""
    return time.strftime("r%Y%m%d-%H%M%S", time.gmtime(now_ms / 1000))


def speed_of(text: str) -> float:
    """Return seconds of the stream in one second; 0 is as fast as it goes.

    >>> speed_of("max"), speed_of("10x")
    (0.0, 10.0)
    """
    if text == "max":
        return 0.0
    found = SPEED.fullmatch(text)
    if found is None or float(found[1]) == 0:
        raise PlanError(f"--speed {text}: expected max, or a factor such as 1x or 10x")
    return float(found[1])


def model_folder(settings: Settings, text: str | None) -> str:
    """Return the folder of a model named as NAME@VERSION or by its path; empty where none is named."""
    if text is None:
        return ""
    if (Path(text) / "card.json").exists():
        return str(Path(text).resolve())
    folders = [settings.models_dir, *sorted(settings.models_dir.resolve().parent.iterdir())]
    known = {}
    for folder in folders:
        card = folder / "card.json"
        if card.exists():
            fields = json.loads(card.read_text())
            known[f"{fields['name']}@{fields['version']}"] = str(folder.resolve())
    if text not in known:
        raise PlanError(
            f"--model {text}: there is no such model beside {settings.models_dir}; known: {', '.join(sorted(known))}. "
            "Give NAME@VERSION, or the folder with its card.json"
        )
    return known[text]


def rules_in(path: Path | None) -> tuple[dict[str, Any], ...] | None:
    """Return the rules of a file as records; None without one."""
    from dataclasses import asdict

    from models.scoring.decider import rule_columns
    from models.scoring.errors import RuleError
    from models.scoring.rules import RuleSet, rules_of

    if path is None:
        return None
    try:
        rules = rules_of(path.read_text("utf-8"))
        RuleSet.compile(rules, rule_columns())
    except (RuleError, ValueError, KeyError) as error:
        raise PlanError(f"--rules {path}: {error}") from error
    return tuple(asdict(rule) for rule in rules)


def plan(
    settings: Settings,
    run_id: str,
    from_ms: int,
    to_ms: int,
    order: str,
    partitions: tuple[int, ...],
    account: str | None,
    model: str | None,
    rules: Path | None,
    speed: str,
    batch_rows: int,
    warm: str,
    now_ms: int,
) -> ReplaySpec:
    """Check a replay and resolve its range.

    Parameters
    ----------
    settings
        Of the scoring job.
    warm
        `window`: read the log from the longest window before the range on; `all`: from its beginning.
    now_ms
        The time.

    Raises
    ------
    PlanError, RangeError
        With what is wrong.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise PlanError(f"--run-id {run_id!r}: expected lower-case letters, digits and hyphens, at most 63")
    topics = settings.topics
    properties = kafka_properties(settings)
    warm_ms = 0 if warm == "all" else max(0, from_ms - longest_window_ms())
    found = resolve(
        properties,
        topics.transactions,
        settings.risk_labels_topic,
        from_ms,
        min(to_ms, now_ms + DAY_MS),
        warm_ms,
        now_ms,
        partitions,
        MARGIN_MS if order == RECORDED else 0,
    )
    spec = ReplaySpec(
        run_id=run_id,
        from_ms=from_ms,
        to_ms=to_ms,
        first_ms=found.first_ms,
        last_ms=found.last_ms,
        order=order,
        transactions=found.transactions,
        labels=found.labels,
        ledger_topic=topics.decisions,
        # A decision is written after its transaction; a clock that runs behind by an hour does no harm.
        ledger_since_ms=max(0, warm_ms - 3_600_000),
        is_from_beginning=found.is_from_beginning,
        partitions=partitions,
        account=account or "",
        speed=speed_of(speed),
        batch_rows=batch_rows,
        models_dir=model_folder(settings, model),
        rules=rules_in(rules),
        risk_labels=settings.risk_labels,
    )
    if account is not None and not account:
        raise PlanError("--account is empty")
    return spec


def describe(spec: ReplaySpec) -> None:
    """Say what will be read."""
    warm = sum(span.begin - span.warm for span in spec.transactions)
    say(
        f"run {spec.run_id}: {spec.rows_to_decide:,} transactions from {moment(spec.from_ms)} to {moment(spec.to_ms)}, "
        f"in {'the recorded order' if spec.order == RECORDED else 'the order of the log'}; the risk features count "
        f"{spec.risk_labels} labels"
    )
    if warm:
        say(f"before them {warm:,} transactions are read to fill the windows; they give no decision")
    if not spec.is_from_beginning:
        say(
            "the log is not read from the stream's beginning: windows are filled from "
            f"{moment(max(0, spec.from_ms - longest_window_ms()))} on, as far as the log reaches"
        )


__all__ = ["PlanError", "RangeError", "describe", "plan"]
