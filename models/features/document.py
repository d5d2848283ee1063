"""docs/features.md, generated from the catalogue."""

from __future__ import annotations

from models.features.catalogue import FEATURE_SET, FEATURES, LABEL_DELAY_MS, SOURCES, STORE, Feature
from models.features.currency import REFERENCE_CURRENCY
from models.features.kernels.room import FRAUD_LIMIT
from models.features.store_spec import DAY_MS, HOUR_MS, MINUTE_MS

_TITLES = {
    "transaction": "Of the transaction itself",
    "originator": "Of the originator (account), and of the pair",
    "beneficiary": "Of the beneficiary (counterparty)",
    "device": "Of the device",
    "reference": "Of reference data",
}


def duration(ms: int) -> str:
    """Write a duration in the largest unit that divides it."""
    for unit, size in (("d", DAY_MS), ("h", HOUR_MS), ("min", MINUTE_MS)):
        if ms and ms % size == 0:
            return f"{ms // size} {unit}"
    return f"{ms} ms" if ms else ""


def _row(feature: Feature) -> str:
    window = duration(feature.window_ms)
    if feature.delay_ms:
        window += f", {duration(feature.delay_ms)} ago"
    is_yes_or_no = feature.formula.startswith("yes = 1")
    meaning = feature.meaning + ("" if not feature.formula or is_yes_or_no else f" ({feature.formula})")
    return f"| `{feature.name}` | {window} | {feature.unit} | {meaning} | {feature.missing or 'never'} |"


def feature_document() -> str:
    """Return the page as Markdown."""
    lines = [
        "# Features",
        "",
        "<!-- Generated from models/features/catalogue.py by `python -m models.features`. Do not edit. -->",
        "",
        f"{len(FEATURES)} features, version `{FEATURE_SET}`. Models and rules see them under these names; a decision",
        "carries them in this order.",
        "",
        "**Windows** are [t - window, t) in event time, the transaction itself left out; transactions of the",
        "same time that arrived earlier count as before. A late transaction sees and updates the window it",
        f"belongs to. One that is more than {duration(STORE.allowed_lateness_ms)} behind the newest sees what is",
        "still remembered.",
        "",
        f"**Amounts** are in {REFERENCE_CURRENCY}, converted at the fixed rates of `models/features/rates.json`.",
        "Sums are exact: they are kept as whole cents and turned into floating point when read.",
        "",
        "**Labels** count once they have arrived. A risk looks only at transactions at least",
        f"{duration(LABEL_DELAY_MS)} old, so that late labels do not look like innocence. Which labels count is set by",
        "`risk_labels`: raw ones as they come, where the last to arrive wins, or matured ones, those that hold",
        "([online learning](online-learning.md)). Fraud is remembered once for each transaction and side; a later",
        f"verdict of legitimate takes it out again, as if it had never been there. At most {FRAUD_LIMIT:,} frauds are",
        "remembered an entity, those of the oldest transactions are forgotten first and do not come back.",
        "",
        f"**Memory** is bounded: an entity remembers at most {STORE.max_touches_per_track:,} transactions in each",
        f"role, the oldest are forgotten first, and nothing older than {duration(STORE.retention_ms)}. An entity",
        "with one or two transactions takes 200 bytes; each further one 32 to 64 bytes up to 64 transactions,",
        "81 to 200 bytes beyond.",
        "",
    ]
    for source in SOURCES:
        lines += [f"## {_TITLES[source]}", ""]
        lines += ["| feature | window | unit | meaning | NaN when |", "| --- | --- | --- | --- | --- |"]
        lines += [_row(feature) for feature in FEATURES if feature.source == source]
        lines.append("")
    return "\n".join(lines)
