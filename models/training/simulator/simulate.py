"""The stream itself: slices of time, put in order and cut into batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.training.simulator.config import DAY_MS, SimulatorConfig, SimulatorError
from models.training.simulator.draws import mix
from models.training.simulator.episodes import EPISODES, running_episodes, start_episodes
from models.training.simulator.events import Events, new_events
from models.training.simulator.evidence import with_references
from models.training.simulator.labels import LABEL, Labels, draw_labels
from models.training.simulator.ordinary import ordinary_events
from models.training.simulator.planned import plan_day
from models.training.simulator.population import make_population
from models.training.simulator.text import label_columns, transaction_columns
from models.training.simulator.world import World
from schemas.columns import I64, U8, Bool, LabelColumns, TransactionColumns


@dataclass(frozen=True, slots=True)
class SimulatedBatch:
    """Consecutive transactions with their truth, and the labels that have become known by their end."""

    transactions: TransactionColumns
    is_fraud: Bool  # fraud or laundering
    pattern: U8  # index into PATTERNS
    episode: I64  # number of the occurrence of the pattern; -1 for legitimate events
    labels: LabelColumns  # label times rise, and are at most the batch's newest event time

    def __len__(self) -> int:
        return len(self.pattern)


class Simulator:
    """A seeded stream of transactions, ordered by event time.

    Examples
    --------
    >>> config = SimulatorConfig(seed=7, accounts=500, merchants=200)
    >>> batch = next(Simulator(config).batches(100))
    >>> len(batch), batch.transactions.account_id.text_at(0)[0]
    (100, 'A')
    """

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config

    @cached_property
    def world(self) -> World:
        """Return the population and the lists drawn from it."""
        return World.of(self.config, make_population(self.config))

    @property
    def salt(self) -> np.uint64:
        """Return what makes the transaction ids of this stream differ from those of other seeds and starts."""
        return np.uint64(int(mix(np.uint64((self.config.seed * 0x9E3779B97F4A7C15 + self.config.start_ms) % 2**64))))

    def batches(self, batch_size: int, count: int | None = None) -> Iterator[SimulatedBatch]:
        """Yield the stream from its start in batches of exactly `batch_size`; the last one may be shorter.

        The events do not depend on the batch size. Every call starts anew.

        Parameters
        ----------
        batch_size
            Events in a batch.
        count
            Events to stop after; None to go on until the configuration's `days`, or for ever.
        """
        if batch_size < 1:
            raise SimulatorError(f"batch_size must be at least 1, got {batch_size}")
        rest = new_events(0)
        due = np.zeros(0, LABEL)
        sequence = 0
        left = count
        for events, labels in self._slices():
            events = np.concatenate([rest, events]) if len(rest) else events
            due = np.concatenate([due, labels])
            at = 0
            while at < len(events):
                size = batch_size if left is None else min(batch_size, left)
                if size == 0:
                    return
                if len(events) - at < size:
                    break
                batch, due = self._batch(events[at : at + size], due, sequence)
                yield batch
                at += size
                sequence += size
                left = None if left is None else left - size
            rest = events[at:]
        if len(rest) and left != 0:
            yield self._batch(rest[:left], due, sequence)[0]

    def _batch(self, events: Events, due: Labels, sequence: int) -> tuple[SimulatedBatch, Labels]:
        known = int(np.searchsorted(due["label_time_ms"], events["time_ms"][-1], side="right"))
        transactions = transaction_columns(events, sequence, self.salt)
        batch = SimulatedBatch(
            transactions=with_references(transactions, events, self.config, sequence, self.salt),
            is_fraud=events["pattern"] > 0,
            pattern=events["pattern"].copy(),
            episode=events["episode"].copy(),
            labels=label_columns(due[:known], self.salt),
        )
        return batch, due[known:]

    def _slices(self) -> Iterator[tuple[Events, Labels]]:
        """Yield the ordered events of each slice of time, and the ordered labels that become known in it."""
        config, world = self.config, self.world
        start_ms = config.start_ms
        end_ms = None if config.days is None else start_ms + int(config.days * DAY_MS)
        number = start_ms // config.slice_ms
        day_ms = start_ms // DAY_MS * DAY_MS
        waiting: defaultdict[int, list[Events]] = defaultdict(list)
        waiting_labels: defaultdict[int, list[Labels]] = defaultdict(list)
        _file_by_slice(waiting, running_episodes(world, day_ms), "time_ms", config.slice_ms, number)
        sequence = 0
        while end_ms is None or number * config.slice_ms < end_ms:
            slice_start_ms = number * config.slice_ms
            while day_ms <= slice_start_ms:
                started = [start_episodes(world, day_ms, pattern) for pattern in EPISODES]
                planned = np.concatenate([plan_day(world, day_ms), *started])
                _file_by_slice(waiting, planned, "time_ms", config.slice_ms, number)
                day_ms += DAY_MS
            events = np.concatenate(
                [ordinary_events(config, world.population, number, slice_start_ms), *waiting.pop(number, [])]
            )
            if slice_start_ms < start_ms:
                events = events[events["time_ms"] >= start_ms]
            if end_ms is not None and slice_start_ms + config.slice_ms > end_ms:
                events = events[events["time_ms"] < end_ms]
            events = events[np.argsort(events["time_ms"], kind="stable")]

            rng = np.random.default_rng([config.seed, 5, number])
            _file_by_slice(
                waiting_labels,
                draw_labels(config.labels, rng, events, sequence),
                "label_time_ms",
                config.slice_ms,
                number,
            )
            labels = np.concatenate([np.zeros(0, LABEL), *waiting_labels.pop(number, [])])
            yield events, labels[np.argsort(labels["label_time_ms"], kind="stable")]
            sequence += len(events)
            number += 1


def _file_by_slice(
    waiting: defaultdict[int, list[Events]], rows: Events, time: str, slice_ms: int, first_number: int
) -> None:
    """Put rows aside under the number of the slice they fall in; what falls before `first_number` is dropped."""
    numbers = rows[time] // slice_ms
    order = np.argsort(numbers, kind="stable")
    numbers, rows = numbers[order], rows[order]
    bounds = np.flatnonzero(np.diff(numbers)) + 1
    for part, where in zip(np.split(rows, bounds), np.split(numbers, bounds), strict=True):
        if len(part) and where[0] >= first_number:
            waiting[int(where[0])].append(part)
