"""A difference as tables of text: for the terminal and for the report alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isnan

from deploy.cli.replay.judged import Verdict
from deploy.cli.show import number
from models.features.currency import REFERENCE_CURRENCY
from models.replay.compare import QUANTILES, Difference
from schemas.decisions import OUTCOMES

MOST_ROWS = 15


@dataclass(frozen=True, slots=True)
class Table:
    """A title, the names of the columns, and rows of text; the first column is text, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def print_tables(tables: Iterable[Table]) -> None:
    """Show tables in the terminal."""
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console()
    for table in tables:
        shown = RichTable(title=table.title, title_justify="left", box=None, header_style="bold")
        for i, name in enumerate(table.columns):
            shown.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
        console.print()


def tables_of(
    difference: Difference, names: tuple[str, str], verdicts: tuple[Verdict, Verdict] | None, examples: int
) -> Iterator[Table]:
    """Yield the tables that there is something to say in."""
    a, b = names
    d = difference
    n = len(d.a)
    yield Table(
        f"{a} and {b}",
        ("", "transactions"),
        (
            ("in both", f"{n:,}"),
            ("decided alike, byte for byte", f"{int(d.is_equal.sum()):,}"),
            ("decided differently", f"{n - int(d.is_equal.sum()):,}"),
            (f"in {a} alone", f"{d.only_a:,}"),
            (f"in {b} alone", f"{d.only_b:,}"),
            ("new alerts", f"{len(d.new):,}"),
            ("lost alerts", f"{len(d.lost):,}"),
            ("alerts that changed", f"{len(d.changed):,}"),
        ),
    )
    yield Table(
        f"Outcomes: {a} down, {b} across",
        ("", *OUTCOMES),
        tuple((name, *(f"{int(count):,}" for count in row)) for name, row in zip(OUTCOMES, d.outcomes, strict=True)),
    )
    if any(d.shift):
        cells = tuple(f"{value:+.4f}" for value in d.shift)
        yield Table(f"Score, {b} less {a}", ("", *(f"p{100 * q:g}" for q in QUANTILES)), (("shift", *cells),))
    if d.fields:
        ordered = sorted(d.fields.items(), key=lambda item: -item[1])[:MOST_ROWS]
        yield Table("What differs", ("field", "decisions"), tuple((name, f"{count:,}") for name, count in ordered))
    codes = {code for counter in d.reasons.values() for code in counter}
    if codes:
        ordered_codes = sorted(codes, key=lambda code: (-sum(c[code] for c in d.reasons.values()), code))[:MOST_ROWS]
        yield Table(
            "Alerts by reason",
            ("reason", "new", "lost", "changed"),
            tuple(
                (code, *(f"{d.reasons[kind][code]:,}" for kind in ("new", "lost", "changed"))) for code in ordered_codes
            ),
        )
    if verdicts is not None:
        yield from judged_tables(names, verdicts)
    rows = tuple(_example(d, kind, row) for kind, of in (("new", d.new), ("lost", d.lost), ("changed", d.changed))
                 for row in of[:examples].tolist())  # fmt: skip
    if rows:
        yield Table("Some of them", ("transaction", "kind", "account", a, b, "reasons"), rows)


def money(minor: int) -> str:
    """Show an amount in the reference currency."""
    return f"{minor / 100:,.0f} {REFERENCE_CURRENCY}"


def judged_tables(names: tuple[str, str], verdicts: tuple[Verdict, Verdict]) -> Iterator[Table]:
    """Yield what labels say of two runs, side by side."""
    a, b = verdicts
    rows = [
        ("labelled transactions", f"{a.labelled:,}", f"{b.labelled:,}", ""),
        ("frauds among them", f"{a.frauds:,}", f"{b.frauds:,}", ""),
        ("alerts among them", f"{a.alerts:,}", f"{b.alerts:,}", f"{b.alerts - a.alerts:+,}"),
    ]
    for title, name in (
        ("precision", "precision"), ("recall", "recall"), ("average precision", "average_precision"),
        ("CP@100", "card_precision"),
    ):  # fmt: skip
        left, right = getattr(a, name), getattr(b, name)
        rows.append((title, number(left), number(right), "" if isnan(left) or isnan(right) else f"{right - left:+.4f}"))
    for title, name in (
        ("fraud stopped", "stopped"), ("fraud missed", "missed"), ("legitimate money held up", "held_up"),
    ):  # fmt: skip
        left, right = getattr(a, name), getattr(b, name)
        rows.append((title, money(left), money(right), f"{(right - left) / 100:+,.0f}"))
    yield Table("Against the labels", ("", *names, "difference"), tuple(rows))
    patterns = sorted({*a.recall_by_pattern, *b.recall_by_pattern})
    if patterns:
        cells = []
        for name in patterns:
            (left, total), (right, _) = a.recall_by_pattern.get(name, (0, 0)), b.recall_by_pattern.get(name, (0, 0))
            cells.append((name, f"{total:,}", f"{left:,}", f"{right:,}", f"{right - left:+,}"))
        yield Table("Frauds found, by pattern", ("pattern", "frauds", *names, "difference"), tuple(cells))


def _example(d: Difference, kind: str, row: int) -> tuple[str, ...]:
    place = int(d.a.place[row])
    text = d.b.alerts.get(place) or d.a.alerts[place]
    sides = tuple(f"{OUTCOMES[run.outcome[row]]} {run.score[row]:.3f}" for run in (d.a, d.b))
    return (text.transaction_id, kind, text.account_id, *sides, ", ".join(text.reasons[:3]))
