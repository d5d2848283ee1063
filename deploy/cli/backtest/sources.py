"""Where the transactions of a back-test come from: the ledger, a file of decisions, or a file of transactions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deploy.cli.kafka import client_properties
from jobs.settings import Settings
from jobs.stream.topic_reader import BEGINNING, Start, TopicReader
from models.backtest.evaluation import Backtest, Evaluated
from models.backtest.ledger import LedgerBlocks
from models.backtest.summary import first_day_ms
from models.features.catalogue import FEATURE_NAMES
from models.scoring.model import Thresholds
from schemas.ledger_reader import LedgerReader

_PEEK = 5_000
Values = Sequence[bytes | None]


@dataclass(frozen=True, slots=True)
class DecidedAgain:
    """Evaluated transactions, and how many decisions could not be read."""

    evaluated: Evaluated
    unread: int


def known_thresholds(settings: Settings) -> dict[str, Thresholds]:
    """Return the thresholds of the models beside the one of the settings, by the SHA-256 of their cards."""
    folder = settings.models_dir.resolve()
    found = {}
    for path in (folder / "card.json", *sorted(folder.parent.glob("*/card.json"))):
        if path.exists():
            content = path.read_bytes()
            card = json.loads(content)
            if "combination" not in card:
                continue  # a model of a side service: it decides on no transaction
            limits = card["thresholds"]
            found[hashlib.sha256(content).hexdigest()] = Thresholds(float(limits["review"]), float(limits["decline"]))
    return found


def evaluate_decisions(
    values: Iterable[Values], blocks: LedgerBlocks, backtest: Backtest, days: int, advance: Callable[[int], None]
) -> DecidedAgain:
    """Decide again on decisions; of the last `days` days, which the newest of them tells.

    Raises
    ------
    VersionError
        If the model of some decisions is not known.
    """
    reader = LedgerReader(len(FEATURE_NAMES))
    unread, newest_ms = 0, 0
    for part in values:
        columns = reader.decode(part)
        unread += int((~columns.is_read).sum())
        backtest.add(blocks.block(columns))
        newest_ms = max(newest_ms, int(columns.event_time_ms.max(initial=0)))
        advance(len(part))
    return DecidedAgain(backtest.result().since(first_day_ms(newest_ms, days)), unread)


class KafkaLedger:
    """The committed decisions of the last days in Kafka.

    Parameters
    ----------
    settings
        Of the scoring job.
    days
        How many days of event time, up to the newest decision's.
    blocks
        Told of the oldest decisions there are, for where history begins.
    """

    def __init__(self, settings: Settings, days: int, blocks: LedgerBlocks) -> None:
        self._properties = client_properties(settings)
        self._topic = settings.topics.decisions
        reader = LedgerReader(len(FEATURE_NAMES))
        with TopicReader(self._properties, [self._topic], Start(last=_PEEK // 10)) as tail:
            times = [reader.decode(part).event_time_ms.max(initial=0) for part in _values(tail)]
        newest_ms = int(np.max(times, initial=0))
        with TopicReader(self._properties, [self._topic], BEGINNING) as head:
            for part in _values(head):
                blocks.note(reader.decode(part))
                break
        # A record is written after its event, or at most so long before it as clocks may be ahead.
        ahead_ms = settings.max_future_seconds * 1000
        self._start = Start(since_ms=max(0, first_day_ms(newest_ms, days) - ahead_ms))

    def open(self) -> TopicReader:
        """Return a reader of the decisions, to be closed."""
        return TopicReader(self._properties, [self._topic], self._start)

    @staticmethod
    def values(reader: TopicReader) -> Iterator[Values]:
        """Yield the decisions."""
        yield from _values(reader)


def _values(reader: TopicReader) -> Iterator[Values]:
    for batch in reader.until_end():
        yield [message.value() for message in batch]
