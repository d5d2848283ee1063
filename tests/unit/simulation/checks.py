"""What must hold of a world that has settled, and the undisturbed run that it is compared with.

The undisturbed run takes the records in the order of the surviving history, each stage once, in one piece, from an
empty state: no restart, no flush, no batches but one for each home shard.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import numpy as np

from models.features.assemble import entity_keys
from models.features.catalogue import FEATURE_NAMES
from models.features.entity_store import EntityStore
from models.features.partials import Partials
from models.features.touches import LABEL, TOUCH
from models.scoring.decide_batch import decide_batch
from models.scoring.explain import alert_id_of
from models.scoring.home_batch import HomeBatch
from models.scoring.home_stage import HomeStage
from models.scoring.pending import Complete
from models.state_map import MemoryState
from online_learning.learning_stage import DECISIONS, LABELS, LearningStage
from schemas.columns import RawRecords
from schemas.ledger_reader import LedgerColumns, LedgerReader, explanation_of
from schemas.records import decode_record
from schemas.registry import RegistrySchemas
from tests.unit.features.oracle import Oracle
from tests.unit.simulation.town import Place
from tests.unit.simulation.virtual_kafka import Record
from tests.unit.simulation.virtual_operators import Task, taken_by_key
from tests.unit.simulation.world import KEYS, World, the_decider


def check(world: World, with_oracle: bool = False) -> None:
    """Assert every invariant. `with_oracle` also computes the features naively, which takes a while.

    - Every record of the input is in exactly one of decisions, dead letters and duplicates, once; poison with its code.
    - Duplicates are what a list of accepted ids says.
    - The decisions of an account lie in the order of its records.
    - Decisions equal those of the undisturbed run, byte for byte but `processing`; features the naive ones.
    - Every decision that is not an approval has an alert of its score.
    - The learner equals one that read the topics at once; its counts add up.
    """
    ledger = Ledger(world)
    ledger.check_books()
    ledger.check_order()
    ledger.check_alerts()
    undisturbed = Undisturbed(world, ledger)
    undisturbed.check_duplicates()
    undisturbed.check_touches()
    undisturbed.check_decisions()
    if with_oracle:
        undisturbed.check_features()
    check_learning(world)


class Ledger:
    """What a read_committed reader finds at the end."""

    def __init__(self, world: World) -> None:
        self._world = world
        topics = world.kafka.topics
        self.decisions = [record.value or b"" for _, _, record in topics["decisions"].committed()]
        self.columns: LedgerColumns = LedgerReader(len(FEATURE_NAMES)).decode(self.decisions)
        places = zip(self.columns.source_partition.tolist(), self.columns.source_offset.tolist(), strict=True)
        self.places: list[Place] = list(places)
        self.row_of = {place: row for row, place in enumerate(self.places)}
        self.dead = [_place_and_code(record) for _, _, record in topics["dead-letters"].committed()]
        self.duplicates = [_place_and_code(record)[0] for _, _, record in topics["duplicates"].committed()]

    def check_books(self) -> None:
        world = self._world
        sent = {(p, o) for p, log in enumerate(world.kafka.topics["transactions"].partitions) for o in range(len(log))}
        found = Counter([*self.places, *(place for place, _ in self.dead), *self.duplicates])
        assert not sent - set(found), f"lost: {sorted(sent - set(found))[:5]}"
        assert set(found) == sent, f"never sent: {sorted(set(found) - sent)[:5]}"
        assert max(found.values()) == 1, f"more than once: {[p for p, n in found.items() if n > 1][:5]}"
        assert dict(self.dead) == world.town.errors, "dead letters are not the poison that was sent"
        for topic in world.kafka.topics.values():
            for partition in range(len(topic.partitions)):
                assert topic.end(partition, True) == len(topic.partitions[partition]), f"{topic.name}: open for ever"

    def check_order(self) -> None:
        newest: dict[bytes | None, int] = {}
        for _, _, record in self._world.kafka.topics["decisions"].committed():
            offset = decode_record(record.value or b"", name="decision")["source_offset"]
            assert offset > newest.get(record.key, -1), f"decisions of {record.key!r} are out of order at {offset}"
            newest[record.key] = offset

    def check_alerts(self) -> None:
        raised = defaultdict(set)
        for record in self._world.kafka.topics["alerts"].partitions[0]:
            alert = decode_record(record.value or b"", name="alert")
            raised[alert["alert_id"]].add(alert["score"])
        for value in self.decisions:
            decision = decode_record(value, name="decision")
            if decision["outcome"] != "approve":
                scores = raised[alert_id_of(decision["transaction_id"])]
                assert decision["score"] in scores, f"no alert for {decision['transaction_id']}: {scores}"


def _place_and_code(record: Record) -> tuple[Place, str]:
    return (int(record.headers[1]), int(record.headers[2])), record.headers[4]


class Undisturbed:
    """The run that nothing befell, over the surviving history of a world."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self._world, self._ledger = world, ledger
        self._taken_in = taken_by_key(_tasks(world, "intake"))
        self._touched = taken_by_key(_tasks(world, "entities"))
        self._batch: dict[int, HomeBatch] = {}
        self._spans: dict[int, list[tuple[int, int]]] = {}  # per home shard: rows of each sequence
        self._touches: dict[int, list[Any]] = {}
        self.accepted: dict[int, list[tuple[str, bool]]] = {}
        for shard in range(world.plan.shards):
            self._take_in(shard)
        self._partials = self._touch()

    def _take_in(self, shard: int) -> None:
        rows = [row for row in self._taken_in.get(KEYS[shard], []) if row[1] == "transactions"]
        records = RawRecords(
            "transactions", [v for row in rows for v in row[2]], [k for row in rows for k in row[3]],
            np.array([p for row in rows for p in row[4]], np.int32),
            np.array([o for row in rows for o in row[5]], np.int64),
            np.array([t for row in rows for t in row[6]], np.int64),
        )  # fmt: skip
        self.accepted[shard] = []
        self._spans[shard] = []
        if not rows:
            return
        stage = HomeStage(self._world.core, MemoryState(), RegistrySchemas("mock://undisturbed"))
        output = stage.transactions(records, 0)
        accepted = np.zeros(len(records), np.bool_)
        accepted[output.rows] = True
        ids = self._world.town.ids
        places = zip(records.partition.tolist(), records.offset.tolist(), strict=True)
        self.accepted[shard] = [(ids[at], ok) for at, ok in zip(places, accepted.tolist(), strict=True) if at in ids]
        at = taken = 0
        for row in rows:
            count = int(accepted[at : at + len(row[2])].sum())
            at += len(row[2])
            if count:
                self._spans[shard].append((taken, taken + count))
                taken += count
        if output.batch is not None:
            self._batch[shard] = output.batch
            self._touches[shard] = output.touches

    def _touch(self) -> dict[tuple[int, int, int], Partials]:
        """Apply the touches of the surviving history to fresh stores; return partials by (home, sequence, entity)."""
        found = {}
        self.blocks: dict[int, list[Any]] = {}
        for shard in range(self._world.plan.shards):
            store = EntityStore(self._world.core.store)
            blocks = self.blocks[shard] = []
            for row in self._touched.get(KEYS[shard], []):
                _, home, sequence, data = row
                block = np.frombuffer(data, TOUCH)
                if home >= 0:
                    start, end = self._spans[home][sequence]
                    own = self._touches[home][shard]
                    own = own[(own["event"] >= start) & (own["event"] < end)].copy()
                    own["event"] -= start
                    assert own.tobytes() == block.tobytes(), "touches arrived that nobody sent, or in another order"
                partials = store.apply(block)
                blocks.append((block, partials))
                if home >= 0:
                    found[home, sequence, shard] = partials
        return found

    def check_duplicates(self) -> None:
        """The last H accepted ids of a home shard are recognised, and at most the last 2 H."""
        horizon = self._world.core.dedupe_horizon
        for shard, seen in self.accepted.items():
            remembered: list[str] = []
            for identity, is_accepted in seen:
                if is_accepted:
                    assert identity not in remembered[-horizon:], f"shard {shard} took {identity} twice"
                    remembered.append(identity)
                else:
                    assert identity in remembered[-2 * horizon :], f"shard {shard}: {identity} is no duplicate"

    def check_touches(self) -> None:
        """Every label reached each of its entities once, and every transaction each of its entities."""
        sent = self._world.town.labels[: -self._world.plan.label_partitions]  # the last ones are for the learner alone
        found = Counter()
        for blocks in self.blocks.values():
            for block, _ in blocks:
                found["labels"] += int((block["role"] == LABEL).sum())
                found["originators"] += int((block["role"] == 0).sum())
                found["beneficiaries"] += int((block["role"] == 1).sum())
        decisions = len(self._ledger.places)
        # A label of a transfer to oneself touches one entity.
        oneself = sum(fields["account_id"] == fields["counterparty_id"] for _, fields in sent)
        assert found["labels"] == 2 * len(sent) - oneself, "labels were lost, or counted twice"
        assert found["originators"] == found["beneficiaries"] == decisions

    def check_decisions(self) -> None:
        ledger = self._ledger
        expected: dict[Place, bytes] = {}
        for home, batch in self._batch.items():
            missing = self._missing(home, batch)
            whole: list[int] = []
            groups: list[list[int]] = []
            for sequence in range(len(self._spans[home])):
                if missing[sequence]:
                    groups.append([sequence])
                else:
                    whole.append(sequence)
            for group in [*groups, *([whole] if whole else [])]:
                complete = self._complete(home, batch, group, missing[group[0]])
                columns = LedgerReader(len(FEATURE_NAMES)).decode(
                    decide_batch(the_decider(), complete, None, 0).decisions
                )
                for row, (p, o) in enumerate(zip(columns.source_partition, columns.source_offset, strict=True)):
                    expected[int(p), int(o)] = columns.body(row)
        assert set(expected) == set(ledger.places)
        different = [place for place in ledger.places if ledger.columns.body(ledger.row_of[place]) != expected[place]]
        assert not different, f"{len(different)} of {len(expected)} decisions differ, such as {different[:5]}"

    def _missing(self, home: int, batch: HomeBatch) -> list[int]:
        """Return per sequence the entity shards that it was decided without, as a bit mask; those say so."""
        shards, plan = self._world.plan.shards, self._world.plan
        keys = entity_keys(batch.columns)
        has_device = batch.columns.device_id.lengths >= 0
        sequences = np.array([self._sequences(batch, row) for row in range(len(batch))]).reshape(-1, 3)
        masks = []
        for start, end in self._spans[home]:
            mask = 0
            for row in range(start, end):
                for role in range(3):
                    if sequences[row, role] < 0 and (role < 2 or has_device[row]):
                        mask |= 1 << int(keys[row, role] % np.uint64(shards))
            for row in range(start, end):
                touched = {int(keys[row, r] % np.uint64(shards)) for r in range(3) if r < 2 or has_device[row]}
                at = self._ledger.row_of[int(batch.partition[row]), int(batch.offset[row])]
                is_degraded = "entities" in explanation_of(self._ledger.columns, at)["degraded"]
                assert is_degraded == any(mask >> shard & 1 for shard in touched), "degraded, or not, without a reason"
            assert not mask or plan.has_stalls, "given up although no shard ever stood still"
            masks.append(mask)
        return masks

    def _sequences(self, batch: HomeBatch, row: int) -> list[int]:
        at = self._ledger.row_of.get((int(batch.partition[row]), int(batch.offset[row])))
        assert at is not None, "a transaction that was accepted has no decision"
        return [int(v) for v in self._ledger.columns.touch_sequences[at]]

    def _complete(self, home: int, batch: HomeBatch, group: list[int], missing: int) -> Complete:
        rows = np.concatenate([np.arange(*self._spans[home][sequence]) for sequence in group])
        partials = []
        at = 0
        for sequence in group:
            start, end = self._spans[home][sequence]
            for shard in range(self._world.plan.shards):
                found = self._partials.get((home, sequence, shard))
                if found is not None and not missing >> shard & 1:
                    partials.append(_shifted(found, at))
            at += end - start
        return Complete(batch.take(rows), partials, missing)

    def check_features(self) -> None:
        """Every partial feature is the naive one."""
        spec = self._world.core.store
        for blocks in self.blocks.values():
            oracle = Oracle(spec)
            for block, partials in blocks:
                tables = [iter(partials.originator), iter(partials.beneficiary), iter(partials.device)]
                for touch in block:
                    expected = oracle.apply(touch)
                    if expected is not None:
                        row = next(tables[int(touch["role"])])
                        assert np.isclose(row, expected, rtol=1e-12, atol=0, equal_nan=True).all(), f"touch {touch}"


def _tasks(world: World, name: str) -> list[Task]:
    return [task for task in world.scoring.tasks if task.name.startswith(name)]


def _shifted(partials: Partials, by: int) -> Partials:
    return replace(
        partials,
        originator_event=partials.originator_event + np.int32(by),
        beneficiary_event=partials.beneficiary_event + np.int32(by),
        device_event=partials.device_event + np.int32(by),
    )


def check_learning(world: World) -> None:
    """The learner is one that read both topics at once, unless it went on without a partition; the counts add up."""
    (task,) = world.learning.tasks
    if not task.taken:
        return
    stage: LearningStage = task.function._restored()
    counts = stage.join.counts
    assert counts.labels == (
        counts.matured + counts.corrections + counts.confirmed + counts.duplicates + counts.outranked
        + counts.superseded + counts.unmatched + counts.too_old + counts.waiting
    ), "not every label is counted once"  # fmt: skip
    assert counts.decisions == (
        counts.kept + counts.repeated + counts.decisions_too_old + counts.expired_labelled + counts.expired_unlabelled
    ), "not every decision is counted once"
    assert stage.learner.labels_seen == counts.matured + counts.corrections, "labels were learned that did not mature"
    records = sum(1 for name in ("decisions", "labels") for _ in world.kafka.topics[name].committed())
    taken = counts.labels + stage.counts.echoes + counts.decisions + stage.order.waiting
    assert taken == records, "labels or decisions were lost"
    if world.plan.idle_ms:
        return
    undisturbed = LearningStage(world.learning_settings, MemoryState())
    for topic, name in ((DECISIONS, "decisions"), (LABELS, "labels")):
        by_partition: dict[int, list[tuple[int, Record]]] = defaultdict(list)
        for partition, offset, record in world.kafka.topics[name].committed():
            by_partition[partition].append((offset, record))
        for partition, rows in by_partition.items():
            undisturbed.take(
                topic, np.full(len(rows), partition, np.int32), np.array([o for o, _ in rows], np.int64),
                np.array([r.timestamp_ms for _, r in rows], np.int64), [r.value for _, r in rows],
            )  # fmt: skip
    assert counts == undisturbed.join.counts, "labels were joined otherwise"
    assert stage.counts == undisturbed.counts, "labels were learned otherwise"
    assert stage.learner.snapshot() == undisturbed.learner.snapshot(), "the learner learned something else"
    assert stage.mix.snapshot() == undisturbed.mix.snapshot(), "the mix is another one"
