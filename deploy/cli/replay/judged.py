"""What labels say of two runs: precision, recall, CP@100 and money."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.settings import Settings
from models.replay.compare import RunColumns
from online_learning.evaluate.measures import Judged, measure
from online_learning.labels.precedence import RANKS
from schemas.columns import U64, Bool, StringColumn
from schemas.hashing import hash_strings
from schemas.labels import LabelDecoder


@dataclass(frozen=True, slots=True)
class Labels:
    """What holds of each labelled transaction, by the hash of its id, ascending."""

    transaction: U64
    is_fraud: Bool
    pattern: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.transaction)

    def rows(self, transaction: U64) -> tuple[np.ndarray[Any, Any], Bool]:
        """Return each transaction's row here, and whether it has one."""
        if not len(self):
            return np.zeros(len(transaction), np.intp), np.zeros(len(transaction), np.bool_)
        at = np.minimum(np.searchsorted(self.transaction, transaction), len(self) - 1)
        return at, self.transaction[at] == transaction


def labels_of(values: Iterable[list[bytes | None]]) -> Labels:
    """Return the labels of a topic, by precedence; those that cannot be read are left out."""
    decoder = LabelDecoder()
    newest: dict[int, tuple[tuple[int, int, bool], str]] = {}
    for batch in values:
        columns, _, _ = decoder.decode(batch)
        ids = hash_strings(columns.transaction_id).tolist()
        ranks, times = RANKS[columns.source].tolist(), columns.label_time_ms.tolist()
        for row, key in enumerate(ids):
            order = (ranks[row], times[row], bool(columns.is_fraud[row]))
            if key not in newest or order > newest[key][0]:
                newest[key] = order, columns.pattern.text_at(row) or ""
    return _sorted({key: (order[2], pattern) for key, (order, pattern) in newest.items()})


def labels_of_topic(settings: Settings) -> Labels:
    """Return the labels of the topic `labels`; see `labels_of`.

    Raises
    ------
    ReadError
        If Kafka does not answer, or the topic does not exist.
    """
    from deploy.cli.kafka import client_properties
    from jobs.stream.topic_reader import TopicReader

    with TopicReader(client_properties(settings), [settings.topics.labels]) as reader:
        return labels_of([message.value() for message in batch] for batch in reader.until_end())


def labels_in(path: Path) -> Labels:
    """Return the labels of a file with the fields of `label.avsc`."""
    from deploy.cli.stream_file import read_labels

    found = read_labels(path)
    hashes = hash_strings(StringColumn.from_values(list(found))).tolist() if found else []
    values = ((is_fraud, pattern) for _, is_fraud, pattern in found.values())
    return _sorted(dict(zip(hashes, values, strict=True)))


def _sorted(found: Mapping[int, tuple[bool, str]]) -> Labels:
    keys = np.array(sorted(found), np.uint64)
    is_fraud = np.array([found[int(key)][0] for key in keys], np.bool_)
    return Labels(keys, is_fraud, tuple(found[int(key)][1] for key in keys))


@dataclass(frozen=True, slots=True)
class Verdict:
    """One run against the labels. Money in minor units of the reference currency.

    Attributes
    ----------
    labelled, frauds, alerts
        Labelled transactions, the frauds among them, and the alerts among them.
    precision, recall
        Of the alerts, on labelled transactions.
    average_precision, card_precision
        Of the scores; the latter is CP@100.
    stopped, missed
        Amount of frauds that were alerted on, and that were not.
    held_up
        Amount of legitimate transactions that were alerted on.
    recall_by_pattern
        Frauds alerted on, and frauds, of each pattern.
    """

    labelled: int
    frauds: int
    alerts: int
    precision: float
    recall: float
    average_precision: float
    card_precision: float
    stopped: int
    missed: int
    held_up: int
    recall_by_pattern: Mapping[str, tuple[int, int]]


def judge(run: RunColumns, labels: Labels) -> Verdict:
    """Measure a run on the transactions that are labelled."""
    at, is_known = labels.rows(run.transaction)
    known = run.take(is_known)
    at = at[is_known]
    is_fraud = labels.is_fraud[at] if len(labels) else np.zeros(0, np.bool_)
    is_alert, amount = known.is_alert, known.amount
    judged = Judged(is_fraud, known.account.view(np.int64), known.event_time_ms)
    measures = measure(judged, known.score.astype(np.float64))
    hits = int((is_alert & is_fraud).sum())
    patterns: dict[str, tuple[int, int]] = {}
    for row in np.flatnonzero(is_fraud).tolist():
        name = labels.pattern[at[row]] or "unnamed"
        found, total = patterns.get(name, (0, 0))
        patterns[name] = (found + int(is_alert[row]), total + 1)
    return Verdict(
        labelled=len(known),
        frauds=int(is_fraud.sum()),
        alerts=int(is_alert.sum()),
        precision=hits / int(is_alert.sum()) if is_alert.any() else float("nan"),
        recall=hits / int(is_fraud.sum()) if is_fraud.any() else float("nan"),
        average_precision=measures.average_precision,
        card_precision=measures.card_precision,
        stopped=int(amount[is_alert & is_fraud].sum()),
        missed=int(amount[~is_alert & is_fraud].sum()),
        held_up=int(amount[is_alert & ~is_fraud].sum()),
        recall_by_pattern=dict(sorted(patterns.items())),
    )
