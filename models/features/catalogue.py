"""The feature catalogue: name, window, unit and meaning of every number that models and rules see.

The order of `FEATURES` is the order of the feature matrix. docs/features.md is generated from here by
`python -m models.features`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from models.features.store_spec import DAY_MS, HOUR_MS, MINUTE_MS, Column, Statistic, StoreSpec, Track

LABEL_DELAY_MS = 7 * DAY_MS
"""Risk looks only at transactions at least this old: younger ones may be fraud that nobody has reported yet."""

SOURCES = ("transaction", "originator", "beneficiary", "device", "reference")


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the feature matrix.

    `window_ms` is 0 without a window. A feature with a `column` is that column of the entity store, taken as it
    is; `formula` says in words how any other one is computed. `missing` says what NaN means, empty if it never is.
    """

    name: str
    source: str
    unit: str
    meaning: str
    missing: str = ""
    window_ms: int = 0
    delay_ms: int = 0
    formula: str = ""
    column: Column | None = None

    @property
    def reach_ms(self) -> int:
        """How much history the feature needs before it is complete."""
        return self.window_ms + self.delay_ms


_SUFFIXES = {"10m": 10 * MINUTE_MS, "1h": HOUR_MS, "1d": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS}
_WORDS = {"10m": "10 minutes", "1h": "hour", "1d": "day", "7d": "7 days", "30d": "30 days"}
_OLD = "30d"

_UNITS = {
    Statistic.COUNT: "transactions",
    Statistic.SUM: "EUR",
    Statistic.MEAN: "EUR",
    Statistic.MAX: "EUR",
    Statistic.STD: "EUR",
    Statistic.DISTINCT: "entities",
    Statistic.SECONDS_SINCE_LAST: "s",
    Statistic.SECONDS_SINCE_FIRST: "s",
    Statistic.PAIR_COUNT: "transactions",
    Statistic.PAIR_SUM: "EUR",
    Statistic.PAIR_SECONDS_SINCE_LAST: "s",
}
_NAN = {
    Statistic.MEAN: "no transaction in the window",
    Statistic.MAX: "no transaction in the window",
    Statistic.STD: "fewer than two transactions in the window",
    Statistic.SECONDS_SINCE_LAST: "none in the window",
    Statistic.SECONDS_SINCE_FIRST: "none in the window",
    Statistic.PAIR_SECONDS_SINCE_LAST: "none in the window",
}


def _windowed(source: str, name: str, track: Track, statistic: Statistic, windows: str, meaning: str) -> list[Feature]:
    """Features `name` with the window as suffix; a name that holds the placeholder {} takes it there."""
    features = []
    for suffix in windows.split():
        full = name.format(suffix) if "{}" in name else f"{name}_{suffix}"
        window_ms = _SUFFIXES[suffix]
        missing = _NAN.get(statistic, "")
        if source == "device":
            missing = f"no device{', or ' + missing if missing else ''}"
        unit = "frauds" if track == Track.FRAUD and statistic == Statistic.COUNT else _UNITS[statistic]
        text = f"{meaning} in the last {_WORDS[suffix]}"
        column = Column(full, track, statistic, window_ms)
        features.append(Feature(full, source, unit, text, missing, window_ms, column=column))
    return features


def _since(source: str, name: str, track: Track, statistic: Statistic, meaning: str) -> list[Feature]:
    """A time since something of the last 30 days, without the window in its name."""
    column = Column(name, track, statistic, _SUFFIXES[_OLD])
    missing = ("no device, or " if source == "device" else "") + f"none in the last {_WORDS[_OLD]}"
    return [Feature(name, source, "s", meaning, missing, _SUFFIXES[_OLD], column=column)]


def _derived(
    source: str, name: str, unit: str, meaning: str, formula: str, missing: str, window: str = "", delay_ms: int = 0
) -> Feature:
    return Feature(name, source, unit, meaning, missing, _SUFFIXES.get(window, 0), delay_ms, formula)


CHANNEL_FEATURES = (
    "card_present", "card_not_present", "atm", "transfer", "instant_transfer", "wire", "cash", "direct_debit",
)  # fmt: skip
"""Channels with a column of their own; `other` is all of them zero."""

HIGH_RISK_MERCHANT_CATEGORIES = (
    4829,
    5933,
    5944,
    5967,
    5993,
    6010,
    6011,
    6012,
    6051,
    6211,
    7273,
    7800,
    7801,
    7802,
    7995,
)
"""Money transfer, pawn shops, jewellery, quasi-cash, crypto and securities, dating, gambling and the like."""


def _transaction_features() -> list[Feature]:
    def of(name: str, unit: str, meaning: str, formula: str, missing: str = "") -> Feature:
        return Feature(name, "transaction", unit, meaning, missing, formula=formula)

    return [
        of("amount", "EUR", "Amount of the transaction", "amount at the fixed rate of rates.json"),
        of("log_amount", "log EUR", "Amount on a logarithmic scale", "ln(1 + amount)"),
        of("is_round_amount", "0/1", "The amount is a positive multiple of 50 major units of its currency", "yes = 1"),
        of("hour_of_day", "h", "Hour of the event time, with its fraction", "UTC, 0 to 24"),
        of("is_night", "0/1", "Event time between 0:00 and 6:59 UTC", "yes = 1"),
        of("is_weekend", "0/1", "Event time on a Saturday or Sunday, UTC", "yes = 1"),
        of("is_cross_border", "0/1", "Countries of originator and beneficiary differ", "yes = 1",
           "a country is unknown"),
        of("is_self_transfer", "0/1", "Originator and beneficiary are the same", "yes = 1"),
        of("has_device", "0/1", "The transaction names a device", "yes = 1"),
        of("is_high_risk_merchant", "0/1", "Merchant category with more fraud than others (gambling, money transfer, "
           "quasi-cash, jewellery and the like)", "yes = 1; 0 without a category"),
        *(of(f"channel_{c}", "0/1", f"Channel is {c.replace('_', ' ')}", "yes = 1") for c in CHANNEL_FEATURES),
    ]  # fmt: skip


def _originator_features() -> list[Feature]:
    who, S, OUT, IN = "originator", Statistic, Track.OUT, Track.IN
    return [
        *_windowed(who, "account_out_count", OUT, S.COUNT, "10m 1h 1d 7d 30d", "Transactions the account made"),
        *_windowed(who, "account_out_sum", OUT, S.SUM, "1h 1d 7d 30d", "Money the account sent"),
        *_windowed(who, "account_out_mean", OUT, S.MEAN, "7d 30d", "Mean amount the account sent"),
        *_windowed(who, "account_out_max", OUT, S.MAX, "1d 30d", "Largest amount the account sent"),
        *_windowed(who, "account_out_std", OUT, S.STD, "30d", "Standard deviation of the amounts the account sent"),
        *_windowed(who, "account_distinct_counterparties", OUT, S.DISTINCT, "1h 1d 7d 30d",
                   "Fan-out: different counterparties the account sent to"),
        *_since(who, "seconds_since_last_out", OUT, S.SECONDS_SINCE_LAST, "Time since the account's last transaction"),
        *_since(who, "account_active_seconds", OUT, S.SECONDS_SINCE_FIRST,
                "Time since the account's oldest transaction of the last 30 days"),
        _derived(who, "amount_to_mean_30d", "ratio", "Amount against the account's mean of the last 30 days",
                 "amount / account_out_mean_30d", "no transaction in the window, or a mean of 0", "30d"),
        _derived(who, "amount_to_max_30d", "ratio", "Amount against the account's largest of the last 30 days",
                 "amount / account_out_max_30d", "no transaction in the window, or a largest amount of 0", "30d"),
        _derived(who, "amount_zscore_30d", "standard deviations", "How unusual the amount is for the account",
                 "(amount - account_out_mean_30d) / account_out_std_30d",
                 "fewer than two transactions in the window, or all of one amount", "30d"),
        _derived(who, "account_burst_1h", "ratio", "Transactions of the last hour, this one included, against the "
                 "account's usual hour", "(account_out_count_1h + 1) / ((account_out_count_30d + 1) / 720)", "", "30d"),
        *_windowed(who, "account_in_count", IN, S.COUNT, "1d 7d", "Transactions the account received"),
        *_windowed(who, "account_in_sum", IN, S.SUM, "1h 1d 7d", "Money the account received"),
        *_windowed(who, "account_fan_in", IN, S.DISTINCT, "1d 7d", "Different originators that sent to the account"),
        *_since(who, "seconds_since_last_in", IN, S.SECONDS_SINCE_LAST, "Time since the account last received money"),
        *(_derived(who, f"account_pass_through_{w}", "ratio", "Money out of the account, this transaction included, "
                   f"against money in, in the last {_WORDS[w]}", f"(account_out_sum_{w} + amount) / account_in_sum_{w}",
                   "no money in", w) for w in ("1h", "1d", "7d")),
        *_windowed(who, "pair_count", OUT, S.PAIR_COUNT, "30d", "Transactions from the account to this counterparty"),
        *_windowed(who, "pair_sum", OUT, S.PAIR_SUM, "30d", "Money from the account to this counterparty"),
        *_since(who, "seconds_since_pair", OUT, S.PAIR_SECONDS_SINCE_LAST,
                "Time since the account last sent to this counterparty"),
        _derived(who, "pair_is_new", "0/1", "First transaction from the account to this counterparty in 30 days",
                 "pair_count_30d = 0", "", "30d"),
        *_windowed(who, "account_fraud_count", Track.FRAUD, S.COUNT, "30d",
                   "Transactions of the account, in either role, that a label called fraud so far"),
        *_since(who, "seconds_since_account_fraud", Track.FRAUD, S.SECONDS_SINCE_LAST,
                "Time since the account's last transaction that a label called fraud so far"),
    ]  # fmt: skip


def _beneficiary_features() -> list[Feature]:
    who, S, OUT, IN = "beneficiary", Statistic, Track.OUT, Track.IN
    return [
        *_windowed(who, "counterparty_in_count", IN, S.COUNT, "10m 1h 1d 7d 30d",
                   "Transactions the counterparty received"),
        *_windowed(who, "counterparty_in_sum", IN, S.SUM, "1h 1d 7d", "Money the counterparty received"),
        *_windowed(who, "counterparty_in_mean", IN, S.MEAN, "30d", "Mean amount the counterparty received"),
        *_windowed(who, "counterparty_in_std", IN, S.STD, "30d",
                   "Standard deviation of amounts the counterparty received"),
        *_windowed(who, "counterparty_fan_in", IN, S.DISTINCT, "1h 1d 7d 30d",
                   "Fan-in: different originators that sent to the counterparty"),
        *_since(who, "seconds_since_counterparty_in", IN, S.SECONDS_SINCE_LAST,
                "Time since the counterparty last received money"),
        *_since(who, "counterparty_active_seconds", IN, S.SECONDS_SINCE_FIRST,
                "Time since the oldest transaction that the counterparty received in the last 30 days"),
        _derived(who, "counterparty_amount_zscore_30d", "standard deviations",
                 "How unusual the amount is for the counterparty",
                 "(amount - counterparty_in_mean_30d) / counterparty_in_std_30d",
                 "fewer than two transactions in the window, or all of one amount", "30d"),
        *_windowed(who, "counterparty_out_count", OUT, S.COUNT, "1d", "Transactions the counterparty made"),
        *_windowed(who, "counterparty_out_sum", OUT, S.SUM, "1d 7d", "Money the counterparty sent on"),
        *_windowed(who, "counterparty_fan_out", OUT, S.DISTINCT, "1d",
                   "Different entities the counterparty sent to"),
        *(_derived(who, f"counterparty_pass_through_{w}", "ratio", "Money out of the counterparty against money "
                   f"in, this transaction included, in the last {_WORDS[w]}",
                   f"counterparty_out_sum_{w} / (counterparty_in_sum_{w} + amount)",
                   "an amount of 0 and no money in", w)
          for w in ("1d", "7d")),
        *(_derived(who, f"counterparty_risk_{w}", "share", "Share of fraud among the transactions that the "
                   f"counterparty received in {_WORDS[w] if w != '1d' else 'one day'}, ending 7 days ago so that "
                   "labels are in",
                   "frauds labelled so far / transactions, both over the delayed window",
                   "no transaction in the window",
                   w, LABEL_DELAY_MS) for w in ("1d", "7d", "30d")),
        *_windowed(who, "counterparty_fraud_count", Track.FRAUD, S.COUNT, "30d",
                   "Transactions of the counterparty, in either role, that a label called fraud so far"),
        *_since(who, "seconds_since_counterparty_fraud", Track.FRAUD, S.SECONDS_SINCE_LAST,
                "Time since the counterparty's last transaction that a label called fraud so far"),
    ]  # fmt: skip


def _device_features() -> list[Feature]:
    who, S, USE = "device", Statistic, Track.USE
    return [
        *_windowed(who, "device_count", USE, S.COUNT, "10m 1h 1d 7d", "Transactions made with the device"),
        *_windowed(who, "device_sum", USE, S.SUM, "1d", "Money sent with the device"),
        *_windowed(who, "device_distinct_accounts", USE, S.DISTINCT, "1d 7d 30d",
                   "Different accounts that used the device"),
        *_since(who, "seconds_since_device", USE, S.SECONDS_SINCE_LAST, "Time since the device was last used"),
        *_since(who, "seconds_since_device_pair", USE, S.PAIR_SECONDS_SINCE_LAST,
                "Time since this account last used the device"),
        _derived(who, "device_is_new_for_account", "0/1", "This account has not used the device in 30 days",
                 "seconds_since_device_pair is missing", "no device", "30d"),
    ]  # fmt: skip


def _reference_features() -> list[Feature]:
    off = "reference data not reachable"

    def of(name: str, unit: str, meaning: str, missing: str) -> Feature:
        return Feature(name, "reference", unit, meaning, missing, formula="looked up when the transaction is scored")

    return [
        of("account_on_watchlist", "0/1", "The account is on the watch-list", off),
        of("counterparty_on_watchlist", "0/1", "The counterparty is on the watch-list", off),
        of("device_reference_risk", "0 to 1", "Risk that reference data gives the device", f"{off}, or no entry"),
        of(
            "merchant_reference_risk",
            "0 to 1",
            "Risk that reference data gives the counterparty",
            f"{off}, or no entry",
        ),
    ]


FEATURES: tuple[Feature, ...] = (
    *_transaction_features(),
    *_originator_features(),
    *_beneficiary_features(),
    *_device_features(),
    *_reference_features(),
)
"""Every feature, in the order of the feature matrix."""

FEATURE_NAMES: tuple[str, ...] = tuple(f.name for f in FEATURES)
FEATURE_INDEX: dict[str, int] = {name: i for i, name in enumerate(FEATURE_NAMES)}


def _columns(source: str) -> tuple[Column, ...]:
    return tuple(f.column for f in FEATURES if f.source == source and f.column is not None)


RISK_COLUMNS: tuple[Column, ...] = tuple(
    Column(f"matured_{what}_{suffix}", track, Statistic.COUNT, _SUFFIXES[suffix], LABEL_DELAY_MS)
    for suffix in ("1d", "7d", "30d")
    for what, track in (("count", Track.IN), ("frauds", Track.FRAUD))
)
"""Numerators and denominators of `counterparty_risk_*`: read by the store, no features themselves."""

STORE: StoreSpec = StoreSpec(
    originator=_columns("originator"),
    beneficiary=(*_columns("beneficiary"), *RISK_COLUMNS),
    device=_columns("device"),
)
"""What the entity store keeps and reads for this catalogue."""


def _feature_set() -> str:
    definitions = "\n".join(
        f"{f.name}|{f.source}|{f.unit}|{f.window_ms}|{f.delay_ms}|{f.formula}|{f.column}" for f in FEATURES
    )
    rates = files("models.features").joinpath("rates.json").read_text()
    return hashlib.sha256(f"{definitions}\n{rates}".encode()).hexdigest()[:16]


FEATURE_SET: str = _feature_set()
"""Version of the catalogue: 16 hexadecimal digits over names, order, definitions and exchange rates."""
