"""What a simulated stream looks like: its size, its rates, its delays."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

PATTERNS = (
    "legitimate",
    "card_testing", "account_takeover", "stolen_card", "bust_out",
    "structuring", "fan_in", "fan_out", "mule_chain", "pass_through", "cycle",
)  # fmt: skip
"""Names of the patterns; the pattern column of a batch holds indices into this tuple."""

FRAUD_PATTERNS = PATTERNS[1:5]
LAUNDERING_PATTERNS = PATTERNS[5:]

REPORTING_THRESHOLD_EUR = 10_000.0
"""Cash amounts from here on are reported to the authorities in most of Europe; structuring stays below."""

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

# A slice is the stretch of time generated at once. Below this many events the cost of a slice (about 2 ms of
# NumPy calls) would show; far above it, memory would.
EVENTS_PER_SLICE = 30_000


class SimulatorError(ValueError):
    """A simulator was asked for something it cannot do."""


@dataclass(frozen=True, slots=True)
class LabelDelays:
    """When, and from whom, a label arrives. Delays are log-normal: a median and the spread of the logarithm.

    Shares say which part of the events of a kind gets a label from that source; what is left never gets one.
    """

    chargeback_share: float = 0.75
    """Share of card fraud and takeover that the customer disputes."""
    chargeback_median_days: float = 12.0
    chargeback_spread: float = 0.7
    fraud_analyst_share: float = 0.15
    """Share of card fraud and takeover that an analyst finds first."""
    laundering_analyst_share: float = 0.40
    analyst_median_hours: float = 9.0
    analyst_spread: float = 1.0
    report_share: float = 0.35
    """Share of laundering known only from a suspicious activity report."""
    report_median_days: float = 18.0
    report_spread: float = 0.5
    reviewed_legitimate_share: float = 0.004
    """Share of ordinary legitimate events that an analyst looked at and cleared."""
    reviewed_large_share: float = 0.05
    """The same among legitimate transfers above 1,500 EUR, which look more like a case."""
    disputed_legitimate_share: float = 0.00005
    """Share of legitimate online card payments disputed all the same: labels that are wrong."""


LONGER_THAN_EXPECTED = 1.06
"""Of a stream's span: over 1 to 60 days it took 1.00 to 1.053 times what the expected rate says."""
QUIET_HOURS_MS = 9 * HOUR_MS
"""A short stream that begins in the evening has the night before it: it took up to 8 hours longer."""


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """A simulated stream. Equal configurations give equal bytes.

    Parameters
    ----------
    seed
        Seed of everything random.
    accounts, merchants
        Size of the population; at least 200 each. Accounts at other banks come on top (half as many).
    second_device_share, shared_device_share
        Share of accounts that use two devices, and of those that share one with a neighbour.
    events_per_account_day
        Mean number of spontaneous legitimate events of an account and day. Salaries, rents, bills and
        other planned payments add about 0.4 a day.
    fraud_rate, laundering_rate
        Share of all events that belong to a fraud or laundering pattern.
    patterns
        Patterns that occur.
    stealth
        Share of the episodes that take care to look ordinary (usual device, usual amounts, slower).
    start_ms
        Event time at which the stream starts, milliseconds since 1970-01-01 UTC.
    days
        Length of the stream in days of event time; None for an endless stream.
    evidence_share
        Share of the transactions, or of the transfers from `evidence_from_eur` on, that come with a reference to one
        document.
    evidence_root
        What stands before the document's name, which is TRANSACTION_ID.jpg.
    evidence_from_eur
        Above 0: transfers alone come with documents, from this amount on, and in currencies with two decimals, as the
        documents of `models.training.documents` print them. 0: any transaction.
    """

    seed: int = 1
    accounts: int = 50_000
    merchants: int = 5_000
    second_device_share: float = 0.30
    shared_device_share: float = 0.06
    events_per_account_day: float = 3.0
    fraud_rate: float = 0.0045
    laundering_rate: float = 0.0035
    patterns: tuple[str, ...] = PATTERNS[1:]
    stealth: float = 0.45
    start_ms: int = 1_736_121_600_000  # 2025-01-06, a Monday
    days: float | None = None
    labels: LabelDelays = field(default_factory=LabelDelays)
    evidence_share: float = 0.0
    evidence_root: str = "file:///evidence"
    evidence_from_eur: float = 0.0

    def __post_init__(self) -> None:
        if self.accounts < 200 or self.merchants < 200:
            raise SimulatorError(
                f"a population needs at least 200 accounts and 200 merchants, got {self.accounts} and {self.merchants}"
            )
        if self.accounts > 50_000_000 or self.merchants > 9_000_000:
            raise SimulatorError("identifiers have room for 50 million accounts and 9 million merchants; ask for fewer")
        if not self.events_per_account_day > 0:
            raise SimulatorError(f"events_per_account_day must be above 0, got {self.events_per_account_day}")
        if self.fraud_rate < 0 or self.laundering_rate < 0 or self.fraud_rate + self.laundering_rate > 0.5:
            raise SimulatorError("fraud_rate and laundering_rate must be shares of all events, together at most 0.5")
        if not 0 <= self.evidence_share <= 1:
            raise SimulatorError(f"evidence_share must be a share, 0 to 1, got {self.evidence_share}")
        if not self.evidence_from_eur >= 0:
            raise SimulatorError(f"evidence_from_eur must be at least 0, got {self.evidence_from_eur}")
        unknown = set(self.patterns) - set(PATTERNS[1:])
        if unknown:
            raise SimulatorError(f"unknown patterns {sorted(unknown)}; choose among {', '.join(PATTERNS[1:])}")

    @property
    def expected_events_per_day(self) -> float:
        """Expected number of events in a day of event time, all kinds together."""
        planned_per_account_day = 0.38
        legitimate = self.accounts * (self.events_per_account_day + planned_per_account_day)
        return legitimate / (1.0 - self.fraud_rate - self.laundering_rate)

    @property
    def slice_ms(self) -> int:
        """Length of the stretch of event time generated at once: 1 to 24 hours, a divisor of the day."""
        for hours in (1, 2, 3, 4, 6, 8, 12):
            if self.expected_events_per_day * hours / 24 >= EVENTS_PER_SLICE:
                return hours * HOUR_MS
        return DAY_MS

    def ending_at(self, end_ms: int, count: int) -> SimulatorConfig:
        """Return this configuration with a start such that `count` events end shortly before `end_ms`.

        For live runs: event times then stay in the past, whatever the rate at which they are sent. An event time far
        in the future is refused, so the end errs to the early side, by up to a day and 2 % of the span.
        """
        span_ms = LONGER_THAN_EXPECTED * count / self.expected_events_per_day * DAY_MS
        return replace(self, start_ms=end_ms - int(span_ms) - QUIET_HOURS_MS)
