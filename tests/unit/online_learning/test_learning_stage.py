"""The learner job without Flink: the same weights, whatever the arrival, the cuts and the restarts."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.catalogue import FEATURE_NAMES, FEATURE_SET
from models.state_map import MemoryState
from online_learning.combination.live_learner import LiveLearner
from online_learning.learning_stage import LearningSettings, LearningStage
from online_learning.stream_order import StreamOrder
from schemas.records import decode_record
from tests.ledger import DECISION_PARTITIONS, Sent, a_ledger

SETTINGS = LearningSettings(FEATURE_SET, FEATURE_NAMES, DECISION_PARTITIONS, 1)
SENT = a_ledger(1_500, seed=5)


def feed(stage: LearningStage, topic: int, rows: list[tuple[int, Sent]], partition: int) -> None:
    n = len(rows)
    stage.take(
        topic, np.full(n, partition, np.int32), np.array([offset for offset, _ in rows], np.int64),
        np.array([sent.timestamp_ms for _, sent in rows], np.int64), [sent.value for _, sent in rows],
    )  # fmt: skip


def partitions_of(sent: list[Sent]) -> dict[tuple[int, int], list[tuple[int, Sent]]]:
    found: dict[tuple[int, int], list[tuple[int, Sent]]] = defaultdict(list)
    for record in sent:
        rows = found[record.topic, record.partition]
        rows.append((len(rows), record))
    return found


def learned(seed: int, restarts: bool) -> tuple[LearningStage, list[tuple[bytes, bytes]]]:
    """Feed the partitions in a random interleaving, cut at random places; return also the labels that matured."""
    rng = np.random.default_rng(seed)
    left = partitions_of(SENT)
    state = MemoryState()
    stage = LearningStage(SETTINGS, state)
    matured: list[tuple[bytes, bytes]] = []
    while left:
        keys = sorted(left)
        key = keys[int(rng.integers(len(keys)))]
        count = int(rng.integers(1, 400))
        feed(stage, key[0], left[key][:count], key[1])
        matured += stage.take_matured()
        left[key] = left[key][count:]
        if not left[key]:
            del left[key]
        if restarts and rng.random() < 0.3:
            state = state.copy()
            stage = LearningStage(SETTINGS, state)
    return stage, matured


@pytest.fixture(scope="module")
def undisturbed() -> LearningStage:
    """Every partition as a whole, one after the other."""
    stage = LearningStage(SETTINGS, MemoryState())
    for (topic, partition), rows in sorted(partitions_of(SENT).items()):
        feed(stage, topic, rows, partition)
    return stage


@pytest.fixture(scope="module")
def matured(undisturbed: LearningStage) -> list[tuple[bytes, bytes]]:
    """Keys and values that it published."""
    return undisturbed.take_matured()


@pytest.mark.parametrize("seed", range(4))
def test_weights_and_matured_labels_are_the_same_bytes_whatever_the_arrival_and_the_restarts(
    undisturbed: LearningStage, matured: list[tuple[bytes, bytes]], seed: int
) -> None:
    stage, found = learned(seed, restarts=True)
    assert found == matured
    assert stage.learner.snapshot() == undisturbed.learner.snapshot()
    assert stage.counts == undisturbed.counts
    assert stage.mix.snapshot() == undisturbed.mix.snapshot()
    assert stage.join.counts == undisturbed.join.counts
    assert stage.order.late == 0


def test_what_was_learned_tells_frauds(undisturbed: LearningStage, matured: list[tuple[bytes, bytes]]) -> None:
    counts = undisturbed.join.counts
    assert undisturbed.learner.labels_seen == counts.matured + counts.corrections == len(matured) > 1_300
    assert counts.corrections > 40
    assert counts.waiting > 50
    assert undisturbed.counts.echoes > 50
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, len(FEATURE_NAMES))).astype(np.float32)
    frauds = X.copy()
    frauds[:, :5] += 1.5
    scores = undisturbed.learner.predict_proba_many(np.concatenate([X, frauds]))
    assert np.median(scores[200:]) > 3 * np.median(scores[:200])


def test_the_publication_carries_the_learner(undisturbed: LearningStage) -> None:
    update = decode_record(undisturbed.publication(), name="model_update")
    assert update["parameters"] == undisturbed.learner.parameters()
    assert update["combination"] == undisturbed.mix.parameters()
    LiveLearner.of_update(update, FEATURE_NAMES)  # whole, and of features that are computed
    assert update["metrics"]["mix_log_loss"] < update["metrics"]["batch_log_loss"]
    assert update["labels_seen"] == int(update["version"]) == undisturbed.learner.labels_seen
    assert update["trained_from_ms"] < update["trained_to_ms"]


def test_the_learner_has_no_say_before_both_verdicts_were_labelled() -> None:
    stage = LearningStage(replace(SETTINGS, labels_before_combination=10**6), MemoryState())
    for (topic, partition), rows in sorted(partitions_of(SENT).items()):
        feed(stage, topic, rows, partition)
    update = decode_record(stage.publication(), name="model_update")
    assert stage.mix.labels_seen > 1_000
    assert update["combination"] is None


def test_the_prior_shift_is_the_difference_of_the_odds(undisturbed: LearningStage) -> None:
    """Every decision of the ledger has a model score of 0.1; the shift is of the tick before, so nearly so."""
    counts = undisturbed.counts
    assert counts.model_score_sum == pytest.approx(1e8 * counts.model_scored, rel=1e-6)
    odds = math.log(counts.frauds / counts.legitimate) - math.log(0.1 / 0.9)
    assert counts.prior_shift == pytest.approx(odds, abs=0.3)


def test_what_cannot_be_read_is_counted_and_stops_nothing() -> None:
    stage = LearningStage(SETTINGS, MemoryState())
    junk = [(0, Sent(0, 0, 5, b"junk")), (1, Sent(0, 0, 5, b"")), (2, Sent(0, 0, 9, b"later"))]
    for partition in range(DECISION_PARTITIONS):
        feed(stage, 0, junk, partition)
    feed(stage, 1, [(0, Sent(1, 0, 6, b"\xc3\x01junkjunk!!")), (1, Sent(1, 0, 9, b"later"))], 0)
    assert (stage.counts.rejected_decisions, stage.counts.rejected_labels) == (2 * DECISION_PARTITIONS, 1)


records = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 20)), max_size=40)


@settings(max_examples=150, deadline=None)
@given(records, st.lists(st.integers(1, 5), max_size=40), st.randoms(use_true_random=False))
def test_the_order_is_that_of_a_sort(rows: list[tuple[int, int, int]], cuts: list[int], random: object) -> None:
    """Against a sort by (highest time so far in the partition, topic, partition, offset)."""
    per_partition: dict[tuple[int, int], list[int]] = {(t, p): [] for t in range(2) for p in range(2)}
    for topic, partition, time in rows:
        per_partition[topic, partition].append(time)
    keys = [
        (int(time), topic, partition, offset)
        for (topic, partition), times in per_partition.items()
        for offset, time in enumerate(np.maximum.accumulate(times) if times else [])
    ]
    frontier = min((max(times) if times else -1) for times in per_partition.values())
    expected = [b"%d/%d/%d" % key[1:] for key in sorted(keys) if key[0] < frontier]
    state = MemoryState()
    order = StreamOrder((2, 2), state, 1 << 50)
    left = {key: list(enumerate(times)) for key, times in per_partition.items() if times}
    found: list[bytes] = []
    sizes = iter([*cuts, *[3] * len(rows)])
    while left:
        key = random.choice(sorted(left))  # type: ignore[attr-defined]
        size = next(sizes)
        some, left[key] = left[key][:size], left[key][size:]
        if not left[key]:
            del left[key]
        order.add(
            key[0], np.full(len(some), key[1], np.int32), np.array([o for o, _ in some], np.int64),
            np.array([t for _, t in some], np.int64), [b"%d/%d/%d" % (*key, o) for o, _ in some],
        )  # fmt: skip
        found += [value for run in order.release() for value in run.values]
        if size % 2:
            state = state.copy()
            order = StreamOrder((2, 2), state, 1 << 50)
    assert found == expected
    assert order.waiting == len(keys) - len(expected)
    assert len(state.blobs) <= 1 + len(keys) - len(expected)


def test_a_silent_partition_is_skipped_only_when_the_others_are_up_to_date() -> None:
    order = StreamOrder((2,), MemoryState(), 0)

    def add(partition: int, time: int) -> None:
        order.add(0, np.array([partition], np.int32), np.array([0]), np.array([time]), [b"%d" % time])

    add(0, 100)
    order.skip_idle(1_000, 50)
    assert not list(order.release())
    add(0, 990)
    order.skip_idle(1_000, 50)
    assert [run.values for run in order.release()] == [[b"100"]]
    add(1, 500)  # older than what was released: late, and next in the order
    assert order.late == 1
    add(1, 995)
    assert [run.values for run in order.release()] == [[b"500"]]
