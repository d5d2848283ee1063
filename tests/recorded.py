"""Recorded streams with faults, the plain loop over them, and the comparison of decisions field by field."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.settings import DEFAULT_MODEL
from models.scoring.core_settings import CoreSettings
from models.scoring.decider import Decider, default_rule_set
from models.scoring.model import ScoringModel
from models.scoring.pipeline import ScoringCore
from models.scoring.reference import ReferenceLookup
from models.training.simulator import FaultInjector, FaultPlan, SimulatorConfig, encode_stream
from models.training.simulator.faults import KINDS
from models.training.simulator.poison import POISONS, read_transaction
from schemas.columns import RawRecords
from schemas.records import decode_record

TEST_MODEL = Path(__file__).parent / "data" / "scoring-model"
TOPIC = "recorded"

Place = tuple[int, int]  # partition and offset of a record of the input


@dataclass(frozen=True, slots=True)
class Recorded:
    """Records of one partition in their order; what each is, and the code that a bad one should fail with."""

    keys: list[bytes]
    values: list[bytes | None]
    kinds: list[str]  # good, duplicate, or a kind of poison
    errors: list[str | None]
    timestamp_ms: list[int]  # Kafka's

    def __len__(self) -> int:
        return len(self.values)

    def raw(self, start: int = 0, end: int | None = None) -> RawRecords:
        """Return records as the job reads them."""
        end = len(self) if end is None else end
        return RawRecords(
            topic=TOPIC,
            values=self.values[start:end],
            keys=list(self.keys[start:end]),
            partition=np.zeros(end - start, np.int32),
            offset=np.arange(start, end, dtype=np.int64),
            timestamp_ms=np.array(self.timestamp_ms[start:end], np.int64),
        )

    def rows(self, *kinds: str) -> list[int]:
        """Return the rows of some kinds."""
        return [row for row, kind in enumerate(self.kinds) if kind in kinds]


SMALL_POISON = tuple(kind for kind in POISONS if kind != "huge_record")


def record_stream(
    events: int,
    seed: int = 1,
    accounts: int = 300,
    duplicate_rate: float = 0.03,
    poison_rate: float = 0.02,
    poison_kinds: tuple[str, ...] = SMALL_POISON,
    every_kind: bool = False,
    evidence_share: float = 0.0,
) -> Recorded:
    """Simulate good events with late, out-of-order and repeated ones and poison among them.

    Parameters
    ----------
    events
        Good events; duplicates and poison come on top.
    seed, accounts
        Of the simulated population.
    duplicate_rate, poison_rate
        Shares of the good events.
    poison_kinds
        Kinds of poison to choose among.
    every_kind
        Add one record of each poison kind that chance left out.
    evidence_share
        Share of the good events with a reference to a document.
    """
    injector = FaultInjector(
        FaultPlan(
            seed=seed,
            duplicate_rate=duplicate_rate,
            duplicate_delay_ms=600_000,
            late_rate=0.03,
            late_delay_ms=3_600_000,
            out_of_order_rate=0.2,
            out_of_order_ms=120_000,
            poison_rate=poison_rate,
            poison_kinds=poison_kinds,
        )
    )
    config = SimulatorConfig(
        seed=seed, accounts=accounts, merchants=max(200, accounts // 10), evidence_share=evidence_share
    )
    deliveries = [injector.apply(b.keys, b.values, b.event_time_ms) for b in encode_stream(config, count=events)]
    deliveries.append(injector.flush())
    keys = [key for delivery in deliveries for key in delivery.keys]
    values = [value for delivery in deliveries for value in delivery.values]
    kinds = [KINDS[kind] for delivery in deliveries for kind in delivery.kind.tolist()]
    if every_kind:
        rng = np.random.default_rng(seed)
        for kind in sorted(set(poison_kinds) - set(kinds)):
            at = int(rng.choice([row for row, found in enumerate(kinds) if found == "good"]))
            good = values[at]
            assert good is not None
            keys.insert(at, keys[at])
            values.insert(at, POISONS[kind].make(rng, good, read_transaction(good)))
            kinds.insert(at, kind)
    # Of this day, since brokers delete what is a week old; a millisecond apart, since a decision repeats it.
    now_ms = time.time_ns() // 1_000_000 - len(keys)
    errors = [POISONS[kind].error if kind in POISONS else None for kind in kinds]
    return Recorded(keys, values, kinds, errors, [now_ms + i for i in range(len(keys))])


def model_folder() -> Path:
    """Folder of the shipped model, or of the tests' own where none has been built."""
    return DEFAULT_MODEL if (DEFAULT_MODEL / "card.json").exists() else TEST_MODEL


def a_decider() -> Decider:
    """Decide as the job does: with the model of `model_folder` and the shipped rules."""
    return Decider(ScoringModel.load(model_folder()), default_rule_set())


def plain_loop(
    recorded: Recorded,
    batch_sizes: Sequence[int] = (500,),
    settings: CoreSettings | None = None,
    decider: Decider | None = None,
    reference: ReferenceLookup | None = None,
) -> PlainRun:
    """Score a recorded stream without Flink, in batches of the given sizes in turn."""
    core = ScoringCore(settings or CoreSettings(), decider or a_decider(), reference=reference)
    run = PlainRun([], [], 0)
    start = turn = 0
    while start < len(recorded):
        end = min(len(recorded), start + batch_sizes[turn % len(batch_sizes)])
        run.add(core, recorded, start, end)
        start, turn = end, turn + 1
    return run


@dataclass(slots=True)
class PlainRun:
    """What the plain loop made of a stream."""

    decisions: list[bytes]
    rejected: list[tuple[int, str]]  # offset and code
    duplicates: int

    def add(self, core: ScoringCore, recorded: Recorded, start: int, end: int) -> None:
        """Score further records."""
        scored = core.transactions(recorded.raw(start, end))
        self.decisions += scored.decisions
        self.rejected += sorted((int(records.offset[r.row]), r.error) for records, r in scored.rejected)
        self.duplicates += scored.duplicates


def ledger_of(decisions: Iterable[bytes]) -> dict[Place, dict[str, Any]]:
    """Return decisions by the place of their transaction, without what only the run can know."""
    ledger = {}
    for value in decisions:
        decision = comparable(decode_record(value, name="decision"))
        ledger[decision["source_partition"], decision["source_offset"]] = decision
    return ledger


def comparable(decision: dict[str, Any]) -> dict[str, Any]:
    """Drop `processing`, and make NaN equal to itself."""
    return {name: _plain(value) for name, value in decision.items() if name != "processing"}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def assert_same_ledger(
    found: Sequence[bytes], expected: Mapping[Place, Mapping[str, Any]], keys: Sequence[bytes] | None = None
) -> None:
    """Compare decisions, in the order in which a reader got them, with those that should be there.

    Each expected one has to be there exactly once with equal fields, and each account's in the order of its input.

    Parameters
    ----------
    found
        Encoded decisions; those of one account in the order in which they lie in their partition.
    expected
        From `ledger_of`.
    keys
        Kafka keys of `found`.
    """
    decoded = [comparable(decode_record(value, name="decision")) for value in found]
    times = Counter((d["source_partition"], d["source_offset"]) for d in decoded)
    lost = sorted(set(expected) - set(times))
    strange = sorted(set(times) - set(expected))
    repeated = sorted(place for place, count in times.items() if count > 1)
    reordered = []
    newest: dict[str, Place] = {}
    for d in decoded:
        place = (d["source_partition"], d["source_offset"])
        if place <= newest.get(d["account_id"], (-1, -1)):
            reordered.append(place)
        newest[d["account_id"]] = place
    different = {}
    for d in decoded:
        place = (d["source_partition"], d["source_offset"])
        fields = [n for n in d if place in expected and d[n] != expected[place][n]]
        if fields:
            different[place] = {n: (d[n], expected[place][n]) for n in fields}
    counts = {
        "lost": lost, "strange": strange, "repeated": repeated, "reordered": reordered, "different": [*different],
    }  # fmt: skip
    wrong = {name: (len(places), places[:5]) for name, places in counts.items() if places}
    example = next(iter(different.items()), None)
    assert not wrong, f"of {len(expected)} decisions: {wrong}; first difference (found, expected): {example}"
    if keys is not None:
        assert [key.decode() for key in keys] == [d["account_id"] for d in decoded]
