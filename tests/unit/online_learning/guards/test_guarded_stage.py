"""Guards in the learning stage: bad labels teach nothing, commands are followed at their place, in every run alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.features.catalogue import FEATURE_NAMES, FEATURE_SET
from models.state_map import MemoryState
from online_learning.guards.commands import Command, CommandError
from online_learning.guards.kept_states import KEPT, KeptStates
from online_learning.guards.rate_limit import RateLimit
from online_learning.learning_stage import DECISIONS, LABELS, LearningSettings, LearningStage
from schemas.records import decode_record, encode_record
from tests.ledger import DECISION_PARTITIONS, a_ledger

SETTINGS = LearningSettings(FEATURE_SET, FEATURE_NAMES, DECISION_PARTITIONS, 1)
SENT = a_ledger(2_000, seed=9)
LABEL_TIMES = [record.timestamp_ms for record in SENT if record.topic == LABELS]
MIDDLE = sorted(LABEL_TIMES)[len(LABEL_TIMES) // 2]


def learned(
    commands: list[Command] | None = None, size: int = 10**6, restarts: bool = False, **overrides: Any
) -> LearningStage:
    """Feed the ledger in blocks of a size, with the commands given before it."""
    state = MemoryState()
    settings = replace(SETTINGS, **overrides)
    stage = LearningStage(settings, state)
    for command in commands or []:
        stage.command(command)
    for topic in (DECISIONS, LABELS):
        for partition in range(DECISION_PARTITIONS if topic == DECISIONS else 1):
            rows = [record for record in SENT if (record.topic, record.partition) == (topic, partition)]
            for start in range(0, len(rows), size):
                block = rows[start : start + size]
                n = len(block)
                stage.take(
                    topic, np.full(n, partition, np.int32), np.arange(start, start + n),
                    np.array([record.timestamp_ms for record in block]), [record.value for record in block],
                )  # fmt: skip
                if restarts:
                    stage = LearningStage(settings, state)
    return stage


@pytest.fixture(scope="module")
def free() -> LearningStage:
    return learned()


def a_command(action: str, from_ms: int = 0, **fields: Any) -> Command:
    return Command(from_ms, f"learning/{action}-{from_ms}-{fields}", action, **fields)


def test_a_frozen_learner_learns_nothing(free: LearningStage) -> None:
    stage = learned([a_command("quarantine", source="*")])
    assert stage.learner.labels_seen == 0
    assert stage.counts.quarantined == free.join.counts.labels + free.counts.echoes
    assert stage.take_matured() == []


def test_a_quarantine_holds_for_its_source_between_its_places(free: LearningStage) -> None:
    from schemas.labels import LabelDecoder

    labels, _, _ = LabelDecoder().decode([record.value for record in SENT if record.topic == LABELS])
    source = "analyst"
    index = 2
    times = np.maximum.accumulate(LABEL_TIMES)
    expected = int(((labels.source == index) & (times >= MIDDLE) & (times < MIDDLE + 4_000)).sum())
    assert expected > 0
    commands = [
        a_command("quarantine", MIDDLE, source=source),
        a_command("release", MIDDLE + 4_000, source=source),
    ]
    assert learned(commands).counts.quarantined == expected


@pytest.mark.parametrize("size", [37, 400])
def test_what_was_learned_under_commands_is_the_same_bytes_in_every_run(size: int) -> None:
    commands = [
        a_command("quarantine", MIDDLE - 3_000, source="chargeback"),
        a_command("rollback", MIDDLE, labels_seen=0),
        a_command("release", MIDDLE + 2_000, source="chargeback"),
    ]
    limit = RateLimit(per_second=20, burst=40)
    whole = learned(commands, rate_limit=limit)
    cut = learned(commands[::-1], size, restarts=True, rate_limit=limit)
    assert whole.counts == cut.counts
    assert whole.counts.limited > 0
    assert whole.counts.rollbacks == 1
    assert whole.learner.snapshot() == cut.learner.snapshot()
    assert whole.mix.snapshot() == cut.mix.snapshot()


def test_a_rollback_to_nothing_begins_anew(free: LearningStage) -> None:
    stage = learned([a_command("rollback", MIDDLE, labels_seen=0)])
    assert 0 < stage.learner.labels_seen < free.learner.labels_seen


def test_a_learner_whose_scores_are_no_numbers_is_set_back_and_not_published() -> None:
    stage = learned()
    stage.kept.keep(stage.learner.labels_seen, stage.learner.snapshot(), stage.mix.snapshot())
    good = stage.learner.snapshot()

    class Broken:
        labels_seen = stage.learner.labels_seen + 1

        def predict_proba_many(self, X: Any) -> Any:
            return np.full(len(X), np.nan, np.float32)

    stage.learner = Broken()  # type: ignore[assignment]
    assert not stage.is_sound
    stage._set_back_if_broken()
    assert stage.is_sound
    assert stage.learner.snapshot() == good
    assert stage.counts.resets == 1


def test_commands_are_read_from_records() -> None:
    record = {"action": "release", "from_ms": 7, "source": "*"}
    command = Command.of_record(b"learning/x", encode_record("learning_command", record))
    assert (command.action, command.from_ms, command.source) == ("release", 7, "*")
    for value in (b"junk", encode_record("learning_command", {**record, "source": "nobody"})):
        with pytest.raises(CommandError):
            Command.of_record(b"learning/x", value)


def test_the_newest_kept_state_of_at_most_so_many_labels_is_found() -> None:
    state = MemoryState()
    kept = KeptStates(state, 100)
    for labels in range(10, 10 * (KEPT + 5), 10):
        kept.keep(labels, b"L%d" % labels, b"M%d" % labels)
    kept = KeptStates(state, 100)
    assert len(kept.labels_seen) == KEPT
    assert kept.back_to(155) == (b"L150", b"M150")
    assert max(kept.labels_seen) == 150
    assert kept.back_to(1) is None
    assert len(state.blobs) == 1


def test_the_publication_tells_what_the_guards_did(free: LearningStage) -> None:
    metrics = decode_record(free.publication(), name="model_update")["metrics"]
    assert metrics["limited"] == metrics["quarantined"] == metrics["rollbacks"] == 0
