"""The scoring job and the learner job in one virtual world, driven step by step from a seed.

The functions are those that Flink hosts (`jobs/stream`), with the whole core below them; what is virtual is Flink,
Kafka, the schema registry, the clock, and the disk that state lies on. A world is a pure function of its seed.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from jobs.stream import decision_function, entity_function, intake_function, learning_function
from jobs.stream.decision_function import DecisionFunction
from jobs.stream.entity_function import EntityFunction
from jobs.stream.intake_function import BATCHES, DEAD_LETTERS, DUPLICATES, IntakeFunction
from jobs.stream.learning_function import LearningFunction
from models.features import entity_store
from models.features.catalogue import FEATURE_NAMES, FEATURE_SET, STORE
from models.features.parted_store import PartedEntityStore
from models.scoring import deduplicate
from models.scoring.core_settings import CoreSettings
from models.scoring.decider import Decider, default_rule_set
from models.scoring.model import ScoringModel
from online_learning.labels import label_join
from online_learning.labels.row_log import RowLog
from online_learning.learning_stage import LearningSettings
from schemas.errors import RegistryUnavailableError
from schemas.registry import RegistrySchemas
from schemas.versions import current
from tests.recorded import TEST_MODEL
from tests.unit.simulation.plan import Plan
from tests.unit.simulation.town import FOREIGN_SCHEMA, HOUR_MS, KNOWN_SCHEMA, Town, a_town, label_value
from tests.unit.simulation.virtual_flink import Job
from tests.unit.simulation.virtual_kafka import Kafka, Record
from tests.unit.simulation.virtual_operators import (
    Clock,
    Disk,
    LedgerSink,
    Operator,
    ProcessDiedError,
    PromptSink,
    Source,
    Task,
)

KEYS = (101, 202, 303, 404)
"""Flink keys of shards."""
ENTITY_WAIT_MS = 5_000
HELD_BACK = 4
"""Transactions of each partition that are sent when all labels are."""
LEARNER_READ = 60
MOST_STEPS = 100_000


@cache
def the_decider() -> Decider:
    """Load the tests' model once: models and rules hold no state."""
    return Decider(ScoringModel.load(TEST_MODEL), default_rule_set())


class VirtualRegistry:
    """A schema registry that may be away."""

    def __init__(self) -> None:
        self.is_away = False
        text = dict(current("transaction").text)
        further = {**text, "fields": [*text["fields"], {"name": "note", "type": ["null", "string"], "default": None}]}
        self._schemas = {KNOWN_SCHEMA: text, FOREIGN_SCHEMA: further}

    def get_schema(self, schema_id: int) -> Any:
        """Answer as confluent-kafka's client does."""
        if self.is_away:
            raise TimeoutError("the registry is away")
        if schema_id not in self._schemas:
            raise SchemaRegistryError(404, 40403, "schema not found")
        return SimpleNamespace(schema_type="AVRO", references=[], schema_str=json.dumps(self._schemas[schema_id]))


@dataclass(slots=True)
class World:
    """Everything there is. `step` does one thing; `settle` lets it end undisturbed.

    Make it inside `virtual_world`, which puts the virtual clock and the small limits in place.
    """

    plan: Plan
    on_restore: Callable[[str, int, str, dict[int, bytes]], dict[int, bytes]] | None = None
    rng: random.Random = field(init=False)
    town: Town = field(init=False)
    clock: Clock = field(init=False)
    kafka: Kafka = field(init=False)
    registry: VirtualRegistry = field(init=False)
    scoring: Job = field(init=False)
    learning: Job = field(init=False)
    core: CoreSettings = field(init=False)
    learning_settings: LearningSettings = field(init=False)
    events: list[str] = field(default_factory=list)  # what befell the world, for a failure's message
    _labels_sent: int = 0

    def __post_init__(self) -> None:
        plan = self.plan
        self.rng = random.Random(plan.seed + 1)
        self.town = a_town(self.rng, plan.records, plan.partitions, plan.label_partitions)
        self.clock = Clock(self.town.end_ms + HOUR_MS)
        self.kafka = Kafka()
        self.registry = VirtualRegistry()
        self.kafka.make("transactions", plan.partitions)
        for _ in range(plan.records // 2):
            self.send_transaction(0)
        for topic, partitions in (
            ("labels", plan.label_partitions), ("decisions", 2), ("dead-letters", 1), ("duplicates", 1), ("alerts", 1),
            ("model-updates", 1), ("drift", 1), ("matured-labels", 1),
        ):  # fmt: skip
            self.kafka.make(topic, partitions)
        store = replace(STORE, promote_above=plan.promote_above)
        self.core = CoreSettings(shards=plan.shards, dedupe_horizon=plan.dedupe_horizon, store=store)
        self.learning_settings = LearningSettings(
            FEATURE_SET, FEATURE_NAMES, 2, plan.label_partitions, labels_before_combination=3,
            label_lifetime_ms=plan.label_lifetime_hours * HOUR_MS, decision_lifetime_ms=48 * HOUR_MS,
        )  # fmt: skip
        self.scoring = Job(self.clock, Disk(on_restore=self.on_restore), self._scoring, plan.parallelism)
        self.learning = Job(self.clock, Disk(on_restore=self.on_restore), self._learning, 1)

    # -- wiring, as in jobs/score_transactions.py and jobs/update_learners.py ---------------------------------------

    def _scoring(self, parallelism: int, disk: Disk) -> list[Operator]:
        plan, topics = self.plan, self.kafka.topics
        keys = KEYS[: plan.shards]
        owner = {key: shard * parallelism // plan.shards for shard, key in enumerate(keys)}

        def tasks(name: str, make: Callable[[], Any], emit: Callable[[Task, Any], None]) -> list[Task]:
            return [
                Task(f"{name}-{i}", i, make, lambda key, i=i: owner[key] == i, self.clock, disk, emit)
                for i in range(parallelism)
            ]

        def put(channels: list[Any], row: Any) -> None:
            channels[owner[row[0]]].queue.append((row[0], row[1]))

        def take_in(task: Task, output: Any) -> None:
            if not isinstance(output, tuple):
                put(to_entities[task.name], output)
            elif output[0] is BATCHES:
                put(to_decide[task.name], output[1])
            else:
                sink = {DEAD_LETTERS.tag_id: dead_letters, DUPLICATES.tag_id: duplicates}[output[0].tag_id]
                for fields in zip(*output[1], strict=True):
                    to_sink[task.name, sink.name].queue.append((0, (fields[0], fields[1], tuple(fields[2:]))))

        def decide(task: Task, output: Any) -> None:
            for sink, record_keys, values in ((decisions, output[0], output[1]), (alerts, output[2], output[3])):
                for pair in zip(record_keys, values, strict=True):
                    to_sink[task.name, sink.name].queue.append((0, (*pair, ())))

        sources = [
            Source(
                f"source-{shard}", shard, key,
                {
                    name: (topics[name], [p for p in range(len(topics[name].partitions)) if p % plan.shards == shard])
                    for name in ("transactions", "labels")
                },
                committed_only=False,
            )
            for shard, key in enumerate(keys)
        ]  # fmt: skip
        intake = tasks(
            "intake", lambda: IntakeFunction(self.core, keys, "labels", "matured-labels", "virtual"), take_in
        )
        entities = tasks(
            "entities", lambda: EntityFunction(self.core.store, keys), lambda task, row: put(to_decide[task.name], row)
        )
        deciding = tasks(
            "decide",
            lambda: DecisionFunction(
                str(TEST_MODEL), (), (), keys, "control", "model-updates", (), None, 0.0, ENTITY_WAIT_MS / 1000, None,
                False, is_unaligned=plan.is_unaligned,
            ),
            decide,
        )  # fmt: skip
        decisions = LedgerSink("decisions", topics["decisions"], self.clock)
        dead_letters = LedgerSink("dead", topics["dead-letters"], self.clock)
        duplicates = LedgerSink("duplicates", topics["duplicates"], self.clock)
        alerts = PromptSink("alerts", topics["alerts"], self.clock)
        for shard, source in enumerate(sources):
            source.connect(intake[owner[keys[shard]]])
        to_entities = {task.name: [task.connect(other) for other in entities] for task in intake}
        to_decide = {task.name: [task.connect(other) for other in deciding] for task in (*intake, *entities)}
        to_sink = {(t.name, s.name): t.connect(s) for t in intake for s in (dead_letters, duplicates)}
        to_sink |= {(t.name, s.name): t.connect(s) for t in deciding for s in (decisions, alerts)}
        return [*sources, *intake, *entities, *deciding, decisions, dead_letters, duplicates, alerts]

    def _learning(self, parallelism: int, disk: Disk) -> list[Operator]:
        topics = self.kafka.topics

        def learn(task: Task, output: Any) -> None:
            for channel, record_keys, values in (
                (to_updates, *output[0:2]),
                (to_drift, *output[2:4]),
                (to_matured, *output[4:6]),
            ):
                for pair in zip(record_keys, values, strict=True):
                    channel.queue.append((0, (*pair, ())))

        wanted = {name: (topics[name], list(range(len(topics[name].partitions)))) for name in ("decisions", "labels")}
        source = Source("source-0", 0, KEYS[0], wanted, committed_only=True)
        function = partial(
            LearningFunction, self.learning_settings, "decisions", "control", None, 1.0, self.plan.idle_ms
        )
        task = Task("learn-0", 0, function, lambda key: True, self.clock, disk, learn)
        updates = LedgerSink("updates", topics["model-updates"], self.clock)
        drift = LedgerSink("drift", topics["drift"], self.clock)
        matured = LedgerSink("matured", topics["matured-labels"], self.clock)
        source.connect(task)
        to_updates, to_drift, to_matured = (task.connect(sink) for sink in (updates, drift, matured))
        return [source, task, updates, drift, matured]

    # -- what can happen --------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Let a random schedule of steps and faults happen, then let the world settle."""
        plan, rng = self.plan, self.rng
        faults = ["die"] * plan.deaths + ["learner dies"] * plan.learner_deaths
        faults += ["stall"] * (3 * plan.has_stalls) + ["outage"] * plan.has_outages + ["rescale"] * plan.rescales
        rng.shuffle(faults)
        while True:
            progress = self.step()
            if faults and (not progress or rng.random() < 0.02):
                self.befall(faults.pop())
            elif not progress and not self.send_label() and not self.send_transaction(HELD_BACK):
                break
        self.settle()

    def step(self) -> bool:
        """Do one ordinary thing; return whether there was anything left to read or to take."""
        rng = self.rng
        self.clock.now_ms += rng.choice([0, 1, 30])
        choice = rng.random()
        if choice < 0.05:
            self.send_label()
            self.send_transaction(HELD_BACK)
        elif choice < 0.08:
            job = rng.choice([self.scoring, self.learning])
            if self.plan.is_unaligned and rng.random() < 0.5:
                job.trigger_unaligned()
            else:
                job.trigger()
        elif choice < 0.085:
            rng.choice([self.scoring, self.learning]).expire()
        elif choice < 0.13:
            rng.choice([self.scoring, self.learning]).commit_next()
        elif choice < 0.14:
            for sink in self.scoring.prompt:
                sink.flush()
        elif choice < 0.15:
            self.clock.now_ms += rng.choice([100, 1_000, 10_000 if self.plan.has_stalls else 1_000])
        job = self.scoring if rng.random() < 0.8 else self.learning
        return any([self._advance(job), self._can_advance(self.scoring), self._can_advance(self.learning)])

    def _can_advance(self, job: Job) -> bool:
        return bool(job.runnable()) or any(source.waiting() for source in job.sources)

    def _advance(self, job: Job) -> bool:
        rng = self.rng
        try:
            job.fire()
            runnable = job.runnable()
            readable = [(s, topic) for s in job.sources for topic in s.waiting()] if job.rows_in_flight < 40 else []
            if readable and (not runnable or rng.random() < 0.15):
                source, topic = rng.choice(readable)
                source.read(topic, rng, self.plan.largest_read if job is self.scoring else LEARNER_READ)
            elif runnable:
                job.step(rng.choice(runnable))
            else:
                return False
        except (ProcessDiedError, RegistryUnavailableError) as error:
            self.events.append(f"{self.clock.now_ms}: {type(error).__name__}: {error}")
            if isinstance(error, RegistryUnavailableError) and rng.random() < 0.3:
                self.registry.is_away = False
            job.die()
        return True

    def befall(self, fault: str) -> None:
        """Let a fault happen."""
        rng = self.rng
        self.events.append(f"{self.clock.now_ms}: {fault}")
        if fault in ("die", "learner dies"):
            job = self.scoring if fault == "die" else self.learning
            if rng.random() < 0.4:
                job.die()
            else:
                job.disk.dies_after = rng.randrange(60)
        elif fault == "stall":
            rng.choice(self.scoring.tasks).stalled_until_ms = self.clock.now_ms + rng.choice([1_000, 20_000])
        elif fault == "outage":
            self.registry.is_away = True
        else:
            try:
                self._stop_with_savepoint(self.scoring)
            except ProcessDiedError:  # before the savepoint was complete
                self.scoring.die()
                return
            self.scoring.stop_and_restart(rng.randint(1, self.plan.shards))

    def send_transaction(self, held_back: int) -> bool:
        """Send the next transaction of some partition, unless it is one of the last so many."""
        log, town = self.kafka.topics["transactions"].partitions, self.town.transactions
        left = [p for p in range(len(log)) if len(log[p]) < len(town[p]) - held_back]
        if not left:
            return False
        partition = self.rng.choice(left)
        log[partition].append(town[partition][len(log[partition])])
        return True

    def send_label(self) -> bool:
        """Send the next label, if there is one."""
        if self._labels_sent == len(self.town.labels):
            return False
        partition, fields = self.town.labels[self._labels_sent]
        self._labels_sent += 1
        now = self.clock.now_ms
        self.kafka.topics["labels"].append(partition, Record(None, label_value(fields, now), now))
        return True

    def settle(self) -> None:
        """Nothing goes wrong any more: all is read, taken, saved and committed, the learner last."""
        self.registry.is_away = False
        while self.send_label():
            pass
        self.clock.now_ms += 1_000
        while self.send_transaction(0):  # decided after the labels, so that the learner waits for little else
            pass
        for job in (self.scoring, self.learning):
            job.disk.dies_after = None
            steps = 0
            while self._can_advance(job) or (any(task.timers for task in job.tasks) and job is self.scoring):
                if not self._advance(job):
                    self.clock.now_ms += 1_000
                steps += 1
                assert steps < MOST_STEPS, "the job does not come to an end"
            self._stop_with_savepoint(job)
            while job.commit_next():
                pass
            for sink in job.prompt:
                sink.flush()
            if job is self.scoring:
                self.town.close_labels()
                while self.send_label():
                    pass

    def _stop_with_savepoint(self, job: Job) -> None:
        """Take an aligned checkpoint with nothing read after it."""
        job.expire()
        deaths = job.deaths
        job.trigger()
        number = job._number
        while job.completed is None or job.completed.number < number:
            job.fire()
            runnable = job.runnable()
            if not runnable:
                self.clock.now_ms += 1_000
                continue
            try:
                job.step(self.rng.choice(runnable))
            except (ProcessDiedError, RegistryUnavailableError):
                self.registry.is_away = False
                job.die()
            if job.deaths > deaths:  # the savepoint failed with the job: ask again
                deaths = job.deaths
                job.trigger()
                number = job._number
        while job.runnable():  # rows that a failed savepoint left behind
            job.step(self.rng.choice(job.runnable()))


@contextlib.contextmanager
def virtual_world(
    plan: Plan, on_restore: Callable[[str, int, str, dict[int, bytes]], dict[int, bytes]] | None = None
) -> Iterator[World]:
    """Make a world, and put its clock and limits in the place of the real ones meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        world = World(plan, on_restore)
        for module in (intake_function, decision_function, learning_function):
            patch.setattr(module, "time", world.clock)

        patch.setattr(SchemaRegistryClient, "new_client", lambda settings: world.registry)
        patch.setattr(intake_function, "RegistrySchemas", partial(RegistrySchemas, clock=world.clock.monotonic))
        store = partial(PartedEntityStore, flush_log_bytes=plan.flush_log_bytes, pages_per_block=1, flush_log_share=0.0)
        patch.setattr(entity_function, "PartedEntityStore", store)
        patch.setattr(entity_store, "_RESERVED_WORDS", 1 << 16)  # a store of a few pages: quick to make, and it grows
        patch.setattr(deduplicate, "IDS_PER_PAGE", plan.ids_per_page)
        patch.setattr(label_join, "PAGE_ROWS", plan.page_rows)
        patch.setattr(RowLog.__init__, "__defaults__", (plan.page_rows,))
        # The model and the rules hold no state: loading and compiling them anew at each restart shows nothing.
        patch.setattr(decision_function, "warm_up", lambda folder: None)
        patch.setattr(decision_function, "ScoringModel", SimpleNamespace(load=lambda folder: the_decider().model))
        patch.setattr(decision_function, "Decider", lambda model, rules: the_decider())
        yield world
